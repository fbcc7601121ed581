//! Taking back disk space: large logs, images that nothing uses, sandboxes and directories of pods that are gone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use platform::time::sleep;
use wire::cri::*;

use crate::checkpoint;
use crate::convert::{LABEL_UID, log_dir};
use crate::core::machine::Run;
use crate::shared::Shared;
use crate::volumes;

/// Total and free bytes of the file system that holds a path.
pub fn disk(path: &Path) -> Option<(u64, u64)> {
    let path = path.ancestors().find(|p| p.exists())?;
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: zero is a valid statvfs, the name ends with NUL.
    unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &mut found) == 0)
            .then(|| (found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
    }
}

/// Removes what belongs to pods that neither the API nor a worker knows. Called once the pods are known.
pub async fn strays(shared: &Arc<Shared>) {
    let known: BTreeSet<String> = shared.workers().keys().cloned().collect();
    let found =
        shared.cri.list_pod_sandbox(ListPodSandboxRequest::default()).await.map(|a| a.items).unwrap_or_default();
    for sandbox in found {
        let Some(uid) = sandbox.labels.get(LABEL_UID) else { continue }; // somebody else's
        if !known.contains(uid) {
            tracing::info!(sandbox = sandbox.id, "removing the sandbox of a pod that is gone");
            let id = sandbox.id.clone();
            let stopped = shared.cri.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await;
            let removed = shared.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id }).await;
            if let Err(e) = stopped.and(removed) {
                tracing::warn!(sandbox = sandbox.id, error = %e, "cannot remove a stray sandbox");
            }
        }
    }
    for pod in checkpoint::load(&shared.config.root_dir).iter().filter(|p| !known.contains(&p.metadata.uid)) {
        checkpoint::forget(&shared.config.root_dir, &pod.metadata.uid);
    }
    let pods = shared.config.root_dir.join("pods");
    for entry in std::fs::read_dir(&pods).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if known.contains(&uid) {
            continue;
        }
        match volumes::tear_down(&shared.config.root_dir, &uid) {
            Ok(()) => {
                remove_logs(&shared.config.pod_logs_dir, &uid);
                let _ = std::fs::remove_dir_all(entry.path());
            }
            Err(e) => tracing::warn!(uid, error = e, "cannot remove the volumes of a pod that is gone"),
        }
    }
}

/// Removes the logs of a pod of which only the uid is known.
fn remove_logs(logs: &Path, uid: &str) {
    for entry in std::fs::read_dir(logs).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().rsplit('_').next() == Some(uid) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A log file that is larger is set aside, and so many of them are kept.
const MAX_LOG: u64 = 10 << 20;
const KEEP_LOGS: usize = 4;

/// Sets large logs of running containers aside. The newest file always has the container's plain name.
pub async fn rotate_logs(shared: &Shared) {
    let workers: Vec<_> = shared.workers().values().map(|w| (w.pod.clone(), w.seen.clone())).collect();
    for (pod, seen) in workers {
        let running: Vec<_> = {
            let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.containers
                .iter()
                .filter(|c| c.state == Run::Running)
                .map(|c| (c.id.clone(), c.name.clone(), c.attempt))
                .collect()
        };
        for (id, name, attempt) in running {
            let dir = log_dir(&shared.config, &pod).join(&name);
            let path = dir.join(format!("{attempt}.log"));
            if std::fs::metadata(&path).is_ok_and(|m| m.len() > MAX_LOG)
                && let Err(e) = rotate(shared, &id, &path).await
            {
                tracing::warn!(container = name, error = e, "cannot rotate a log");
            }
        }
    }
}

async fn rotate(shared: &Shared, id: &str, path: &Path) -> Result<(), String> {
    let stamp: String =
        api::time::format_seconds(shared.env.wall().unix_seconds()).chars().filter(char::is_ascii_digit).collect();
    let (date, time) = stamp.split_at(8.min(stamp.len()));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = path.with_file_name(format!("{name}.{date}-{time}"));
    std::fs::rename(path, &aside).map_err(|e| format!("{}: {e}", path.display()))?;
    let reopened = shared.cri.reopen_container_log(ReopenContainerLogRequest { container_id: id.into() }).await;
    if let Err(e) = reopened {
        // The container goes on writing to the old file: it gets its name back.
        let _ = std::fs::rename(&aside, path);
        return Err(e.message().to_string());
    }
    let mut old = rotated(path);
    old.sort();
    for file in old.iter().rev().skip(KEEP_LOGS) {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

/// The files that were set aside from a log.
fn rotated(path: &Path) -> Vec<std::path::PathBuf> {
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect()
}

/// Removes a log with everything that was set aside from it.
pub fn remove_log(path: &Path) {
    for file in rotated(path).iter().map(std::path::PathBuf::as_path).chain([path]) {
        let _ = std::fs::remove_file(file);
    }
}

/// Watches the disk for ever.
pub async fn images(shared: Arc<Shared>) {
    loop {
        sleep(shared.env.limits().kubelet.images).await;
        let Some((total, free)) = disk(&shared.config.root_dir) else { continue };
        let used_percent = (total - free) * 100 / total.max(1);
        if used_percent < shared.config.image_gc_high {
            continue;
        }
        let goal = total * (100 - shared.config.image_gc_low) / 100;
        if let Err(e) = free_images(&shared, goal.saturating_sub(free)).await {
            tracing::warn!(error = %e, "cannot remove unused images");
        }
    }
}

async fn free_images(shared: &Shared, mut wanted: u64) -> Result<(), wire::Status> {
    let containers = shared.cri.list_containers(ListContainersRequest::default()).await?.containers;
    let used: BTreeSet<String> =
        containers.into_iter().flat_map(|c| [c.image_id, c.image_ref, c.image.unwrap_or_default().image]).collect();
    for image in shared.cri.list_images(ListImagesRequest::default()).await?.images {
        let in_use =
            std::iter::once(&image.id).chain(&image.repo_tags).chain(&image.repo_digests).any(|n| used.contains(n));
        if wanted == 0 || in_use || image.pinned {
            continue;
        }
        let spec = ImageSpec { image: image.id.clone(), ..Default::default() };
        shared.cri.remove_image(RemoveImageRequest { image: Some(spec) }).await?;
        tracing::info!(image = image.id, bytes = image.size, "removed an unused image: the disk is nearly full");
        wanted = wanted.saturating_sub(image.size);
    }
    Ok(())
}
