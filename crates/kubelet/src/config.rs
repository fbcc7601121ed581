//! How a kubelet is set up. Defaults are upstream's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use platform::time::Duration;
use serde_json::Value;

/// Configuration of one kubelet.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    pub node_name: String,
    /// Volumes and other files of pods.
    pub root_dir: PathBuf,
    /// Logs of pods.
    pub pod_logs_dir: PathBuf,
    /// Addresses of the node; the first is its InternalIP.
    pub node_ips: Vec<String>,
    pub hostname: String,
    /// More labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node when it is registered, as the API has them.
    pub taints: Vec<Value>,
    pub register_node: bool,
    /// DNS servers and domain of the cluster.
    pub cluster_dns: Vec<String>,
    pub cluster_domain: String,
    /// Resolver settings of the node.
    pub resolv_conf: PathBuf,
    pub max_pods: u32,
    /// Set aside for the system: resource to quantity.
    pub system_reserved: BTreeMap<String, String>,
    /// Where the kubelet's API listens; none for no API.
    pub server: Option<ServerConfig>,
    /// How often the lease is renewed and the node looked at.
    pub heartbeat: Duration,
    pub lease_duration: Duration,
    /// Unchanged status is told this often.
    pub status_report: Duration,
    /// Scheme of container ids; empty takes the runtime's name.
    pub runtime_scheme: String,
    /// Dead containers of one name that are kept.
    pub keep_dead_containers: usize,
    /// Images are removed when the disk is fuller than this (percent) …
    pub image_gc_high: u64,
    /// … until it is at this.
    pub image_gc_low: u64,
}

/// The kubelet's own API.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub address: SocketAddr,
    /// PEM.
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// Certificates that sign clients, PEM; empty for none.
    pub client_ca: Vec<u8>,
}

impl KubeletConfig {
    /// Upstream's defaults for a node.
    pub fn new(node_name: &str, root_dir: PathBuf, node_ips: Vec<String>) -> KubeletConfig {
        KubeletConfig {
            node_name: node_name.to_string(),
            root_dir,
            pod_logs_dir: "/var/log/pods".into(),
            node_ips,
            hostname: node_name.to_string(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            register_node: true,
            cluster_dns: vec!["10.96.0.10".into()],
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            system_reserved: BTreeMap::new(),
            server: None,
            heartbeat: Duration::from_secs(10),
            lease_duration: Duration::from_secs(40),
            status_report: Duration::from_secs(300),
            runtime_scheme: String::new(),
            keep_dead_containers: 1,
            image_gc_high: 85,
            image_gc_low: 80,
        }
    }
}
