//! The runtime against the real kernel: containers, limits, logs, commands, crash and adoption, cleaning up.
//!
//! Needs root and `/bin/busybox` (static), and says so by failing: run with `CORTEN_ROOT_TESTS=1`. Without the variable it
//! does nothing. The binary is its own shim (`shim --dir …`) and its own daemon to be killed (`daemon DIR`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::cni::Loopback;
use runtime::{Runtime, RuntimeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::cri::*;
use wire::service::TerminalSize;
use wire::{Code, Cri};

const CLUSTER: &str = "7e570001";
const IMAGE: &str = "test.local/busybox:1";
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("shim") => runtime::shim::main(&args[1..]),
        Some("daemon") => return daemon(Path::new(&args[1])),
        _ if args.iter().any(|a| a == "--list") => {
            if !args.iter().any(|a| a == "--ignored") {
                println!("runtime_with_root: test");
            }
            return;
        }
        _ => {}
    }
    if std::env::var_os("CORTEN_ROOT_TESTS").is_none() {
        println!("runtime_with_root: set CORTEN_ROOT_TESTS=1 to run (needs root)");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    assert!(
        std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0),
        "CORTEN_ROOT_TESTS is set, but this is not root"
    );
    assert!(Path::new("/bin/busybox").exists(), "needs /bin/busybox: apt-get install busybox-static");
    let only = args.iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_default();
    let dir = std::env::temp_dir().join(format!("corten-rt-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("test directory");
    make_image(&dir.join("busybox.tar"));
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio").block_on(
        async {
            let tests: [(&str, fn(Arc<Bench>) -> Work); 11] = [
                ("run_logs_exit", |b| Box::pin(run_logs_exit(b))),
                ("exec_and_terminal", |b| Box::pin(exec_and_terminal(b))),
                ("attach_stdin", |b| Box::pin(attach_stdin(b))),
                ("limits_and_oom", |b| Box::pin(limits_and_oom(b))),
                ("security", |b| Box::pin(security(b))),
                ("mounts", |b| Box::pin(mounts(b))),
                ("shared_pid_and_stop", |b| Box::pin(shared_pid_and_stop(b))),
                ("start_errors", |b| Box::pin(start_errors(b))),
                ("crash_and_adopt", |b| Box::pin(crash_and_adopt(b))),
                ("shim_death", |b| Box::pin(shim_death(b))),
                ("devices_on_v2", |b| Box::pin(devices_on_v2(b))),
            ];
            for (name, test) in tests {
                if name.contains(&only) || only == "runtime_with_root" {
                    let bench = Arc::new(Bench::open(&dir.join(name)).await);
                    bench.runtime.load_image(dir.join("busybox.tar"), None).await.expect("load image");
                    let start = Instant::now();
                    test(bench.clone()).await;
                    bench.leave_nothing().await;
                    println!("ok {name} ({:?})", start.elapsed());
                }
            }
        },
    );
    std::fs::remove_dir_all(&dir).expect("clean up");
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A docker archive with busybox and links for its commands.
fn make_image(path: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let add_dir = |layer: &mut tar::Builder<Vec<u8>>, name: &str, mode| {
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(tar::EntryType::Directory);
        h.set_mode(mode);
        h.set_size(0);
        layer.append_data(&mut h, name, std::io::empty()).expect("dir");
    };
    for (name, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("home", 0o755)] {
        add_dir(&mut layer, name, mode);
    }
    let add_file = |layer: &mut tar::Builder<Vec<u8>>, name: &str, mode, data: &[u8]| {
        let mut h = tar::Header::new_gnu();
        h.set_mode(mode);
        h.set_size(data.len() as u64);
        layer.append_data(&mut h, name, data).expect("file");
    };
    add_file(&mut layer, "bin/busybox", 0o755, &std::fs::read("/bin/busybox").expect("busybox"));
    add_file(&mut layer, "etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nweb:x:100:101::/home:/bin/sh\n");
    add_file(&mut layer, "etc/group", 0o644, b"root:x:0:\nweb:x:101:\nlogs:x:200:web\n");
    for name in [
        "sh", "echo", "cat", "sleep", "id", "ls", "true", "false", "stty", "dd", "head", "mount", "hostname", "kill",
        "ps", "seq", "mkdir", "touch", "grep", "test", "tail", "printf", "nc", "wc",
    ] {
        let mut h = tar::Header::new_gnu();
        h.set_entry_type(tar::EntryType::Symlink);
        h.set_size(0);
        h.set_mode(0o777);
        layer.append_link(&mut h, format!("bin/{name}"), "busybox").expect("link");
    }
    let layer = layer.into_inner().expect("layer");
    let diff_id = runtime::image::unpack::sha256(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin","FROM_IMAGE=yes"],"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let manifest = format!(r#"[{{"Config":"config.json","RepoTags":["{IMAGE}"],"Layers":["l/layer.tar"]}}]"#);
    let mut archive = tar::Builder::new(std::fs::File::create(path).expect("archive"));
    for (name, data) in
        [("config.json", config.as_bytes()), ("l/layer.tar", &layer), ("manifest.json", manifest.as_bytes())]
    {
        let mut h = tar::Header::new_gnu();
        h.set_mode(0o644);
        h.set_size(data.len() as u64);
        archive.append_data(&mut h, name, data).expect("entry");
    }
    archive.finish().expect("finish");
}

fn config(dir: &Path) -> RuntimeConfig {
    let mut config = RuntimeConfig::new(CLUSTER, "n", dir.join("root"));
    config.run = dir.join("run");
    config
}

struct Bench {
    dir: PathBuf,
    runtime: Runtime,
}

/// A container to be made.
#[derive(Default)]
struct Want {
    name: &'static str,
    command: Vec<String>,
    linux: LinuxContainerConfig,
    mounts: Vec<Mount>,
    stdin: bool,
    tty: bool,
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).to_vec()
}

impl Bench {
    async fn open(dir: &Path) -> Bench {
        std::fs::create_dir_all(dir).expect("dir");
        let runtime = Runtime::open(config(dir), Arc::new(Loopback)).await.expect("open");
        Bench { dir: dir.to_path_buf(), runtime }
    }

    async fn sandbox(&self, name: &str, options: NamespaceOption) -> String {
        let linux = LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/pod-{name}"),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(options),
                privileged: true,
                ..Default::default()
            }),
            sysctls: HashMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "80".into())]),
            ..Default::default()
        };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: format!("uid-{name}"),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: format!("host-{name}"),
            log_directory: self.dir.join("logs").join(name).display().to_string(),
            dns_config: Some(DnsConfig { servers: vec!["10.96.0.10".into()], ..Default::default() }),
            linux: Some(linux),
            ..Default::default()
        };
        let request = RunPodSandboxRequest { config: Some(config), ..Default::default() };
        self.runtime.run_pod_sandbox(request).await.expect("sandbox").pod_sandbox_id
    }

    async fn create(&self, sandbox: &str, want: Want) -> String {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: want.name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.into(), ..Default::default() }),
            command: want.command,
            envs: vec![KeyValue { key: "GREETING".into(), value: "hello".into() }],
            log_path: format!("{}.log", want.name),
            linux: Some(want.linux),
            mounts: want.mounts,
            stdin: want.stdin,
            tty: want.tty,
            ..Default::default()
        };
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: None };
        self.runtime.create_container(request).await.expect("create").container_id
    }

    async fn start(&self, id: &str) {
        self.runtime.start_container(StartContainerRequest { container_id: id.into() }).await.expect("start");
    }

    async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.runtime.container_status(request).await.expect("status").status.expect("status")
    }

    async fn ended(&self, id: &str) -> ContainerStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.status(id).await;
            if status.state == ContainerState::ContainerExited as i32 {
                return status;
            }
            assert!(Instant::now() < end, "container did not end: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Runs a container to its end; the texts of its log lines.
    async fn run(&self, sandbox: &str, want: Want) -> (ContainerStatus, Vec<String>) {
        let id = self.create(sandbox, want).await;
        self.start(&id).await;
        let status = self.ended(&id).await;
        let log = std::fs::read_to_string(&status.log_path).expect("log");
        (status, log.lines().filter_map(|l| l.splitn(4, ' ').nth(3)).map(String::from).collect())
    }

    async fn exec(&self, id: &str, script: &str) -> (i32, String) {
        let request = ExecSyncRequest { container_id: id.into(), cmd: sh(script), timeout: 10 };
        let answer = self.runtime.exec_sync(request).await.expect("exec");
        (answer.exit_code, String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned())
    }

    /// Removes every sandbox and looks whether anything is left.
    async fn leave_nothing(&self) {
        for sandbox in self.runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await.expect("list").items {
            self.runtime
                .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() })
                .await
                .expect("stop");
            self.runtime
                .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox.id })
                .await
                .expect("remove");
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let ours: Vec<&str> = mounts.lines().filter(|l| l.contains(&*self.dir.to_string_lossy())).collect();
        assert!(ours.is_empty(), "mounts left: {ours:?}");
        let containers: Vec<_> = std::fs::read_dir(self.dir.join("root/containers")).expect("dir").flatten().collect();
        assert!(containers.is_empty(), "containers left: {containers:?}");
        runtime::reset(CLUSTER, &self.dir.join("run")).expect("reset");
        let left = cgroups_left();
        assert!(left.is_empty(), "cgroups left: {left:?}");
    }
}

fn cgroups_left() -> Vec<PathBuf> {
    let dirs = std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten();
    dirs.map(|d| d.path().join(format!("corten-{CLUSTER}"))).filter(|p| p.exists()).collect()
}

fn own_pid() -> NamespaceOption {
    NamespaceOption { pid: NamespaceMode::Container as i32, ..Default::default() }
}

fn secure(security: LinuxContainerSecurityContext) -> LinuxContainerConfig {
    let security = LinuxContainerSecurityContext { namespace_options: Some(own_pid()), ..security };
    LinuxContainerConfig { security_context: Some(security), ..Default::default() }
}

async fn run_logs_exit(b: Arc<Bench>) {
    let mut events = b.runtime.container_events().await.expect("events");
    let s = b.sandbox("one", own_pid()).await;
    let script =
        "echo out; echo err >&2; echo $GREETING $FROM_IMAGE; hostname; cat /etc/resolv.conf; printf partial; exit 7";
    let started = Instant::now();
    let (status, log) = b.run(&s, Want { name: "a", command: sh(script), ..Want::default() }).await;
    println!("   create+start+exit {:?}", started.elapsed());
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"));
    let mut sorted = log.clone();
    sorted.sort();
    assert_eq!(sorted, ["err", "hello yes", "host-one", "nameserver 10.96.0.10", "out", "partial"], "{log:?}");
    let text = std::fs::read_to_string(&status.log_path).expect("log");
    assert!(text.contains(" stderr F err\n") && text.contains(" stdout F out\n"), "{text}");
    assert!(status.started_at > 0 && status.finished_at > status.started_at);
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.expect("event in time").expect("event");
        assert_eq!(event.container_id, status.id);
        kinds.push(event.container_event_type);
    }
    assert_eq!(kinds, [0, 1, 2], "created, started, stopped");
    let (status, _) = b.run(&s, Want { name: "b", command: sh("exit 0"), ..Want::default() }).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
    // A long log, and rotation.
    let id = b.create(&s, Want { name: "c", command: sh("seq 1 5000; sleep 1000"), ..Want::default() }).await;
    b.start(&id).await;
    let path = PathBuf::from(b.status(&id).await.log_path);
    let lines = |p: &Path| std::fs::read_to_string(p).map(|t| t.lines().count()).unwrap_or(0);
    let end = Instant::now() + DEADLINE;
    while lines(&path) < 5000 {
        assert!(Instant::now() < end, "log has {} lines", lines(&path));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::rename(&path, path.with_extension("log.1")).expect("rotate");
    b.runtime.reopen_container_log(ReopenContainerLogRequest { container_id: id.clone() }).await.expect("reopen");
    assert!(path.exists());
    b.runtime.stop_container(StopContainerRequest { container_id: id.clone(), timeout: 0 }).await.expect("stop");
    assert_eq!(b.status(&id).await.exit_code, 137);
}

async fn exec_and_terminal(b: Arc<Bench>) {
    let s = b.sandbox("exec", own_pid()).await;
    let id = b.create(&s, Want { name: "a", command: sh("sleep 1000"), ..Want::default() }).await;
    b.start(&id).await;
    let started = Instant::now();
    assert_eq!(b.exec(&id, "echo hi; exit 3").await, (3, "hi\n".into()));
    println!("   exec {:?}", started.elapsed());
    assert_eq!(b.exec(&id, "cat /proc/1/comm; cat /proc/self/cgroup | head -1").await.0, 0);
    let missing = ExecSyncRequest { container_id: id.clone(), cmd: vec!["nope".into()], timeout: 5 };
    let error = b.runtime.exec_sync(missing).await.expect_err("no such program");
    assert!(error.message().contains("executable file not found in $PATH"), "{error}");
    let slow = ExecSyncRequest { container_id: id.clone(), cmd: sh("sleep 100"), timeout: 1 };
    assert_eq!(b.runtime.exec_sync(slow).await.expect_err("timeout").code(), Code::DeadlineExceeded);
    // A child that keeps the pipe open does not hold the answer back.
    assert_eq!(b.exec(&id, "sleep 300 & echo now").await, (0, "now\n".into()));
    // Streams.
    let request = ExecRequest {
        container_id: id.clone(),
        cmd: sh("cat; echo end >&2; exit 4"),
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let mut p = b.runtime.exec_stream(request).await.expect("exec");
    let mut stdin = p.stdin.take().expect("stdin");
    stdin.write_all(b"through").await.expect("write");
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    p.stdout.take().expect("stdout").read_to_string(&mut out).await.expect("stdout");
    p.stderr.take().expect("stderr").read_to_string(&mut err).await.expect("stderr");
    assert_eq!((out.as_str(), err.as_str(), p.exit.await.expect("exit")), ("through", "end\n", 4));
    // A terminal with a size.
    let request = ExecRequest {
        container_id: id.clone(),
        cmd: sh("read x; stty size; echo got $x; exit 7"),
        stdin: true,
        stdout: true,
        stderr: false,
        tty: true,
    };
    let mut p = b.runtime.exec_stream(request).await.expect("exec tty");
    p.resize.send(TerminalSize { width: 123, height: 40 }).await.expect("resize");
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(20)).await; // the size has no acknowledgement
    p.stdin.as_mut().expect("stdin").write_all(b"word\n").await.expect("write");
    let mut out = String::new();
    p.stdout.take().expect("stdout").read_to_string(&mut out).await.expect("read");
    assert!(out.contains("40 123") && out.contains("got word"), "{out:?}");
    assert_eq!(p.exit.await.expect("exit"), 7);
    // Port forwarding.
    let request = ExecRequest { container_id: id.clone(), cmd: sh("echo pong | nc -l -p 8080"), ..Default::default() };
    let server = b.runtime.exec_stream(request).await.expect("server");
    let end = Instant::now() + DEADLINE;
    let mut io = loop {
        match b.runtime.port_forward_stream(&s, 8080).await {
            Ok(io) => break io,
            Err(e) => assert!(Instant::now() < end, "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    io.shutdown().await.expect("half close");
    let mut out = String::new();
    io.read_to_string(&mut out).await.expect("read");
    assert_eq!(out, "pong\n");
    drop(server);
}

async fn attach_stdin(b: Arc<Bench>) {
    let s = b.sandbox("attach", own_pid()).await;
    for tty in [false, true] {
        let name = if tty { "tty" } else { "pipe" };
        let want =
            Want { name, command: sh("read x; echo got $x; read y; exit 9"), stdin: true, tty, ..Want::default() };
        let id = b.create(&s, want).await;
        b.start(&id).await;
        let request = AttachRequest { container_id: id.clone(), stdin: true, stdout: true, stderr: !tty, tty };
        let mut p = b.runtime.attach_stream(request).await.expect("attach");
        let mut stdin = p.stdin.take().expect("stdin");
        stdin.write_all(b"this\n").await.expect("write");
        let (mut seen, mut buffer) = (String::new(), [0; 256]);
        while !seen.contains("got this") {
            let n = p.stdout.as_mut().expect("stdout").read(&mut buffer).await.expect("read");
            assert!(n > 0, "stream ended early: {seen:?}");
            seen += &String::from_utf8_lossy(&buffer[..n]);
        }
        stdin.write_all(b"bye\n").await.expect("write");
        assert_eq!(b.ended(&id).await.exit_code, 9);
        let log = std::fs::read_to_string(b.status(&id).await.log_path).expect("log");
        assert!(log.contains("got this"), "{log}");
    }
}

async fn limits_and_oom(b: Arc<Bench>) {
    let s = b.sandbox("limits", own_pid()).await;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        cpu_shares: 512,
        oom_score_adj: 500,
        ..Default::default()
    };
    let linux = || LinuxContainerConfig { resources: Some(resources.clone()), ..secure(Default::default()) };
    let id = b.create(&s, Want { name: "a", command: sh("sleep 1000"), linux: linux(), ..Want::default() }).await;
    b.start(&id).await;
    let script = "cat /proc/self/oom_score_adj; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
        cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null";
    let (_, out) = b.exec(&id, script).await;
    assert!(out.starts_with("500\n33554432\n"), "{out}");
    let stats = b
        .runtime
        .container_stats(ContainerStatsRequest { container_id: id.clone() })
        .await
        .expect("stats")
        .stats
        .expect("stats");
    assert!(stats.memory.expect("memory").usage_bytes.expect("usage").value > 0);
    assert!(stats.cpu.expect("cpu").usage_core_nano_seconds.expect("cpu").value > 0);
    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() }),
        ..Default::default()
    };
    b.runtime.update_container_resources(request).await.expect("update");
    let (_, out) = b.exec(&id, script).await;
    assert!(out.starts_with("500\n67108864\n"), "{out}");
    // tail keeps what it reads: more than the limit.
    let want = Want { name: "oom", command: sh("tail /dev/zero"), linux: linux(), ..Want::default() };
    let (status, _) = b.run(&s, want).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
    // Devices outside the rules cannot even be made useful.
    let caps = Capability { add_capabilities: vec!["MKNOD".into()], ..Default::default() };
    let linux = secure(LinuxContainerSecurityContext { capabilities: Some(caps), ..Default::default() });
    let script = "busybox mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg | head -c 1; busybox mknod /tmp/null c 1 3 && echo x > /tmp/null && echo null works";
    let (_, log) = b.run(&s, Want { name: "dev", command: sh(script), linux, ..Want::default() }).await;
    assert!(log.iter().any(|l| l.contains("not permitted")) && log.iter().any(|l| l == "null works"), "{log:?}");
}

async fn security(b: Arc<Bench>) {
    let s = b.sandbox("security", own_pid()).await;
    let int = |value| Some(Int64Value { value });
    let context = LinuxContainerSecurityContext {
        run_as_username: "web".into(),
        supplemental_groups: vec![77],
        readonly_rootfs: true,
        no_new_privs: true,
        capabilities: Some(Capability { drop_capabilities: vec!["ALL".into()], ..Default::default() }),
        seccomp: Some(SecurityProfile { profile_type: 0, ..Default::default() }),
        masked_paths: vec!["/proc/kcore".into(), "/proc/scsi".into(), "/proc/timer_list".into()],
        readonly_paths: vec!["/proc/sys".into(), "/proc/nothing".into()],
        ..Default::default()
    };
    let script = "id; touch /x; echo 1 > /proc/sys/kernel/hostname; head -c 1 /proc/timer_list | wc -c; \
        grep -E 'Seccomp:|CapBnd|NoNewPrivs' /proc/self/status; echo $HOME";
    let (_, log) = b.run(&s, Want { name: "a", command: sh(script), linux: secure(context), ..Want::default() }).await;
    let text = log.join("\n");
    for wanted in [
        "uid=100(web) gid=101(web) groups=77,101(web),200(logs)",
        "touch: /x: Read-only file system",
        "Seccomp:\t2",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "/home",
        "\n0\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} not in:\n{text}");
    }
    let context = LinuxContainerSecurityContext { run_as_user: int(1234), run_as_group: int(55), ..Default::default() };
    let (status, log) = b
        .run(
            &s,
            Want {
                name: "b",
                command: sh("id; mount -t tmpfs x /tmp || echo refused"),
                linux: secure(context),
                ..Want::default()
            },
        )
        .await;
    let text = log.join("\n");
    assert!(text.contains("uid=1234 gid=55 groups=55") && text.contains("refused"), "{text}");
    assert_eq!(status.user.expect("user").linux.expect("linux").uid, 1234);
    let context = LinuxContainerSecurityContext { privileged: true, ..Default::default() };
    let (_, log) = b
        .run(
            &s,
            Want {
                name: "p",
                command: sh("mount -t tmpfs x /tmp && echo mounted; ls /dev/kmsg; grep CapEff /proc/self/status"),
                linux: secure(context),
                ..Want::default()
            },
        )
        .await;
    assert!(log.contains(&"mounted".to_string()) && log.contains(&"/dev/kmsg".to_string()), "{log:?}");
}

async fn mounts(b: Arc<Bench>) {
    let s = b.sandbox("mounts", own_pid()).await;
    let host = b.dir.join("host");
    std::fs::create_dir_all(host.join("sub")).expect("dir");
    std::fs::write(host.join("file"), "from host").expect("file");
    let mount = |from: &Path, to: &str, readonly| Mount {
        container_path: to.into(),
        host_path: from.display().to_string(),
        readonly,
        ..Default::default()
    };
    let script = "cat /data/file; echo; touch /data/x && echo wrote; touch /ro/y || echo readonly; cat /etc/one; echo; ls -d /new/deep; test -f /dev/termination-log && echo log there; grep -c . /proc/mounts >/dev/null && echo mounts";
    let want = Want {
        name: "a",
        command: sh(script),
        mounts: vec![
            mount(&host, "/data", false),
            mount(&host, "/ro", true),
            mount(&host.join("file"), "/etc/one", true),
            mount(&host.join("sub"), "/new/deep", false),
            mount(&host.join("made"), "/made", false),
            mount(&host.join("file"), "/dev/termination-log", false),
        ],
        ..Want::default()
    };
    let (status, log) = b.run(&s, want).await;
    let text = log.join("\n");
    for wanted in ["from host", "wrote", "readonly", "/new/deep", "log there", "mounts"] {
        assert!(text.contains(wanted), "{wanted:?} not in:\n{text} ({})", status.exit_code);
    }
    assert!(host.join("x").exists() && host.join("made").is_dir());
}

async fn shared_pid_and_stop(b: Arc<Bench>) {
    let s = b.sandbox("pid", NamespaceOption { pid: NamespaceMode::Pod as i32, ..Default::default() }).await;
    let linux = || {
        let security = LinuxContainerSecurityContext {
            namespace_options: Some(NamespaceOption { pid: NamespaceMode::Pod as i32, ..Default::default() }),
            ..Default::default()
        };
        LinuxContainerConfig { security_context: Some(security), ..Default::default() }
    };
    let a = b
        .create(
            &s,
            Want {
                name: "a",
                command: sh("trap 'echo term; exit 5' TERM; while true; do sleep 0.1; done"),
                linux: linux(),
                ..Want::default()
            },
        )
        .await;
    let c = b
        .create(
            &s,
            Want { name: "c", command: sh("echo marker-process; sleep 1000"), linux: linux(), ..Want::default() },
        )
        .await;
    b.start(&a).await;
    b.start(&c).await;
    // The pause process runs the host's binary: a container must not get at it.
    let (_, out) = b.exec(&a, "ls -l /proc/1/exe").await;
    assert!(out.contains("ermission denied"), "{out}");
    let (_, out) = b.exec(&a, "ps").await;
    assert!(out.contains("sleep 1000") && out.contains("corten-pause"), "{out}");
    // A process that joins another container's.
    let target = LinuxContainerSecurityContext {
        namespace_options: Some(NamespaceOption {
            pid: NamespaceMode::Target as i32,
            target_id: c.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let linux = LinuxContainerConfig { security_context: Some(target), ..Default::default() };
    let (_, log) = b.run(&s, Want { name: "d", command: sh("ps"), linux, ..Want::default() }).await;
    assert!(log.join("\n").contains("sleep 1000"), "{log:?}");
    b.runtime.stop_container(StopContainerRequest { container_id: a.clone(), timeout: 10 }).await.expect("stop");
    let status = b.status(&a).await;
    assert_eq!(status.exit_code, 5);
    assert!(std::fs::read_to_string(status.log_path).expect("log").contains("term"));
    // sleep as pid 1 of nothing ignores nothing here, but a shell without a trap ends by the signal.
    b.runtime.stop_container(StopContainerRequest { container_id: c.clone(), timeout: 1 }).await.expect("stop");
    assert!([143, 137].contains(&b.status(&c).await.exit_code));
}

async fn start_errors(b: Arc<Bench>) {
    let s = b.sandbox("errors", own_pid()).await;
    for (command, wanted) in [
        (vec!["nope".to_string()], "executable file not found in $PATH"),
        (vec!["/bin/nope".to_string()], "no such file or directory"),
        (vec!["/etc/passwd".to_string()], "ermission denied"),
    ] {
        let id = b.create(&s, Want { name: "a", command, ..Want::default() }).await;
        let error =
            b.runtime.start_container(StartContainerRequest { container_id: id.clone() }).await.expect_err("must fail");
        assert!(error.message().contains(wanted), "{error}");
        let status = b.status(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        b.runtime.remove_container(RemoveContainerRequest { container_id: id }).await.expect("remove");
    }
    let missing = ContainerConfig {
        image: Some(ImageSpec { image: "no/such:1".into(), ..Default::default() }),
        ..Default::default()
    };
    let request = CreateContainerRequest { pod_sandbox_id: s, config: Some(missing), sandbox_config: None };
    assert_eq!(b.runtime.create_container(request).await.expect_err("no image").code(), Code::NotFound);
    let unknown = ContainerStatusRequest { container_id: "beef".into(), verbose: false };
    assert_eq!(b.runtime.container_status(unknown).await.expect_err("unknown").code(), Code::NotFound);
}

/// The daemon that will be killed: one container that goes on, one that ends while nobody looks.
fn daemon(dir: &Path) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio").block_on(async {
        let b = Bench::open(dir).await;
        let s = b.sandbox("crash", own_pid()).await;
        let on = b
            .create(
                &s,
                Want {
                    name: "on",
                    command: sh("n=0; while true; do n=$((n+1)); echo line $n; sleep 0.05; done"),
                    ..Want::default()
                },
            )
            .await;
        let off = b
            .create(
                &s,
                Want {
                    name: "off",
                    command: sh("echo before; while ! test -e /go/go; do sleep 0.02; done; echo after; exit 42"),
                    mounts: vec![Mount {
                        container_path: "/go".into(),
                        host_path: dir.join("go").display().to_string(),
                        ..Default::default()
                    }],
                    ..Want::default()
                },
            )
            .await;
        b.start(&on).await;
        b.start(&off).await;
        println!("{s} {on} {off}");
        std::future::pending::<()>().await;
    });
}

async fn crash_and_adopt(b: Arc<Bench>) {
    let dir = b.dir.join("crash");
    std::fs::create_dir_all(&dir).expect("dir");
    {
        let first = Bench::open(&dir).await;
        first.runtime.load_image(b.dir.parent().expect("parent").join("busybox.tar"), None).await.expect("load");
    }
    let mut child =
        Command::new("/proc/self/exe").arg("daemon").arg(&dir).stdout(Stdio::piped()).spawn().expect("daemon");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().expect("stdout")), &mut line)
        .expect("line");
    let ids: Vec<String> = line.split_whitespace().map(String::from).collect();
    let [sandbox, on, off] = &ids[..] else { panic!("daemon said {line:?}") };
    child.kill().expect("kill -9");
    child.wait().expect("wait");
    std::fs::write(dir.join("go/go"), "").expect("go");
    let exit = dir.join("root/containers").join(off).join("exit.json");
    let end = Instant::now() + DEADLINE;
    while !exit.exists() {
        assert!(Instant::now() < end, "no exit file");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = Bench::open(&dir).await;
    let status = second.status(off).await;
    assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 42));
    assert!(std::fs::read_to_string(&status.log_path).expect("log").contains("after"));
    let status = second.status(on).await;
    assert_eq!(status.state, ContainerState::ContainerRunning as i32);
    assert_eq!(second.exec(on, "echo alive").await, (0, "alive\n".into()));
    second.runtime.stop_container(StopContainerRequest { container_id: on.clone(), timeout: 0 }).await.expect("stop");
    let log = std::fs::read_to_string(&status.log_path).expect("log");
    let numbers: Vec<usize> = log.lines().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "every line is there once");
    let state = second
        .runtime
        .pod_sandbox_status(PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false })
        .await;
    assert_eq!(state.expect("status").status.expect("status").state, PodSandboxState::SandboxReady as i32);
    second.leave_nothing().await;
}

async fn shim_death(b: Arc<Bench>) {
    let mut events = b.runtime.container_events().await.expect("events");
    let s = b.sandbox("shim", own_pid()).await;
    let id = b.create(&s, Want { name: "a", command: sh("sleep 1000"), ..Want::default() }).await;
    b.start(&id).await;
    let needle = b.dir.join("run/s").join(&s).display().to_string();
    let shim = std::fs::read_dir("/proc").expect("proc").flatten().find_map(|e| {
        let pid: i32 = e.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(e.path().join("cmdline")).ok()?;
        // The containers' first processes were forks of the shim, but have another command line by now.
        line.contains(&needle).then_some(pid)
    });
    let shim = shim.expect("shim");
    assert!(Command::new("/bin/busybox").args(["kill", "-9", &shim.to_string()]).status().expect("kill").success());
    let status = b.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Unknown"));
    let mut gone = false;
    while !gone {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.expect("in time").expect("event");
        gone = event.container_id == s && event.container_event_type == 2;
    }
    let request = PodSandboxStatusRequest { pod_sandbox_id: s.clone(), verbose: false };
    let state = b.runtime.pod_sandbox_status(request).await.expect("status").status.expect("status").state;
    assert_eq!(state, PodSandboxState::SandboxNotready as i32);
}

/// The eBPF program, on the v2 tree that is there beside the v1 hierarchies (or alone).
async fn devices_on_v2(_: Arc<Bench>) {
    let cgroups = runtime::cgroup::Cgroups::detect().expect("cgroups");
    let Some(mount) = cgroups.v2_mount() else {
        panic!("this machine has no cgroup v2 tree: mount one to run this test")
    };
    let dir = mount.join(format!("corten-{CLUSTER}-devices"));
    std::fs::create_dir_all(&dir).expect("group");
    runtime::devices::attach(&dir, &runtime::devices::defaults()).expect("attach the program");
    let script = format!(
        "echo $$ > {}/cgroup.procs; echo x > /dev/null && echo null; head -c 1 /dev/zero | wc -c; head -c 1 /dev/kmsg 2>&1 || echo refused; \
         busybox mknod /tmp/corten-test-fuse c 10 229 && echo node",
        dir.display()
    );
    let out = Command::new("/bin/busybox").args(["sh", "-c", &script]).output().expect("run");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    let _ = std::fs::remove_file("/tmp/corten-test-fuse");
    std::fs::remove_dir(&dir).expect("remove the group");
    for wanted in ["null\n1\n", "Operation not permitted", "refused", "node"] {
        assert!(text.contains(wanted), "{wanted:?} not in {text:?}");
    }
}
