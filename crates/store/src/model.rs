//! The oracle: what a store must answer, computed the slow and obvious way.
//!
//! Keeps the list of all commits and replays it for every question. Knows both durability classes and the power cut; shares
//! no code with the engines except the contract's types and the splicing of revisions.

use crate::contract::{Batch, Change, Changed, Commit, Durability, Entry, Expected, Key, Record, Revision};
use crate::core::splice::{resplice, splice};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Model {
    commits: Vec<Done>,
    /// Highest revision that anyone may have seen.
    pub highest: Revision,
    compacted: Revision,
    lost: Vec<(Revision, Revision)>,
}

#[derive(Clone, Debug)]
struct Done {
    revision: Revision,
    commit: Commit,
}

/// What the model says about a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// It can be read.
    Yes,
    /// It may have been forgotten.
    Compacted,
    /// It was lost in a power cut: nobody may be told anything about it.
    Lost,
    /// Not reached.
    Future,
}

impl Model {
    /// The last revision.
    pub fn tip(&self) -> Revision {
        self.highest
    }

    /// Whether `at` can be read.
    pub fn readable(&self, at: Revision) -> Readable {
        if at > self.highest {
            Readable::Future
        } else if self.lost.iter().any(|(last, next)| at > *last && at < *next) {
            Readable::Lost
        } else if at < self.compacted {
            Readable::Compacted
        } else {
            Readable::Yes
        }
    }

    /// Every key at `at`.
    pub fn at(&self, at: Revision) -> BTreeMap<Key, Entry> {
        let mut state = BTreeMap::new();
        for done in self.commits.iter().filter(|d| d.revision <= at) {
            apply(&mut state, done);
        }
        state
    }

    /// Keys with `prefix` at `at`.
    pub fn range(&self, prefix: &str, at: Revision) -> Vec<Entry> {
        self.at(at).into_values().filter(|e| e.key.starts_with(prefix)).collect()
    }

    /// What a commit at `revision` must answer: its records, or the key in conflict.
    pub fn commit(&mut self, commit: &Commit, revision: Revision) -> Result<Vec<Record>, Key> {
        let mut state = self.at(self.highest);
        for expect in &commit.expect {
            let found = state.get(&expect.key).map(|e| e.revision);
            let holds = match expect.state {
                Expected::Absent => found.is_none(),
                Expected::Present => found.is_some(),
                Expected::Revision(wanted) => found == Some(wanted),
            };
            if !holds {
                return Err(expect.key.clone());
            }
        }
        for change in &commit.changes {
            if matches!(change, Change::Delete { .. }) && !state.contains_key(change.key()) {
                return Err(change.key().clone());
            }
        }
        if commit.changes.is_empty() {
            return Ok(Vec::new());
        }
        assert!(revision > self.highest, "revision {revision} was used or seen before ({})", self.highest);
        self.highest = revision;
        let done = Done { revision, commit: commit.clone() };
        let records = apply(&mut state, &done);
        self.commits.push(done);
        Ok(records)
    }

    /// Every change with `prefix` in `after < revision <= upto`.
    pub fn events(&self, prefix: &str, after: Revision, upto: Revision) -> Vec<Batch> {
        let mut state = BTreeMap::new();
        let mut out = Vec::new();
        for done in self.commits.iter().filter(|d| d.revision <= upto) {
            let mut records = apply(&mut state, done);
            records.retain(|r| r.entry.key.starts_with(prefix));
            if done.revision > after && !records.is_empty() {
                out.push(Batch { revision: done.revision, records });
            }
        }
        out
    }

    /// Forgets states before `revision`.
    pub fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision.min(self.highest));
    }

    /// A restart after which the newest commit is `last` and the store's revision is `now`. Panics if the store lost what it
    /// must not lose: an acknowledged durable commit (`answered`), or anything in the middle.
    pub fn restart(&mut self, last: Revision, now: Revision, answered: impl Fn(Revision) -> bool) {
        for done in self.commits.iter().filter(|d| d.revision > last) {
            let durable = done.commit.durability == Durability::Durable && answered(done.revision);
            assert!(!durable, "the acknowledged durable commit {} was lost; the newest kept is {last}", done.revision);
        }
        let lost_any = self.commits.iter().any(|d| d.revision > last);
        assert!(!lost_any || now > self.highest, "revision {now} after a loss, though {} was seen", self.highest);
        self.commits.retain(|d| d.revision <= last);
        let last = self.lost.last().map_or(last, |(_, next)| last.max(*next));
        if now.0 > last.0 + 1 {
            self.lost.push((last, now));
        }
        self.highest = self.highest.max(now);
    }

    /// Revision of the newest commit.
    pub fn last_commit(&self) -> Revision {
        self.commits.last().map_or(Revision(0), |d| d.revision)
    }
}

fn apply(state: &mut BTreeMap<Key, Entry>, done: &Done) -> Vec<Record> {
    let meta = Arc::new(done.commit.meta.clone());
    let revision = done.revision;
    let mut records = Vec::new();
    for change in &done.commit.changes {
        let prev = state.get(change.key()).cloned();
        let record = match change {
            Change::Put { key, value, rv_at, expires, .. } => {
                let (created, version) = prev.as_ref().map_or((revision, 1), |p| (p.created, p.version + 1));
                let value = splice(value, *rv_at, revision);
                let entry = Entry {
                    key: key.clone(),
                    value,
                    rv_at: *rv_at,
                    revision,
                    created,
                    version,
                    expires: *expires,
                    meta: meta.clone(),
                };
                state.insert(key.clone(), entry.clone());
                let change = if prev.is_some() { Changed::Updated } else { Changed::Created };
                Record { change, entry, prev }
            }
            Change::Delete { key } => {
                let Some(old) = state.remove(key) else { continue };
                let value = resplice(&old.value, old.rv_at, old.revision, revision);
                let entry = Entry { value, revision, meta: meta.clone(), ..old.clone() };
                Record { change: Changed::Deleted, entry, prev: Some(old) }
            }
        };
        records.push(record);
    }
    records
}
