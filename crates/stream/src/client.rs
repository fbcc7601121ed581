//! Clients: the HTTP/1.1 upgrade over any connection, then a session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Io;
use crate::command::{self, Session, Wanted};
use crate::forward::Forwarder;
use crate::handshake::{FORWARD, FORWARD_TUNNEL};
use crate::tunnel;
use crate::ws::{Role, accept_key, random};

/// Largest answer head, and largest refusal that is read.
const MAX_HEAD: usize = 64 * 1024;

/// Where to.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `Host` header.
    pub host: String,
    /// Path and query of the request.
    pub path: String,
    /// More headers (`Authorization`, `User-Agent`).
    pub headers: Vec<(String, String)>,
}

/// Why there is no session.
#[derive(Debug)]
pub enum ConnectError {
    /// The connection broke.
    Io(std::io::Error),
    /// The server answered something else than 101: its status and body (a `Status`, usually).
    Refused { status: u16, body: Vec<u8> },
    /// The answer breaks the protocol.
    Malformed(&'static str),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectError::Io(e) => write!(f, "unable to upgrade connection: {e}"),
            ConnectError::Refused { status, body } => {
                write!(f, "unable to upgrade connection: {status}: {}", String::from_utf8_lossy(body).trim())
            }
            ConnectError::Malformed(what) => write!(f, "unable to upgrade connection: {what}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<std::io::Error> for ConnectError {
    fn from(e: std::io::Error) -> ConnectError {
        ConnectError::Io(e)
    }
}

/// Runs (or attaches to) a command over WebSocket, protocol v5 or v4.
pub async fn exec<S: Io>(io: S, target: &Target, wanted: Wanted) -> Result<Session, ConnectError> {
    let (io, head, early) = websocket(io, target, "v5.channel.k8s.io, v4.channel.k8s.io").await?;
    let version = if head.get("sec-websocket-protocol") == Some("v5.channel.k8s.io") { 5 } else { 4 };
    Ok(command::websocket_client(io, version, wanted, early))
}

/// Runs (or attaches to) a command over SPDY.
pub async fn exec_spdy<S: Io>(io: S, target: &Target, wanted: Wanted) -> Result<Session, ConnectError> {
    let (io, early) = spdy(io, target, "v4.channel.k8s.io").await?;
    Ok(command::spdy_client(io, wanted, early))
}

/// Port forwarding over SPDY inside WebSocket.
pub async fn port_forward<S: Io>(io: S, target: &Target) -> Result<Forwarder, ConnectError> {
    let (io, _, early) = websocket(io, target, FORWARD_TUNNEL).await?;
    Ok(Forwarder::start(tunnel::open(io, Role::Client, early), BytesMut::new()))
}

/// Port forwarding over plain SPDY.
pub async fn port_forward_spdy<S: Io>(io: S, target: &Target) -> Result<Forwarder, ConnectError> {
    let (io, early) = spdy(io, target, FORWARD).await?;
    Ok(Forwarder::start(io, early))
}

async fn websocket<S: Io>(io: S, target: &Target, protocols: &str) -> Result<(S, Head, BytesMut), ConnectError> {
    let key = STANDARD.encode(random::<16>());
    let lines = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", &key),
        ("Sec-WebSocket-Protocol", protocols),
    ];
    let (io, head, early) = upgrade(io, "GET", target, &lines).await?;
    if head.get("sec-websocket-accept") != Some(&accept_key(&key)) {
        return Err(ConnectError::Malformed("the server did not answer the WebSocket key"));
    }
    Ok((io, head, early))
}

async fn spdy<S: Io>(io: S, target: &Target, version: &str) -> Result<(S, BytesMut), ConnectError> {
    let lines = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", version)];
    let (io, _, early) = upgrade(io, "POST", target, &lines).await?;
    Ok((io, early))
}

/// The head of an answer.
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

async fn upgrade<S: Io>(
    mut io: S,
    method: &str,
    target: &Target,
    lines: &[(&str, &str)],
) -> Result<(S, Head, BytesMut), ConnectError> {
    let mut request = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", target.path, target.host);
    let own = target.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    for (name, value) in lines.iter().copied().chain(own) {
        if name.contains(['\r', '\n', ':']) || value.contains(['\r', '\n']) {
            return Err(ConnectError::Malformed("a header of the request contains a line break"));
        }
        request += &format!("{name}: {value}\r\n");
    }
    request += if method == "POST" { "Content-Length: 0\r\n\r\n" } else { "\r\n" };
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let mut input = BytesMut::new();
    let end = loop {
        if let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if input.len() > MAX_HEAD || io.read_buf(&mut input).await? == 0 {
            return Err(ConnectError::Malformed("the server's answer has no end"));
        }
    };
    let text = input.split_to(end + 4);
    let head =
        parse(&String::from_utf8_lossy(&text)).ok_or(ConnectError::Malformed("the server does not answer in HTTP"))?;
    if head.status == 101 {
        return Ok((io, head, input));
    }
    let length = head.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(MAX_HEAD).min(MAX_HEAD);
    while input.len() < length {
        match io.read_buf(&mut input).await {
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    Err(ConnectError::Refused { status: head.status, body: input.to_vec() })
}

fn parse(text: &str) -> Option<Head> {
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers =
        lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_string()));
    Some(Head { status, headers: headers.collect() })
}
