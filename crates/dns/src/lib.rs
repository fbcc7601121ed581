//! Cluster DNS: the cluster's names over UDP and TCP, the rest forwarded to the host's servers.
//!
//! Every node serves DNS itself, on its gateway address among the pods (`10.244.n.1`, port [`PORT`]): the service
//! `kube-system/kube-dns` has `internalTrafficPolicy: Local` and one endpoint per node, so a pod's query to 10.96.0.10
//! never leaves its node and no node depends on another's server.
//!
//! - [`run`] on every node: `run(env, client, Options { domain, listen: (gateway, PORT), service_address, resolv_conf }, ready)`.
//! - [`publish`] once, in the control plane: keeps `kube-system/kube-dns` and its EndpointSlice (reads Nodes, writes both).
//!   An EndpointSlice controller must leave services without selector alone.
//!
//! Names are derived from Services and EndpointSlices ([`core::index`]); answers are made in [`core::answer`];
//! [`server`] and [`forward`] are the sockets around them.

pub mod core;
pub mod forward;
mod run;
pub mod server;

pub use run::{Options, publish, run};

/// Port on each node's gateway address. Not 53: that may be taken by a server of the host that listens everywhere.
pub const PORT: u16 = 10053;
