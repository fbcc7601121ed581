//! Pods on one node: the kubelet.
//!
//! ```text
//! let mut config = KubeletConfig::new("node-1", root, vec!["192.0.2.7".into()]);
//! config.server = Some(ServerConfig { address, certificate, key, client_ca });   // the kubelet's own API, :10250
//! let kubelet = kubelet::run(&env, config, client, cri).await?;                  // returns when the API listens
//! ```
//!
//! - `client` has the identity `system:node:<name>`; `cri` is any [`wire::Cri`]: the embedded runtime, or
//!   [`remote::Remote`] for a socket.
//! - Each pod of this node has one task ([`worker`]) around a pure state machine ([`core::machine`]); the runtime's events
//!   wake it, nothing polls.
//! - The checkpoint of pods lets a node start them without its server ([`checkpoint`]).
//! - Requires: list and watch of pods with `spec.nodeName`, services; get and watch of config maps and secrets; create of
//!   nodes, leases, events, token requests; token and subject access reviews for the API.
//!
//! Not here: eviction, CSI and other volume plugins than node-local ones, device plugins, dynamic resources, static pods.

pub mod checkpoint;
mod config;
mod convert;
pub mod core;
mod gc;
mod hooks;
mod images;
mod manager;
mod net;
mod node;
mod objects;
mod ops;
mod prober;
pub mod remote;
mod server;
mod shared;
mod volumes;
mod worker;

pub use config::{KubeletConfig, ServerConfig};
pub use manager::{Handle, run};
pub use wire::Cri;
