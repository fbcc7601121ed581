//! The transport over the network: HTTP/2 (or HTTP/1.1) over TLS, with a client certificate or a bearer token.
//!
//! Connections are shared by many requests and watches and replaced when they end. Nothing is retried here: the caller knows
//! what may be repeated.

mod tls;

use crate::error::Error;
use crate::kubeconfig::Config;
use crate::transport::*;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use platform::Env;
use platform::time::timeout;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes to and from a server.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for T {}

/// See the file's head. Cheap to clone.
#[derive(Clone)]
pub struct Https(Arc<Inner>);

struct Inner {
    env: Env,
    config: Config,
    tls: Option<Arc<rustls::ClientConfig>>,
    tls_http1: Option<Arc<rustls::ClientConfig>>,
    host: String,
    port: u16,
    base_path: String,
    pool: Mutex<Vec<Arc<Connection>>>,
}

enum Sender {
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
    Http1(tokio::sync::Mutex<hyper::client::conn::http1::SendRequest<Full<Bytes>>>),
}

struct Connection {
    sender: Sender,
    streams: AtomicUsize,
}

/// A connection on which the caller writes the request head.
pub struct Dialed {
    /// The connection.
    pub io: Box<dyn Io>,
    /// `Host` header.
    pub host: String,
    /// What stands before every path.
    pub base_path: String,
    /// More headers that every request must have.
    pub headers: Vec<(String, String)>,
}

/// A request's or watch's place on a connection.
struct Stream(Arc<Connection>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// hyper's background work as this process' tasks.
#[derive(Clone)]
struct Tasks(Env);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn("http2", future)); // detached: it ends with the connection
    }
}

fn broken(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Transport(format!("{what}: {error}"))
}

impl Https {
    /// For the server of `config`; connects when first used.
    pub fn new(env: &Env, config: Config) -> Result<Https, Error> {
        let uri: http::Uri =
            config.server.parse().map_err(|e| Error::Config(format!("server {:?}: {e}", config.server)))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::Config(format!("server {:?}: an http or https address is wanted", config.server))),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let base_path = uri.path().trim_end_matches('/').to_string();
        let (tls, tls_http1) = if secure {
            (Some(tls::config(&config, &[b"h2", b"http/1.1"])?), Some(tls::config(&config, &[b"http/1.1"])?))
        } else {
            (None, None)
        };
        let inner =
            Inner { env: env.clone(), config, tls, tls_http1, host, port, base_path, pool: Mutex::new(Vec::new()) };
        Ok(Https(Arc::new(inner)))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    async fn dial(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<(Box<dyn Io>, bool), Error> {
        let Inner { host, port, config, .. } = &*self.0;
        let what = format!("connecting to {host}:{port}");
        let work = async {
            let socket = tokio::net::TcpStream::connect((host.as_str(), *port)).await.map_err(|e| broken(&what, e))?;
            socket.set_nodelay(true).map_err(|e| broken(&what, e))?;
            let Some(tls) = tls else {
                let plain: Box<dyn Io> = Box::new(socket);
                return Ok((plain, false));
            };
            let name = config.tls_server_name.as_deref().unwrap_or(host);
            let name = rustls_pki_types::ServerName::try_from(name.to_string()).map_err(|e| broken(&what, e))?;
            let stream = tokio_rustls::TlsConnector::from(tls.clone())
                .connect(name, socket)
                .await
                .map_err(|e| broken(&what, e))?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let secure: Box<dyn Io> = Box::new(stream);
            Ok((secure, http2))
        };
        let most = self.0.env.limits().client.connect;
        timeout(most, work).await.unwrap_or_else(|_| Err(Error::Transport(format!("{what}: no answer in {most:?}"))))
    }

    /// A connection with room, new if need be.
    async fn stream(&self) -> Result<Stream, Error> {
        {
            let mut pool = self.0.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.retain(|c| c.is_open());
            if let Some(found) = pool.iter().find(|c| c.has_room(self.0.env.limits().client.streams)) {
                found.streams.fetch_add(1, Ordering::Relaxed);
                return Ok(Stream(found.clone()));
            }
        }
        let (io, http2) = self.dial(self.0.tls.as_ref()).await?;
        let io = TokioIo::new(io);
        let sender = if http2 {
            let mut builder = hyper::client::conn::http2::Builder::new(Tasks(self.0.env.clone()));
            let limits = &self.0.env.limits().client;
            builder.timer(TokioTimer::new()).keep_alive_interval(limits.keepalive_every);
            builder.keep_alive_timeout(limits.keepalive_timeout);
            builder.adaptive_window(true);
            let (sender, connection) = builder.handshake(io).await.map_err(|e| broken("HTTP/2 handshake", e))?;
            drop(self.0.env.spawn("http2-connection", connection)); // detached: requests report its end
            Sender::Http2(sender)
        } else {
            let (sender, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| broken("HTTP handshake", e))?;
            drop(self.0.env.spawn("http1-connection", connection)); // detached: requests report its end
            Sender::Http1(tokio::sync::Mutex::new(sender))
        };
        let connection = Arc::new(Connection { sender, streams: AtomicUsize::new(1) });
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner).push(connection.clone());
        Ok(Stream(connection))
    }

    fn prepare(&self, request: http::Request<Bytes>, absolute: bool) -> Result<http::Request<Full<Bytes>>, Error> {
        let Inner { host, port, base_path, config, tls, .. } = &*self.0;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let uri =
            if absolute { format!("{scheme}://{authority}{base_path}{path}") } else { format!("{base_path}{path}") };
        parts.uri = uri.parse().map_err(|e| Error::Config(format!("{uri}: {e}")))?;
        let header =
            |text: &str| http::HeaderValue::from_str(text).map_err(|e| Error::Config(format!("{text:?}: {e}")));
        if !absolute {
            parts.headers.insert(http::header::HOST, header(&authority)?);
        }
        let token = match (&config.token, &config.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => {
                let read = std::fs::read_to_string(file);
                Some(read.map_err(|e| Error::Config(format!("token file {}: {e}", file.display())))?.trim().to_string())
            }
            (None, None) => None,
        };
        if let Some(token) = token {
            parts.headers.insert(http::header::AUTHORIZATION, header(&format!("Bearer {token}"))?);
        }
        Ok(http::Request::from_parts(parts, Full::new(body)))
    }

    /// Sends a request and answers with its head; the body is read by the caller.
    async fn send(&self, request: http::Request<Bytes>) -> Result<(http::Response<Incoming>, Stream), Error> {
        let stream = self.stream().await?;
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = match &stream.0.sender {
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.map_err(|e| broken(&what, e))?;
                sender.send_request(self.prepare(request, true)?).await
            }
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.map_err(|e| broken(&what, e))?;
                sender.send_request(self.prepare(request, false)?).await
            }
        };
        Ok((response.map_err(|e| broken(&what, e))?, stream))
    }

    /// A fresh HTTP/1.1 connection, for protocols that write their own request head (remote commands, port forwarding).
    pub async fn connect(&self) -> Result<Dialed, Error> {
        let (io, _) = self.dial(self.0.tls_http1.as_ref()).await?;
        let head = self.prepare(http::Request::new(Bytes::new()), false)?;
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_string();
        let host = head.headers().get(http::header::HOST).map(text).unwrap_or_default();
        let token = head.headers().get(http::header::AUTHORIZATION).map(text);
        let headers = token.map(|token| ("Authorization".to_string(), token)).into_iter().collect();
        Ok(Dialed { io, host, base_path: self.0.base_path.clone(), headers })
    }

    /// Sends a request on an HTTP/1.1 connection of its own and hands over the connection if the server switches protocols.
    pub async fn upgrade(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<(http::Response<()>, TokioIo<hyper::upgrade::Upgraded>), Error> {
        let (io, _) = self.dial(self.0.tls_http1.as_ref()).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
        let (mut sender, connection) = handshake.map_err(|e| broken("HTTP handshake", e))?;
        drop(self.0.env.spawn("upgrade-connection", connection.with_upgrades())); // detached: the stream reports its end
        let response = sender.send_request(self.prepare(request, false)?).await.map_err(|e| broken("upgrade", e))?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|e| broken("upgrade", e))?.to_bytes();
            return Err(Error::from_status(status, body));
        }
        let (parts, body) = response.into_parts();
        let head = http::Response::from_parts(parts.clone(), ());
        let upgraded =
            hyper::upgrade::on(http::Response::from_parts(parts, body)).await.map_err(|e| broken("upgrade", e))?;
        Ok((head, TokioIo::new(upgraded)))
    }

    /// A request whose answer is read piece by piece (logs). Errors for every answer that is not a success.
    pub async fn open(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<futures_util::stream::BoxStream<'static, Result<Bytes, Error>>, Error> {
        let (response, stream) = self.send(request).await?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|e| broken("reading the answer", e))?.to_bytes();
            return Err(Error::from_status(status, body));
        }
        let body = response.into_body().into_data_stream().map(move |piece| {
            let _held = &stream;
            piece.map_err(|e| broken("reading the answer", e))
        });
        Ok(body.boxed())
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http2(sender) => !sender.is_closed(),
            Sender::Http1(sender) => sender.try_lock().map_or(true, |s| !s.is_closed()),
        }
    }

    fn has_room(&self, streams: usize) -> bool {
        let most = if matches!(self.sender, Sender::Http2(_)) { streams } else { 1 };
        self.streams.load(Ordering::Relaxed) < most
    }
}

fn get(uri: &str, metadata_only: bool, list: bool) -> Result<http::Request<Bytes>, Error> {
    let accept = match (metadata_only, list) {
        (false, _) => "application/json",
        (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    };
    let request = http::Request::get(uri).header("accept", accept).header("user-agent", "corten");
    request.body(Bytes::new()).map_err(|e| Error::Config(format!("{uri}: {e}")))
}

#[derive(Deserialize)]
struct ListView<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// A list's bytes as a page.
pub fn parse_list(body: &[u8]) -> Result<ListPage, Error> {
    let view: ListView =
        serde_json::from_slice(body).map_err(|e| Error::Decode(format!("a list was not understood: {e}")))?;
    let items = view.items.unwrap_or_default();
    Ok(ListPage {
        items: items.into_iter().map(|raw| Bytes::copy_from_slice(raw.get().as_bytes())).collect(),
        revision: view.metadata.resource_version.parse().unwrap_or(0),
        continue_token: view.metadata.next.filter(|token| !token.is_empty()),
    })
}

#[derive(Deserialize)]
struct EventView<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RevisionView {
    metadata: ListMeta,
}

/// One line of a watch.
pub fn parse_event(line: &[u8]) -> Result<WatchEvent, Error> {
    let bad = |e: serde_json::Error| Error::Decode(format!("a watch event was not understood: {e}"));
    let view: EventView = serde_json::from_slice(line).map_err(bad)?;
    let kind = match &*view.kind {
        "ADDED" => EventKind::Added,
        "MODIFIED" => EventKind::Modified,
        "DELETED" => EventKind::Deleted,
        "BOOKMARK" => EventKind::Bookmark,
        "ERROR" => EventKind::Error,
        other => return Err(Error::Decode(format!("a watch event of the type {other:?}"))),
    };
    let revision: RevisionView = serde_json::from_str(view.object.get()).map_err(bad)?;
    let object = Bytes::copy_from_slice(view.object.get().as_bytes());
    Ok(WatchEvent { kind, object, revision: revision.metadata.resource_version.parse().unwrap_or(0) })
}

impl Transport for Https {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Error>> {
        Box::pin(async move {
            let what = format!("{} {}", request.method(), request.uri().path());
            let work = async {
                let (response, _stream) = self.send(request).await?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(|e| broken(&what, e))?.to_bytes();
                Ok(http::Response::from_parts(parts, body))
            };
            let most = self.0.env.limits().client.call;
            timeout(most, work)
                .await
                .unwrap_or_else(|_| Err(Error::Transport(format!("{what}: no answer in {most:?}"))))
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>> {
        Box::pin(async move {
            let response = self.call(get(&request.uri(), request.metadata_only, true)?).await?;
            let status = response.status();
            let body = response.into_body();
            if status.is_success() { parse_list(&body) } else { Err(Error::from_status(status.as_u16(), body)) }
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            let body = self.open(get(&request.uri(), request.metadata_only, false)?).await?;
            Ok(watch_lines(body))
        })
    }
}

/// Events of a watch's body, one a line.
pub fn watch_lines(body: futures_util::stream::BoxStream<'static, Result<Bytes, Error>>) -> WatchStream {
    let start = (body, BytesMut::new(), 0_usize, false);
    Box::pin(futures_util::stream::unfold(start, |(mut body, mut buffer, mut searched, over)| async move {
        if over {
            return None;
        }
        loop {
            if let Some(end) = buffer[searched..].iter().position(|b| *b == b'\n') {
                let line = buffer.split_to(searched + end + 1);
                searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let event = parse_event(&line);
                let over = event.is_err();
                return Some((event, (body, buffer, 0, over)));
            }
            searched = buffer.len();
            match body.next().await? {
                Ok(piece) => buffer.extend_from_slice(&piece),
                Err(error) => return Some((Err(error), (body, buffer, searched, true))),
            }
        }
    }))
}
