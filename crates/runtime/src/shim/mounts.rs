//! The file system of a container, made in its own mount namespace: the overlay, /proc, /dev, /sys, bind mounts.
//!
//! Everything disappears with the namespace, so nothing needs to be unmounted on the host. Paths inside the image are
//! only followed with the image's root as "/" (`openat2`), so that no symbolic link of an image leads to the host.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroups;
use crate::spec::{DeviceNode, Mount, Overlay, Propagation, Spec};
use crate::sys::{self, mount_attr};

/// Result with a message for people.
pub type Told<T> = Result<T, String>;

/// Adds what was being done to an error.
pub fn told<T>(result: io::Result<T>, what: impl FnOnce() -> String) -> Told<T> {
    result.map_err(|e| format!("{}: {e}", what()))
}

/// Builds the root file system and makes it "/".
pub fn enter_root(spec: &Spec, cgroups: &Cgroups) -> Told<()> {
    // Copies of the bind sources are taken while the host's mounts are still peers of ours.
    let trees = spec.mounts.iter().map(|m| source_tree(m)).collect::<Told<Vec<_>>>()?;
    told(sys::mount("", Path::new("/"), "", libc::MS_SLAVE | libc::MS_REC, ""), || {
        "detach mounts from the host".into()
    })?;
    mount_overlay(&spec.overlay, false)?;
    let root = told(open_path(&spec.overlay.root), || format!("open {}", spec.overlay.root.display()))?;
    pseudo_filesystems(spec, cgroups, root.as_fd())?;
    for (mount, tree) in spec.mounts.iter().zip(trees) {
        bind(mount, tree, root.as_fd())?;
    }
    let root_path = &spec.overlay.root;
    told(std::env::set_current_dir(root_path), || format!("enter {}", root_path.display()))?;
    told(sys::pivot_root_here(), || "pivot_root".into())?;
    told(sys::umount(Path::new("."), libc::MNT_DETACH), || "detach the host's root".into())?;
    told(std::env::set_current_dir("/"), || "enter the new root".into())?;
    if !spec.privileged {
        for path in &spec.readonly_paths {
            told(make_readonly(Path::new(path)), || format!("make {path} read-only"))?;
        }
        for path in &spec.masked_paths {
            told(mask(Path::new(path)), || format!("mask {path}"))?;
        }
    }
    if spec.readonly {
        let root = told(open_path(Path::new("/")), || "open /".into())?;
        told(sys::mount_setattr(root.as_fd(), false, mount_attr::RDONLY, 0), || "make the root read-only".into())?;
    }
    Ok(())
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).map(OwnedFd::from)
}

/// Mounts an overlay at its root. The lower directories are named relative to the layers' directory.
pub fn mount_overlay(overlay: &Overlay, readonly: bool) -> Told<()> {
    told(std::env::set_current_dir(&overlay.layers), || format!("enter {}", overlay.layers.display()))?;
    let mut data = format!("lowerdir={}", overlay.lower.join(":"));
    if !readonly {
        data += &format!(",upperdir={},workdir={}", overlay.upper.display(), overlay.work.display());
    }
    let flags = if readonly { libc::MS_RDONLY } else { 0 };
    told(sys::mount("overlay", &overlay.root, "overlay", flags, &data), || {
        format!("mount the root file system ({} layers)", overlay.lower.len())
    })
}

/// What a mount will show, detached; none for images, which are made in place.
fn source_tree(mount: &Mount) -> Told<Option<OwnedFd>> {
    if mount.image.is_some() {
        return Ok(None);
    }
    told(sys::open_tree(&mount.source, true), || format!("bind source {}", mount.source.display())).map(Some)
}

fn bind(mount: &Mount, tree: Option<OwnedFd>, root: BorrowedFd<'_>) -> Told<()> {
    let show = mount.target.display();
    let (tree, is_dir) = match (tree, &mount.image) {
        (Some(tree), _) => {
            let kind = told(fs::metadata(format!("/proc/self/fd/{}", tree.as_raw_fd())), || format!("mount {show}"))?;
            (tree, kind.is_dir())
        }
        (None, Some(image)) => (image_tree(image)?, true),
        (None, None) => return Err(format!("mount {show}: no source")),
    };
    let propagation = match mount.propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::HostToContainer => libc::MS_SLAVE,
        Propagation::Bidirectional => libc::MS_SHARED,
    };
    told(sys::mount_setattr(tree.as_fd(), true, 0, propagation), || format!("set propagation of {show}"))?;
    if mount.readonly || mount.recursive_readonly {
        told(sys::mount_setattr(tree.as_fd(), mount.recursive_readonly, mount_attr::RDONLY, 0), || {
            format!("make {show} read-only")
        })?;
    }
    let target = told(ensure(root, &mount.target, is_dir), || format!("make the mount point {show}"))?;
    told(sys::move_mount(tree.as_fd(), target.as_fd()), || format!("mount {show}"))
}

fn image_tree(image: &Overlay) -> Told<OwnedFd> {
    let single = image.layers.join(image.lower.first().map_or("", String::as_str));
    let source = match image.lower.len() {
        1 => single, // an overlay needs two
        _ => {
            mount_overlay(image, true)?;
            image.root.clone()
        }
    };
    let tree = told(sys::open_tree(&source, false), || "open the image".into())?;
    told(
        sys::mount_setattr(tree.as_fd(), false, mount_attr::RDONLY | mount_attr::NOSUID | mount_attr::NODEV, 0),
        || "make the image read-only".into(),
    )?;
    Ok(tree)
}

/// Opens `path` inside `root`, making it (and its parents) if it is missing.
fn ensure(root: BorrowedFd<'_>, path: &Path, directory: bool) -> io::Result<OwnedFd> {
    match sys::open_in_root(root, path, libc::O_PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path"));
    };
    let parent = ensure(root, parent, true)?;
    let inside = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    if directory {
        fs::create_dir(&inside)?;
    } else {
        fs::OpenOptions::new().write(true).create_new(true).open(&inside)?;
    }
    sys::open_in_root(root, path, libc::O_PATH)
}

/// Mounts a file system of the kernel at `path` inside `root`.
fn mount_in(root: BorrowedFd<'_>, path: &str, kind: &str, flags: libc::c_ulong, data: &str) -> Told<()> {
    let target = told(ensure(root, Path::new(path), true), || format!("make {path}"))?;
    let target = PathBuf::from(format!("/proc/self/fd/{}", target.as_raw_fd()));
    told(sys::mount(kind, &target, kind, flags, data), || format!("mount {kind} on {path}"))
}

const SAFE: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

fn pseudo_filesystems(spec: &Spec, cgroups: &Cgroups, root: BorrowedFd<'_>) -> Told<()> {
    mount_in(root, "/proc", "proc", SAFE, "")?;
    mount_in(root, "/dev", "tmpfs", libc::MS_NOSUID | libc::MS_STRICTATIME, "mode=755,size=65536k")?;
    let pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount_in(root, "/dev/pts", "devpts", libc::MS_NOSUID | libc::MS_NOEXEC, pts)?;
    mount_in(root, "/dev/mqueue", "mqueue", SAFE, "")?;
    let readonly = if spec.privileged { 0 } else { libc::MS_RDONLY };
    mount_in(root, "/sys", "sysfs", SAFE | readonly, "")?;
    let mounted = |path: &str| spec.mounts.iter().any(|m| m.target == Path::new(path));
    if !mounted("/sys/fs/cgroup") {
        cgroup_filesystems(cgroups, root, SAFE | readonly)?;
    }
    if !mounted("/dev/shm") {
        mount_in(root, "/dev/shm", "tmpfs", SAFE, "mode=1777,size=65536k")?;
    }
    device_nodes(spec, root)
}

fn cgroup_filesystems(cgroups: &Cgroups, root: BorrowedFd<'_>, flags: libc::c_ulong) -> Told<()> {
    if cgroups.is_v2() {
        return mount_in(root, "/sys/fs/cgroup", "cgroup2", flags, "");
    }
    // The directories are made on a writable tmpfs that becomes read-only afterwards.
    mount_in(root, "/sys/fs/cgroup", "tmpfs", SAFE, "mode=755,size=64k")?;
    let mut done: Vec<&Path> = Vec::new();
    for (_, point) in cgroups.v1_mounts() {
        if done.contains(&point) {
            continue;
        }
        done.push(point);
        let names: Vec<&str> = cgroups.v1_mounts().filter(|(_, p)| *p == point).map(|(n, _)| n).collect();
        let data = match names[..] {
            ["systemd"] => "none,name=systemd".to_string(),
            _ => names.join(","),
        };
        let Some(name) = point.file_name() else { continue };
        mount_in(root, &format!("/sys/fs/cgroup/{}", name.to_string_lossy()), "cgroup", flags, &data)?;
    }
    let target = told(ensure(root, Path::new("/sys/fs/cgroup"), true), || "open /sys/fs/cgroup".into())?;
    if flags & libc::MS_RDONLY != 0 {
        told(sys::mount_setattr(target.as_fd(), false, mount_attr::RDONLY, 0), || {
            "make /sys/fs/cgroup read-only".into()
        })?;
    }
    Ok(())
}

fn device_nodes(spec: &Spec, root: BorrowedFd<'_>) -> Told<()> {
    let dev = told(ensure(root, Path::new("/dev"), true), || "open /dev".into())?;
    let dev = PathBuf::from(format!("/proc/self/fd/{}", dev.as_raw_fd()));
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        told(node(&dev.join(name), false, 1, minor, 0o666), || format!("make /dev/{name}"))?;
    }
    told(node(&dev.join("tty"), false, 5, 0, 0o666), || "make /dev/tty".into())?;
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    for (to, name) in links {
        told(symlink(to, dev.join(name)), || format!("link /dev/{name}"))?;
    }
    for device in &spec.devices {
        host_device(device, root)?;
    }
    Ok(())
}

fn node(path: &Path, block: bool, major: u32, minor: u32, mode: u32) -> io::Result<()> {
    let kind = if block { libc::S_IFBLK } else { libc::S_IFCHR };
    match sys::mknod(path, kind | mode, major, minor) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)) // mknod obeys the umask
}

fn host_device(device: &DeviceNode, root: BorrowedFd<'_>) -> Told<()> {
    let what = || format!("make the device {}", device.path.display());
    let (Some(parent), Some(name)) = (device.path.parent(), device.path.file_name()) else {
        return Err(format!("device path {:?} is not absolute", device.path));
    };
    let parent = told(ensure(root, parent, true), what)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    told(node(&path, device.block, device.major, device.minor, device.mode & 0o777), what)?;
    told(chown(&path, Some(device.uid), Some(device.gid)), what)
}

/// Makes an existing path read-only, seen from inside; a missing one is fine.
fn make_readonly(path: &Path) -> io::Result<()> {
    let tree = match sys::open_tree(path, true) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let attributes = mount_attr::RDONLY | mount_attr::NOSUID | mount_attr::NODEV | mount_attr::NOEXEC;
    sys::mount_setattr(tree.as_fd(), true, attributes, 0)?;
    sys::move_mount(tree.as_fd(), open_path(path)?.as_fd())
}

/// Hides an existing path: a file behind /dev/null, a directory behind an empty one.
fn mask(path: &Path) -> io::Result<()> {
    let kind = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if kind.is_dir() {
        return sys::mount("tmpfs", path, "tmpfs", SAFE | libc::MS_RDONLY, "size=0k,nr_inodes=2");
    }
    let tree = sys::open_tree(Path::new("/dev/null"), false)?;
    sys::move_mount(tree.as_fd(), open_path(path)?.as_fd())
}
