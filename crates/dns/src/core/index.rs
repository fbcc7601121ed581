//! What names in the cluster's domain mean: derived from Services and EndpointSlices, looked up by lower-cased labels.
//!
//! Follows the Kubernetes DNS specification 1.1.0 and, where it leaves room, what CoreDNS answers: pods' names are
//! answered without asking whether the pod exists (its `pods insecure`), a headless service without ready endpoints does
//! not exist, SRV on the plain service name lists all ports. Leaves out: namespaces without services (no such name).

use super::views::{EndpointSlice, Port, Service};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Namespace and name, lower case.
type Key = (String, String);

/// A record's data. Names are whole (`a.b.svc.cluster.local`), without the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Another name for the asked one.
    Alias(String),
    /// A service's port.
    Service {
        /// Share among all.
        weight: u16,
        /// Port.
        port: u16,
        /// Where.
        target: String,
    },
    /// The name of an address.
    Pointer(String),
    /// Text.
    Text(String),
    /// Start of authority.
    Authority,
    /// Name server.
    NameServer(String),
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Service ports.
    Srv,
    /// Names of addresses.
    Ptr,
    /// Text.
    Txt,
    /// Alias.
    Cname,
    /// Start of authority.
    Soa,
    /// Name servers.
    Ns,
    /// All.
    Any,
    /// A kind that no name here has.
    Other,
}

/// What the index says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not in the cluster's domain and not an address of the cluster: somebody else knows.
    Elsewhere,
    /// The name does not exist.
    NoName,
    /// The name exists, but has no such records.
    NoData,
    /// These records, and addresses (name, address) that go with them.
    Records(Vec<Data>, Vec<(String, IpAddr)>),
}

/// One service, ready to answer.
#[derive(Debug, Default, Clone)]
struct Entry {
    addresses: Vec<IpAddr>,
    alias: Option<String>,
    headless: bool,
    ports: Vec<Port>,
}

/// A ready endpoint: its label, address, ports.
struct Place<'a> {
    label: String,
    address: IpAddr,
    ports: &'a [Port],
}

/// All names of the cluster.
#[derive(Debug)]
pub struct Index {
    domain: Vec<String>,
    services: HashMap<Key, Entry>,
    slices: HashMap<Key, BTreeMap<String, EndpointSlice>>,
    slice_owner: HashMap<Key, Key>,
    namespaces: HashMap<String, usize>,
    cluster_addresses: HashMap<IpAddr, BTreeSet<Key>>,
    endpoint_addresses: HashMap<IpAddr, BTreeSet<Key>>,
}

impl Index {
    /// An empty index for a domain such as `cluster.local`.
    pub fn new(domain: &str) -> Index {
        Index {
            domain: domain.trim_matches('.').to_ascii_lowercase().split('.').map(String::from).collect(),
            services: HashMap::new(),
            slices: HashMap::new(),
            slice_owner: HashMap::new(),
            namespaces: HashMap::new(),
            cluster_addresses: HashMap::new(),
            endpoint_addresses: HashMap::new(),
        }
    }

    /// The domain, without the final dot.
    pub fn domain(&self) -> String {
        self.domain.join(".")
    }

    /// A Service is there, changed or (`None`) gone.
    pub fn set_service(&mut self, namespace: &str, name: &str, service: Option<&Service>) {
        let key = (namespace.to_string(), name.to_string());
        if let Some(old) = self.services.remove(&key) {
            for address in &old.addresses {
                remove(&mut self.cluster_addresses, address, &key);
            }
            if let Some(count) = self.namespaces.get_mut(namespace) {
                *count -= 1;
                if *count == 0 {
                    self.namespaces.remove(namespace);
                }
            }
        }
        let Some(service) = service else { return };
        let entry = entry(service);
        for address in &entry.addresses {
            self.cluster_addresses.entry(*address).or_default().insert(key.clone());
        }
        *self.namespaces.entry(namespace.to_string()).or_insert(0) += 1;
        self.services.insert(key, entry);
    }

    /// An EndpointSlice is there, changed or (`None`) gone.
    pub fn set_slice(&mut self, namespace: &str, name: &str, slice: Option<EndpointSlice>) {
        let id = (namespace.to_string(), name.to_string());
        if let Some(owner) = self.slice_owner.remove(&id)
            && let Some(slices) = self.slices.get_mut(&owner)
        {
            let old = slices.remove(name);
            let still: BTreeSet<IpAddr> = slices.values().flat_map(addresses).collect();
            if slices.is_empty() {
                self.slices.remove(&owner);
            }
            for address in old.iter().flat_map(addresses).filter(|a| !still.contains(a)) {
                remove(&mut self.endpoint_addresses, &address, &owner);
            }
        }
        let Some(slice) = slice else { return };
        let Some(service) = slice.metadata.labels.get("kubernetes.io/service-name") else { return };
        let owner = (namespace.to_string(), service.clone());
        for address in addresses(&slice) {
            self.endpoint_addresses.entry(address).or_default().insert(owner.clone());
        }
        self.slices.entry(owner.clone()).or_default().insert(name.to_string(), slice);
        self.slice_owner.insert(id, owner);
    }

    /// Names of all Services and of all EndpointSlices that it knows.
    pub fn known(&self) -> (Vec<Key>, Vec<Key>) {
        (self.services.keys().cloned().collect(), self.slice_owner.keys().cloned().collect())
    }

    /// Answers a question; `labels` are in lower case, leftmost first.
    pub fn find(&self, labels: &[String], kind: Kind) -> Found {
        if let Some(address) = reverse_address(labels) {
            return self.find_pointer(address, kind);
        }
        let Some(rest) = labels.strip_suffix(self.domain.as_slice()) else { return Found::Elsewhere };
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        match rest.as_slice() {
            [] => self.find_apex(kind),
            ["dns-version"] => choose(vec![Data::Text("1.1.0".into())], kind),
            ["ns", "dns"] | ["dns"] | ["svc"] | ["pod"] => Found::NoData,
            [namespace, "svc" | "pod"] if self.namespaces.contains_key(*namespace) => Found::NoData,
            [name, namespace, "svc"] => self.find_service(name, namespace, kind),
            [label, name, namespace, "svc"] => self.find_endpoint(label, name, namespace, kind),
            [port, protocol, name, namespace, "svc"] => self.find_port(port, protocol, name, namespace, kind),
            [address, namespace, "pod"] => self.find_pod(address, namespace, kind),
            _ => Found::NoName,
        }
    }

    fn find_apex(&self, kind: Kind) -> Found {
        let server = Data::NameServer(format!("ns.dns.{}", self.domain()));
        choose(vec![Data::Authority, server], kind)
    }

    fn name_of(&self, key: &Key) -> String {
        format!("{}.{}.svc.{}", key.1, key.0, self.domain())
    }

    fn places<'a>(&'a self, key: &Key) -> impl Iterator<Item = Place<'a>> + use<'a> {
        let slices = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
        slices.flat_map(|slice| {
            slice.endpoints.iter().filter(|e| e.conditions.ready.unwrap_or(true)).filter_map(|e| {
                let address: IpAddr = e.addresses.first()?.parse().ok()?;
                let label = e.hostname.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| dashed(address));
                Some(Place { label: label.to_ascii_lowercase(), address, ports: &slice.ports })
            })
        })
    }

    fn find_service(&self, name: &str, namespace: &str, kind: Kind) -> Found {
        let key = (namespace.to_string(), name.to_string());
        let Some(entry) = self.services.get(&key) else { return Found::NoName };
        if let Some(alias) = &entry.alias {
            return Found::Records(vec![Data::Alias(alias.clone())], Vec::new());
        }
        if kind == Kind::Srv {
            return self.service_records(&key, entry, |_| true);
        }
        let addresses: Vec<IpAddr> = if entry.headless {
            let set: BTreeSet<IpAddr> = self.places(&key).map(|p| p.address).collect();
            if set.is_empty() {
                return Found::NoName;
            }
            set.into_iter().collect()
        } else {
            entry.addresses.clone()
        };
        choose(addresses.into_iter().map(Data::Address).collect(), kind)
    }

    fn find_endpoint(&self, label: &str, name: &str, namespace: &str, kind: Kind) -> Found {
        let key = (namespace.to_string(), name.to_string());
        let Some(entry) = self.services.get(&key) else { return Found::NoName };
        if let Some(protocol) = label.strip_prefix('_') {
            let has = entry.ports.iter().any(|p| same_protocol(p, protocol));
            return if has { Found::NoData } else { Found::NoName };
        }
        let places: Vec<_> = self.places(&key).filter(|p| p.label == label).collect();
        if places.is_empty() {
            return Found::NoName;
        }
        if kind == Kind::Srv {
            return self.place_records(&key, &places, |_| true);
        }
        let set: BTreeSet<IpAddr> = places.iter().map(|p| p.address).collect();
        choose(set.into_iter().map(Data::Address).collect(), kind)
    }

    fn find_port(&self, port: &str, protocol: &str, name: &str, namespace: &str, kind: Kind) -> Found {
        let key = (namespace.to_string(), name.to_string());
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Found::NoName;
        };
        let Some(entry) = self.services.get(&key) else { return Found::NoName };
        let wanted = |p: &Port| p.name.eq_ignore_ascii_case(port) && same_protocol(p, protocol);
        match self.service_records(&key, entry, wanted) {
            Found::Records(..) if kind != Kind::Srv && kind != Kind::Any => Found::NoData,
            found => found,
        }
    }

    /// SRV records of a service for the ports that `wanted` picks.
    fn service_records(&self, key: &Key, entry: &Entry, wanted: impl Fn(&Port) -> bool + Copy) -> Found {
        if entry.headless {
            let places: Vec<_> = self.places(key).collect();
            return self.place_records(key, &places, wanted);
        }
        let ports: Vec<u16> = entry.ports.iter().filter(|p| wanted(p)).map(|p| p.port).collect();
        if ports.is_empty() || entry.addresses.is_empty() {
            return Found::NoName;
        }
        let target = self.name_of(key);
        let weight = share(ports.len());
        let records = ports.iter().map(|port| Data::Service { weight, port: *port, target: target.clone() }).collect();
        Found::Records(records, entry.addresses.iter().map(|a| (target.clone(), *a)).collect())
    }

    fn place_records(&self, key: &Key, places: &[Place<'_>], wanted: impl Fn(&Port) -> bool + Copy) -> Found {
        let mut targets: Vec<(u16, String)> = Vec::new();
        let mut extra = Vec::new();
        for place in places {
            let target = format!("{}.{}", place.label, self.name_of(key));
            let before = targets.len();
            for port in place.ports.iter().filter(|p| wanted(p)) {
                let next = (port.port, target.clone());
                if !targets.contains(&next) {
                    targets.push(next);
                }
            }
            if targets.len() > before {
                extra.push((target, place.address));
            }
        }
        if targets.is_empty() {
            return Found::NoName;
        }
        let weight = share(targets.len());
        let records = targets.into_iter().map(|(port, target)| Data::Service { weight, port, target }).collect();
        Found::Records(records, extra)
    }

    fn find_pod(&self, address: &str, namespace: &str, kind: Kind) -> Found {
        let parsed = address.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::from);
        let parsed = parsed.or_else(|_| address.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::from));
        match parsed {
            Ok(address) if !namespace.is_empty() => choose(vec![Data::Address(address)], kind),
            _ => Found::NoName,
        }
    }

    fn find_pointer(&self, address: IpAddr, kind: Kind) -> Found {
        let services = self.cluster_addresses.get(&address).into_iter().flatten().map(|key| self.name_of(key));
        let endpoints = self.endpoint_addresses.get(&address).into_iter().flatten().flat_map(|key| {
            let headless = self.services.get(key).is_some_and(|e| e.headless);
            self.places(key)
                .filter(move |p| headless && p.address == address)
                .map(|p| format!("{}.{}", p.label, self.name_of(key)))
                .collect::<BTreeSet<_>>()
        });
        let names: Vec<Data> = services.chain(endpoints).map(Data::Pointer).collect();
        if names.is_empty() { Found::Elsewhere } else { choose(names, kind) }
    }
}

fn remove(map: &mut HashMap<IpAddr, BTreeSet<Key>>, address: &IpAddr, key: &Key) {
    if let Some(keys) = map.get_mut(address) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(address);
        }
    }
}

fn addresses(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> + '_ {
    slice.endpoints.iter().filter_map(|e| e.addresses.first()?.parse().ok())
}

fn entry(service: &Service) -> Entry {
    let spec = &service.spec;
    if spec.kind == "ExternalName" {
        let alias = Some(spec.external_name.trim_end_matches('.').to_string());
        return Entry { alias, ..Entry::default() };
    }
    let all: BTreeSet<IpAddr> =
        std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips).filter_map(|a| a.parse().ok()).collect();
    Entry {
        addresses: all.into_iter().collect(),
        alias: None,
        headless: spec.cluster_ip == "None",
        ports: spec.ports.clone(),
    }
}

fn same_protocol(port: &Port, protocol: &str) -> bool {
    let own = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
    own.eq_ignore_ascii_case(protocol)
}

/// Equal shares of 100, at least 1.
fn share(count: usize) -> u16 {
    u16::try_from(100 / count.max(1)).unwrap_or(1).max(1)
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// Keeps the records of the asked kind.
fn choose(records: Vec<Data>, kind: Kind) -> Found {
    let matches = |data: &Data| match data {
        Data::Address(IpAddr::V4(_)) => matches!(kind, Kind::A | Kind::Any),
        Data::Address(IpAddr::V6(_)) => matches!(kind, Kind::Aaaa | Kind::Any),
        Data::Alias(_) => true,
        Data::Service { .. } => matches!(kind, Kind::Srv | Kind::Any),
        Data::Pointer(_) => matches!(kind, Kind::Ptr | Kind::Any),
        Data::Text(_) => matches!(kind, Kind::Txt | Kind::Any),
        Data::Authority => matches!(kind, Kind::Soa | Kind::Any),
        Data::NameServer(_) => matches!(kind, Kind::Ns | Kind::Any),
    };
    let records: Vec<_> = records.into_iter().filter(matches).collect();
    if records.is_empty() { Found::NoData } else { Found::Records(records, Vec::new()) }
}

/// The address in `4.3.2.1.in-addr.arpa` or the 32 digits of `ip6.arpa`.
fn reverse_address(labels: &[String]) -> Option<IpAddr> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>().ok().map(IpAddr::from),
        [digits @ .., "ip6", "arpa"] if digits.len() == 32 => {
            let text: String = digits.iter().rev().copied().collect();
            if digits.iter().any(|d| d.len() != 1) {
                return None;
            }
            u128::from_str_radix(&text, 16).ok().map(|n| IpAddr::from(Ipv6Addr::from(n)))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
