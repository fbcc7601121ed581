//! The cluster's process seen from another one: found by its data directory, awaited until the kernel has closed all it held.

use crate::paths::Paths;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Flag of a kernel thread in `/proc/PID/stat` (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// How long a process may take to close its files once it ends.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// The process of the cluster in this directory, if it lives. One that has just been killed is awaited: it holds its
/// ports for a moment longer, while it no longer has a command line to be known by.
pub fn running(paths: &Paths) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(paths.data.join("corten.pid")).ok()?.trim().parse().ok()?;
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if cmdline.is_empty() {
        if is_user_process(pid)
            && let Ok(process) = Process::open(pid)
        {
            process.wait(LAST_BREATH);
        }
        return None;
    }
    let data = paths.data.to_string_lossy().into_owned();
    String::from_utf8_lossy(&cmdline).split('\0').any(|a| a == data).then_some(pid)
}

fn is_user_process(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|f| f & KERNEL_THREAD == 0)
}

/// A process that stays the same one, whoever takes its number later.
pub struct Process(OwnedFd);

impl Process {
    /// Fails when there is no such process.
    pub fn open(pid: i32) -> io::Result<Process> {
        // SAFETY: pidfd_open takes a pid and flags.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a descriptor that nobody else has.
        Ok(Process(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Kills it, unless it has ended.
    pub fn kill(&self) {
        // SAFETY: pidfd_send_signal takes a descriptor, a signal, no details and no flags.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, 0, 0) };
    }

    /// Waits for the end, at most so long: whether it came.
    pub fn wait(&self, most: Duration) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, most.as_millis().try_into().unwrap_or(i32::MAX)) > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A program with the data directory among its words, as `corten up --data-dir` has it.
    fn daemon(data: &std::path::Path) -> std::process::Child {
        Command::new("sh").args(["-c", "read word", "sh"]).arg(data).stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_process_is_ours_by_its_directory_and_gone_once_killed() {
        let dir = std::env::temp_dir().join(format!("corten-process-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let paths = Paths::new(&dir);
        assert_eq!(running(&paths), None, "no pid file");
        let mut child = daemon(&dir);
        let pid = child.id() as i32;
        std::fs::write(dir.join("corten.pid"), pid.to_string()).unwrap();
        let process = Process::open(pid).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while running(&paths) != Some(pid) {
            assert!(std::time::Instant::now() < deadline, "the shell's words are not seen");
            std::thread::yield_now();
        }
        assert!(!process.wait(Duration::ZERO));
        process.kill();
        assert!(process.wait(Duration::from_secs(10)));
        assert_eq!(running(&paths), None, "a zombie");
        child.wait().unwrap();
        assert_eq!(running(&paths), None);
        std::fs::write(dir.join("corten.pid"), "2").unwrap();
        assert_eq!(running(&paths), None, "a kernel's thread is nobody to wait for");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
