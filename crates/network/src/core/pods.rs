//! The node's own table: masquerading of what pods send out of the cluster, host ports, hairpins. As values.
//!
//! Base chains accept by default: the table grants nothing and blocks nothing but what the kernel would treat as forged.

use super::nft::{Expr, Field, Holds, Hook, Load, Rule, Set, Transaction, Value, Verdict};
use super::rt::Cidr;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Which transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// From Kubernetes' name; empty means TCP.
    pub fn parse(text: &str) -> Option<Protocol> {
        match text {
            "" | "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

/// A port of the node that leads to a port of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// Transport protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Only on this address of the node; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
}

impl PortMapping {
    /// Can both be there at once?
    pub fn clashes(&self, other: &PortMapping) -> bool {
        self.host_port == other.host_port
            && self.protocol == other.protocol
            && (self.host_ip.is_none() || other.host_ip.is_none() || self.host_ip == other.host_ip)
    }
}

const HOST_PORTS: &str = "host-ports";
const HOST_ADDRESS_PORTS: &str = "host-address-ports";
const HAIRPIN: &str = "hairpin";

/// What the table must know.
#[derive(Clone, Debug)]
pub struct NodeRules {
    /// This node's pods.
    pub node_block: Cidr,
    /// All pods of the cluster.
    pub cluster_block: Cidr,
    /// Name of the overlay link.
    pub overlay: String,
}

/// A word of four bytes from a protocol or port: concatenated keys pad each field.
pub fn word(bytes: &[u8]) -> [u8; 4] {
    let mut word = [0; 4];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

/// Concatenates fields, each padded to a word.
pub fn key(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|f| word(f)).collect()
}

/// `ip saddr & mask ==/!= block`.
pub fn in_block(field: Load, block: &Cidr, inside: bool) -> Rule {
    let std::net::IpAddr::V4(base) = block.base else { return Vec::new() };
    let mask = block.mask_bytes().to_vec();
    let base = base.octets().to_vec();
    let compare = if inside { Expr::Equal(0, base) } else { Expr::Differs(0, base) };
    vec![Expr::Load(0, field), Expr::Bits(0, mask, vec![0; 4]), compare]
}

/// A link's name as the kernel compares it.
pub fn link_name(name: &str) -> Vec<u8> {
    let mut bytes = [0_u8; 16];
    let n = name.len().min(15);
    bytes[..n].copy_from_slice(&name.as_bytes()[..n]);
    bytes.to_vec()
}

fn sets() -> [Set; 3] {
    let target: &[Field] = &[Field::Address, Field::Port];
    [
        Set { name: HOST_PORTS.into(), key: &[Field::Protocol, Field::Port], holds: Holds::Data(target) },
        Set {
            name: HOST_ADDRESS_PORTS.into(),
            key: &[Field::Address, Field::Protocol, Field::Port],
            holds: Holds::Data(target),
        },
        Set { name: HAIRPIN.into(), key: &[Field::Address, Field::Address], holds: Holds::Keys },
    ]
}

/// Destination is an address of this machine, but not loopback.
pub fn to_this_machine() -> Rule {
    vec![
        Expr::Load(0, Load::DestinationType),
        Expr::Equal(0, 2_u32.to_ne_bytes().to_vec()),
        Expr::Load(0, Load::DestinationAddress),
        Expr::Bits(0, vec![255, 0, 0, 0], vec![0; 4]),
        Expr::Differs(0, vec![127, 0, 0, 0]),
    ]
}

fn host_port_rules() -> [Rule; 2] {
    let mut any = to_this_machine();
    any.extend([
        Expr::Load(0, Load::Protocol),
        Expr::Load(1, Load::DestinationPort),
        Expr::DataOf { key: 0, map: HOST_PORTS.into(), to: 4 },
        Expr::Dnat { address: 4, port: 5 },
    ]);
    let one = vec![
        Expr::Load(0, Load::DestinationAddress),
        Expr::Load(1, Load::Protocol),
        Expr::Load(2, Load::DestinationPort),
        Expr::DataOf { key: 0, map: HOST_ADDRESS_PORTS.into(), to: 4 },
        Expr::Dnat { address: 4, port: 5 },
    ];
    [one, any]
}

fn postrouting(rules: &NodeRules) -> Vec<Rule> {
    let hairpin = vec![
        Expr::Load(0, Load::SourceAddress),
        Expr::Load(1, Load::DestinationAddress),
        Expr::In(0, HAIRPIN.into()),
        Expr::Masquerade,
    ];
    let multicast = Cidr { base: Ipv4Addr::new(224, 0, 0, 0).into(), prefix: 4 };
    let mut leaving = in_block(Load::SourceAddress, &rules.node_block, true);
    leaving.extend(in_block(Load::DestinationAddress, &rules.cluster_block, false));
    leaving.extend(in_block(Load::DestinationAddress, &multicast, false));
    leaving.push(Expr::Masquerade);
    // What enters the overlay must have an address to which the overlay leads back.
    let mut entering = vec![Expr::Load(0, Load::OutLink), Expr::Equal(0, link_name(&rules.overlay))];
    entering.extend(in_block(Load::SourceAddress, &rules.cluster_block, false));
    entering.push(Expr::Masquerade);
    vec![hairpin, leaving, entering]
}

/// A pod's packets to 127.0.0.0/8 never reach the node, even when an administrator allows routing of local addresses.
fn forged() -> Rule {
    let loopback = Cidr { base: Ipv4Addr::new(127, 0, 0, 0).into(), prefix: 8 };
    let mut rule = vec![Expr::Load(0, Load::InLink), Expr::Differs(0, link_name("lo"))];
    rule.extend(in_block(Load::DestinationAddress, &loopback, true));
    rule.push(Expr::Then(Verdict::Drop));
    rule
}

/// Builds the table anew, in one step, with the host ports of the pods that are there.
pub fn rebuild(tx: &mut Transaction, rules: &NodeRules, pods: &[(Ipv4Addr, Vec<PortMapping>)]) {
    tx.add_table();
    tx.delete_table();
    tx.add_table();
    for set in sets() {
        tx.add_set(&set);
    }
    tx.add_chain("raw-prerouting", Some(Hook { kind: "filter", number: 0, priority: -300 }));
    tx.add_chain("nat-prerouting", Some(Hook { kind: "nat", number: 0, priority: -100 }));
    tx.add_chain("nat-output", Some(Hook { kind: "nat", number: 3, priority: -100 }));
    tx.add_chain("nat-postrouting", Some(Hook { kind: "nat", number: 4, priority: 100 }));
    tx.add_rule("raw-prerouting", &forged());
    for rule in host_port_rules() {
        tx.add_rule("nat-prerouting", &rule);
        tx.add_rule("nat-output", &rule);
    }
    for rule in postrouting(rules) {
        tx.add_rule("nat-postrouting", &rule);
    }
    for (address, ports) in pods {
        add_ports(tx, *address, ports);
    }
}

/// Opens a pod's host ports.
pub fn add_ports(tx: &mut Transaction, pod: Ipv4Addr, ports: &[PortMapping]) {
    for port in ports {
        let (set, key) = port_key(port);
        let value = Value::Data(self::key(&[&pod.octets(), &port.container_port.to_be_bytes()]));
        tx.add_elements(set, [(key.as_slice(), &value)]);
    }
    if !ports.is_empty() {
        let pair = key(&[&pod.octets(), &pod.octets()]);
        tx.add_elements(HAIRPIN, [(pair.as_slice(), &Value::Member)]);
    }
}

/// Closes a pod's host ports.
pub fn remove_ports(tx: &mut Transaction, pod: Ipv4Addr, ports: &[PortMapping]) {
    for port in ports {
        let (set, key) = port_key(port);
        tx.delete_elements(set, [key.as_slice()]);
    }
    if !ports.is_empty() {
        let pair = key(&[&pod.octets(), &pod.octets()]);
        tx.delete_elements(HAIRPIN, [pair.as_slice()]);
    }
}

fn port_key(port: &PortMapping) -> (&'static str, Vec<u8>) {
    let (protocol, number) = (port.protocol.number(), port.host_port.to_be_bytes());
    match port.host_ip {
        Some(ip) if !ip.is_unspecified() => (HOST_ADDRESS_PORTS, key(&[&ip.octets(), &[protocol], &number])),
        _ => (HOST_PORTS, key(&[&[protocol], &number])),
    }
}
