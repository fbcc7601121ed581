//! A node's control socket: what the `corten` command asks of the node's process. One JSON line in, one JSON line out.
//!
//! The socket lies in a directory of root's; who can open it could do the same by hand.

use runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// A request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Load an archive's images.
    LoadImage {
        /// The archive or OCI layout.
        path: PathBuf,
        /// Name for an image that has none.
        name: Option<String>,
    },
}

/// The answer: names of images, or what went wrong.
pub type Answer = Result<Vec<String>, String>;

/// Where a node's socket is.
pub fn socket(run: &Path, node: &str) -> PathBuf {
    run.join(node).join("control.sock")
}

/// Serves a node's socket.
pub async fn serve(path: PathBuf, runtime: Runtime) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let _ = std::fs::remove_file(&path); // left by a process that was killed
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let listener = UnixListener::bind(&path).map_err(fail)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(fail)?;
        if let Err(e) = answer(stream, &runtime).await {
            tracing::warn!(error = %e, "a control request failed");
        }
    }
}

async fn answer(stream: UnixStream, runtime: &Runtime) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer: Answer = match serde_json::from_str(&line) {
        Ok(Request::LoadImage { path, name }) => runtime.load_image(path, name).await.map_err(|e| e.to_string()),
        Err(e) => Err(format!("not understood: {e}")),
    };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await
}

/// Asks a node.
pub async fn ask(path: &Path, request: &Request) -> Answer {
    let fail = |e: std::io::Error| format!("{}: {e} (is the cluster running? `corten status` tells)", path.display());
    let mut stream = BufReader::new(UnixStream::connect(path).await.map_err(fail)?);
    let mut text = serde_json::to_string(request).map_err(|e| e.to_string())?;
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await.map_err(fail)?;
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(fail)?;
    serde_json::from_str(&line).unwrap_or_else(|e| Err(format!("the node's answer was not understood: {e}")))
}
