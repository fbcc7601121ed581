//! Opens a store and puts an API server on it: what `corten up`, `corten server` and `corten apiserver` share.

use crate::pki;
use apiserver::{Registry, Server, ServerConfig, Settings};
use platform::Env;
use platform::disk::SystemDisk;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use store::{AesGcm, Seal, Store};

/// Opens the log store in a directory, secrets encrypted with the key in `key_file`.
pub async fn open_log(env: &Env, dir: &Path, key_file: &Path) -> Result<Arc<dyn Store>, String> {
    std::fs::create_dir_all(dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
    let key = pki::encryption_key(&key_file.to_path_buf())?;
    let seal: Arc<dyn Seal> = Arc::new(AesGcm::new(&[(1, key)]).map_err(|e| format!("encryption key: {e}"))?);
    let disk = SystemDisk::new(dir).map_err(|e| format!("open {}: {e}", dir.display()))?;
    let log = store::log::open(env, Arc::new(disk), Some(seal), store::log::Limits::default())
        .await
        .map_err(|e| format!("open the store in {}: {e}", dir.display()))?;
    Ok(log)
}

/// What an API server needs.
pub struct Options {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The registry's settings.
    pub settings: Settings,
    /// Who is let in.
    pub config: ServerConfig,
    /// The key that signs tokens.
    pub signer: apiserver::Signer,
    /// Where it listens, and with which certificates.
    pub listen: Vec<SocketAddr>,
    /// TLS.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Starts an API server and waits until it can answer.
pub async fn start(env: &Env, options: Options) -> Result<Arc<Server>, String> {
    let registry = Registry::start(env.clone(), options.store, options.settings, options.signer).await?;
    apiserver::bootstrap::run(&registry)
        .await
        .map_err(|s| format!("make the cluster's first objects: {}", s.message))?;
    let server = Server::new(registry, options.config);
    for address in options.listen {
        let listener = tokio::net::TcpListener::bind(address).await.map_err(|e| listen_error(address, &e))?;
        env.spawn("api server", apiserver::http::serve(server.clone(), listener, options.tls.clone()));
    }
    Ok(server)
}

fn listen_error(address: SocketAddr, e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "port {} is in use on {}: stop the program that has it (`ss -ltnp 'sport = :{}'` names it), or choose another port (`corten apiserver --secure-port`; a cluster's port stands in its cluster.json)",
            address.port(),
            address.ip(),
            address.port()
        ),
        _ => format!("listen on {address}: {e}"),
    }
}
