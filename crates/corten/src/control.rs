//! Control sockets: what the `corten` command asks of a cluster's processes. One JSON line in, one JSON line out.
//!
//! A socket lies in a directory of root's; who can open it could do the same by hand.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What was done, a line each, or what went wrong.
pub type Answer = Result<Vec<String>, String>;

/// Where a node's socket is.
pub fn of_node(run: &Path, node: &str) -> PathBuf {
    run.join(node).join("control.sock")
}

/// Where the server's socket is.
pub fn of_server(run: &Path) -> PathBuf {
    run.join("server.sock")
}

/// Serves a socket until it fails.
pub async fn serve<R: DeserializeOwned>(path: PathBuf, work: impl AsyncFn(R) -> Answer) {
    if let Err(e) = accept(&path, work).await {
        tracing::warn!(error = %e, socket = %path.display(), "a control socket ended");
    }
}

async fn accept<R: DeserializeOwned>(path: &Path, work: impl AsyncFn(R) -> Answer) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path); // left by a process that was killed
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        if let Err(e) = answer(stream, &work).await {
            tracing::warn!(error = %e, "a control request failed");
        }
    }
}

async fn answer<R: DeserializeOwned>(stream: UnixStream, work: &impl AsyncFn(R) -> Answer) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer: Answer = match serde_json::from_str(&line) {
        Ok(request) => work(request).await,
        Err(e) => Err(format!("not understood: {e}")),
    };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await
}

/// Asks a process.
pub async fn ask(path: &Path, request: &impl Serialize) -> Answer {
    let fail = |e: std::io::Error| format!("{}: {e} (is the cluster running? `corten status` tells)", path.display());
    let mut stream = BufReader::new(UnixStream::connect(path).await.map_err(fail)?);
    let mut text = serde_json::to_string(request).map_err(|e| e.to_string())?;
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await.map_err(fail)?;
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(fail)?;
    serde_json::from_str(&line).unwrap_or_else(|e| Err(format!("the answer was not understood: {e}")))
}
