//! `corten up`, `down`, `reset`: the cluster's process from outside.

use crate::cluster::{self, Claims, Cluster};
use crate::daemon::{self, Options};
use crate::kubeconfig;
use crate::paths::{self, Paths};
use crate::process::{Process, running};
use platform::Env;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Options of `up`.
#[derive(clap::Args, Clone, Debug)]
pub struct Up {
    /// Where the cluster keeps its files
    #[arg(long, value_name = "DIR", default_value = paths::DATA_DIR)]
    pub data_dir: PathBuf,
    /// Number of nodes; those after the first get network namespaces of their own [default: as last time, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub nodes: Option<u8>,
    /// Where to write the administrator's kubeconfig [default: as last time, or DATA_DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Stay in the terminal and log there
    #[arg(long)]
    pub foreground: bool,
    /// Port of the API server [default: as last time, or 6443, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Where the key that encrypts secrets at rest is kept [default: as last time, or /etc/corten/keys]
    #[arg(long, value_name = "DIR")]
    pub key_dir: Option<PathBuf>,
    /// Socket of another container runtime (unix:///run/containerd/containerd.sock); "" for our own [default: as last time, or our own]
    #[arg(long, value_name = "ENDPOINT")]
    pub container_runtime_endpoint: Option<String>,
    /// Set in the background process: the file descriptor that takes progress
    #[arg(long, hide = true)]
    pub progress_fd: Option<i32>,
}

/// Where a cluster is.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// Where the cluster keeps its files
    #[arg(long, value_name = "DIR", default_value = paths::DATA_DIR)]
    pub data_dir: PathBuf,
    /// Where the administrator's kubeconfig is [default: where `up` wrote it]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// `corten up`.
pub fn up(o: Up) -> Result<(), String> {
    crate::preflight::check()?;
    std::fs::create_dir_all(&o.data_dir).map_err(|e| format!("make {}: {e}", o.data_dir.display()))?;
    let data = o.data_dir.canonicalize().map_err(|e| format!("find {}: {e}", o.data_dir.display()))?;
    let absolute = |p: &PathBuf| std::path::absolute(p).map_err(|e| format!("find {}: {e}", p.display()));
    let kubeconfig = o.kubeconfig.as_ref().map(absolute).transpose()?;
    let key_dir = o.key_dir.as_ref().map(absolute).transpose()?;
    let o = Up { data_dir: data.clone(), kubeconfig, key_dir, ..o };
    let paths = Paths::new(&data);
    if o.progress_fd.is_none()
        && let Some(pid) = running(&paths)
    {
        return already(&o, &paths, pid);
    }
    if o.foreground {
        return foreground(&o, paths);
    }
    background(&o, &paths)
}

/// `up` of a cluster that runs: fine, unless something else is wanted of it.
fn already(o: &Up, paths: &Paths, pid: i32) -> Result<(), String> {
    let data = paths.data.display();
    let other = Cluster::load(paths)?.is_some_and(|c| {
        o.nodes.is_some_and(|n| n != c.wish.nodes)
            || o.port.is_some_and(|p| p != c.port)
            || (o.kubeconfig.is_some() && o.kubeconfig != c.wish.kubeconfig)
            || o.key_dir.as_ref().is_some_and(|d| *d != c.wish.key_dir)
            || o.container_runtime_endpoint.as_ref().is_some_and(|e| *e != c.wish.runtime_endpoint.unwrap_or_default())
    });
    if other {
        return Err(format!(
            "the cluster in {data} is running (pid {pid}) with other settings: `corten down --data-dir {data}` first (its pods go on), then `corten up` with these flags"
        ));
    }
    crate::cli::say!("The cluster in {data} is running already (pid {pid}).");
    Ok(())
}

/// The cluster as it shall run now, kept: what is there, and what the user asked for this time.
fn settle(o: &Up, paths: &Paths) -> Result<Cluster, String> {
    let claims = Claims::read()?;
    let mut cluster = match Cluster::load(paths)? {
        Some(known) => known,
        None => Cluster::create(o.port, &[cluster::routed()?, claims.ranges()].concat())?,
    };
    cluster.settle_ports(o.port)?;
    let key_file = cluster.key_file();
    let wish = &mut cluster.wish;
    if let Some(dir) = &o.key_dir {
        wish.key_dir = dir.clone();
    }
    wish.nodes = o.nodes.unwrap_or(wish.nodes);
    wish.kubeconfig = o.kubeconfig.clone().or(wish.kubeconfig.take());
    wish.runtime_endpoint = match o.container_runtime_endpoint.as_deref() {
        Some("") => None,
        Some(endpoint) => Some(endpoint.to_string()),
        None => wish.runtime_endpoint.take(),
    };
    if paths.store().exists() && !cluster.key_file().exists() {
        return Err(format!(
            "the key that decrypts this cluster's secrets is not in {}: bring {} back there, or say where it is with --key-dir",
            cluster.key_file().display(),
            key_file.display()
        ));
    }
    cluster.save(paths)?;
    claims.take(&cluster, paths)?;
    Ok(cluster)
}

fn foreground(o: &Up, paths: Paths) -> Result<(), String> {
    let busy = || {
        format!(
            "another corten process starts or runs the cluster in {}: `corten status --data-dir {0}` tells more",
            paths.data.display()
        )
    };
    let _lock = paths::lock(&paths.data.join("lock"), Duration::from_secs(2))?.ok_or_else(busy)?;
    let cluster = settle(o, &paths)?;
    paths::write(&paths.data.join("corten.pid"), std::process::id().to_string().as_bytes(), false)?;
    let options = Options { kubeconfig: kubeconfig::find(&paths, None)?, paths };
    let started = Instant::now();
    let pipe = o.progress_fd.map(|fd| {
        use std::os::fd::FromRawFd as _;
        // SAFETY: the parent process opened this descriptor for us and nobody else here uses it.
        std::sync::Mutex::new(unsafe { std::fs::File::from_raw_fd(fd) })
    });
    let progress: daemon::Progress = Arc::new(move |step: &str| {
        let line = format!("{:>6.2} s  {step}", started.elapsed().as_secs_f64());
        match &pipe {
            Some(file) => {
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let _ = writeln!(file, "{line}"); // nobody may be waiting any more
            }
            None => crate::cli::say!("{line}"),
        }
    });
    crate::cli::block_on(async move {
        let env = Env::system("corten");
        let result = daemon::run(env.clone(), cluster, options, progress).await;
        env.kill();
        result
    })
}

/// Starts the process in the background and shows how it gets on.
fn background(o: &Up, paths: &Paths) -> Result<(), String> {
    let log_path = paths.data.join("corten.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|e| format!("open {}: {e}", log_path.display()))?;
    let (reader, writer) = std::io::pipe().map_err(|e| format!("make a pipe: {e}"))?;
    use std::os::fd::AsRawFd as _;
    let fd = writer.as_raw_fd();
    let mut command = Command::new("/proc/self/exe");
    command.arg("up").arg("--foreground").arg("--data-dir").arg(&paths.data);
    if let Some(dir) = &o.key_dir {
        command.arg("--key-dir").arg(dir);
    }
    if let Some(file) = &o.kubeconfig {
        command.arg("--kubeconfig").arg(file);
    }
    if let Some(n) = o.nodes {
        command.arg("--nodes").arg(n.to_string());
    }
    if let Some(p) = o.port {
        command.arg("--port").arg(p.to_string());
    }
    if let Some(e) = &o.container_runtime_endpoint {
        command.arg("--container-runtime-endpoint").arg(e);
    }
    command.arg("--progress-fd").arg(fd.to_string());
    let err = log.try_clone().map_err(|e| format!("open {}: {e}", log_path.display()))?;
    command.stdin(Stdio::null()).stdout(log).stderr(err);
    // SAFETY: only async-signal-safe calls between fork and exec: a session of its own, and the pipe left open across exec.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            libc::fcntl(fd, libc::F_SETFD, 0);
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(|e| format!("start the cluster's process: {e}"))?;
    drop(writer);
    let mut ready = false;
    for line in std::io::BufReader::new(reader).lines().map_while(Result::ok) {
        crate::cli::say!("{line}");
        if line.ends_with("  ready") {
            ready = true;
            break;
        }
    }
    if !ready {
        let _ = child.wait();
        let text = std::fs::read_to_string(&log_path).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!(
            "the cluster did not start; its log ({}) ends with:\n{}",
            log_path.display(),
            last.join("\n")
        ));
    }
    crate::cli::say!(
        "\nThe cluster is up. Try:\n  export KUBECONFIG={}\n  {command} kubectl get nodes\n  {command} kubectl create deployment hello --image=IMAGE",
        kubeconfig::find(paths, None)?.display(),
        command = command_name()
    );
    Ok(())
}

/// How to call this binary from the user's shell: its name if the shell finds it, else its path.
pub fn command_name() -> String {
    let Ok(me) = std::env::current_exe() else { return "corten".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|d| d.join("corten")).find(|p| p.is_file());
    let same = found.and_then(|p| p.canonicalize().ok()).is_some_and(|p| p == me);
    if same { "corten".into() } else { me.display().to_string() }
}

/// `corten down`: ends the process; pods keep running until `reset`, and `up` takes them over.
pub fn down(place: &Place) -> Result<(), String> {
    let data =
        place.data_dir.canonicalize().map_err(|_| format!("there is no cluster in {}", place.data_dir.display()))?;
    let paths = Paths::new(&data);
    let Some(pid) = running(&paths) else {
        crate::cli::say!("The cluster in {} is not running.", data.display());
        return Ok(());
    };
    stop(&paths, pid)?;
    crate::cli::say!(
        "The cluster's process has ended. Its pods keep running: `corten up` takes them over, `corten reset --yes` removes them."
    );
    Ok(())
}

fn stop(paths: &Paths, pid: i32) -> Result<(), String> {
    let Ok(process) = Process::open(pid) else { return Ok(()) }; // it ended by itself
    // SAFETY: kill takes a pid and a signal number.
    if unsafe { libc::kill(pid, libc::SIGTERM) } < 0 {
        let e = std::io::Error::last_os_error();
        if e.kind() == std::io::ErrorKind::PermissionDenied {
            return Err(format!("process {pid} belongs to root: run this with sudo"));
        }
    }
    if !process.wait(Duration::from_secs(15)) {
        return Err(format!(
            "process {pid} did not end within 15 s: see {}/corten.log; `kill -9 {pid}` ends it without loss",
            paths.data.display()
        ));
    }
    let _ = std::fs::remove_file(paths.data.join("corten.pid"));
    Ok(())
}

/// `corten reset --yes`: removes everything that this cluster made, and nothing else.
pub fn reset(place: &Place, key_dir: Option<&Path>, yes: bool) -> Result<(), String> {
    let paths = Paths::new(&place.data_dir);
    let Some(mut cluster) = Cluster::load(&paths)? else {
        crate::cli::say!("There is no cluster in {}.", place.data_dir.display());
        return Ok(());
    };
    if let Some(dir) = key_dir {
        cluster.wish.key_dir = dir.to_path_buf();
    }
    if !yes {
        return Err(format!(
            "this removes the cluster {} with all its objects, pods and volumes in {}: say --yes if you mean it",
            cluster.id,
            place.data_dir.display()
        ));
    }
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Err("what the cluster made belongs to root: run this with sudo".into());
    }
    let data = place.data_dir.canonicalize().map_err(|e| format!("find {}: {e}", place.data_dir.display()))?;
    let canonical = Paths::new(&data);
    if let Some(pid) = running(&canonical) {
        stop(&canonical, pid)?;
    }
    // A process that starts at this moment makes anew what is removed here.
    let _lock = paths::lock(&data.join("lock"), Duration::from_secs(5))?
        .ok_or_else(|| format!("another corten process works in {}: try again when it has ended", data.display()))?;
    let mut wrong = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        if let Err(e) = result {
            wrong.push(format!("{what}: {e}"));
        }
    };
    note("nodes' processes", end_nodes(&data));
    note("containers", runtime::reset(&cluster.id, &cluster.run_dir()).map_err(|e| e.to_string()));
    note("pod volumes", unmount_below(&data));
    note("network", network::reset(&cluster.id, &paths.node(&cluster.node).join("network")).map_err(|e| e.to_string()));
    note(
        "nodes' networks",
        network::hosts::reset(&cluster.id, &cluster.run_dir().join("hosts")).map_err(|e| e.to_string()),
    );
    note("run directory", remove_all(&cluster.run_dir()));
    note("kubeconfig", kubeconfig::remove(&canonical, place.kubeconfig.as_deref()));
    note("encryption key", remove_file(&cluster.key_file()));
    for dir in [paths::KEY_DIR, "/etc/corten"] {
        let _ = std::fs::remove_dir(dir); // stays if another cluster keeps something there
    }
    if wrong.is_empty() {
        // Last, so that a reset that failed can be tried again.
        wrong.extend(remove_contents(&data).err());
    }
    if wrong.is_empty() {
        crate::cli::say!("Removed the cluster {}.", cluster.id);
        Ok(())
    } else {
        Err(format!("not everything could be removed; try again after mending this:\n{}", wrong.join("\n")))
    }
}

/// Ends the processes of nodes 2 and following that their cluster's process could not take along.
fn end_nodes(data: &Path) -> Result<(), String> {
    let mine = |pid: i32| {
        let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args: Vec<String> = String::from_utf8_lossy(&text).split('\0').map(String::from).collect();
        args.get(1).is_some_and(|a| a == "node") && args.iter().any(|a| Path::new(a) == data)
    };
    let all = std::fs::read_dir("/proc").map_err(|e| format!("list /proc: {e}"))?.flatten();
    // Held first and looked at then: what is ended is what was looked at, whoever takes its number meanwhile.
    let held = all.filter_map(|e| {
        let pid = e.file_name().to_string_lossy().parse().ok()?;
        let process = Process::open(pid).ok()?;
        mine(pid).then_some((pid, process))
    });
    let held: Vec<(i32, Process)> = held.collect();
    for (_, process) in &held {
        process.kill();
    }
    match held.iter().find(|(_, process)| !process.wait(Duration::from_secs(10))) {
        Some((pid, _)) => Err(format!(
            "the node's process {pid} was killed but has not ended in 10 s; see `cat /proc/{pid}/stack` for what holds it"
        )),
        None => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}

/// Detaches every mount below a directory.
fn unmount_below(dir: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
    let mut points: Vec<String> = text
        .lines()
        .filter_map(|l| l.split(' ').nth(4))
        .map(|p| p.replace("\\040", " "))
        .filter(|p| Path::new(p).starts_with(dir) && Path::new(p) != dir)
        .collect();
    points.sort_by_key(|p| std::cmp::Reverse(p.len()));
    for p in points {
        rustix::mount::unmount(&p, rustix::mount::UnmountFlags::DETACH).map_err(|e| format!("unmount {p}: {e}"))?;
    }
    Ok(())
}

fn remove_all(dir: &Path) -> Result<(), String> {
    unmount_below(dir)?;
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", dir.display())),
        _ => Ok(()),
    }
}

/// The directory itself may be the user's: only what is in it goes, and it too if it is empty then.
fn remove_contents(dir: &Path) -> Result<(), String> {
    let files = ["corten.pid", "corten.log", ".corten.pid.new", ".kubeconfig.new", ".cluster.json.new", "lock"];
    for name in ["nodes", "store", "pki"].into_iter().chain(files).chain(["cluster.json"]) {
        let path = dir.join(name);
        let result = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        if let Err(e) = result
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("{}: {e}", path.display()));
        }
    }
    let _ = std::fs::remove_dir(dir); // stays if the user keeps something else there
    Ok(())
}
