//! Work inside another network namespace, on a thread that is thrown away afterwards.

use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Opens the namespace that is bound at `path`.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::file("open the network namespace", path, e))
}

/// Runs `work` on a new thread inside the namespace and gives back its answer.
///
/// Sockets that `work` opens stay in that namespace wherever they are used later.
pub fn inside<T: Send + 'static>(netns: &File, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let netns = netns.try_clone().map_err(|e| Error::kernel("duplicate a namespace descriptor", e))?;
    let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024).spawn(move || {
        // SAFETY: setns(2) takes no pointers and changes this thread only, which ends after `work`.
        if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
            return Err(Error::kernel("enter the pod's network namespace", io::Error::last_os_error()));
        }
        work()
    });
    let thread = thread.map_err(|e| Error::kernel("start a thread for a network namespace", e))?;
    thread.join().unwrap_or_else(|_| Err(Error::Invalid("the thread in the pod's network namespace panicked".into())))
}
