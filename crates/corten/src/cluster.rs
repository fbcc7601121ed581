//! What a cluster is: its id, ranges and ports, chosen once and kept in `cluster.json`.

use crate::paths::{self, Paths};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// A cluster's fixed facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Version of this file's format.
    pub format: u32,
    /// Eight hexadecimal digits, part of every name in the kernel.
    pub id: String,
    /// All pods' addresses.
    pub pod_range: String,
    /// All services' addresses.
    pub service_range: String,
    /// The API server's port.
    pub port: u16,
    /// The first kubelet's port.
    pub kubelet_port: u16,
    /// The overlay's UDP port.
    pub overlay_port: u16,
    /// Name of the first node.
    pub node: String,
    /// Address by which nodes reach each other and the API server.
    pub address: IpAddr,
    /// Third octet of 172.30.x.0/24, the network between this machine and its nodes in namespaces.
    pub link_net: u8,
}

const FORMAT: u32 = 1;

impl Cluster {
    /// Reads the cluster in a data directory.
    pub fn load(paths: &Paths) -> Result<Option<Cluster>, String> {
        let file = paths.data.join("cluster.json");
        if !file.exists() {
            return Ok(None);
        }
        let cluster: Cluster =
            serde_json::from_str(&paths::read(&file)?).map_err(|e| format!("{}: {e}", file.display()))?;
        if cluster.format > FORMAT {
            return Err(format!(
                "{} has format {}, this corten reads up to {FORMAT}: use the corten that wrote it, or a newer one",
                file.display(),
                cluster.format
            ));
        }
        Ok(Some(cluster))
    }

    /// Chooses a new cluster's facts and keeps them. Ranges that this machine already routes are left alone.
    pub fn create(paths: &Paths, port: Option<u16>) -> Result<Cluster, String> {
        let mut random = [0_u8; 4];
        platform::rng::secret(&mut random);
        let id = random.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let used = routed();
        let free = |mut candidates: Box<dyn Iterator<Item = (Ipv4Addr, u8)>>| {
            candidates
                .find(|(base, bits)| !used.iter().any(|(u, b)| overlaps((*base, *bits), (*u, *b))))
                .map(|(base, bits)| format!("{base}/{bits}"))
        };
        let pods = free(Box::new((244..=254).chain(128..244).map(|n| (Ipv4Addr::new(10, n, 0, 0), 16))))
            .ok_or("no free range for pods in 10.0.0.0/8: this machine routes all of it")?;
        let services = free(Box::new((96..=127).map(|n| (Ipv4Addr::new(10, n, 0, 0), 16))))
            .ok_or("no free range for services in 10.96.0.0/11: this machine routes all of it")?;
        let link = free(Box::new((0..=255).map(|n| (Ipv4Addr::new(172, 30, n, 0), 24))))
            .ok_or("no free range for nodes in 172.30.0.0/16")?;
        let link_net = link.split('.').nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
        let host = hostname();
        let cluster = Cluster {
            format: FORMAT,
            id,
            pod_range: pods,
            service_range: services,
            port: port.map_or_else(|| free_port(6443), Ok)?,
            kubelet_port: free_port(10250)?,
            overlay_port: 8472,
            node: host,
            address: IpAddr::V4(Ipv4Addr::new(172, 30, link_net, 1)),
            link_net,
        };
        let text = serde_json::to_string_pretty(&cluster).map_err(|e| e.to_string())?;
        paths::write(&paths.data.join("cluster.json"), text.as_bytes(), false)?;
        Ok(cluster)
    }

    /// The nth address of the services' range.
    pub fn service_address(&self, n: u32) -> Ipv4Addr {
        let base =
            crate::apiserver::parse_cidr(&self.service_range).map_or(Ipv4Addr::new(10, 96, 0, 0), |(base, _)| base);
        Ipv4Addr::from(u32::from(base) + n)
    }

    /// The address of the nth node (from 1): the machine itself, then its namespaces.
    pub fn node_address(&self, n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(172, 30, self.link_net, n))
    }

    /// The cluster's directory for what lasts until the next boot.
    pub fn run_dir(&self) -> std::path::PathBuf {
        format!("/run/corten-{}", self.id).into()
    }
}

fn overlaps(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let bits = a.1.min(b.1);
    let mask = if bits == 0 { 0 } else { u32::MAX << (32 - u32::from(bits)) };
    u32::from(a.0) & mask == u32::from(b.0) & mask
}

/// The networks that this machine has routes to, but for the default route.
fn routed() -> Vec<(Ipv4Addr, u8)> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let parse = |hex: &str| u32::from_str_radix(hex, 16).ok().map(u32::swap_bytes);
    let rows = text.lines().skip(1).filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (base, mask) = (parse(cells.get(1)?)?, parse(cells.get(7)?)?);
        (mask != 0).then(|| (Ipv4Addr::from(base), mask.count_ones() as u8))
    });
    rows.collect()
}

/// A port that is free now: the usual one, or the next.
fn free_port(from: u16) -> Result<u16, String> {
    (from..from.saturating_add(200))
        .find(|p| std::net::TcpListener::bind(("0.0.0.0", *p)).is_ok())
        .ok_or_else(|| format!("ports {from} to {} are all in use", from + 199))
}

/// The machine's name as a node's: lower case, letters, digits, dashes and dots.
pub fn hostname() -> String {
    let raw = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let clean: String = raw
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' })
        .collect();
    let clean = clean.trim_matches(['-', '.']).to_string();
    if clean.is_empty() { "node-1".into() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_share_addresses_overlap() {
        let a = |n, bits| (Ipv4Addr::new(10, n, 0, 0), bits);
        assert!(overlaps(a(244, 16), a(0, 8)));
        assert!(overlaps(a(244, 16), a(244, 24)));
        assert!(!overlaps(a(244, 16), a(245, 16)));
    }
}
