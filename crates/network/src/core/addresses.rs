//! Which pod address is given out next, and the names and hardware addresses that follow from an address.
//!
//! Invariants: the first usable address of a node's block is its gateway and is never given out, nor are the base and
//! the last one; addresses are given out round robin, so that one that was just freed is used again as late as possible.

use super::rt::{Cidr, Mac};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The gateway of a node's block: the node's own address among the pods.
pub fn gateway(block: &Cidr) -> Option<Ipv4Addr> {
    block.nth(1)
}

/// The next free address after `last`; `None` when all are taken.
pub fn next_free(block: &Cidr, taken: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let size = 1_u32.checked_shl(32 - u32::from(block.prefix.min(32)))?;
    let first = 2;
    let count = size.checked_sub(3)?; // without base, gateway, and last
    let base = u32::from(block.nth(0)?);
    let start =
        last.filter(|l| block.contains((*l).into())).map_or(0, |l| (u32::from(l) - base).saturating_sub(first) + 1);
    (0..count).map(|i| first + (start + i) % count).filter_map(|n| block.nth(n)).find(|a| !taken.contains(a))
}

/// A hardware address that follows from an address: locally administered, unicast.
pub fn mac_of(address: Ipv4Addr, side: u8) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58 ^ side, a, b, c, d]
}

/// The name of a pod's link on the node: the cluster's id and the low 20 bits of the address. Addresses are unique on a
/// node, hence so are the names; they fit the kernel's 15 characters.
pub fn veth_name(cluster_id: &str, address: Ipv4Addr) -> String {
    format!("cv{cluster_id}{:05x}", u32::from(address) & 0xf_ffff)
}

/// The name of the node's overlay link.
pub fn overlay_name(cluster_id: &str) -> String {
    format!("cx{cluster_id}")
}

/// The overlay's network number: 24 bits of the cluster's id, never 0, so that clusters on one machine do not meet.
pub fn overlay_number(cluster_id: &str) -> u32 {
    let id = u32::from_str_radix(cluster_id, 16).unwrap_or(1);
    ((id ^ (id >> 24)) & 0xff_ffff).max(1)
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
