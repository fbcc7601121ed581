//! The shim: one small process a pod. It owns the containers' processes, their standard streams, logs and exit codes,
//! and outlives the daemon.
//!
//! It is the same binary, re-executed: [`main`] must run before anything else is initialised. One thread, one `poll` loop,
//! no timers but while something is being cleaned up, no async runtime: so that `clone` without `exec` is safe.
//!
//! Truth is on disk: `running.json` and `exit.json` in each container's directory, written by rename. A daemon that was
//! away finds there what happened. If the shim dies, the kernel kills its containers (`PR_SET_PDEATHSIG`).

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod containers;
pub(crate) mod mounts;
pub mod proto;
mod streams;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use containers::Containers;
use proto::{Answer, Call, MAX_PACKET, Message, Request, ShimConfig, VERSION};

use crate::cgroup::Cgroups;
use crate::sys;

/// Name of the shim's socket in its directory.
pub const SOCKET: &str = "shim.sock";
/// Name of its configuration.
pub const CONFIG: &str = "shim.json";

/// The shim's whole life. `args` are what follows the command's name: `--dir DIR`.
pub fn main(args: &[String]) -> ! {
    let code = match args {
        [flag, dir] if flag == "--dir" => match run(Path::new(dir)) {
            Ok(()) => 0,
            Err(e) => {
                eprintln!("shim: {dir}: {e}");
                1
            }
        },
        _ => {
            eprintln!("shim: usage: shim --dir DIR (started by the runtime, not by hand)");
            2
        }
    };
    std::process::exit(code)
}

/// Writes a file by rename.
pub(crate) fn write_atomic(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

struct Shim {
    containers: Containers,
    listener: OwnedFd,
    daemon: Option<OwnedFd>,
    children: OwnedFd,
    pause: Option<OwnedFd>,
    stopping: bool,
}

fn run(dir: &Path) -> Result<(), String> {
    let text = fs::read(dir.join(CONFIG)).map_err(|e| format!("read {CONFIG}: {e}"))?;
    let config: ShimConfig = serde_json::from_slice(&text).map_err(|e| format!("read {CONFIG}: {e}"))?;
    let mut shim = set_up(dir, config).map_err(|e| format!("set up: {e}"))?;
    // The daemon waits for this line.
    println!("ready");
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|e| e.to_string())?;
    for number in 0..2 {
        sys::dup_to(null.as_fd(), number).map_err(|e| e.to_string())?;
    }
    loop {
        shim.turn().map_err(|e| format!("poll: {e}"))?;
        if shim.stopping && shim.containers.idle() {
            return Ok(());
        }
    }
}

fn set_up(dir: &Path, config: ShimConfig) -> io::Result<Shim> {
    let _ = sys::setsid();
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    let _ = sys::prctl(libc::PR_SET_NAME, c"corten-shim".as_ptr() as libc::c_ulong);
    for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        sys::ignore_signal(signal);
    }
    let cgroups = Cgroups::detect()?;
    if !config.cgroup.is_empty() {
        cgroups.create(&config.cgroup)?;
        cgroups.attach(&config.cgroup, std::process::id() as i32)?;
    }
    let children = sys::sigchld_fd()?;
    let handle = File::open(dir)?;
    let _ = fs::remove_file(dir.join(SOCKET));
    let listener = sys::packet_socket(handle.as_fd(), SOCKET, true)?;
    let pause = config.pause.then(|| containers::pause(&config, &cgroups)).transpose()?;
    // After the pause process: what must not die last must not be spared first.
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
    let containers = Containers::new(config.containers.clone(), cgroups)?;
    Ok(Shim { containers, listener, daemon: None, children, pause, stopping: false })
}

/// What a slot of the poll array stands for.
enum Slot {
    Listener,
    Daemon,
    Children,
    Stream(String, containers::Interest),
}

impl Shim {
    fn turn(&mut self) -> io::Result<()> {
        let mut slots = vec![Slot::Listener, Slot::Children];
        let mut fds = vec![pollfd(&self.listener, libc::POLLIN), pollfd(&self.children, libc::POLLIN)];
        if let Some(daemon) = &self.daemon {
            slots.push(Slot::Daemon);
            fds.push(pollfd(daemon, libc::POLLIN));
        }
        for (id, fd, events, interest) in self.containers.interests() {
            slots.push(Slot::Stream(id, interest));
            fds.push(libc::pollfd { fd, events, revents: 0 });
        }
        sys::poll(&mut fds, if self.containers.cleaning() { 10 } else { -1 })?;
        for (slot, fd) in slots.into_iter().zip(&fds) {
            if fd.revents == 0 {
                continue;
            }
            match slot {
                Slot::Listener => self.daemon = sys::accept(self.listener.as_fd()).ok(),
                Slot::Daemon => self.daemon_ready(),
                Slot::Children => self.reap()?,
                Slot::Stream(id, interest) => self.containers.ready(&id, interest),
            }
        }
        self.containers.sweep();
        Ok(())
    }

    fn daemon_ready(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let mut buffer = vec![0; MAX_PACKET];
        match sys::receive_with_fds(daemon.as_fd(), &mut buffer) {
            Ok((n, fds)) if n > 0 => match serde_json::from_slice::<Request>(&buffer[..n]) {
                Ok(request) => self.answer(request, fds),
                Err(e) => {
                    // A call that this version does not know still gets its answer.
                    let id = serde_json::from_slice::<serde_json::Value>(&buffer[..n])
                        .ok()
                        .and_then(|v| v.get("id").and_then(serde_json::Value::as_u64))
                        .unwrap_or(0);
                    self.send(&Message::Reply { id, result: Err(format!("unknown call: {e}")) }, None);
                }
            },
            Ok(_) => self.daemon = None,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.daemon = None,
        }
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) {
        let (result, fd) = match self.call(request.call, fds) {
            Ok((answer, fd)) => (Ok(answer), fd),
            Err(e) => (Err(e), None),
        };
        self.send(&Message::Reply { id: request.id, result }, fd);
    }

    fn call(&mut self, call: Call, fds: Vec<OwnedFd>) -> Result<(Answer, Option<OwnedFd>), String> {
        let mut fds = fds.into_iter();
        let mut take =
            |wanted: bool| if wanted { fds.next().map(Some).ok_or("a descriptor is missing") } else { Ok(None) };
        let none = Ok((Answer::default(), None));
        match call {
            Call::Hello { version: _ } => {
                Ok((Answer { version: VERSION, running: self.containers.running(), ..Answer::default() }, None))
            }
            Call::Start { container } => {
                if self.stopping {
                    return Err("the pod is being stopped".into());
                }
                self.containers.start(&container, self.pause.as_ref()).map(|answer| (answer, None))
            }
            Call::Signal { container, signal, all } => self.containers.signal(&container, signal, all).and(none),
            Call::Exec { exec, container, args, tty, stdin, stdout, stderr } => {
                let stdio = child::Stdio { stdin: take(stdin)?, stdout: take(stdout)?, stderr: take(stderr)? };
                let (pid, terminal) = self.containers.exec(exec, &container, args, tty, stdio)?;
                Ok((Answer { pid, terminal: terminal.is_some(), ..Answer::default() }, terminal))
            }
            Call::KillExec { exec } => self.containers.kill_exec(exec).and(none),
            Call::Attach { container, stdin, stdout, stderr } => {
                let (stdin, stdout, stderr) = (take(stdin)?, take(stdout)?, take(stderr)?);
                self.containers.attach(&container, stdin, stdout, stderr).and(none)
            }
            Call::Resize { container, width, height } => self.containers.resize(&container, width, height).and(none),
            Call::ReopenLog { container } => self.containers.reopen_log(&container).and(none),
            Call::Forget { container } => self.containers.forget(&container).and(none),
            Call::Shutdown => {
                self.stopping = true;
                self.containers.kill_all();
                if let Some(pause) = &self.pause {
                    let _ = sys::pidfd_signal(pause.as_fd(), libc::SIGKILL);
                }
                none
            }
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut drain = [0; 1024];
        while sys::read(self.children.as_fd(), &mut drain).is_ok_and(|n| n > 0) {}
        while let Some((pid, status)) = sys::wait_any()? {
            for message in self.containers.ended(pid, status) {
                self.send(&message, None);
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &Message, fd: Option<OwnedFd>) {
        let Some(daemon) = &self.daemon else { return };
        let text = serde_json::to_vec(message).unwrap_or_default();
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        // A daemon that does not read is treated as gone; it finds everything on disk when it comes back.
        let _ = sys::set_nonblocking(daemon.as_fd(), true);
        if sys::send_with_fds(daemon.as_fd(), &text, &fds).is_err() {
            self.daemon = None;
            return;
        }
        let _ = sys::set_nonblocking(daemon.as_fd(), false);
    }
}

fn pollfd(fd: &OwnedFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// A container's directory below `containers`.
pub(crate) fn container_dir(containers: &Path, id: &str) -> PathBuf {
    containers.join(id)
}
