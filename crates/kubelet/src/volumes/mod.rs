//! Volumes of a pod on the node's disk: made before its containers, kept up to date, taken away after them.
//!
//! They lie below `<root>/pods/<uid>/volumes/<plugin>/<name>`, named as upstream does. Secrets, tokens and memory volumes
//! are tmpfs mounts. What is not supported is refused with the volume's name: the pod does not start.

pub mod atomic;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use client::{At, resources};
use platform::WallTime;
use serde_json::Value;

use crate::core::files::File;
use crate::core::pod::{Pod, Volume, quantity_value};
use crate::objects::Ref;
use crate::shared::Shared;

/// What came of setting volumes up.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Volume name to its path on the host. Image volumes have none.
    pub paths: BTreeMap<String, PathBuf>,
    /// Objects whose changes concern the pod.
    pub refs: BTreeSet<Ref>,
    /// When the volumes need another look (tokens).
    pub refresh_at: Option<WallTime>,
}

/// Content of a volume that is made of files, and whether it belongs into memory.
pub struct Content {
    files: Vec<File>,
    memory: bool,
    plugin: &'static str,
}

/// The pod's directory.
pub fn pod_dir(root: &Path, uid: &str) -> PathBuf {
    root.join("pods").join(uid)
}

fn volume_dir(root: &Path, uid: &str, plugin: &str, name: &str) -> PathBuf {
    pod_dir(root, uid).join("volumes").join(format!("kubernetes.io~{plugin}")).join(name)
}

/// Makes (or updates) every volume of the pod.
pub async fn set_up(shared: &Shared, pod: &Pod) -> Result<Prepared, String> {
    let mut out = Prepared::default();
    for volume in &pod.spec.volumes {
        let path = one(shared, pod, volume, &mut out)
            .await
            .map_err(|e| format!("MountVolume.SetUp failed for volume {:?} : {e}", volume.name))?;
        if let Some(path) = path {
            out.paths.insert(volume.name.clone(), path);
        }
    }
    Ok(out)
}

async fn one(shared: &Shared, pod: &Pod, volume: &Volume, out: &mut Prepared) -> Result<Option<PathBuf>, String> {
    let (root, uid, name) = (&shared.config.root_dir, &pod.metadata.uid, &volume.name);
    let told = |e: io::Error| e.to_string();
    let gid = pod.spec.security_context.fs_group.and_then(|g| u32::try_from(g).ok());
    if let Some(empty) = &volume.empty_dir {
        let dir = volume_dir(root, uid, "empty-dir", name);
        empty_dir(&dir, &empty.medium, empty.size_limit.as_ref(), gid).map_err(told)?;
        return Ok(Some(dir));
    }
    if let Some(host) = &volume.host_path {
        host_path(Path::new(&host.path), &host.r#type)?;
        return Ok(Some(host.path.clone().into()));
    }
    if volume.image.is_some() {
        return Ok(None); // the runtime mounts it
    }
    if let Some(content) = sources::content(shared, pod, volume, out).await? {
        let dir = volume_dir(root, uid, content.plugin, name);
        if content.memory {
            tmpfs(&dir, None).map_err(told)?;
        }
        atomic::write(&dir, &content.files, gid, shared.env.wall().unix_nanos()).map_err(told)?;
        return Ok(Some(dir));
    }
    if let Some(claim) = volume.other.get("persistentVolumeClaim") {
        let path = claimed(shared, pod, claim["claimName"].as_str().unwrap_or("")).await?;
        return Ok(Some(path));
    }
    let kind = volume.other.keys().next().cloned().unwrap_or_else(|| "unknown".into());
    Err(format!("no volume plugin matched: volumes of type {kind:?} are not supported by this kubelet"))
}

/// A claim whose volume is a directory of this node.
async fn claimed(shared: &Shared, pod: &Pod, claim: &str) -> Result<PathBuf, String> {
    let at = At { resource: &resources::PERSISTENTVOLUMECLAIMS, namespace: &pod.metadata.namespace, name: claim };
    let claim_object: Value = shared.client.get(at).await.map_err(|e| e.to_string())?;
    let name = claim_object["spec"]["volumeName"].as_str().unwrap_or("");
    if name.is_empty() || claim_object["status"]["phase"] != "Bound" {
        return Err(format!("PVC {}/{claim} is not bound", pod.metadata.namespace));
    }
    let at = At { resource: &resources::PERSISTENTVOLUMES, namespace: "", name };
    let volume: Value = shared.client.get(at).await.map_err(|e| e.to_string())?;
    let spec = &volume["spec"];
    if let Some(path) = spec["hostPath"]["path"].as_str() {
        host_path(Path::new(path), spec["hostPath"]["type"].as_str().unwrap_or("DirectoryOrCreate"))?;
        return Ok(path.into());
    }
    match spec["local"]["path"].as_str() {
        Some(path) if Path::new(path).exists() => Ok(path.into()),
        Some(path) => Err(format!("path {path:?} does not exist")),
        None => {
            Err(format!("PersistentVolume {name:?}: only hostPath and local volumes are supported by this kubelet"))
        }
    }
}

/// Whether something is mounted on a directory.
fn is_mount(dir: &Path) -> bool {
    let device = |p: &Path| fs::metadata(p).map(|m| m.dev()).ok();
    dir.parent().is_some_and(|parent| device(dir).is_some() && device(dir) != device(parent))
}

fn tmpfs(dir: &Path, size: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if is_mount(dir) {
        return Ok(());
    }
    let data = size.map_or(String::new(), |s| format!("size={s}"));
    let c = |text: &[u8]| std::ffi::CString::new(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e));
    let (target, data) = (c(dir.as_os_str().as_encoded_bytes())?, c(data.as_bytes())?);
    // SAFETY: all strings outlive the call.
    match unsafe { libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, data.as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unmount(dir: &Path) -> io::Result<()> {
    let target = std::ffi::CString::new(dir.as_os_str().as_encoded_bytes())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    // SAFETY: the string outlives the call.
    match unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn empty_dir(dir: &Path, medium: &str, limit: Option<&Value>, gid: Option<u32>) -> io::Result<()> {
    match medium {
        "" => fs::create_dir_all(dir)?,
        "Memory" => tmpfs(dir, limit.map(quantity_value).filter(|s| *s > 0))?,
        other => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("emptyDir medium {other:?} is not supported"),
            ));
        }
    }
    let mode = if gid.is_some() { 0o2777 } else { 0o777 };
    if gid.is_some() {
        chown(dir, None, gid)?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}

fn host_path(path: &Path, kind: &str) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;
    let show = path.display();
    let found = fs::metadata(path);
    let make = |result: io::Result<()>| result.map_err(|e| format!("hostPath {show}: {e}"));
    let is = |test: fn(&fs::FileType) -> bool, what: &str| match &found {
        Ok(m) if test(&m.file_type()) => Ok(()),
        _ => Err(format!("hostPath type check failed: {show} is not a {what}")),
    };
    match kind {
        "" => Ok(()),
        "DirectoryOrCreate" if found.is_err() => make(fs::create_dir_all(path)),
        "FileOrCreate" if found.is_err() => make(fs::File::create(path).map(drop)),
        "Directory" | "DirectoryOrCreate" => is(fs::FileType::is_dir, "directory"),
        "File" | "FileOrCreate" => is(fs::FileType::is_file, "file"),
        "Socket" => is(FileTypeExt::is_socket, "socket file"),
        "CharDevice" => is(FileTypeExt::is_char_device, "character device"),
        "BlockDevice" => is(FileTypeExt::is_block_device, "block device"),
        other => Err(format!("hostPath type {other:?} is unknown")),
    }
}

/// Takes a pod's volumes away. What a container still has mounted stays visible to it until it ends.
pub fn tear_down(root: &Path, uid: &str) -> Result<(), String> {
    let volumes = pod_dir(root, uid).join("volumes");
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    for dir in entries(&volumes).iter().flat_map(|plugin| entries(plugin)) {
        if is_mount(&dir) {
            unmount(&dir).map_err(|e| format!("unmount {}: {e}", dir.display()))?;
        }
    }
    match fs::remove_dir_all(&volumes) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("remove {}: {e}", volumes.display())),
        _ => Ok(()),
    }
}

/// The host path of a mount with a sub path, which must stay inside the volume. It is made if it is missing.
pub fn sub_path(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    if sub.starts_with('/') || sub.split('/').any(|p| p == "..") {
        return Err(format!("subPath {sub:?} must be a relative path without '..'"));
    }
    let whole = volume.join(sub);
    if fs::symlink_metadata(&whole).is_err() {
        let inside = existing_parent(&whole);
        check_inside(volume, &inside, sub)?;
        fs::create_dir_all(&whole).map_err(|e| format!("failed to create subPath directory {sub:?}: {e}"))?;
    }
    let real = whole.canonicalize().map_err(|e| format!("subPath {sub:?}: {e}"))?;
    check_inside(volume, &real, sub)?;
    Ok(real)
}

fn existing_parent(path: &Path) -> PathBuf {
    let mut at = path;
    while let Some(parent) = at.parent() {
        if let Ok(real) = parent.canonicalize() {
            return real;
        }
        at = parent;
    }
    PathBuf::from("/")
}

fn check_inside(volume: &Path, real: &Path, sub: &str) -> Result<(), String> {
    let root = volume.canonicalize().map_err(|e| format!("volume {}: {e}", volume.display()))?;
    if real.starts_with(&root) { Ok(()) } else { Err(format!("subPath {sub:?} leads out of its volume")) }
}
