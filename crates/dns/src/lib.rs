//! Cluster DNS: the cluster's names over UDP and TCP, the rest forwarded to the host's servers.
//!
//! Every node serves DNS itself, on its gateway address among the pods (`10.244.n.1`, port [`PORT`]): the service
//! `kube-system/kube-dns` has `internalTrafficPolicy: Local` and one endpoint per node, so a pod's query to 10.96.0.10
//! never leaves its node and no node depends on another's server.
//!
//! Names are derived from Services and EndpointSlices ([`core::index`]); answers are made in [`core::answer`];
//! [`server`] and [`forward`] are the sockets around them.

pub mod core;
pub mod forward;
pub mod server;

/// Port on each node's gateway address. Not 53: that may be taken by a server of the host that listens everywhere.
pub const PORT: u16 = 10053;
