//! A remote command's connection as messages, over either protocol, for either end.
//!
//! One task owns the connection. It reads only while the session's queue has room, and writes what it is given, so a slow
//! reader on one end holds back the writer on the other. After the server's `Status` it waits for the client to close,
//! at most [`LINGER`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::handshake::Protocol;
use crate::spdy::{self, Frame, Headers};
use crate::ws::{self, Packet, Role, random};
use crate::{Io, status};

const QUEUE: usize = 16;
/// Longest wait for the client to close after the end.
const LINGER: Duration = Duration::from_secs(5);

/// Which streams there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// A terminal: stderr is part of stdout, and sizes may come.
    pub tty: bool,
}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Stdin(Bytes),
    StdinEnd,
    Resize {
        width: u16,
        height: u16,
    },
    Stdout(Bytes),
    Stderr(Bytes),
    /// The end: a `Status` as JSON.
    Status(Bytes),
}

/// One end of a remote command.
pub struct Session {
    incoming: mpsc::Receiver<Message>,
    outgoing: mpsc::Sender<Message>,
}

/// The sending half of a session.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<Message>);

/// The connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Session {
    /// The next message; `None` when the connection is gone.
    pub async fn receive(&mut self) -> Option<Message> {
        self.incoming.recv().await
    }

    /// Sends a message, waiting for room.
    pub async fn send(&self, message: Message) -> Result<(), Gone> {
        self.outgoing.send(message).await.map_err(|_| Gone)
    }

    /// Halves that can be used by different tasks. The connection ends when all senders are dropped.
    pub fn split(self) -> (Sender, mpsc::Receiver<Message>) {
        (Sender(self.outgoing), self.incoming)
    }
}

impl Sender {
    /// Sends a message, waiting for room.
    pub async fn send(&self, message: Message) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|_| Gone)
    }
}

struct Ends {
    incoming: mpsc::Sender<Message>,
    outgoing: mpsc::Receiver<Message>,
}

fn ends() -> (Session, Ends) {
    let (in_send, in_receive) = mpsc::channel(QUEUE);
    let (out_send, out_receive) = mpsc::channel(QUEUE);
    (Session { incoming: in_receive, outgoing: out_send }, Ends { incoming: in_send, outgoing: out_receive })
}

/// Serves an upgraded connection. Only protocols for commands are valid here.
pub fn serve<S: Io>(io: S, protocol: Protocol, wanted: Wanted) -> Session {
    let (session, ends) = ends();
    match protocol {
        Protocol::WebSocket { version, base64 } => {
            let channels = Channels { role: Role::Server, version, base64, wanted };
            drop(tokio::spawn(websocket(io, channels, ends, BytesMut::new())));
        }
        Protocol::Spdy { version } => drop(tokio::spawn(spdy_server(io, version, wanted, ends))),
        // Forwarding protocols have no command in them: the session is closed from the start.
        Protocol::ForwardSpdy | Protocol::ForwardWebSocket => {}
    }
    session
}

/// The client's end of a WebSocket; `early` are bytes that came with the answer's head.
pub(crate) fn websocket_client<S: Io>(io: S, version: u8, wanted: Wanted, early: BytesMut) -> Session {
    let (session, ends) = ends();
    let channels = Channels { role: Role::Client, version, base64: false, wanted };
    tokio::spawn(websocket(io, channels, ends, early));
    session
}

/// The client's end of SPDY.
pub(crate) fn spdy_client<S: Io>(io: S, wanted: Wanted, early: BytesMut) -> Session {
    let (session, ends) = ends();
    tokio::spawn(spdy_client_task(io, wanted, ends, early));
    session
}

/// Bytes that wait to be written before no more messages are taken.
const MAX_OUT: usize = 256 * 1024;

/// Gives the oldest waiting message to the session, as soon as it has room. False when nobody listens any more.
async fn deliver(incoming: &mpsc::Sender<Message>, waiting: &mut VecDeque<Message>) -> bool {
    match incoming.reserve().await {
        Ok(permit) => {
            if let Some(message) = waiting.pop_front() {
                permit.send(message);
            }
            true
        }
        Err(_) => {
            waiting.clear();
            false
        }
    }
}

/// When a connection ends although the other side has not closed it.
#[derive(Default)]
struct Linger(Option<tokio::time::Instant>);

impl Linger {
    fn begin(&mut self) {
        self.0.get_or_insert_with(|| tokio::time::Instant::now() + LINGER);
    }

    fn begun(&self) -> bool {
        self.0.is_some()
    }

    async fn over(&self) {
        match self.0 {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

// === WebSocket ===

#[derive(Clone, Copy)]
struct Channels {
    role: Role,
    version: u8,
    base64: bool,
    wanted: Wanted,
}

#[derive(Serialize, Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

impl Channels {
    fn pack(self, message: &Message) -> Option<Packet> {
        let text;
        let (channel, data): (u8, &[u8]) = match message {
            Message::Stdin(data) => (0, data),
            Message::StdinEnd if self.version >= 5 => (255, &[0]),
            Message::StdinEnd => return None, // older versions cannot say it
            Message::Stdout(data) => (1, data),
            Message::Stderr(data) => (2, data),
            Message::Status(data) if self.version >= 4 => (3, data),
            Message::Status(data) => {
                text = status::parse(data)
                    .map_or_else(|e| e, |code| if code == 0 { String::new() } else { format!("exit code {code}") });
                (3, text.as_bytes())
            }
            Message::Resize { width, height } => {
                text = serde_json::to_string(&Size { width: *width, height: *height }).unwrap_or_default();
                (4, text.as_bytes())
            }
        };
        Some(if self.base64 {
            Packet::Text(format!("{}{}", char::from(b'0' + channel.min(9)), STANDARD.encode(data)).into())
        } else {
            let mut whole = BytesMut::with_capacity(data.len() + 1);
            whole.extend_from_slice(&[channel]);
            whole.extend_from_slice(data);
            Packet::Binary(whole.freeze())
        })
    }

    fn unpack(self, data: &Bytes) -> Option<Message> {
        let (first, rest) = (*data.first()?, data.slice(1..));
        let (channel, rest) =
            if self.base64 { (first.checked_sub(b'0')?, STANDARD.decode(&rest).ok()?.into()) } else { (first, rest) };
        match (self.role, channel) {
            (Role::Server, 0) => Some(Message::Stdin(rest)),
            (Role::Server, 4) => {
                let size: Size = serde_json::from_slice(&rest).ok()?;
                Some(Message::Resize { width: size.width, height: size.height })
            }
            (Role::Server, 255) if self.version >= 5 && rest[..] == [0] => Some(Message::StdinEnd),
            (Role::Client, 1) => Some(Message::Stdout(rest)),
            (Role::Client, 2) => Some(Message::Stderr(rest)),
            (Role::Client, 3) => Some(Message::Status(rest)),
            _ => None,
        }
        .filter(|m| !matches!(m, Message::Stdin(d) | Message::Stdout(d) | Message::Stderr(d) if d.is_empty()))
    }

    /// The server's first message, empty, tells the client that it may begin.
    fn greeting(self) -> Option<Message> {
        match (self.role, self.wanted.stdout, self.wanted.stderr) {
            (Role::Client, ..) => None,
            (_, true, _) => Some(Message::Stdout(Bytes::new())),
            (_, _, true) => Some(Message::Stderr(Bytes::new())),
            _ => None,
        }
    }
}

async fn websocket<S: Io>(io: S, channels: Channels, mut ends: Ends, mut input: BytesMut) {
    let (mut read, mut write) = tokio::io::split(io);
    let mut codec = ws::Codec::new(channels.role);
    let mut out = BytesMut::new();
    if let Some(packet) = channels.greeting().and_then(|m| channels.pack(&m)) {
        codec.encode(&packet, random(), &mut out);
    }
    let (mut linger, mut waiting) = (Linger::default(), VecDeque::new());
    loop {
        // Everything that can wait is waited for at once: no direction may hold up the other.
        while waiting.is_empty() {
            match codec.decode(&mut input) {
                Ok(Some(Packet::Binary(data) | Packet::Text(data))) => waiting.extend(channels.unpack(&data)),
                Ok(Some(Packet::Ping(data))) => codec.encode(&Packet::Pong(data), random(), &mut out),
                Ok(Some(Packet::Pong(_))) => {}
                Ok(Some(Packet::Close(..))) => {
                    codec.encode(&Packet::Close(1000, String::new()), random(), &mut out);
                    let _ = write.write_all_buf(&mut out).await;
                    let _ = write.flush().await;
                    return;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        tokio::select! { biased;
            written = write.write_buf(&mut out), if !out.is_empty() => {
                if written.is_err() || (out.is_empty() && write.flush().await.is_err()) {
                    return;
                }
            }
            listens = deliver(&ends.incoming, &mut waiting), if !waiting.is_empty() => {
                if !listens {
                    linger.begin();
                }
            }
            message = ends.outgoing.recv(), if !linger.begun() && out.len() < MAX_OUT => {
                let last = !matches!(&message, Some(m) if !matches!(m, Message::Status(_)));
                if let Some(packet) = message.and_then(|m| channels.pack(&m)) {
                    codec.encode(&packet, random(), &mut out);
                }
                if last {
                    codec.encode(&Packet::Close(1000, String::new()), random(), &mut out);
                    linger.begin();
                }
            }
            result = read.read_buf(&mut input), if waiting.is_empty() => {
                if !matches!(result, Ok(n) if n > 0) {
                    return;
                }
            }
            () = linger.over() => return,
        }
    }
}

// === SPDY ===

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Kind {
    Error,
    Stdin,
    Stdout,
    Stderr,
    Resize,
}

impl Kind {
    const ALL: [(Kind, &'static str); 5] = [
        (Kind::Error, "error"),
        (Kind::Stdin, "stdin"),
        (Kind::Stdout, "stdout"),
        (Kind::Stderr, "stderr"),
        (Kind::Resize, "resize"),
    ];

    fn parse(headers: &Headers) -> Option<Kind> {
        let name = spdy::header(headers, "streamtype")?;
        Kind::ALL.iter().find(|(_, n)| *n == name).map(|(k, _)| *k)
    }

    fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(k, _)| *k == self).map_or("", |(_, n)| n)
    }
}

/// The state of a SPDY connection: codec, streams by kind, bytes to write.
struct SpdyEnd {
    codec: spdy::Codec,
    streams: HashMap<u32, Kind>,
    out: BytesMut,
    sizes: BytesMut,
}

impl SpdyEnd {
    fn new() -> SpdyEnd {
        SpdyEnd { codec: spdy::Codec::default(), streams: HashMap::new(), out: BytesMut::new(), sizes: BytesMut::new() }
    }

    fn push(&mut self, frame: &Frame) {
        self.codec.encode(frame, &mut self.out);
    }

    fn data(&mut self, kind: Kind, data: Bytes, fin: bool) {
        if let Some(stream) = self.streams.iter().find(|(_, k)| **k == kind).map(|(s, _)| *s) {
            self.push(&Frame::Data { stream, fin, data });
        }
    }

    /// Writes an outgoing message. True for the last one.
    fn message(&mut self, message: Message, version: u8) -> bool {
        match message {
            Message::Stdin(data) => self.data(Kind::Stdin, data, false),
            Message::StdinEnd => self.data(Kind::Stdin, Bytes::new(), true),
            Message::Stdout(data) => self.data(Kind::Stdout, data, false),
            Message::Stderr(data) => self.data(Kind::Stderr, data, false),
            Message::Resize { width, height } => {
                let text = serde_json::to_vec(&Size { width, height }).unwrap_or_default();
                self.data(Kind::Resize, [&text[..], b"\n"].concat().into(), false);
            }
            Message::Status(text) => {
                let text = match (version >= 4, status::parse(&text)) {
                    (true, _) => text,
                    (false, Ok(0)) => Bytes::new(),
                    (false, Ok(code)) => format!("exit code {code}").into(),
                    (false, Err(e)) => e.into(),
                };
                self.data(Kind::Error, text, true);
                self.data(Kind::Stdout, Bytes::new(), true);
                self.data(Kind::Stderr, Bytes::new(), true);
                return true;
            }
        }
        false
    }

    /// Takes a frame in. False when the other side goes away.
    fn frame(&mut self, frame: Frame, expected: &mut Vec<Kind>, waiting: &mut VecDeque<Message>) -> bool {
        match frame {
            Frame::SynStream { stream, headers, .. } => match Kind::parse(&headers) {
                Some(kind) => {
                    expected.retain(|k| *k != kind);
                    self.streams.insert(stream, kind);
                    self.push(&Frame::SynReply { stream, fin: false, headers: Vec::new() });
                }
                None => self.push(&Frame::Reset { stream, status: 3 }),
            },
            Frame::Data { stream, fin, data } => waiting.extend(self.incoming(stream, data, fin)),
            Frame::Reset { stream, .. } => {
                if self.streams.remove(&stream) == Some(Kind::Stdin) {
                    waiting.push_back(Message::StdinEnd);
                }
            }
            Frame::Ping(id) => self.push(&Frame::Ping(id)),
            Frame::GoAway { .. } => return false,
            Frame::SynReply { .. } | Frame::Headers { .. } | Frame::Ignored => {}
        }
        true
    }

    /// What an incoming data frame means.
    fn incoming(&mut self, stream: u32, data: Bytes, fin: bool) -> Vec<Message> {
        let mut out = Vec::new();
        match self.streams.get(&stream) {
            Some(Kind::Stdin) => {
                if !data.is_empty() {
                    out.push(Message::Stdin(data));
                }
                if fin {
                    out.push(Message::StdinEnd);
                }
            }
            Some(Kind::Stdout) if !data.is_empty() => out.push(Message::Stdout(data)),
            Some(Kind::Stderr) if !data.is_empty() => out.push(Message::Stderr(data)),
            Some(Kind::Error) if !data.is_empty() || fin => out.push(Message::Status(data)),
            Some(Kind::Resize) => {
                self.sizes.extend_from_slice(&data);
                let mut sizes = serde_json::Deserializer::from_slice(&self.sizes).into_iter::<Size>();
                while let Some(Ok(size)) = sizes.next() {
                    out.push(Message::Resize { width: size.width, height: size.height });
                }
                let used = sizes.byte_offset().min(self.sizes.len());
                drop(self.sizes.split_to(used));
            }
            _ => {}
        }
        out
    }
}

async fn spdy_server<S: Io>(io: S, version: u8, wanted: Wanted, ends: Ends) {
    let end = SpdyEnd::new();
    let mut expected = vec![Kind::Error];
    for (kind, on) in
        [(Kind::Stdin, wanted.stdin), (Kind::Stdout, wanted.stdout), (Kind::Stderr, wanted.stderr && !wanted.tty)]
    {
        if on {
            expected.push(kind);
        }
    }
    if wanted.tty && version >= 3 {
        expected.push(Kind::Resize);
    }
    // Nothing is sent before every stream is there: a message for a missing stream would be lost.
    spdy(io, end, expected, version, ends, BytesMut::new()).await;
}

async fn spdy_client_task<S: Io>(io: S, wanted: Wanted, ends: Ends, early: BytesMut) {
    let mut end = SpdyEnd::new();
    let mut kinds = vec![(Kind::Error, true)];
    kinds.extend([(Kind::Stdin, wanted.stdin), (Kind::Stdout, wanted.stdout)]);
    kinds.extend([(Kind::Stderr, wanted.stderr && !wanted.tty), (Kind::Resize, wanted.tty)]);
    for (i, (kind, _)) in kinds.into_iter().filter(|(_, on)| *on).enumerate() {
        let stream = 2 * i as u32 + 1;
        let headers = vec![("streamtype".to_string(), kind.name().to_string())];
        end.push(&Frame::SynStream { stream, fin: false, headers });
        end.streams.insert(stream, kind);
    }
    spdy(io, end, Vec::new(), 4, ends, early).await;
}

async fn spdy<S: Io>(
    io: S,
    mut end: SpdyEnd,
    mut expected: Vec<Kind>,
    version: u8,
    mut ends: Ends,
    mut input: BytesMut,
) {
    let (mut read, mut write) = tokio::io::split(io);
    let (mut linger, mut waiting) = (Linger::default(), VecDeque::new());
    loop {
        while waiting.is_empty() {
            match end.codec.decode(&mut input) {
                Ok(Some(frame)) => {
                    if !end.frame(frame, &mut expected, &mut waiting) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        tokio::select! { biased;
            written = write.write_buf(&mut end.out), if !end.out.is_empty() => {
                if written.is_err() || (end.out.is_empty() && write.flush().await.is_err()) {
                    return;
                }
            }
            listens = deliver(&ends.incoming, &mut waiting), if !waiting.is_empty() => {
                if !listens {
                    linger.begin();
                }
            }
            message = ends.outgoing.recv(), if !linger.begun() && expected.is_empty() && end.out.len() < MAX_OUT => {
                let last = match message {
                    Some(message) => end.message(message, version),
                    None => {
                        end.push(&Frame::GoAway { last: 0, status: 0 });
                        true
                    }
                };
                if last {
                    linger.begin();
                }
            }
            result = read.read_buf(&mut input), if waiting.is_empty() => {
                if !matches!(result, Ok(n) if n > 0) {
                    return;
                }
            }
            () = linger.over() => return,
        }
    }
}
