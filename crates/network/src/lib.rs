//! Pod and service networking of one node: the built-in CNI plugin, the overlay between nodes, the service proxy.
//!
//! Everything acts in the network namespace of its process (nodes in namespaces of their own run processes of their
//! own), through raw netlink: no iproute2, iptables or nft is needed. Names in the kernel carry the cluster's id:
//! tables `corten-<id>` (services) and `corten-<id>-pods` (pods), links `cv<id>…` (pods) and `cx<id>` (overlay).
//!
//! How a node starts (`corten` glues the parts):
//! 1. [`overlay::identity`]`(env, client, node)` waits until the Node has podCIDR and InternalIP.
//! 2. [`overlay::run`]`(env, client, Options, ready)`: overlay link and peers, and the node's route to services.
//! 3. [`cni::Plugin::new`]`(Config { mtu: overlay::pod_mtu(address)?, .. })`, then `add`, `del`, `check`, all idempotent;
//!    Spawn `keep()`: it rebuilds the node's table when somebody else changes it. `sandboxes()` tells a restarted daemon what has an address. `del` waits for the kernel (30 ms).
//! 4. [`proxy::run`]`(env, client, Options, ready)`: the service rules.
//! 5. [`reset`]`(cluster_id, cni_dir)` removes all of one cluster from the namespace of the calling thread.
//!
//! Sockets are opened by the constructors and the `run` futures: call (poll) them first on a thread in the node's
//! network namespace. The identity needs list and watch on nodes, services and endpointslices, nothing else.
//!
//! Not yet: NetworkPolicy, IPv6.

pub mod cni;
pub mod conntrack;
pub mod core;
pub mod error;
pub mod firewall;
pub mod hosts;
pub mod links;
mod listener;
pub mod netlink;
pub mod netns;
pub mod overlay;
pub mod probe;
pub mod proxy;
mod reset;
pub mod sysctl;

pub use crate::core::pods::{PortMapping, Protocol};
pub use crate::core::rt::Cidr;
pub use error::{Error, Result};
pub use reset::reset;
