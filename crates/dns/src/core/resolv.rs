//! Which servers the rest is asked from: the `nameserver` lines of resolv.conf, without those that lead back here.

use std::net::{IpAddr, SocketAddr};

/// At most three servers, as the C library takes them; `ours` are addresses that would be a loop.
pub fn upstreams(resolv_conf: &str, ours: &[IpAddr]) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .filter(|address| !ours.contains(address))
        .map(|address| SocketAddr::new(address, 53))
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    //! Tests of reading resolv.conf.
    use super::*;

    #[test]
    fn servers_without_loops() {
        let text = "# c\nsearch a\nnameserver 10.0.0.2\n nameserver\t8.8.8.8 # x\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n";
        let ours = ["10.96.0.10".parse().unwrap()];
        let found: Vec<String> = upstreams(text, &ours).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "8.8.8.8:53"]);
    }
}
