//! A byte stream inside binary WebSocket messages: what SPDY port forwarding runs in.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::Io;
use crate::ws::{Codec, Packet, Role, random};

const BUFFER: usize = 64 * 1024;

/// Starts the tunnel over `io`; the answer is its inner end. It ends when either end does. `early` are bytes of the
/// connection that were read already.
pub fn open<S: Io>(io: S, role: Role, early: BytesMut) -> DuplexStream {
    let (inner, outer) = tokio::io::duplex(BUFFER);
    tokio::spawn(pump(io, outer, role, early));
    inner
}

async fn pump<S: Io>(io: S, outer: DuplexStream, role: Role, mut input: BytesMut) {
    let (mut io_read, mut io_write) = tokio::io::split(io);
    let (mut plain_read, mut plain_write) = tokio::io::split(outer);
    let mut codec = Codec::new(role);
    let mut buffer = vec![0; 32 * 1024];
    let (mut out, mut plain) = (BytesMut::new(), BytesMut::new());
    loop {
        while plain.is_empty() {
            match codec.decode(&mut input) {
                Ok(Some(Packet::Binary(data) | Packet::Text(data))) => plain.extend_from_slice(&data),
                Ok(Some(Packet::Ping(data))) => codec.encode(&Packet::Pong(data), random(), &mut out),
                Ok(Some(Packet::Pong(_))) => {}
                Ok(Some(Packet::Close(..))) | Err(_) => return,
                Ok(None) => break,
            }
        }
        tokio::select! { biased;
            written = io_write.write_buf(&mut out), if !out.is_empty() => {
                if written.is_err() || (out.is_empty() && io_write.flush().await.is_err()) {
                    return;
                }
            }
            written = plain_write.write_buf(&mut plain), if !plain.is_empty() => {
                if written.is_err() {
                    return;
                }
            }
            read = plain_read.read(&mut buffer), if out.len() < BUFFER => match read {
                Ok(n) if n > 0 => codec.encode(&Packet::Binary(Bytes::copy_from_slice(&buffer[..n])), random(), &mut out),
                _ => {
                    codec.encode(&Packet::Close(1000, String::new()), random(), &mut out);
                    let _ = io_write.write_all_buf(&mut out).await;
                    let _ = io_write.flush().await;
                    return;
                }
            },
            read = io_read.read_buf(&mut input), if plain.is_empty() => {
                if !matches!(read, Ok(n) if n > 0) {
                    return;
                }
            }
        }
    }
}
