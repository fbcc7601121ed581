//! What one Service contributes to the table: a pure function of the Service, its EndpointSlices and the settings.
//!
//! Which endpoints count follows upstream's `proxy/topology.go:CategorizeEndpoints`: ready ones; if there is none, those
//! that are terminating but still serve. A local policy looks at this node's endpoints only; a local external policy
//! still sends pods and the node itself to all endpoints.

use super::{Key, Settings};
use crate::core::nft::{Expr, Field, Holds, Load, Rule, Set, Value, Verdict};
use crate::core::pods::{Protocol, in_block, key};
use crate::core::rt::Cidr;
use crate::core::views::{Endpoint, EndpointSlice, Service, ServicePort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Bit of the packet mark that asks for masquerading (upstream's default).
pub const MASQUERADE_MARK: u32 = 0x4000;

/// Sets and maps that all services share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shared {
    /// (address, protocol, port) → chain.
    Services,
    /// (protocol, port) → chain.
    NodePorts,
    /// (address, protocol, port, index) → (address, port).
    Endpoints,
    /// (protocol, port, index) → (address, port).
    NodePortEndpoints,
    /// (address, protocol, port, index) → the chain of an endpoint that remembers its clients.
    Sticky,
    /// (address, protocol, port) → reject or drop.
    Empty,
    /// (protocol, port) → reject or drop.
    EmptyNodePorts,
    /// (address, protocol, port) → chain that checks the source.
    Guarded,
    /// Cluster addresses.
    ClusterAddresses,
    /// (pod, pod): a pod that reaches itself through a service.
    Hairpin,
}

impl Shared {
    /// All of them.
    pub const ALL: [Shared; 10] = [
        Shared::Services,
        Shared::NodePorts,
        Shared::Endpoints,
        Shared::NodePortEndpoints,
        Shared::Sticky,
        Shared::Empty,
        Shared::EmptyNodePorts,
        Shared::Guarded,
        Shared::ClusterAddresses,
        Shared::Hairpin,
    ];

    /// Name in the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Shared::Services => "service-ips",
            Shared::NodePorts => "service-nodeports",
            Shared::Endpoints => "endpoints",
            Shared::NodePortEndpoints => "nodeport-endpoints",
            Shared::Sticky => "affinity-endpoints",
            Shared::Empty => "no-endpoint-services",
            Shared::EmptyNodePorts => "no-endpoint-nodeports",
            Shared::Guarded => "firewall-ips",
            Shared::ClusterAddresses => "cluster-ips",
            Shared::Hairpin => "hairpin",
        }
    }

    /// Its definition.
    pub fn set(self) -> Set {
        use Field::{Address, Mark, Port, Protocol};
        let target = &[Address, Port];
        let (key, holds): (&'static [Field], Holds) = match self {
            Shared::Services | Shared::Empty | Shared::Guarded => (&[Address, Protocol, Port], Holds::Verdicts),
            Shared::NodePorts | Shared::EmptyNodePorts => (&[Protocol, Port], Holds::Verdicts),
            Shared::Endpoints => (&[Address, Protocol, Port, Mark], Holds::Data(target)),
            Shared::NodePortEndpoints => (&[Protocol, Port, Mark], Holds::Data(target)),
            Shared::Sticky => (&[Address, Protocol, Port, Mark], Holds::Verdicts),
            Shared::ClusterAddresses => (&[Address], Holds::Keys),
            Shared::Hairpin => (&[Address, Address], Holds::Keys),
        };
        Set { name: self.name().into(), key, holds }
    }
}

/// Where a flow enters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entrance {
    /// Destination address; `None` for any address of the node.
    pub address: Option<Ipv4Addr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
}

/// Connectionless flows and where they may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Where they enter.
    pub entrance: Entrance,
    /// Where they may go.
    pub endpoints: BTreeSet<(Ipv4Addr, u16)>,
}

/// All that one Service adds to the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contribution {
    /// Elements of shared sets.
    pub elements: Vec<(Shared, Vec<u8>, Value)>,
    /// Chains, shared (`svc-5`) or its own, with their rules.
    pub chains: BTreeMap<Arc<str>, Vec<Rule>>,
    /// Its endpoints' sets of clients, for affinity.
    pub memories: Vec<Set>,
    /// Its connectionless flows.
    pub flows: Vec<Flows>,
}

type Target = (Ipv4Addr, u16);

/// The endpoints of a service port, by who may use them.
#[derive(Debug, Default)]
struct Targets {
    cluster: Vec<Target>,
    local: Vec<Target>,
}

/// Which endpoints a chain picks from; the number is where its indexes begin.
#[derive(Clone, Copy, PartialEq)]
enum Pick {
    Internal = 0,
    Local = 1 << 16,
    Cluster = 1 << 17,
}

impl Pick {
    fn name(self) -> &'static str {
        match self {
            Pick::Internal => "internal",
            Pick::Local => "local",
            Pick::Cluster => "cluster",
        }
    }
}

/// What `service` contributes; `None` when this proxy has nothing to do with it.
pub fn contribution<'a>(
    settings: &Settings,
    name: &Key,
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice> + Clone,
) -> Option<Contribution> {
    let spec = &service.spec;
    if spec.kind == "ExternalName" || service.metadata.labels.contains_key("service.kubernetes.io/service-proxy-name") {
        return None;
    }
    let addresses = std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips);
    let cluster_ip: Ipv4Addr = addresses.filter_map(|a| a.parse().ok()).next()?;
    let mut out = Contribution::default();
    out.elements.push((Shared::ClusterAddresses, cluster_ip.octets().to_vec(), Value::Member));
    for port in &spec.ports {
        let Some(protocol) = Protocol::parse(&port.protocol) else { continue };
        let targets = targets(settings, port, slices.clone(), &mut out);
        PortRules {
            settings,
            service,
            port,
            protocol,
            cluster_ip,
            targets,
            out: &mut out,
            label: format!("{}/{}/{}/{}", name.0, name.1, protocol.name(), port.port),
        }
        .add();
    }
    out.elements.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    out.elements.dedup_by(|a, b| a.0 == b.0 && a.1 == b.1);
    Some(out)
}

fn targets<'a>(
    settings: &Settings,
    port: &ServicePort,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    out: &mut Contribution,
) -> Targets {
    let mut all: BTreeMap<Target, &Endpoint> = BTreeMap::new();
    for slice in slices.filter(|s| s.address_type == "IPv4") {
        let same = |p: &&crate::core::views::EndpointPort| {
            p.name.as_deref().unwrap_or("") == port.name
                && Protocol::parse(p.protocol.as_deref().unwrap_or("")) == Protocol::parse(&port.protocol)
        };
        let Some(number) = slice.ports.iter().find(same).and_then(|p| p.port) else { continue };
        for endpoint in &slice.endpoints {
            let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
            // The same address may stand in two slices while it moves; the ready one counts.
            let entry = all.entry((address, number)).or_insert(endpoint);
            if endpoint.conditions.ready() {
                *entry = endpoint;
            }
        }
    }
    let is_local = |e: &Endpoint| e.node_name.as_deref() == Some(&settings.node);
    for (target, endpoint) in &all {
        if is_local(endpoint) || endpoint.node_name.is_none() {
            let address = target.0.octets();
            out.elements.push((Shared::Hairpin, key(&[&address, &address]), Value::Member));
        }
    }
    let choose = |local_only: bool| {
        let of = |usable: &dyn Fn(&Endpoint) -> bool| -> Vec<Target> {
            all.iter().filter(|(_, e)| (!local_only || is_local(e)) && usable(e)).map(|(t, _)| *t).collect()
        };
        let ready = of(&|e| e.conditions.ready());
        if ready.is_empty() { of(&|e| e.conditions.serving() && e.conditions.terminating()) } else { ready }
    };
    Targets { cluster: choose(false), local: choose(true) }
}

/// Writes the rules of one port of one service.
struct PortRules<'a> {
    settings: &'a Settings,
    service: &'a Service,
    port: &'a ServicePort,
    protocol: Protocol,
    cluster_ip: Ipv4Addr,
    targets: Targets,
    label: String,
    out: &'a mut Contribution,
}

impl PortRules<'_> {
    fn add(&mut self) {
        let internal_local = self.service.spec.internal_traffic_policy == "Local";
        let pick = if internal_local { Pick::Internal } else { Pick::Cluster };
        let (address, port) = (self.cluster_ip, self.port.port);
        if internal_local {
            let targets = self.targets.local.clone();
            self.entrance(Some(address), port, pick, &targets);
        } else {
            let targets = self.targets.cluster.clone();
            self.entrance(Some(address), port, pick, &targets);
        }
        for (address, port) in self.external_entrances() {
            if self.service.spec.external_traffic_policy == "Local" {
                self.local_entrance(address, port);
            } else {
                let targets = self.targets.cluster.clone();
                self.entrance(address, port, Pick::Cluster, &targets);
            }
        }
        self.guard();
    }

    fn load_balancer_addresses(&self) -> Vec<Ipv4Addr> {
        let ingress = self.service.status.load_balancer.ingress.iter();
        ingress.filter(|i| i.ip_mode.as_deref() != Some("Proxy")).filter_map(|i| i.ip.parse().ok()).collect()
    }

    /// Every way in but the cluster address; `None` is any address of the node.
    fn external_entrances(&self) -> Vec<(Option<Ipv4Addr>, u16)> {
        let external = self.service.spec.external_ips.iter().filter_map(|a| a.parse().ok());
        let mut all: Vec<_> =
            external.chain(self.load_balancer_addresses()).map(|a| (Some(a), self.port.port)).collect();
        if self.port.node_port != 0 {
            all.push((None, self.port.node_port));
        }
        all
    }

    fn key(&self, address: Option<Ipv4Addr>, port: u16, index: Option<u32>) -> Vec<u8> {
        let (protocol, port) = ([self.protocol.number()], port.to_be_bytes());
        let mut bytes = match address {
            Some(address) => key(&[&address.octets(), &protocol, &port]),
            None => key(&[&protocol, &port]),
        };
        if let Some(index) = index {
            bytes.extend_from_slice(&index.to_ne_bytes());
        }
        bytes
    }

    fn dispatch(&mut self, address: Option<Ipv4Addr>, port: u16, to: Verdict) {
        let set = if address.is_some() { Shared::Services } else { Shared::NodePorts };
        let key = self.key(address, port, None);
        self.out.elements.push((set, key, Value::Verdict(to)));
    }

    fn flows(&mut self, address: Option<Ipv4Addr>, port: u16, targets: &[Target]) {
        if self.protocol != Protocol::Tcp {
            let entrance = Entrance { address, protocol: self.protocol, port };
            self.out.flows.push(Flows { entrance, endpoints: targets.iter().copied().collect() });
        }
    }

    /// An entrance that leads to `targets`, through a shared chain if it can.
    fn entrance(&mut self, address: Option<Ipv4Addr>, port: u16, pick: Pick, targets: &[Target]) {
        self.flows(address, port, targets);
        if targets.is_empty() {
            return self.empty(address, port);
        }
        if self.service.spec.session_affinity == "ClientIP" {
            let chain = self.pick_chain(pick, targets);
            return self.dispatch(address, port, Verdict::Goto(chain));
        }
        let set = if address.is_some() { Shared::Endpoints } else { Shared::NodePortEndpoints };
        for (index, target) in (0..).zip(targets) {
            let key = self.key(address, port, Some(index));
            self.out.elements.push((set, key, Value::Data(target_bytes(target))));
        }
        let chain = shared_chain(self.settings, address.is_none(), targets.len() as u32, self.out);
        self.dispatch(address, port, Verdict::Goto(chain));
    }

    /// An entrance that leads outsiders to this node's endpoints, pods and the node itself to all.
    fn local_entrance(&mut self, address: Option<Ipv4Addr>, port: u16) {
        let cluster = self.targets.cluster.clone();
        let local = self.targets.local.clone();
        self.flows(address, port, &cluster);
        if cluster.is_empty() {
            return self.empty(address, port);
        }
        let all = self.pick_chain(Pick::Cluster, &cluster);
        let mut from_pod = in_block(Load::SourceAddress, &self.settings.cluster_block, true);
        from_pod.push(Expr::Then(Verdict::Goto(all.clone())));
        let from_node = vec![
            Expr::Load(0, Load::SourceType),
            Expr::Equal(0, 2_u32.to_ne_bytes().to_vec()),
            Expr::Then(Verdict::Goto(all)),
        ];
        let outside =
            if local.is_empty() { Verdict::Drop } else { Verdict::Goto(self.pick_chain(Pick::Local, &local)) };
        let name: Arc<str> = format!("external-{}", self.label).into();
        self.out.chains.insert(name.clone(), vec![from_pod, from_node, vec![Expr::Then(outside)]]);
        self.dispatch(address, port, Verdict::Goto(name));
    }

    fn empty(&mut self, address: Option<Ipv4Addr>, port: u16) {
        let set = if address.is_some() { Shared::Empty } else { Shared::EmptyNodePorts };
        // Endpoints elsewhere only: silence, as a local policy asks. None at all: a clear refusal.
        let verdict = if self.targets.cluster.is_empty() { Verdict::Goto("reject".into()) } else { Verdict::Drop };
        let key = self.key(address, port, None);
        self.out.elements.push((set, key, Value::Verdict(verdict)));
    }

    /// A chain of this port alone that picks one of `targets`, by what it remembers if the service wants affinity.
    fn pick_chain(&mut self, pick: Pick, targets: &[Target]) -> Arc<str> {
        let name: Arc<str> = format!("{}-{}", pick.name(), self.label).into();
        if self.out.chains.contains_key(&name) {
            return name;
        }
        let from = pick as u32;
        let sticky = self.service.spec.session_affinity == "ClientIP";
        let mut rules = Vec::new();
        if pick != Pick::Local {
            rules.push(mark_outsiders(self.settings));
        }
        for (index, target) in (from..).zip(targets) {
            let key = self.key(Some(self.cluster_ip), self.port.port, Some(index));
            if sticky {
                let (chain, known) = self.sticky_endpoint(&name, target);
                rules.push(known);
                self.out.elements.push((Shared::Sticky, key, Value::Verdict(Verdict::Goto(chain))));
            } else {
                self.out.elements.push((Shared::Endpoints, key, Value::Data(target_bytes(target))));
            }
        }
        let mut choose: Rule = (0..)
            .zip(self.key(Some(self.cluster_ip), self.port.port, None).chunks(4))
            .map(|(reg, word)| Expr::Const(reg, word.to_vec()))
            .collect();
        choose.push(Expr::Load(3, Load::Random { below: targets.len() as u32, from }));
        if sticky {
            choose.push(Expr::VerdictOf(0, Shared::Sticky.name().into()));
        } else {
            choose.extend([
                Expr::DataOf { key: 0, map: Shared::Endpoints.name().into(), to: 4 },
                Expr::Dnat { address: 4, port: 5 },
            ]);
        }
        rules.push(choose);
        self.out.chains.insert(name.clone(), rules);
        name
    }

    /// An endpoint's chain, which remembers its clients, and the rule by which a known client comes back to it. Set and
    /// chain are named by the endpoint: when it goes, its clients are forgotten with it.
    fn sticky_endpoint(&mut self, pick: &str, target: &Target) -> (Arc<str>, Rule) {
        let chain: Arc<str> = format!("{pick}/{}/{}", target.0, target.1).into();
        let clients: Arc<str> = format!("clients-{chain}").into();
        let timeout_ms = u64::from(affinity_seconds(self.service)) * 1000;
        let holds = Holds::Remembered { timeout_ms, size: 65_536 };
        self.out.memories.push(Set { name: clients.clone(), key: &[Field::Address], holds });
        let go = vec![
            Expr::Load(0, Load::SourceAddress),
            Expr::Remember { key: 0, set: clients.clone(), timeout_ms },
            Expr::Const(4, target.0.octets().to_vec()),
            Expr::Const(5, target.1.to_be_bytes().to_vec()),
            Expr::Dnat { address: 4, port: 5 },
        ];
        self.out.chains.insert(chain.clone(), vec![go]);
        let known =
            vec![Expr::Load(0, Load::SourceAddress), Expr::In(0, clients), Expr::Then(Verdict::Goto(chain.clone()))];
        (chain, known)
    }

    /// Load balancer addresses that only some sources may use.
    fn guard(&mut self) {
        let ranges: Vec<Cidr> =
            self.service.spec.load_balancer_source_ranges.iter().filter_map(|r| Cidr::parse(r.trim())).collect();
        let addresses = self.load_balancer_addresses();
        if self.service.spec.load_balancer_source_ranges.is_empty() || addresses.is_empty() {
            return;
        }
        let name: Arc<str> = format!("firewall-{}", self.label).into();
        let mut rules: Vec<Rule> = ranges
            .iter()
            .filter(|r| r.base.is_ipv4())
            .map(|range| {
                let mut rule = in_block(Load::SourceAddress, range, true);
                rule.push(Expr::Then(Verdict::Return));
                rule
            })
            .collect();
        rules.push(vec![Expr::Then(Verdict::Drop)]);
        self.out.chains.insert(name.clone(), rules);
        for address in addresses {
            let key = self.key(Some(address), self.port.port, None);
            self.out.elements.push((Shared::Guarded, key, Value::Verdict(Verdict::Goto(name.clone()))));
        }
    }
}

fn affinity_seconds(service: &Service) -> u32 {
    let config = service.spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    config.and_then(|c| c.timeout_seconds).unwrap_or(10_800)
}

fn target_bytes(target: &Target) -> Vec<u8> {
    key(&[&target.0.octets(), &target.1.to_be_bytes()])
}

/// Sources outside the cluster must get their answers through this node.
fn mark_outsiders(settings: &Settings) -> Rule {
    let mut rule = in_block(Load::SourceAddress, &settings.cluster_block, false);
    let bit = MASQUERADE_MARK;
    rule.extend([
        Expr::Load(0, Load::Mark),
        Expr::Bits(0, (!bit).to_ne_bytes().to_vec(), bit.to_ne_bytes().to_vec()),
        Expr::SetMark(0),
    ]);
    rule
}

/// The chain of all entrances with `count` endpoints.
fn shared_chain(settings: &Settings, node_port: bool, count: u32, out: &mut Contribution) -> Arc<str> {
    let random = Load::Random { below: count, from: 0 };
    let (name, mut rule, map): (Arc<str>, Rule, Shared) = if node_port {
        let rule = vec![Expr::Load(0, Load::Protocol), Expr::Load(1, Load::DestinationPort), Expr::Load(2, random)];
        (format!("nodeport-{count}").into(), rule, Shared::NodePortEndpoints)
    } else {
        let rule = vec![
            Expr::Load(0, Load::DestinationAddress),
            Expr::Load(1, Load::Protocol),
            Expr::Load(2, Load::DestinationPort),
            Expr::Load(3, random),
        ];
        (format!("service-{count}").into(), rule, Shared::Endpoints)
    };
    rule.extend([Expr::DataOf { key: 0, map: map.name().into(), to: 4 }, Expr::Dnat { address: 4, port: 5 }]);
    out.chains.entry(name.clone()).or_insert_with(|| vec![mark_outsiders(settings), rule]);
    name
}
