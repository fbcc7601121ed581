//! The work queue's state: which keys wait, run, or have a time.
//!
//! Invariants: a key is at most once in line; a key that runs is not started again until it is done, and is put in line again
//! if it was added meanwhile. Times are numbers given by the caller (nanoseconds of any clock that only goes forward).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// See the file's head.
#[derive(Debug)]
pub struct Queue<K> {
    line: VecDeque<K>,
    waiting: BTreeSet<K>,
    running: BTreeSet<K>,
    again: BTreeSet<K>,
    timed: BTreeSet<(u64, K)>,
    times: BTreeMap<K, u64>,
    failures: BTreeMap<K, u32>,
    retry_first: u64,
    retry_most: u64,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty one. A key that failed runs again after `retry_first`, then twice that, and so on up to `retry_most`.
    pub fn new(retry_first: Duration, retry_most: Duration) -> Queue<K> {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Queue {
            line: VecDeque::new(),
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            again: BTreeSet::new(),
            timed: BTreeSet::new(),
            times: BTreeMap::new(),
            failures: BTreeMap::new(),
            retry_first: nanos(retry_first),
            retry_most: nanos(retry_most),
        }
    }

    /// Puts a key in line; false if it is there already.
    pub fn add(&mut self, key: K) -> bool {
        if self.running.contains(&key) {
            return self.again.insert(key);
        }
        if !self.waiting.insert(key.clone()) {
            return false;
        }
        self.line.push_back(key);
        true
    }

    /// Puts a key in line at `time`, or earlier if it has an earlier time.
    pub fn add_at(&mut self, key: K, time: u64) {
        if let Some(old) = self.times.get(&key).copied() {
            if old <= time {
                return;
            }
            self.timed.remove(&(old, key.clone()));
        }
        self.times.insert(key.clone(), time);
        self.timed.insert((time, key));
    }

    /// The next key to run, if one is due.
    pub fn take(&mut self, now: u64) -> Option<K> {
        while let Some((time, key)) = self.timed.first().filter(|(time, _)| *time <= now).cloned() {
            self.timed.remove(&(time, key.clone()));
            self.times.remove(&key);
            self.add(key);
        }
        let key = self.line.pop_front()?;
        self.waiting.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// When the next timed key is due.
    pub fn next_time(&self) -> Option<u64> {
        self.timed.first().map(|(time, _)| *time)
    }

    /// A run ended; answers when a failed key runs again.
    pub fn done(&mut self, key: K, failed: bool, now: u64) -> Option<u64> {
        self.running.remove(&key);
        let retry = if failed {
            let count = self.failures.entry(key.clone()).or_insert(0);
            let pause = self.retry_first.saturating_mul(1_u64 << (*count).min(40)).min(self.retry_most);
            *count += 1;
            Some(now + pause)
        } else {
            self.failures.remove(&key);
            None
        };
        if let Some(at) = retry {
            self.add_at(key.clone(), at);
        }
        if self.again.remove(&key) {
            self.add(key); // what came meanwhile does not wait for the retry
        }
        retry
    }

    /// How many failures in a row a key has.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// Keys in line.
    pub fn depth(&self) -> usize {
        self.line.len()
    }

    /// Whether nothing is in line or running (timed keys may be).
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && self.running.is_empty()
    }
}
