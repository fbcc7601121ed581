//! Tests of address blocks and of requests that answers resemble.

use super::*;

#[test]
fn blocks() {
    let block = Cidr::parse("10.244.3.77/24").expect("a block");
    assert_eq!(block.to_string(), "10.244.3.0/24");
    assert!(block.contains("10.244.3.255".parse().unwrap()));
    assert!(!block.contains("10.244.4.0".parse().unwrap()));
    assert_eq!(block.nth(1), Some(Ipv4Addr::new(10, 244, 3, 1)));
    assert_eq!(block.nth(256), None);
    assert_eq!(Cidr::parse("0.0.0.0/0").unwrap().mask_bytes(), [0; 4]);
    assert!(Cidr::parse("fd00::/64").unwrap().contains("fd00::1".parse().unwrap()));
    for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
        assert_eq!(Cidr::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_route_is_read_as_it_was_written() {
    let route = Route {
        to: Cidr::parse("10.244.2.0/24").unwrap(),
        link: 7,
        via: Some("10.244.2.1".parse().unwrap()),
        source: Some("10.244.0.1".parse().unwrap()),
        mtu: None,
    };
    let mut batch = Batch::new(0);
    replace_route(&mut batch, &route);
    let message = nl::messages(batch.bytes()).next().unwrap();
    assert_eq!(read_route(message.body), Some(route));
}
