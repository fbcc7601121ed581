//! An API server in memory for tests of components: objects by path, revisions, watches, merge patches, preconditions,
//! finalizers, graceful deletion of pods. It knows no kinds: no defaults, no validation, no admission.

use crate::client::merge;
use crate::error::Error;
use crate::resource::Resource;
use crate::transport::*;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// See the file's head. Clones share.
#[derive(Clone, Default)]
pub struct FakeApi(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// `/apis/apps/v1/namespaces/ns/replicasets/name`: the object.
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, EventKind, String, Value)>,
    revision: u64,
    made: u64,
    writes: Vec<String>,
}

struct Path {
    collection: String,
    namespace: String,
    name: String,
    subresource: String,
}

fn split(path: &str) -> Path {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let mut at = if parts.first() == Some(&"api") { 2 } else { 3 };
    let mut collection = format!("/{}", parts[..at].join("/"));
    let mut namespace = String::new();
    if parts.get(at) == Some(&"namespaces") && parts.len() > at + 2 && !matches!(parts[at + 2], "status" | "finalize") {
        namespace = parts[at + 1].to_string();
        at += 2;
    }
    collection = format!("{collection}/{}", parts.get(at).unwrap_or(&""));
    let part = |i: usize| parts.get(at + i).map(|s| s.to_string()).unwrap_or_default();
    Path { collection, namespace, name: part(1), subresource: part(2) }
}

fn refuse(code: u16, reason: &str, message: String) -> http::Response<Bytes> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code});
    answer(code, &body)
}

fn answer(code: u16, body: &Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

impl State {
    fn key(path: &Path, name: &str) -> String {
        format!("{}|{}|{name}", path.collection, path.namespace)
    }

    fn store(&mut self, key: String, mut object: Value, kind: EventKind) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        if kind == EventKind::Deleted {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key.clone(), object.clone());
        }
        self.log.push((self.revision, kind, key, object.clone()));
        object
    }

    fn create(&mut self, path: &Path, mut object: Value) -> http::Response<Bytes> {
        self.made += 1;
        let meta = &mut object["metadata"];
        if meta["name"].as_str().unwrap_or_default().is_empty() {
            meta["name"] = format!("{}{:05}", meta["generateName"].as_str().unwrap_or_default(), self.made).into();
        }
        let name = meta["name"].as_str().unwrap_or_default().to_string();
        meta["uid"] = format!("uid-{}", self.made).into();
        meta["generation"] = 1.into();
        if !path.namespace.is_empty() {
            meta["namespace"] = path.namespace.clone().into();
        }
        if meta["creationTimestamp"].is_null() {
            meta["creationTimestamp"] = api::time::format_seconds(self.made as i64).into();
        }
        let key = State::key(path, &name);
        if self.objects.contains_key(&key) {
            return refuse(409, "AlreadyExists", format!("{key} already exists"));
        }
        let object = self.store(key, object, EventKind::Added);
        answer(201, &object)
    }

    fn write(&mut self, path: &Path, method: &http::Method, body: Value) -> http::Response<Bytes> {
        let key = State::key(path, &path.name);
        let Some(old) = self.objects.get(&key).cloned() else {
            return refuse(404, "NotFound", format!("{key} not found"));
        };
        for field in ["resourceVersion", "uid"] {
            let wanted = body["metadata"][field].as_str().filter(|v| !v.is_empty());
            if wanted.is_some_and(|w| Some(w) != old["metadata"][field].as_str()) {
                return refuse(409, "Conflict", format!("{key}: {field} is {}", old["metadata"][field]));
            }
        }
        let mut new = old.clone();
        match (method, path.subresource.as_str()) {
            (&http::Method::PATCH, _) => merge(&mut new, &body),
            (_, "status") => new["status"] = body["status"].clone(),
            _ => new = body,
        }
        let (old_spec, new_spec) = (old["spec"].clone(), new["spec"].clone());
        if old_spec != new_spec && path.subresource.is_empty() {
            new["metadata"]["generation"] = (old["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == old {
            return answer(200, &old);
        }
        let finalizers = |o: &Value| o["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        let over = !new["metadata"]["deletionTimestamp"].is_null() && !finalizers(&new) && finalizers(&old);
        let kind = if over { EventKind::Deleted } else { EventKind::Modified };
        let new = self.store(key, new, kind);
        answer(200, &new)
    }

    fn delete(&mut self, path: &Path, options: &Value) -> http::Response<Bytes> {
        let key = State::key(path, &path.name);
        let Some(mut object) = self.objects.get(&key).cloned() else {
            return refuse(404, "NotFound", format!("{key} not found"));
        };
        let wanted = options["preconditions"]["uid"].as_str();
        if wanted.is_some_and(|w| Some(w) != object["metadata"]["uid"].as_str()) {
            return refuse(409, "Conflict", format!("{key} has another uid"));
        }
        let deleting = !object["metadata"]["deletionTimestamp"].is_null();
        let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        let scheduled =
            path.collection.ends_with("/pods") && object["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
        let graceful = scheduled && options["gracePeriodSeconds"].as_i64() != Some(0);
        if !graceful && !finalizers {
            let object = self.store(key, object, EventKind::Deleted);
            return answer(200, &object);
        }
        if !deleting {
            object["metadata"]["deletionTimestamp"] = api::time::format_seconds(self.revision as i64).into();
            object = self.store(key, object, EventKind::Modified);
        }
        answer(200, &object)
    }

    fn bind(&mut self, path: &Path, body: &Value) -> http::Response<Bytes> {
        let key = State::key(path, &path.name);
        let Some(mut object) = self.objects.get(&key).cloned() else {
            return refuse(404, "NotFound", format!("{key} not found"));
        };
        if object["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty()) {
            return refuse(409, "Conflict", format!("{key} is assigned already"));
        }
        object["spec"]["nodeName"] = body["target"]["name"].clone();
        self.store(key, object, EventKind::Modified);
        answer(201, &json!({"kind": "Status", "status": "Success"}))
    }

    fn call(&mut self, request: &http::Request<Bytes>) -> http::Response<Bytes> {
        let path = split(request.uri().path());
        let body: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        if request.method() != http::Method::GET {
            self.writes.push(format!("{} {}", request.method(), request.uri().path()));
        }
        match (request.method(), path.subresource.as_str()) {
            (&http::Method::GET, _) => match self.objects.get(&State::key(&path, &path.name)) {
                Some(object) => answer(200, object),
                None => refuse(404, "NotFound", format!("{} not found", request.uri())),
            },
            (&http::Method::POST, "") => self.create(&path, body),
            (&http::Method::POST, "binding") => self.bind(&path, &body),
            (&http::Method::POST, "eviction") => self.delete(&path, &Value::Null),
            (&http::Method::PUT | &http::Method::PATCH, _) => self.write(&path, request.method(), body),
            (&http::Method::DELETE, "") => self.delete(&path, &body),
            _ => refuse(405, "MethodNotAllowed", format!("{} {}", request.method(), request.uri())),
        }
    }

    fn selects(key: &str, object: &Value, resource: &Resource, namespace: Option<&str>, fields: Option<&str>) -> bool {
        let collection = resource.path(None, None, None);
        let mut parts = key.split('|');
        if parts.next() != Some(&collection) || namespace.is_some_and(|ns| parts.next() != Some(ns)) {
            return false;
        }
        fields.is_none_or(|fields| {
            fields.split(',').all(|field| {
                let (name, wanted) = field.split_once('=').unwrap_or((field, ""));
                let found = object
                    .pointer(&format!("/{}", name.trim_end_matches('!').replace('.', "/")))
                    .and_then(Value::as_str);
                (found.unwrap_or_default() == wanted) != name.ends_with('!')
            })
        })
    }
}

impl FakeApi {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes asked for since the last call (`POST /api/v1/namespaces/default/pods`).
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().writes)
    }

    /// All objects of a resource.
    pub fn objects(&self, resource: &Resource) -> Vec<Value> {
        let state = self.state();
        state
            .objects
            .iter()
            .filter(|(k, o)| State::selects(k, o, resource, None, None))
            .map(|(_, o)| o.clone())
            .collect()
    }

    /// Makes watches after older revisions fail with 410.
    pub fn compact(&self) {
        self.state().log.clear();
    }
}

impl Transport for FakeApi {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Error>> {
        Box::pin(async move {
            let response = self.state().call(&request);
            self.0.news.notify_waiters();
            Ok(response)
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>> {
        Box::pin(async move {
            let state = self.state();
            let (namespace, fields) = (request.namespace.as_deref(), request.fields.as_deref());
            let chosen =
                state.objects.iter().filter(|(k, o)| State::selects(k, o, &request.resource, namespace, fields));
            let items = chosen.map(|(_, o)| Bytes::from(o.to_string())).collect();
            Ok(ListPage { items, revision: state.revision, continue_token: None })
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            {
                let state = self.state();
                let oldest = state.log.first().map_or(state.revision + 1, |(revision, ..)| *revision);
                if request.after + 1 < oldest {
                    return Err(Error::from_status(410, Bytes::new()));
                }
            }
            let start = (self.clone(), request.clone(), request.after, VecDeque::new());
            let stream = futures_util::stream::unfold(start, |(api, request, mut after, mut ready)| async move {
                loop {
                    if let Some(event) = ready.pop_front() {
                        return Some((Ok(event), (api, request, after, ready)));
                    }
                    let news = api.0.news.notified();
                    tokio::pin!(news);
                    news.as_mut().enable();
                    {
                        let state = api.state();
                        for (revision, kind, key, object) in state.log.iter().filter(|(revision, ..)| *revision > after)
                        {
                            if State::selects(key, object, &request.resource, request.namespace.as_deref(), None) {
                                let leaves =
                                    !State::selects(key, object, &request.resource, None, request.fields.as_deref());
                                let kind = if leaves { EventKind::Deleted } else { *kind };
                                ready.push_back(WatchEvent {
                                    kind,
                                    object: object.to_string().into(),
                                    revision: *revision,
                                });
                            }
                        }
                        after = state.revision;
                    }
                    if ready.is_empty() {
                        news.await;
                    }
                }
            });
            let stream: WatchStream = Box::pin(stream);
            Ok(stream)
        })
    }
}
