//! The wire: requests authenticated, authorized and routed; answers in the form asked for.

pub mod body;
mod discovery;
mod health;
pub mod local;
mod metrics;
mod openapi;
mod openapi_proto;
mod proxy;
mod resources;
mod respond;
mod seats;
pub mod serve;

pub use body::Body;
pub use seats::Seats;
pub use serve::{PeerIdentity, serve};

use crate::core::info::{self, Info};
use crate::core::query::Query;
use crate::core::rbac::{Attributes, User};
use crate::registry::{Context, Registry};
use api::Status;
use bytes::Bytes;
use http::{Request, Response};
use std::sync::Arc;

/// Who is let in, and how.
#[derive(Clone)]
pub struct ServerConfig {
    /// Static bearer tokens.
    pub tokens: Vec<(String, User)>,
    /// Whether requests without credentials are tried as `system:anonymous`.
    pub anonymous: bool,
    /// Paths that anonymous users may see whatever the roles say; empty with `anonymous`: what roles allow.
    pub anonymous_paths: Option<Vec<String>>,
    /// How kubelets are reached; none: exec, logs and port-forward are refused.
    pub kubelet: Option<Arc<rustls::ClientConfig>>,
    /// The version that `/version` tells.
    pub version: Version,
    /// Reads that are answered at once.
    pub reads_max: usize,
    /// Writes that are answered at once.
    pub writes_max: usize,
}

impl Default for ServerConfig {
    /// Nobody is let in; as many requests at once as upstream's server answers by default.
    fn default() -> ServerConfig {
        ServerConfig {
            tokens: Vec::new(),
            anonymous: false,
            anonymous_paths: None,
            kubelet: None,
            version: Version::default(),
            reads_max: 400,
            writes_max: 200,
        }
    }
}

/// What `/version` tells.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v1.36.x+corten…`.
    pub git_version: String,
}

impl Default for Version {
    fn default() -> Version {
        Version { git_version: format!("v1.36.1+corten.{}", env!("CARGO_PKG_VERSION")) }
    }
}

/// The largest body that is read.
pub const BODY_MAX: usize = 3 * 1024 * 1024;

/// A server over a registry.
pub struct Server {
    /// The registry.
    pub registry: Arc<Registry>,
    config: ServerConfig,
    openapi: openapi::Documents,
    metrics: Arc<metrics::Metrics>,
    seats: Seats,
}

/// A request that was let in.
pub(crate) struct Call {
    pub info: Info,
    pub query: Query,
    pub method: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub user: User,
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    pub request_id: String,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub fn agent(&self) -> &str {
        self.header("user-agent").unwrap_or_default()
    }

    /// Whether the answer lasts as long as the client likes.
    pub fn is_long_running(&self) -> bool {
        self.info.verb == "watch" || proxy::is_proxied(&self.info.resource, &self.info.subresource)
    }
}

impl Server {
    /// A server.
    pub fn new(registry: Arc<Registry>, config: ServerConfig) -> Arc<Server> {
        let seats = Seats::new(config.reads_max, config.writes_max, registry.env.limits().server);
        Arc::new(Server { registry, config, openapi: openapi::Documents::default(), metrics: Arc::default(), seats })
    }

    /// Answers a request whose body was read already. `peer` is who the connection belongs to, if it proved anything.
    pub async fn handle(self: &Arc<Self>, request: Request<Bytes>, peer: Option<&User>) -> Response<Body> {
        let (head, body) = request.into_parts();
        match self.open(head, peer) {
            Ok(mut call) => {
                call.body = body;
                self.finish(call).await
            }
            Err(refused) => *refused,
        }
    }

    /// Lets a request in, or refuses it, by its head alone: nobody's body is read before it is known who sends it.
    pub(crate) fn open(
        &self,
        mut head: http::request::Parts,
        peer: Option<&User>,
    ) -> Result<Call, Box<Response<Body>>> {
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let request_id = head
            .headers
            .get("audit-id")
            .and_then(|v| v.to_str().ok())
            .map_or_else(|| self.registry.uuid(), String::from);
        let mut call = Call {
            info: info::parse(head.method.as_str(), head.uri.path(), &query),
            query,
            method: head.method.to_string(),
            headers: head.headers,
            body: Bytes::new(),
            user: User::default(),
            upgrade: head.extensions.remove::<hyper::upgrade::OnUpgrade>(),
            request_id,
        };
        match self.admit(&mut call, peer) {
            Ok(()) => Ok(call),
            Err(status) => Err(Box::new(labelled(&call, respond::status(&status, &call)))),
        }
    }

    /// Answers a request that was let in and whose body is there.
    pub(crate) async fn finish(self: &Arc<Self>, mut call: Call) -> Response<Body> {
        let began = self.registry.env.now();
        let mut response = self.route(&mut call).await;
        let size = http_body::Body::size_hint(response.body()).exact();
        let open = self.metrics.answered(&call, response.status().as_u16(), began.elapsed().as_secs_f64(), size);
        if let Some(open) = open {
            response = response.map(|b| b.holding(open));
        }
        labelled(&call, response)
    }

    /// Authentication, impersonation, authorization.
    fn admit(&self, call: &mut Call, peer: Option<&User>) -> Result<(), Status> {
        call.user = self.authenticate(call, peer)?;
        self.impersonate(call)?;
        let public = call.user.name == "system:anonymous" && self.config.anonymous_paths.is_some();
        if public {
            let seen = self.config.anonymous_paths.iter().flatten().any(|p| *p == call.info.path);
            return if seen { Ok(()) } else { Err(Status::unauthorized()) };
        }
        let i = &call.info;
        let fields = call.query.get("fieldSelector").and_then(|t| api::selector::FieldSelector::parse(t).ok());
        // A list or watch of one object by its name is about that object.
        let named = fields.as_ref().filter(|_| i.name.is_empty()).and_then(|f| f.required("metadata.name"));
        let a = Attributes {
            verb: &i.verb,
            namespace: &i.namespace,
            group: &i.group,
            resource: &i.resource,
            subresource: &i.subresource,
            name: named.filter(|_| !matches!(i.verb.as_str(), "create")).unwrap_or(&i.name),
            path: &i.path,
            is_resource: i.is_resource,
            fields: fields.as_ref(),
        };
        self.registry.authorize(&call.user, &a).map(drop).map_err(|why| refused(&call.user, &a, &why))
    }

    fn authenticate(&self, call: &Call, peer: Option<&User>) -> Result<User, Status> {
        if let Some(user) = peer {
            return Ok(with_authenticated(user.clone()));
        }
        let token = call
            .header("authorization")
            .and_then(|h| h.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, t)| t.trim().to_string())
            .filter(|t| !t.is_empty());
        let token = token.or_else(|| websocket_token(call));
        match token {
            Some(token) => {
                // Digests are compared, so that the time it takes tells nothing about the tokens.
                let digest = |t: &str| ring::digest::digest(&ring::digest::SHA256, t.as_bytes());
                let given = digest(&token);
                let known = self.config.tokens.iter().find(|(t, _)| digest(t).as_ref() == given.as_ref());
                if let Some((_, user)) = known {
                    return Ok(with_authenticated(user.clone()));
                }
                self.registry.service_account(&token).ok_or_else(Status::unauthorized)
            }
            None if !self.config.anonymous => Err(Status::unauthorized()),
            None => Ok(User::anonymous()),
        }
    }

    fn impersonate(&self, call: &mut Call) -> Result<(), Status> {
        let text = |name: &str| call.header(name).unwrap_or_default().to_string();
        let all = |name: &str| {
            call.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(String::from).collect::<Vec<_>>()
        };
        let (name, uid, groups) = (text("impersonate-user"), text("impersonate-uid"), all("impersonate-group"));
        let extra: Vec<(String, Vec<String>)> = call
            .headers
            .keys()
            .filter_map(|k| {
                k.as_str().strip_prefix("impersonate-extra-").map(|e| (crate::core::query::decode(e), all(k.as_str())))
            })
            .collect();
        if name.is_empty() {
            if !uid.is_empty() || !groups.is_empty() || !extra.is_empty() {
                return Err(Status::unclassified("requested impersonation without impersonating a user").tap_internal());
            }
            return Ok(());
        }
        let allowed = |group: &str, resource: &str, sub: &str, namespace: &str, target: &str| {
            let a = Attributes {
                verb: "impersonate",
                group,
                resource,
                subresource: sub,
                namespace,
                name: target,
                is_resource: true,
                ..Attributes::default()
            };
            self.registry.authorize(&call.user, &a).map(drop).map_err(|why| refused(&call.user, &a, &why))
        };
        let account = name
            .strip_prefix("system:serviceaccount:")
            .and_then(|s| s.split_once(':'))
            .map(|(ns, n)| (ns.to_string(), n.to_string()));
        match &account {
            Some((ns, n)) => allowed("", "serviceaccounts", "", ns, n)?,
            None => allowed("", "users", "", "", &name)?,
        }
        for g in &groups {
            allowed("", "groups", "", "", g)?;
        }
        if !uid.is_empty() {
            allowed("authentication.k8s.io", "uids", "", "", &uid)?;
        }
        for (key, values) in &extra {
            for v in values {
                allowed("authentication.k8s.io", "userextras", key, "", v)?;
            }
        }
        let mut user = User { name, uid, groups, extra };
        match account {
            Some((ns, _)) if user.groups.is_empty() => {
                user.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{ns}")]
            }
            _ => {}
        }
        call.user = if user.name == "system:anonymous" {
            User { groups: vec!["system:unauthenticated".into()], ..user }
        } else {
            with_authenticated(user)
        };
        Ok(())
    }

    async fn route(self: &Arc<Self>, call: &mut Call) -> Response<Body> {
        if call.info.is_resource {
            return resources::answer(self, call).await;
        }
        match call.info.path.as_str() {
            "/healthz" | "/livez" | "/readyz" => health::answer(self, call),
            p if ["/healthz/", "/livez/", "/readyz/"].iter().any(|h| p.starts_with(h)) => health::answer(self, call),
            "/version" | "/version/" => health::version(self, call),
            "/metrics" => metrics::answer(self),
            "/openid/v1/jwks" => {
                respond::raw(200, "application/jwk-set+json", format!("{{\"keys\":[{}]}}", self.registry.signer.jwk()))
            }
            "/.well-known/openid-configuration" => health::openid(self),
            p if p.starts_with("/openapi/") => openapi::answer(self, call),
            _ => discovery::answer(self, call),
        }
    }
}

trait TapInternal {
    fn tap_internal(self) -> Self;
}

impl TapInternal for Status {
    /// Upstream answers this one as an internal error.
    fn tap_internal(self) -> Status {
        Status::internal(self.message)
    }
}

/// What every answer carries.
fn labelled(call: &Call, mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    if let Ok(v) = http::HeaderValue::from_str(&call.request_id) {
        headers.insert("audit-id", v);
    }
    headers.entry("cache-control").or_insert(http::HeaderValue::from_static("no-cache, private"));
    response
}

/// A user that proved who it is.
pub(crate) fn with_authenticated(mut user: User) -> User {
    const GROUP: &str = "system:authenticated";
    if !user.in_group(GROUP) && !user.in_group("system:unauthenticated") {
        user.groups.push(GROUP.into());
    }
    user
}

/// Browsers cannot set headers on WebSockets: the token may stand among the subprotocols.
fn websocket_token(call: &Call) -> Option<String> {
    use base64::Engine as _;
    const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
    let list = call.header("sec-websocket-protocol")?;
    let encoded = list.split(',').find_map(|p| p.trim().strip_prefix(PREFIX))?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

/// The refusal of a request.
fn refused(user: &User, a: &Attributes, why: &str) -> Status {
    let suffix = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !a.is_resource {
        let mut s = Status::failure(
            403,
            "Forbidden",
            format!("forbidden: User {:?} cannot {} path {:?}{suffix}", user.name, a.verb, a.path),
        );
        s.details = true;
        return s;
    }
    let resource =
        if a.subresource.is_empty() { a.resource.to_string() } else { format!("{}/{}", a.resource, a.subresource) };
    let place = if a.namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {:?}", a.namespace)
    };
    let sentence = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}{suffix}",
        user.name, a.verb, a.group
    );
    Status::forbidden(a.group, a.resource, a.name, &sentence)
}

/// What the registry needs to know of a call.
pub(crate) fn context(call: &Call) -> Context {
    let manager = match call.query.text("fieldManager") {
        "" => {
            let agent = call.agent().split('/').next().unwrap_or_default();
            let mut end = agent.len().min(128);
            while !agent.is_char_boundary(end) {
                end -= 1;
            }
            if end == 0 { "unknown".into() } else { agent[..end].to_string() }
        }
        given => given.to_string(),
    };
    Context {
        user: call.user.clone(),
        agent: call.agent().into(),
        request_id: call.request_id.clone(),
        dry_run: call.query.get("dryRun").is_some(),
        field_manager: manager,
        validation: match call.query.text("fieldValidation") {
            "" => "Warn".into(),
            v => v.into(),
        },
        warnings: Vec::new(),
    }
}
