//! Remote commands and port forwarding over one connection: SPDY/3.1 and WebSocket channels, both ends.
//!
//! ```text
//! // Server, in an HTTP handler that can upgrade:
//! let upgrade = stream::negotiate(request.method(), request.headers(), stream::Purpose::Command)?;  // 101 head + protocol
//! let session = stream::command::serve(upgraded_io, upgrade.protocol, wanted);     // a Session of messages
//! // Client (kubectl; any AsyncRead + AsyncWrite, usually TLS):
//! let session = stream::client::exec(io, &target, wanted).await?;                  // WebSocket v5
//! let session = stream::client::exec_spdy(io, &target, wanted).await?;             // SPDY, for older servers and containerd
//! let forwarder = stream::client::port_forward(io, &target).await?;                // SPDY inside WebSocket
//! let connection = forwarder.connect(8080).await?;                                 // one forwarded connection
//! ```
//!
//! - A [`Session`] has the same shape on both ends: `send` and `receive` [`Message`]s. A server receives `Stdin`,
//!   `StdinEnd`, `Resize` and sends `Stdout`, `Stderr`, `Status`; a client does the opposite. `receive` gives `None` when the
//!   connection is gone. Queues are bounded: a slow side holds the other one back.
//! - The last message of a server is `Status`: a `metav1.Status` as JSON ([`status::success`], [`status::exit_code`],
//!   [`status::failure`]; [`status::parse`] for clients).
//! - The framing itself ([`spdy`], [`ws`]) does no I/O.
//! - The client functions write the HTTP/1.1 request head themselves: the connection must speak HTTP/1.1 (ALPN).
//!
//! Not here: the legacy port-forward channels of WebSocket (one pair a port), SPDY flow control (no peer uses it).

pub mod client;
pub mod command;
pub mod forward;
mod handshake;
pub mod relay;
pub mod spdy;
pub mod status;
mod tunnel;
pub mod ws;

pub use command::{Message, Session, Wanted};
pub use handshake::{NotAnUpgrade, Protocol, Purpose, Upgrade, negotiate};

/// Anything that can carry a connection.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}

#[cfg(test)]
mod tests;
