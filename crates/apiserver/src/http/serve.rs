//! TLS connections: who the client's certificate says it is, HTTP/1.1 and HTTP/2, bounded bodies.

use super::{BODY_MAX, Body, Server};
use crate::core::rbac::User;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who a connection belongs to.
pub type PeerIdentity = Option<Arc<User>>;

const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
const STREAMS_MAX: u32 = 250;

/// Serves connections until the listener fails.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, most likely: give others time to close theirs.
                tracing::warn!(error = %e, "a connection could not be accepted");
                platform::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        let env = server.registry.env.clone();
        env.spawn("connection", connection(server, acceptor, stream));
    }
}

async fn connection(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let tls = match platform::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(e)) => {
            tracing::debug!(error = %e, "tls handshake failed");
            return;
        }
        Err(_) => return,
    };
    let peer: PeerIdentity =
        tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| identity(c)).map(Arc::new);
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer(&server, request, peer.as_deref()).await) }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(256 * 1024)
        .max_header_list_size(64 * 1024);
    if let Err(e) = builder.serve_connection_with_upgrades(TokioIo::new(tls), service).await {
        tracing::debug!(error = %e, "connection ended");
    }
}

async fn answer(server: &Arc<Server>, mut request: Request<Incoming>, peer: Option<&User>) -> Response<Body> {
    let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    // One byte over the limit is enough to refuse with the right words.
    let bytes = match Limited::new(body, BODY_MAX + 64 * 1024).collect().await {
        Ok(b) => b.to_bytes(),
        Err(_) => {
            let s = api::Status::failure(
                413,
                "RequestEntityTooLarge",
                format!("Request entity too large: limit is {BODY_MAX}"),
            );
            let mut r = Response::new(Body::from(Bytes::from(s.to_json())));
            *r.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
            return r;
        }
    };
    let mut request = Request::from_parts(parts, bytes);
    if let Some(u) = upgrade {
        request.extensions_mut().insert(u);
    }
    server.handle(request, peer).await
}

/// The user of a client certificate: the common name, in the organizations as groups.
pub fn identity(der: &[u8]) -> Option<User> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = cert.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(String::from).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Some(User {
        name,
        uid: String::new(),
        groups,
        extra: vec![("authentication.kubernetes.io/credential-id".into(), vec![format!("X509SHA256={hex}")])],
    })
}
