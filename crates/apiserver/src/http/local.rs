//! The in-process door: the same authorization and admission as over the wire, sharing the caches' bytes.
//!
//! A subscription is (identity, resource, scope, selector). It is authorized when it is opened, and again whenever roles or
//! bindings change: who may no longer watch is told so and gets nothing more.

use super::Server;
use crate::core::rbac::{Attributes, User};
use crate::registry::encode;
use crate::registry::read::ListOptions;
use crate::registry::watch::{Next, Watching};
use api::{Status, selector};
use bytes::Bytes;
use cache::EventKind as Kind;
use client::{BoxFuture, Error, EventKind, ListPage, ListRequest, Transport, WatchEvent, WatchRequest, WatchStream};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kinds::Resource;
use platform::watch as signal;
use std::sync::Arc;

/// A component's way to the server in its own process.
#[derive(Clone)]
pub struct Local {
    server: Arc<Server>,
    user: Arc<User>,
}

impl Local {
    /// The way in for `user`.
    pub fn new(server: Arc<Server>, user: User) -> Local {
        Local { server, user: Arc::new(user) }
    }

    fn resource(&self, r: &client::Resource) -> Result<&'static Resource, Status> {
        kinds::by_path(&r.group, &r.version, &r.plural).ok_or_else(|| Status::not_found(&r.group, &r.plural, ""))
    }

    fn may(&self, verb: &str, r: &Resource, namespace: &str, fields: &selector::FieldSelector) -> Result<(), Status> {
        let name = fields.required("metadata.name").unwrap_or_default();
        let a = Attributes {
            verb,
            namespace,
            group: &r.group,
            resource: &r.plural,
            subresource: "",
            name,
            path: "",
            is_resource: true,
        };
        self.server.registry.authorize(&self.user, &a).map(drop).map_err(|why| super::refused(&self.user, &a, &why))
    }

    fn options(labels: Option<&str>, fields: Option<&str>) -> Result<ListOptions, Status> {
        Ok(ListOptions {
            labels: selector::LabelSelector::parse(labels.unwrap_or_default()).map_err(Status::bad_request)?,
            fields: selector::FieldSelector::parse(fields.unwrap_or_default()).map_err(Status::bad_request)?,
            ..ListOptions::default()
        })
    }

    async fn list_here(&self, request: ListRequest) -> Result<ListPage, Status> {
        let r = self.resource(&request.resource)?;
        let namespace = request.namespace.clone().unwrap_or_default();
        let mut o = Local::options(request.labels.as_deref(), request.fields.as_deref())?;
        self.may("list", r, &namespace, &o.fields)?;
        o.limit = request.limit;
        o.continue_token = request.continue_token.clone().unwrap_or_default();
        o.resource_version = request.revision.map(|r| r.to_string()).unwrap_or_default();
        let page = self.server.registry.page(r, &namespace, &o).await?;
        let token = page.metadata().at(api::f::continue_).as_str().map(String::from);
        Ok(ListPage {
            items: page.objects.iter().map(|o| encode::served(&o.text(), r)).collect(),
            revision: page.revision,
            continue_token: token,
        })
    }

    async fn watch_here(&self, request: WatchRequest) -> Result<WatchStream, Status> {
        let r = self.resource(&request.resource)?;
        let namespace = request.namespace.clone().unwrap_or_default();
        let mut o = Local::options(request.labels.as_deref(), request.fields.as_deref())?;
        let policy = self.server.registry.policy_changes(); // before the first question, so that no change is missed
        self.may("watch", r, &namespace, &o.fields)?;
        o.bookmarks = request.bookmarks;
        o.resource_version = request.after.to_string();
        let fields = o.fields.clone();
        let watching = self.server.registry.watch(r, &namespace, o).await?;
        let open = Open { door: self.clone(), watching, policy, r, namespace, fields };
        let stream = futures_util::stream::unfold(Some(open), |state| async move {
            let mut open = state?;
            let event = event(open.next().await, open.r)?;
            let next = (event.kind != EventKind::Error).then_some(open);
            Some((Ok(event), next))
        });
        Ok(Box::pin(stream))
    }
}

/// A local subscription.
struct Open {
    door: Local,
    watching: Watching,
    policy: signal::Receiver<u64>,
    r: &'static Resource,
    namespace: String,
    fields: selector::FieldSelector,
}

impl Open {
    async fn next(&mut self) -> Next {
        loop {
            tokio::select! {
                biased;
                changed = self.policy.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    if let Err(refused) = self.door.may("watch", self.r, &self.namespace, &self.fields) {
                        return Next::Error(Box::new(refused));
                    }
                }
                next = self.watching.next() => return next,
            }
        }
    }
}

fn event(next: Next, r: &'static Resource) -> Option<WatchEvent> {
    Some(match next {
        Next::Event(seen) => WatchEvent {
            kind: match seen.kind {
                Kind::Added => EventKind::Added,
                Kind::Modified => EventKind::Modified,
                Kind::Deleted => EventKind::Deleted,
            },
            revision: seen.object.revision,
            object: encode::served(&seen.object.text(), r),
        },
        Next::Bookmark(revision, _) => WatchEvent { kind: EventKind::Bookmark, object: Bytes::new(), revision },
        Next::Error(s) => WatchEvent { kind: EventKind::Error, object: Bytes::from(s.to_json()), revision: 0 },
        Next::End => return None,
    })
}

fn failed(s: &Status) -> Error {
    Error::from_status(s.code, Bytes::from(s.to_json()))
}

impl Transport for Local {
    fn call(&self, mut request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Error>> {
        Box::pin(async move {
            request.headers_mut().remove("authorization");
            let response = self.server.handle(request, Some(&self.user)).await;
            let (parts, body) = response.into_parts();
            let bytes = match body.collect().await {
                Ok(b) => b.to_bytes(),
                Err(never) => match never {},
            };
            Ok(Response::from_parts(parts, bytes))
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>> {
        Box::pin(async move { self.list_here(request).await.map_err(|s| failed(&s)) })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move { self.watch_here(request).await.map_err(|s| failed(&s)) })
    }
}
