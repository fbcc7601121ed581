//! What happens in a new process between clone and exec, for a container's first process and for exec.
//!
//! The parent is single-threaded, so ordinary Rust is safe here. Every failure travels over the `sync` socket as text
//! and ends the process; the socket closes by itself at a successful exec.
//!
//! Order of the last steps (node-findings.md): without no_new_privs the filter is loaded while CAP_SYS_ADMIN is still
//! there; with it, last.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::mounts::{self, Told, told};
use crate::cgroup::Cgroups;
use crate::core::passwd::{self, User};
use crate::core::seccomp;
use crate::spec::{ProcessSpec, Spec};
use crate::sys;

/// The descriptors that become 0, 1 and 2; /dev/null where there is none.
pub struct Stdio {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// A packet from child to parent.
pub const TAG_ERROR: u8 = b'E';
pub const TAG_TERMINAL: u8 = b'T';
pub const TAG_USER: u8 = b'U';

/// Runs a container's first process. Never returns.
pub fn init(spec: &Spec, cgroups: &Cgroups, sync: &OwnedFd, stdio: Stdio) -> ! {
    let result = wait_for_parent(sync)
        .and_then(|()| prepare_init(spec, cgroups))
        .and_then(|()| run(&spec.process, spec.tty, sync, stdio));
    fail(sync, result)
}

/// Runs another process in the container behind `pidfd`. Never returns.
pub fn exec(process: &ProcessSpec, tty: bool, pidfd: BorrowedFd<'_>, sync: &OwnedFd, stdio: Stdio) -> ! {
    let result = wait_for_parent(sync)
        .and_then(|()| {
            let all = libc::CLONE_NEWNS
                | libc::CLONE_NEWNET
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWCGROUP;
            told(sys::setns(pidfd, all), || "join the container".into())
        })
        .and_then(|()| run(process, tty, sync, stdio));
    fail(sync, result)
}

fn fail(sync: &OwnedFd, result: Told<()>) -> ! {
    let text = result.err().unwrap_or_default();
    let mut packet = vec![TAG_ERROR];
    packet.extend(text.bytes().take(4096));
    let _ = sys::send_with_fds(sync.as_fd(), &packet, &[]);
    sys::exit_now(128)
}

/// The parent moves this process into its groups first.
fn wait_for_parent(sync: &OwnedFd) -> Told<()> {
    // Until exec this process runs the host's binary with a view into the container: nobody in there may look into it
    // (/proc/<pid>/exe, memory). The kernel lifts this with exec.
    told(sys::prctl(libc::PR_SET_DUMPABLE, 0), || "hide the process".into())?;
    let mut byte = [0; 1];
    match sys::receive_with_fds(sync.as_fd(), &mut byte) {
        Ok((1, _)) => Ok(()),
        Ok(_) => Err("the shim gave up".into()),
        Err(e) => Err(format!("wait for the shim: {e}")),
    }
}

fn prepare_init(spec: &Spec, cgroups: &Cgroups) -> Told<()> {
    let n = &spec.namespaces;
    let join = [(&n.net, libc::CLONE_NEWNET), (&n.ipc, libc::CLONE_NEWIPC), (&n.uts, libc::CLONE_NEWUTS)];
    for (path, flag) in join {
        if let Some(path) = path {
            let what = || format!("join the namespace {}", path.display());
            let file = told(fs::File::open(path), what)?;
            told(sys::setns(file.as_fd(), flag), what)?;
        }
    }
    if !spec.privileged {
        told(sys::unshare(libc::CLONE_NEWCGROUP), || "make a cgroup namespace".into())?;
    }
    mounts::enter_root(spec, cgroups)
}

fn run(process: &ProcessSpec, tty: bool, sync: &OwnedFd, stdio: Stdio) -> Told<()> {
    let _ = sys::setsid(); // fails only for a leader, which a fresh child is not
    if let Some(score) = process.oom_score_adj {
        match fs::write("/proc/self/oom_score_adj", score.to_string()) {
            // Below its own score a runtime without CAP_SYS_RESOURCE cannot go.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && score < 0 => {}
            other => told(other, || format!("set the oom score to {score}"))?,
        }
    }
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let user = passwd::resolve(&process.user, &text("/etc/passwd"), &text("/etc/group"))?;
    if tty {
        open_terminal(sync, &user)?
    } else {
        set_stdio(stdio, &user)?
    }
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    if !Path::new(cwd).exists() {
        told(fs::create_dir_all(cwd), || format!("make the working directory {cwd}"))?;
    }
    told(std::env::set_current_dir(cwd), || format!("chdir to cwd ({cwd:?})"))?;
    for (resource, soft, hard) in &process.rlimits {
        told(sys::setrlimit(*resource, *soft, *hard), || format!("set resource limit {resource}"))?;
    }
    let env = environment(process, &user, tty);
    let program = find_program(process, &env, cwd)?;
    let filter = process.seccomp.as_ref().map(seccomp::compile).transpose()?;
    let report = [&[TAG_USER][..], &serde_json::to_vec(&user).unwrap_or_default()].concat();
    told(sys::send_with_fds(sync.as_fd(), &report, &[]), || "report to the shim".into())?;
    sys::reset_signals();
    become_user(process, &user, filter.as_deref())?;
    told(sys::cloexec_from(3), || "mark descriptors".into())?;
    let c = |texts: &[String]| texts.iter().map(|t| sys::cstr(t.as_bytes())).collect::<std::io::Result<Vec<CString>>>();
    let args = told(c(&process.args), || "arguments".into())?;
    let env = told(c(&env), || "environment".into())?;
    let path = told(sys::cstr(program.as_os_str().as_encoded_bytes()), || "program".into())?;
    let error = sys::execve(&path, &args, &env);
    Err(format!("exec {:?}: {error}", program.display().to_string()))
}

fn become_user(process: &ProcessSpec, user: &User, filter: Option<&[sys::Bpf]>) -> Told<()> {
    let keep = process.capabilities;
    for number in 0..64u32 {
        // Ends at the first number that this kernel does not know.
        match sys::prctl(libc::PR_CAPBSET_READ, number.into()) {
            Err(_) => break,
            Ok(1) if keep & (1 << number) == 0 => {
                told(sys::prctl(libc::PR_CAPBSET_DROP, number.into()), || "drop a capability".into())?;
            }
            Ok(_) => {}
        }
    }
    told(sys::setgroups(&user.groups), || "set supplementary groups".into())?;
    let early = !process.no_new_privileges;
    if let (true, Some(filter)) = (early, filter) {
        told(sys::seccomp_filter(filter), || "load the seccomp filter".into())?;
    }
    told(sys::prctl(libc::PR_SET_KEEPCAPS, 1), || "keep capabilities".into())?;
    told(sys::set_ids(user.uid, user.gid), || format!("become user {}:{}", user.uid, user.gid))?;
    told(sys::prctl(libc::PR_SET_KEEPCAPS, 0), || "stop keeping capabilities".into())?;
    // A runtime that lacks a capability itself cannot give it.
    let known = keep & told(sys::permitted_capabilities(), || "read capabilities".into())?;
    told(sys::capset(known, known, process.ambient & known), || "set capabilities".into())?;
    for number in 0..64u32 {
        if process.ambient & known & (1 << number) != 0 {
            told(sys::prctl_ambient(libc::PR_CAP_AMBIENT_RAISE, number), || "raise an ambient capability".into())?;
        }
    }
    // The container ends with its shim; the kernel forgets this when ids change, so it comes after them.
    told(sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as _), || "tie the process to the shim".into())?;
    if process.no_new_privileges {
        told(sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1), || "set no_new_privs".into())?;
    }
    if let (false, Some(filter)) = (early, filter) {
        told(sys::seccomp_filter(filter), || "load the seccomp filter".into())?;
    }
    Ok(())
}

fn set_stdio(stdio: Stdio, user: &User) -> Told<()> {
    let null = || fs::OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    for (fd, number) in [(stdio.stdin, 0), (stdio.stdout, 1), (stdio.stderr, 2)] {
        let what = || format!("set up descriptor {number}");
        let (fd, own) = match fd {
            Some(fd) => (fd, true),
            None => (told(null(), what)?, false),
        };
        if own {
            // So that the program may open /dev/stdout again. Fails for what is not ours, which is fine.
            let _ = std::os::unix::fs::fchown(&fd, Some(user.uid), None);
        }
        told(sys::dup_to(fd.as_fd(), number), what)?;
    }
    Ok(())
}

/// A terminal of the container's own devpts becomes 0, 1, 2; its master goes to the shim.
fn open_terminal(sync: &OwnedFd, user: &User) -> Told<()> {
    let what = || "open a terminal".to_string();
    let master = told(fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx"), what)?;
    let peer = told(sys::open_pty_peer(master.as_fd()), what)?;
    let _ = std::os::unix::fs::fchown(&peer, Some(user.uid), None);
    console(&master);
    told(sys::set_controlling_terminal(peer.as_fd()), || "set the controlling terminal".into())?;
    for number in 0..3 {
        told(sys::dup_to(peer.as_fd(), number), what)?;
    }
    told(sys::send_with_fds(sync.as_fd(), &[TAG_TERMINAL], &[master.as_fd()]), || "hand over the terminal".into())
}

/// Shows the first terminal as /dev/console. A container that has one already keeps it.
fn console(master: &fs::File) {
    let Ok(number) = sys::pty_number(master.as_fd()) else { return };
    if fs::OpenOptions::new().write(true).create_new(true).open("/dev/console").is_err() {
        return;
    }
    let from = PathBuf::from(format!("/dev/pts/{number}"));
    let bound = sys::open_tree(&from, false).and_then(|tree| {
        let target = fs::File::open("/dev/console")?;
        sys::move_mount(tree.as_fd(), target.as_fd())
    });
    if bound.is_err() {
        let _ = fs::remove_file("/dev/console");
    }
}

fn environment(process: &ProcessSpec, user: &User, tty: bool) -> Vec<String> {
    let mut env = process.env.clone();
    let has = |env: &[String], name: &str| env.iter().any(|e| e.split_once('=').is_some_and(|(n, _)| n == name));
    if !has(&env, "PATH") {
        env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    }
    if !has(&env, "HOME") {
        env.push(format!("HOME={}", user.home));
    }
    if tty && !has(&env, "TERM") {
        env.push("TERM=xterm".into());
    }
    env
}

fn find_program(process: &ProcessSpec, env: &[String], cwd: &str) -> Told<PathBuf> {
    let name = process.args.first().ok_or("no command specified")?;
    if name.contains('/') {
        let path = Path::new(cwd).join(name);
        return match fs::metadata(&path) {
            Ok(m) if m.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) => Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Err(e) => Err(format!("exec: {name:?}: {e}")),
        };
    }
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let candidate = Path::new(cwd).join(dir).join(name);
        let runnable = |m: fs::Metadata| {
            use std::os::unix::fs::PermissionsExt;
            m.is_file() && m.permissions().mode() & 0o111 != 0
        };
        if fs::metadata(&candidate).is_ok_and(runnable) {
            return Ok(candidate);
        }
    }
    Err(format!("exec: {name:?}: executable file not found in $PATH"))
}
