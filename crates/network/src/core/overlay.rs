//! Which peers a node's overlay link leads to, and the differences from what the kernel has. Pure.
//!
//! A peer's hardware address follows from its block's gateway address, so nothing has to be published but the Node
//! object itself: podCIDR and InternalIP (`docs/decisions/0302-overlay.md`).

use super::addresses::{gateway, mac_of};
use super::rt::{Cidr, Mac, Neighbour, Route};
use super::views::Node;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Another node, as the overlay sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its block of pod addresses.
    pub block: Cidr,
    /// Its address among the pods.
    pub gateway: Ipv4Addr,
    /// Hardware address of its overlay link.
    pub mac: Mac,
    /// Its address among the nodes.
    pub address: Ipv4Addr,
}

/// The InternalIP of a node (IPv4).
pub fn internal_address(node: &Node) -> Option<Ipv4Addr> {
    node.status.addresses.iter().filter(|a| a.kind == "InternalIP").find_map(|a| a.address.parse().ok())
}

/// Hardware address of the overlay link of the node with this gateway address.
pub fn overlay_mac(gateway: Ipv4Addr) -> Mac {
    mac_of(gateway, 2)
}

/// The peers of node `me`: every other node that has a block and an address.
pub fn peers<'a>(me: &str, nodes: impl Iterator<Item = &'a Node>) -> BTreeMap<Cidr, Peer> {
    nodes
        .filter(|node| node.metadata.name != me)
        .filter_map(|node| {
            let block = Cidr::parse(&node.spec.pod_cidr).filter(|b| b.base.is_ipv4())?;
            let gateway = gateway(&block)?;
            Some((block, Peer { block, gateway, mac: overlay_mac(gateway), address: internal_address(node)? }))
        })
        .collect()
}

/// The route to a peer's pods.
pub fn route_to(peer: &Peer, link: u32, me: Ipv4Addr) -> Route {
    Route { to: peer.block, link, via: Some(peer.gateway.into()), source: Some(me.into()), mtu: None }
}

/// What the kernel has on the overlay link.
#[derive(Debug, Default)]
pub struct Present {
    /// Routes through it.
    pub routes: Vec<Route>,
    /// Its neighbours.
    pub neighbours: Vec<Neighbour>,
    /// Its forwarding entries.
    pub forwarding: Vec<Neighbour>,
}

/// What must change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Routes to delete.
    pub delete_routes: Vec<Route>,
    /// Neighbours to delete.
    pub delete_neighbours: Vec<IpAddr>,
    /// Forwarding entries to delete.
    pub delete_forwarding: Vec<(Mac, Ipv4Addr)>,
    /// Peers that are missing or not as they should be.
    pub set: Vec<Peer>,
}

impl Plan {
    /// Nothing to do?
    pub fn is_empty(&self) -> bool {
        *self == Plan::default()
    }
}

/// The difference between `present` and `peers` on link number `link` of the node whose gateway address is `me`.
/// `keep` are routes that are not about peers.
pub fn plan(peers: &BTreeMap<Cidr, Peer>, present: &Present, link: u32, me: Ipv4Addr, keep: &[Cidr]) -> Plan {
    let mut plan = Plan::default();
    let by_mac = |mac: &Mac| peers.values().find(|p| p.mac == *mac);
    for route in present.routes.iter().filter(|r| r.link == link && !keep.contains(&r.to)) {
        if !peers.contains_key(&route.to) {
            plan.delete_routes.push(route.clone());
        }
    }
    for neighbour in present.neighbours.iter().filter(|n| n.link == link && n.permanent) {
        if let Some(address) = neighbour.address
            && !peers.values().any(|p| IpAddr::from(p.gateway) == address)
        {
            plan.delete_neighbours.push(address);
        }
    }
    let forwarding = || present.forwarding.iter().filter(|n| n.link == link).filter_map(|n| Some((n.mac?, n.address?)));
    for (mac, address) in forwarding() {
        if let IpAddr::V4(v4) = address
            && by_mac(&mac).is_none_or(|p| p.address != v4)
        {
            plan.delete_forwarding.push((mac, v4));
        }
    }
    for peer in peers.values() {
        let routed = present.routes.contains(&route_to(peer, link, me));
        let known = present.neighbours.iter().any(|n| {
            n.link == link && n.address == Some(peer.gateway.into()) && n.mac == Some(peer.mac) && n.permanent
        });
        let forwarded = forwarding().any(|(mac, address)| mac == peer.mac && address == IpAddr::from(peer.address));
        if !(routed && known && forwarded) {
            plan.set.push(peer.clone());
        }
    }
    plan
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
