//! Where a cluster keeps its files.
//!
//! ```text
//! <data-dir>/cluster.json     the cluster's id, ranges, ports (written once, by rename)
//! <data-dir>/pki/             certificate authority, certificates, keys (0600)
//! <data-dir>/store/           the log
//! <data-dir>/nodes/<name>/    a node's runtime, kubelet and network state
//! <data-dir>/lock             held by the cluster's process; each node in a process of its own holds nodes/<name>/lock
//! <data-dir>/corten.pid, corten.log
//! ```
//! The key that encrypts secrets at rest lies outside: `<key-dir>/<cluster id>.key`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The default data directory.
pub const DATA_DIR: &str = "/var/lib/corten";
/// Where encryption keys are kept, apart from the data that they protect.
pub const KEY_DIR: &str = "/etc/corten/keys";

/// A cluster's files.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The data directory.
    pub data: PathBuf,
}

impl Paths {
    /// Those below a directory.
    pub fn new(data: impl Into<PathBuf>) -> Paths {
        Paths { data: data.into() }
    }
    /// The log store.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }
    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }
    /// A node's state.
    pub fn node(&self, name: &str) -> PathBuf {
        self.data.join("nodes").join(name)
    }
}

/// Takes a lock that the kernel gives back when this process ends, however it ends. Waits as long as `patience` for a
/// holder that is about to end; none if it does not.
pub fn lock(path: &Path, patience: Duration) -> Result<Option<std::fs::File>, String> {
    let fail = |e: std::io::Error| format!("lock {}: {e}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(fail)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(e)) => return Err(fail(e)),
        }
    }
}

/// Writes a file whole or not at all, readable by its owner only if `secret`.
pub fn write(path: &Path, bytes: &[u8], secret: bool) -> Result<(), String> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fail = |e: std::io::Error| format!("write {}: {e}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    // The whole name, so that two files' temporaries never meet; made anew, so that a leftover's mode is not inherited.
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.new"));
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if secret { 0o600 } else { 0o644 })
        .open(&temporary)
        .map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&temporary, path).map_err(fail)
}

/// Reads a file as text.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_leftover_gives_a_secret_no_wider_mode() {
        let dir = std::env::temp_dir().join(format!("corten-paths-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("make a directory");
        std::fs::write(dir.join(".ca.key.new"), "half").expect("write");
        write(&dir.join("ca.crt"), b"certificate", false).expect("write");
        write(&dir.join("ca.key"), b"key", true).expect("write");
        let mode = |name: &str| std::fs::metadata(dir.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("ca.crt"), mode("ca.key")), (0o644, 0o600));
        assert_eq!(std::fs::read_dir(&dir).expect("readable").count(), 2, "no temporary stays");
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
