//! What the shim must know to run one container: written by the daemon to `spec.json`, read by the shim.
//!
//! Everything is resolved but two things that only the container's root file system knows: its users and the path of its
//! program. The format only grows; every field has a default.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Resources;
use crate::core::passwd::UserSpec;
use crate::core::seccomp::Profile;
use crate::devices::DeviceRule;

/// One container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    pub version: u32,
    pub id: String,
    pub overlay: Overlay,
    pub readonly: bool,
    pub process: ProcessSpec,
    pub mounts: Vec<Mount>,
    /// Nodes to make under /dev beside the usual ones.
    pub devices: Vec<DeviceNode>,
    pub device_rules: Vec<DeviceRule>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub namespaces: Namespaces,
    /// The container's group, from the hierarchy's root.
    pub cgroup: String,
    pub resources: Resources,
    /// Absolute; empty for no log.
    pub log_path: PathBuf,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    pub privileged: bool,
}

/// The root file system: an overlay, mounted in the container's own mount namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overlay {
    /// Directory that the lower names are relative to (the option string is one page).
    pub layers: PathBuf,
    /// Top layer first.
    pub lower: Vec<String>,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// Where it is mounted.
    pub root: PathBuf,
}

/// A program with everything it inherits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSpec {
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: String,
    pub user: UserSpec,
    /// Bounding set and what root gets.
    pub capabilities: u64,
    /// Kept by a user other than root.
    pub ambient: u64,
    pub no_new_privileges: bool,
    pub seccomp: Option<Profile>,
    pub oom_score_adj: Option<i32>,
    /// Number, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
}

/// A bind mount or a small file system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub target: PathBuf,
    pub source: PathBuf,
    pub readonly: bool,
    pub recursive_readonly: bool,
    pub propagation: Propagation,
    /// An image mounted read-only: its layers, top first, instead of a source.
    pub image: Option<Overlay>,
}

/// How mounts travel between host and container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// A device of the host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceNode {
    pub path: PathBuf,
    pub block: bool,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Which namespaces the container joins. None is the host's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub pid: PidNamespace,
}

/// The container's process numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    #[default]
    Own,
    Host,
    /// The pod's, kept by the shim's pause process.
    Sandbox,
    /// That of another container of the pod.
    Container(String),
}
