//! All keys at the newest revision, and the changes that led there: enough to answer any readable revision.
//!
//! Invariants: `history` holds every change above `compacted`, in order; a change carries the version before it, so an older
//! state is the live one with newer changes undone. A version's bytes may be away on disk ([`Body::Away`]); only the log
//! engine sends them there. Decides nothing about durability or visibility.

use super::splice::{is_place, resplice, splice};
use crate::contract::{Change, Changed, Commit, Entry, Expected, Key, Meta, ReadError, Record, Revision};
use bytes::Bytes;
use platform::WallTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

/// Where on disk a version's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's number.
    pub file: u64,
    /// Offset of the record's frame.
    pub offset: u64,
    /// Which change of the record.
    pub index: u32,
}

/// A version's bytes.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Here(Bytes),
    /// On disk, to be read when wanted.
    Away(Place),
}

/// One value of one key.
#[derive(Debug)]
pub struct Version {
    /// The key.
    pub key: Key,
    /// Where the revision's digits are.
    pub rv_at: Option<u32>,
    /// Its own revision.
    pub revision: Revision,
    /// The key's creation.
    pub created: Revision,
    /// Puts since the creation.
    pub version: u64,
    /// Expiry.
    pub expires: Option<WallTime>,
    /// Kept encrypted on disk.
    pub sealed: bool,
    /// Who and why.
    pub meta: Arc<Meta>,
    body: Mutex<(Body, Option<Place>)>,
}

impl Version {
    /// The bytes or where they are.
    pub fn body(&self) -> Body {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Where the log engine wrote it.
    pub fn place(&self) -> Option<Place> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Notes where the log engine wrote it.
    pub fn set_place(&self, place: Place) {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.1 = Some(place);
        if matches!(body.0, Body::Away(_)) {
            body.0 = Body::Away(place);
        }
    }

    /// Frees the bytes if they are on disk; answers how many were freed.
    pub fn send_away(&self) -> usize {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        match (&body.0, body.1) {
            (Body::Here(bytes), Some(place)) => {
                let freed = bytes.len();
                body.0 = Body::Away(place);
                freed
            }
            _ => 0,
        }
    }

    /// The public form, with bytes the caller has.
    pub fn entry(&self, value: Bytes) -> Entry {
        Entry {
            key: self.key.clone(),
            value,
            rv_at: self.rv_at,
            revision: self.revision,
            created: self.created,
            version: self.version,
            expires: self.expires,
            meta: self.meta.clone(),
        }
    }

    /// The public form of a version that is live, or was until this moment: its bytes are in memory.
    pub fn live_entry(&self) -> Entry {
        match self.body() {
            Body::Here(bytes) => self.entry(bytes),
            Body::Away(place) => unreachable!("the live version of {} is at {place:?}", self.key),
        }
    }

    /// Bytes in memory (0 when they are on disk).
    pub fn bytes_here(&self) -> usize {
        match &self.body.lock().unwrap_or_else(PoisonError::into_inner).0 {
            Body::Here(bytes) => bytes.len(),
            Body::Away(_) => 0,
        }
    }
}

/// One change as the history keeps it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its revision.
    pub revision: Revision,
    /// What happened.
    pub change: Changed,
    /// The new version; for a deletion a version whose bytes carry the deletion's revision.
    pub now: Arc<Version>,
    /// The version before.
    pub prev: Option<Arc<Version>>,
}

impl Event {
    /// The public form, while all bytes are in memory: right after the change.
    pub fn fresh_record(&self) -> Record {
        let prev = self.prev.as_deref().map(Version::live_entry);
        Record { change: self.change, entry: self.now.live_entry(), prev }
    }
}

/// Why a commit cannot be applied.
#[derive(Debug)]
pub enum Refusal {
    /// An expectation does not hold.
    Conflict(Key, Option<Entry>),
    /// It is malformed.
    Invalid(String),
}

/// Gaps that are remembered.
const LOST_MOST: usize = 1000;

/// See the file's head.
#[derive(Debug, Default)]
pub struct State {
    live: BTreeMap<Key, Arc<Version>>,
    history: VecDeque<Event>,
    expiries: BTreeSet<(WallTime, Key)>,
    tip: Revision,
    compacted: Revision,
    lost: Vec<(Revision, Revision)>,
    live_bytes: usize,
    history_bytes: usize,
    shrunk: usize,
}

impl State {
    /// Empty, at revision `start`.
    pub fn new(start: Revision) -> State {
        State { tip: start, compacted: start, ..State::default() }
    }

    /// Revision of the last change.
    pub fn tip(&self) -> Revision {
        self.tip
    }

    /// Oldest readable revision.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Number of keys and their bytes.
    pub fn live(&self) -> (usize, usize) {
        (self.live.len(), self.live_bytes)
    }

    /// Number of changes kept, and the bytes of old versions in memory.
    pub fn history(&self) -> (usize, usize) {
        (self.history.len(), self.history_bytes)
    }

    /// Every key's version, in order.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.live.values()
    }

    /// Revisions that may have been given out and lost lie strictly between the tip and `next`, which becomes the tip: a
    /// state to read and to watch from, but no commit's revision.
    pub fn lose(&mut self, next: Revision) {
        if next.0 > self.tip.0 + 1 {
            self.lost.push((self.tip, next));
            if self.lost.len() > LOST_MOST {
                self.lost.remove(0); // long compacted
            }
        }
        self.tip = self.tip.max(next);
    }

    /// If `at` was lost: the revision at which the store went on. Remembered beyond compaction, for caches that reach further.
    pub fn lost(&self, at: Revision) -> Option<Revision> {
        self.lost.iter().find(|(last, next)| at > *last && at < *next).map(|(_, next)| *next)
    }

    /// Whether the state at `at` can be told, when revisions up to `visible` are visible.
    pub fn readable(&self, at: Revision, visible: Revision) -> Result<(), ReadError> {
        if at > visible {
            return Err(ReadError::Future { current: visible });
        }
        match self.lost(at) {
            Some(next) => Err(ReadError::Compacted { oldest: next.max(self.compacted) }),
            None if at < self.compacted => Err(ReadError::Compacted { oldest: self.compacted }),
            None => Ok(()),
        }
    }

    /// Whether `commit` may be applied now.
    pub fn check(&self, commit: &Commit) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for change in &commit.changes {
            let key = change.key();
            if key.is_empty() || !seen.insert(key) {
                return Err(Refusal::Invalid(format!("the key {key:?} is empty or changed twice")));
            }
            if let Change::Put { value, rv_at: Some(at), .. } = change
                && !is_place(value, *at)
            {
                return Err(Refusal::Invalid(format!("{key}: offset {at} is not between two quotes")));
            }
        }
        for expect in &commit.expect {
            let current = self.live.get(&expect.key);
            let holds = match expect.state {
                Expected::Absent => current.is_none(),
                Expected::Present => current.is_some(),
                Expected::Revision(revision) => current.is_some_and(|c| c.revision == revision),
            };
            if !holds {
                return Err(Refusal::Conflict(expect.key.clone(), current.map(|v| v.live_entry())));
            }
        }
        let absent =
            commit.changes.iter().find(|c| matches!(c, Change::Delete { key } if !self.live.contains_key(key)));
        absent.map_or(Ok(()), |change| Err(Refusal::Conflict(change.key().clone(), None)))
    }

    /// Applies a checked commit at `revision`; answers its events.
    pub fn apply(&mut self, changes: &[Change], meta: &Arc<Meta>, revision: Revision) -> Vec<Event> {
        assert!(revision > self.tip, "revision {revision} given out after {}", self.tip);
        self.tip = revision;
        let mut events = Vec::with_capacity(changes.len());
        for change in changes {
            let event = match change {
                Change::Put { key, value, rv_at, seal, expires } => {
                    let body = Body::Here(splice(value, *rv_at, revision));
                    self.put(
                        Put { key: key.clone(), body, rv_at: *rv_at, sealed: *seal, expires: *expires, place: None },
                        meta,
                        revision,
                    )
                }
                Change::Delete { key } => match self.delete(key, meta, revision) {
                    Some(event) => event,
                    None => continue, // checked before; a replayed log may delete what a snapshot no longer has
                },
            };
            events.push(event.clone());
            self.history.push_back(event);
        }
        events
    }

    /// Puts a version; its bytes already carry the revision.
    fn put(&mut self, put: Put, meta: &Arc<Meta>, revision: Revision) -> Event {
        let Put { key, body, rv_at, sealed, expires, place } = put;
        let prev = self.live.get(&key).cloned();
        let (created, version) = prev.as_ref().map_or((revision, 1), |p| (p.created, p.version + 1));
        let body = Mutex::new((body, place));
        let now = Arc::new(Version {
            key: key.clone(),
            rv_at,
            revision,
            created,
            version,
            expires,
            sealed,
            meta: meta.clone(),
            body,
        });
        self.retire(prev.as_ref());
        self.live_bytes += key.len() + now.bytes_here();
        if let Some(at) = expires {
            self.expiries.insert((at, key.clone()));
        }
        self.live.insert(key, now.clone());
        let change = if prev.is_some() { Changed::Updated } else { Changed::Created };
        Event { revision, change, now, prev }
    }

    fn delete(&mut self, key: &Key, meta: &Arc<Meta>, revision: Revision) -> Option<Event> {
        let prev = self.live.remove(key)?;
        self.retire(Some(&prev));
        let body = match prev.body() {
            Body::Here(bytes) => Body::Here(resplice(&bytes, prev.rv_at, prev.revision, revision)),
            Body::Away(place) => Body::Away(place), // resolved through `prev`
        };
        let (rv_at, created, version, expires, sealed) =
            (prev.rv_at, prev.created, prev.version, prev.expires, prev.sealed);
        let (key, meta, body) = (key.clone(), meta.clone(), Mutex::new((body, None)));
        let now = Arc::new(Version { key, rv_at, revision, created, version, expires, sealed, meta, body });
        self.history_bytes += now.bytes_here();
        Some(Event { revision, change: Changed::Deleted, now, prev: Some(prev) })
    }

    /// Takes back every change above `revision`: they were never durable and never seen.
    pub fn undo_above(&mut self, revision: Revision) {
        while let Some(event) = self.history.pop_back_if(|e| e.revision > revision) {
            if event.change == Changed::Deleted {
                self.history_bytes = self.history_bytes.saturating_sub(event.now.bytes_here());
            } else {
                self.live.remove(&event.now.key);
                self.live_bytes = self.live_bytes.saturating_sub(event.now.key.len() + event.now.bytes_here());
                if let Some(at) = event.now.expires {
                    self.expiries.remove(&(at, event.now.key.clone()));
                }
            }
            if let Some(prev) = event.prev {
                let bytes = prev.bytes_here();
                self.history_bytes = self.history_bytes.saturating_sub(bytes);
                self.live_bytes += prev.key.len() + bytes;
                if let Some(at) = prev.expires {
                    self.expiries.insert((at, prev.key.clone()));
                }
                self.live.insert(prev.key.clone(), prev);
            }
        }
        self.tip = self.tip.min(revision);
    }

    /// Counts a version that is no longer live as history.
    fn retire(&mut self, prev: Option<&Arc<Version>>) {
        let Some(prev) = prev else { return };
        let bytes = prev.bytes_here();
        self.live_bytes = self.live_bytes.saturating_sub(prev.key.len() + bytes);
        self.history_bytes += bytes;
        if let Some(at) = prev.expires {
            self.expiries.remove(&(at, prev.key.clone()));
        }
    }

    /// Loads a version of a snapshot, outside history.
    pub fn load(&mut self, entry: Entry, sealed: bool, place: Option<Place>) {
        let Entry { key, value, rv_at, revision, created, version, expires, meta } = entry;
        self.live_bytes += key.len() + value.len();
        if let Some(at) = expires {
            self.expiries.insert((at, key.clone()));
        }
        let body = Mutex::new((Body::Here(value), place));
        let version = Version { key: key.clone(), rv_at, revision, created, version, expires, sealed, meta, body };
        self.live.insert(key, Arc::new(version));
    }

    /// `key`'s version at `at` (a readable revision).
    pub fn get(&self, key: &str, at: Revision) -> Option<Arc<Version>> {
        let first = self.first_above(at);
        match self.history.range(first..).find(|e| &*e.now.key == key) {
            Some(event) => event.prev.clone(),
            None => self.live.get(key).cloned(),
        }
    }

    /// Versions of keys with `prefix`, from `start`, at `at` (a readable revision); and how many more there are.
    pub fn range(&self, prefix: &str, start: Option<&str>, limit: usize, at: Revision) -> (Vec<Arc<Version>>, usize) {
        let from = start.map_or(prefix, |s| s.max(prefix));
        let wanted = |key: &str| key >= from && key.starts_with(prefix);
        let mut undone: BTreeMap<&str, Option<&Arc<Version>>> = BTreeMap::new();
        for event in self.history.range(self.first_above(at)..).filter(|e| wanted(&e.now.key)) {
            undone.entry(&event.now.key).or_insert(event.prev.as_ref());
        }
        let live = self
            .live
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let (mut out, mut more) = (Vec::new(), 0);
        let mut take = |version: &Arc<Version>| {
            if limit == 0 || out.len() < limit { out.push(version.clone()) } else { more += 1 }
        };
        let mut undone = undone.into_iter().peekable();
        for (key, version) in live {
            while let Some((_, old)) = undone.next_if(|(k, _)| *k < &**key) {
                old.into_iter().for_each(&mut take);
            }
            match undone.next_if(|(k, _)| *k == &**key) {
                Some((_, old)) => old.into_iter().for_each(&mut take),
                None => take(version),
            }
        }
        undone.filter_map(|(_, old)| old).for_each(&mut take);
        (out, more)
    }

    /// Changes of keys with `prefix` in `after < revision <= upto`, whole revisions, about `max` of them; and the revision
    /// up to which they are complete.
    pub fn events(&self, prefix: &str, after: Revision, upto: Revision, max: usize) -> (Vec<Event>, Revision) {
        let mut out: Vec<Event> = Vec::new();
        for event in self.history.range(self.first_above(after)..) {
            if event.revision > upto {
                break;
            }
            if let Some(last) = out.last().map(|e| e.revision)
                && out.len() >= max
                && last != event.revision
            {
                return (out, last);
            }
            if event.now.key.starts_with(prefix) {
                out.push(event.clone());
            }
        }
        (out, upto)
    }

    /// Every change above `after`, oldest first.
    pub fn history_above(&self, after: Revision) -> impl Iterator<Item = &Event> {
        self.history.range(self.first_above(after)..)
    }

    fn first_above(&self, revision: Revision) -> usize {
        if revision >= self.tip { self.history.len() } else { self.history.partition_point(|e| e.revision <= revision) }
    }

    /// Forgets what is only needed for states before `revision`.
    pub fn compact(&mut self, revision: Revision) {
        let revision = revision.min(self.tip);
        if revision <= self.compacted {
            return;
        }
        self.compacted = revision;
        let keep = self.first_above(revision);
        self.shrunk = self.shrunk.saturating_sub(keep);
        for event in self.history.drain(..keep) {
            let old = event.prev.as_ref().map_or(0, |p| p.bytes_here());
            let tombstone = if event.change == Changed::Deleted { event.now.bytes_here() } else { 0 };
            self.history_bytes = self.history_bytes.saturating_sub(old + tombstone);
        }
    }

    /// Sends old versions' bytes to disk, oldest first, until history takes at most `budget` bytes of memory. Only versions
    /// with a revision up to `upto` (the durable ones) can go.
    pub fn shrink(&mut self, budget: usize, upto: Revision) {
        if self.history_bytes <= budget {
            return;
        }
        while let Some(event) = self.history.get(self.shrunk).filter(|e| e.revision <= upto) {
            self.shrunk += 1;
            let mut freed = event.prev.as_ref().map_or(0, |p| p.send_away());
            if event.change == Changed::Deleted {
                freed += event.now.send_away();
            }
            self.history_bytes = self.history_bytes.saturating_sub(freed);
            if self.history_bytes <= budget {
                break;
            }
        }
    }

    /// Keys that expire at or before `now`, and the next expiry after it.
    pub fn expired(&self, now: WallTime, max: usize) -> (Vec<Key>, Option<WallTime>) {
        let due: Vec<Key> =
            self.expiries.iter().take_while(|(at, _)| *at <= now).take(max).map(|(_, key)| key.clone()).collect();
        let next = self.expiries.iter().nth(due.len()).map(|(at, _)| *at);
        (due, next)
    }
}

struct Put {
    key: Key,
    body: Body,
    rv_at: Option<u32>,
    sealed: bool,
    expires: Option<WallTime>,
    place: Option<Place>,
}
