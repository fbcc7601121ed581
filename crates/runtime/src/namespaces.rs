//! A pod's namespaces, kept alive by bind mounts instead of a process.
//!
//! Made by a thread that ends at once: a namespace belongs to a thread, and no thread of the daemon may stay in one.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys;

/// What a pod wants for itself.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub net: bool,
    pub ipc: bool,
    pub hostname: String,
    /// `net.ipv4.ip_forward` style names and values.
    pub sysctls: Vec<(String, String)>,
}

/// The names under which the namespaces are bound in the pod's run directory.
pub const NET: &str = "net";
pub const IPC: &str = "ipc";
pub const UTS: &str = "uts";

/// Makes the namespaces and binds them in `dir`.
pub fn create(dir: &Path, wanted: &Wanted) -> Result<()> {
    let (dir, wanted) = (dir.to_path_buf(), wanted.clone());
    in_thread(move || make(&dir, &wanted))
}

/// Runs something in a fresh thread that may change its namespaces.
pub fn in_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024).spawn(work);
    let thread = thread.map_err(|e| Error::internal(format!("start a thread: {e}")))?;
    thread.join().unwrap_or_else(|_| Err(Error::internal("a namespace thread panicked")))
}

fn make(dir: &Path, wanted: &Wanted) -> Result<()> {
    // A pod in the host's network has the host's name as well.
    let (mut flags, mut kinds) = (0, Vec::new());
    if wanted.net {
        flags |= libc::CLONE_NEWNET | libc::CLONE_NEWUTS;
        kinds.extend([NET, UTS]);
    }
    if wanted.ipc {
        flags |= libc::CLONE_NEWIPC;
        kinds.push(IPC);
    }
    let fail = |what: &str, e: io::Error| Error::internal(format!("{what}: {e}"));
    sys::unshare(flags).map_err(|e| fail("make namespaces", e))?;
    if wanted.net && !wanted.hostname.is_empty() {
        sys::sethostname(&wanted.hostname).map_err(|e| fail("set the host name", e))?;
    }
    if wanted.net {
        sys::loopback_up().map_err(|e| fail("bring loopback up", e))?;
    }
    for (name, value) in &wanted.sysctls {
        sysctl(name, value, wanted)?;
    }
    for kind in kinds {
        let target = dir.join(kind);
        File::create(&target).map_err(|e| Error::file("create", &target, e))?;
        let source = format!("/proc/thread-self/ns/{kind}");
        sys::mount(&source, &target, "", libc::MS_BIND, "")
            .map_err(|e| Error::file("bind a namespace to", &target, e))?;
    }
    Ok(())
}

/// Only what belongs to the pod's own namespaces may be set.
fn sysctl(name: &str, value: &str, wanted: &Wanted) -> Result<()> {
    let slashed = name.replace('.', "/");
    let allowed = (slashed.starts_with("net/") && wanted.net)
        || ((slashed.starts_with("kernel/shm")
            || slashed.starts_with("kernel/msg")
            || slashed.starts_with("kernel/sem")
            || slashed.starts_with("fs/mqueue/"))
            && wanted.ipc);
    if !allowed || slashed.split('/').any(|p| p == "..") {
        return Err(Error::invalid(format!(
            "sysctl {name:?} is not allowed: it is not in a separate kernel namespace"
        )));
    }
    let path = PathBuf::from("/proc/sys").join(&slashed);
    fs::write(&path, value).map_err(|e| Error::file(&format!("set sysctl {name}={value:?}:"), &path, e))
}

/// Mounts the pod's shared memory.
pub fn mount_shm(dir: &Path) -> Result<()> {
    let target = dir.join("shm");
    fs::create_dir_all(&target).map_err(|e| Error::file("make directory", &target, e))?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount("shm", &target, "tmpfs", flags, "mode=1777,size=67108864").map_err(|e| Error::file("mount", &target, e))
}

/// Takes back everything that was mounted in a pod's run directory, and the directory.
pub fn destroy(dir: &Path) -> Result<()> {
    for name in [NET, IPC, UTS, "shm"] {
        let target = dir.join(name);
        // Until nothing is there: an interrupted start may have mounted twice.
        while sys::umount(&target, libc::MNT_DETACH).is_ok() {}
    }
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", dir, e)),
        _ => Ok(()),
    }
}

/// Enters the network namespace bound at `path`, for the calling thread.
pub fn enter_network(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::file("open", path, e))?;
    sys::setns(file.as_fd(), libc::CLONE_NEWNET).map_err(|e| Error::file("enter", path, e))
}
