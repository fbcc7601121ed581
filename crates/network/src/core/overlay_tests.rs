//! Tests of the overlay's plan.

use super::*;
use serde_json::json;

fn node(name: &str, block: &str, address: &str) -> Node {
    let object = json!({"metadata": {"name": name}, "spec": {"podCIDR": block},
        "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]}});
    serde_json::from_value(object).unwrap()
}

#[test]
fn peers_are_the_other_nodes_that_are_ready_to_be_reached() {
    let nodes = [
        node("me", "10.244.0.0/24", "192.168.0.1"),
        node("a", "10.244.1.0/24", "192.168.0.2"),
        node("no-block", "", "192.168.0.3"),
        node("no-address", "10.244.3.0/24", "fd00::1"),
    ];
    let peers = peers("me", nodes.iter());
    assert_eq!(peers.len(), 1);
    let peer = peers.values().next().unwrap();
    assert_eq!((peer.gateway.to_string(), peer.address.to_string()), ("10.244.1.1".into(), "192.168.0.2".into()));
}

#[test]
fn a_plan_applied_leaves_nothing_to_do() {
    let nodes = [node("a", "10.244.1.0/24", "192.168.0.2"), node("b", "10.244.2.0/24", "192.168.0.3")];
    let peers = peers("me", nodes.iter());
    let me: Ipv4Addr = "10.244.0.1".parse().unwrap();
    let first = plan(&peers, &Present::default(), 5, me, &[]);
    assert_eq!(first.set.len(), 2);
    let entry =
        |mac, address: Ipv4Addr| Neighbour { link: 5, address: Some(address.into()), mac: Some(mac), permanent: true };
    let mut present = Present {
        routes: peers.values().map(|p| route_to(p, 5, me)).collect(),
        neighbours: peers.values().map(|p| entry(p.mac, p.gateway)).collect(),
        forwarding: peers.values().map(|p| entry(p.mac, p.address)).collect(),
    };
    assert!(plan(&peers, &present, 5, me, &[]).is_empty());
    // A node that moved, one that left, a route that is not ours to judge.
    present.routes.push(Route {
        to: Cidr::parse("10.96.0.0/16").unwrap(),
        link: 5,
        via: None,
        source: None,
        mtu: None,
    });
    let nodes = [node("a", "10.244.1.0/24", "192.168.0.9")];
    let peers = super::peers("me", nodes.iter());
    let second = plan(&peers, &present, 5, me, &[Cidr::parse("10.96.0.0/16").unwrap()]);
    assert_eq!(second.delete_routes.len(), 1);
    assert_eq!(second.delete_neighbours, ["10.244.2.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(second.delete_forwarding.len(), 2, "the old place of a, and b");
    assert_eq!(second.set.len(), 1);
}
