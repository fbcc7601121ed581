//! Small route netlink operations on one socket: find links, set up, delete, list.

use crate::core::rt::{self, Link};
use crate::error::Result;
use crate::netlink::Socket;
use std::net::IpAddr;

/// The link called `name`, if there is one.
pub fn find(socket: &Socket, name: &str) -> Result<Option<Link>> {
    let answers = socket.request(&format!("look up the link {name}"), |b| {
        rt::get_link(b, name);
        b.acknowledge_last();
    });
    match answers {
        Ok(answers) => Ok(answers.iter().find_map(|a| rt::read_link(&a.body))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// All links.
pub fn list(socket: &Socket) -> Result<Vec<Link>> {
    let answers = socket.request("list the links", rt::dump_links)?;
    Ok(answers.iter().filter_map(|a| rt::read_link(&a.body)).collect())
}

/// All IPv4 addresses with the number of their link.
pub fn addresses(socket: &Socket) -> Result<Vec<(u32, IpAddr)>> {
    let answers = socket.request("list the addresses", rt::dump_addresses)?;
    Ok(answers.iter().filter_map(|a| rt::read_address(&a.body)).collect())
}

/// Deletes the link called `name`; no error if there is none.
pub fn delete(socket: &Socket, name: &str) -> Result<()> {
    let Some(link) = find(socket, name)? else { return Ok(()) };
    match socket.request(&format!("delete the link {name}"), |b| rt::delete_link(b, link.index)) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}
