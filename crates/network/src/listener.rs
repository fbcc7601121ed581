//! Hears, by multicast, when somebody else changes one of our nftables tables.

use crate::core::nl;
use crate::error::{Error, Result};
use crate::netlink::{Protocol, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Changes of nftables are told to this multicast group.
const NFNLGRP_NFTABLES: libc::c_int = 7;
const SUBSYSTEM_NFTABLES: u16 = 10;

/// The multicast socket.
pub struct Listener(AsyncFd<Socket>);

impl Listener {
    /// Hears what happens from now on, in the network namespace of the calling thread.
    pub fn new() -> Result<Listener> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.join(NFNLGRP_NFTABLES)?;
        // SAFETY: a `Socket` owns its descriptor, never changes it, and is owned by the `AsyncFd` from here on.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let registered = registered
            .map_err(|e| Error::kernel("wait for changes of nftables", std::io::Error::other(e.to_string())))?;
        Ok(Listener(registered))
    }

    /// Waits for messages about nftables; `true` when one was about `table` and not made by the socket with number `ours`,
    /// or when some were lost.
    pub async fn foreign_change(&self, table: &str, ours: u32) -> bool {
        let Ok(mut guard) = self.0.readable().await else { return true };
        guard.clear_ready();
        match self.0.get_ref().multicast() {
            Ok(messages) => messages.iter().any(|(sender, kind, body)| {
                let about = body.get(4..).and_then(|attrs| nl::attr(attrs, 1)).map(nl::text);
                kind >> 8 == SUBSYSTEM_NFTABLES && *sender != ours && about == Some(table)
            }),
            Err(_) => true,
        }
    }
}
