//! The Service and the EndpointSlice by which pods find DNS: derived from the nodes. Pure.

use super::views::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The service's namespace.
pub const NAMESPACE: &str = "kube-system";
/// The service's name.
pub const NAME: &str = "kube-dns";
/// The slice's name.
pub const SLICE: &str = "kube-dns-nodes";

/// The node's gateway address: the first usable address of its block.
pub fn gateway(block: &str) -> Option<Ipv4Addr> {
    let (base, prefix) = block.split_once('/')?;
    let (base, prefix): (Ipv4Addr, u32) = (base.parse().ok()?, prefix.parse().ok()?);
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
    Some(Ipv4Addr::from((u32::from(base) & mask) + 1))
}

/// The service: node-local by policy, without selector.
pub fn service(address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {
            "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": address, "type": "ClusterIP", "internalTrafficPolicy": "Local", "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": super::super::PORT},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": super::super::PORT}]},
    })
}

/// The slice: one endpoint per node that has a block, by the node's name. A node's own pods reach their own node's
/// server, ready or not as the Node object may look from afar; hence every endpoint is ready.
pub fn slice<'a>(nodes: impl Iterator<Item = &'a Node>) -> Value {
    let places: BTreeMap<&str, Ipv4Addr> =
        nodes.filter_map(|n| Some((n.metadata.name.as_str(), gateway(&n.spec.pod_cidr)?))).collect();
    let endpoints: Vec<Value> = places
        .into_iter()
        .map(|(name, address)| json!({"addresses": [address.to_string()], "conditions": {"ready": true, "serving": true, "terminating": false}, "nodeName": name}))
        .collect();
    let port = super::super::PORT;
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": SLICE, "namespace": NAMESPACE, "labels": {
            "kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "dns.corten.dev"}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "dns", "port": port, "protocol": "UDP"}, {"name": "dns-tcp", "port": port, "protocol": "TCP"}],
    })
}

#[cfg(test)]
mod tests {
    //! Tests of what is published.
    use super::*;

    #[test]
    fn one_endpoint_per_node_with_a_block() {
        let node = |name: &str, block: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"podCIDR": block}})).unwrap()
        };
        let nodes = [node("b", "10.244.1.0/24"), node("a", "10.244.0.0/24"), node("c", "")];
        let slice = slice(nodes.iter());
        let shown: Vec<String> = slice["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| format!("{}={}", e["nodeName"], e["addresses"][0]))
            .collect();
        assert_eq!(shown, ["\"a\"=\"10.244.0.1\"", "\"b\"=\"10.244.1.1\""]);
    }
}
