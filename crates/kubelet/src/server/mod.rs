//! The kubelet's own API: logs, exec, attach, port-forward, run, pods, health, metrics, stats.
//!
//! HTTP/1.1 over TLS. Every request is authenticated (client certificate, or a bearer token by TokenReview) and authorized
//! (SubjectAccessReview on the node's subresource); only `/healthz` needs no more than authentication. Answers to reviews
//! are remembered for a while.

mod auth;
mod logs;
mod metrics;
mod routes;
mod streams;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;

use crate::config::ServerConfig;
use crate::shared::Shared;

/// Bodies of answers.
pub type Body = BoxBody<Bytes, Infallible>;

/// A whole body.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response
}

/// A whole body of JSON.
pub fn json(body: &serde_json::Value) -> Response<Body> {
    let mut response = text(StatusCode::OK, body.to_string());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn tls(config: &ServerConfig) -> Result<tokio_rustls::TlsAcceptor, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&config.certificate)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("the kubelet's certificate: {e:?}"))?;
    let key = PrivateKeyDer::from_pem_slice(&config.key).map_err(|e| format!("the kubelet's key: {e:?}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if config.client_ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&config.client_ca) {
            let certificate = certificate.map_err(|e| format!("the client CA: {e:?}"))?;
            roots.add(certificate).map_err(|e| format!("the client CA: {e}"))?;
        }
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|e| format!("the client CA: {e}"))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|e| format!("the kubelet's certificate: {e}"))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(server)))
}

/// Binds and serves.
pub async fn start(shared: &Arc<Shared>, config: &ServerConfig) -> Result<(), String> {
    let acceptor = tls(config)?;
    let listener = TcpListener::bind(config.address)
        .await
        .map_err(|e| format!("the kubelet's API cannot listen on {}: {e}", config.address))?;
    drop(shared.env.spawn("kubelet-api", accept(shared.clone(), listener, acceptor)));
    Ok(())
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, acceptor: tokio_rustls::TlsAcceptor) {
    let gate = Arc::new(auth::Gate::new(shared.clone()));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, usually: wait for some to be freed.
                tracing::warn!(error = %e, "the kubelet's API cannot accept");
                platform::time::sleep(shared.env.limits().kubelet.accept_pause).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (shared_again, gate, acceptor) = (shared.clone(), gate.clone(), acceptor.clone());
        drop(shared.env.spawn("kubelet-api-connection", async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let identity =
                stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| auth::identity(c));
            let service = service_fn(move |request| {
                let (shared, gate, identity) = (shared_again.clone(), gate.clone(), identity.clone());
                async move { Ok::<_, Infallible>(handle(shared, gate, identity, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await; // a client that breaks off is its own business
        }));
    }
}

async fn handle(
    shared: Arc<Shared>,
    gate: Arc<auth::Gate>,
    identity: Option<auth::User>,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Err(refused) = gate.check(identity, &request).await {
        return refused;
    }
    routes::route(shared, request).await
}
