//! What the runtime knows about sandboxes and containers, in memory and on disk.
//!
//! On disk: `sandboxes/<id>/sandbox.json` and `containers/<id>/container.json`, written before anything is made, and
//! changed by rename; `running.json` and `exit.json` beside the latter are the shim's. Formats have a version and only grow.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use wire::cri::{ContainerConfig, PodSandboxConfig};

use crate::core::passwd::User;
use crate::error::{Error, Result};
use crate::shim::client::ShimClient;
use crate::shim::write_atomic;

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Written before anything is made.
    #[default]
    Creating,
    Ready,
    /// Stopped, or its shim is gone.
    NotReady,
}

/// `sandbox.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxRecord {
    pub version: u32,
    pub id: String,
    pub config: PodSandboxConfig,
    pub runtime_handler: String,
    /// Unix nanoseconds.
    pub created_at: i64,
    pub phase: Phase,
    pub ips: Vec<String>,
    /// Namespaces and sockets are of this boot.
    pub boot_id: String,
    /// The network was attached and not yet detached.
    pub attached: bool,
    /// Group of the pod.
    pub cgroup: String,
}

/// `container.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    pub version: u32,
    pub id: String,
    pub sandbox: String,
    pub config: ContainerConfig,
    pub image_id: String,
    pub image_ref: String,
    pub layers: Vec<String>,
    pub stop_signal: String,
    pub created_at: i64,
    pub cgroup: String,
}

/// `exit.json`, with what only the daemon knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Ended {
    pub code: i32,
    pub signal: i32,
    pub oom: bool,
    pub finished_at: i64,
    /// Set when the container did not end by itself.
    pub reason: String,
    pub message: String,
}

impl Ended {
    /// CRI's reason.
    pub fn reason(&self) -> &str {
        match (self.reason.as_str(), self.oom, self.code) {
            (r, _, _) if !r.is_empty() => r,
            (_, true, _) => "OOMKilled",
            (_, _, 0) => "Completed",
            _ => "Error",
        }
    }
}

/// Where a container is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    pub started_at: i64,
    pub pid: i32,
    pub user: Option<User>,
    pub ended: Option<Ended>,
    /// Set while StartContainer is at work, so that it happens once.
    pub starting: bool,
}

/// A sandbox.
pub struct Sandbox {
    pub id: String,
    pub record: Mutex<SandboxRecord>,
    pub shim: Mutex<Option<Arc<ShimClient>>>,
    /// One stop or remove at a time.
    pub teardown: tokio::sync::Mutex<()>,
}

/// A container.
pub struct Container {
    pub record: ContainerRecord,
    pub live: watch::Sender<Live>,
}

/// Everything there is.
#[derive(Default)]
pub struct State {
    pub sandboxes: BTreeMap<String, Arc<Sandbox>>,
    pub containers: BTreeMap<String, Arc<Container>>,
}

/// Locks, ignoring that some other thread may have panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    pub fn new(record: SandboxRecord) -> Sandbox {
        Sandbox {
            id: record.id.clone(),
            record: Mutex::new(record),
            shim: Mutex::default(),
            teardown: tokio::sync::Mutex::default(),
        }
    }

    pub fn record(&self) -> SandboxRecord {
        lock(&self.record).clone()
    }

    pub fn is_ready(&self) -> bool {
        lock(&self.record).phase == Phase::Ready
    }

    pub fn shim(&self) -> Result<Arc<ShimClient>> {
        lock(&self.shim).clone().ok_or_else(|| Error::state(format!("sandbox {} is not ready", self.id)))
    }
}

impl Container {
    pub fn new(record: ContainerRecord, live: Live) -> Container {
        Container { record, live: watch::Sender::new(live) }
    }

    pub fn live(&self) -> Live {
        self.live.borrow().clone()
    }

    pub fn is_running(&self) -> bool {
        let live = self.live.borrow();
        live.started_at > 0 && live.ended.is_none()
    }
}

/// Reads a JSON file; none if it is missing.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| Error::file("read", path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("read", path, e)),
    }
}

/// Writes a JSON file by rename.
pub fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|e| Error::file("encode", path, e))?;
    write_atomic(path, &text).map_err(|e| Error::file("write", path, e))
}
