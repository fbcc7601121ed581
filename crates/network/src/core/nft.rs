//! nftables as values and as bytes: rules, chains, maps, elements, and the transaction that changes them.
//!
//! Covers what Corten's tables use, no more. Values are kept as the kernel wants them: concatenated keys have every field
//! padded to four bytes, addresses and ports are in network order, `numgen` and `mark` in the machine's order.
//! Numbers: `linux/netfilter/nf_tables.h`; the facts that are not in headers are in `docs/decisions/0301-proxy-maps.md`.

use super::nl::{Batch, flag};
use std::sync::Arc;

const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const DELCHAIN: u16 = SUBSYSTEM | 5;
const NEWRULE: u16 = SUBSYSTEM | 6;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;
const DELSET: u16 = SUBSYSTEM | 11;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const DELSETELEM: u16 = SUBSYSTEM | 14;
/// Asks for the tables.
pub const GETTABLE: u16 = SUBSYSTEM | 1;
/// Asks for chains.
pub const GETCHAIN: u16 = SUBSYSTEM | 4;
/// Asks for rules.
pub const GETRULE: u16 = SUBSYSTEM | 7;
/// Asks for the elements of a set.
pub const GETSETELEM: u16 = SUBSYSTEM | 13;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// A nested attribute's length has 16 bits: elements are split into messages below this.
const ELEMENTS_LIMIT: usize = 60_000;
const IPV4: u8 = libc::AF_INET as u8;

/// First 32-bit register.
const REG: u32 = 8;
const VERDICT_REG: u32 = 0;

/// Where a packet goes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Let it pass this hook.
    Accept,
    /// Throw it away.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Into a chain, and back.
    Jump(Arc<str>),
    /// Into a chain, not back.
    Goto(Arc<str>),
}

/// What a packet field is loaded from. Registers are counted in words of four bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Source address.
    SourceAddress,
    /// Destination address.
    DestinationAddress,
    /// Destination port.
    DestinationPort,
    /// Transport protocol's number.
    Protocol,
    /// Packet mark.
    Mark,
    /// Name of the link it goes out of.
    OutLink,
    /// Name of the link it came in by.
    InLink,
    /// State of its connection (a bit).
    ConnState,
    /// Status bits of its connection.
    ConnStatus,
    /// What kind of address the destination is for this machine.
    DestinationType,
    /// What kind of address the source is for this machine.
    SourceType,
    /// A random number, `below` many, counted from `from`.
    Random {
        /// How many.
        below: u32,
        /// The first.
        from: u32,
    },
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Loads a field into a register.
    Load(u32, Load),
    /// Loads a constant into a register.
    Const(u32, Vec<u8>),
    /// Goes on only if the register equals.
    Equal(u32, Vec<u8>),
    /// Goes on only if the register differs.
    Differs(u32, Vec<u8>),
    /// `register = register & mask ^ xor`.
    Bits(u32, Vec<u8>, Vec<u8>),
    /// Goes on only if the key that starts at the register is in the set.
    In(u32, Arc<str>),
    /// Looks the key up in a map whose data are verdicts; goes on if it is not there.
    VerdictOf(u32, Arc<str>),
    /// Looks the key up in a map and stores the data; goes on only if it is there.
    DataOf { key: u32, map: Arc<str>, to: u32 },
    /// Remembers the key in a dynamic set, or renews its timeout.
    Remember { key: u32, set: Arc<str>, timeout_ms: u64 },
    /// Sets the packet mark from a register.
    SetMark(u32),
    /// Changes the destination to the address and port in two registers.
    Dnat { address: u32, port: u32 },
    /// Changes the source to the outgoing link's address.
    Masquerade,
    /// Refuses with ICMP port unreachable.
    Reject,
    /// Counts packets and bytes.
    Counter,
    /// Ends with a verdict.
    Then(Verdict),
}

/// The expressions of a rule, in order.
pub type Rule = Vec<Expr>;

/// Which hook of the kernel a base chain is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub number: u32,
    /// Order among the chains of one hook.
    pub priority: i32,
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Keys only.
    Keys,
    /// Verdicts.
    Verdicts,
    /// Data of these fields.
    Data(&'static [Field]),
    /// Keys that packets add, with a default timeout and at most so many.
    Remembered { timeout_ms: u64, size: u32 },
}

/// Type of a field in a key or in data, for `nft list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// IPv4 address.
    Address,
    /// Transport protocol.
    Protocol,
    /// Port.
    Port,
    /// Number in the machine's order.
    Mark,
}

impl Field {
    fn type_id(self) -> u32 {
        match self {
            Field::Address => 7,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::Mark => 19,
        }
    }

    fn len(self) -> u32 {
        match self {
            Field::Address | Field::Mark => 4,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }
}

/// Type number and length of a tuple: a single field has its own length, several are padded to words each.
fn tuple(fields: &[Field]) -> (u32, u32) {
    match fields {
        [one] => (one.type_id(), one.len()),
        many => (many.iter().fold(0, |id, f| (id << 6) | f.type_id()), 4 * many.len() as u32),
    }
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: Arc<str>,
    /// Fields of the key.
    pub key: &'static [Field],
    /// What belongs to a key.
    pub holds: Holds,
}

/// What belongs to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Nothing: the key is a member.
    Member,
    /// A verdict.
    Verdict(Verdict),
    /// Data.
    Data(Vec<u8>),
}

/// A transaction: all of it happens, or nothing.
pub struct Transaction {
    batch: Batch,
    table: String,
    next_set: u32,
}

impl Transaction {
    /// An empty transaction on a table of family ip.
    pub fn new(table: &str, base_seq: u32) -> Transaction {
        let mut batch = Batch::new(base_seq);
        batch.message(BATCH_BEGIN, 0, &[0, 0, 0, 10], |_| {});
        Transaction { batch, table: table.to_string(), next_set: 0 }
    }

    fn put(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Batch, &str)) {
        let table = std::mem::take(&mut self.table);
        self.batch.message(kind, flags, &[IPV4, 0, 0, 0], |m| body(m, &table));
        self.table = table;
    }

    /// Makes the table, if it is not there.
    pub fn add_table(&mut self) {
        self.put(NEWTABLE, flag::CREATE, |m, table| m.attr_str(1, table));
    }

    /// Deletes the table with all in it (an error if it is not there: add it first in the same transaction).
    pub fn delete_table(&mut self) {
        self.put(DELTABLE, 0, |m, table| m.attr_str(1, table));
    }

    /// Makes a chain, if it is not there.
    pub fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.put(NEWCHAIN, flag::CREATE, |m, table| {
            m.attr_str(1, table);
            m.attr_str(3, name);
            if let Some(hook) = hook {
                m.nest(4, |m| {
                    m.attr_be32(1, hook.number);
                    m.attr(2, &hook.priority.to_be_bytes());
                });
                m.attr_be32(5, 1);
                m.attr_str(7, hook.kind);
            }
        });
    }

    /// Deletes a chain that nothing refers to, with its rules.
    pub fn delete_chain(&mut self, name: &str) {
        self.put(DELCHAIN, 0, |m, table| {
            m.attr_str(1, table);
            m.attr_str(3, name);
        });
    }

    /// Deletes the rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        self.put(DELRULE, 0, |m, table| {
            m.attr_str(1, table);
            m.attr_str(2, name);
        });
    }

    /// Adds a rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &[Expr]) {
        self.put(NEWRULE, flag::CREATE | flag::APPEND, |m, table| rule_attrs(m, table, chain, rule, None));
    }

    /// Adds a rule at the head of a chain of another table, with a comment by which it is found again.
    pub fn insert_foreign_rule(&mut self, table: &str, chain: &str, rule: &[Expr], comment: &str) {
        self.put(NEWRULE, flag::CREATE, |m, _| rule_attrs(m, table, chain, rule, Some(comment)));
    }

    /// Deletes a rule of another table by its handle.
    pub fn delete_foreign_rule(&mut self, table: &str, chain: &str, handle: u64) {
        self.put(DELRULE, 0, |m, _| {
            m.attr_str(1, table);
            m.attr_str(2, chain);
            m.attr_be64(3, handle);
        });
    }

    /// Makes a set, if it is not there.
    pub fn add_set(&mut self, set: &Set) {
        self.next_set += 1;
        let id = self.next_set;
        let (key_type, key_len) = tuple(set.key);
        self.put(NEWSET, flag::CREATE, |m, table| {
            m.attr_str(1, table);
            m.attr_str(2, &set.name);
            let flags = match set.holds {
                Holds::Keys => 0,
                Holds::Verdicts | Holds::Data(_) => 0x8,
                Holds::Remembered { .. } => 0x10 | 0x20,
            };
            m.attr_be32(3, flags);
            m.attr_be32(4, key_type);
            m.attr_be32(5, key_len);
            match &set.holds {
                Holds::Keys | Holds::Remembered { .. } => {}
                Holds::Verdicts => m.attr_be32(6, 0xffff_ff00),
                Holds::Data(data) => {
                    let (data_type, data_len) = tuple(data);
                    m.attr_be32(6, data_type);
                    m.attr_be32(7, data_len);
                }
            }
            m.attr_be32(10, id);
            if let Holds::Remembered { timeout_ms, size } = set.holds {
                m.nest(9, |m| m.attr_be32(1, size));
                m.attr_be64(11, timeout_ms);
            }
        });
    }

    /// Deletes a set with its elements.
    pub fn delete_set(&mut self, name: &str) {
        self.put(DELSET, 0, |m, table| {
            m.attr_str(1, table);
            m.attr_str(2, name);
        });
    }

    /// Adds elements to a set; one that is there with the same value is no error.
    pub fn add_elements<'a>(&mut self, set: &str, elements: impl IntoIterator<Item = (&'a [u8], &'a Value)>) {
        self.elements(NEWSETELEM, flag::CREATE, set, elements.into_iter().map(|(key, value)| (key, Some(value))));
    }

    /// Deletes elements from a set; one that is not there is an error.
    pub fn delete_elements<'a>(&mut self, set: &str, keys: impl IntoIterator<Item = &'a [u8]>) {
        self.elements(DELSETELEM, 0, set, keys.into_iter().map(|key| (key, None)));
    }

    fn elements<'a>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        elements: impl Iterator<Item = (&'a [u8], Option<&'a Value>)>,
    ) {
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            self.put(kind, flags, |m, table| {
                m.attr_str(1, table);
                m.attr_str(2, set);
                let list = m.open(3);
                while m.message_len() < ELEMENTS_LIMIT {
                    let Some((key, value)) = elements.next() else { break };
                    m.nest(1, |m| element(m, key, value));
                }
                m.close(list);
            });
        }
    }

    /// Ends the transaction: its bytes, to be sent at once.
    pub fn finish(mut self) -> Batch {
        self.batch.acknowledge_last();
        self.batch.message(BATCH_END, 0, &[0, 0, 0, 10], |_| {});
        self.batch
    }

    /// Has nothing been added?
    pub fn is_empty(&self) -> bool {
        self.batch.messages() <= 1
    }
}

fn element(m: &mut Batch, key: &[u8], value: Option<&Value>) {
    m.nest(1, |m| m.attr(1, key));
    match value {
        Some(Value::Verdict(to)) => m.nest(2, |m| verdict(m, to)),
        Some(Value::Data(data)) => m.nest(2, |m| m.attr(1, data)),
        Some(Value::Member) | None => {}
    }
}

fn verdict(m: &mut Batch, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3_i32, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    m.nest(2, |m| {
        m.attr(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            m.attr_str(2, chain);
        }
    });
}

fn rule_attrs(m: &mut Batch, table: &str, chain: &str, rule: &[Expr], comment: Option<&str>) {
    m.attr_str(1, table);
    m.attr_str(2, chain);
    m.nest(4, |m| {
        for expr in rule {
            m.nest(1, |m| expression(m, expr));
        }
    });
    if let Some(comment) = comment {
        m.attr(7, &comment_userdata(comment));
    }
}

/// A rule's comment as libnftnl keeps it: type 0, length, nul-terminated text.
pub fn comment_userdata(comment: &str) -> Vec<u8> {
    let mut bytes = vec![0, comment.len() as u8 + 1];
    bytes.extend_from_slice(comment.as_bytes());
    bytes.push(0);
    bytes
}

fn named(m: &mut Batch, name: &str, body: impl FnOnce(&mut Batch)) {
    m.attr_str(1, name);
    m.nest(2, body);
}

fn expression(m: &mut Batch, expr: &Expr) {
    match expr {
        Expr::Load(reg, what) => load(m, REG + reg, what),
        Expr::Const(reg, value) => named(m, "immediate", |m| {
            m.attr_be32(1, REG + reg);
            m.nest(2, |m| m.attr(1, value));
        }),
        Expr::Equal(reg, value) => compare(m, *reg, 0, value),
        Expr::Differs(reg, value) => compare(m, *reg, 1, value),
        Expr::Bits(reg, mask, xor) => named(m, "bitwise", |m| {
            m.attr_be32(1, REG + reg);
            m.attr_be32(2, REG + reg);
            m.attr_be32(3, mask.len() as u32);
            m.nest(4, |m| m.attr(1, mask));
            m.nest(5, |m| m.attr(1, xor));
        }),
        Expr::In(key, set) => lookup(m, *key, set, None),
        Expr::VerdictOf(key, map) => lookup(m, *key, map, Some(VERDICT_REG)),
        Expr::DataOf { key, map, to } => lookup(m, *key, map, Some(REG + to)),
        Expr::Remember { key, set, timeout_ms } => named(m, "dynset", |m| {
            m.attr_str(1, set);
            m.attr_be32(3, 1);
            m.attr_be32(4, REG + key);
            m.attr_be64(6, *timeout_ms);
        }),
        Expr::SetMark(reg) => named(m, "meta", |m| {
            m.attr_be32(2, 3);
            m.attr_be32(3, REG + reg);
        }),
        Expr::Dnat { address, port } => named(m, "nat", |m| {
            m.attr_be32(1, 1);
            m.attr_be32(2, u32::from(IPV4));
            m.attr_be32(3, REG + address);
            m.attr_be32(5, REG + port);
        }),
        Expr::Masquerade => named(m, "masq", |_| {}),
        Expr::Reject => named(m, "reject", |m| {
            m.attr_be32(1, 0);
            m.attr(2, &[3]);
        }),
        Expr::Counter => named(m, "counter", |_| {}),
        Expr::Then(to) => named(m, "immediate", |m| {
            m.attr_be32(1, VERDICT_REG);
            m.nest(2, |m| verdict(m, to));
        }),
    }
}

fn compare(m: &mut Batch, reg: u32, op: u32, value: &[u8]) {
    named(m, "cmp", |m| {
        m.attr_be32(1, REG + reg);
        m.attr_be32(2, op);
        m.nest(3, |m| m.attr(1, value));
    });
}

fn lookup(m: &mut Batch, key: u32, set: &str, to: Option<u32>) {
    named(m, "lookup", |m| {
        m.attr_str(1, set);
        m.attr_be32(2, REG + key);
        if let Some(to) = to {
            m.attr_be32(3, to);
        }
    });
}

fn load(m: &mut Batch, reg: u32, what: &Load) {
    let (network, transport) = (1, 2);
    match what {
        Load::SourceAddress => payload(m, reg, network, 12, 4),
        Load::DestinationAddress => payload(m, reg, network, 16, 4),
        Load::DestinationPort => payload(m, reg, transport, 2, 2),
        Load::Protocol => meta(m, reg, 16),
        Load::Mark => meta(m, reg, 3),
        Load::OutLink => meta(m, reg, 7),
        Load::InLink => meta(m, reg, 6),
        Load::ConnState => connection(m, reg, 0),
        Load::ConnStatus => connection(m, reg, 2),
        Load::DestinationType => address_type(m, reg, 2),
        Load::SourceType => address_type(m, reg, 1),
        Load::Random { below, from } => named(m, "numgen", |m| {
            m.attr_be32(1, reg);
            m.attr_be32(2, *below);
            m.attr_be32(3, 1);
            m.attr_be32(4, *from);
        }),
    }
}

fn address_type(m: &mut Batch, reg: u32, of: u32) {
    named(m, "fib", |m| {
        m.attr_be32(1, reg);
        m.attr_be32(2, 3);
        m.attr_be32(3, of);
    });
}

fn payload(m: &mut Batch, reg: u32, base: u32, offset: u32, len: u32) {
    named(m, "payload", |m| {
        m.attr_be32(1, reg);
        m.attr_be32(2, base);
        m.attr_be32(3, offset);
        m.attr_be32(4, len);
    });
}

fn meta(m: &mut Batch, reg: u32, key: u32) {
    named(m, "meta", |m| {
        m.attr_be32(2, key);
        m.attr_be32(1, reg);
    });
}

fn connection(m: &mut Batch, reg: u32, key: u32) {
    named(m, "ct", |m| {
        m.attr_be32(2, key);
        m.attr_be32(1, reg);
    });
}
