//! Netlink messages as bytes: a builder for requests and a reader for answers.
//!
//! Invariants: lengths are patched when a message or a nest is closed, everything is padded to four bytes, and the
//! reader never looks past what it was given: a malformed answer yields fewer attributes, never a panic. It knows
//! framing only; which attributes a message has is the business of [`super::rt`] and [`super::nft`].

/// Flags of `struct nlmsghdr`.
pub mod flag {
    /// It is a request.
    pub const REQUEST: u16 = 0x1;
    /// Answer with an acknowledgement.
    pub const ACK: u16 = 0x4;
    /// Dump the whole table (`ROOT | MATCH`).
    pub const DUMP: u16 = 0x300;
    /// Replace what is there.
    pub const REPLACE: u16 = 0x100;
    /// Fail if it is there.
    pub const EXCL: u16 = 0x200;
    /// Create if it is not there.
    pub const CREATE: u16 = 0x400;
    /// Add to the end.
    pub const APPEND: u16 = 0x800;
}

/// `NLMSG_ERROR`.
pub const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 16;

/// Several messages, one after another, in one buffer.
#[derive(Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    start: usize,
    messages: u32,
    base_seq: u32,
}

/// A place where a nest was opened; give it back to [`Batch::close`].
#[must_use]
pub struct Nest(usize);

impl Batch {
    /// An empty buffer whose messages are numbered from `base_seq + 1`.
    pub fn new(base_seq: u32) -> Batch {
        Batch { bytes: Vec::with_capacity(512), start: 0, messages: 0, base_seq }
    }

    /// One message: its header, then `family` (the fixed header of the protocol), then what `body` adds.
    pub fn message(&mut self, kind: u16, flags: u16, family: &[u8], body: impl FnOnce(&mut Batch)) {
        self.start = self.bytes.len();
        self.messages += 1;
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&(self.base_seq + self.messages).to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(family);
        self.pad();
        body(self);
        let length = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Asks for an acknowledgement of the last message.
    pub fn acknowledge_last(&mut self) {
        if self.messages > 0 {
            let at = self.start + 6;
            let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | flag::ACK;
            self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
        }
    }

    /// An attribute.
    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// An attribute holding a C string.
    pub fn attr_str(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// An attribute of 32 bits in the machine's order (rtnetlink).
    pub fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// An attribute of 32 bits in network order (nftables).
    pub fn attr_be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// An attribute of 64 bits in network order (nftables).
    pub fn attr_be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Raw bytes inside an open nest: the fixed header of a nested protocol message.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// Opens a nest; what is added until [`Batch::close`] lies in it.
    pub fn open(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&0_u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        Nest(at)
    }

    /// Closes the nest.
    pub fn close(&mut self, nest: Nest) {
        let length = (self.bytes.len() - nest.0) as u16;
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// A nest with what `body` adds.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Batch)) {
        let nest = self.open(kind);
        body(self);
        self.close(nest);
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages it has.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes in the message that is being written.
    pub fn message_len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// One message of an answer.
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Splits a datagram into its messages.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let length = u32_at(header, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let message = Message { kind: u16_at(header, 4)?, flags: u16_at(header, 6)?, seq: u32_at(header, 8)?, body };
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Splits the attributes of a message or nest into (type without flags, value).
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of type `kind`.
pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// The nul-terminated string in an attribute's value.
pub fn text(value: &[u8]) -> &str {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).unwrap_or_default()
}

/// 16 bits in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// 32 bits in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// 32 bits in network order.
pub fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// 16 bits in network order.
pub fn be16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

fn align(n: usize) -> usize {
    n.div_ceil(4) * 4
}

#[cfg(test)]
#[path = "nl_tests.rs"]
mod tests;
