//! Which pod is next: active, waiting out a backoff, or waiting for a change that may help.
//!
//! A change that comes while a pod is being decided on is not lost: the queue remembers when each kind of change came last.
//! Times are nanoseconds given by the caller.

use super::framework::Wake;
use super::snapshot::Pod;
use platform::limits::SchedulerLimits;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The queue's times, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    first: u64,
    most: u64,
    /// A pod that waits for longer is tried again, whatever happened.
    wait: u64,
}

/// A pod to place.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The pod.
    pub pod: Arc<Pod>,
    /// How often it was tried.
    pub attempts: u32,
    added: u64,
    failed: u64,
}

impl Entry {
    fn backoff_ends(&self, times: Times) -> u64 {
        match self.attempts {
            0 => 0,
            n => self.failed + times.first.saturating_mul(1 << (n - 1).min(20)).min(times.most),
        }
    }
}

type Rank = (Reverse<i64>, u64, String);

/// See the file's head.
#[derive(Debug, Default)]
pub struct Queue {
    active: BTreeMap<Rank, Entry>,
    backoff: BTreeMap<(u64, String), Entry>,
    waiting: BTreeMap<String, (Entry, BTreeSet<Wake>)>,
    places: BTreeMap<String, Place>,
    sequence: u64,
    last: BTreeMap<Wake, u64>,
    times: Times,
}

#[derive(Clone, Debug)]
enum Place {
    Active(Rank),
    Backoff(u64),
    Waiting,
    /// Being decided on or bound.
    Out,
}

impl Queue {
    /// An empty one.
    pub fn new(limits: &SchedulerLimits) -> Queue {
        let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let times = Times {
            first: nanos(limits.backoff_first),
            most: nanos(limits.backoff_most),
            wait: nanos(limits.wait_most),
        };
        Queue { times, ..Queue::default() }
    }

    /// Number of pods in line, in backoff, waiting.
    pub fn depths(&self) -> (usize, usize, usize) {
        (self.active.len(), self.backoff.len(), self.waiting.len())
    }

    /// Where in the sequence of changes this is.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn take(&mut self, uid: &str) -> Option<Entry> {
        match self.places.remove(uid)? {
            Place::Active(rank) => self.active.remove(&rank),
            Place::Backoff(until) => self.backoff.remove(&(until, uid.to_string())),
            Place::Waiting => self.waiting.remove(uid).map(|(entry, _)| entry),
            Place::Out => None,
        }
    }

    fn activate(&mut self, entry: Entry, now: u64) {
        let uid = entry.pod.meta().uid.clone();
        let until = entry.backoff_ends(self.times);
        if until > now {
            self.places.insert(uid.clone(), Place::Backoff(until));
            self.backoff.insert((until, uid), entry);
        } else {
            let rank = (Reverse(entry.pod.priority()), entry.added, uid.clone());
            self.places.insert(uid, Place::Active(rank.clone()));
            self.active.insert(rank, entry);
        }
    }

    /// A pod that has no node came or changed.
    pub fn update(&mut self, pod: &Arc<Pod>, now: u64) {
        let uid = &pod.meta().uid;
        match self.places.get(uid) {
            Some(Place::Out) => {
                // Whoever decides on it has its older form; a failure shall not wait for what this change may have done.
                self.note(Wake::PodItself);
            }
            Some(Place::Waiting) => {
                let Some((mut entry, wakes)) = self.waiting.remove(uid) else { return };
                let same = entry.pod.view.spec == pod.view.spec && entry.pod.meta().labels == pod.meta().labels;
                entry.pod = pod.clone();
                if same {
                    self.waiting.insert(uid.clone(), (entry, wakes));
                } else {
                    self.activate(entry, now);
                }
            }
            Some(_) => {
                if let Some(mut entry) = self.take(uid) {
                    entry.pod = pod.clone();
                    self.activate(entry, now);
                }
            }
            None => self.activate(Entry { pod: pod.clone(), attempts: 0, added: now, failed: 0 }, now),
        }
    }

    /// A pod is placed or gone.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
    }

    /// The next pod to decide on.
    pub fn pop(&mut self, now: u64) -> Option<Entry> {
        while let Some(entry) = self.backoff.first_entry().filter(|e| e.key().0 <= now) {
            let entry = entry.remove();
            self.activate(entry, now);
        }
        let wait = self.times.wait;
        let late = |e: &Entry| e.failed + wait <= now;
        let overdue: Vec<String> =
            self.waiting.iter().filter(|(_, (e, _))| late(e)).map(|(uid, _)| uid.clone()).collect();
        for uid in overdue {
            if let Some((entry, _)) = self.waiting.remove(&uid) {
                self.activate(entry, now);
            }
        }
        let (_, mut entry) = self.active.pop_first()?;
        entry.attempts += 1;
        self.places.insert(entry.pod.meta().uid.clone(), Place::Out);
        Some(entry)
    }

    /// A pod that was taken out at `sequence` does not fit; `wakes` may help. Empty: try again after its backoff.
    pub fn failed(&mut self, mut entry: Entry, wakes: BTreeSet<Wake>, sequence: u64, now: u64) {
        let uid = entry.pod.meta().uid.clone();
        if !matches!(self.places.get(&uid), Some(Place::Out)) {
            return; // removed meanwhile
        }
        entry.failed = now;
        let happened = wakes.iter().any(|w| self.last.get(w).is_some_and(|at| *at > sequence));
        if happened || wakes.is_empty() {
            self.activate(entry, now);
        } else {
            self.places.insert(uid.clone(), Place::Waiting);
            self.waiting.insert(uid, (entry, wakes));
        }
    }

    fn note(&mut self, wake: Wake) {
        self.sequence += 1;
        self.last.insert(wake, self.sequence);
    }

    /// Something changed: pods that it may help are tried again. True if there are any.
    pub fn wake(&mut self, wake: Wake, now: u64) -> bool {
        self.note(wake);
        let helped: Vec<String> =
            self.waiting.iter().filter(|(_, (_, wakes))| wakes.contains(&wake)).map(|(uid, _)| uid.clone()).collect();
        for uid in &helped {
            if let Some((entry, _)) = self.waiting.remove(uid) {
                self.activate(entry, now);
            }
        }
        !helped.is_empty()
    }

    /// When the next pod is due, if none is now.
    pub fn next_time(&self) -> Option<u64> {
        let backoff = self.backoff.first_key_value().map(|((until, _), _)| *until);
        let overdue = self.waiting.values().map(|(e, _)| e.failed + self.times.wait).min();
        backoff.into_iter().chain(overdue).min()
    }
}
