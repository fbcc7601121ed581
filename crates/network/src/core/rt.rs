//! Route netlink requests as values: links, addresses, routes, neighbours, forwarding entries.
//!
//! Each function adds one message to a [`Batch`]; numbers are the kernel's (`linux/rtnetlink.h`, `if_link.h`,
//! `neighbour.h`). IPv4 and IPv6 are both encoded; the callers use IPv4 for now.

use super::nl::{self, Batch, flag};
use std::net::{IpAddr, Ipv4Addr};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const RT_TABLE_MAIN: u8 = 254;
/// Written by a program that was configured: distinguishes our routes from the kernel's and the administrator's.
const RTPROT_STATIC: u8 = 4;
const RTNH_F_ONLINK: u32 = 4;
const AF_BRIDGE: u8 = 7;

/// A hardware address.
pub type Mac = [u8; 6];

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    /// First address.
    pub base: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Cidr {
    /// A block of one address.
    pub fn host(address: IpAddr) -> Cidr {
        Cidr { base: address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Reads `10.244.0.0/24`; host bits are cleared. `None` when it is not a block.
    pub fn parse(text: &str) -> Option<Cidr> {
        let (base, prefix) = text.split_once('/')?;
        let (base, prefix): (IpAddr, u8) = (base.parse().ok()?, prefix.parse().ok()?);
        match base {
            IpAddr::V4(v4) if prefix <= 32 => {
                Some(Cidr { base: Ipv4Addr::from(u32::from(v4) & mask4(prefix)).into(), prefix })
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Some(Cidr { base: std::net::Ipv6Addr::from(u128::from(v6) & mask).into(), prefix })
            }
            _ => None,
        }
    }

    /// Is `address` in it?
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(a)) => u32::from(a) & mask4(self.prefix) == u32::from(base),
            (IpAddr::V6(_), IpAddr::V6(_)) => {
                Cidr::parse(&format!("{address}/{}", self.prefix)).is_some_and(|c| c.base == self.base)
            }
            _ => false,
        }
    }

    /// The `n`th address, counted from the base; `None` past the end or for IPv6 (not yet used).
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        let IpAddr::V4(base) = self.base else { return None };
        let address = u32::from(base).checked_add(n)?;
        (address & mask4(self.prefix) == u32::from(base)).then(|| Ipv4Addr::from(address))
    }

    /// The network mask as the bytes of an address (IPv4).
    pub fn mask_bytes(&self) -> [u8; 4] {
        mask4(self.prefix).to_be_bytes()
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The bytes of an address.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Both ends of a veth pair.
pub struct Veth<'a> {
    /// Name of the end on this side.
    pub name: &'a str,
    /// Hardware address of the end on this side.
    pub mac: Mac,
    /// Name of the other end.
    pub peer: &'a str,
    /// Hardware address of the other end.
    pub peer_mac: Mac,
    /// Descriptor of the network namespace in which the other end is born.
    pub peer_netns: i32,
    /// MTU of both.
    pub mtu: u32,
}

/// Makes a veth pair, the peer born inside another namespace.
pub fn add_veth(batch: &mut Batch, veth: &Veth<'_>) {
    batch.message(RTM_NEWLINK, flag::CREATE | flag::EXCL | flag::ACK, &ifinfomsg(0, 0, 0), |m| {
        m.attr_str(IFLA_IFNAME, veth.name);
        m.attr(IFLA_ADDRESS, &veth.mac);
        m.attr_u32(IFLA_MTU, veth.mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr(IFLA_INFO_KIND, b"veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&ifinfomsg(0, 0, 0));
                    m.attr_str(IFLA_IFNAME, veth.peer);
                    m.attr(IFLA_ADDRESS, &veth.peer_mac);
                    m.attr_u32(IFLA_MTU, veth.mtu);
                    m.attr_u32(IFLA_NET_NS_FD, veth.peer_netns as u32);
                });
            });
        });
    });
}

/// Makes a vxlan link without learning.
pub fn add_vxlan(batch: &mut Batch, name: &str, mac: Mac, vni: u32, local: Ipv4Addr, port: u16, mtu: u32) {
    batch.message(RTM_NEWLINK, flag::CREATE | flag::EXCL | flag::ACK, &ifinfomsg(0, 0, 0), |m| {
        m.attr_str(IFLA_IFNAME, name);
        m.attr(IFLA_ADDRESS, &mac);
        m.attr_u32(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr(IFLA_INFO_KIND, b"vxlan");
            m.nest(IFLA_INFO_DATA, |m| {
                m.attr_u32(IFLA_VXLAN_ID, vni);
                m.attr(IFLA_VXLAN_LOCAL, &local.octets());
                m.attr(IFLA_VXLAN_LEARNING, &[0]);
                m.attr(IFLA_VXLAN_PORT, &port.to_be_bytes());
            });
        });
    });
}

/// Makes a bridge.
pub fn add_bridge(batch: &mut Batch, name: &str) {
    batch.message(RTM_NEWLINK, flag::CREATE | flag::EXCL | flag::ACK, &ifinfomsg(0, 0, 0), |m| {
        m.attr_str(IFLA_IFNAME, name);
        m.nest(IFLA_LINKINFO, |m| m.attr(IFLA_INFO_KIND, b"bridge"));
    });
}

/// Joins a link to a bridge.
pub fn set_master(batch: &mut Batch, index: u32, bridge: u32) {
    batch.message(RTM_NEWLINK, flag::ACK, &ifinfomsg(index, 0, 0), |m| m.attr_u32(IFLA_MASTER, bridge));
}

/// Sets a link up.
pub fn set_up(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWLINK, flag::ACK, &ifinfomsg(index, IFF_UP, IFF_UP), |_| {});
}

/// Deletes a link.
pub fn delete_link(batch: &mut Batch, index: u32) {
    batch.message(RTM_DELLINK, flag::ACK, &ifinfomsg(index, 0, 0), |_| {});
}

/// Asks for one link by name.
pub fn get_link(batch: &mut Batch, name: &str) {
    batch.message(RTM_GETLINK, 0, &ifinfomsg(0, 0, 0), |m| m.attr_str(IFLA_IFNAME, name));
}

/// Asks for all links.
pub fn dump_links(batch: &mut Batch) {
    batch.message(RTM_GETLINK, flag::DUMP, &ifinfomsg(0, 0, 0), |_| {});
}

/// Adds an address to a link (no error if it is there).
pub fn add_address(batch: &mut Batch, index: u32, address: Cidr) {
    let mut header = [0; 8];
    header[0] = family(address.base);
    header[1] = address.prefix;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let bytes = octets(address.base);
    batch.message(RTM_NEWADDR, flag::CREATE | flag::REPLACE | flag::ACK, &header, |m| {
        m.attr(IFA_LOCAL, &bytes);
        m.attr(IFA_ADDRESS, &bytes);
    });
}

/// Asks for all addresses of one family.
pub fn dump_addresses(batch: &mut Batch) {
    batch.message(RTM_GETADDR, flag::DUMP, &[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0], |_| {});
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: Cidr,
    /// Through which link.
    pub link: u32,
    /// Next hop, taken as reachable on the link; `None` for a directly connected destination.
    pub via: Option<IpAddr>,
    /// Source address of what this machine sends itself.
    pub source: Option<IpAddr>,
    /// MTU of the path, if smaller than the link's.
    pub mtu: Option<u32>,
}

fn rtmsg(route: &Route) -> [u8; 12] {
    let scope = if route.via.is_some() { 0 } else { 253 };
    let mut header = [family(route.to.base), route.to.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, 1, 0, 0, 0, 0];
    if route.via.is_some() {
        header[8..12].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    }
    header
}

fn route_attrs(m: &mut Batch, route: &Route) {
    if route.to.prefix > 0 {
        m.attr(RTA_DST, &octets(route.to.base));
    }
    m.attr_u32(RTA_OIF, route.link);
    if let Some(via) = route.via {
        m.attr(RTA_GATEWAY, &octets(via));
    }
    if let Some(source) = route.source {
        m.attr(RTA_PREFSRC, &octets(source));
    }
    if let Some(mtu) = route.mtu {
        m.nest(RTA_METRICS, |m| m.attr_u32(RTAX_MTU, mtu));
    }
}

/// Adds a route or replaces the one to the same destination.
pub fn replace_route(batch: &mut Batch, route: &Route) {
    batch.message(RTM_NEWROUTE, flag::CREATE | flag::REPLACE | flag::ACK, &rtmsg(route), |m| route_attrs(m, route));
}

/// Deletes a route.
pub fn delete_route(batch: &mut Batch, route: &Route) {
    batch.message(RTM_DELROUTE, flag::ACK, &rtmsg(route), |m| route_attrs(m, route));
}

/// Asks for all IPv4 routes.
pub fn dump_routes(batch: &mut Batch) {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    batch.message(RTM_GETROUTE, flag::DUMP, &header, |_| {});
}

fn ndmsg(family: u8, index: u32, flags: u8) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    header[10] = flags;
    header
}

/// Sets a permanent neighbour.
pub fn replace_neighbour(batch: &mut Batch, index: u32, address: IpAddr, mac: Mac) {
    batch.message(RTM_NEWNEIGH, flag::CREATE | flag::REPLACE | flag::ACK, &ndmsg(family(address), index, 0), |m| {
        m.attr(NDA_DST, &octets(address));
        m.attr(NDA_LLADDR, &mac);
    });
}

/// Deletes a neighbour.
pub fn delete_neighbour(batch: &mut Batch, index: u32, address: IpAddr) {
    batch.message(RTM_DELNEIGH, flag::ACK, &ndmsg(family(address), index, 0), |m| m.attr(NDA_DST, &octets(address)));
}

/// Sets where a vxlan link sends frames for `mac`.
pub fn replace_forwarding(batch: &mut Batch, index: u32, mac: Mac, to: Ipv4Addr) {
    batch.message(RTM_NEWNEIGH, flag::CREATE | flag::REPLACE | flag::ACK, &ndmsg(AF_BRIDGE, index, NTF_SELF), |m| {
        m.attr(NDA_LLADDR, &mac);
        m.attr(NDA_DST, &to.octets());
    });
}

/// Deletes a forwarding entry.
pub fn delete_forwarding(batch: &mut Batch, index: u32, mac: Mac, to: Ipv4Addr) {
    batch.message(RTM_DELNEIGH, flag::ACK, &ndmsg(AF_BRIDGE, index, NTF_SELF), |m| {
        m.attr(NDA_LLADDR, &mac);
        m.attr(NDA_DST, &to.octets());
    });
}

/// Asks for the forwarding entries (`bridge`) or the IPv4 neighbours of all links.
pub fn dump_neighbours(batch: &mut Batch, bridge: bool) {
    let family = if bridge { AF_BRIDGE } else { libc::AF_INET as u8 };
    batch.message(RTM_GETNEIGH, flag::DUMP, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], |_| {});
}

/// A link as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU.
    pub mtu: u32,
    /// Its hardware address (zeros if it has none).
    pub mac: Mac,
    /// Is it up?
    pub up: bool,
    /// Parent link, if any.
    pub parent: Option<u32>,
    /// What kind of virtual link (`veth`, `vxlan`); empty for hardware.
    pub kind: String,
    /// Local address of a vxlan link.
    pub vxlan_local: Option<Ipv4Addr>,
    /// Network number of a vxlan link.
    pub vxlan_id: Option<u32>,
    /// UDP port of a vxlan link.
    pub vxlan_port: Option<u16>,
}

/// Reads a link from the body of `RTM_NEWLINK`.
pub fn read_link(body: &[u8]) -> Option<Link> {
    let attrs = body.get(16..)?;
    let info = nl::attr(attrs, IFLA_LINKINFO).unwrap_or_default();
    let data = nl::attr(info, IFLA_INFO_DATA).unwrap_or_default();
    let kind = nl::attr(info, IFLA_INFO_KIND).map(nl::text).unwrap_or_default();
    let vxlan = |attr| if kind == "vxlan" { nl::attr(data, attr) } else { None };
    Some(Link {
        index: nl::u32_at(body, 4)?,
        name: nl::attr(attrs, IFLA_IFNAME).map(nl::text)?.to_string(),
        mtu: nl::attr(attrs, IFLA_MTU).and_then(|v| nl::u32_at(v, 0)).unwrap_or(0),
        mac: nl::attr(attrs, IFLA_ADDRESS).and_then(|v| v.try_into().ok()).unwrap_or_default(),
        up: nl::u32_at(body, 8)? & IFF_UP != 0,
        parent: nl::attr(attrs, IFLA_LINK).and_then(|v| nl::u32_at(v, 0)),
        kind: kind.to_string(),
        vxlan_local: vxlan(IFLA_VXLAN_LOCAL).and_then(nl::be32).map(Ipv4Addr::from),
        vxlan_id: vxlan(IFLA_VXLAN_ID).and_then(|v| nl::u32_at(v, 0)),
        vxlan_port: vxlan(IFLA_VXLAN_PORT).and_then(nl::be16),
    })
}

/// Reads (link, address) from the body of `RTM_NEWADDR`.
pub fn read_address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let attrs = body.get(8..)?;
    let value = nl::attr(attrs, IFA_LOCAL).or_else(|| nl::attr(attrs, IFA_ADDRESS))?;
    Some((nl::u32_at(body, 4)?, read_ip(value)?))
}

/// Reads a unicast route of the main table from the body of `RTM_NEWROUTE`; `None` for others.
pub fn read_route(body: &[u8]) -> Option<Route> {
    let attrs = body.get(12..)?;
    let table = nl::attr(attrs, RTA_TABLE).and_then(|v| nl::u32_at(v, 0)).unwrap_or(u32::from(body[4]));
    if table != u32::from(RT_TABLE_MAIN) || body[7] != 1 {
        return None;
    }
    let base = match nl::attr(attrs, RTA_DST) {
        Some(value) => read_ip(value)?,
        None => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(Route {
        to: Cidr { base, prefix: body[1] },
        link: nl::attr(attrs, RTA_OIF).and_then(|v| nl::u32_at(v, 0))?,
        via: nl::attr(attrs, RTA_GATEWAY).and_then(read_ip),
        source: nl::attr(attrs, RTA_PREFSRC).and_then(read_ip),
        mtu: None,
    })
}

/// A neighbour or forwarding entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its link.
    pub link: u32,
    /// Its address (the destination of a forwarding entry).
    pub address: Option<IpAddr>,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Was it set by hand?
    pub permanent: bool,
}

/// Reads an entry from the body of `RTM_NEWNEIGH`.
pub fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let attrs = body.get(12..)?;
    Some(Neighbour {
        link: nl::u32_at(body, 4)?,
        address: nl::attr(attrs, NDA_DST).and_then(read_ip),
        mac: nl::attr(attrs, NDA_LLADDR).and_then(|v| v.try_into().ok()),
        permanent: nl::u16_at(body, 8)? & NUD_PERMANENT != 0,
    })
}

fn read_ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

#[cfg(test)]
#[path = "rt_tests.rs"]
mod tests;
