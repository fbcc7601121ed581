//! Who may use the kubelet's API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::Resource;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use platform::Instant;
use platform::time::Duration;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{Body, text};
use crate::shared::Shared;

const ALLOWED_FOR: Duration = Duration::from_secs(300);
const DENIED_FOR: Duration = Duration::from_secs(30);
const AUTHENTICATED_FOR: Duration = Duration::from_secs(120);
const MAX_REMEMBERED: usize = 4096;

/// Who is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

/// The user of a verified client certificate: common name, and organizations as groups.
pub fn identity(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok().map(String::from)).collect();
    groups.push("system:authenticated".into());
    Some(User { name, uid: String::new(), groups })
}

type Allowed = HashMap<(User, String, String), (bool, Instant)>;

/// Authentication and authorization by the API server, remembered.
pub struct Gate {
    shared: Arc<Shared>,
    tokens: Mutex<HashMap<String, (User, Instant)>>,
    allowed: Mutex<Allowed>,
}

/// The node's subresource that a path belongs to.
fn subresource(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or("") {
        "stats" => "stats",
        "metrics" => "metrics",
        "logs" => "log",
        "healthz" => "healthz",
        "pods" | "runningpods" => "pods",
        _ => "proxy",
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

impl Gate {
    pub fn new(shared: Arc<Shared>) -> Gate {
        Gate { shared, tokens: Mutex::default(), allowed: Mutex::default() }
    }

    /// Lets a request pass, or says why not.
    pub async fn check(&self, certificate: Option<User>, request: &Request<Incoming>) -> Result<(), Response<Body>> {
        let token = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "));
        let user = match (certificate, token) {
            (Some(user), _) => Some(user),
            (None, Some(token)) => self.review_token(token.trim()).await,
            (None, None) => None,
        };
        let Some(user) = user else { return Err(text(StatusCode::UNAUTHORIZED, "Unauthorized")) };
        let path = request.uri().path();
        let (verb, subresource) = (verb(request.method()), subresource(path));
        // Finer subresources fall back to the coarse one.
        let mut wanted = vec![subresource];
        if matches!(subresource, "healthz" | "pods") {
            wanted.push("proxy");
        }
        for subresource in &wanted {
            if self.review_access(&user, verb, subresource).await {
                return Ok(());
            }
        }
        let message = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])",
            user.name,
            wanted.join(" ")
        );
        Err(text(StatusCode::FORBIDDEN, message))
    }

    async fn review_token(&self, token: &str) -> Option<User> {
        let now = self.shared.env.now();
        let known = lock(&self.tokens).get(token).filter(|(_, until)| *until > now).map(|(user, _)| user.clone());
        if known.is_some() {
            return known;
        }
        let resource = Resource::new("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false);
        let answer = self.shared.client.create(&resource, "", json!({"spec": {"token": token}})).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        if answer["status"]["authenticated"] != true {
            return None;
        }
        let found = &answer["status"]["user"];
        let string = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let groups = found["groups"].as_array().into_iter().flatten().map(string).collect();
        let user = User { name: string(&found["username"]), uid: string(&found["uid"]), groups };
        let mut tokens = lock(&self.tokens);
        if tokens.len() > MAX_REMEMBERED {
            tokens.clear();
        }
        tokens.insert(token.to_string(), (user.clone(), now + AUTHENTICATED_FOR));
        Some(user)
    }

    async fn review_access(&self, user: &User, verb: &str, subresource: &str) -> bool {
        let now = self.shared.env.now();
        let key = (user.clone(), verb.to_string(), subresource.to_string());
        if let Some((allowed, _)) = lock(&self.allowed).get(&key).filter(|(_, until)| *until > now) {
            return *allowed;
        }
        let resource =
            Resource::new("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", false);
        let review = json!({"spec": {
            "user": user.name, "uid": user.uid, "groups": user.groups,
            "resourceAttributes": {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self.shared.config.node_name},
        }});
        let Ok(answer) = self.shared.client.create(&resource, "", review).await else { return false };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let allowed = answer["status"]["allowed"] == true && answer["status"]["denied"] != true;
        let mut remembered = lock(&self.allowed);
        if remembered.len() > MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, (allowed, now + if allowed { ALLOWED_FOR } else { DENIED_FOR }));
        allowed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
