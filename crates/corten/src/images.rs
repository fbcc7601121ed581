//! `corten image load`: archives into the image stores of the nodes on this machine.

use crate::cluster::Cluster;
use crate::control::{self, Answer};
use crate::lifecycle::Place;
use crate::paths::Paths;
use runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a node is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Load an archive's images; answers their names.
    LoadImage {
        /// The archive or OCI layout.
        path: PathBuf,
        /// Name for an image that has none.
        name: Option<String>,
    },
}

/// A node's answer.
pub async fn answer(runtime: &Runtime, request: Request) -> Answer {
    let Request::LoadImage { path, name } = request;
    runtime.load_image(path, name).await.map_err(|e| e.to_string())
}

/// Loads an archive into every node.
pub fn load(place: &Place, file: &Path, name: Option<&str>) -> Result<(), String> {
    let paths = Paths::new(&place.data_dir);
    let cluster = Cluster::load(&paths)?
        .ok_or_else(|| format!("there is no cluster in {}: `corten up` makes one", place.data_dir.display()))?;
    let path = file.canonicalize().map_err(|e| format!("{}: {e}", file.display()))?;
    let nodes =
        std::fs::read_dir(paths.data.join("nodes")).map_err(|e| format!("read {}/nodes: {e}", paths.data.display()))?;
    let mut nodes: Vec<String> = nodes.flatten().map(|n| n.file_name().to_string_lossy().into_owned()).collect();
    nodes.sort();
    for node in nodes {
        let request = Request::LoadImage { path: path.clone(), name: name.map(String::from) };
        let socket = control::of_node(&cluster.run_dir(), &node);
        let names = crate::cli::block_on(control::ask(&socket, &request))?;
        for n in names {
            crate::cli::say!("{node}: loaded {n}");
        }
    }
    Ok(())
}
