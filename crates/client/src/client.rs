//! Typed verbs over a transport. Bodies are JSON; answers are decoded as the caller's view.

use crate::error::Error;
use crate::resource::Resource;
use crate::transport::{ListPage, ListRequest, Transport, WatchRequest, WatchStream, with_query};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// One component's way to the API. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    agent: Arc<str>,
}

/// How a patch's body is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge.
    Strategic,
    /// Server-side apply.
    Apply {
        /// The field manager.
        manager: String,
        /// Take fields from other managers.
        force: bool,
    },
}

impl PatchKind {
    /// The content type.
    pub fn media_type(&self) -> &'static str {
        match self {
            PatchKind::Json => "application/json-patch+json",
            PatchKind::Merge => "application/merge-patch+json",
            PatchKind::Strategic => "application/strategic-merge-patch+json",
            PatchKind::Apply { .. } => "application/apply-patch+yaml",
        }
    }
}

/// What happens to an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The collector deletes them afterwards.
    Background,
    /// The object stays until they are gone.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds to end gracefully; 0: at once.
    pub grace_seconds: Option<u64>,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only at this revision.
    pub resource_version: Option<String>,
    /// Dependents.
    pub propagation: Option<Propagation>,
}

impl DeleteOptions {
    /// Only the object with this uid.
    pub fn uid(uid: &str) -> DeleteOptions {
        DeleteOptions { uid: Some(uid.to_string()), ..DeleteOptions::default() }
    }

    /// The request's body.
    pub fn body(&self) -> Value {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(grace) = self.grace_seconds {
            body["gracePeriodSeconds"] = grace.into();
        }
        if self.uid.is_some() || self.resource_version.is_some() {
            let mut preconditions = json!({});
            if let Some(uid) = &self.uid {
                preconditions["uid"] = uid.as_str().into();
            }
            if let Some(version) = &self.resource_version {
                preconditions["resourceVersion"] = version.as_str().into();
            }
            body["preconditions"] = preconditions;
        }
        if let Some(propagation) = self.propagation {
            body["propagationPolicy"] = format!("{propagation:?}").into();
        }
        body
    }
}

/// Which object.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Its resource.
    pub resource: &'a Resource,
    /// Its namespace; empty for cluster-wide objects.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Client {
    /// Over `transport`; `agent` is the User-Agent, by which the server knows the field manager.
    pub fn new(transport: Arc<dyn Transport>, agent: &str) -> Client {
        Client { transport, agent: agent.into() }
    }

    /// The same way under another user agent.
    #[must_use]
    pub fn with_agent(&self, agent: &str) -> Client {
        Client { transport: self.transport.clone(), agent: agent.into() }
    }

    /// The transport.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// A request with a JSON (or otherwise typed) body; errors for every answer that is not a success.
    pub async fn request(
        &self,
        method: http::Method,
        uri: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let mut request = http::Request::builder().method(method).uri(uri);
        request = request.header("user-agent", &*self.agent).header("accept", "application/json");
        if !body.is_empty() {
            request = request.header("content-type", media_type);
        }
        let request = request.body(body).map_err(|e| Error::Config(format!("{uri}: {e}")))?;
        let answer = self.transport.call(request).await?;
        let status = answer.status();
        let body = answer.into_body();
        if status.is_success() { Ok(body) } else { Err(Error::from_status(status.as_u16(), body)) }
    }

    async fn send(&self, method: http::Method, uri: &str, body: &Value) -> Result<Bytes, Error> {
        self.request(method, uri, "application/json", body.to_string().into()).await
    }

    /// One object as bytes.
    pub async fn get_bytes(&self, at: At<'_>) -> Result<Bytes, Error> {
        self.request(http::Method::GET, &at.path(None), "", Bytes::new()).await
    }

    /// One object as a view.
    pub async fn get<V: DeserializeOwned>(&self, at: At<'_>) -> Result<V, Error> {
        decode(&self.get_bytes(at).await?)
    }

    /// A page of objects.
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        self.transport.list(request).await
    }

    /// All objects as views.
    pub async fn list_all<V: DeserializeOwned>(&self, mut request: ListRequest) -> Result<Vec<V>, Error> {
        let mut out = Vec::new();
        loop {
            let page = self.transport.list(request.clone()).await?;
            for item in &page.items {
                out.push(decode(item)?);
            }
            match page.continue_token.filter(|token| !token.is_empty()) {
                Some(token) => request.continue_token = Some(token),
                None => return Ok(out),
            }
        }
    }

    /// Changes.
    pub async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.transport.watch(request).await
    }

    /// Creates an object; `kind` and `apiVersion` are added if missing.
    pub async fn create(&self, resource: &Resource, namespace: &str, mut object: Value) -> Result<Bytes, Error> {
        if let Value::Object(map) = &mut object {
            map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
            map.entry("kind").or_insert_with(|| resource.kind.as_ref().into());
        }
        self.send(http::Method::POST, &resource.path(Some(namespace), None, None), &object).await
    }

    /// Replaces an object, or a subresource of it.
    pub async fn update(&self, at: At<'_>, subresource: Option<&str>, object: &Value) -> Result<Bytes, Error> {
        self.send(http::Method::PUT, &at.path(subresource), object).await
    }

    /// Reads an object, merges `patch` into it (RFC 7386) and writes it, or a subresource of it, at the revision that was read.
    /// `metadata.uid` and `metadata.resourceVersion` in the patch are preconditions.
    pub async fn modify(&self, at: At<'_>, subresource: Option<&str>, patch: &Value) -> Result<Bytes, Error> {
        let mut object: Value = self.get(at).await?;
        for field in ["uid", "resourceVersion"] {
            let (wanted, found) = (patch["metadata"][field].as_str(), object["metadata"][field].as_str());
            if wanted.is_some_and(|w| !w.is_empty() && Some(w) != found) {
                let message = format!("{} {}: {field} is {found:?}, not {wanted:?}", at.resource.plural, at.name);
                let body = json!({"reason": "Conflict", "message": message, "code": 409});
                return Err(Error::from_status(409, body.to_string().into()));
            }
        }
        let before = object.clone();
        merge(&mut object, patch);
        if object == before {
            return Ok(object.to_string().into());
        }
        self.update(at, subresource, &object).await
    }

    /// Posts to a subresource (`binding`, `eviction`, `token`).
    pub async fn post(&self, at: At<'_>, subresource: &str, object: &Value) -> Result<Bytes, Error> {
        self.send(http::Method::POST, &at.path(Some(subresource)), object).await
    }

    /// Patches an object, or a subresource of it. `metadata.uid` and `metadata.resourceVersion` in a merge patch are
    /// preconditions.
    pub async fn patch(
        &self,
        at: At<'_>,
        subresource: Option<&str>,
        kind: &PatchKind,
        patch: &Value,
    ) -> Result<Bytes, Error> {
        let query = match kind {
            PatchKind::Apply { manager, force } => {
                vec![("fieldManager", manager.clone()), ("force", force.to_string())]
            }
            _ => Vec::new(),
        };
        let uri = with_query(&at.path(subresource), &query);
        self.request(http::Method::PATCH, &uri, kind.media_type(), patch.to_string().into()).await
    }

    /// Deletes an object; answers it, or a `Status`.
    pub async fn delete(&self, at: At<'_>, options: &DeleteOptions) -> Result<Bytes, Error> {
        self.send(http::Method::DELETE, &at.path(None), &options.body()).await
    }

    /// Deletes all objects of a namespace (or of a cluster-wide resource) that match.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        namespace: &str,
        labels: Option<&str>,
    ) -> Result<Bytes, Error> {
        let query: Vec<_> = labels.map(|l| ("labelSelector", l.to_string())).into_iter().collect();
        let uri = with_query(&resource.path(Some(namespace), None, None), &query);
        self.send(http::Method::DELETE, &uri, &DeleteOptions::default().body()).await
    }
}

impl At<'_> {
    fn path(&self, subresource: Option<&str>) -> String {
        self.resource.path(Some(self.namespace), Some(self.name), subresource)
    }
}

/// Applies a merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|t| t.shift_remove(key));
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

/// An object's bytes as a view.
pub fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Error> {
    if let Ok(view) = serde_json::from_slice(bytes) {
        return Ok(view);
    }
    // In Go's JSON a null is an absent member; servers send one for an empty list.
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|e| Error::Decode(format!("an object of the server was not understood: {e}")))?;
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|e| Error::Decode(format!("an object of the server was not understood: {e}")))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
