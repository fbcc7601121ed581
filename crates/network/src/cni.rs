//! The built-in CNI plugin, in process: a point-to-point veth pair per pod, addresses from the node's block, host ports.
//!
//! The pod has its address as /32, a route to the node's gateway address and a permanent neighbour for it; the node has a
//! /32 route and a permanent neighbour for the pod: no bridge, no ARP. An allocation is one file in `dir`, written by
//! rename before anything is made in the kernel and removed after everything is gone, so that a daemon that restarts
//! adopts what is there. `add` and `del` may be repeated. Leaves out: IPv6, bandwidth limits.

use crate::core::addresses::{gateway, mac_of, next_free, overlay_name, veth_name};
use crate::core::nft::Transaction;
use crate::core::nl::Batch;
use crate::core::pods::{self, NodeRules, PortMapping, Protocol};
use crate::core::proxy::rules::{Entrance, Flows};
use crate::core::rt::{self, Cidr, Route, Veth};
use crate::error::{Error, Result};
use crate::listener::Listener;
use crate::netlink::{self, Socket};
use crate::{conntrack, firewall, links, netns, sysctl};
use platform::time::{Duration, sleep};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pause after a rebuild that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What the plugin must know of node and cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's id: eight hexadecimal digits.
    pub cluster_id: String,
    /// This node's block of pod addresses (`10.244.0.0/24`).
    pub node_block: Cidr,
    /// The whole cluster's pod addresses (`10.244.0.0/16`).
    pub cluster_block: Cidr,
    /// Where allocations are kept.
    pub dir: PathBuf,
    /// MTU of pods' links.
    pub mtu: u32,
}

/// A pod that wants a network.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The sandbox (CNI's container id).
    pub sandbox: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Where its network namespace is bound.
    pub netns: PathBuf,
    /// Name of the link in the pod (`eth0`).
    pub ifname: String,
    /// Ports of the node that lead to the pod.
    pub ports: Vec<PortMapping>,
}

/// What a pod got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The node's address that the pod uses as gateway.
    pub gateway: Ipv4Addr,
    /// Name of the link on the node.
    pub host_link: String,
    /// Hardware address in the pod.
    pub mac: rt::Mac,
}

/// The file of an allocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    version: u32,
    address: Ipv4Addr,
    sandbox: String,
    pod_uid: String,
    netns: PathBuf,
    ifname: String,
    #[serde(default)]
    ports: Vec<PortMapping>,
}

/// The plugin; cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    gateway: Ipv4Addr,
    table: String,
    state: Mutex<State>,
    route: Socket,
    netfilter: Mutex<Socket>,
}

#[derive(Default)]
struct State {
    by_sandbox: BTreeMap<String, Allocation>,
    taken: BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
}

/// Name of the node's own nftables table.
pub fn table_name(cluster_id: &str) -> String {
    format!("corten-{cluster_id}-pods")
}

impl Plugin {
    /// Reads the allocations that are there, switches forwarding on, builds the node's table. Acts in the network
    /// namespace of the calling thread.
    pub fn new(config: Config) -> Result<Plugin> {
        check_cluster_id(&config.cluster_id)?;
        let gateway = gateway(&config.node_block).ok_or_else(|| {
            Error::Invalid(format!(
                "the pod block {} has no room for pods: use an IPv4 block of /29 or larger",
                config.node_block
            ))
        })?;
        fs::create_dir_all(&config.dir).map_err(|e| Error::file("create", &config.dir, e))?;
        let state = load(&config.dir)?;
        sysctl::set(&config.dir, "net/ipv4/ip_forward", "1")?;
        let inner = Inner {
            gateway,
            table: table_name(&config.cluster_id),
            state: Mutex::new(state),
            route: Socket::open(netlink::Protocol::Route)?,
            netfilter: Mutex::new(Socket::open(netlink::Protocol::Netfilter)?),
            config,
        };
        inner.rebuild()?;
        inner.open_firewall()?;
        Ok(Plugin { inner: Arc::new(inner) })
    }

    /// CNI ADD: connects a pod. Repeating it gives the same answer.
    pub async fn add(&self, attach: Attach) -> Result<Attached> {
        self.blocking(move |inner| inner.add(&attach)).await
    }

    /// CNI DEL: disconnects a sandbox and frees its address and ports. No error if it is not connected. Waits for the
    /// kernel (about 30 ms): keep it off the pod's critical path.
    pub async fn del(&self, sandbox: &str) -> Result<()> {
        let sandbox = sandbox.to_string();
        self.blocking(move |inner| inner.del(&sandbox)).await
    }

    /// CNI CHECK: is the sandbox connected as `add` left it?
    pub async fn check(&self, sandbox: &str) -> Result<Attached> {
        let sandbox = sandbox.to_string();
        self.blocking(move |inner| inner.check(&sandbox)).await
    }

    /// The sandboxes that have an address: what a restarted daemon compares with the sandboxes that it found.
    pub fn sandboxes(&self) -> Vec<(String, Ipv4Addr)> {
        self.inner.lock().by_sandbox.values().map(|a| (a.sandbox.clone(), a.address)).collect()
    }

    /// Rebuilds the node's table, and lets pods' packets pass new firewalls, whenever somebody else changes nftables; until
    /// the process ends. Acts in the network namespace of the calling thread.
    pub async fn keep(self) -> Result<()> {
        let ours = self.inner.netfilter.lock().unwrap_or_else(PoisonError::into_inner).port();
        loop {
            let listener = Listener::new()?;
            while !listener.foreign_change(&self.inner.table, ours).await {}
            tracing::warn!(table = self.inner.table, "somebody else changed the table of pod rules; building it anew");
            if let Err(error) = self.inner.rebuild().and_then(|()| self.inner.open_firewall()) {
                tracing::error!("the table of pod rules: {error}; trying again");
                sleep(RETRY).await;
            }
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = self.inner.clone();
        let task = tokio::task::spawn_blocking(move || work(&inner)).await;
        task.unwrap_or_else(|e| Err(Error::Invalid(format!("a network operation ended early: {e}"))))
    }
}

/// A cluster's id becomes part of kernel names: it must be eight hexadecimal digits.
pub fn check_cluster_id(id: &str) -> Result<()> {
    if id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(());
    }
    Err(Error::Invalid(format!("the cluster id {id:?} is not eight lower-case hexadecimal digits")))
}

fn load(dir: &Path) -> Result<State> {
    let mut state = State::default();
    for entry in fs::read_dir(dir).map_err(|e| Error::file("list", dir, e))? {
        let path = entry.map_err(|e| Error::file("list", dir, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !name.ends_with(".pod") {
            continue;
        }
        let bytes = fs::read(&path).map_err(|e| Error::file("read", &path, e))?;
        let allocation: Allocation = serde_json::from_slice(&bytes).map_err(|e| {
            Error::Invalid(format!("{} is not an address allocation of this version: {e}", path.display()))
        })?;
        state.taken.insert(allocation.address);
        state.by_sandbox.insert(allocation.sandbox.clone(), allocation);
    }
    state.last = fs::read_to_string(dir.join("last")).ok().and_then(|text| text.trim().parse().ok());
    Ok(state)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transact(&self, doing: &str, fill: impl FnOnce(&mut Transaction)) -> Result<()> {
        let socket = self.netfilter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tx = Transaction::new(&self.table, socket.next_seq());
        fill(&mut tx);
        if tx.is_empty() {
            return Ok(());
        }
        socket.transact(doing, &tx.finish())
    }

    fn open_firewall(&self) -> Result<()> {
        let socket = self.netfilter.lock().unwrap_or_else(PoisonError::into_inner);
        firewall::open(&socket, &self.config.cluster_id, &self.config.cluster_block)
    }

    fn rebuild(&self) -> Result<()> {
        let rules = NodeRules {
            node_block: self.config.node_block,
            cluster_block: self.config.cluster_block,
            overlay: overlay_name(&self.config.cluster_id),
        };
        let pods: Vec<_> = self.lock().by_sandbox.values().map(|a| (a.address, a.ports.clone())).collect();
        self.transact("build the node's nftables table", |tx| pods::rebuild(tx, &rules, &pods))
    }

    fn add(&self, attach: &Attach) -> Result<Attached> {
        let ports: Vec<_> = attach.ports.iter().filter(|p| p.host_port != 0).cloned().collect();
        let (allocation, fresh) = self.allocate(attach, ports)?;
        if !fresh && let Ok(attached) = self.check(&attach.sandbox) {
            return Ok(attached);
        }
        let attached = self.describe(&allocation);
        let made = self.connect(attach, &attached).and_then(|()| {
            self.transact("open a pod's host ports", |tx| pods::add_ports(tx, allocation.address, &allocation.ports))?;
            self.redirect(&allocation)
        });
        if let Err(error) = made {
            if let Err(second) = self.del(&attach.sandbox) {
                tracing::warn!(sandbox = attach.sandbox, "could not undo a failed network set-up: {second}");
            }
            return Err(error);
        }
        Ok(attached)
    }

    /// Connectionless flows to the pod's host ports that still lead to the pod before it begin anew.
    fn redirect(&self, allocation: &Allocation) -> Result<()> {
        let connectionless = allocation.ports.iter().filter(|p| p.protocol != Protocol::Tcp);
        let flows: Vec<Flows> = connectionless
            .map(|p| Flows {
                entrance: Entrance {
                    address: p.host_ip.filter(|ip| !ip.is_unspecified()),
                    protocol: p.protocol,
                    port: p.host_port,
                },
                endpoints: [(allocation.address, p.container_port)].into(),
            })
            .collect();
        let socket = self.netfilter.lock().unwrap_or_else(PoisonError::into_inner);
        conntrack::redirect(&socket, &flows).map(drop)
    }

    /// Reserves an address and ports, on disk before anything else; `false` when the sandbox had them already.
    fn allocate(&self, attach: &Attach, ports: Vec<PortMapping>) -> Result<(Allocation, bool)> {
        let mut state = self.lock();
        if let Some(allocation) = state.by_sandbox.get(&attach.sandbox) {
            return Ok((allocation.clone(), false));
        }
        for other in state.by_sandbox.values() {
            if let Some(port) = ports.iter().find(|p| other.ports.iter().any(|o| o.clashes(p))) {
                return Err(Error::PortTaken {
                    port: port.host_port,
                    protocol: port.protocol.name(),
                    owner: other.sandbox.clone(),
                });
            }
        }
        let block = &self.config.node_block;
        let address =
            next_free(block, &state.taken, state.last).ok_or_else(|| Error::Full { block: block.to_string() })?;
        let allocation = Allocation {
            version: 1,
            address,
            sandbox: attach.sandbox.clone(),
            pod_uid: attach.pod_uid.clone(),
            netns: attach.netns.clone(),
            ifname: attach.ifname.clone(),
            ports,
        };
        let bytes = serde_json::to_vec(&allocation)
            .map_err(|e| Error::Invalid(format!("an allocation cannot be written: {e}")))?;
        sysctl::write_atomically(&self.config.dir.join("last"), address.to_string().as_bytes())?;
        sysctl::write_atomically(&self.file_of(address), &bytes)?;
        state.taken.insert(address);
        state.last = Some(address);
        state.by_sandbox.insert(allocation.sandbox.clone(), allocation.clone());
        Ok((allocation, true))
    }

    fn file_of(&self, address: Ipv4Addr) -> PathBuf {
        self.config.dir.join(format!("{address}.pod"))
    }

    fn describe(&self, allocation: &Allocation) -> Attached {
        Attached {
            address: allocation.address,
            gateway: self.gateway,
            host_link: veth_name(&self.config.cluster_id, allocation.address),
            mac: mac_of(allocation.address, 0),
        }
    }

    fn connect(&self, attach: &Attach, attached: &Attached) -> Result<()> {
        links::delete(&self.route, &attached.host_link)?; // left over from an attempt that was cut off
        let namespace = netns::open(&attach.netns)?;
        let host_mac = mac_of(attached.address, 1);
        let veth = Veth {
            name: &attached.host_link,
            mac: host_mac,
            peer: &attach.ifname,
            peer_mac: attached.mac,
            peer_netns: namespace.as_raw_fd(),
            mtu: self.config.mtu,
        };
        self.route.request("make a pod's veth pair", |b| rt::add_veth(b, &veth))?;
        let (ifname, pod, gateway) = (attach.ifname.clone(), attached.address, self.gateway);
        netns::inside(&namespace, move || inside_pod(&ifname, pod, gateway, host_mac))?;
        let link = links::find(&self.route, &attached.host_link)?.ok_or_else(|| Error::Broken {
            sandbox: attach.sandbox.clone(),
            why: format!("the link {} vanished", attached.host_link),
        })?;
        self.route.request("set up the node's end of a veth pair", |b| {
            rt::add_address(b, link.index, Cidr::host(self.gateway.into()));
            rt::set_up(b, link.index);
            rt::replace_neighbour(b, link.index, pod.into(), attached.mac);
            let source = Some(self.gateway.into());
            rt::replace_route(b, &Route { to: Cidr::host(pod.into()), link: link.index, via: None, source, mtu: None });
        })?;
        Ok(())
    }

    fn del(&self, sandbox: &str) -> Result<()> {
        let Some(allocation) = self.lock().by_sandbox.get(sandbox).cloned() else { return Ok(()) };
        links::delete(&self.route, &veth_name(&self.config.cluster_id, allocation.address))?;
        self.close_ports(&allocation)?;
        let path = self.file_of(allocation.address);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::file("remove", &path, e)),
            _ => {}
        }
        let mut state = self.lock();
        state.by_sandbox.remove(sandbox);
        state.taken.remove(&allocation.address);
        Ok(())
    }

    fn close_ports(&self, allocation: &Allocation) -> Result<()> {
        if allocation.ports.is_empty() {
            return Ok(());
        }
        // Adding first makes deleting possible whether they were there or not.
        let result = self.transact("close a pod's host ports", |tx| {
            pods::add_ports(tx, allocation.address, &allocation.ports);
            pods::remove_ports(tx, allocation.address, &allocation.ports);
        });
        match result {
            Err(error) if error.is_absent() => self.rebuild_without(&allocation.sandbox), // somebody removed our table
            other => other,
        }
    }

    fn rebuild_without(&self, sandbox: &str) -> Result<()> {
        if let Some(allocation) = self.lock().by_sandbox.get_mut(sandbox) {
            allocation.ports.clear();
        }
        self.rebuild()
    }

    fn check(&self, sandbox: &str) -> Result<Attached> {
        let broken = |why: String| Error::Broken { sandbox: sandbox.to_string(), why };
        let allocation =
            self.lock().by_sandbox.get(sandbox).cloned().ok_or_else(|| broken("it has no address here".to_string()))?;
        let attached = self.describe(&allocation);
        let link = links::find(&self.route, &attached.host_link)?;
        if !link.is_some_and(|l| l.up) {
            return Err(broken(format!("the link {} is missing or down", attached.host_link)));
        }
        let namespace = netns::open(&allocation.netns)?;
        let (ifname, address) = (allocation.ifname.clone(), allocation.address);
        let found = netns::inside(&namespace, move || {
            let socket = Socket::open(netlink::Protocol::Route)?;
            let Some(link) = links::find(&socket, &ifname)? else { return Ok(false) };
            Ok(link.up && links::addresses(&socket)?.contains(&(link.index, address.into())))
        })?;
        if !found {
            return Err(broken(format!("the link {} with address {address} is missing in the pod", allocation.ifname)));
        }
        Ok(attached)
    }
}

/// The pod's side: loopback up, address, gateway as permanent neighbour, default route.
fn inside_pod(ifname: &str, address: Ipv4Addr, gateway: Ipv4Addr, gateway_mac: rt::Mac) -> Result<()> {
    let socket = Socket::open(netlink::Protocol::Route)?;
    let link = links::find(&socket, ifname)?
        .ok_or_else(|| Error::Invalid(format!("the link {ifname} did not arrive in the pod's namespace")))?;
    let loopback = links::find(&socket, "lo")?.map(|l| l.index);
    socket.request("set up a pod's network", |b: &mut Batch| {
        if let Some(index) = loopback {
            rt::set_up(b, index);
        }
        rt::add_address(b, link.index, Cidr::host(address.into()));
        rt::set_up(b, link.index);
        rt::replace_neighbour(b, link.index, gateway.into(), gateway_mac);
        rt::replace_route(
            b,
            &Route { to: Cidr::host(gateway.into()), link: link.index, via: None, source: None, mtu: None },
        );
        let everything = Cidr { base: Ipv4Addr::UNSPECIFIED.into(), prefix: 0 };
        rt::replace_route(
            b,
            &Route { to: everything, link: link.index, via: Some(gateway.into()), source: None, mtu: None },
        );
    })?;
    Ok(())
}
