//! Small network clients of probes and hooks: HTTP(S) GET, TCP connect, gRPC health check. Certificates are not verified:
//! the peer is the pod itself.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

/// Body that a probe reads at most.
const MAX_BODY: usize = 10 * 1024;

/// One GET.
#[derive(Clone, Debug)]
pub struct Get {
    pub https: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub agent: String,
}

/// Accepts every certificate.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn tls() -> Result<tokio_rustls::TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

fn address(host: &str) -> Result<IpAddr, String> {
    match host {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        host => host
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| format!("host {host:?} is not an address: names are not resolved for probes and hooks")),
    }
}

/// Connects and closes.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let address = address(host)?;
    TcpStream::connect((address, port)).await.map_err(|e| {
        // As other kubelets word it.
        let why = match e.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_string(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_string(),
            std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_string(),
            _ => e.to_string(),
        };
        format!("dial tcp {address}:{port}: {why}")
    })
}

/// Status and the first bytes of the body.
pub async fn get(g: &Get) -> Result<(u16, String), String> {
    let stream = connect(&g.host, g.port).await?;
    if !g.https {
        return exchange(TokioIo::new(stream), g).await;
    }
    let name = ServerName::try_from(g.host.clone()).map_err(|e| e.to_string())?;
    let stream = tls()?.connect(name, stream).await.map_err(|e| format!("tls: {e}"))?;
    exchange(TokioIo::new(stream), g).await
}

async fn exchange<S>(io: TokioIo<S>, g: &Get) -> Result<(u16, String), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
    let path = if g.path.starts_with('/') { g.path.clone() } else { format!("/{}", g.path) };
    let mut request = Request::get(path);
    let own = |name: &str| g.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    for (name, fallback) in
        [("host", format!("{}:{}", g.host, g.port)), ("user-agent", g.agent.clone()), ("accept", "*/*".into())]
    {
        if !own(name) {
            request = request.header(name, fallback);
        }
    }
    for (name, value) in g.headers.iter().filter(|(_, v)| !v.is_empty()) {
        request = request.header(name, value);
    }
    let request =
        request.header(header::CONNECTION, "close").body(Full::<Bytes>::default()).map_err(|e| e.to_string())?;
    let work = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(work, connection);
    // The connection is driven here, so that dropping this future closes it.
    tokio::select! { biased;
        result = &mut work => result,
        ended = &mut connection => match ended {
            Ok(()) => work.await,
            Err(e) => Err(e.to_string()),
        },
    }
}

/// Calls `grpc.health.v1.Health/Check`; fine if the service is SERVING.
pub async fn grpc_health(host: &str, port: u16, service: &str) -> Result<(), String> {
    let stream = connect(host, port).await?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    // A protobuf message with one string field, behind gRPC's five-byte prefix.
    let mut message = Vec::new();
    if !service.is_empty() {
        message.extend([0x0a, service.len().min(127) as u8]);
        message.extend(service.bytes().take(127));
    }
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let work = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let head = answer.headers().get("grpc-status").cloned();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await.map_err(|e| e.to_string())?;
        let status = body.trailers().and_then(|t| t.get("grpc-status")).cloned().or(head);
        let code = status.and_then(|s| s.to_str().ok().map(String::from)).unwrap_or_else(|| "0".into());
        let bytes = body.to_bytes();
        match (code.as_str(), bytes.get(5..)) {
            ("0", Some([0x08, 1, ..])) => Ok(()),
            ("0", _) => Err("service unhealthy (responded with \"NOT_SERVING\")".to_string()),
            (code, _) => Err(format!("health rpc probe failed: grpc status {code}")),
        }
    };
    tokio::pin!(work, connection);
    tokio::select! { biased;
        result = &mut work => result,
        ended = &mut connection => Err(format!("the connection ended: {ended:?}")),
    }
}
