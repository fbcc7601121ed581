//! SPDY/3.1 framing, without I/O: bytes to frames and back. Headers are compressed with one zlib stream a direction, which
//! lives as long as the connection, so frames must be decoded and encoded in order.

mod dictionary;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

pub use dictionary::DICTIONARY;

/// Largest frame that is accepted.
const MAX_FRAME: usize = 1 << 20;
/// Largest header block, unpacked.
const MAX_HEADERS: usize = 64 << 10;
const FIN: u8 = 1;
const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;

/// Header names and values; names are lower case.
pub type Headers = Vec<(String, String)>;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    SynReply {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Ping(u32),
    GoAway {
        last: u32,
        status: u32,
    },
    Headers {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    /// Settings, window updates: nothing to do.
    Ignored,
}

/// The bytes are not SPDY, or beyond a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Both directions of one connection.
pub struct Codec {
    inflate: Decompress,
    deflate: Compress,
    primed: bool,
}

impl Default for Codec {
    fn default() -> Codec {
        let mut deflate = Compress::new(Compression::best(), true);
        // A fresh stream takes any dictionary.
        let _ = deflate.set_dictionary(DICTIONARY);
        Codec { inflate: Decompress::new(true), deflate, primed: false }
    }
}

impl Codec {
    /// Takes one frame off the front of `input`; `None` if it is not whole yet.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        if input.len() < 8 {
            return Ok(None);
        }
        let length = usize::from(input[5]) << 16 | usize::from(input[6]) << 8 | usize::from(input[7]);
        if length > MAX_FRAME {
            return Err(Malformed("frame too large"));
        }
        if input.len() < 8 + length {
            input.reserve(8 + length - input.len());
            return Ok(None);
        }
        let mut frame = input.split_to(8 + length).freeze();
        let (first, kind) = (frame.get_u16(), frame.get_u16());
        let flags = frame.get_u8();
        frame.advance(3);
        let fin = flags & FIN != 0;
        if first & CONTROL == 0 {
            let stream = u32::from(first) << 16 | u32::from(kind);
            return Ok(Some(Frame::Data { stream, fin, data: frame }));
        }
        if first != CONTROL | VERSION {
            return Err(Malformed("not SPDY version 3"));
        }
        self.control(kind, fin, frame).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, Malformed> {
        let need = match kind {
            1 => 10,
            3 | 7 => 8,
            2 | 6 | 8 => 4,
            _ => 0,
        };
        if body.len() < need {
            return Err(Malformed("frame too short"));
        }
        Ok(match kind {
            1 => {
                let stream = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Frame::SynStream { stream, fin, headers: self.unpack(&body)? }
            }
            2 => Frame::SynReply { stream: body.get_u32() & 0x7fff_ffff, fin, headers: self.unpack(&body)? },
            3 => Frame::Reset { stream: body.get_u32() & 0x7fff_ffff, status: body.get_u32() },
            6 => Frame::Ping(body.get_u32()),
            7 => Frame::GoAway { last: body.get_u32(), status: body.get_u32() },
            8 => Frame::Headers { stream: body.get_u32() & 0x7fff_ffff, fin, headers: self.unpack(&body)? },
            _ => Frame::Ignored,
        })
    }

    /// Appends a frame to `out`.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::Data { stream, fin, data } => {
                out.put_u32(*stream);
                out.put_u32(u32::from(*fin) << 24 | data.len() as u32);
                out.put_slice(data);
            }
            Frame::SynStream { stream, fin, headers } => {
                let packed = self.pack(headers);
                control(out, 1, *fin, 10 + packed.len());
                out.put_u32(*stream);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(&packed);
            }
            Frame::SynReply { stream, fin, headers } => self.with_headers(out, 2, *stream, *fin, headers),
            Frame::Headers { stream, fin, headers } => self.with_headers(out, 8, *stream, *fin, headers),
            Frame::Reset { stream, status } => {
                control(out, 3, false, 8);
                out.put_u32(*stream);
                out.put_u32(*status);
            }
            Frame::Ping(id) => {
                control(out, 6, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway { last, status } => {
                control(out, 7, false, 8);
                out.put_u32(*last);
                out.put_u32(*status);
            }
            Frame::Ignored => {}
        }
    }

    fn with_headers(&mut self, out: &mut BytesMut, kind: u16, stream: u32, fin: bool, headers: &Headers) {
        let packed = self.pack(headers);
        control(out, kind, fin, 4 + packed.len());
        out.put_u32(stream);
        out.put_slice(&packed);
    }

    fn pack(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = BytesMut::new();
        plain.put_u32(headers.len() as u32);
        for (name, value) in headers {
            for text in [name, value] {
                plain.put_u32(text.len() as u32);
                plain.put_slice(text.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(plain.len() + 128);
        let start = self.deflate.total_in();
        loop {
            let done = (self.deflate.total_in() - start) as usize;
            let before = out.len();
            out.reserve(256);
            // The only errors of deflate are wrong states, which this use does not reach; an empty answer ends the loop.
            let _ = self.deflate.compress_vec(&plain[done..], &mut out, FlushCompress::Sync);
            let consumed = (self.deflate.total_in() - start) as usize == plain.len();
            if (consumed && out.len() < out.capacity()) || out.len() == before {
                return out;
            }
        }
    }

    fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Malformed> {
        let plain = self.inflate(packed)?;
        let mut rest = &plain[..];
        let number = |rest: &mut &[u8]| {
            if rest.len() < 4 { Err(Malformed("headers cut off")) } else { Ok(rest.get_u32() as usize) }
        };
        let count = number(&mut rest)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let mut text = || {
                let length = number(&mut rest)?;
                if rest.len() < length {
                    return Err(Malformed("headers cut off"));
                }
                let (text, after) = rest.split_at(length);
                rest = after;
                Ok(String::from_utf8_lossy(text).into_owned())
            };
            headers.push((text()?.to_ascii_lowercase(), text()?));
        }
        Ok(headers)
    }

    fn inflate(&mut self, packed: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(packed.len() * 4 + 256);
        let start = self.inflate.total_in();
        loop {
            let done = (self.inflate.total_in() - start) as usize;
            let before = (done, out.len());
            out.reserve(256);
            let result = self.inflate.decompress_vec(&packed[done..], &mut out, FlushDecompress::Sync);
            match result {
                Err(e) if e.needs_dictionary().is_some() && !self.primed => {
                    self.primed = true;
                    self.inflate.set_dictionary(DICTIONARY).map_err(|_| Malformed("foreign header dictionary"))?;
                    continue;
                }
                Err(_) => return Err(Malformed("headers are not zlib")),
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) => {}
            }
            if out.len() > MAX_HEADERS {
                return Err(Malformed("headers too large"));
            }
            let now = ((self.inflate.total_in() - start) as usize, out.len());
            if now == before || (now.0 == packed.len() && out.len() < out.capacity()) {
                return Ok(out);
            }
        }
    }
}

fn control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(fin) << 24 | length as u32);
}

/// A header's value.
pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests;
