//! The engine in memory: tests and simulation. Everything is visible, and as durable as the process, at once.

use crate::contract::*;
use crate::core::state::{Body, Event, Refusal, State, Version};
use bytes::Bytes;
use platform::limits::StoreLimits;
use platform::{WallTime, watch};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the file's head.
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    visible: watch::Sender<Revision>,
    limits: StoreLimits,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// An empty store at revision 0.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<dyn Store> {
        let shared = Shared {
            state: Mutex::new(State::new(Revision(0))),
            visible: watch::Sender::new(Revision(0)),
            limits: StoreLimits::default(),
        };
        Arc::new(Memory { shared: Arc::new(shared) })
    }

    fn commit_now(&self, commit: &Commit) -> Result<Committed, CommitError> {
        let mut state = self.shared.state();
        state.check(commit).map_err(|refusal| match refusal {
            Refusal::Conflict(key, current) => CommitError::Conflict { key, current },
            Refusal::Invalid(why) => CommitError::Invalid(why),
        })?;
        if commit.changes.is_empty() {
            return Ok(Committed { revision: state.tip(), records: Vec::new() });
        }
        let revision = Revision(state.tip().0 + 1);
        let events = state.apply(&commit.changes, &Arc::new(commit.meta.clone()), revision);
        self.shared.visible.send_replace(revision);
        Ok(Committed { revision, records: events.iter().map(Event::fresh_record).collect() })
    }
}

fn entry(version: &Version) -> Entry {
    // This engine never sends bytes away.
    let value = if let Body::Here(bytes) = version.body() { bytes } else { Bytes::new() };
    version.entry(value)
}

fn record(event: &Event) -> Record {
    Record { change: event.change, entry: entry(&event.now), prev: event.prev.as_deref().map(entry) }
}

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a str, at: At) -> BoxFuture<'a, Result<(Option<Entry>, Revision), ReadError>> {
        Box::pin(async move {
            let state = self.shared.state();
            let at = resolve(&state, at)?;
            Ok((state.get(key, at).map(|v| entry(&v)), at))
        })
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Range, ReadError>> {
        Box::pin(async move {
            let state = self.shared.state();
            let at = resolve(&state, request.at)?;
            let (versions, remaining) = state.range(&request.prefix, request.start.as_deref(), request.limit, at);
            Ok(Range { entries: versions.iter().map(|v| entry(v)).collect(), remaining, revision: at })
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move { self.commit_now(&commit) })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        let state = self.shared.state();
        state.readable(after, state.tip())?;
        let visible = self.shared.visible.subscribe();
        Ok(Watch::new(Source {
            shared: self.shared.clone(),
            visible,
            prefix: prefix.into(),
            after,
            ready: VecDeque::new(),
        }))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, ReadError>> {
        Box::pin(async move {
            let mut state = self.shared.state();
            state.readable(revision, state.tip())?;
            state.compact(revision);
            Ok(state.compacted())
        })
    }

    fn expire(&self, now: WallTime) -> BoxFuture<'_, Result<Option<WallTime>, CommitError>> {
        Box::pin(async move {
            loop {
                let (due, next) = self.shared.state().expired(now, self.shared.limits.expire_step);
                if due.is_empty() {
                    return Ok(next);
                }
                let meta = Meta { wall: now, component: "expiry".into(), ..Meta::default() };
                for key in due {
                    // One revision for each: they are objects of one resource.
                    match self.commit_now(&Commit {
                        changes: vec![Change::delete(key)],
                        meta: meta.clone(),
                        ..Commit::default()
                    }) {
                        Ok(_) | Err(CommitError::Conflict { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        })
    }

    fn revision(&self) -> Revision {
        *self.shared.visible.borrow()
    }

    fn status(&self) -> Status {
        let state = self.shared.state();
        let ((keys, live_bytes), (history, _)) = (state.live(), state.history());
        Status {
            revision: state.tip(),
            compacted: state.compacted(),
            keys,
            live_bytes,
            history,
            disk_bytes: 0,
            trouble: None,
            format: (0, 0),
        }
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, ReadError>> {
        Box::pin(async move {
            let state = self.shared.state();
            Ok(Snapshot { revision: state.tip(), entries: state.versions().map(|v| entry(v)).collect() })
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn resolve(state: &State, at: At) -> Result<Revision, ReadError> {
    match at {
        At::Latest => Ok(state.tip()),
        At::Revision(revision) => state.readable(revision, state.tip()).map(|()| revision),
    }
}

struct Source {
    shared: Arc<Shared>,
    visible: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
    ready: VecDeque<WatchItem>,
}

impl Source {
    /// Takes what happened since `after`; false if nothing did.
    fn pull(&mut self) -> Result<bool, ReadError> {
        let visible = *self.visible.borrow_and_update();
        if visible <= self.after {
            return Ok(false);
        }
        let state = self.shared.state();
        if self.after < state.compacted() {
            return Err(ReadError::Compacted { oldest: state.compacted() });
        }
        let (events, upto) = state.events(&self.prefix, self.after, visible, self.shared.limits.watch_step);
        drop(state);
        push_batches(&mut self.ready, events.iter().map(record), upto);
        self.after = upto;
        Ok(true)
    }
}

/// Groups records by revision; ends with progress if the last batch does not already say it.
pub(crate) fn push_batches(ready: &mut VecDeque<WatchItem>, records: impl Iterator<Item = Record>, upto: Revision) {
    for record in records {
        let revision = record.entry.revision;
        match ready.back_mut() {
            Some(WatchItem::Changes(batch)) if batch.revision == revision => batch.records.push(record),
            _ => ready.push_back(WatchItem::Changes(Batch { revision, records: vec![record] })),
        }
    }
    if !matches!(ready.back(), Some(WatchItem::Changes(batch)) if batch.revision == upto) {
        ready.push_back(WatchItem::Progress(upto));
    }
}

impl WatchSource for Source {
    fn next(&mut self) -> BoxFuture<'_, Result<WatchItem, ReadError>> {
        Box::pin(async move {
            loop {
                if let Some(item) = self.ready.pop_front() {
                    return Ok(item);
                }
                if !self.pull()? && self.visible.changed().await.is_err() {
                    return Err(ReadError::Unavailable("the store was closed".into()));
                }
            }
        })
    }
}
