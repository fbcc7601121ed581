//! The boundary to the pod network: CNI's three operations as a trait.
//!
//! The built-in network implements [`Cni`] in process; `exec` runs any other plugin (module [`exec`]).

pub mod exec;

use std::net::IpAddr;
use std::path::PathBuf;

/// One pod's attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniRequest {
    /// The sandbox' id: `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; none on a second DEL, when it is gone.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`.
    pub interface: String,
    pub pod_namespace: String,
    pub pod_name: String,
    pub pod_uid: String,
    pub port_mappings: Vec<PortMapping>,
}

/// A host port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub host_port: u16,
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    pub host_ip: Option<IpAddr>,
}

/// What ADD gave the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Addresses; the first is the pod's main one.
    pub ips: Vec<IpAddr>,
}

/// A pod network.
#[async_trait::async_trait]
pub trait Cni: Send + Sync + 'static {
    /// Attaches the pod. Called again for the same container only after [`Cni::del`].
    async fn add(&self, request: &CniRequest) -> Result<CniResult, String>;
    /// Detaches the pod and gives its addresses back. Must succeed when there is nothing to do.
    async fn del(&self, request: &CniRequest) -> Result<(), String>;
    /// Whether the attachment is as ADD left it.
    async fn check(&self, request: &CniRequest) -> Result<(), String>;
    /// Why pods cannot be attached now; `Ok` if they can.
    async fn status(&self) -> Result<(), String>;
}

/// No network but loopback: for tests and nodes that run host-network pods only.
pub struct Loopback;

#[async_trait::async_trait]
impl Cni for Loopback {
    async fn add(&self, _: &CniRequest) -> Result<CniResult, String> {
        Ok(CniResult { ips: vec![IpAddr::from([127, 0, 0, 1])] })
    }
    async fn del(&self, _: &CniRequest) -> Result<(), String> {
        Ok(())
    }
    async fn check(&self, _: &CniRequest) -> Result<(), String> {
        Ok(())
    }
    async fn status(&self) -> Result<(), String> {
        Ok(())
    }
}
