//! The store of an API server that is given `--etcd-servers`.

use crate::flags::Flags;
use crate::{paths, pki};
use platform::Env;
use std::path::Path;
use std::sync::Arc;
use store::{AesGcm, Seal, Store};

/// Connects and loads. All servers of one etcd need the same encryption key.
pub async fn open(env: &Env, flags: &Flags, servers: &str, key_file: &Path) -> Result<Arc<dyn Store>, String> {
    let read = |flag: &str| flags.path(flag).map(|p| paths::read(&p).map(String::into_bytes)).transpose();
    let identity = match (read("etcd-certfile")?, read("etcd-keyfile")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("flags --etcd-certfile and --etcd-keyfile are needed together".into()),
    };
    let prefix = flags.get("etcd-prefix").unwrap_or("/registry");
    let root = prefix
        .trim_end_matches('/')
        .strip_suffix("/registry")
        .ok_or_else(|| format!("flag --etcd-prefix: {prefix:?} does not end with /registry"))?;
    if let Some(dir) = key_file.parent() {
        std::fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
    }
    let key = pki::encryption_key(&key_file.to_path_buf())?;
    let seal: Arc<dyn Seal> = Arc::new(AesGcm::new(&[(1, key)]).map_err(|e| format!("encryption key: {e}"))?);
    let endpoints = servers.split(',').map(str::trim).filter(|s| !s.is_empty()).map(String::from).collect();
    let access = etcd::Access { endpoints, authority: read("etcd-cafile")?, identity };
    etcd::open(env, etcd::Options { access, root: root.to_string(), prefix: "/registry/".into(), seal }).await
}
