//! Pod and service networking of one node: the built-in CNI plugin, the overlay between nodes, the service proxy.
//!
//! Everything acts in the network namespace of its process (nodes in namespaces of their own run processes of their
//! own), through raw netlink: no iproute2, iptables or nft is needed. Names in the kernel carry the cluster's id:
//! tables `corten-<id>` (services) and `corten-<id>-pods` (pods), links `cv<id>…` (pods) and `cx<id>` (overlay).
//!
//! - [`cni::Plugin`]: `Plugin::new(Config{..})`, then `add`, `del`, `check`, all idempotent; adopts after a restart.
//! - [`overlay::Overlay`] (link and peers), [`overlay::pod_mtu`]: the MTU to give to the plugin.
//! - [`proxy`]: the services' table. [`reset`]: removes all of one cluster.
//!
//! Not yet: NetworkPolicy, IPv6.

pub mod cni;
pub mod conntrack;
pub mod core;
pub mod error;
pub mod firewall;
pub mod links;
pub mod netlink;
pub mod netns;
pub mod overlay;
pub mod proxy;
mod reset;
pub mod sysctl;

pub use crate::core::pods::{PortMapping, Protocol};
pub use crate::core::rt::Cidr;
pub use error::{Error, Result};
pub use reset::reset;
