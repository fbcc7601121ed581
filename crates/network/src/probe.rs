//! Tries what the kernel must be able to do for the networks of pods and nodes, in a network namespace that is thrown away.
//!
//! Asking for a thing also makes the kernel load the module that has it, so what is told as missing really is.

use crate::core::nft::{Expr, Hook, Transaction};
use crate::core::rt::{self, Veth};
use crate::error::{Error, Result};
use crate::netlink::{Protocol, Socket};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

/// What can be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Network namespaces.
    Namespaces,
    /// Pairs of virtual links.
    Veth,
    /// The bridge between nodes in namespaces.
    Bridge,
    /// The overlay between nodes.
    Vxlan,
    /// nftables with address translation.
    Nftables,
}

/// Everything that does not work, with the kernel's answer.
pub fn missing() -> Vec<(Feature, Error)> {
    let thread = std::thread::spawn(|| {
        // SAFETY: unshare(2) takes no pointers and changes this thread only, which ends with the closure.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
            let error = Error::kernel("make a network namespace", io::Error::last_os_error());
            return vec![(Feature::Namespaces, error)];
        }
        let tries: [(Feature, fn() -> Result<()>); 4] = [
            (Feature::Veth, veth),
            (Feature::Bridge, || link("make a bridge", |b| rt::add_bridge(b, "br"))),
            (Feature::Vxlan, || {
                link("make a vxlan link", |b| {
                    rt::add_vxlan(b, "vx", [2, 0, 0, 0, 0, 3], 1, Ipv4Addr::LOCALHOST, 8472, 1400)
                })
            }),
            (Feature::Nftables, nftables),
        ];
        tries.into_iter().filter_map(|(feature, attempt)| Some((feature, attempt().err()?))).collect()
    });
    let panicked = |_| vec![(Feature::Namespaces, Error::Invalid("the thread that tries the kernel panicked".into()))];
    thread.join().unwrap_or_else(panicked)
}

fn link(doing: &str, build: impl FnOnce(&mut crate::core::nl::Batch)) -> Result<()> {
    Socket::open(Protocol::Route)?.request(doing, build).map(drop)
}

fn veth() -> Result<()> {
    let here = File::open("/proc/thread-self/ns/net").map_err(|e| Error::kernel("open a network namespace", e))?;
    let pair = Veth {
        name: "va",
        mac: [2, 0, 0, 0, 0, 1],
        peer: "vb",
        peer_mac: [2, 0, 0, 0, 0, 2],
        peer_netns: here.as_raw_fd(),
        mtu: 1400,
    };
    link("make a pair of veth links", |b| rt::add_veth(b, &pair))
}

fn nftables() -> Result<()> {
    let socket = Socket::open(Protocol::Netfilter)?;
    let mut tx = Transaction::new("probe", socket.next_seq());
    tx.add_table();
    tx.add_chain("nat-postrouting", Some(Hook { kind: "nat", number: 4, priority: 100 }));
    tx.add_rule("nat-postrouting", &[Expr::Masquerade]);
    socket.transact("make an nftables table with address translation", &tx.finish())
}

#[cfg(test)]
mod tests {
    #[test]
    fn without_rights_the_first_thing_is_missing() {
        // As root all is there on a machine that runs our tests; as somebody else no namespace can be made.
        let found: Vec<_> = super::missing().into_iter().map(|(f, _)| f).collect();
        assert!(found.is_empty() || found == [super::Feature::Namespaces], "{found:?}");
    }
}
