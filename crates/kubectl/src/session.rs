//! One run's connection: which server and namespace, requests, discovery (asked once, when first needed).

use crate::core::flags::Given;
use crate::core::resources::{Catalog, Resource, from_aggregated, from_list};
use crate::failure::{Failure, Outcome};
use api::Value;
use bytes::Bytes;
use client::{Config, Error, Https, Transport};
use futures_util::stream::BoxStream;
use http::Method;
use platform::Env;
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Media type; empty is JSON.
    pub media_type: &'static str,
    /// Bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A JSON object.
    pub fn json(value: &Value) -> Body {
        Body { media_type: "application/json", bytes: Bytes::from(api::json::to_string(value)) }
    }

    /// A patch.
    pub fn patch(media_type: &'static str, value: &Value) -> Body {
        Body { media_type, bytes: Bytes::from(api::json::to_string(value)) }
    }
}

/// Merge patch.
pub const MERGE: &str = "application/merge-patch+json";
/// Strategic merge patch.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// JSON patch.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A session with a server.
pub struct Session {
    /// The process' environment.
    pub env: Env,
    /// The way there.
    pub https: Https,
    /// Namespace of commands that do not name one.
    pub namespace: String,
    /// Was the namespace given by a flag?
    pub namespace_given: bool,
    verbosity: i64,
    headers: Vec<(&'static str, String)>,
    catalog: OnceCell<Catalog>,
}

/// The kubeconfig file that counts: the flag, `$KUBECONFIG`, `~/.kube/config`.
pub fn kubeconfig_path(given: &Given) -> Option<PathBuf> {
    let flag = given.text("kubeconfig");
    if !flag.is_empty() {
        return Some(flag.into());
    }
    if let Some(list) = std::env::var_os("KUBECONFIG") {
        let all: Vec<PathBuf> = std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect();
        if !all.is_empty() {
            return all.iter().find(|p| p.exists()).or(all.first()).cloned();
        }
    }
    let home = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
    home.exists().then_some(home)
}

fn config(given: &Given) -> Outcome<Config> {
    let context = Some(given.text("context")).filter(|c| !c.is_empty());
    let mut config = match kubeconfig_path(given) {
        Some(path) => match Config::load(&path, context) {
            Err(Error::Config(_)) if !path.exists() => {
                return Err(Failure::error(format!("stat {}: no such file or directory", path.display())));
            }
            Err(Error::Config(text)) if text.contains("there is no context") => {
                return Err(Failure::error(format!("context {:?} does not exist", given.text("context"))));
            }
            other => other?,
        },
        None => Config::in_cluster()
            .unwrap_or_else(|_| Config { server: "http://localhost:8080".into(), ..Config::default() }),
    };
    if given.has("server") {
        config.server = given.text("server").to_string();
    }
    if given.has("token") {
        config.token = Some(given.text("token").to_string());
    }
    if given.on("insecure-skip-tls-verify") {
        config.insecure = true;
        config.authorities = None;
    }
    Ok(config)
}

impl Session {
    /// Reads the configuration; connects when first used.
    pub fn new(env: &Env, given: &Given) -> Outcome<Session> {
        let config = config(given)?;
        let flag = given.text("namespace");
        let namespace =
            if flag.is_empty() { config.namespace.clone().filter(|n| !n.is_empty()) } else { Some(flag.to_string()) };
        let mut headers = Vec::new();
        if given.has("as") {
            headers.push(("Impersonate-User", given.text("as").to_string()));
        }
        headers.extend(given.list("as-group").iter().map(|g| ("Impersonate-Group", g.clone())));
        if given.has("as-uid") {
            headers.push(("Impersonate-Uid", given.text("as-uid").to_string()));
        }
        Ok(Session {
            env: env.clone(),
            https: Https::new(env, config)?,
            namespace: namespace.unwrap_or_else(|| "default".to_string()),
            namespace_given: !flag.is_empty(),
            verbosity: given.int("v"),
            headers,
            catalog: OnceCell::new(),
        })
    }

    /// A request with this session's headers.
    pub fn request(&self, method: &Method, uri: &str, accept: &str, body: &Body) -> Outcome<http::Request<Bytes>> {
        let mut request = http::Request::builder().method(method.clone()).uri(uri).header("Accept", accept);
        request = request.header("User-Agent", concat!("kubectl/corten-", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if !body.media_type.is_empty() {
            request = request.header("Content-Type", body.media_type);
        }
        request.body(body.bytes.clone()).map_err(|e| Failure::error(format!("{uri}: {e}")))
    }

    /// Sends a request and gives back the answer's object; refusals are failures. Warnings go to standard error.
    pub async fn call(&self, method: Method, uri: &str, accept: &str, body: Body) -> Outcome<Value> {
        let bytes = self.call_bytes(method, uri, accept, body).await?;
        api::json::parse(&bytes)
            .map_err(|e| Failure::error(format!("the server's answer to {uri} is not JSON: {}", e.message)))
    }

    /// As [`Session::call`], but whatever the answer is made of.
    pub async fn call_bytes(&self, method: Method, uri: &str, accept: &str, body: Body) -> Outcome<Bytes> {
        let request = self.request(&method, uri, accept, &body)?;
        let answer = self.https.call(request).await.map_err(|e| self.unreachable(e))?;
        if self.verbosity >= 6 {
            eprintln!("{method} {}{uri} {}", self.https.config().server, answer.status());
        }
        for warning in answer.headers().get_all("Warning") {
            let quoted = warning.to_str().ok().and_then(|w| w.split_once('"'));
            if let Some(text) = quoted.map(|(_, text)| text.strip_suffix('"').unwrap_or(text)) {
                eprintln!("Warning: {}", text.replace("\\\"", "\"").replace("\\\\", "\\"));
            }
        }
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        Err(Error::from_status(answer.status().as_u16(), answer.into_body()).into())
    }

    fn unreachable(&self, error: Error) -> Failure {
        match &error {
            Error::Transport(text) if text.contains("refused") => {
                let server = self.https.config().server.split("://").last().unwrap_or_default().to_string();
                let text = format!(
                    "The connection to the server {server} was refused - did you specify the right host or port?"
                );
                Failure { text, code: 1, reason: None }
            }
            Error::Transport(text) => {
                Failure { text: format!("Unable to connect to the server: {text}"), code: 1, reason: None }
            }
            _ => error.into(),
        }
    }

    /// GETs an object.
    pub async fn get(&self, uri: &str) -> Outcome<Value> {
        self.read(uri, "application/json").await
    }

    /// GETs an object in a form. If it is missing because its namespace is, that is what the failure says.
    pub async fn read(&self, uri: &str, accept: &str) -> Outcome<Value> {
        let answer = self.call(Method::GET, uri, accept, Body::default()).await;
        if let Err(failure) = &answer
            && failure.is_not_found()
            && let Some((_, rest)) = uri.split_once("/namespaces/")
            && let Some((namespace, _)) = rest.split_once('/')
            && let Err(outer) =
                self.call(Method::GET, &format!("/api/v1/namespaces/{namespace}"), accept, Body::default()).await
            && outer.is_not_found()
        {
            return Err(outer);
        }
        answer
    }

    /// Sends a patch.
    pub async fn patch(&self, uri: &str, media_type: &'static str, patch: &Value) -> Outcome<Value> {
        self.call(Method::PATCH, uri, "application/json", Body::patch(media_type, patch)).await
    }

    /// The pieces of a long answer.
    pub async fn open(&self, uri: &str, accept: &str) -> Outcome<BoxStream<'static, Result<Bytes, Error>>> {
        let request = self.request(&Method::GET, uri, accept, &Body::default())?;
        if self.verbosity >= 6 {
            eprintln!("GET {}{uri} (stream)", self.https.config().server);
        }
        self.https.open(request).await.map_err(|e| match e {
            Error::Transport(_) => self.unreachable(e),
            other => other.into(),
        })
    }

    /// All resources of the server.
    pub async fn catalog(&self) -> Outcome<&Catalog> {
        self.catalog.get_or_try_init(|| self.discover()).await
    }

    async fn discover(&self) -> Outcome<Catalog> {
        let mut all = Vec::new();
        for root in ["/api", "/apis"] {
            let answer = self.call(Method::GET, root, DISCOVERY, Body::default()).await?;
            match answer.at("kind").str() {
                "APIGroupDiscoveryList" => all.extend(from_aggregated(&answer)),
                "APIVersions" => all.extend(from_list(&self.get("/api/v1").await?, true)),
                _ => all.extend(self.discover_groups(&answer).await?),
            }
        }
        Ok(Catalog { all })
    }

    async fn discover_groups(&self, groups: &Value) -> Outcome<Vec<Resource>> {
        let mut all = Vec::new();
        for group in groups.at("groups").items() {
            for (i, version) in group.at("versions").items().iter().enumerate() {
                let path = format!("/apis/{}", version.at("groupVersion").str());
                match self.get(&path).await {
                    Ok(list) => all.extend(from_list(&list, i == 0)),
                    Err(failure) => eprintln!("Warning: {path}: {}", failure.text),
                }
            }
        }
        Ok(all)
    }

    /// What the user's word for a resource means.
    pub async fn resource(&self, word: &str) -> Outcome<Resource> {
        self.catalog().await?.find(word).cloned().map_err(Failure::error)
    }

    /// The resource of an object.
    pub async fn resource_of(&self, object: &Value) -> Outcome<Resource> {
        let (api_version, kind) = (object.at("apiVersion").str(), object.at("kind").str());
        let found = self.catalog().await?.of_object(api_version, kind).cloned();
        found.ok_or_else(|| {
            let name = object.at("metadata").at("name").str();
            let text = format!(
                "error: resource mapping not found for name: {name:?} namespace: {:?} from {{source}}: no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first",
                object.at("metadata").at("namespace").str()
            );
            Failure { text, code: 1, reason: None }
        })
    }
}
