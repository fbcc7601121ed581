//! The overlay's shell: a vxlan link without learning, and per peer node one forwarding entry, one permanent neighbour
//! and one route. Also the route by which this node itself reaches services.
//!
//! It reads what the kernel has before every change, so it repairs what somebody else removed, and a restart adopts.

use crate::core::addresses::{gateway, overlay_name, overlay_number};
use crate::core::overlay::{self as plan, Peer, Present, overlay_mac};
use crate::core::rt::{self, Cidr, Link, Route};
use crate::core::views::Node;
use crate::error::{Error, Result};
use crate::links;
use crate::netlink::{Protocol, Socket};
use client::{Client, Informer, Selection, resources};
use platform::Env;
use platform::time::{Duration, sleep, timeout};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::Notify;

/// How often the kernel's entries are compared with the nodes even if nothing changed.
const RESYNC: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// Waits until the Node `node` has a block of pod addresses and an InternalIP; answers both.
pub async fn identity(env: &Env, client: &Client, node: &str) -> (Cidr, Ipv4Addr) {
    let selection = Selection { fields: Some(format!("metadata.name={node}")), ..Selection::all(&resources::NODES) };
    let informer: Informer<Node> = Informer::start(env, client, selection);
    let read = |i: &Informer<Node>| {
        let object = i.get("", node)?;
        Some((Cidr::parse(&object.spec.pod_cidr)?, plan::internal_address(&object)?))
    };
    loop {
        informer.until(|i| read(i).is_some()).await;
        if let Some(found) = read(&informer) {
            return found;
        }
    }
}

/// Keeps the overlay connected to the other nodes until the process ends. Calls `ready` when this node's link is there.
/// Acts in the network namespace of the calling thread.
pub async fn run(env: Env, client: Client, options: Options, ready: impl FnOnce() + Send) -> Result<()> {
    let node = options.node.clone();
    let overlay = Overlay::new(options)?;
    ready();
    let nodes: Informer<Node> = Informer::new(Selection::all(&resources::NODES));
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    nodes.on_change(move |_| wake.notify_one());
    nodes.run(&env, &client);
    nodes.synced().await;
    loop {
        let all = nodes.all();
        let peers = plan::peers(&node, all.iter().map(|n| &**n));
        if let Err(error) = overlay.apply(&peers) {
            tracing::error!("the overlay does not lead to all nodes: {error}; trying again");
            sleep(RETRY).await;
            continue;
        }
        let _ = timeout(RESYNC, changed.notified()).await; // either way: compare
    }
}

/// What the overlay must know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's id: eight hexadecimal digits.
    pub cluster_id: String,
    /// This node's name.
    pub node: String,
    /// This node's block of pod addresses.
    pub node_block: Cidr,
    /// Addresses of services: the node reaches them through the overlay link.
    pub service_block: Cidr,
    /// This node's address among the nodes.
    pub address: Ipv4Addr,
    /// UDP port of the overlay (8472).
    pub port: u16,
}

/// Bytes that the overlay adds to each packet: outer IPv4, UDP, vxlan, inner Ethernet.
pub const OVERHEAD: u32 = 50;

/// The MTU of pods' links: that of the link with `address`, less the overlay's overhead.
pub fn pod_mtu(address: Ipv4Addr) -> Result<u32> {
    let socket = Socket::open(Protocol::Route)?;
    let index =
        links::addresses(&socket)?.into_iter().find(|(_, a)| *a == IpAddr::from(address)).map(|(index, _)| index);
    let link = links::list(&socket)?.into_iter().find(|l| Some(l.index) == index);
    let link = link.ok_or_else(|| Error::Invalid(format!("no link of this node has the node's address {address}")))?;
    Ok(link.mtu.min(65_535).saturating_sub(OVERHEAD).max(576))
}

/// The overlay link of this node.
pub struct Overlay {
    options: Options,
    socket: Socket,
    link: u32,
    me: Ipv4Addr,
}

impl Overlay {
    /// Makes the link, or adopts the one that is there. Acts in the network namespace of the calling thread.
    pub fn new(options: Options) -> Result<Overlay> {
        crate::cni::check_cluster_id(&options.cluster_id)?;
        let me = gateway(&options.node_block).ok_or_else(|| {
            Error::Invalid(format!("the pod block {} is not an IPv4 block of /29 or larger", options.node_block))
        })?;
        let socket = Socket::open(Protocol::Route)?;
        let name = overlay_name(&options.cluster_id);
        let number = overlay_number(&options.cluster_id);
        let mtu = pod_mtu(options.address)?;
        let fits = |l: &Link| {
            l.vxlan_id == Some(number)
                && l.vxlan_local == Some(options.address)
                && l.vxlan_port == Some(options.port)
                && l.mac == overlay_mac(me)
                && l.mtu == mtu
        };
        let existing = links::find(&socket, &name)?;
        if !existing.as_ref().is_some_and(fits) {
            links::delete(&socket, &name)?;
            socket.request("make the overlay link", |b| {
                rt::add_vxlan(b, &name, overlay_mac(me), number, options.address, options.port, mtu);
            })?;
        }
        let link =
            links::find(&socket, &name)?.ok_or_else(|| Error::Invalid(format!("the link {name} vanished")))?.index;
        socket.request("set up the overlay link", |b| {
            rt::add_address(b, link, Cidr::host(me.into()));
            rt::set_up(b, link);
            let source = Some(me.into());
            rt::replace_route(b, &Route { to: options.service_block, link, via: None, source, mtu: None });
        })?;
        Ok(Overlay { options, socket, link, me })
    }

    /// Makes the kernel's entries those of `peers`; answers whether anything had to change.
    pub fn apply(&self, peers: &BTreeMap<Cidr, Peer>) -> Result<bool> {
        let read = |doing: &str, build: &dyn Fn(&mut crate::core::nl::Batch)| self.socket.request(doing, build);
        let present = Present {
            routes: read("list the routes", &rt::dump_routes)?.iter().filter_map(|a| rt::read_route(&a.body)).collect(),
            neighbours: read("list the neighbours", &|b| rt::dump_neighbours(b, false))?
                .iter()
                .filter_map(|a| rt::read_neighbour(&a.body))
                .collect(),
            forwarding: read("list the forwarding entries", &|b| rt::dump_neighbours(b, true))?
                .iter()
                .filter_map(|a| rt::read_neighbour(&a.body))
                .collect(),
        };
        let plan = plan::plan(peers, &present, self.link, self.me, &[self.options.service_block]);
        if plan.is_empty() {
            return Ok(false);
        }
        for (mac, to) in &plan.delete_forwarding {
            tolerate_absent(
                self.socket.request("delete a forwarding entry", |b| rt::delete_forwarding(b, self.link, *mac, *to)),
            )?;
        }
        for route in &plan.delete_routes {
            tolerate_absent(
                self.socket.request("delete the route to a node that left", |b| rt::delete_route(b, route)),
            )?;
        }
        for address in &plan.delete_neighbours {
            tolerate_absent(
                self.socket.request("delete a neighbour", |b| rt::delete_neighbour(b, self.link, *address)),
            )?;
        }
        for peer in &plan.set {
            self.socket.request("connect a node to the overlay", |b| {
                rt::replace_forwarding(b, self.link, peer.mac, peer.address);
                rt::replace_neighbour(b, self.link, peer.gateway.into(), peer.mac);
                rt::replace_route(b, &plan::route_to(peer, self.link, self.me));
            })?;
        }
        Ok(true)
    }
}

fn tolerate_absent<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}
