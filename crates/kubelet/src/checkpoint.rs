//! The assigned pods on disk, so that a node which boots without its server starts what it ran before.
//!
//! One file a pod, `<root>/checkpoint/<uid>.json`, the object as the API gave it, written by rename.

use std::path::{Path, PathBuf};

use crate::core::pod::Pod;

fn dir(root: &Path) -> PathBuf {
    root.join("checkpoint")
}

/// Remembers a pod.
pub fn save(root: &Path, pod: &Pod) {
    let path = dir(root).join(format!("{}.json", pod.metadata.uid));
    let temporary = path.with_extension("new");
    let written = std::fs::create_dir_all(dir(root))
        .and_then(|()| serde_json::to_vec(pod).map_err(std::io::Error::from))
        .and_then(|text| std::fs::write(&temporary, text))
        .and_then(|()| std::fs::rename(&temporary, &path));
    if let Err(e) = written {
        tracing::warn!(pod = pod.metadata.name, error = %e, "cannot write a pod's checkpoint");
    }
}

/// Forgets a pod.
pub fn forget(root: &Path, uid: &str) {
    let _ = std::fs::remove_file(dir(root).join(format!("{uid}.json")));
}

/// Every pod that is remembered. A file that cannot be read is skipped and told.
pub fn load(root: &Path) -> Vec<Pod> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir(root)).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        match std::fs::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|t| serde_json::from_slice(&t).map_err(|e| e.to_string()))
        {
            Ok(pod) => out.push(pod),
            Err(e) => tracing::warn!(path = %path.display(), error = e, "cannot read a pod's checkpoint"),
        }
    }
    out
}
