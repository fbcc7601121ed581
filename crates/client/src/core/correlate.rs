//! What becomes of an event: a new object, a higher count on an old one, or nothing because its source says too much.
//! Source of the limits: `client-go/tools/record/events_cache.go` (burst 25, one more every 5 minutes).

use std::collections::BTreeMap;

const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
const REMEMBERED_MOST: usize = 4096;
/// An event that was silent for longer begins a new series.
const SERIES_SECONDS: i64 = 600;

/// Everything that makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Same {
    /// Uid of the object it is about.
    pub uid: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
}

/// What to do with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Make a new object.
    New,
    /// Raise the count of this object.
    Again {
        /// Its name.
        name: String,
        /// Its new count.
        count: u64,
    },
    /// Say nothing.
    Drop,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: u64,
    last: i64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: i64,
}

/// What was said lately.
#[derive(Debug, Default)]
pub struct Correlator {
    series: BTreeMap<Same, Series>,
    buckets: BTreeMap<String, Bucket>,
}

impl Correlator {
    /// Decides about an event at `now` (seconds).
    pub fn judge(&mut self, event: &Same, now: i64) -> Verdict {
        if !self.spend(&event.uid, now) {
            return Verdict::Drop;
        }
        match self.series.get_mut(event) {
            Some(series) if now - series.last <= SERIES_SECONDS => {
                series.count += 1;
                series.last = now;
                Verdict::Again { name: series.name.clone(), count: series.count }
            }
            _ => Verdict::New,
        }
    }

    /// The event is now the object `name`.
    pub fn made(&mut self, event: Same, name: String, now: i64) {
        if self.series.len() >= REMEMBERED_MOST {
            let oldest = self.series.iter().min_by_key(|(_, s)| s.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.series.remove(&key));
        }
        self.series.insert(event, Series { name, count: 1, last: now });
    }

    /// Its object is gone.
    pub fn forget(&mut self, event: &Same) {
        self.series.remove(event);
    }

    fn spend(&mut self, uid: &str, now: i64) -> bool {
        if self.buckets.len() >= REMEMBERED_MOST && !self.buckets.contains_key(uid) {
            let oldest = self.buckets.iter().min_by_key(|(_, b)| b.at).map(|(key, _)| key.clone());
            oldest.map(|key| self.buckets.remove(&key));
        }
        let bucket = self.buckets.entry(uid.to_string()).or_insert(Bucket { tokens: BURST, at: now });
        bucket.tokens = (bucket.tokens + (now - bucket.at).max(0) as f64 * REFILL_PER_SECOND).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}
