//! Host firewalls that drop what is forwarded: a rule at the head of their chain lets pods' packets pass.
//!
//! Accepting in a table of our own cannot overrule another table's drop policy (Docker's, ufw's). So for every base chain
//! of family ip on the forward hook whose policy is drop, two rules are inserted there, in the form that iptables-nft
//! itself would write, with a comment that carries the cluster's id and by which [`close`] finds them again.
//! Leaves out: tables of family inet and firewalls written in legacy iptables.

use crate::core::nft::{Expr, GETCHAIN, GETRULE, Load, Transaction, Verdict};
use crate::core::nl::{self, flag};
use crate::core::pods::in_block;
use crate::core::rt::Cidr;
use crate::error::Result;
use crate::netlink::Socket;

const HEADER: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];
const FORWARD: u32 = 2;
const DROP: u32 = 0;

/// The comment of the rules for one block.
fn comment(id: &str, block: &Cidr) -> String {
    format!("corten-{id} {block}")
}

struct Chain {
    table: String,
    name: String,
}

/// Base chains of family ip on the forward hook that drop by default.
fn dropping(socket: &Socket) -> Result<Vec<Chain>> {
    let answers =
        socket.request("list the chains of nftables", |b| b.message(GETCHAIN, flag::DUMP, &HEADER, |_| {}))?;
    let read = |body: &[u8]| {
        let attrs = body.get(4..)?;
        let hook = nl::attr(attrs, 4).and_then(|hook| nl::attr(hook, 1)).and_then(nl::be32)?;
        let policy = nl::attr(attrs, 5).and_then(nl::be32)?;
        let text = |kind| nl::attr(attrs, kind).map(|v| nl::text(v).to_string());
        (hook == FORWARD && policy == DROP).then_some(Chain { table: text(1)?, name: text(3)? })
    };
    Ok(answers.iter().filter_map(|a| read(&a.body)).collect())
}

/// One of our rules in a foreign chain.
struct Rule {
    table: String,
    chain: String,
    handle: u64,
    comment: String,
}

/// Our rules in foreign chains.
fn ours(socket: &Socket, id: &str) -> Result<Vec<Rule>> {
    let ours = format!("corten-{id} ");
    let answers = socket.request("list the rules of nftables", |b| b.message(GETRULE, flag::DUMP, &HEADER, |_| {}))?;
    let read = |body: &[u8]| {
        let attrs = body.get(4..)?;
        let comment = nl::text(nl::attr(attrs, 7)?.get(2..)?).to_string();
        if !comment.starts_with(&ours) {
            return None;
        }
        let handle = u64::from_be_bytes(nl::attr(attrs, 3)?.try_into().ok()?);
        let text = |kind| nl::attr(attrs, kind).map(|v| nl::text(v).to_string());
        Some(Rule { table: text(1)?, chain: text(2)?, handle, comment })
    };
    Ok(answers.iter().filter_map(|a| read(&a.body)).collect())
}

/// Lets the packets from and to `block` pass chains that drop by default. Repeating it changes nothing.
pub fn open(socket: &Socket, id: &str, block: &Cidr) -> Result<()> {
    let comment = comment(id, block);
    let there = ours(socket, id)?;
    for chain in dropping(socket)? {
        if there.iter().any(|r| r.table == chain.table && r.chain == chain.name && r.comment == comment) {
            continue;
        }
        tracing::info!(
            table = chain.table,
            chain = chain.name,
            "letting pods' packets pass a firewall that drops by default"
        );
        let mut tx = Transaction::new(&chain.table, socket.next_seq());
        for field in [Load::SourceAddress, Load::DestinationAddress] {
            let mut rule = in_block(field, block, true);
            rule.extend([Expr::Counter, Expr::Then(Verdict::Accept)]);
            tx.insert_foreign_rule(&chain.table, &chain.name, &rule, &comment);
        }
        socket.transact("let pods' packets pass a firewall", &tx.finish())?;
    }
    Ok(())
}

/// Takes the rules of cluster `id` out again.
pub fn close(socket: &Socket, id: &str) -> Result<()> {
    for Rule { table, chain, handle, .. } in ours(socket, id)? {
        let mut tx = Transaction::new(&table, socket.next_seq());
        tx.delete_foreign_rule(&table, &chain, handle);
        socket.transact("take a rule out of a firewall", &tx.finish())?;
    }
    Ok(())
}
