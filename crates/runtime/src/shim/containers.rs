//! The containers of one pod, inside the shim: start, exec, signals, exits, cleaning up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::child::{self, Stdio, TAG_ERROR, TAG_TERMINAL, TAG_USER};
use super::proto::{Answer, Exit, Message, ShimConfig};
pub use super::streams::Interest;
use super::streams::{Log, Streams, unix_nanos};
use super::{container_dir, write_atomic};
use crate::cgroup::Cgroups;
use crate::core::passwd::User;
use crate::spec::{PidNamespace, Spec};
use crate::sys::{self, Forked, Pid};

/// How long a new process may take until it is ready to run its program.
const SETUP_TIMEOUT_MS: i32 = 60_000;

/// `running.json`: a container that was started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    pub pid: i32,
    /// Unix nanoseconds.
    pub started_at: i64,
    pub user: User,
}

struct Container {
    spec: Spec,
    pid: Pid,
    pidfd: OwnedFd,
    streams: Streams,
    oom_before: u64,
    running: bool,
}

struct Exec {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Every container of the pod.
pub struct Containers {
    dir: PathBuf,
    cgroups: Cgroups,
    own_pid_namespace: File,
    all: BTreeMap<String, Container>,
    execs: BTreeMap<u64, Exec>,
    /// Groups that were busy when they were to be removed.
    leftover: Vec<String>,
}

impl Containers {
    pub fn new(dir: PathBuf, cgroups: Cgroups) -> io::Result<Containers> {
        let own_pid_namespace = File::open("/proc/self/ns/pid")?;
        Ok(Containers {
            dir,
            cgroups,
            own_pid_namespace,
            all: BTreeMap::new(),
            execs: BTreeMap::new(),
            leftover: Vec::new(),
        })
    }

    pub fn running(&self) -> Vec<(String, i32)> {
        self.all.iter().filter(|(_, c)| c.running).map(|(id, c)| (id.clone(), c.pid)).collect()
    }

    /// Nothing runs any more.
    pub fn idle(&self) -> bool {
        self.all.values().all(|c| !c.running) && self.leftover.is_empty()
    }

    pub fn cleaning(&self) -> bool {
        !self.leftover.is_empty()
    }

    /// Container, descriptor, poll events, meaning.
    pub fn interests(&self) -> Vec<(String, RawFd, i16, Interest)> {
        let mut out = Vec::new();
        for (id, container) in self.all.iter().filter(|(_, c)| c.running) {
            for (fd, events, interest) in container.streams.interests() {
                out.push((id.clone(), fd.as_raw_fd(), events, interest));
            }
        }
        out
    }

    pub fn ready(&mut self, id: &str, interest: Interest) {
        if let Some(container) = self.all.get_mut(id) {
            container.streams.ready(interest);
        }
    }

    /// After each turn: forget clients that left, remove groups that have become empty.
    pub fn sweep(&mut self) {
        for container in self.all.values_mut() {
            container.streams.sweep();
        }
        let cgroups = &self.cgroups;
        self.leftover.retain(|group| {
            cgroups.remove(group).is_err_and(|e| e.raw_os_error() != Some(libc::ENOENT)) && cgroups.exists(group)
        });
    }

    fn get(&mut self, id: &str) -> Result<&mut Container, String> {
        match self.all.get_mut(id) {
            Some(container) if container.running => Ok(container),
            Some(_) => Err(format!("container {id} is not running")),
            None => Err(format!("container {id} was not started here")),
        }
    }

    /// Runs a container. On failure nothing of it is left.
    pub fn start(&mut self, id: &str, pause: Option<&OwnedFd>) -> Result<Answer, String> {
        if self.all.contains_key(id) {
            return Err(format!("container {id} was started before"));
        }
        let dir = container_dir(&self.dir, id);
        let text = fs::read(dir.join("spec.json")).map_err(|e| format!("read spec.json: {e}"))?;
        let spec: Spec = serde_json::from_slice(&text).map_err(|e| format!("read spec.json: {e}"))?;
        let result = self.limit(&spec).and_then(|()| self.launch(&spec, pause));
        let (container, user) = match result {
            Ok(started) => started,
            Err(e) => {
                self.discard(&spec.cgroup);
                return Err(e);
            }
        };
        let running = Running { pid: container.pid, started_at: unix_nanos(), user: user.clone() };
        let saved = serde_json::to_vec(&running)
            .map_err(io::Error::from)
            .and_then(|t| write_atomic(&dir.join("running.json"), &t));
        let pid = container.pid;
        self.all.insert(id.to_string(), container);
        if let Err(e) = saved {
            let _ = self.signal(id, libc::SIGKILL, true);
            return Err(format!("write running.json: {e}"));
        }
        Ok(Answer { pid, user: Some(user), ..Answer::default() })
    }

    fn limit(&self, spec: &Spec) -> Result<(), String> {
        let group = &spec.cgroup;
        self.cgroups.create(group).map_err(|e| format!("create cgroup: {e}"))?;
        self.cgroups.apply(group, &spec.resources).map_err(|e| format!("set limits: {e}"))?;
        self.cgroups.restrict_devices(group, &spec.device_rules).map_err(|e| format!("restrict devices: {e}"))
    }

    fn launch(&self, spec: &Spec, pause: Option<&OwnedFd>) -> Result<(Container, User), String> {
        let io_error = |e: io::Error| format!("set up streams: {e}");
        let log = Log::open(spec.log_path.clone()).map_err(|e| format!("open log {}: {e}", spec.log_path.display()))?;
        let (stdio, mut streams) = make_streams(spec, log).map_err(io_error)?;
        let oom_before = self.cgroups.oom_kills(&spec.cgroup);
        let (ours, theirs) = sys::packet_pair().map_err(io_error)?;
        let mut flags = libc::CLONE_NEWNS;
        match &spec.namespaces.pid {
            PidNamespace::Own => flags |= libc::CLONE_NEWPID,
            PidNamespace::Host => {}
            PidNamespace::Sandbox => self.children_into(pause.ok_or("the pod has no shared pid namespace")?)?,
            PidNamespace::Container(other) => {
                let target = self.all.get(other).filter(|c| c.running);
                self.children_into(&target.ok_or_else(|| format!("container {other} is not running"))?.pidfd)?;
            }
        }
        // SAFETY: the shim has one thread.
        let forked = unsafe { sys::clone_process(flags) };
        let (pid, pidfd) = match forked {
            Ok(Forked::Child) => {
                drop(ours);
                child::init(spec, &self.cgroups, &theirs, stdio)
            }
            Ok(Forked::Parent(pid, pidfd)) => (pid, pidfd),
            Err(e) => {
                self.children_here();
                return Err(format!("make a process: {e}"));
            }
        };
        self.children_here();
        drop((theirs, stdio));
        let (terminal, user) = self.supervise(&spec.cgroup, pid, &pidfd, &ours)?;
        if let Some(terminal) = terminal {
            streams.set_terminal(terminal);
        }
        Ok((Container { spec: spec.clone(), pid, pidfd, streams, oom_before, running: true }, user))
    }

    /// From now on children are born into the pid namespace of the process behind `pidfd`.
    fn children_into(&self, pidfd: &OwnedFd) -> Result<(), String> {
        sys::setns(pidfd.as_fd(), libc::CLONE_NEWPID).map_err(|e| format!("join the pid namespace: {e}"))
    }

    fn children_here(&self) {
        // Returning to our own namespace cannot fail: we live in it.
        let _ = sys::setns(self.own_pid_namespace.as_fd(), libc::CLONE_NEWPID);
    }

    /// Puts a new process into its group, lets it go, and listens until it runs its program or fails.
    fn supervise(
        &self,
        group: &str,
        pid: Pid,
        pidfd: &OwnedFd,
        sync: &OwnedFd,
    ) -> Result<(Option<OwnedFd>, User), String> {
        let abandon = |e: String| {
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
            e
        };
        self.cgroups.attach(group, pid).map_err(|e| abandon(format!("join cgroup: {e}")))?;
        sys::send_with_fds(sync.as_fd(), b"g", &[]).map_err(|e| abandon(format!("release the process: {e}")))?;
        let (mut terminal, mut user) = (None, None);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mut poll = [libc::pollfd { fd: sync.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            let ready =
                sys::poll(&mut poll, SETUP_TIMEOUT_MS).map_err(|e| abandon(format!("wait for the process: {e}")))?;
            if ready == 0 {
                return Err(abandon("the process was not ready in time".into()));
            }
            let (n, fds) = sys::receive_with_fds(sync.as_fd(), &mut buffer)
                .map_err(|e| abandon(format!("listen to the process: {e}")))?;
            match buffer[..n].split_first() {
                // End of file: the program runs. Without a report the process died before it.
                None => match user {
                    Some(user) => return Ok((terminal, user)),
                    None => return Err(abandon("the process died while it was set up".into())),
                },
                Some((&TAG_TERMINAL, _)) => terminal = fds.into_iter().next(),
                Some((&TAG_USER, rest)) => user = serde_json::from_slice(rest).ok(),
                Some((&TAG_ERROR, rest)) => return Err(abandon(String::from_utf8_lossy(rest).into_owned())),
                Some((tag, _)) => return Err(abandon(format!("unexpected message {tag} from the process"))),
            }
        }
    }

    pub fn exec(
        &mut self,
        exec: u64,
        id: &str,
        args: Vec<String>,
        tty: bool,
        stdio: Stdio,
    ) -> Result<(Pid, Option<OwnedFd>), String> {
        let container =
            self.all.get(id).filter(|c| c.running).ok_or_else(|| format!("container {id} is not running"))?;
        let mut process = container.spec.process.clone();
        process.args = args;
        let (ours, theirs) = sys::packet_pair().map_err(|e| e.to_string())?;
        self.children_into(&container.pidfd)?;
        // SAFETY: the shim has one thread.
        let forked = unsafe { sys::clone_process(0) };
        let (pid, pidfd) = match forked {
            Ok(Forked::Child) => {
                drop(ours);
                child::exec(&process, tty, container.pidfd.as_fd(), &theirs, stdio)
            }
            Ok(Forked::Parent(pid, pidfd)) => (pid, pidfd),
            Err(e) => {
                self.children_here();
                return Err(format!("make a process: {e}"));
            }
        };
        self.children_here();
        drop((theirs, stdio));
        let (terminal, _) = self.supervise(&container.spec.cgroup, pid, &pidfd, &ours)?;
        self.execs.insert(exec, Exec { pid, pidfd });
        Ok((pid, terminal))
    }

    pub fn kill_exec(&mut self, exec: u64) -> Result<(), String> {
        match self.execs.get(&exec) {
            Some(e) => sys::pidfd_signal(e.pidfd.as_fd(), libc::SIGKILL).map_err(|e| e.to_string()),
            None => Ok(()), // it has ended
        }
    }

    pub fn signal(&mut self, id: &str, signal: i32, all: bool) -> Result<(), String> {
        let Ok(container) = self.get(id) else { return Ok(()) };
        if all && signal == libc::SIGKILL {
            let group = container.spec.cgroup.clone();
            self.cgroups.kill(&group);
            return Ok(());
        }
        match sys::pidfd_signal(container.pidfd.as_fd(), signal) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(format!("signal {signal}: {e}")),
            _ => Ok(()),
        }
    }

    pub fn attach(
        &mut self,
        id: &str,
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<(), String> {
        self.get(id)?.streams.attach(stdin, stdout, stderr);
        Ok(())
    }

    pub fn resize(&mut self, id: &str, width: u16, height: u16) -> Result<(), String> {
        self.get(id)?.streams.resize(width, height).map_err(|e| e.to_string())
    }

    pub fn reopen_log(&mut self, id: &str) -> Result<(), String> {
        self.get(id)?.streams.reopen_log().map_err(|e| e.to_string())
    }

    pub fn forget(&mut self, id: &str) -> Result<(), String> {
        if self.all.get(id).is_some_and(|c| c.running) {
            return Err(format!("container {id} is running"));
        }
        self.all.remove(id);
        Ok(())
    }

    pub fn kill_all(&mut self) {
        for container in self.all.values().filter(|c| c.running) {
            self.cgroups.kill(&container.spec.cgroup);
        }
    }

    /// A child has ended: who it was, if anybody wants to know.
    pub fn ended(&mut self, pid: Pid, status: i32) -> Vec<Message> {
        let (code, signal) = if libc::WIFSIGNALED(status) {
            (128 + libc::WTERMSIG(status), libc::WTERMSIG(status))
        } else {
            (libc::WEXITSTATUS(status), 0)
        };
        let exec = self.execs.iter().find(|(_, e)| e.pid == pid).map(|(n, _)| *n);
        if let Some(exec) = exec {
            self.execs.remove(&exec);
            return vec![Message::ExecExited { exec, code }];
        }
        let Some((id, container)) = self.all.iter_mut().find(|(_, c)| c.running && c.pid == pid) else {
            return Vec::new();
        };
        container.running = false;
        container.streams.finish();
        let group = container.spec.cgroup.clone();
        let oom = self.cgroups.oom_kills(&group) > container.oom_before;
        let exit = Exit { code, signal, oom, finished_at: unix_nanos() };
        let path = container_dir(&self.dir, id).join("exit.json");
        if let Ok(text) = serde_json::to_vec(&exit) {
            let _ = write_atomic(&path, &text); // a daemon that is there learns it anyway
        }
        let message = Message::Exited { container: id.clone(), exit };
        self.discard(&group);
        vec![message]
    }

    /// Ends what is left in a group and removes it, now or as soon as it is empty.
    fn discard(&mut self, group: &str) {
        self.cgroups.kill(group);
        if self.cgroups.remove(group).is_err() {
            self.leftover.push(group.to_string());
        }
    }
}

/// What the child gets, and what the shim keeps.
fn make_streams(spec: &Spec, log: Log) -> io::Result<(Stdio, Streams)> {
    let mut stdio = Stdio { stdin: None, stdout: None, stderr: None };
    if spec.tty {
        return Ok((stdio, Streams::new(log, None, None, None, spec.stdin_once)));
    }
    let (stdout, child_stdout) = sys::pipe()?;
    let (stderr, child_stderr) = sys::pipe()?;
    (stdio.stdout, stdio.stderr) = (Some(child_stdout), Some(child_stderr));
    let mut stdin = None;
    if spec.stdin {
        let (child_stdin, ours) = sys::pipe()?;
        (stdio.stdin, stdin) = (Some(child_stdin), Some(ours));
    }
    Ok((stdio, Streams::new(log, Some(stdout), Some(stderr), stdin, spec.stdin_once)))
}

/// A process that does nothing but keep a pid namespace and reap orphans in it.
pub fn pause(config: &ShimConfig, cgroups: &Cgroups) -> io::Result<OwnedFd> {
    if !config.pause_cgroup.is_empty() {
        cgroups.create(&config.pause_cgroup)?;
    }
    // SAFETY: the shim has one thread.
    match unsafe { sys::clone_process(libc::CLONE_NEWPID)? } {
        Forked::Child => {
            let result = pause_main(config);
            sys::exit_now(i32::from(result.is_err()))
        }
        Forked::Parent(pid, pidfd) => {
            if !config.pause_cgroup.is_empty() {
                cgroups.attach(&config.pause_cgroup, pid)?;
            }
            Ok(pidfd)
        }
    }
}

fn pause_main(config: &ShimConfig) -> io::Result<()> {
    sys::reset_signals();
    // The containers share its pid namespace: they must not reach the host's binary through it.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    let _ = sys::prctl(libc::PR_SET_NAME, c"corten-pause".as_ptr() as libc::c_ulong);
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as _)?;
    for (path, flag) in
        [(&config.net, libc::CLONE_NEWNET), (&config.ipc, libc::CLONE_NEWIPC), (&config.uts, libc::CLONE_NEWUTS)]
    {
        if let Some(path) = path {
            sys::setns(File::open(path)?.as_fd(), flag)?;
        }
    }
    let null = fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev/null"))?;
    for number in 0..3 {
        sys::dup_to(null.as_fd(), number)?;
    }
    sys::close_from(3)?;
    let children = sys::sigchld_fd()?;
    sys::set_nonblocking(children.as_fd(), false)?;
    let mut buffer = [0; 1024];
    loop {
        let _ = sys::read(children.as_fd(), &mut buffer);
        while sys::wait_any()?.is_some() {}
    }
}
