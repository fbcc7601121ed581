//! Host names without the C library (a static binary has no NSS): addresses, /etc/hosts, then the first name server of
//! /etc/resolv.conf that answers, A records only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Addresses of `host`.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(vec![ip]);
    }
    if host == "localhost" {
        return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let found = from_hosts(&hosts, host);
    if !found.is_empty() {
        return Ok(found);
    }
    let config = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut last =
        io::Error::new(io::ErrorKind::NotFound, format!("no name server in /etc/resolv.conf can resolve {host}"));
    for server in config.lines().filter_map(|l| l.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok()) {
        match tokio::time::timeout(Duration::from_secs(5), ask(server, host)).await {
            Ok(Ok(found)) if !found.is_empty() => return Ok(found),
            Ok(Ok(_)) => {
                last = io::Error::new(io::ErrorKind::NotFound, format!("lookup {host} on {server}:53: no such host"))
            }
            Ok(Err(e)) => last = e,
            Err(_) => {
                last = io::Error::new(io::ErrorKind::TimedOut, format!("lookup {host} on {server}:53: i/o timeout"))
            }
        }
    }
    Err(last)
}

fn from_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        if let Some(Ok(ip)) = words.next().map(str::parse)
            && words.any(|w| w.eq_ignore_ascii_case(host))
        {
            out.push(ip);
        }
    }
    out
}

async fn ask(server: IpAddr, host: &str) -> io::Result<Vec<IpAddr>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = tokio::net::UdpSocket::bind(any).await?;
    socket.connect(SocketAddr::new(server, 53)).await?;
    let mut id = [0; 2];
    platform::rng::secret(&mut id);
    socket.send(&query(id, host)).await?;
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).await?;
    answers(id, &buffer[..n]).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed DNS answer"))
}

fn query(id: [u8; 2], host: &str) -> Vec<u8> {
    let mut out = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in host.trim_end_matches('.').split('.') {
        out.push(label.len().min(63) as u8);
        out.extend(label.bytes().take(63));
    }
    out.extend([0, 0, 1, 0, 1]);
    out
}

fn answers(id: [u8; 2], packet: &[u8]) -> Option<Vec<IpAddr>> {
    if packet.get(..2)? != id || packet.get(2)? & 0x80 == 0 {
        return None;
    }
    let count = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
    let mut at = skip_name(packet, 12)? + 4;
    let mut out = Vec::new();
    for _ in 0..count {
        at = skip_name(packet, at)?;
        let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
        let length = usize::from(u16::from_be_bytes([*packet.get(at + 8)?, *packet.get(at + 9)?]));
        let data = packet.get(at + 10..at + 10 + length)?;
        if let (1, [a, b, c, d]) = (kind, data) {
            out.push(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)));
        }
        at += 10 + length;
    }
    Some(out)
}

fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            n if n & 0xc0 == 0xc0 => return Some(at + 2),
            n => at += usize::from(n) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_answers() {
        assert_eq!(from_hosts("127.0.0.1 a b # c\n::1 A\n", "a").len(), 2);
        assert!(from_hosts("127.0.0.1 a # c\n", "c").is_empty());
        let mut packet = query([7, 8], "a.b");
        packet[2] |= 0x80;
        packet[7] = 1;
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
        assert_eq!(answers([7, 8], &packet), Some(vec!["10.0.0.1".parse().expect("ip")]));
        assert_eq!(answers([7, 9], &packet), None);
        assert_eq!(answers([7, 8], &packet[..20]), None);
    }
}
