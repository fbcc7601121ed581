//! Pulling from a registry (OCI distribution specification): manifests, lists, blobs, tokens.
//!
//! Everything is checked: the manifest against the digest that was asked for, every blob against its descriptor, every
//! unpacked layer against its diff id. Plain HTTP only for loopback and for registries that are configured as insecure.
//! One connection a request; blobs are fetched in parallel, two at a time. Not here: mirrors, resuming.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ring::digest::{Context, SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use wire::cri::AuthConfig;

use super::archive::{Descriptor, MAX_DOCUMENT, Manifest, architecture, choose};
use super::store::{Image, ImageConfig, ImageStore, chain_names};
use super::unpack::{hex, sha256};
use crate::core::reference::Reference;
use crate::error::{Error, Result};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// `host[:port]` of registries that speak plain HTTP. Loopback addresses always may.
    pub insecure: BTreeSet<String>,
    /// PEM file with root certificates; empty for the system's.
    pub roots: PathBuf,
}

/// Pulls images.
pub struct Puller {
    config: RegistryConfig,
    tls: std::result::Result<tokio_rustls::TlsConnector, String>,
}

const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn tls(roots: &Path) -> std::result::Result<tokio_rustls::TlsConnector, String> {
    let path = match roots.as_os_str().is_empty() {
        false => Some(roots.to_path_buf()),
        true => SYSTEM_ROOTS.iter().map(PathBuf::from).find(|p| p.exists()),
    };
    let path = path.ok_or("this machine has no root certificates: install ca-certificates")?;
    let mut store = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    store.add_parsable_certificates(certificates.filter_map(std::result::Result::ok));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

/// One pull: where from, and who is asking.
struct Session<'a> {
    puller: &'a Puller,
    base: String,
    reference: &'a Reference,
    auth: AuthConfig,
    authorization: tokio::sync::Mutex<Option<String>>,
}

impl Puller {
    pub fn new(config: RegistryConfig) -> Puller {
        let tls = tls(&config.roots);
        Puller { config, tls }
    }

    fn is_plain(&self, registry: &str) -> bool {
        let host = registry.rsplit_once(':').map_or(registry, |(h, _)| h);
        self.config.insecure.contains(registry) || host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }

    /// Pulls an image into the store.
    pub async fn pull(
        &self,
        store: &Arc<ImageStore>,
        reference: &Reference,
        auth: Option<AuthConfig>,
    ) -> Result<Image> {
        let host = if reference.registry == "docker.io" { "registry-1.docker.io" } else { &reference.registry };
        let scheme = if self.is_plain(&reference.registry) { "http" } else { "https" };
        let session = Session {
            puller: self,
            base: format!("{scheme}://{host}/v2/{}", reference.repository),
            reference,
            auth: auth.unwrap_or_default(),
            authorization: tokio::sync::Mutex::new(None),
        };
        session.pull(store).await.map_err(|e| Error {
            code: e.code,
            message: format!("failed to pull and unpack image {:?}: {}", reference.to_string(), e.message),
        })
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>> {
        let uri = request.uri().clone();
        let what = || format!("{} {}", request.method(), uri);
        let fail = |e: String| Error { code: tonic::Code::Unavailable, message: format!("{}: {e}", what()) };
        let host = uri.host().ok_or_else(|| fail("no host".into()))?.to_string();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = super::resolve::resolve(&host).await.map_err(|e| fail(format!("dial tcp: {e}")))?;
        let mut stream = Err(io::Error::from(io::ErrorKind::NotFound));
        for address in addresses {
            stream = match tokio::time::timeout(TIMEOUT, TcpStream::connect((address, port))).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")),
            };
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.map_err(|e| fail(format!("dial tcp {host}:{port}: {e}")))?;
        if !secure {
            return exchange(TokioIo::new(stream), request).await;
        }
        let name = ServerName::try_from(host.clone()).map_err(|e| fail(e.to_string()))?;
        let tls = self.tls.as_ref().map_err(|e| fail(e.clone()))?;
        let stream = tls.connect(name, stream).await.map_err(|e| fail(format!("tls: {e}")))?;
        exchange(TokioIo::new(stream), request).await
    }
}

async fn exchange<S>(io: TokioIo<S>, mut request: Request<Empty<Bytes>>) -> Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let what = format!("{} {}", request.method(), request.uri());
    // On the wire the target is the path alone.
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
    let fail = |e: String| Error { code: tonic::Code::Unavailable, message: format!("{what}: {e}") };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| fail(e.to_string()))?;
    // The connection lives as long as somebody reads the answer.
    tokio::spawn(connection);
    match tokio::time::timeout(TIMEOUT, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(|e| fail(e.to_string())),
        Err(_) => Err(fail("no answer in time".into())),
    }
}

impl Session<'_> {
    async fn pull(&self, store: &Arc<ImageStore>) -> Result<Image> {
        let (manifest, top_digest) = self.manifest(self.reference.target()).await?;
        let manifest = match manifest.config {
            Some(_) => manifest,
            None => {
                let chosen = choose(&manifest.manifests).ok_or_else(|| {
                    Error::not_found(format!("no match for platform linux/{} in manifest", architecture()))
                })?;
                self.manifest(&chosen.digest).await?.0
            }
        };
        let config = manifest.config.as_ref().ok_or_else(|| Error::invalid("the manifest names no configuration"))?;
        let config = self.small_blob(config).await?;
        let parsed: ImageConfig =
            serde_json::from_slice(&config).map_err(|e| Error::invalid(format!("image configuration: {e}")))?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(Error::invalid("manifest and configuration disagree about the number of layers"));
        }
        let names = chain_names(&diff_ids);
        let work: Vec<_> =
            manifest.layers.iter().zip(names).zip(diff_ids).map(|((d, n), i)| self.layer(store, d, n, i)).collect();
        use futures_util::{StreamExt, TryStreamExt};
        futures_util::stream::iter(work).buffer_unordered(2).try_collect::<Vec<()>>().await?;
        let (store, reference) = (store.clone(), self.reference.clone());
        blocking(move || store.add_image(&config, Some(&reference), Some(&top_digest))).await
    }

    async fn layer(
        &self,
        store: &Arc<ImageStore>,
        descriptor: &Descriptor,
        name: String,
        diff_id: String,
    ) -> Result<()> {
        if store.has_layer(&name) {
            return Ok(());
        }
        let path = store.temporary();
        let result = self.download(descriptor, &path).await;
        let store = store.clone();
        let file = path.clone();
        let result = match result {
            Ok(()) => {
                blocking(move || {
                    let blob = std::fs::File::open(&file).map_err(|e| Error::file("open", &file, e))?;
                    store.add_layer(&name, &diff_id, io::BufReader::with_capacity(128 * 1024, blob))
                })
                .await
            }
            Err(e) => Err(e),
        };
        let _ = std::fs::remove_file(&path);
        result
    }

    async fn download(&self, descriptor: &Descriptor, path: &Path) -> Result<()> {
        let mut body = self.get(&format!("{}/blobs/{}", self.base, descriptor.digest), "*/*").await?.into_body();
        let mut file = std::fs::File::create(path).map_err(|e| Error::file("create", path, e))?;
        let mut context = Context::new(&SHA256);
        let mut size = 0u64;
        while let Some(frame) = tokio::time::timeout(TIMEOUT, body.frame())
            .await
            .map_err(|_| Error::internal("the registry stopped sending"))?
        {
            let frame = frame.map_err(|e| Error::internal(format!("read blob {}: {e}", descriptor.digest)))?;
            let Ok(data) = frame.into_data() else { continue };
            size += data.len() as u64;
            if size > descriptor.size {
                return Err(Error::internal(format!("blob {} is larger than its descriptor says", descriptor.digest)));
            }
            context.update(&data);
            file.write_all(&data).map_err(|e| Error::file("write", path, e))?;
        }
        let digest = format!("sha256:{}", hex(context.finish().as_ref()));
        if digest != descriptor.digest {
            return Err(Error::internal(format!("blob {} arrived with digest {digest}", descriptor.digest)));
        }
        Ok(())
    }

    async fn small_blob(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let response = self.get(&format!("{}/blobs/{}", self.base, descriptor.digest), "*/*").await?;
        let bytes = whole(response).await?;
        if sha256(&bytes) != descriptor.digest {
            return Err(Error::internal(format!("blob {} arrived damaged", descriptor.digest)));
        }
        Ok(bytes)
    }

    async fn manifest(&self, target: &str) -> Result<(Manifest, String)> {
        let response = self.get(&format!("{}/manifests/{target}", self.base), ACCEPT).await?;
        let bytes = whole(response).await?;
        let digest = sha256(&bytes);
        if target.starts_with("sha256:") && digest != target {
            return Err(Error::internal(format!("manifest {target} arrived with digest {digest}")));
        }
        let manifest = serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("manifest {target}: {e}")))?;
        Ok((manifest, digest))
    }

    /// GET with authorization as the registry asks for it, following redirects.
    async fn get(&self, url: &str, accept: &str) -> Result<Response<Incoming>> {
        let mut asked = false;
        let mut url = url.to_string();
        let origin = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|e| Error::invalid(format!("{url}: {e}")))?;
            let authority = uri.authority().map(|a| a.to_string()).unwrap_or_default();
            let mut request = Request::get(&uri).header(header::HOST, &authority).header(header::ACCEPT, accept);
            request = request.header(header::USER_AGENT, "corten");
            let home = origin.parse::<Uri>().ok().and_then(|u| u.authority().map(|a| a.to_string()));
            if let (Some(token), true) = (&*self.authorization.lock().await, home.as_deref() == Some(&authority)) {
                request = request.header(header::AUTHORIZATION, token);
            }
            let request = request.body(Empty::new()).map_err(|e| Error::invalid(e.to_string()))?;
            let response = self.puller.send(request).await?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                StatusCode::UNAUTHORIZED if !asked => {
                    asked = true;
                    self.authorize(&response).await?;
                }
                s if s.is_redirection() => {
                    let to = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
                    let to = to.ok_or_else(|| Error::internal(format!("{url}: redirect without a location")))?;
                    url = if to.starts_with('/') {
                        format!("{}://{authority}{to}", uri.scheme_str().unwrap_or("https"))
                    } else {
                        to.to_string()
                    };
                }
                status => return Err(refused(&url, status)),
            }
        }
        Err(Error::internal(format!("{origin}: too many redirects")))
    }

    async fn authorize(&self, response: &Response<Incoming>) -> Result<()> {
        let challenge = response.headers().get(header::WWW_AUTHENTICATE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let (user, password) = credentials(&self.auth)?;
        let basic = (!user.is_empty()).then(|| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        let Some(parameters) = challenge.strip_prefix("Bearer ") else {
            *self.authorization.lock().await = basic;
            return Ok(());
        };
        if !self.auth.registry_token.is_empty() {
            *self.authorization.lock().await = Some(format!("Bearer {}", self.auth.registry_token));
            return Ok(());
        }
        let parameter = |name: &str| {
            parameters
                .split(',')
                .find_map(|p| p.trim().strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"').map(String::from))
        };
        let realm = parameter("realm").ok_or_else(|| Error::internal("the registry's challenge names no realm"))?;
        let mut url = format!("{realm}?scope=repository:{}:pull", self.reference.repository);
        if let Some(service) = parameter("service") {
            url += &format!("&service={}", service.replace(' ', "%20"));
        }
        let uri: Uri = url.parse().map_err(|e| Error::internal(format!("{url}: {e}")))?;
        let authority = uri.authority().map(|a| a.to_string()).unwrap_or_default();
        let mut request = Request::get(&uri).header(header::HOST, authority);
        if let Some(basic) = basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let request = request.body(Empty::new()).map_err(|e| Error::invalid(e.to_string()))?;
        let response = self.puller.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&realm, response.status()));
        }
        let answer: serde_json::Value =
            serde_json::from_slice(&whole(response).await?).map_err(|e| Error::internal(format!("{realm}: {e}")))?;
        let token = answer.get("token").or_else(|| answer.get("access_token")).and_then(|t| t.as_str());
        let token = token.ok_or_else(|| Error::internal(format!("{realm}: the answer has no token")))?;
        *self.authorization.lock().await = Some(format!("Bearer {token}"));
        Ok(())
    }
}

fn credentials(auth: &AuthConfig) -> Result<(String, String)> {
    if !auth.username.is_empty() || auth.auth.is_empty() {
        return Ok((auth.username.clone(), auth.password.clone()));
    }
    let decoded = STANDARD.decode(&auth.auth).ok().and_then(|b| String::from_utf8(b).ok());
    let pair = decoded.as_deref().and_then(|d| d.split_once(':'));
    pair.map(|(u, p)| (u.to_string(), p.trim_end_matches('\0').to_string()))
        .ok_or_else(|| Error::invalid("the pull secret's auth is not base64 of user:password"))
}

fn refused(url: &str, status: StatusCode) -> Error {
    let code = match status {
        StatusCode::NOT_FOUND => tonic::Code::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => tonic::Code::PermissionDenied,
        _ => tonic::Code::Unavailable,
    };
    let text = match status {
        StatusCode::NOT_FOUND => format!("{url}: not found"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!(
                "{url}: pull access denied, repository does not exist or may require authorization: authorization failed"
            )
        }
        _ => format!("unexpected status from GET request to {url}: {status}"),
    };
    Error { code, message: text }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes> {
    let limited = http_body_util::Limited::new(response.into_body(), MAX_DOCUMENT as usize);
    match tokio::time::timeout(TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) => Err(Error::internal(format!("read the registry's answer: {e}"))),
        Err(_) => Err(Error::internal("the registry stopped sending")),
    }
}

/// Runs blocking work off the event loop.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal(format!("background work failed: {e}"))),
    }
}
