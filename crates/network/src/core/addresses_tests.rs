//! Tests of address allocation.

use super::*;

fn block(text: &str) -> Cidr {
    Cidr::parse(text).expect("a block")
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

#[test]
fn every_address_once_then_none() {
    let block = block("10.244.1.0/29");
    let mut taken = BTreeSet::new();
    let mut last = None;
    let mut order = Vec::new();
    while let Some(address) = next_free(&block, &taken, last) {
        taken.insert(address);
        last = Some(address);
        order.push(address.octets()[3]);
    }
    assert_eq!(order, [2, 3, 4, 5, 6]);
}

#[test]
fn a_freed_address_is_used_last() {
    let block = block("10.244.1.0/24");
    let taken: BTreeSet<_> = [ip("10.244.1.2"), ip("10.244.1.4")].into();
    assert_eq!(next_free(&block, &taken, Some(ip("10.244.1.4"))), Some(ip("10.244.1.5")), "3 is free, but earlier");
    assert_eq!(next_free(&block, &taken, Some(ip("10.244.1.254"))), Some(ip("10.244.1.3")), "round");
    assert_eq!(next_free(&block, &taken, Some(ip("10.9.9.9"))), Some(ip("10.244.1.3")), "a last of another block");
}

#[test]
fn names_fit_and_differ() {
    let name = veth_name("00c0ffee", ip("10.244.1.2"));
    assert_eq!(name, "cv00c0ffee40102");
    assert!(name.len() <= 15);
    assert_ne!(name, veth_name("00c0ffee", ip("10.244.2.2")));
    assert_ne!(mac_of(ip("10.244.1.2"), 0), mac_of(ip("10.244.1.2"), 1));
    assert_ne!(overlay_number("00000000"), 0);
}
