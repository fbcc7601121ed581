//! Informers: a local copy of a selection of objects as views, kept up by list and watch.
//!
//! Invariants: views change in the order of revisions; a watch resumes where it stopped and lists again only when the server
//! says the revision is gone; after a relist every difference is told as a change. The copy's revision ([`Informer::revision`])
//! says up to where it is complete: the runner's read-your-writes stands on it.

use crate::client::{Client, decode};
use crate::error::Error;
use crate::resource::Resource;
use crate::transport::{EventKind, ListRequest, WatchRequest};
use crate::view::{ObjectKey, View};
use bytes::Bytes;
use futures_util::StreamExt;
use platform::limits::ClientLimits;
use platform::time::sleep;
use platform::watch;
use platform::{Env, Rng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A change of one object.
#[derive(Clone, Debug)]
pub struct Change<V> {
    /// Before; `None`: it was not there.
    pub old: Option<Arc<V>>,
    /// After; `None`: it is gone.
    pub new: Option<Arc<V>>,
}

impl<V: View> Change<V> {
    /// The newest view of the object.
    pub fn object(&self) -> &Arc<V> {
        match (&self.new, &self.old) {
            (Some(object), _) | (None, Some(object)) => object,
            (None, None) => unreachable!("a change has one side at least"),
        }
    }

    /// Its key.
    pub fn key(&self) -> ObjectKey {
        self.object().meta().key()
    }

    /// Both views there are: for routes by something that may have changed.
    pub fn both(&self) -> impl Iterator<Item = &Arc<V>> {
        self.old.iter().chain(&self.new)
    }
}

/// What to keep.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The resource.
    pub resource: Resource,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only these labels.
    pub labels: Option<String>,
    /// Only these fields.
    pub fields: Option<String>,
    /// Only metadata is read.
    pub metadata_only: bool,
}

impl Selection {
    /// Everything of a resource.
    pub fn all(resource: &Resource) -> Selection {
        Selection { resource: resource.clone(), ..Selection::default() }
    }

    /// Metadata of everything of a resource.
    pub fn metadata(resource: &Resource) -> Selection {
        Selection { metadata_only: true, ..Selection::all(resource) }
    }
}

type Handler<V> = Box<dyn Fn(&Change<V>) + Send + Sync>;
type IndexFn<V> = Box<dyn Fn(&V) -> Vec<String> + Send + Sync>;

/// A copy; cheap to clone.
pub struct Informer<V> {
    shared: Arc<Shared<V>>,
}

impl<V> Clone for Informer<V> {
    fn clone(&self) -> Informer<V> {
        Informer { shared: self.shared.clone() }
    }
}

struct Shared<V> {
    selection: Selection,
    inner: Mutex<Inner<V>>,
    /// (synced, revision)
    progress: watch::Sender<(bool, u64)>,
}

struct Inner<V> {
    objects: BTreeMap<ObjectKey, Arc<V>>,
    indices: BTreeMap<&'static str, Index<V>>,
    handlers: Vec<Arc<Handler<V>>>,
}

struct Index<V> {
    of: IndexFn<V>,
    keys: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl<V: View> Index<V> {
    fn change(&mut self, key: &ObjectKey, old: Option<&Arc<V>>, new: Option<&Arc<V>>) {
        for value in old.map(|o| (self.of)(o)).unwrap_or_default() {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
        for value in new.map(|n| (self.of)(n)).unwrap_or_default() {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }
}

impl<V: View> Shared<V> {
    fn inner(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores one side and tells everybody. What a list shows may be older than what is here: a server that lost its last,
    /// cheap writes in a power cut says so by 410, and the list is the truth.
    fn set(&self, key: ObjectKey, new: Option<Arc<V>>) {
        let (change, handlers) = {
            let mut inner = self.inner();
            let old = match &new {
                Some(new) => inner.objects.insert(key.clone(), new.clone()),
                None => inner.objects.remove(&key),
            };
            if old.is_none() && new.is_none() {
                return;
            }
            for index in inner.indices.values_mut() {
                index.change(&key, old.as_ref(), new.as_ref());
            }
            (Change { old, new }, inner.handlers.clone())
        };
        for handler in handlers {
            handler(&change);
        }
    }

    fn passed(&self, revision: u64, synced: bool) {
        self.progress.send_modify(|(was_synced, at)| {
            *was_synced |= synced;
            *at = (*at).max(revision);
        });
    }
}

impl<V: View> Informer<V> {
    /// An informer that is not running: add indices and handlers, then [`Informer::run`] it.
    pub fn new(selection: Selection) -> Informer<V> {
        let inner = Inner { objects: BTreeMap::new(), indices: BTreeMap::new(), handlers: Vec::new() };
        Informer {
            shared: Arc::new(Shared { selection, inner: Mutex::new(inner), progress: watch::Sender::new((false, 0)) }),
        }
    }

    /// A running informer of everything in `selection`.
    pub fn start(env: &Env, client: &Client, selection: Selection) -> Informer<V> {
        let informer = Informer::new(selection);
        informer.run(env, client);
        informer
    }

    /// Starts keeping it up, as a task of `env`.
    pub fn run(&self, env: &Env, client: &Client) {
        let task = Task {
            shared: self.shared.clone(),
            client: client.clone(),
            rng: env.rng(&self.shared.selection.resource.plural),
            limits: env.limits().client,
        };
        drop(env.spawn("informer", task.run())); // detached: it ends with the process
    }

    /// Which resource it is of.
    pub fn resource(&self) -> &Resource {
        &self.shared.selection.resource
    }

    /// Adds an index: for each object the values under which [`Informer::by_index`] finds it.
    pub fn index(&self, name: &'static str, of: impl Fn(&V) -> Vec<String> + Send + Sync + 'static) {
        let mut inner = self.shared.inner();
        let mut index = Index { of: Box::new(of), keys: BTreeMap::new() };
        for (key, object) in &inner.objects {
            index.change(key, None, Some(object));
        }
        inner.indices.insert(name, index);
    }

    /// Calls `handler` for every change from now on, and at once for what is there. It must be quick and not block.
    pub fn on_change(&self, handler: impl Fn(&Change<V>) + Send + Sync + 'static) {
        let handler: Arc<Handler<V>> = Arc::new(Box::new(handler));
        let there: Vec<_> = {
            let mut inner = self.shared.inner();
            inner.handlers.push(handler.clone());
            inner.objects.values().cloned().collect()
        };
        for object in there {
            handler(&Change { old: None, new: Some(object) });
        }
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        self.get_key(&ObjectKey::new(namespace, name))
    }

    /// One object.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<V>> {
        self.shared.inner().objects.get(key).cloned()
    }

    /// All objects in order of their keys.
    pub fn all(&self) -> Vec<Arc<V>> {
        self.shared.inner().objects.values().cloned().collect()
    }

    /// All objects of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<V>> {
        let inner = self.shared.inner();
        let from = ObjectKey::new(namespace, "");
        inner
            .objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Objects that an index lists under `value`.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<V>> {
        let inner = self.shared.inner();
        let keys = inner.indices.get(name).and_then(|index| index.keys.get(value));
        keys.into_iter().flatten().filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.shared.inner().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list is in.
    pub fn is_synced(&self) -> bool {
        self.shared.progress.borrow().0
    }

    /// Up to which revision the copy is complete.
    pub fn revision(&self) -> u64 {
        self.shared.progress.borrow().1
    }

    /// Waits until the first list is in.
    pub async fn synced(&self) {
        self.wait(|(synced, _)| *synced).await;
    }

    /// Waits until the copy has seen `revision`.
    pub async fn reached(&self, revision: u64) {
        self.wait(|(_, at)| *at >= revision).await;
    }

    /// Waits until the copy satisfies `condition`, which is looked at after every change.
    pub async fn until(&self, condition: impl Fn(&Informer<V>) -> bool) {
        let mut progress = self.shared.progress.subscribe();
        while !condition(self) {
            if progress.changed().await.is_err() {
                return; // cannot be: this handle owns the sender
            }
        }
    }

    async fn wait(&self, condition: impl FnMut(&(bool, u64)) -> bool) {
        let mut progress = self.shared.progress.subscribe();
        let _ = progress.wait_for(condition).await; // cannot fail: this handle owns the sender
    }
}

/// What ended a watch.
enum Ended {
    /// The stream broke: resume.
    Broken(Error),
    /// The revision is gone: list again.
    Gone,
}

struct Task<V> {
    shared: Arc<Shared<V>>,
    client: Client,
    rng: Rng,
    limits: ClientLimits,
}

impl<V: View> Task<V> {
    async fn run(mut self) {
        let mut after = None;
        let mut failures = 0_u32;
        loop {
            let result = match after {
                None => self.list().await.map(|revision| after = Some(revision)),
                Some(from) => match self.watch(from).await {
                    (seen, Ended::Gone) => {
                        tracing::debug!(resource = %self.shared.selection.resource.plural, seen, "the revision is gone; listing again");
                        after = None;
                        Ok(())
                    }
                    (seen, Ended::Broken(error)) => {
                        failures = if seen > from { 0 } else { failures };
                        after = Some(seen);
                        Err(error)
                    }
                },
            };
            match result {
                Ok(()) => failures = 0,
                Err(error) => {
                    let resource = &self.shared.selection.resource.plural;
                    // Once may be a server that starts; again and again is something to know.
                    match failures {
                        2 => tracing::warn!(%resource, %error, "cannot be followed; trying on"),
                        _ => tracing::debug!(%resource, %error, "the watch ended"),
                    }
                    let pause = self
                        .limits
                        .backoff_first
                        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
                        .min(self.limits.backoff_most);
                    failures += 1;
                    sleep(pause + pause.mul_f64(self.rng.below(50) as f64 / 100.0)).await;
                }
            }
        }
    }

    /// Lists everything and tells the differences.
    async fn list(&mut self) -> Result<u64, Error> {
        let Selection { resource, namespace, labels, fields, metadata_only } = self.shared.selection.clone();
        let mut request = ListRequest {
            resource,
            namespace,
            labels,
            fields,
            metadata_only,
            limit: self.limits.page,
            ..ListRequest::default()
        };
        let mut found: BTreeMap<ObjectKey, Arc<V>> = BTreeMap::new();
        let revision = loop {
            let page = self.client.list(request.clone()).await?;
            for item in &page.items {
                let object = self.view(item)?;
                found.insert(object.meta().key(), Arc::new(object));
            }
            match page.continue_token {
                Some(token) => request.continue_token = Some(token),
                None => break page.revision,
            }
        };
        let gone: Vec<ObjectKey> =
            self.shared.inner().objects.keys().filter(|key| !found.contains_key(*key)).cloned().collect();
        for key in gone {
            self.shared.set(key, None);
        }
        for (key, object) in found {
            let same = self.shared.inner().objects.get(&key).is_some_and(|old| same_version(&**old, &*object));
            if !same {
                self.shared.set(key, Some(object));
            }
        }
        self.shared.passed(revision, true);
        Ok(revision)
    }

    fn view(&self, bytes: &Bytes) -> Result<V, Error> {
        decode(bytes).map_err(|e| Error::Decode(format!("{}: {e}", self.shared.selection.resource.plural)))
    }

    /// Watches from `after`; answers how far it came and why it ended.
    async fn watch(&mut self, after: u64) -> (u64, Ended) {
        let Selection { resource, namespace, labels, fields, metadata_only } = self.shared.selection.clone();
        let request = WatchRequest { resource, namespace, labels, fields, metadata_only, after, bookmarks: true };
        let mut stream = match self.client.watch(request).await {
            Ok(stream) => stream,
            Err(error) if error.is_expired() => return (after, Ended::Gone),
            Err(error) => return (after, Ended::Broken(error)),
        };
        let mut seen = after;
        loop {
            let event = match stream.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) if error.is_expired() => return (seen, Ended::Gone),
                Some(Err(error)) => return (seen, Ended::Broken(error)),
                None => return (seen, Ended::Broken(Error::Transport("the server ended the watch".into()))),
            };
            if event.kind != EventKind::Bookmark && event.revision > 0 && event.revision <= seen {
                continue; // told before
            }
            match event.kind {
                EventKind::Error => {
                    let error = Error::from_status(500, event.object);
                    return (seen, if error.is_expired() { Ended::Gone } else { Ended::Broken(error) });
                }
                EventKind::Bookmark => {}
                kind => match self.view(&event.object) {
                    Ok(object) => {
                        let key = object.meta().key();
                        self.shared.set(key, (kind != EventKind::Deleted).then(|| Arc::new(object)));
                    }
                    Err(error) => tracing::error!(%error, "an object was skipped"),
                },
            }
            seen = seen.max(event.revision);
            self.shared.passed(seen, false);
        }
    }
}

fn same_version<V: View>(a: &V, b: &V) -> bool {
    a.meta().uid == b.meta().uid && a.meta().resource_version == b.meta().resource_version
}
