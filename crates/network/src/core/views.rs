//! The fields of Service, EndpointSlice and Node that this crate reads. Absent is default; unknown fields are ignored.

use client::{Meta, View};
use serde::{Deserialize, Deserializer};

/// Reads a field that upstream writes as `null` when it is empty.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A Service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: ServiceSpec,
    /// Status.
    pub status: ServiceStatus,
}

/// A Service's spec.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Primary cluster address, or `None` as text.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// All cluster addresses.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// Addresses that somebody else leads here.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `None` or `ClientIP`.
    pub session_affinity: String,
    /// Timeout of the affinity.
    pub session_affinity_config: Option<AffinityConfig>,
    /// `Cluster` or `Local`.
    pub internal_traffic_policy: String,
    /// `Cluster` or `Local`.
    pub external_traffic_policy: String,
    /// Who may use the load balancer's addresses.
    pub load_balancer_source_ranges: Vec<String>,
    /// Name that an `ExternalName` service stands for.
    pub external_name: String,
    /// Whether endpoints that are not ready are published.
    pub publish_not_ready_addresses: bool,
    /// `PreferSameZone`, `PreferSameNode`, ….
    pub traffic_distribution: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Name; may be empty if it is the only one.
    pub name: String,
    /// `TCP` (or empty), `UDP`, `SCTP`.
    pub protocol: String,
    /// Port of the service.
    pub port: u16,
    /// Port of every node.
    pub node_port: u16,
}

/// Timeout of the affinity.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct AffinityConfig {
    /// By client address.
    #[serde(rename = "clientIP")]
    pub client_ip: Option<ClientIpConfig>,
}

/// Timeout of the affinity by client address.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// Seconds.
    pub timeout_seconds: Option<u32>,
}

/// A Service's status.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// What the load balancer gave.
    pub load_balancer: LoadBalancer,
}

/// What the load balancer gave.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadBalancer {
    /// Its entrances.
    pub ingress: Vec<Ingress>,
}

/// An entrance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Ingress {
    /// Address.
    pub ip: String,
    /// Name.
    pub hostname: String,
    /// `VIP` or `Proxy`.
    pub ip_mode: Option<String>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Metadata; label `kubernetes.io/service-name` names the service.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Endpoints.
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<Endpoint>,
    /// Ports, the same for all endpoints.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<EndpointPort>,
}

impl EndpointSlice {
    /// The service it belongs to, as (namespace, name).
    pub fn service(&self) -> Option<(&str, &str)> {
        let name = self.metadata.labels.get("kubernetes.io/service-name")?;
        (!name.is_empty()).then_some((&self.metadata.namespace, name))
    }
}

/// An endpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// Addresses; the first counts.
    pub addresses: Vec<String>,
    /// Its state.
    pub conditions: Conditions,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its node.
    pub node_name: Option<String>,
    /// Its object.
    pub target_ref: Option<TargetRef>,
}

/// An endpoint's object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct TargetRef {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// An endpoint's state; absent means unknown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Conditions {
    /// Takes new connections; unknown counts as yes.
    pub ready: Option<bool>,
    /// Is able to serve; unknown means as `ready` says.
    pub serving: Option<bool>,
    /// Is being deleted; unknown counts as no.
    pub terminating: Option<bool>,
}

impl Conditions {
    /// Takes new connections.
    pub fn ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Is able to serve.
    pub fn serving(&self) -> bool {
        self.serving.unwrap_or_else(|| self.ready())
    }

    /// Is being deleted.
    pub fn terminating(&self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointPort {
    /// Name of the service's port.
    pub name: Option<String>,
    /// Protocol.
    pub protocol: Option<String>,
    /// Port; absent means all ports.
    pub port: Option<u16>,
}

/// A Node.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Node {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: NodeSpec,
    /// Status.
    pub status: NodeStatus,
}

/// A Node's spec.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSpec {
    /// Its block of pod addresses.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: String,
}

/// A Node's status.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its addresses.
    pub addresses: Vec<NodeAddress>,
}

/// A Node's address.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub address: String,
}

macro_rules! views {
    ($($view:ident)*) => {
        $(impl View for $view {
            fn meta(&self) -> &Meta {
                &self.metadata
            }
        })*
    };
}

views!(Service EndpointSlice Node);
