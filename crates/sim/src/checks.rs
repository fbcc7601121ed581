//! The safety checks. Each has a name ([`NAMES`]), which its violations carry. They are kept up with every message, every
//! change of the store, and every start and end of a container: a violation is found at the step that makes it.

use crate::objects::{self, Objects};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Included};
use std::sync::{Mutex, MutexGuard, PoisonError};
use store::{Entry, Record};

/// No acknowledged write is lost: a client that reads what it alone writes gets its last answered write, or a later
/// unanswered one, at once and after every crash.
pub const LOST: &str = "no acknowledged write is lost";
/// Who counts up by reading and putting back at the revision that was read overwrites nobody.
pub const COUNT: &str = "no update is overwritten unseen";
/// A copy kept up by list and watch through everything is in the end what a list shows.
pub const COPY: &str = "a copy is what there is";
/// A revision that was seen stands for one change for ever.
pub const TWICE: &str = "no revision is given out twice";
/// A watch goes forward.
pub const ORDERED: &str = "watches are ordered and unique";
/// A watch, selective or not, tells every change between where it began and where it is.
pub const COMPLETE: &str = "watches are complete";
/// No two nodes run one pod.
pub const ONE_NODE: &str = "a pod runs on one node at a time";
/// A node has at most one running instance of a container of a pod.
pub const ONE_CONTAINER: &str = "a container of a pod runs once";
/// A stateful pod's name runs once in the cluster.
pub const STATEFUL: &str = "a stateful pod runs once";
/// A pod's node never changes.
pub const BOUND: &str = "a pod is bound once";
/// Without faults the scheduler puts no more on a node than it has room for.
pub const ROOM: &str = "nodes are not overfull";
/// Without faults controllers make what is asked for and nothing else.
pub const SURPLUS: &str = "nothing is made or removed in surplus";
/// Whose permission was taken away is told nothing that happened afterwards.
pub const ALLOWED: &str = "nobody is told what is not allowed";
/// Damaged data is refused, not served.
pub const ROT: &str = "rot is refused";

/// All checks of safety. Convergence is the one of liveness.
pub const NAMES: &[&str] = &[
    LOST,
    COUNT,
    COPY,
    TWICE,
    ORDERED,
    COMPLETE,
    ONE_NODE,
    ONE_CONTAINER,
    STATEFUL,
    BOUND,
    ROOM,
    SURPLUS,
    ALLOWED,
    ROT,
];

const METADATA: &[u8] = b"\"metadata\":";

/// A value that a client wrote.
#[derive(Clone, Debug, Default)]
struct Written {
    /// Acknowledged last.
    acked: Option<u64>,
    /// Asked for since then, without an answer.
    unknown: BTreeSet<u64>,
}

/// One change as the store told it.
#[derive(Clone, Debug)]
struct Truth {
    key: String,
    /// Nodes of the pod before and after it.
    nodes: Vec<String>,
    /// Generation of the server in which it was found to be lost.
    lost_in: Option<u64>,
}

/// A watch of a whole resource, as a client saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    prefix: String,
    namespace: String,
    /// Only pods of this node.
    node: Option<String>,
    generation: u64,
    after: u64,
    upto: u64,
    revisions: Vec<u64>,
}

#[derive(Default)]
struct Inner {
    violations: Vec<String>,
    written: BTreeMap<String, Written>,
    bytes: BTreeMap<(u64, String), u64>,
    truth: BTreeMap<u64, Vec<Truth>>,
    watches: Vec<Seen>,
    running: BTreeMap<String, String>,
    identities: BTreeMap<String, String>,
    objects: Objects,
    /// Additions to the till that were answered, and that were not.
    added: (u64, u64),
    /// The guest may not watch, and knew that at this revision.
    forbidden: Option<u64>,
}

/// Everything that is checked in a run.
#[derive(Default)]
pub struct Checks(Mutex<Inner>);

impl Checks {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a violation.
    pub fn violated(&self, check: &str, what: String) {
        self.inner().violations.push(format!("{check}: {what}"));
    }

    /// All violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    // === no acknowledged write is lost

    /// A client is about to write `value`.
    pub fn asks(&self, key: &str, value: u64) {
        self.inner().written.entry(key.into()).or_default().unknown.insert(value);
    }

    /// The write was acknowledged.
    pub fn acknowledged(&self, key: &str, value: u64) {
        let mut inner = self.inner();
        let written = inner.written.entry(key.into()).or_default();
        written.acked = Some(value);
        written.unknown = written.unknown.split_off(&(value + 1));
    }

    /// The write was refused: it did not happen.
    pub fn refused(&self, key: &str, value: u64) {
        if let Some(written) = self.inner().written.get_mut(key) {
            written.unknown.remove(&value);
        }
    }

    /// The server says that the value is `found`.
    pub fn read(&self, key: &str, found: Option<u64>) {
        let mut inner = self.inner();
        let Some(written) = inner.written.get_mut(key) else { return };
        let before = written.clone();
        let fine = match found {
            Some(value) => written.acked == Some(value) || written.unknown.contains(&value),
            None => written.acked.is_none(),
        };
        // One client writes one after the other: what was read stays, and what was asked for before it is settled.
        (written.acked, written.unknown) = (found, BTreeSet::new());
        drop(inner);
        if !fine {
            let Written { acked, unknown } = before;
            self.violated(LOST, format!("{key} is {found:?}; acknowledged was {acked:?}, unanswered {unknown:?}"));
        }
    }

    /// An addition to the till was answered, or may have happened.
    pub fn counted(&self, answered: bool) {
        let mut inner = self.inner();
        if answered { inner.added.0 += 1 } else { inner.added.1 += 1 }
    }

    /// What is in the till.
    pub fn till(&self, count: u64) {
        let (answered, unknown) = self.inner().added;
        if count < answered || count > answered + unknown {
            self.violated(COUNT, format!("{count} after {answered} additions and {unknown} that were not answered"));
        }
    }

    // === no revision is given out twice

    /// An object was seen at a revision: it must always be the same bytes.
    pub fn object(&self, key: &str, revision: u64, deleted: bool, bytes: &Bytes) {
        if revision == 0 || bytes.is_empty() {
            return;
        }
        // Over HTTP it begins with kind and apiVersion.
        let start = bytes.windows(METADATA.len()).position(|w| w == METADATA).unwrap_or(0);
        let mut hasher = DefaultHasher::new();
        bytes[start..].hash(&mut hasher);
        let hash = hasher.finish();
        let key = format!("{key}{}", if deleted { " deleted" } else { "" });
        let old = self.inner().bytes.insert((revision, key.clone()), hash);
        if old.is_some_and(|old| old != hash) {
            self.violated(TWICE, format!("{key} at revision {revision} has two forms"));
        }
    }

    /// The store told a change.
    pub fn truth(&self, record: &Record) {
        let (revision, key) = (record.entry.revision.0, &record.entry.key);
        let mut inner = self.inner();
        let found = inner.objects.apply(record);
        for (check, what) in found {
            inner.violations.push(format!("{check}: {what}"));
        }
        let known = inner.truth.entry(revision).or_default();
        if known.iter().any(|t| t.lost_in.is_some()) {
            let message = format!("{TWICE}: {revision} was lost and is used again for {key}");
            inner.violations.push(message);
            return;
        }
        if !known.iter().any(|t| *t.key == **key) {
            known.push(Truth { key: key.to_string(), nodes: objects::nodes(record), lost_in: None });
        }
    }

    /// The store's objects as they are at the beginning of its history.
    pub fn begin(&self, entries: &[Entry]) {
        self.inner().objects.begin(entries);
    }

    /// From now on there are no faults: rules that faults may break hold.
    pub fn calm(&self) {
        self.inner().objects.calm = true;
    }

    /// How many pods an owner of this kind has got, and how many of them were deleted.
    pub fn pods_of(&self, kind: &str) -> (usize, usize) {
        self.inner().objects.count(kind)
    }

    /// A server came up in `generation` with this history above `oldest`: what it does not have is lost.
    pub fn history(&self, generation: u64, oldest: u64, revisions: &BTreeSet<u64>) {
        let mut inner = self.inner();
        for (_, changes) in inner.truth.range_mut(oldest + 1..).filter(|(revision, _)| !revisions.contains(revision)) {
            for change in changes {
                change.lost_in.get_or_insert(generation);
            }
        }
    }

    // === watches are ordered, unique and complete

    /// A watch of a whole resource, or of one node's pods, began.
    pub fn watch(&self, prefix: &str, namespace: &str, node: Option<String>, after: u64, generation: u64) -> usize {
        let mut inner = self.inner();
        let (prefix, namespace) = (prefix.to_string(), namespace.to_string());
        inner.watches.push(Seen { prefix, namespace, node, generation, after, upto: after, revisions: Vec::new() });
        inner.watches.len() - 1
    }

    /// It delivered something.
    pub fn delivered(&self, watch: usize, revision: u64, bookmark: bool) {
        let mut inner = self.inner();
        let seen = &mut inner.watches[watch];
        let last = seen.upto;
        let ok = if bookmark { revision >= last } else { revision > last };
        let what = format!("{} after {}: {revision} comes after {last}", seen.prefix, seen.after);
        seen.upto = last.max(revision);
        if !bookmark {
            seen.revisions.push(revision);
        }
        drop(inner);
        if !ok {
            self.violated(ORDERED, what);
        }
    }

    /// Compares what watches saw with what happened.
    pub fn complete(&self) {
        let inner = self.inner();
        let mut missing = Vec::new();
        for seen in &inner.watches {
            let told: BTreeSet<u64> = seen.revisions.iter().copied().collect();
            for (revision, changes) in inner.truth.range((Excluded(seen.after), Included(seen.upto))) {
                let prefix = if seen.namespace.is_empty() {
                    format!("{}/", seen.prefix)
                } else {
                    format!("{}/{}/", seen.prefix, seen.namespace)
                };
                let mine = |t: &&Truth| {
                    t.key.starts_with(&prefix)
                        && t.lost_in.is_none_or(|lost| lost > seen.generation)
                        && seen.node.as_ref().is_none_or(|node| t.nodes.contains(node))
                };
                if let Some(change) = changes.iter().find(mine)
                    && !told.contains(revision)
                {
                    missing.push(format!(
                        "{} after {} upto {} missed {revision} ({})",
                        seen.prefix, seen.after, seen.upto, change.key
                    ));
                }
            }
        }
        drop(inner);
        for what in missing.into_iter().take(5) {
            self.violated(COMPLETE, what);
        }
    }

    // === nobody is told what is not allowed

    /// The guest has no permission since this revision, or it may have it again.
    pub fn forbid(&self, since: Option<u64>) {
        self.inner().forbidden = since;
    }

    /// The guest was told what is at this revision.
    pub fn told_guest(&self, revision: u64) {
        let forbidden = self.inner().forbidden;
        if let Some(since) = forbidden.filter(|since| revision > *since) {
            self.violated(ALLOWED, format!("the guest was told of {revision}; it was forbidden at {since}"));
        }
    }

    // === a pod runs on one node at a time, a stateful pod once

    /// A node starts a pod. `identity`: the pod's name, if it may exist only once.
    pub fn starts(&self, node: &str, uid: &str, identity: Option<&str>) {
        let mut inner = self.inner();
        let other = inner.running.insert(uid.into(), node.into()).filter(|other| other != node);
        let twin =
            identity.and_then(|name| inner.identities.insert(name.into(), uid.into())).filter(|twin| twin != uid);
        let runs = twin.as_ref().is_some_and(|twin| inner.running.contains_key(twin));
        drop(inner);
        if let Some(other) = other {
            self.violated(ONE_NODE, format!("{uid} starts on {node} and runs on {other}"));
        }
        if let (Some(twin), true) = (twin, runs) {
            self.violated(
                STATEFUL,
                format!("{} starts as {uid} on {node} while {twin} runs", identity.unwrap_or_default()),
            );
        }
    }

    /// A node has stopped a pod.
    pub fn stopped(&self, uid: &str) {
        self.inner().running.remove(uid);
    }
}
