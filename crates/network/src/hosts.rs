//! The network of nodes that live in namespaces of one machine: a bridge, and a veth pair from it into each namespace.
//!
//! Links are called `cb<id>` (bridge) and `ch<id>-<n>` (host end of node n). Everything is idempotent: what is there and
//! right is left alone, so that a restarted daemon finds its nodes where they were.

use crate::core::nft::{Expr, Hook, Load, Transaction};
use crate::core::pods::in_block;
use crate::core::rt::{self, Cidr, Route, Veth};
use crate::error::{Error, Result};
use crate::netlink::{Protocol, Socket};
use crate::{firewall, links, netns};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MTU: u32 = 1500;

/// Name of the bridge.
pub fn bridge_name(id: &str) -> String {
    format!("cb{id}")
}

/// Start of the names of the host ends.
pub fn host_prefix(id: &str) -> String {
    format!("ch{id}-")
}

/// Makes the bridge with the first node's address.
pub fn bridge(id: &str, address: IpAddr, prefix: u8) -> Result<()> {
    crate::cni::check_cluster_id(id)?;
    let name = bridge_name(id);
    let socket = Socket::open(Protocol::Route)?;
    if links::find(&socket, &name)?.is_none() {
        socket.request(&format!("make the bridge {name}"), |b| rt::add_bridge(b, &name))?;
    }
    let link = links::find(&socket, &name)?.ok_or_else(|| Error::Invalid(format!("the bridge {name} went away")))?;
    socket.request(&format!("set the address of {name}"), |b| {
        rt::add_address(b, link.index, Cidr { base: address, prefix })
    })?;
    socket.request(&format!("set {name} up"), |b| rt::set_up(b, link.index))?;
    leave(id, &Cidr { base: address, prefix })
}

/// Name of the nftables table that lets nodes in namespaces reach what lies beyond this machine.
pub fn table_name(id: &str) -> String {
    format!("corten-{id}-nodes")
}

/// What the nodes send beyond this machine leaves with its address, and a firewall that drops by default lets it pass.
fn leave(id: &str, subnet: &Cidr) -> Result<()> {
    let subnet = Cidr::parse(&subnet.to_string())
        .ok_or_else(|| Error::Invalid(format!("{subnet} is not a block of addresses")))?;
    let socket = Socket::open(Protocol::Netfilter)?;
    let mut tx = Transaction::new(&table_name(id), socket.next_seq());
    tx.add_table();
    tx.delete_table();
    tx.add_table();
    tx.add_chain("nat-postrouting", Some(Hook { kind: "nat", number: 4, priority: 100 }));
    let mut rule = in_block(Load::SourceAddress, &subnet, true);
    rule.extend(in_block(Load::DestinationAddress, &subnet, false));
    rule.extend(in_block(Load::DestinationAddress, &Cidr { base: IpAddr::from([224, 0, 0, 0]), prefix: 4 }, false));
    rule.push(Expr::Masquerade);
    tx.add_rule("nat-postrouting", &rule);
    socket.transact("build the table of nodes in namespaces", &tx.finish())?;
    firewall::open(&socket, id, &subnet)
}

/// Makes node `n`'s namespace, bound at `path`, and its link to the bridge.
pub fn host(id: &str, n: u8, path: &Path, address: IpAddr, prefix: u8, gateway: IpAddr) -> Result<()> {
    if !is_namespace(path) {
        bind_new(path)?;
    }
    let inner = netns::open(path)?;
    let socket = Socket::open(Protocol::Route)?;
    let outer = format!("{}{n}", host_prefix(id));
    let bridge = links::find(&socket, &bridge_name(id))?
        .ok_or_else(|| Error::Invalid(format!("there is no bridge {}", bridge_name(id))))?;
    if links::find(&socket, &outer)?.is_none() {
        let IpAddr::V4(v4) = address else { return Err(Error::Invalid("nodes have IPv4 addresses".into())) };
        let [a, b, c, d] = v4.octets();
        let veth = Veth {
            name: &outer,
            mac: [0x02, 0xc1, a, b, c, d],
            peer: "eth0",
            peer_mac: [0x02, 0xc0, a, b, c, d],
            peer_netns: inner.as_raw_fd(),
            mtu: MTU,
        };
        socket.request(&format!("make the link {outer}"), |b| rt::add_veth(b, &veth))?;
    }
    let link = links::find(&socket, &outer)?.ok_or_else(|| Error::Invalid(format!("the link {outer} went away")))?;
    socket.request(&format!("join {outer} to the bridge"), |b| rt::set_master(b, link.index, bridge.index))?;
    socket.request(&format!("set {outer} up"), |b| rt::set_up(b, link.index))?;
    netns::inside(&inner, move || inside(address, prefix, gateway))
}

fn inside(address: IpAddr, prefix: u8, gateway: IpAddr) -> Result<()> {
    let socket = Socket::open(Protocol::Route)?;
    for name in ["lo", "eth0"] {
        let link =
            links::find(&socket, name)?.ok_or_else(|| Error::Invalid(format!("the node's namespace has no {name}")))?;
        socket.request(&format!("set {name} up"), |b| rt::set_up(b, link.index))?;
        if name == "eth0" {
            socket.request("set the node's address", |b| {
                rt::add_address(b, link.index, Cidr { base: address, prefix })
            })?;
            let everything = Cidr { base: IpAddr::from([0, 0, 0, 0]), prefix: 0 };
            let route = Route { to: everything, link: link.index, via: Some(gateway), source: None, mtu: None };
            socket.request("set the node's default route", |b| rt::replace_route(b, &route))?;
        }
    }
    Ok(())
}

/// Whether a namespace is bound there.
fn is_namespace(path: &Path) -> bool {
    // An unbound file lies on the same filesystem as its directory; a bound namespace does not.
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(path), path.parent().map(std::fs::metadata)) {
        (Ok(file), Some(Ok(dir))) => file.dev() != dir.dev(),
        _ => false,
    }
}

fn bind_new(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| Error::file("make the directory", dir, e))?;
    }
    File::create(path).map_err(|e| Error::file("make the namespace's file", path, e))?;
    let target = path.to_path_buf();
    let thread = std::thread::spawn(move || {
        // SAFETY: unshare(2) takes no pointers and changes this thread only, which ends with the closure.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
            return Err(Error::kernel("make a network namespace", io::Error::last_os_error()));
        }
        let to = std::ffi::CString::new(target.as_os_str().as_bytes())
            .map_err(|_| Error::Invalid("a path with a NUL byte".into()))?;
        let none = c"none";
        let from = c"/proc/thread-self/ns/net";
        // SAFETY: all four pointers are NUL-terminated strings that live until the call returns.
        let r = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), none.as_ptr(), libc::MS_BIND, std::ptr::null()) };
        if r < 0 { Err(Error::kernel("bind the network namespace", io::Error::last_os_error())) } else { Ok(()) }
    });
    thread.join().unwrap_or_else(|_| Err(Error::Invalid("the thread that makes a namespace panicked".into())))
}

/// Removes the links and unbinds the namespaces in `dir`.
pub fn reset(id: &str, dir: &Path) -> Result<()> {
    let socket = Socket::open(Protocol::Route)?;
    for link in links::list(&socket)? {
        if link.name == bridge_name(id) || link.name.starts_with(&host_prefix(id)) {
            links::delete(&socket, &link.name)?;
        }
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Ok(to) = std::ffi::CString::new(path.as_os_str().as_bytes()) {
            // SAFETY: the path is a NUL-terminated string that lives until the call returns.
            unsafe { libc::umount2(to.as_ptr(), libc::MNT_DETACH) };
        }
        std::fs::remove_file(&path).map_err(|e| Error::file("remove", &path, e))?;
    }
    Ok(())
}
