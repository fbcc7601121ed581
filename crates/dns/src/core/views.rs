//! The fields of Service and EndpointSlice that DNS reads. Absent is default; unknown fields are ignored.

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
    /// What an `ExternalName` service stands for.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<Port>,
}

/// A port of a Service or an EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// Name; may be empty.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// `TCP` (or empty), `UDP`, `SCTP`.
    #[serde(deserialize_with = "nullable")]
    pub protocol: String,
    /// Number; 0 when any.
    #[serde(deserialize_with = "nullable")]
    pub port: u16,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Metadata; label `kubernetes.io/service-name` names the service.
    pub metadata: Meta,
    /// Endpoints.
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<Endpoint>,
    /// Ports.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<Port>,
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
}

/// An endpoint's state; unknown counts as ready.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Conditions {
    /// Takes new connections.
    pub ready: Option<bool>,
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

/// A Node: its name tells its DNS endpoint apart, its block gives the endpoint's address.
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
    /// Conditions.
    pub conditions: Vec<NodeCondition>,
}

/// A Node's condition.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeCondition {
    /// `Ready`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
}
