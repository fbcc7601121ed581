//! What a cluster is: its id and ranges, chosen once, its ports, and what its user asked for last; kept in `cluster.json`.

use crate::paths::{self, Paths};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

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
    /// What the last `up` asked for, so that an `up` without these flags takes up the same cluster.
    #[serde(default)]
    pub wish: Wish,
}

/// What a user may change from one `up` to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wish {
    /// Number of nodes.
    pub nodes: u8,
    /// Where the administrator's kubeconfig goes; the data directory if not given.
    pub kubeconfig: Option<PathBuf>,
    /// Socket of another container runtime.
    pub runtime_endpoint: Option<String>,
    /// Where the key that encrypts secrets at rest is.
    pub key_dir: PathBuf,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { nodes: 1, kubeconfig: None, runtime_endpoint: None, key_dir: paths::KEY_DIR.into() }
    }
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

    /// The file with the key that encrypts secrets at rest.
    pub fn key_file(&self) -> PathBuf {
        self.wish.key_dir.join(format!("{}.key", self.id))
    }

    /// Keeps the facts, whole or not at all.
    pub fn save(&self, paths: &Paths) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        paths::write(&paths.data.join("cluster.json"), text.as_bytes(), false)
    }

    /// Ports that another program has taken: the kubelet's and the overlay's, which nobody types, are moved; the API
    /// server's is told, because kubeconfigs hold it. `wanted` is the user's new port.
    pub fn settle_ports(&mut self, wanted: Option<u16>) -> Result<(), String> {
        self.port = wanted.unwrap_or(self.port);
        if !is_free(self.port) {
            return Err(format!(
                "port {} of the API server is in use: stop the program that has it (`ss -ltnp 'sport = :{}'` names it), or give the cluster another one with `corten up --port PORT`",
                self.port, self.port
            ));
        }
        if !is_free(self.kubelet_port) || self.kubelet_port == self.port {
            self.kubelet_port = free_port(10250, &[self.port])?;
        }
        let taken = foreign_udp(&std::fs::read_to_string("/proc/net/udp").unwrap_or_default(), &overlay_ports()?);
        if taken.contains(&self.overlay_port) {
            self.overlay_port = (8472..8672)
                .find(|p| !taken.contains(p))
                .ok_or("UDP ports 8472 to 8671 are all in use: the overlay between nodes needs one")?;
        }
        let dns = (Ipv4Addr::LOCALHOST, dns::PORT);
        if std::net::UdpSocket::bind(dns).is_err() || std::net::TcpListener::bind(dns).is_err() {
            return Err(format!(
                "port {} is in use, on which each node answers its pods' DNS queries: stop the program that has it (`ss -lntup 'sport = :{0}'` names it)",
                dns::PORT
            ));
        }
        Ok(())
    }

    /// Chooses a new cluster's facts; the caller saves them. Ranges that this machine already routes are left alone.
    pub fn create(port: Option<u16>, used: &[(Ipv4Addr, u8)]) -> Result<Cluster, String> {
        let mut random = [0_u8; 4];
        platform::rng::secret(&mut random);
        let id = random.iter().map(|b| format!("{b:02x}")).collect::<String>();
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
        let port = port.map_or_else(|| free_port(6443, &[]), Ok)?;
        Ok(Cluster {
            format: FORMAT,
            id,
            pod_range: pods,
            service_range: services,
            port,
            kubelet_port: free_port(10250, &[port])?,
            overlay_port: 8472,
            node: host,
            address: IpAddr::V4(Ipv4Addr::new(172, 30, link_net, 1)),
            link_net,
            wish: Wish::default(),
        })
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

/// What a cluster on this machine has taken, in `/run/corten-<id>/claim.json`: written before anything is made, gone with
/// `reset` or the next boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    id: String,
    data: PathBuf,
    ranges: Vec<String>,
}

/// All clusters' claims, while nobody else may claim.
pub struct Claims {
    others: Vec<Claim>,
    _lock: std::fs::File,
}

impl Claims {
    /// Reads them. A claim whose data directory holds that cluster no longer is void.
    pub fn read() -> Result<Claims, String> {
        let run = PathBuf::from("/run");
        let lock = std::fs::File::open(&run).map_err(|e| format!("open /run: {e}"))?;
        lock.lock().map_err(|e| format!("lock /run: {e}"))?;
        let entries = std::fs::read_dir(&run).map_err(|e| format!("list /run: {e}"))?.flatten();
        let files = entries
            .filter(|e| e.file_name().to_string_lossy().starts_with("corten-"))
            .map(|e| e.path().join("claim.json"));
        let claims =
            files.filter_map(|f| serde_json::from_str::<Claim>(&std::fs::read_to_string(f).unwrap_or_default()).ok());
        let valid = |c: &Claim| {
            Cluster::load(&Paths::new(&c.data)).is_ok_and(|found| found.is_some_and(|found| found.id == c.id))
        };
        Ok(Claims { others: claims.filter(valid).collect(), _lock: lock })
    }

    /// Ranges of all clusters.
    pub fn ranges(&self) -> Vec<(Ipv4Addr, u8)> {
        self.others.iter().flat_map(|c| &c.ranges).filter_map(|r| crate::apiserver::parse_cidr(r).ok()).collect()
    }

    /// Takes a cluster's ranges, if no other cluster has them.
    pub fn take(self, cluster: &Cluster, paths: &Paths) -> Result<(), String> {
        let link = format!("172.30.{}.0/24", cluster.link_net);
        let ranges = vec![cluster.pod_range.clone(), cluster.service_range.clone(), link];
        let cidr = |text: &String| crate::apiserver::parse_cidr(text).ok();
        for other in self.others.iter().filter(|o| o.id != cluster.id) {
            for (ours, theirs) in ranges.iter().flat_map(|a| other.ranges.iter().map(move |b| (a, b))) {
                if cidr(ours).zip(cidr(theirs)).is_some_and(|(a, b)| overlaps(a, b)) {
                    return Err(format!(
                        "the addresses {ours} of this cluster are used by the cluster {} in {}: only one of them can be on this machine; `corten reset --data-dir {1}` removes the other one",
                        other.id,
                        other.data.display()
                    ));
                }
            }
        }
        let claim = Claim { id: cluster.id.clone(), data: paths.data.clone(), ranges };
        let text = serde_json::to_string(&claim).map_err(|e| e.to_string())?;
        paths::write(&cluster.run_dir().join("claim.json"), text.as_bytes(), false)
    }
}

fn overlaps(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let bits = a.1.min(b.1);
    let mask = if bits == 0 { 0 } else { u32::MAX << (32 - u32::from(bits)) };
    u32::from(a.0) & mask == u32::from(b.0) & mask
}

/// The networks that this machine has routes to, but for the default route, and its own addresses.
pub fn routed() -> Result<Vec<(Ipv4Addr, u8)>, String> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let parse = |hex: &str| u32::from_str_radix(hex, 16).ok().map(u32::swap_bytes);
    let rows = text.lines().skip(1).filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (base, mask) = (parse(cells.get(1)?)?, parse(cells.get(7)?)?);
        (mask != 0).then(|| (Ipv4Addr::from(base), mask.count_ones() as u8))
    });
    let addresses = network::links::addresses(&socket()?).map_err(|e| e.to_string())?;
    let addresses = addresses.into_iter().filter_map(|(_, address)| match address {
        IpAddr::V4(v4) => Some((v4, 32)),
        IpAddr::V6(_) => None,
    });
    Ok(rows.chain(addresses).collect())
}

fn socket() -> Result<network::netlink::Socket, String> {
    network::netlink::Socket::open(network::netlink::Protocol::Route).map_err(|e| e.to_string())
}

/// UDP ports of the overlays on this machine, which may share one.
fn overlay_ports() -> Result<Vec<u16>, String> {
    let links = network::links::list(&socket()?).map_err(|e| e.to_string())?;
    Ok(links.into_iter().filter_map(|l| l.vxlan_port).collect())
}

fn is_free(port: u16) -> bool {
    std::net::TcpListener::bind(("0.0.0.0", port)).is_ok()
}

/// Ports in `/proc/net/udp` that are not those of overlays.
fn foreign_udp(text: &str, overlays: &[u16]) -> Vec<u16> {
    let port = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
    };
    text.lines().skip(1).filter_map(port).filter(|p| !overlays.contains(p)).collect()
}

/// A port that is free now and not in `but`: the usual one, or the next.
fn free_port(from: u16, but: &[u16]) -> Result<u16, String> {
    (from..from.saturating_add(200))
        .find(|p| !but.contains(p) && is_free(*p))
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
    fn overlays_share_a_port() {
        let line = |port: &str| format!("  1: 00000000:{port} 00000000:0000 07 00000000:00000000\n");
        let text = format!("head\n{}{}", line("2118"), line("2119"));
        assert_eq!(foreign_udp(&text, &[8472]), [8473]);
    }

    #[test]
    fn a_file_without_wishes_is_one_node() {
        let text = r#"{"format":1,"id":"0badcafe","podRange":"10.244.0.0/16","serviceRange":"10.96.0.0/16","port":6443,"kubeletPort":10250,"overlayPort":8472,"node":"n","address":"172.30.0.1","linkNet":0}"#;
        let cluster: Cluster = serde_json::from_str(text).expect("the first format is readable");
        assert_eq!(cluster.wish, Wish::default());
    }

    #[test]
    fn ranges_that_share_addresses_overlap() {
        let a = |n, bits| (Ipv4Addr::new(10, n, 0, 0), bits);
        assert!(overlaps(a(244, 16), a(0, 8)));
        assert!(overlaps(a(244, 16), a(244, 24)));
        assert!(!overlaps(a(244, 16), a(245, 16)));
    }
}
