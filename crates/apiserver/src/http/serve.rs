//! TLS connections: who the client's certificate says it is, HTTP/1.1 and HTTP/2, bounded bodies.

use super::{BODY_MAX, Body, Server, respond, seats};
use crate::core::rbac::User;
use api::Status;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who a connection belongs to.
pub type PeerIdentity = Option<Arc<User>>;

/// Serves connections until the listener fails.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, most likely: give others time to close theirs.
                tracing::warn!(error = %e, "a connection could not be accepted");
                platform::time::sleep(server.registry.env.limits().server.accept_pause).await;
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
    let limits = server.registry.env.limits().server;
    let tls = match platform::time::timeout(limits.handshake, acceptor.accept(stream)).await {
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
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(256 * 1024)
        .max_header_list_size(64 * 1024);
    if let Err(e) = builder.serve_connection_with_upgrades(TokioIo::new(tls), service).await {
        tracing::debug!(error = %e, "connection ended");
    }
}

/// Who sends it, then the body, then a seat, then the answer: each step costs more than the one before.
async fn answer(server: &Arc<Server>, mut request: Request<Incoming>, peer: Option<&User>) -> Response<Body> {
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        request.extensions_mut().insert(upgrade);
    }
    let (head, body) = request.into_parts();
    let mut call = match server.open(head, peer) {
        Ok(call) => call,
        Err(refused) => return *refused,
    };
    // One byte over the limit is enough to refuse with the right words.
    match platform::time::timeout(
        server.registry.env.limits().server.request,
        Limited::new(body, BODY_MAX + 64 * 1024).collect(),
    )
    .await
    {
        Ok(Ok(b)) => call.body = b.to_bytes(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {BODY_MAX}");
            return respond::status(&Status::failure(413, "RequestEntityTooLarge", message), &call);
        }
        Ok(Err(e)) => return respond::status(&Status::bad_request(format!("the body could not be read: {e}")), &call),
        Err(_) => return respond::status(&timed_out("the body did not arrive in time"), &call),
    }
    let seat = match server.seats.take(&call).await {
        Ok(seat) => seat,
        Err(seats::Full) => return respond::busy(),
    };
    if call.is_long_running() {
        return server.finish(call).await;
    }
    let info = call.info.clone();
    let answer = platform::time::timeout(server.registry.env.limits().server.request, server.finish(call)).await;
    drop(seat);
    answer.unwrap_or_else(|_| {
        tracing::warn!(verb = info.verb, path = info.path, "a request took too long and was given up");
        let s = timed_out("request did not complete within requested timeout - context deadline exceeded");
        respond::raw(504, "application/json", s.to_json())
    })
}

fn timed_out(message: &str) -> Status {
    Status::failure(504, "Timeout", format!("Timeout: {message}"))
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
