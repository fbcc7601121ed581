//! Objects as bytes with a small index, their recent history, and subscriptions to it.
//!
//! One [`Cache`] belongs to one stored resource. It does not know who feeds or reads it, nor what the bytes mean beyond
//! what the feeder extracted into [`Index`].
//!
//! Invariants: objects are final and shared, never copied; events are in the order of their revisions; a subscriber sees
//! every event above its revision once or is told that it fell behind; feeding never waits for a subscriber.
//! Subscribers that look at one node, namespace or name are woken by index, others by every event.

mod forms;
mod history;
mod subscribe;

pub use forms::{Forms, Slot};
pub use history::{Event, EventKind};
pub use platform::limits::CacheLimits as Limits;
pub use subscribe::{Interest, Subscription};

use bytes::Bytes;
use history::History;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};
use subscribe::Wakers;

/// What a reader needs to know of an object without parsing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Its namespace, empty for cluster-wide objects.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// Its labels.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// Its selectable fields, in the order of the resource's list.
    pub fields: Vec<Box<str>>,
    /// Uids of its owners.
    pub owners: Vec<Box<str>>,
}

impl Index {
    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

/// One object.
#[derive(Debug)]
pub struct Object {
    /// Its key in the store.
    pub key: Arc<str>,
    /// Its text, revision included. Private, because one day it may be packed: [`Object::text`] is how it is read.
    bytes: Bytes,
    /// Where the revision's digits stand in the text.
    pub rv_at: Option<u32>,
    /// Its last change.
    pub revision: u64,
    /// What was extracted.
    pub index: Index,
    /// Its other forms.
    pub forms: Slot,
}

impl Object {
    /// An object without other forms yet.
    pub fn new(key: Arc<str>, bytes: Bytes, rv_at: Option<u32>, revision: u64, index: Index) -> Object {
        Object { key, bytes, rv_at, revision, index, forms: Slot::default() }
    }

    /// Its text, revision included, as one piece of memory.
    pub fn text(&self) -> Bytes {
        self.bytes.clone()
    }

    /// What it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The same object as of another revision.
    pub fn at_revision(&self, revision: u64) -> Object {
        let bytes = match self.rv_at {
            Some(at) => {
                let at = at as usize;
                let digits = self.bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                let mut out = Vec::with_capacity(self.bytes.len() + 2);
                out.extend_from_slice(&self.bytes[..at]);
                out.extend_from_slice(revision.to_string().as_bytes());
                out.extend_from_slice(&self.bytes[at + digits..]);
                Bytes::from(out)
            }
            None => self.bytes.clone(),
        };
        Object::new(self.key.clone(), bytes, self.rv_at, revision, self.index.clone())
    }
}

/// A change to be fed.
pub struct Change {
    /// The object after the change; for a deletion the last object with the deletion's revision.
    pub object: Arc<Object>,
    /// Whether it is gone.
    pub deleted: bool,
}

/// One resource's objects and recent history.
pub struct Cache {
    state: RwLock<State>,
    wakers: Wakers,
}

struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    history: History,
    bytes: usize,
}

/// A subscriber fell behind the history: it must list again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The oldest revision that can be resumed after.
    pub oldest: u64,
}

impl Cache {
    /// A cache of the state at `revision`. `indexed` is the position, among [`Index::fields`], of the field by which
    /// subscribers are found (a pod's node).
    pub fn new(objects: Vec<Arc<Object>>, revision: u64, indexed: Option<usize>, limits: Limits) -> Cache {
        let bytes = objects.iter().map(|o| o.size()).sum();
        let objects = objects.into_iter().map(|o| (o.key.clone(), o)).collect();
        Cache {
            state: RwLock::new(State { objects, history: History::new(revision, limits), bytes }),
            wakers: Wakers::new(indexed, limits.unread),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change and wakes whom it concerns.
    pub fn apply(&self, change: Change) {
        let event = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let Change { object, deleted } = change;
            let prev = if deleted {
                state.objects.remove(&object.key)
            } else {
                state.objects.insert(object.key.clone(), object.clone())
            };
            state.bytes = state.bytes + if deleted { 0 } else { object.size() } - prev.as_ref().map_or(0, |p| p.size());
            let kind = match (&prev, deleted) {
                (_, true) => EventKind::Deleted,
                (None, false) => EventKind::Added,
                (Some(_), false) => EventKind::Modified,
            };
            state.history.push(kind, object, prev)
        };
        self.wakers.wake(&event);
    }

    /// An object.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.read().objects.get(key).cloned()
    }

    /// The objects whose keys start with `prefix`, from `start` on (exclusive), in order of keys, until `take` answers false.
    pub fn scan(&self, prefix: &str, start: Option<&str>, mut take: impl FnMut(&Arc<Object>) -> bool) {
        let state = self.read();
        let lower = match start {
            Some(s) => Bound::Excluded(s),
            None => Bound::Included(prefix),
        };
        for (key, object) in state.objects.range::<str, _>((lower, Bound::Unbounded)) {
            if !key.starts_with(prefix) || !take(object) {
                break;
            }
        }
    }

    /// All objects under a prefix.
    pub fn list(&self, prefix: &str) -> Vec<Arc<Object>> {
        let mut out = Vec::new();
        self.scan(prefix, None, |o| {
            out.push(o.clone());
            true
        });
        out
    }

    /// Number of objects and of bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        let state = self.read();
        (state.objects.len(), state.bytes)
    }

    /// Subscribes to every event above `after` that `interest` may match.
    pub fn subscribe(self: &Arc<Cache>, after: u64, interest: Interest) -> Result<Subscription, Behind> {
        self.wakers.subscribe(self, after, interest, |cache| {
            let oldest = cache.read().history.oldest();
            if after < oldest { Err(Behind { oldest }) } else { Ok(()) }
        })
    }

    /// The objects under a prefix together with a subscription to everything after them.
    pub fn list_and_subscribe(
        self: &Arc<Cache>,
        prefix: &str,
        at_least: u64,
        interest: Interest,
    ) -> (Vec<Arc<Object>>, u64, Subscription) {
        // Subscribed first, then listed: the revision of the list is where the subscription starts to count.
        let state = self.read();
        let revision = state.history.newest().max(at_least);
        let objects = state
            .objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(k, _)| k.starts_with(prefix))
            .map(|(_, o)| o.clone())
            .collect();
        let subscription = self.wakers.add(self, state.history.newest(), interest);
        (objects, revision, subscription)
    }

    /// Ends every subscription with [`Behind`] (the meaning of the bytes changed, or the feeder lost its place).
    pub fn reset(&self, objects: Vec<Arc<Object>>, revision: u64) {
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.bytes = objects.iter().map(|o| o.size()).sum();
            state.objects = objects.into_iter().map(|o| (o.key.clone(), o)).collect();
            state.history.clear(revision);
        }
        self.wakers.wake_all();
    }
}

#[cfg(test)]
mod tests;
