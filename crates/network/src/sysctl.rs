//! Kernel settings of the whole network namespace: what Corten changes is recorded first and put back by `reset`.
//!
//! Invariant: the record is on disk before the setting is changed; a setting that somebody changed afterwards is left alone.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What was there and what Corten wrote, per file below `/proc/sys`.
type Record = BTreeMap<String, (String, String)>;

fn record_path(dir: &Path) -> PathBuf {
    dir.join("sysctls.json")
}

fn read_record(dir: &Path) -> Record {
    fs::read(record_path(dir)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Sets `name` (`net/ipv4/ip_forward`) to `value`, remembering in `dir` what it was.
pub fn set(dir: &Path, name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    let old = fs::read_to_string(&path).map_err(|e| Error::file("read", &path, e))?.trim().to_string();
    if old == value {
        return Ok(());
    }
    let mut record = read_record(dir);
    let first = record.get(name).map_or(old, |(first, _)| first.clone());
    record.insert(name.to_string(), (first, value.to_string()));
    write_atomically(&record_path(dir), &serde_json::to_vec(&record).unwrap_or_default())?;
    fs::write(&path, value).map_err(|e| Error::file("write", &path, e))
}

/// Puts back what was recorded in `dir`.
pub fn restore(dir: &Path) -> Result<()> {
    for (name, (old, ours)) in read_record(dir) {
        let path = Path::new("/proc/sys").join(&name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() == ours) {
            fs::write(&path, old).map_err(|e| Error::file("write", &path, e))?;
        }
    }
    match fs::remove_file(record_path(dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &record_path(dir), e)),
        _ => Ok(()),
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).map_err(|e| Error::file("write", &temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| Error::file("rename to", path, e))
}
