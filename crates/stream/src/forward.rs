//! Port forwarding: many connections, each a pair of SPDY streams (`error` and `data`, tied by a request id).
//!
//! [`serve`] gives the connections that a client opens; [`Forwarder`] opens them. Each connection is a [`Connection`] with
//! plain bytes in both directions and one chance to tell an error.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use crate::Io;
use crate::handshake::Protocol;
use crate::spdy::{Codec, Frame, Headers, header};
use crate::tunnel;
use crate::ws::Role;

const BUFFER: usize = 64 * 1024;
const QUEUE: usize = 16;

/// One forwarded connection.
pub struct Connection {
    /// The port in the pod.
    pub port: u16,
    /// Its bytes.
    pub io: DuplexStream,
    /// Server: tell why it failed. Dropping it tells nothing.
    pub fail: Option<oneshot::Sender<String>>,
    /// Client: why it failed.
    pub failure: Option<oneshot::Receiver<String>>,
}

/// Serves an upgraded connection: each item is a connection that the client wants.
pub fn serve<S: Io>(io: S, protocol: Protocol) -> mpsc::Receiver<Connection> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    match protocol {
        Protocol::ForwardWebSocket => {
            let inner = tunnel::open(io, Role::Server, BytesMut::new());
            drop(tokio::spawn(run(inner, End::server(sender), BytesMut::new())));
        }
        Protocol::ForwardSpdy => drop(tokio::spawn(run(io, End::server(sender), BytesMut::new()))),
        Protocol::WebSocket { .. } | Protocol::Spdy { .. } => {} // no forwarding in these: the channel is closed
    }
    receiver
}

/// The client's end.
pub struct Forwarder {
    opens: mpsc::Sender<(u16, DuplexStream, oneshot::Sender<String>)>,
}

impl Forwarder {
    /// Over a connection that speaks SPDY (or carries it in a tunnel already).
    pub(crate) fn start<S: Io>(io: S, early: BytesMut) -> Forwarder {
        let (opens, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run(io, End::client(receiver), early));
        Forwarder { opens }
    }

    /// Opens a connection to a port of the pod. `None`: the connection to the server is gone.
    pub async fn connect(&self, port: u16) -> Option<Connection> {
        let (io, far) = tokio::io::duplex(BUFFER);
        let (fail, failure) = oneshot::channel();
        self.opens.send((port, far, fail)).await.ok()?;
        Some(Connection { port, io, fail: None, failure: Some(failure) })
    }
}

/// From the tasks of the connections to the task that owns the wire.
enum Event {
    Data(u32, Bytes),
    End(u32),
    Failed(u32, String),
}

/// One connection, as the wire's task knows it.
struct Pair {
    error: u32,
    data: Option<u32>,
    /// Bytes for the local side.
    sink: Option<mpsc::Sender<Bytes>>,
    failed: Option<oneshot::Sender<String>>,
}

/// Data that waits for room in a connection.
struct Held {
    sink: mpsc::Sender<Bytes>,
    data: Bytes,
}

impl Held {
    async fn room(held: &Option<Held>) {
        if let Some(held) = held {
            let _ = held.sink.reserve().await;
        }
    }
}

struct End {
    /// Server: where new connections go.
    accepted: Option<mpsc::Sender<Connection>>,
    /// Client: what to open.
    opens: Option<mpsc::Receiver<(u16, DuplexStream, oneshot::Sender<String>)>>,
    codec: Codec,
    out: BytesMut,
    /// By request id.
    pairs: HashMap<String, Pair>,
    /// Stream to request id.
    streams: HashMap<u32, String>,
    next_stream: u32,
    events: mpsc::Sender<Event>,
    event_queue: mpsc::Receiver<Event>,
}

impl End {
    fn new() -> End {
        let (events, event_queue) = mpsc::channel(QUEUE);
        End {
            accepted: None,
            opens: None,
            codec: Codec::default(),
            out: BytesMut::new(),
            pairs: HashMap::new(),
            streams: HashMap::new(),
            next_stream: 1,
            events,
            event_queue,
        }
    }

    fn server(accepted: mpsc::Sender<Connection>) -> End {
        End { accepted: Some(accepted), ..End::new() }
    }

    fn client(opens: mpsc::Receiver<(u16, DuplexStream, oneshot::Sender<String>)>) -> End {
        End { opens: Some(opens), ..End::new() }
    }

    fn push(&mut self, frame: &Frame) {
        self.codec.encode(frame, &mut self.out);
    }

    /// Connects the local side of a connection with two tasks; the answer takes bytes for it.
    fn attach(&self, io: DuplexStream, stream: u32) -> mpsc::Sender<Bytes> {
        let (sink, mut bytes) = mpsc::channel::<Bytes>(QUEUE);
        let (mut read, mut write) = tokio::io::split(io);
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let event = match read.read(&mut buffer).await {
                    Ok(n) if n > 0 => Event::Data(stream, Bytes::copy_from_slice(&buffer[..n])),
                    _ => Event::End(stream),
                };
                let ended = matches!(event, Event::End(_));
                if events.send(event).await.is_err() || ended {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(data) = bytes.recv().await {
                if write.write_all(&data).await.is_err() {
                    return;
                }
            }
            let _ = write.shutdown().await;
        });
        sink
    }

    async fn syn(&mut self, stream: u32, headers: &Headers) {
        let id = header(headers, "requestid").unwrap_or("").to_string();
        let port = header(headers, "port").and_then(|p| p.parse::<u16>().ok()).filter(|p| *p > 0);
        let Some(port) = port else { return self.push(&Frame::Reset { stream, status: 1 }) };
        self.push(&Frame::SynReply { stream, fin: false, headers: Vec::new() });
        self.streams.insert(stream, id.clone());
        match header(headers, "streamtype") {
            Some("error") => drop(self.pairs.insert(id, Pair { error: stream, data: None, sink: None, failed: None })),
            Some("data") => {
                let (near, far) = tokio::io::duplex(BUFFER);
                let sink = self.attach(far, stream);
                let (fail, failure) = oneshot::channel();
                let Some(pair) = self.pairs.get_mut(&id) else { return self.push(&Frame::Reset { stream, status: 1 }) };
                (pair.data, pair.sink) = (Some(stream), Some(sink));
                let (events, error) = (self.events.clone(), pair.error);
                tokio::spawn(async move {
                    if let Ok(text) = failure.await {
                        let _ = events.send(Event::Failed(error, text)).await;
                    }
                });
                if let Some(accepted) = &self.accepted {
                    let _ = accepted.send(Connection { port, io: near, fail: Some(fail), failure: None }).await;
                }
            }
            _ => self.push(&Frame::Reset { stream, status: 1 }),
        }
    }

    fn open(&mut self, port: u16, io: DuplexStream, failed: oneshot::Sender<String>) {
        let (error, data) = (self.next_stream, self.next_stream + 2);
        self.next_stream += 4;
        let id = (error / 4).to_string();
        let headers = |kind: &str| {
            let pairs = [("streamtype", kind), ("port", &port.to_string()), ("requestid", &id)];
            pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Headers>()
        };
        self.push(&Frame::SynStream { stream: error, fin: false, headers: headers("error") });
        // Nothing goes out on the error stream from here.
        self.push(&Frame::Data { stream: error, fin: true, data: Bytes::new() });
        self.push(&Frame::SynStream { stream: data, fin: false, headers: headers("data") });
        let sink = self.attach(io, data);
        self.streams.extend([(error, id.clone()), (data, id.clone())]);
        self.pairs.insert(id, Pair { error, data: Some(data), sink: Some(sink), failed: Some(failed) });
    }

    /// Takes data in. What the local side has no room for comes back, and nothing more is read before it is delivered.
    fn data(&mut self, stream: u32, data: Bytes, fin: bool) -> Option<Held> {
        let pair = self.streams.get(&stream).and_then(|id| self.pairs.get_mut(id))?;
        if pair.error == stream {
            if let (false, Some(failed)) = (data.is_empty(), pair.failed.take()) {
                let _ = failed.send(String::from_utf8_lossy(&data).into_owned());
            }
            return None;
        }
        let sink = if fin { pair.sink.take() } else { pair.sink.clone() }?;
        match sink.try_send(data) {
            Err(mpsc::error::TrySendError::Full(data)) => Some(Held { sink, data }),
            _ => None,
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Data(stream, data) => self.push(&Frame::Data { stream, fin: false, data }),
            Event::End(stream) => {
                self.push(&Frame::Data { stream, fin: true, data: Bytes::new() });
                // The server ends the error stream with the data: that ends the connection for the client.
                if let (true, Some(pair)) =
                    (self.accepted.is_some(), self.streams.get(&stream).and_then(|id| self.pairs.get(id)))
                {
                    let error = pair.error;
                    self.push(&Frame::Data { stream: error, fin: true, data: Bytes::new() });
                }
            }
            Event::Failed(stream, text) => self.push(&Frame::Data { stream, fin: true, data: text.into() }),
        }
    }

    fn reset(&mut self, stream: u32) {
        if let Some(id) = self.streams.remove(&stream) {
            self.pairs.remove(&id);
        }
    }
}

/// Bytes that wait to be written before no more are taken from the connections.
const MAX_OUT: usize = 256 * 1024;

async fn run<S: Io>(io: S, mut end: End, mut input: BytesMut) {
    let (mut read, mut write) = tokio::io::split(io);
    let mut held: Option<Held> = None;
    loop {
        while held.is_none() {
            match end.codec.decode(&mut input) {
                Ok(Some(Frame::SynStream { stream, headers, .. })) => end.syn(stream, &headers).await,
                Ok(Some(Frame::Data { stream, fin, data })) => held = end.data(stream, data, fin),
                Ok(Some(Frame::Reset { stream, .. })) => end.reset(stream),
                Ok(Some(Frame::Ping(id))) => end.push(&Frame::Ping(id)),
                Ok(Some(Frame::GoAway { .. })) | Err(_) => return,
                Ok(Some(_)) => {}
                Ok(None) => break,
            }
        }
        let opens = async {
            match &mut end.opens {
                Some(opens) => opens.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { biased;
            written = write.write_buf(&mut end.out), if !end.out.is_empty() => {
                if written.is_err() || (end.out.is_empty() && write.flush().await.is_err()) {
                    return;
                }
            }
            () = Held::room(&held), if held.is_some() => {
                if let Some(Held { sink, data }) = held.take() {
                    let _ = sink.try_send(data); // this task is the only one that fills it
                }
            }
            event = end.event_queue.recv(), if end.out.len() < MAX_OUT => {
                if let Some(event) = event {
                    end.event(event);
                }
            }
            open = opens => match open {
                Some((port, io, failed)) => end.open(port, io, failed),
                None => return,
            },
            result = read.read_buf(&mut input), if held.is_none() => {
                if !matches!(result, Ok(n) if n > 0) {
                    return;
                }
            }
        }
    }
}
