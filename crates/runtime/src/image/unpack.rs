//! One layer: a (compressed) tar becomes a directory that overlayfs can use.
//!
//! Names never lead out of the directory: parents are opened with the directory as "/" (`openat2`), the last component is
//! only ever created, never followed. Whiteouts become what overlayfs understands. The digest of the plain tar is taken
//! in the same pass, including what follows the archive's end. A parent that only a lower layer has is made as a plain
//! directory with mode 0755.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::sys;

/// What came out of a layer.
#[derive(Debug)]
pub struct Unpacked {
    /// Digest of the plain tar: `sha256:…`.
    pub diff_id: String,
    /// Bytes of all files.
    pub size: u64,
}

/// Hashes what passes through.
pub struct Hashing<R> {
    inner: R,
    context: Context,
}

impl<R: Read> Hashing<R> {
    pub fn new(inner: R) -> Hashing<R> {
        Hashing { inner, context: Context::new(&SHA256) }
    }

    /// Reads the rest and gives the digest.
    pub fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex(self.context.finish().as_ref())))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.context.update(&buffer[..n]);
        Ok(n)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Digest of bytes: `sha256:…`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(ring::digest::digest(&SHA256, bytes).as_ref()))
}

/// The plain content of a gzip, zstd or plain stream, told apart by its first bytes.
pub fn decompress<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 4];
    let mut n = 0;
    while n < magic.len() {
        match reader.read(&mut magic[n..])? {
            0 => break,
            more => n += more,
        }
    }
    let whole = io::Cursor::new(magic[..n].to_vec()).chain(reader);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

/// Unpacks a layer into the existing, empty directory `into`.
pub fn unpack(reader: impl Read, into: &Path) -> io::Result<Unpacked> {
    let root = OwnedFd::from(File::open(into)?);
    let mut hashing = Hashing::new(decompress(reader)?);
    let mut archive = tar::Archive::new(&mut hashing);
    let mut size = 0;
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = clean(&entry.path()?)?;
        let context = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", name.display()));
        size += one(&root, &mut entry, &name, &mut directories).map_err(context)?;
    }
    // Directories last: what is made in them would change their times.
    for (path, mtime) in directories.iter().rev() {
        set_mtime(path, *mtime)?;
    }
    let diff_id = hashing.finish()?;
    sys::syncfs(root.as_fd())?;
    Ok(Unpacked { diff_id, size })
}

/// The name relative to the root; a name with ".." is refused.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(p) => out.push(p),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}: leads out of the layer", path.display()),
                ));
            }
        }
    }
    Ok(out)
}

/// Opens (and makes) the directory `path` inside the layer.
fn directory(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let wanted = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match sys::open_in_root(root.as_fd(), wanted, libc::O_PATH | libc::O_DIRECTORY) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    };
    let parent = directory(root, parent)?;
    let inside = inside(&parent, name);
    fs::create_dir(&inside)?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
    sys::open_in_root(root.as_fd(), path, libc::O_PATH | libc::O_DIRECTORY)
}

fn inside(dir: &OwnedFd, name: &std::ffi::OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name)
}

fn one<R: Read>(
    root: &OwnedFd,
    entry: &mut tar::Entry<'_, R>,
    name: &Path,
    directories: &mut Vec<(PathBuf, u64)>,
) -> io::Result<u64> {
    let header = entry.header().clone();
    let old = header.as_old();
    let mode = number(&old.mode, || header.mode())? & 0o7777;
    let uid = number(&old.uid, || header.uid().map(|n| n as u32))?;
    let gid = number(&old.gid, || header.gid().map(|n| n as u32))?;
    let mtime = header.mtime().unwrap_or(0);
    let Some(base) = name.file_name() else {
        // The root itself.
        let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
        return fs::set_permissions(path, fs::Permissions::from_mode(mode)).map(|()| 0);
    };
    let parent = directory(root, name.parent().unwrap_or(Path::new("")))?;
    if whiteout(&parent, base)? {
        return Ok(0);
    }
    let path = inside(&parent, base);
    let kind = header.entry_type();
    let there = fs::symlink_metadata(&path).ok();
    if let Some(old) = &there
        && !(old.is_dir() && kind.is_dir())
    {
        if old.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    let mut size = 0;
    use tar::EntryType as T;
    match kind {
        T::Regular | T::Continuous | T::GNUSparse => {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
            size = io::copy(entry, &mut file)?;
        }
        T::Directory => {
            if there.is_none_or(|m| !m.is_dir()) {
                fs::create_dir(&path)?;
            }
        }
        T::Symlink => symlink(link_name(entry)?, &path)?,
        T::Link => return hard_link(root, &link_name(entry)?, &path).map(|()| 0),
        T::Char | T::Block => {
            let node = if kind == T::Char { libc::S_IFCHR } else { libc::S_IFBLK };
            sys::mknod(&path, node | mode, header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))?;
        }
        T::Fifo => sys::mknod(&path, libc::S_IFIFO | mode, 0, 0)?,
        T::XGlobalHeader => return Ok(0),
        other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown entry type {other:?}"))),
    }
    lchown(&path, Some(uid), Some(gid))?;
    if kind != T::Symlink {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?; // after the owner: chown clears setuid
    }
    attributes(entry, &path)?;
    if kind == T::Directory {
        directories.push((name_in(root, name), mtime));
    } else {
        set_mtime(&path, mtime)?;
    }
    Ok(size)
}

/// A number of the header; a field that was left blank is 0, as other readers have it.
fn number(field: &[u8], read: impl FnOnce() -> io::Result<u32>) -> io::Result<u32> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(0) } else { read() }
}

/// A path that stays valid while the root is open.
fn name_in(root: &OwnedFd, name: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd())).join(name)
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<PathBuf> {
    let name = entry.link_name()?;
    name.map(|n| n.into_owned()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "link without a target"))
}

fn hard_link(root: &OwnedFd, target: &Path, path: &Path) -> io::Result<()> {
    let target = clean(target)?;
    let (Some(parent), Some(base)) = (target.parent(), target.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "hard link to the root"));
    };
    let parent = sys::open_in_root(
        root.as_fd(),
        if parent.as_os_str().is_empty() { Path::new(".") } else { parent },
        libc::O_PATH | libc::O_DIRECTORY,
    )?;
    fs::hard_link(inside(&parent, base), path)
}

/// Whiteouts, as overlayfs wants them. True if the entry was one.
fn whiteout(parent: &OwnedFd, base: &std::ffi::OsStr) -> io::Result<bool> {
    let Some(hidden) = base.as_bytes().strip_prefix(b".wh.") else { return Ok(false) };
    if hidden == b".wh..opq" {
        let dir = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
        set_attribute(&dir, "trusted.overlay.opaque", b"y", true)?;
        return Ok(true);
    }
    if hidden.is_empty() || hidden == b"." || hidden == b".." || hidden.starts_with(b".wh.") {
        return Ok(true); // other tools' bookkeeping
    }
    let path = inside(parent, std::ffi::OsStr::from_bytes(hidden));
    // It hides lower layers only: a file of this layer with that name stays.
    if fs::symlink_metadata(&path).is_err() {
        sys::mknod(&path, libc::S_IFCHR, 0, 0)?;
    }
    Ok(true)
}

fn attributes<R: Read>(entry: &mut tar::Entry<'_, R>, path: &Path) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key().ok().and_then(|k| k.strip_prefix("SCHILY.xattr.")) else { continue };
        // The image must not set what steers the overlay.
        if !name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.") {
            set_attribute(path, name, extension.value_bytes(), false)?;
        }
    }
    Ok(())
}

fn set_attribute(path: &Path, name: &str, value: &[u8], follow: bool) -> io::Result<()> {
    let (path, name) = (sys::cstr(path.as_os_str().as_bytes())?, sys::cstr(name.as_bytes())?);
    let set = if follow { libc::setxattr } else { libc::lsetxattr };
    // SAFETY: strings end with NUL, value has its length.
    match unsafe { set(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_mtime(path: &Path, mtime: u64) -> io::Result<()> {
    let path = sys::cstr(path.as_os_str().as_bytes())?;
    let time = libc::timespec { tv_sec: mtime as libc::time_t, tv_nsec: 0 };
    let times = [time, time];
    // SAFETY: path ends with NUL, times has two elements.
    match unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
