//! Requests that go on to a kubelet or into the pod network: logs, exec, attach, port-forward, proxy.
//!
//! Upgraded connections are copied byte for byte: the kubelet speaks the same protocols (WebSocket and SPDY) to the client.

use super::{Body, Call, Server, respond};
use api::{Status, Value, f};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyStream, Full};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Whether a subresource is answered elsewhere.
pub fn is_proxied(resource: &str, sub: &str) -> bool {
    matches!(
        (resource, sub),
        ("pods", "log" | "exec" | "attach" | "portforward" | "proxy") | ("nodes" | "services", "proxy")
    )
}

/// Where a request goes on to.
struct Target {
    host: String,
    port: u16,
    tls_name: Option<String>,
    path: String,
}

/// Passes a request on and its answer back.
pub async fn answer(server: &Arc<Server>, call: &mut Call) -> Response<Body> {
    match target(server, call) {
        Err(s) => respond::status(&s, call),
        Ok(t) => match forward(server, call, &t).await {
            Ok(r) => r,
            Err(e) => {
                let s = Status::internal(format!("error dialing backend: {e}"));
                respond::status(&s, call)
            }
        },
    }
}

fn target(server: &Arc<Server>, call: &Call) -> Result<Target, Status> {
    let i = &call.info;
    let find = |plural: &str, ns: &str, name: &str| {
        server.registry.find("", plural, ns, name).ok_or_else(|| Status::not_found("", plural, name))
    };
    match (i.resource.as_str(), i.subresource.as_str()) {
        ("nodes", _) => kubelet(&find("nodes", "", &i.name)?, format!("/{}", i.rest), call),
        ("services", _) => {
            let (name, port) = split_port(&i.name);
            let service = find("services", &i.namespace, &name)?;
            let ports = service.at(f::spec).at(f::ports).items();
            let chosen = ports
                .iter()
                .find(|p| port.is_empty() || p.at(f::name).str() == port || p.at(f::port).int().to_string() == port);
            let port = chosen.map_or(0, |p| p.at(f::port).int());
            direct(service.at(f::spec).at(f::clusterIP).str(), port, call)
        }
        ("pods", "proxy") => {
            let (name, port) = split_port(&i.name);
            let pod = find("pods", &i.namespace, &name)?;
            let first = pod
                .at(f::spec)
                .at(f::containers)
                .items()
                .iter()
                .flat_map(|c| c.at(f::ports).items())
                .map(|p| p.at(f::containerPort).int())
                .next();
            let port = port.parse().ok().or(first).unwrap_or(80);
            direct(pod.at(f::status).at(f::podIP).str(), port, call)
        }
        (_, sub) => {
            let pod = find("pods", &i.namespace, &i.name)?;
            let node = pod.at(f::spec).at(f::nodeName).str();
            if node.is_empty() {
                return Err(Status::bad_request(format!("pod {} does not have a host assigned", i.name)));
            }
            let node = find("nodes", "", node)?;
            let path = match sub {
                "portforward" => format!("/portForward/{}/{}", i.namespace, i.name),
                "log" => format!("/containerLogs/{}/{}/{}", i.namespace, i.name, container(&pod, call)?),
                _ => format!("/{sub}/{}/{}/{}", i.namespace, i.name, container(&pod, call)?),
            };
            kubelet(&node, with_query(path, sub, call), call)
        }
    }
}

/// `[scheme:]name[:port]`.
fn split_port(name: &str) -> (String, String) {
    let parts: Vec<&str> = name.split(':').collect();
    match parts[..] {
        [n, p] => (n.into(), p.into()),
        [_, n, p] => (n.into(), p.into()),
        _ => (name.into(), String::new()),
    }
}

/// The container that is meant.
fn container(pod: &Value, call: &Call) -> Result<String, Status> {
    let name = call.query.text("container");
    let spec = pod.at(f::spec);
    let all: Vec<&str> = kinds::rules::pod::containers(spec).map(|(_, c)| c.at(f::name).str()).collect();
    let pod_name = pod.at(f::metadata).at(f::name).str();
    if !name.is_empty() {
        return if all.contains(&name) {
            Ok(name.into())
        } else {
            Err(Status::bad_request(format!("container {name} is not valid for pod {pod_name}")))
        };
    }
    let preferred = pod.at(f::metadata).at(f::annotations).at("kubectl.kubernetes.io/default-container").str();
    if all.contains(&preferred) {
        return Ok(preferred.into());
    }
    let main: Vec<&str> = spec.at(f::containers).items().iter().map(|c| c.at(f::name).str()).collect();
    let inits: Vec<&str> = spec.at(f::initContainers).items().iter().map(|c| c.at(f::name).str()).collect();
    match main[..] {
        [only] => Ok(only.into()),
        _ => {
            let mut text =
                format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", main.join(" "));
            if !inits.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
            }
            Err(Status::bad_request(text))
        }
    }
}

/// The query in the kubelet's names.
fn with_query(path: String, sub: &str, call: &Call) -> String {
    let renamed: &[(&str, &str)] = match sub {
        "exec" | "attach" => {
            &[("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"), ("command", "command")]
        }
        "portforward" => &[("ports", "port"), ("port", "port")],
        _ => &[
            ("follow", "follow"),
            ("previous", "previous"),
            ("sinceSeconds", "sinceSeconds"),
            ("sinceTime", "sinceTime"),
            ("timestamps", "timestamps"),
            ("tailLines", "tailLines"),
            ("limitBytes", "limitBytes"),
            ("stream", "stream"),
        ],
    };
    let mut query: Vec<(&str, String)> = Vec::new();
    for (theirs, ours) in renamed {
        for v in call.query.all(theirs) {
            let value = match (*theirs, v) {
                ("stdin" | "stdout" | "stderr" | "tty", "true" | "1") => "1".to_string(),
                ("stdin" | "stdout" | "stderr" | "tty", _) => continue,
                _ => v.to_string(),
            };
            query.push((ours, value));
        }
    }
    client::with_query(&path, &query)
}

fn kubelet(node: &Value, path: String, _: &Call) -> Result<Target, Status> {
    let status = node.at(f::status);
    let address = ["InternalIP", "Hostname", "ExternalIP"]
        .iter()
        .find_map(|t| status.at(f::addresses).items().iter().find(|a| a.at(f::type_).str() == *t));
    let Some(address) = address else {
        return Err(Status::internal(format!("node {} has no address", node.at(f::metadata).at(f::name).str())));
    };
    let port = status.at(f::daemonEndpoints).at(f::kubeletEndpoint).at("Port").int();
    let port = u16::try_from(port).ok().filter(|p| *p > 0).unwrap_or(10250);
    let host = address.at(f::address).str().to_string();
    Ok(Target { tls_name: Some(host.clone()), host, port, path })
}

fn direct(host: &str, port: i64, call: &Call) -> Result<Target, Status> {
    let port = u16::try_from(port).ok().filter(|p| *p > 0);
    let (false, Some(port)) = (host.is_empty() || host == "None", port) else {
        return Err(Status::failure(503, "ServiceUnavailable", "no endpoints available"));
    };
    Ok(Target { host: host.into(), port, tls_name: None, path: format!("/{}", call.info.rest) })
}

async fn forward(server: &Arc<Server>, call: &mut Call, t: &Target) -> Result<Response<Body>, String> {
    let tcp = platform::time::timeout(
        server.registry.env.limits().server.proxy,
        TcpStream::connect((t.host.as_str(), t.port)),
    )
    .await
    .map_err(|_| format!("dial tcp {}:{}: i/o timeout", t.host, t.port))?;
    let tcp = tcp.map_err(|e| format!("dial tcp {}:{}: {e}", t.host, t.port))?;
    let _ = tcp.set_nodelay(true);
    let mut builder =
        Request::builder().method(call.method.as_str()).uri(&t.path).header("host", format!("{}:{}", t.host, t.port));
    for (k, v) in &call.headers {
        let hop = matches!(k.as_str(), "host" | "authorization" | "content-length" | "transfer-encoding")
            || k.as_str().starts_with("impersonate-");
        if !hop {
            builder = builder.header(k, v);
        }
    }
    let request = builder.body(Full::new(call.body.clone())).map_err(|e| e.to_string())?;
    let mut response = match (&t.tls_name, &server.config.kubelet) {
        (Some(name), Some(config)) => {
            let name = rustls_pki_types::ServerName::try_from(name.clone()).map_err(|e| e.to_string())?;
            let tls = tokio_rustls::TlsConnector::from(config.clone())
                .connect(name, tcp)
                .await
                .map_err(|e| format!("tls to {}:{}: {e}", t.host, t.port))?;
            exchange(server, tls, request).await?
        }
        (Some(_), None) => return Err("this server has no credentials for kubelets".into()),
        (None, _) => exchange(server, tcp, request).await?,
    };
    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        let theirs = hyper::upgrade::on(&mut response);
        let Some(ours) = call.upgrade.take() else { return Err("the client's connection cannot be upgraded".into()) };
        server.registry.env.spawn("upgraded connection", async move {
            let (Ok(a), Ok(b)) = (ours.await, theirs.await) else { return };
            let (mut a, mut b) = (TokioIo::new(a), TokioIo::new(b));
            let _ = tokio::io::copy_bidirectional(&mut a, &mut b).await; // either side may simply go away
        });
        let (parts, _) = response.into_parts();
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("connection");
    parts.headers.remove("transfer-encoding");
    parts.headers.entry("content-type").or_insert(HeaderValue::from_static("text/plain"));
    let stream = BodyStream::new(body).filter_map(|frame| async move { frame.ok().and_then(|f| f.into_data().ok()) });
    Ok(Response::from_parts(parts, Body::Stream(Box::pin(stream))))
}

async fn exchange<S>(
    server: &Arc<Server>,
    io: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(|e| e.to_string())?;
    server.registry.env.spawn("backend connection", async move {
        let _ = connection.with_upgrades().await; // its end is seen by whoever reads the answer
    });
    sender.send_request(request).await.map_err(|e| e.to_string())
}
