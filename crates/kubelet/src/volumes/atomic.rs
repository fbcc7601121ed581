//! Files that change all at once: `..data` is a symbolic link to a directory with a time in its name, and the names that
//! a container sees are links through it. A new set is written beside the old one and the link renamed over.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::core::files::{File, safe};

const DATA: &str = "..data";

/// Makes `dir` hold exactly `files`. True if anything changed. `gid` owns them when set.
pub fn write(dir: &Path, files: &[File], gid: Option<u32>, stamp: i64) -> io::Result<bool> {
    if let Some(bad) = files.iter().find(|f| !safe(&f.path)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {:?}", bad.path)));
    }
    fs::create_dir_all(dir)?;
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && same(&dir.join(current), files)
    {
        return Ok(false);
    }
    let name = format!("..{stamp}");
    let fresh = dir.join(&name);
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir(&fresh)?;
    own(&fresh, gid, 0o755)?;
    for file in files {
        let path = fresh.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.data)?;
        // A group that is to read the files gets to.
        let mode = if gid.is_some() { file.mode | (file.mode & 0o400) >> 3 } else { file.mode };
        own(&path, gid, mode)?;
    }
    let link = dir.join("..data_tmp");
    let _ = fs::remove_file(&link);
    symlink(&name, &link)?;
    fs::rename(&link, dir.join(DATA))?;
    let wanted: BTreeSet<&str> = files.iter().filter_map(|f| f.path.split('/').next()).collect();
    for first in &wanted {
        let seen = dir.join(first);
        if fs::symlink_metadata(&seen).is_err() {
            symlink(Path::new(DATA).join(first), &seen)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let text = entry.file_name().to_string_lossy().into_owned();
        let old_set = text.starts_with("..") && text != DATA && text != name;
        if old_set {
            fs::remove_dir_all(entry.path())?;
        } else if !text.starts_with("..") && !wanted.contains(text.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(true)
}

fn own(path: &Path, gid: Option<u32>, mode: u32) -> io::Result<()> {
    if gid.is_some() {
        chown(path, None, gid)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Whether a directory holds exactly these files with this content.
fn same(dir: &Path, files: &[File]) -> bool {
    let mut there = 0;
    let mut stack = vec![dir.to_path_buf()];
    while let Some(next) = stack.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => stack.push(entry.path()),
                _ => there += 1,
            }
        }
    }
    there == files.len() && files.iter().all(|f| fs::read(dir.join(&f.path)).is_ok_and(|d| d == f.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, data: &str) -> File {
        File { path: path.into(), data: data.into(), mode: 0o644 }
    }

    #[test]
    fn replaces_everything_at_once() {
        let dir = std::env::temp_dir().join(format!("corten-atomic-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        assert!(write(&dir, &[file("a", "1"), file("d/b", "2")], None, 1).expect("write"));
        assert_eq!(fs::read_to_string(dir.join("d/b")).expect("read"), "2");
        assert!(!write(&dir, &[file("a", "1"), file("d/b", "2")], None, 2).expect("same"));
        assert!(write(&dir, &[file("a", "3")], None, 3).expect("change"));
        assert_eq!(fs::read_to_string(dir.join("a")).expect("read"), "3");
        assert!(fs::symlink_metadata(dir.join("d")).is_err());
        assert_eq!(fs::read_link(dir.join("..data")).expect("link"), Path::new("..3"));
        assert!(!dir.join("..1").exists());
        assert!(write(&dir, &[file("../x", "")], None, 4).is_err());
        fs::remove_dir_all(&dir).expect("clean up");
    }
}
