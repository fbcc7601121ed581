//! Lines out of an answer that comes in pieces: watches and logs.

use crate::failure::Outcome;
use bytes::Bytes;
use client::Error;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// Cuts a stream into lines.
pub struct Lines {
    pieces: BoxStream<'static, Result<Bytes, Error>>,
    rest: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// Lines of `pieces`.
    pub fn new(pieces: BoxStream<'static, Result<Bytes, Error>>) -> Lines {
        Lines { pieces, rest: Vec::new(), ended: false }
    }

    /// The next line without its newline; `None` at the end. A last line without newline counts.
    pub async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if self.ended {
                let rest = std::mem::take(&mut self.rest);
                return Ok((!rest.is_empty()).then_some(rest));
            }
            match self.pieces.next().await {
                Some(piece) => self.rest.extend_from_slice(&piece?),
                None => self.ended = true,
            }
        }
    }
}
