//! The recent events of a resource, bounded by number and bytes.

use crate::{Limits, Object, Slot};
use std::collections::VecDeque;
use std::sync::Arc;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub revision: u64,
    /// The object after it (for a deletion: the last one, with the deletion's revision).
    pub object: Arc<Object>,
    /// The object before it.
    pub prev: Option<Arc<Object>>,
    /// The frames in which it is sent: chosen and made by readers, shared between them.
    pub frames: Slot,
}

pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Everything above this revision is in `events`.
    start: u64,
    newest: u64,
    limits: Limits,
}

impl History {
    pub fn new(revision: u64, limits: Limits) -> History {
        History { events: VecDeque::new(), bytes: 0, start: revision, newest: revision, limits }
    }

    pub fn clear(&mut self, revision: u64) {
        *self = History::new(revision, self.limits);
    }

    pub fn push(&mut self, kind: EventKind, object: Arc<Object>, prev: Option<Arc<Object>>) -> Arc<Event> {
        assert!(
            object.revision > self.newest,
            "events come in the order of revisions: {} after {}",
            object.revision,
            self.newest
        );
        self.newest = object.revision;
        self.bytes += object.size();
        let event = Arc::new(Event { kind, revision: object.revision, object, prev, frames: Slot::default() });
        self.events.push_back(event.clone());
        while self.events.len() > self.limits.events || (self.bytes > self.limits.bytes && self.events.len() > 1) {
            if let Some(old) = self.events.pop_front() {
                self.bytes -= old.object.size();
                self.start = old.revision;
            }
        }
        event
    }

    pub fn oldest(&self) -> u64 {
        self.start
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The event of a revision, or the fact that it is gone.
    pub fn at(&self, revision: u64) -> Result<Arc<Event>, u64> {
        let at = self.events.partition_point(|e| e.revision < revision);
        self.events.get(at).filter(|e| e.revision == revision).cloned().ok_or(self.start)
    }

    /// The first event above `after`, or the fact that it is gone.
    pub fn next_after(&self, after: u64) -> Result<Option<Arc<Event>>, u64> {
        if after < self.start {
            return Err(self.start);
        }
        let at = self.events.partition_point(|e| e.revision <= after);
        Ok(self.events.get(at).cloned())
    }
}
