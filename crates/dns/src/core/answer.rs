//! From the bytes of a query to the bytes of an answer, with the help of the index. Pure; hickory-proto is the codec.
//!
//! Answers are authoritative, echo the question as it was written (case included), carry EDNS when it was asked with, and
//! are cut off with TC when they do not fit. Negative answers carry the SOA; every TTL is [`TTL`].

use super::index::{Data, Found, Index, Kind};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// Seconds that answers may be kept.
pub const TTL: u32 = 5;
/// Largest UDP answer: what passes every path without fragments (DNS flag day 2020).
pub const MAX_UDP: u16 = 1232;
/// Longest chain of aliases that is followed inside the cluster.
const ALIASES: usize = 8;

/// What to do with a query.
pub enum Decision {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask the upstream servers the same.
    Forward(Box<Message>),
    /// The answer begins with these aliases; the last one's target must be asked upstream and appended.
    Chase(Box<Chase>),
    /// Not a query: say nothing.
    Ignore,
}

/// An answer that lacks the records of its alias' target.
pub struct Chase {
    /// The answer so far.
    pub reply: Message,
    /// Whose records are missing.
    pub target: Name,
    /// Of which kind.
    pub kind: RecordType,
}

/// Decides about a query. `limit` is the most bytes that the transport takes; `turn` rotates the order of addresses.
pub fn decide(index: &Index, bytes: &[u8], tcp: bool, turn: usize) -> Decision {
    let query = match Message::from_vec(bytes) {
        Ok(query) => query,
        Err(_) => return malformed(bytes),
    };
    if query.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    let mut reply = reply_to(&query);
    if query.metadata.op_code != OpCode::Query {
        return done(reply, ResponseCode::NotImp, &query, tcp);
    }
    if query.edns.as_ref().is_some_and(|e| e.version() > 0) {
        reply.edns.get_or_insert_with(Edns::new).set_rcode_high(ResponseCode::BADVERS.high());
        return done(reply, ResponseCode::from_low(ResponseCode::BADVERS.low()), &query, tcp);
    }
    let [question] = query.queries.as_slice() else { return done(reply, ResponseCode::FormErr, &query, tcp) };
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return done(reply, ResponseCode::Refused, &query, tcp);
    }
    let mut name = question.name().clone();
    let mut written = name.clone();
    for _ in 0..ALIASES {
        match index.find(&labels(&name), kind(question.query_type())) {
            Found::Elsewhere if reply.answers.is_empty() => return Decision::Forward(Box::new(query)),
            Found::Elsewhere => {
                return Decision::Chase(Box::new(Chase { reply, target: name, kind: question.query_type() }));
            }
            Found::NoName => return negative(reply, index, ResponseCode::NXDomain, &query, tcp),
            Found::NoData => return negative(reply, index, ResponseCode::NoError, &query, tcp),
            Found::Records(records, extra) => {
                let alias = add_records(&mut reply, index, &written, &records, &extra, turn);
                match alias {
                    Some(target) if question.query_type() != RecordType::CNAME => {
                        name = target.clone();
                        written = target;
                    }
                    _ => return done(reply, ResponseCode::NoError, &query, tcp),
                }
            }
        }
    }
    done(reply, ResponseCode::ServFail, &query, tcp)
}

/// An answer without records: header and question of `query`.
pub fn reply_to(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.checking_disabled = query.metadata.checking_disabled;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP);
        reply.set_edns(edns);
    }
    reply
}

/// The bytes of `reply`, cut off when the client cannot take them.
pub fn encode(reply: &Message, query: &Message, tcp: bool) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    let room = query.edns.as_ref().map_or(512, |e| e.max_payload().clamp(512, MAX_UDP));
    if tcp || bytes.len() <= usize::from(room) {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

/// An answer that says that something went wrong here.
pub fn failure(query: &Message, code: ResponseCode) -> Option<Vec<u8>> {
    let mut reply = reply_to(query);
    reply.metadata.authoritative = false;
    reply.metadata.response_code = code;
    reply.to_vec().ok()
}

fn done(mut reply: Message, code: ResponseCode, query: &Message, tcp: bool) -> Decision {
    reply.metadata.response_code = code;
    encode(&reply, query, tcp).map_or(Decision::Ignore, Decision::Reply)
}

/// A query that cannot be read: the identifier, if there is one, and the complaint.
fn malformed(bytes: &[u8]) -> Decision {
    let (Some(id), Some(flags)) = (bytes.get(..2), bytes.get(2)) else { return Decision::Ignore };
    if flags & 0x80 != 0 {
        return Decision::Ignore; // an answer: never answer an answer
    }
    let id = u16::from_be_bytes([id[0], id[1]]);
    let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    reply.to_vec().map_or(Decision::Ignore, Decision::Reply)
}

fn negative(mut reply: Message, index: &Index, code: ResponseCode, query: &Message, tcp: bool) -> Decision {
    // A name that is reached through an alias exists; only its target does not.
    let Ok(zone) = Name::from_ascii(format!("{}.", index.domain())) else {
        return done(reply, ResponseCode::ServFail, query, tcp);
    };
    if let Some(data) = authority(index) {
        reply.add_authority(Record::from_rdata(zone, TTL, data));
    }
    done(reply, code, query, tcp)
}

fn authority(index: &Index) -> Option<RData> {
    let server = Name::from_ascii(format!("ns.dns.{}.", index.domain())).ok()?;
    let person = Name::from_ascii(format!("hostmaster.{}.", index.domain())).ok()?;
    Some(RData::SOA(SOA::new(server, person, 1, 7200, 1800, 86400, TTL)))
}

/// Adds records under the name as it was asked; answers the alias' target, if there is one.
fn add_records(
    reply: &mut Message,
    index: &Index,
    name: &Name,
    records: &[Data],
    extra: &[(String, IpAddr)],
    turn: usize,
) -> Option<Name> {
    let mut alias = None;
    let start = if records.is_empty() { 0 } else { turn % records.len() };
    for data in records[start..].iter().chain(&records[..start]) {
        let absolute = |text: &str| Name::from_utf8(format!("{text}.")).ok();
        let rdata = match data {
            Data::Address(address) => Some(address_data(*address)),
            Data::Alias(target) => {
                alias = absolute(target);
                alias.clone().map(|n| RData::CNAME(CNAME(n)))
            }
            Data::Service { weight, port, target } => {
                absolute(target).map(|t| RData::SRV(SRV::new(0, *weight, *port, t)))
            }
            Data::Pointer(target) => absolute(target).map(|t| RData::PTR(PTR(t))),
            Data::Text(text) => Some(RData::TXT(TXT::new(vec![text.clone()]))),
            Data::Authority => authority(index),
            Data::NameServer(target) => absolute(target).map(|t| RData::NS(NS(t))),
        };
        if let Some(rdata) = rdata {
            reply.add_answer(Record::from_rdata(name.clone(), TTL, rdata));
        }
    }
    for (owner, address) in extra {
        if let Ok(owner) = Name::from_utf8(format!("{owner}.")) {
            reply.add_additional(Record::from_rdata(owner, TTL, address_data(*address)));
        }
    }
    alias
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(a) => RData::A(A(a)),
        IpAddr::V6(a) => RData::AAAA(AAAA(a)),
    }
}

fn labels(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

fn kind(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        RecordType::CNAME => Kind::Cname,
        RecordType::SOA => Kind::Soa,
        RecordType::NS => Kind::Ns,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

/// A query for `name`, as it is sent upstream on behalf of a client.
pub fn question(id: u16, name: Name, kind: RecordType) -> Message {
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, kind));
    query
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
