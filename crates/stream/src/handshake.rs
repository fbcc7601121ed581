//! The server's side of the HTTP upgrade: which protocol, and the answer's head.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::ws::accept_key;

/// What the connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// exec, attach.
    Command,
    PortForward,
}

/// What will be spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Remote commands over WebSocket. Version 5 can close stdin; before 4 a `Status` is plain text.
    WebSocket { version: u8, base64: bool },
    /// Remote commands over SPDY, protocol version 1 to 4.
    Spdy { version: u8 },
    /// Port forwarding over SPDY.
    ForwardSpdy,
    /// Port forwarding over SPDY inside WebSocket messages.
    ForwardWebSocket,
}

/// An upgrade that was agreed on.
pub struct Upgrade {
    pub protocol: Protocol,
    /// 101 with its headers; the body is empty.
    pub response: Response<()>,
}

/// Why there is no upgrade: a status and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnUpgrade(pub StatusCode, pub String);

const VERSION_HEADER: &str = "x-stream-protocol-version";
/// The subprotocol of port forwarding through WebSocket.
pub(crate) const FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
pub(crate) const FORWARD: &str = "portforward.k8s.io";

const WEBSOCKET: [(&str, u8, bool); 5] = [
    ("v5.channel.k8s.io", 5, false),
    ("v4.channel.k8s.io", 4, false),
    ("v4.base64.channel.k8s.io", 4, true),
    ("channel.k8s.io", 1, false),
    ("base64.channel.k8s.io", 1, true),
];
const SPDY: [(&str, u8); 4] =
    [("v4.channel.k8s.io", 4), ("v3.channel.k8s.io", 3), ("v2.channel.k8s.io", 2), ("channel.k8s.io", 1)];

/// All values of a comma-separated, possibly repeated header.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).map(|v| v.trim().to_string()).filter(|v| !v.is_empty()).collect()
}

/// Agrees on a protocol for an upgrade request.
pub fn negotiate(method: &Method, headers: &HeaderMap, purpose: Purpose) -> Result<Upgrade, NotAnUpgrade> {
    let refuse = |code, text: String| Err(NotAnUpgrade(code, text));
    let has = |name: &str, wanted: &str| values(headers, name).iter().any(|v| v.eq_ignore_ascii_case(wanted));
    if !has("connection", "upgrade") {
        return refuse(StatusCode::BAD_REQUEST, "Upgrade request required".into());
    }
    if has("upgrade", "websocket") {
        return websocket(method, headers, purpose);
    }
    if !has("upgrade", "SPDY/3.1") {
        return refuse(
            StatusCode::BAD_REQUEST,
            format!("unable to upgrade: unknown protocol {:?}", values(headers, "upgrade")),
        );
    }
    let offered = values(headers, VERSION_HEADER);
    let (name, protocol) = match purpose {
        Purpose::PortForward if offered.is_empty() || offered.iter().any(|o| o == FORWARD) => {
            (FORWARD, Protocol::ForwardSpdy)
        }
        Purpose::Command if offered.is_empty() => ("channel.k8s.io", Protocol::Spdy { version: 1 }),
        Purpose::Command => match SPDY.iter().find(|(name, _)| offered.iter().any(|o| o == name)) {
            Some((name, version)) => (*name, Protocol::Spdy { version: *version }),
            None => {
                return refuse(
                    StatusCode::FORBIDDEN,
                    format!("unable to upgrade: unable to negotiate protocol: client supports {offered:?}"),
                );
            }
        },
        Purpose::PortForward => {
            return refuse(
                StatusCode::FORBIDDEN,
                format!(
                    "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts [{FORWARD}]"
                ),
            );
        }
    };
    let mut response = switching("SPDY/3.1");
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(name));
    Ok(Upgrade { protocol, response })
}

fn switching(protocol: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}

fn websocket(method: &Method, headers: &HeaderMap, purpose: Purpose) -> Result<Upgrade, NotAnUpgrade> {
    let refuse = |text: String| Err(NotAnUpgrade(StatusCode::BAD_REQUEST, text));
    let Some(key) = headers.get("sec-websocket-key").and_then(|k| k.to_str().ok()) else {
        return refuse("websocket: Sec-WebSocket-Key is missing".into());
    };
    if method != Method::GET {
        return refuse("websocket: the method must be GET".into());
    }
    let offered = values(headers, "sec-websocket-protocol");
    let chosen = match purpose {
        Purpose::PortForward => {
            offered.iter().any(|o| o == FORWARD_TUNNEL).then_some((FORWARD_TUNNEL, Protocol::ForwardWebSocket))
        }
        Purpose::Command if offered.is_empty() => Some(("", Protocol::WebSocket { version: 1, base64: false })),
        Purpose::Command => {
            let known = WEBSOCKET.iter().find(|(name, ..)| offered.iter().any(|o| o == name));
            known.map(|(name, version, base64)| (*name, Protocol::WebSocket { version: *version, base64: *base64 }))
        }
    };
    let Some((name, protocol)) = chosen else {
        return refuse(format!("websocket: no subprotocol in common: client supports {offered:?}"));
    };
    let mut response = switching("websocket");
    if let Ok(value) = HeaderValue::from_str(&accept_key(key)) {
        response.headers_mut().insert("sec-websocket-accept", value);
    }
    if !name.is_empty() {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(name));
    }
    Ok(Upgrade { protocol, response })
}
