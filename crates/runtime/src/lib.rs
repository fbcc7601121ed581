//! Containers on one node, behind CRI: images, sandboxes, containers, the shim.
//!
//! ```text
//! let config = RuntimeConfig::new("0badcafe", "node-1", "/var/lib/corten/runtime".into());
//! let runtime = Runtime::open(config, cni).await?;       // takes over what an earlier process left running
//! runtime.load_image("busybox.tar", None).await?;         // docker save archive or OCI layout
//! let cri: Arc<dyn wire::Cri> = Arc::new(runtime.clone()); // what the kubelet wants
//! runtime::grpc::serve(runtime, socket).await?;           // the same for crictl, on a unix socket
//! ```
//!
//! - The binary that contains this crate must call [`shim::main`] first thing when its first argument is `shim`
//!   (see [`RuntimeConfig::shim_command`]).
//! - The pod network is a [`cni::Cni`]: the built-in one by an adapter in `corten`, any other by [`cni::exec::ExecCni`].
//! - A cgroup parent from CRI (`/kubepods/burstable/pod<uid>`) lives below `/corten-<id>/<node>`. The runtime makes it and
//!   sets the pod's limits from `LinuxPodSandboxConfig.resources` and `overhead`.
//! - Namespaces, shm and sockets are below [`RuntimeConfig::run`], in `s/<sandbox id>/{net,ipc,uts,shm,shim.sock}`.
//! - [`reset`] removes every process, cgroup and mount of a cluster.
//!
//! Requirements: Linux 5.12 (mount_setattr), root, overlayfs. Not here: user namespaces, id-mapped mounts, AppArmor and
//! SELinux labels, CDI, checkpoints: requests that need them are refused, not ignored.

pub mod cgroup;
pub mod cni;
mod commands;
mod container;
pub mod core;
pub mod devices;
mod engine;
pub mod error;
pub mod grpc;
pub mod image;
mod namespaces;
mod sandbox;
mod service;
pub mod shim;
pub mod spec;
mod specgen;
mod state;
mod stats;
mod status;
mod sys;

use std::path::PathBuf;
use std::sync::Arc;

pub use engine::{RuntimeConfig, reset};
pub use error::{Error, Result};

/// A container runtime. Cheap to clone; implements [`wire::Cri`].
#[derive(Clone)]
pub struct Runtime {
    engine: Arc<engine::Engine>,
}

impl Runtime {
    /// Opens the runtime's directories, and takes over the sandboxes and containers that run.
    pub async fn open(config: RuntimeConfig, cni: Arc<dyn cni::Cni>) -> Result<Runtime> {
        Ok(Runtime { engine: engine::Engine::open(config, cni).await? })
    }

    /// Loads the images of an archive or OCI layout and gives their names (or ids, for those without). `name` names a
    /// single image.
    pub async fn load_image(&self, path: impl Into<PathBuf>, name: Option<String>) -> Result<Vec<String>> {
        let (engine, path) = (self.engine.clone(), path.into());
        image::registry::blocking(move || {
            let images = image::archive::load(&engine.images, &path, name.as_deref())?;
            Ok(images.into_iter().map(|i| i.tags.last().cloned().unwrap_or(i.id)).collect())
        })
        .await
    }

    /// The pod range that the kubelet last announced.
    pub fn pod_cidr(&self) -> String {
        state::lock(&self.engine.pod_cidr).clone()
    }
}
