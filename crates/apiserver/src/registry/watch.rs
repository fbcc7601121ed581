//! WATCH: initial events, changes as the selectors see them, bookmarks, the end.

use super::access::interest;
use super::encode::{self, Include};
use super::read::{FRAME, ListOptions, form_id, include_of};
use super::{Registry, stored_of};
use crate::core::negotiate::{Form, Media, View};
use api::{Status, Value, f, json};
use bytes::Bytes;
use cache::{Event, EventKind, Object, Subscription};
use kinds::Resource;
use platform::time::{Instant, sleep_until};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::Revision;

/// One event as a client sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// ADDED, MODIFIED, DELETED.
    pub kind: EventKind,
    /// The object sent.
    pub object: Arc<Object>,
    /// The shared event whose frames can be used, if the event is sent as it is.
    shared: Option<Arc<Event>>,
}

/// An open watch.
pub struct Watching {
    registry: Arc<Registry>,
    r: &'static Resource,
    namespace: String,
    options: ListOptions,
    subscription: Subscription,
    initial: VecDeque<Arc<Object>>,
    /// Set while the end of the initial events is still to be announced.
    announce: Option<u64>,
    deadline: Option<Instant>,
    next_bookmark: Instant,
    position: u64,
}

/// What a watch says next.
pub enum Next {
    /// An event.
    Event(Seen),
    /// Everything up to this revision was sent; whether it ends the initial events.
    Bookmark(u64, bool),
    /// The watch failed: its last event.
    Error(Box<Status>),
    /// It is over.
    End,
}

impl Registry {
    /// Opens a watch.
    pub async fn watch(
        self: &Arc<Self>,
        r: &'static Resource,
        namespace: &str,
        o: ListOptions,
    ) -> Result<Watching, Status> {
        let cache = self.cache(r).ok_or_else(|| Status::method_not_supported(&r.group, &r.plural, "watch"))?;
        let version = o.resource_version.clone();
        let from: u64 = match version.as_str() {
            "" | "0" => 0,
            v => v.parse().map_err(|_| {
                Status::unclassified(format!(
                    "invalid resource version {v:?}: strconv.ParseUint: parsing {v:?}: invalid syntax"
                ))
            })?,
        };
        if version.is_empty() || (o.initial_events == Some(true) && version != "0") {
            self.catch_up().await;
        }
        if from > 0 {
            let wait = platform::time::timeout(self.env.limits().server.patience, self.wait_for(from)).await;
            if wait.is_err() && o.initial_events == Some(true) {
                return Err(Status::failure(
                    504,
                    "Timeout",
                    format!("Too large resource version: {from}, current: {}", self.revision()),
                ));
            }
        }
        let name = o.fields.required("metadata.name");
        let node = o
            .fields
            .required("spec.nodeName")
            .filter(|_| r.selectable.iter().any(|s| s == "spec.nodeName") && !name.is_some());
        let namespaced_name = name.filter(|_| !r.namespaced || !namespace.is_empty());
        let interest = interest(namespace, namespaced_name, node);
        let wants_initial = match o.initial_events {
            Some(wish) => wish,
            None => from == 0,
        };
        let (initial, start, subscription) = if wants_initial {
            let prefix = r.key_prefix(namespace);
            let (list, revision, subscription) = cache.list_and_subscribe(&prefix, self.revision(), interest);
            (list.into_iter().filter(|x| o.selects(x, stored_of(r))).collect(), revision, subscription)
        } else {
            let after = if from == 0 { self.revision() } else { from };
            if let Some(next) = self.store.lost(Revision(after)) {
                return Err(super::read::gone(&format!("too old resource version: {after} ({next})")));
            }
            let subscription = cache
                .subscribe(after, interest)
                .map_err(|b| super::read::gone(&format!("too old resource version: {after} ({})", b.oldest)))?;
            (VecDeque::new(), after, subscription)
        };
        let now = Instant::now();
        let announce = (o.initial_events == Some(true) && o.bookmarks).then_some(start);
        let deadline = o.timeout.map(|s| now + Duration::from_secs(s.max(0) as u64));
        Ok(Watching {
            registry: self.clone(),
            r,
            namespace: namespace.into(),
            options: o,
            subscription,
            initial,
            announce,
            deadline,
            next_bookmark: now + self.env.limits().server.bookmark_every,
            position: start,
        })
    }
}

impl Watching {
    /// The next thing to say. Safe to cancel.
    pub async fn next(&mut self) -> Next {
        if let Some(object) = self.initial.pop_front() {
            return Next::Event(Seen { kind: EventKind::Added, object, shared: None });
        }
        if let Some(revision) = self.announce.take() {
            return Next::Bookmark(revision, true);
        }
        loop {
            let deadline = self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let bookmarks = self.options.bookmarks;
            tokio::select! {
                biased;
                event = self.subscription.next() => match event {
                    Ok(event) => {
                        self.position = event.revision;
                        if let Some(seen) = self.see(&event) {
                            return Next::Event(seen);
                        }
                    }
                    Err(behind) => return Next::Error(Box::new(super::read::gone(&format!("too old resource version: {} ({})", self.position, behind.oldest)))),
                },
                () = sleep_until(deadline), if self.deadline.is_some() => return Next::End,
                () = sleep_until(self.next_bookmark), if bookmarks => {
                    self.next_bookmark = Instant::now() + self.registry.env.limits().server.bookmark_every;
                    // Everything the caches have seen was offered to this watch: nothing is pending here.
                    let revision = self.registry.revision();
                    if let Ok(Some(event)) = self.subscription.try_next() {
                        self.position = event.revision;
                        if let Some(seen) = self.see(&event) {
                            return Next::Event(seen);
                        }
                        continue;
                    }
                    return Next::Bookmark(revision.max(self.position), false);
                }
            }
        }
    }

    /// The event through the selectors: an object that stops matching is deleted for this watcher.
    fn see(&self, event: &Arc<Event>) -> Option<Seen> {
        if self.r.namespaced && !self.namespace.is_empty() && *event.object.index.namespace != *self.namespace {
            return None;
        }
        let stored = stored_of(self.r);
        if self.options.selects_all() {
            return Some(Seen { kind: event.kind, object: event.object.clone(), shared: Some(event.clone()) });
        }
        let now = event.kind != EventKind::Deleted && self.options.selects(&event.object, stored);
        let before = event.prev.as_ref().is_some_and(|p| self.options.selects(p, stored));
        match (before, now) {
            (false, true) => Some(Seen {
                kind: EventKind::Added,
                object: event.object.clone(),
                shared: (event.kind == EventKind::Added).then(|| event.clone()),
            }),
            (true, true) => {
                Some(Seen { kind: EventKind::Modified, object: event.object.clone(), shared: Some(event.clone()) })
            }
            (true, false) if event.kind == EventKind::Deleted => {
                Some(Seen { kind: EventKind::Deleted, object: event.object.clone(), shared: Some(event.clone()) })
            }
            (true, false) => event.prev.as_ref().map(|p| Seen {
                kind: EventKind::Deleted,
                object: Arc::new(p.at_revision(event.revision)),
                shared: None,
            }),
            (false, false) => None,
        }
    }

    /// An event as a frame: made once for all watchers of one form, kept under the budget of forms.
    pub fn frame(&self, seen: &Seen, form: Form, first: bool) -> Bytes {
        let include = include_of(&self.options);
        let make = || self.make_frame(seen, form, include, first);
        if form.view == View::Table {
            return make(); // it says how old things are
        }
        let (kept, id) = (&self.registry.forms, form_id(self.r, form));
        match seen.shared.as_ref().filter(|e| e.kind == seen.kind) {
            Some(event) => kept.get(&event.frames, id, make),
            // The initial events of all watchers: frames of the object as it is.
            None if seen.kind == EventKind::Added && form.media == Media::Protobuf => {
                kept.get(&seen.object.forms, id | FRAME, make)
            }
            None => make(),
        }
    }

    fn make_frame(&self, seen: &Seen, form: Form, include: Include, first: bool) -> Bytes {
        let kind = match seen.kind {
            EventKind::Added => "ADDED",
            EventKind::Modified => "MODIFIED",
            EventKind::Deleted => "DELETED",
        };
        let compact = Form { pretty: false, ..form };
        if form.view == View::Table {
            let bytes = encode::served(&seen.object.text(), self.r);
            let v = encode::tree(&bytes);
            let mut meta = Value::object();
            meta.set(f::resourceVersion, v.at(f::metadata).at(f::resourceVersion).clone());
            let row = encode::row(self.r, &v, &bytes, self.registry.env.wall().unix_seconds(), include);
            let table = encode::table(self.r, meta, vec![row], first);
            return event_frame(kind, &encode::value_form(&table, compact), form.media);
        }
        let object = encode::object_form(&seen.object.text(), self.r, compact, 0, include);
        event_frame(kind, &object, form.media)
    }

    /// A bookmark as a frame.
    pub fn bookmark(&self, revision: u64, end_of_initial: bool, form: Form) -> Bytes {
        let mut meta = Value::object();
        meta.set(f::resourceVersion, revision.to_string());
        if end_of_initial {
            meta.entry(f::annotations).set("k8s.io/initial-events-end", "true");
        }
        let mut v = Value::object();
        v.set(f::metadata, meta);
        api::canon::canonicalize(&mut v, self.r.ty);
        let text = Bytes::from(json::to_string(&v));
        let view = if form.view == View::Table { View::Full } else { form.view };
        let compact = Form { pretty: false, view, ..form };
        let object = encode::object_form(&text, self.r, compact, 0, Include::None);
        if form.view == View::Table {
            let table = encode::table(
                self.r,
                v.at(f::metadata).clone(),
                vec![encode::row(self.r, &v, &text, 0, include_of(&self.options))],
                true,
            );
            return event_frame("BOOKMARK", &encode::value_form(&table, compact), form.media);
        }
        event_frame("BOOKMARK", &object, form.media)
    }
}

/// The last event of a watch that failed.
pub fn error_frame(status: &Status, form: Form) -> Bytes {
    let text = encode::value_form(&status.to_value(), Form { pretty: false, view: View::Full, ..form });
    event_frame("ERROR", &text, form.media)
}

/// Wraps an object into a watch event of a media type.
fn event_frame(kind: &str, object: &Bytes, media: Media) -> Bytes {
    match media {
        Media::Json => {
            let mut out = Vec::with_capacity(object.len() + 32);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(object);
            out.extend_from_slice(b"}\n");
            Bytes::from(out)
        }
        Media::Yaml => {
            let v = json::parse(object)
                .unwrap_or_else(|_| api::yaml::parse(&String::from_utf8_lossy(object)).unwrap_or_default());
            let event = api::value::object([("object", v), ("type", kind.into())]);
            Bytes::from(format!("---\n{}", api::yaml::to_string(&event)))
        }
        Media::Protobuf => {
            // meta.v1.WatchEvent {1: type, 2: RawExtension {1: bytes}} behind its length, without an envelope of its own
            // (upstream's raw serializer for streams); the object in it has one.
            let mut raw = Vec::new();
            api::proto::put_bytes(&mut raw, 1, object);
            let mut event = Vec::new();
            api::proto::put_bytes(&mut event, 1, kind.as_bytes());
            api::proto::put_bytes(&mut event, 2, &raw);
            let mut out = (event.len() as u32).to_be_bytes().to_vec();
            out.extend_from_slice(&event);
            Bytes::from(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What client-go's raw decoder reads: four bytes of length, then a bare `WatchEvent`, in it an enveloped object.
    #[test]
    fn protobuf_frames_are_bare_watch_events() {
        let object = Bytes::from(api::proto::envelope("v1", "Pod", b"\x0a\x00"));
        let frame = event_frame("ADDED", &object, Media::Protobuf);
        let (length, event) = frame.split_at(4);
        assert_eq!(u32::from_be_bytes(length.try_into().expect("four bytes")) as usize, event.len());
        assert_eq!(&event[..7], b"\x0a\x05ADDED");
        let raw = &event[7..];
        assert_eq!((raw[0], raw[1] as usize, raw[2], raw[3] as usize), (0x12, object.len() + 2, 0x0a, object.len()));
        assert_eq!(&raw[4..], &object[..]);
    }
}
