//! How requests reach an API server: the trait, and what crosses it.
//!
//! Two implementations: HTTPS ([`crate::Https`]) and in process (in the server). Both pass authentication, authorization,
//! audit and admission; the in-process one shares the server's bytes.

use crate::error::Error;
use crate::resource::Resource;
use bytes::Bytes;
use futures_core::Stream;
use std::future::Future;
use std::pin::Pin;

/// The answer of an object-safe asynchronous method.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Events until the server or the caller ends the watch.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Error>> + Send>>;

/// Which objects to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Of which resource.
    pub resource: Resource,
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only these labels (`app=a,tier in (b)`).
    pub labels: Option<String>,
    /// Only these fields (`spec.nodeName=n1`).
    pub fields: Option<String>,
    /// At most so many; 0: all.
    pub limit: usize,
    /// Continue an earlier page.
    pub continue_token: Option<String>,
    /// Not older than this (`0`: whatever is there).
    pub revision: Option<u64>,
    /// Only metadata is wanted; the answer may hold more.
    pub metadata_only: bool,
}

/// Objects listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// One JSON text each; kind and apiVersion may be missing.
    pub items: Vec<Bytes>,
    /// The revision of the state that was listed.
    pub revision: u64,
    /// There is more.
    pub continue_token: Option<String>,
}

/// Which changes to watch: the same selection as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    /// Of which resource.
    pub resource: Resource,
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only these labels.
    pub labels: Option<String>,
    /// Only these fields.
    pub fields: Option<String>,
    /// Changes after this revision.
    pub after: u64,
    /// Ask for bookmarks.
    pub bookmarks: bool,
    /// Only metadata is wanted; the events may hold more.
    pub metadata_only: bool,
}

/// Kinds of watch events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The object appeared in the selection.
    Added,
    /// It changed.
    Modified,
    /// It left the selection.
    Deleted,
    /// Everything up to the revision was delivered.
    Bookmark,
    /// The watch failed; the object is a `Status`.
    Error,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object as JSON.
    pub object: Bytes,
    /// Its revision (0 for errors).
    pub revision: u64,
}

/// The way to a server, with an identity.
pub trait Transport: Send + Sync + 'static {
    /// Any request; the path is relative to the server's root. Answers of every status are `Ok`.
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Error>>;
    /// Objects.
    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>>;
    /// Changes.
    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>>;
}

/// Appends `text` to `out` so that it can stand in a query or a path segment.
pub fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
}

/// `path?name=value&…` of the given parameters.
pub fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let mut out = path.to_string();
    for (i, (name, value)) in query.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        percent_encode(&mut out, value);
    }
    out
}

impl ListRequest {
    /// Everything of a resource.
    pub fn all(resource: Resource) -> ListRequest {
        ListRequest { resource, ..ListRequest::default() }
    }

    /// The request's path and query.
    pub fn uri(&self) -> String {
        let mut query = selection(self.labels.as_deref(), self.fields.as_deref());
        if self.limit > 0 {
            query.push(("limit", self.limit.to_string()));
        }
        query.extend(self.continue_token.clone().map(|token| ("continue", token)));
        query.extend(self.revision.map(|revision| ("resourceVersion", revision.to_string())));
        with_query(&self.resource.path(self.namespace.as_deref(), None, None), &query)
    }
}

impl WatchRequest {
    /// The request's path and query.
    pub fn uri(&self) -> String {
        let mut query = vec![("watch", "true".to_string()), ("resourceVersion", self.after.to_string())];
        if self.bookmarks {
            query.push(("allowWatchBookmarks", "true".into()));
        }
        query.extend(selection(self.labels.as_deref(), self.fields.as_deref()));
        with_query(&self.resource.path(self.namespace.as_deref(), None, None), &query)
    }
}

fn selection(labels: Option<&str>, fields: Option<&str>) -> Vec<(&'static str, String)> {
    let labels = labels.map(|l| ("labelSelector", l.to_string()));
    let fields = fields.map(|f| ("fieldSelector", f.to_string()));
    labels.into_iter().chain(fields).collect()
}
