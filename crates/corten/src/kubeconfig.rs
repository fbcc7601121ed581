//! Kubeconfigs that we write: their text, and where the administrator's lies.
//!
//! A file that is not ours is never written over: it may hold the way to other clusters.

use crate::paths::{self, Paths};
use crate::pki::Pair;
use std::path::{Path, PathBuf};

/// The first line of every kubeconfig that we write.
const MARK: &str = "# Written by corten, which replaces the whole file.\n";

/// A kubeconfig with embedded certificates.
pub fn text(server: &str, ca: &str, pair: &Pair) -> String {
    use base64::Engine as _;
    let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "{MARK}apiVersion: v1\nkind: Config\nclusters:\n- name: corten\n  cluster:\n    server: {server}\n    certificate-authority-data: {}\nusers:\n- name: corten\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: corten\n  context:\n    cluster: corten\n    user: corten\ncurrent-context: corten\n",
        b64(ca),
        b64(&pair.cert),
        b64(&pair.key)
    )
}

/// Where the place of the administrator's kubeconfig is noted, if it is not the default.
fn note(paths: &Paths) -> PathBuf {
    paths.data.join("kubeconfig.path")
}

/// Where the administrator's kubeconfig lies: as given, as noted by the last `up`, or in the data directory.
pub fn find(paths: &Paths, given: Option<&Path>) -> PathBuf {
    let noted = || paths::read(&note(paths)).ok().map(PathBuf::from);
    given.map(Path::to_path_buf).or_else(noted).unwrap_or_else(|| paths.data.join("kubeconfig"))
}

/// Fails if something that is not ours lies at a place.
pub fn check(file: &Path) -> Result<(), String> {
    match std::fs::read(file) {
        Ok(old) if !old.starts_with(MARK.as_bytes()) => Err(format!(
            "{} was not written by corten and may lead to other clusters: name another file with --kubeconfig, or move it away",
            file.display()
        )),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("read {}: {e}", file.display())),
    }
}

/// Writes the administrator's kubeconfig and notes where it is.
pub fn place(paths: &Paths, file: &Path, text: &str) -> Result<(), String> {
    check(file)?;
    if file != paths.data.join("kubeconfig") {
        paths::write(&note(paths), file.display().to_string().as_bytes(), false)?;
    }
    paths::write(file, text.as_bytes(), true)
}

/// Removes the administrator's kubeconfig if it is ours.
pub fn remove(paths: &Paths, given: Option<&Path>) -> Result<(), String> {
    let file = find(paths, given);
    if check(&file).is_err() {
        return Ok(());
    }
    for path in [file, note(paths)] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("remove {}: {e}", path.display()));
            }
            _ => {}
        }
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
        std::fs::create_dir_all(&paths.data).expect("make a directory");
        let (theirs, ours) = (dir.join("theirs"), dir.join("ours"));
        std::fs::write(&theirs, "apiVersion: v1\nkind: Config\n").expect("write");
        let config = text("https://127.0.0.1:1", "ca", &Pair { cert: "c".into(), key: "k".into() });
        assert!(place(&paths, &theirs, &config).is_err_and(|e| e.contains("--kubeconfig")));
        place(&paths, &ours, &config).expect("a new file");
        place(&paths, &ours, &config).expect("our own file");
        assert_eq!(find(&paths, None), ours, "noted");
        remove(&paths, None).expect("ours goes");
        remove(&paths, Some(&theirs)).expect("theirs stays");
        assert!(!ours.exists() && theirs.exists());
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
