//! Connection tracking entries of connectionless protocols that still lead to an endpoint that is gone.
//!
//! A UDP flow that was once translated keeps its endpoint as long as packets come. After a change, entries whose entrance
//! is known and whose endpoint is no longer allowed are deleted; the next packet is translated anew.

use crate::core::nl::{self, flag};
use crate::core::proxy::rules::Flows;
use crate::error::Result;
use crate::netlink::Socket;
use std::collections::HashMap;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const HEADER: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

/// One direction of a flow.
struct Tuple {
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    protocol: u8,
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let ip = nl::attr(bytes, CTA_TUPLE_IP)?;
    let proto = nl::attr(bytes, CTA_TUPLE_PROTO)?;
    let address = |kind| nl::attr(ip, kind).and_then(nl::be32).map(Ipv4Addr::from);
    let port = |kind| nl::attr(proto, kind).and_then(nl::be16);
    Some(Tuple {
        source: (address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)?),
        destination: (address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)?),
        protocol: *nl::attr(proto, CTA_PROTO_NUM)?.first()?,
    })
}

/// Deletes the entries that `flows` no longer allow; answers how many. One dump of the kernel's table.
pub fn redirect(socket: &Socket, flows: &[Flows]) -> Result<usize> {
    if flows.is_empty() {
        return Ok(0);
    }
    let wanted: HashMap<(Option<Ipv4Addr>, u8, u16), &Flows> =
        flows.iter().map(|f| ((f.entrance.address, f.entrance.protocol.number(), f.entrance.port), f)).collect();
    let entries = socket.request("list tracked connections", |b| b.message(GET, flag::DUMP, &HEADER, |_| {}))?;
    let mut deleted = 0;
    for entry in entries {
        let Some(attrs) = entry.body.get(4..) else { continue };
        let (Some(original_bytes), Some(reply_bytes)) =
            (nl::attr(attrs, CTA_TUPLE_ORIG), nl::attr(attrs, CTA_TUPLE_REPLY))
        else {
            continue;
        };
        let (Some(original), Some(reply)) = (tuple(original_bytes), tuple(reply_bytes)) else { continue };
        let (address, port) = original.destination;
        let translated = reply.source != original.destination;
        let by_address = wanted.get(&(Some(address), original.protocol, port));
        // Any address of the node: only what was translated can be told from traffic that merely passes.
        let by_port = || wanted.get(&(None, original.protocol, port)).filter(|_| translated);
        let Some(flow) = by_address.or_else(by_port) else { continue };
        if flow.endpoints.contains(&reply.source) || reply.destination.0.is_unspecified() {
            continue;
        }
        let id = nl::attr(attrs, CTA_ID).unwrap_or_default();
        let result = socket.request("delete a tracked connection", |b| {
            b.message(DELETE, flag::ACK, &HEADER, |m| {
                m.attr(CTA_TUPLE_ORIG | 0x8000, original_bytes);
                m.attr(CTA_ID, id);
            });
        });
        match result {
            Ok(_) => deleted += 1,
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
