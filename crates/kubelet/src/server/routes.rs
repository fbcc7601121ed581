//! Paths to handlers, and the pods and containers that they name.

use std::sync::{Arc, PoisonError};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json as value};

use super::{Body, json, logs, metrics, streams, text};
use crate::core::machine::{ContainerSeen, Observation, Run};
use crate::core::pod::Pod;
use crate::shared::Shared;

/// A query, decoded; names may repeat.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Query {
        let decode = |text: &str| {
            let (mut out, bytes, mut i) = (Vec::new(), text.as_bytes(), 0);
            while i < bytes.len() {
                let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
                match (bytes[i], hex(i + 1), hex(i + 2)) {
                    (b'%', Some(high), Some(low)) => {
                        out.push((high * 16 + low) as u8);
                        i += 2;
                    }
                    (b'+', ..) => out.push(b' '),
                    (other, ..) => out.push(other),
                }
                i += 1;
            }
            String::from_utf8_lossy(&out).into_owned()
        };
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
        Query(pairs.map(|(n, v)| (decode(n), decode(v))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }

    /// Whether one of the names is set to true.
    pub fn flag(&self, names: &[&str]) -> bool {
        names.iter().any(|n| matches!(self.get(n), Some("true" | "1" | "True" | "TRUE" | "t")))
    }
}

/// A pod with what is seen of it.
pub struct Found {
    pub pod: Arc<Pod>,
    pub seen: Observation,
}

/// The pod of that name, if it is here.
pub fn find(shared: &Shared, namespace: &str, name: &str) -> Option<Found> {
    let workers = shared.workers();
    let worker = workers.values().find(|w| w.pod.metadata.namespace == namespace && w.pod.metadata.name == name)?;
    let seen = worker.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Some(Found { pod: worker.pod.clone(), seen })
}

impl Found {
    /// The newest instance of a container that runs.
    pub fn running(&self, container: &str) -> Result<&ContainerSeen, Response<Body>> {
        let mut all = self.seen.containers.iter().filter(|c| c.name == container);
        let newest = all.next();
        match newest {
            Some(c) if c.state == Run::Running => Ok(c),
            Some(_) => Err(text(StatusCode::BAD_REQUEST, format!("container {container:?} is not running"))),
            None => Err(text(StatusCode::NOT_FOUND, format!("container not found ({container:?})"))),
        }
    }
}

/// Answers an authorized request.
pub async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_string();
    let query = Query::parse(request.uri().query().unwrap_or(""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Older clients name the pod's uid between pod and container.
    let target = match parts[..] {
        [_, ns, pod, container] => Some((ns.to_string(), pod.to_string(), container.to_string())),
        [_, ns, pod, _uid, container] => Some((ns.to_string(), pod.to_string(), container.to_string())),
        _ => None,
    };
    match (request.method(), parts[0], target) {
        (&Method::GET, "healthz", None) => text(StatusCode::OK, "ok"),
        (&Method::GET, "pods", None) => pods(&shared).await,
        (&Method::GET, "metrics", _) => metrics::metrics(&shared, parts.get(1).copied().unwrap_or("")).await,
        (&Method::GET, "stats", None) if parts.get(1) == Some(&"summary") => metrics::summary(&shared).await,
        (&Method::GET, "containerLogs", Some((ns, pod, container))) => {
            logs::serve(shared, &ns, &pod, &container, &query).await
        }
        (_, "exec", Some((ns, pod, container))) => streams::exec(&shared, request, &ns, &pod, &container, &query),
        (_, "attach", Some((ns, pod, container))) => streams::attach(&shared, request, &ns, &pod, &container, &query),
        (&Method::POST, "run", Some((ns, pod, container))) => run(&shared, &ns, &pod, &container, &query).await,
        (_, "portForward", _) if matches!(parts.len(), 3 | 4) => {
            streams::port_forward(&shared, request, parts[1], parts[2])
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

/// The pods of this node, as the API has them.
async fn pods(shared: &Shared) -> Response<Body> {
    let request = client::ListRequest {
        resource: client::resources::PODS,
        fields: Some(format!("spec.nodeName={}", shared.config.node_name)),
        ..Default::default()
    };
    match shared.client.list_all::<Value>(request).await {
        Ok(items) => json(&value!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})),
        Err(e) => text(StatusCode::SERVICE_UNAVAILABLE, e.to_string()),
    }
}

/// Runs a command and answers its output.
async fn run(shared: &Shared, ns: &str, pod: &str, container: &str, query: &Query) -> Response<Body> {
    let Some(found) = find(shared, ns, pod) else { return text(StatusCode::NOT_FOUND, "pod does not exist") };
    let id = match found.running(container) {
        Ok(c) => c.id.clone(),
        Err(answer) => return answer,
    };
    let mut cmd = query.all("command");
    if cmd.is_empty() {
        cmd = query.get("cmd").unwrap_or("").split(' ').map(String::from).collect();
    }
    let request = wire::cri::ExecSyncRequest { container_id: id, cmd, timeout: 0 };
    match shared.cri.exec_sync(request).await {
        Ok(answer) if answer.exit_code == 0 => text(StatusCode::OK, [answer.stdout, answer.stderr].concat()),
        Ok(answer) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "command exited with {}: {}",
                answer.exit_code,
                String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat())
            ),
        ),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, e.message().to_string()),
    }
}
