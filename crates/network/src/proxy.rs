//! The service proxy's shell: feeds [`crate::core::proxy`] and carries its transactions out.

use crate::core::nft::{GETSETELEM, Transaction};
use crate::core::nl::{self, flag};
use crate::error::Result;
use crate::netlink::Socket;
use std::collections::BTreeSet;

/// Name of the services' nftables table.
pub fn table_name(cluster_id: &str) -> String {
    format!("corten-{cluster_id}")
}

/// Deletes the entries of an affinity map that name an endpoint which is not in `keep`.
pub fn forget(socket: &Socket, table: &str, map: &str, keep: &BTreeSet<Vec<u8>>) -> Result<()> {
    let header = [libc::AF_INET as u8, 0, 0, 0];
    let answers = socket.request("read an affinity map", |b| {
        b.message(GETSETELEM, flag::DUMP, &header, |m| {
            m.attr_str(1, table);
            m.attr_str(2, map);
        });
    })?;
    let mut stale: Vec<Vec<u8>> = Vec::new();
    for answer in &answers {
        let list = answer.body.get(4..).and_then(|attrs| nl::attr(attrs, 3)).unwrap_or_default();
        for (_, element) in nl::attrs(list) {
            let value = |kind| nl::attr(element, kind).and_then(|data| nl::attr(data, 1));
            if let (Some(key), Some(data)) = (value(1), value(2))
                && !keep.contains(data)
            {
                stale.push(key.to_vec());
            }
        }
    }
    for key in stale {
        let mut tx = Transaction::new(table, socket.next_seq());
        tx.delete_elements(map, [key.as_slice()]);
        match socket.transact("forget a client's endpoint", &tx.finish()) {
            Err(error) if !error.is_absent() => return Err(error),
            _ => {} // it may have expired meanwhile
        }
    }
    Ok(())
}
