//! The safety checks. Each violation names the check.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Included};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Generation of the server in which it was found to be lost.
    lost_in: Option<u64>,
}

/// A watch of a whole resource, as a client saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    prefix: String,
    namespace: String,
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
        let inner = self.inner();
        let Some(written) = inner.written.get(key).cloned() else { return };
        drop(inner);
        let fine = match found {
            Some(value) => written.acked == Some(value) || written.unknown.contains(&value),
            None => written.acked.is_none(),
        };
        if !fine {
            let Written { acked, unknown } = written;
            self.violated(
                "no acknowledged write is lost",
                format!("{key} is {found:?}; acknowledged was {acked:?}, unanswered {unknown:?}"),
            );
        }
    }

    // === no revision is given out twice

    /// An object was seen at a revision: it must always be the same bytes.
    pub fn object(&self, key: &str, revision: u64, deleted: bool, bytes: &Bytes) {
        if revision == 0 || bytes.is_empty() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        let key = format!("{key}{}", if deleted { " deleted" } else { "" });
        let old = self.inner().bytes.insert((revision, key.clone()), hash);
        if old.is_some_and(|old| old != hash) {
            self.violated("no revision is given out twice", format!("{key} at revision {revision} has two forms"));
        }
    }

    /// The store told a change.
    pub fn truth(&self, revision: u64, key: &str) {
        let mut inner = self.inner();
        let known = inner.truth.entry(revision).or_default();
        if known.iter().any(|t| t.lost_in.is_some()) {
            let message = format!("no revision is given out twice: {revision} was lost and is used again for {key}");
            inner.violations.push(message);
            return;
        }
        if !known.iter().any(|t| t.key == key) {
            known.push(Truth { key: key.into(), lost_in: None });
        }
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

    /// A watch of a whole resource began.
    pub fn watch(&self, prefix: &str, namespace: &str, after: u64, generation: u64) -> usize {
        let mut inner = self.inner();
        let (prefix, namespace) = (prefix.to_string(), namespace.to_string());
        inner.watches.push(Seen { prefix, namespace, generation, after, upto: after, revisions: Vec::new() });
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
            self.violated("watches are ordered and unique", what);
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
                let mine =
                    |t: &&Truth| t.key.starts_with(&prefix) && t.lost_in.is_none_or(|lost| lost > seen.generation);
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
            self.violated("watches are complete", what);
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
            self.violated("a pod runs on one node at a time", format!("{uid} starts on {node} and runs on {other}"));
        }
        if let (Some(twin), true) = (twin, runs) {
            self.violated(
                "a stateful pod runs once",
                format!("{} starts as {uid} on {node} while {twin} runs", identity.unwrap_or_default()),
            );
        }
    }

    /// A node has stopped a pod.
    pub fn stopped(&self, uid: &str) {
        self.inner().running.remove(uid);
    }
}
