//! WebSocket framing (RFC 6455), without I/O. Control frames come out as messages; fragments are put together.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest message that is accepted.
const MAX_MESSAGE: usize = 4 << 20;

/// Which end encodes: a client masks, a server must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Client,
    Server,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Text(Bytes),
    Binary(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    /// Code (1005 if none) and reason.
    Close(u16, String),
}

/// The bytes break the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// One end of a connection.
pub struct Codec {
    role: Role,
    /// A fragmented message: its opcode and what has arrived.
    partial: Option<(u8, BytesMut)>,
}

/// The answer to a client's `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

impl Codec {
    pub fn new(role: Role) -> Codec {
        Codec { role, partial: None }
    }

    /// Takes one message off the front of `input`; `None` if it is not whole yet.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
        loop {
            let Some((fin, opcode, data)) = self.frame(input)? else { return Ok(None) };
            match opcode {
                8 => {
                    let code = if data.len() >= 2 { u16::from_be_bytes([data[0], data[1]]) } else { 1005 };
                    let reason = String::from_utf8_lossy(data.get(2..).unwrap_or(&[])).into_owned();
                    return Ok(Some(Packet::Close(code, reason)));
                }
                9 => return Ok(Some(Packet::Ping(data.freeze()))),
                10 => return Ok(Some(Packet::Pong(data.freeze()))),
                0 => {
                    let Some((_, whole)) = &mut self.partial else { return Err(Malformed("continuation of nothing")) };
                    if whole.len() + data.len() > MAX_MESSAGE {
                        return Err(Malformed("message too large"));
                    }
                    whole.extend_from_slice(&data);
                }
                1 | 2 if self.partial.is_some() => return Err(Malformed("message inside a message")),
                1 | 2 => self.partial = Some((opcode, data)),
                _ => return Err(Malformed("unknown opcode")),
            }
            if let (true, Some((opcode, whole))) = (fin, self.partial.take_if(|_| fin)) {
                let whole = whole.freeze();
                return Ok(Some(if opcode == 1 { Packet::Text(whole) } else { Packet::Binary(whole) }));
            }
        }
    }

    fn frame(&self, input: &mut BytesMut) -> Result<Option<(bool, u8, BytesMut)>, Malformed> {
        if input.len() < 2 {
            return Ok(None);
        }
        let (first, second) = (input[0], input[1]);
        if first & 0x70 != 0 {
            return Err(Malformed("reserved bits"));
        }
        let masked = second & 0x80 != 0;
        if masked == (self.role == Role::Client) {
            return Err(Malformed("wrong masking"));
        }
        let extra = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head = 2 + extra + if masked { 4 } else { 0 };
        if input.len() < head {
            return Ok(None);
        }
        let length = match extra {
            0 => u64::from(second & 0x7f),
            2 => u64::from(u16::from_be_bytes([input[2], input[3]])),
            _ => (&input[2..10]).get_u64(),
        };
        let opcode = first & 0xf;
        if length > MAX_MESSAGE as u64 || (opcode >= 8 && (length > 125 || first & 0x80 == 0)) {
            return Err(Malformed("frame too large"));
        }
        let length = length as usize;
        if input.len() < head + length {
            input.reserve(head + length - input.len());
            return Ok(None);
        }
        let header = input.split_to(head);
        let mut data = input.split_to(length);
        if masked {
            let mask = &header[head - 4..];
            for (i, byte) in data.iter_mut().enumerate() {
                *byte ^= mask[i % 4];
            }
        }
        Ok(Some((first & 0x80 != 0, opcode, data)))
    }

    /// Appends a message to `out`. `mask` must be unpredictable for a client; a server does not use it.
    pub fn encode(&self, packet: &Packet, mask: [u8; 4], out: &mut BytesMut) {
        let close;
        let (opcode, data): (u8, &[u8]) = match packet {
            Packet::Text(data) => (1, data),
            Packet::Binary(data) => (2, data),
            Packet::Ping(data) => (9, data),
            Packet::Pong(data) => (10, data),
            Packet::Close(code, reason) => {
                close = [&code.to_be_bytes()[..], &reason.as_bytes()[..reason.len().min(120)]].concat();
                (8, &close)
            }
        };
        let masked = if self.role == Role::Client { 0x80 } else { 0 };
        out.put_u8(0x80 | opcode);
        match data.len() {
            n if n < 126 => out.put_u8(masked | n as u8),
            n if n <= usize::from(u16::MAX) => {
                out.put_u8(masked | 126);
                out.put_u16(n as u16);
            }
            n => {
                out.put_u8(masked | 127);
                out.put_u64(n as u64);
            }
        }
        if masked == 0 {
            out.put_slice(data);
            return;
        }
        out.put_slice(&mask);
        out.extend(data.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    }
}

/// Unpredictable bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    use ring::rand::SecureRandom;
    let mut bytes = [0; N];
    // The system's generator fails only before it is seeded at boot; zeros are then still valid.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
