//! Kubeconfigs that we write: their text, and where the administrator's lies.
//!
//! A file that is not this cluster's is never written over or removed: it may hold the way to other clusters.

use crate::cluster::Cluster;
use crate::paths::{self, Paths};
use crate::pki::Pair;
use std::path::{Path, PathBuf};

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A kubeconfig with embedded certificates.
pub fn text(server: &str, ca: &str, pair: &Pair) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: corten\n  cluster:\n    server: {server}\n    certificate-authority-data: {}\nusers:\n- name: corten\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: corten\n  context:\n    cluster: corten\n    user: corten\ncurrent-context: corten\n",
        base64(ca),
        base64(&pair.cert),
        base64(&pair.key)
    )
}

/// Where the administrator's kubeconfig is: as said now, as said last time, or in the data directory.
pub fn find(paths: &Paths, given: Option<&Path>) -> Result<PathBuf, String> {
    let wished = Cluster::load(paths)?.and_then(|c| c.wish.kubeconfig);
    Ok(given.map(Path::to_path_buf).or(wished).unwrap_or_else(|| paths.data.join("kubeconfig")))
}

/// Whether a kubeconfig leads to the cluster with this authority.
fn is_ours(kubeconfig: &str, authority: &str) -> bool {
    !authority.is_empty() && kubeconfig.contains(&base64(authority))
}

/// Writes the administrator's kubeconfig.
pub fn write(file: &Path, text: &str, authority: &str) -> Result<(), String> {
    let there = std::fs::read_to_string(file).unwrap_or_default();
    if !there.trim().is_empty() && !is_ours(&there, authority) {
        return Err(format!(
            "{} is not of this cluster and is left alone: remove it, or say with --kubeconfig where this cluster's shall be",
            file.display()
        ));
    }
    paths::write(file, text.as_bytes(), true)
}

/// Removes the administrator's kubeconfig, unless somebody has put another file there.
pub fn remove(paths: &Paths, given: Option<&Path>) -> Result<(), String> {
    let file = find(paths, given)?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let authority = std::fs::read_to_string(paths.pki().join("ca.crt")).unwrap_or_default();
    if is_ours(&text, &authority) {
        std::fs::remove_file(&file).map_err(|e| format!("remove {}: {e}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_file_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("corten-kubeconfig-{}", std::process::id()));
        let paths = Paths::new(dir.join("data"));
        paths::write(&paths.pki().join("ca.crt"), b"our authority", false).expect("write");
        let (theirs, ours) = (dir.join("theirs"), dir.join("ours"));
        std::fs::write(&theirs, "apiVersion: v1\nkind: Config\n").expect("write");
        let config = text("https://127.0.0.1:1", "our authority", &Pair { cert: "c".into(), key: "k".into() });
        assert!(write(&theirs, &config, "our authority").is_err_and(|e| e.contains("--kubeconfig")));
        write(&ours, &config, "our authority").expect("a new file");
        write(&ours, &config, "our authority").expect("our own file");
        remove(&paths, Some(&ours)).expect("ours goes");
        remove(&paths, Some(&theirs)).expect("theirs stays");
        assert!(!ours.exists() && theirs.exists());
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
