//! The store's contract over etcd: writes are one transaction each, reads and watches are answered from the [`Mirror`].

use crate::core::layout::Layout;
use crate::mirror::{Mirror, entry};
use crate::proto::{CompactionRequest, RangeRequest};
use crate::remote::{Access, Failed, Remote};
use platform::time::{sleep, timeout};
use platform::{Env, Rng, WallTime};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::core::state::{Event, Refusal};
use store::{
    At, Batch, BoxFuture, Change, Commit, CommitError, Committed, Entry, Meta, Range, RangeRequest as StoreRange,
    ReadError, Record, Revision, Seal, Snapshot, Status, Store, Watch, WatchItem, WatchSource,
};
use tokio::sync::watch;
use tonic::Code;

/// How the engine is opened.
pub struct Options {
    /// How etcd is reached.
    pub access: Access,
    /// Stands before every key in etcd (upstream's `--etcd-prefix` without `/registry`); usually empty.
    pub root: String,
    /// Keys of the store begin with this (`/registry/`); others in etcd are left alone.
    pub prefix: String,
    /// Encrypts what asks for it.
    pub seal: Arc<dyn Seal>,
}

/// The engine.
pub struct Etcd {
    mirror: Arc<Mirror>,
    rng: Mutex<Rng>,
    closed: AtomicBool,
    /// How many readers came, and for which of them etcd's revision was last asked.
    readers: AtomicU64,
    latest: tokio::sync::Mutex<(u64, Revision)>,
}

/// Connects, loads what is there, and follows it.
pub async fn open(env: &Env, options: Options) -> Result<Arc<dyn Store>, String> {
    let remote = Remote::new(&options.access, env.limits().etcd)?;
    let layout = Layout { root: options.root, prefix: options.prefix };
    let mirror = Mirror::load(layout, options.seal, remote).await.map_err(|f| f.text().to_string())?;
    let mirror = Arc::new(mirror);
    drop(env.spawn("etcd-watch", mirror.clone().follow())); // detached: it ends with the process
    let rng = Mutex::new(Rng::from_system());
    Ok(Arc::new(Etcd {
        mirror,
        rng,
        closed: AtomicBool::new(false),
        readers: AtomicU64::new(0),
        latest: tokio::sync::Mutex::default(),
    }))
}

fn record(event: &Event) -> Record {
    Record { change: event.change, entry: entry(&event.now), prev: event.prev.as_deref().map(entry) }
}

impl Etcd {
    /// Etcd's revision, asked after this call began; readers that wait together share one question.
    async fn latest(&self) -> Result<Revision, ReadError> {
        let me = self.readers.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.latest.lock().await;
        if last.0 >= me {
            return Ok(last.1);
        }
        let asked_for = self.readers.load(Ordering::SeqCst);
        let nothing = RangeRequest { key: vec![0], count_only: true, ..RangeRequest::default() };
        let answer =
            self.mirror.remote.range(nothing).await.map_err(|f| ReadError::Unavailable(f.text().to_string()))?;
        let revision = Revision(answer.header.map_or(0, |h| h.revision.cast_unsigned()));
        *last = (asked_for, revision);
        Ok(revision)
    }

    /// Waits until the copy has `revision`.
    async fn reach(&self, revision: Revision) -> Result<(), ReadError> {
        let mut visible = self.mirror.visible();
        let waited = timeout(self.mirror.remote.limits.arrive, visible.wait_for(|at| *at >= revision)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let why = self.mirror.trouble().unwrap_or_else(|| "its watch is late".into());
                Err(ReadError::Unavailable(format!(
                    "revision {revision} of etcd did not arrive within {:?}: {why}",
                    self.mirror.remote.limits.arrive
                )))
            }
        }
    }

    /// The copy's state is at least what etcd had when this was called.
    async fn fresh(&self) -> Result<(), ReadError> {
        let revision = self.latest().await?;
        self.reach(revision).await
    }

    async fn resolve(&self, at: At) -> Result<Option<Revision>, ReadError> {
        match at {
            At::Latest => self.fresh().await.map(|()| None),
            At::Revision(revision) => {
                if revision > self.mirror.revision() {
                    self.fresh().await?;
                }
                let state = self.mirror.state();
                state.readable(revision, state.tip()).map(|()| Some(revision))
            }
        }
    }

    fn check(&self, commit: &Commit) -> Result<(), CommitError> {
        self.mirror.state().check(commit).map_err(|refusal| match refusal {
            Refusal::Conflict(key, current) => CommitError::Conflict { key, current },
            Refusal::Invalid(why) => CommitError::Invalid(why),
        })
    }

    async fn commit_now(&self, commit: &Commit) -> Result<Committed, CommitError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(CommitError::Unavailable("the store was closed".into()));
        }
        if let Err(error @ CommitError::Invalid(_)) = self.check(commit) {
            return Err(error); // conflicts are etcd's to find
        }
        let unavailable = |e: ReadError| CommitError::Unavailable(e.to_string());
        if commit.changes.is_empty() {
            self.fresh().await.map_err(unavailable)?;
            self.check(commit)?;
            return Ok(Committed { revision: self.mirror.revision(), records: Vec::new() });
        }
        for _ in 0..self.mirror.remote.limits.tries {
            let number = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64();
            let txn = self
                .mirror
                .layout
                .transaction(commit, number, &*self.mirror.seal)
                .map_err(|e| CommitError::Seal(e.to_string()))?;
            self.mirror.expect(number);
            let result = self.mirror.remote.txn(txn).await;
            let found = match result {
                Ok(answer) => {
                    let revision = Revision(answer.header.map_or(0, |h| h.revision.cast_unsigned()));
                    self.reach(revision).await.map_err(unavailable)?;
                    self.mirror.passed(number);
                    if answer.succeeded { Some(revision) } else { None }
                }
                Err(Failed::Refused(code, text)) => {
                    self.mirror.passed(number);
                    return Err(refused(code, text));
                }
                Err(Failed::Unknown(text)) => Some(self.find_out(number, &text).await?),
            };
            match found {
                Some(revision) => return Ok(self.committed(revision)),
                None => self.check(commit)?, // the conflict, as it is now; if there is none any more, try again
            }
        }
        Err(CommitError::Unavailable("the keys change faster than they can be compared; try again".into()))
    }

    /// Whether a transaction whose answer was lost happened: by reading, never by repeating.
    async fn find_out(&self, number: u64, why: &str) -> Result<Revision, CommitError> {
        let read = async {
            loop {
                if self.fresh().await.is_ok() {
                    return;
                }
                sleep(self.mirror.remote.limits.retry).await;
            }
        };
        let read = timeout(self.mirror.remote.limits.arrive, read).await;
        match (self.mirror.passed(number), read) {
            (Some(revision), _) => Ok(revision),
            (None, _) => {
                Err(CommitError::Unavailable(format!("{why}; the write has not been seen, read before trying again")))
            }
        }
    }

    fn committed(&self, revision: Revision) -> Committed {
        let state = self.mirror.state();
        let (events, _) = state.events("", Revision(revision.0.saturating_sub(1)), revision, usize::MAX);
        Committed { revision, records: events.iter().map(record).collect() }
    }
}

fn refused(code: Code, text: String) -> CommitError {
    match code {
        Code::InvalidArgument => CommitError::Invalid(text),
        Code::ResourceExhausted => CommitError::Full(text),
        _ => CommitError::Unavailable(text),
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str, at: At) -> BoxFuture<'a, Result<(Option<Entry>, Revision), ReadError>> {
        Box::pin(async move {
            let at = self.resolve(at).await?;
            let state = self.mirror.state();
            let at = at.unwrap_or(state.tip());
            Ok((state.get(key, at).map(|v| entry(&v)), at))
        })
    }

    fn range(&self, request: StoreRange) -> BoxFuture<'_, Result<Range, ReadError>> {
        Box::pin(async move {
            let at = self.resolve(request.at).await?;
            let state = self.mirror.state();
            let at = at.unwrap_or(state.tip());
            let (versions, remaining) = state.range(&request.prefix, request.start.as_deref(), request.limit, at);
            Ok(Range { entries: versions.iter().map(|v| entry(v)).collect(), remaining, revision: at })
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move { self.commit_now(&commit).await })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        let state = self.mirror.state();
        state.readable(after, state.tip())?;
        let visible = self.mirror.visible();
        Ok(Watch::new(Source {
            mirror: self.mirror.clone(),
            visible,
            prefix: prefix.into(),
            after,
            ready: VecDeque::new(),
        }))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, ReadError>> {
        Box::pin(async move {
            self.resolve(At::Revision(revision)).await?;
            match self.mirror.remote.compact(CompactionRequest { revision: revision.0.cast_signed() }).await {
                Ok(_) | Err(Failed::Refused(Code::OutOfRange, _)) => {} // another server was faster
                Err(failed) => return Err(ReadError::Unavailable(failed.text().to_string())),
            }
            let mut state = self.mirror.state();
            state.compact(revision);
            Ok(state.compacted())
        })
    }

    fn expire(&self, now: WallTime) -> BoxFuture<'_, Result<Option<WallTime>, CommitError>> {
        Box::pin(async move {
            loop {
                let (due, next) = self.mirror.state().expired(now, self.mirror.remote.limits.expire_step);
                if due.is_empty() {
                    return Ok(next);
                }
                let meta = Meta { wall: now, component: "expiry".into(), ..Meta::default() };
                for key in due {
                    let commit = Commit { changes: vec![Change::delete(key)], meta: meta.clone(), ..Commit::default() };
                    match self.commit_now(&commit).await {
                        Ok(_) | Err(CommitError::Conflict { .. }) => {} // another server was faster
                        Err(error) => return Err(error),
                    }
                }
            }
        })
    }

    fn revision(&self) -> Revision {
        self.mirror.revision()
    }

    fn status(&self) -> Status {
        let state = self.mirror.state();
        let ((keys, live_bytes), (history, _)) = (state.live(), state.history());
        let (revision, compacted) = (state.tip(), state.compacted());
        drop(state);
        let trouble = self.mirror.trouble();
        Status { revision, compacted, keys, live_bytes, history, disk_bytes: 0, trouble, format: (0, 0) }
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, ReadError>> {
        Box::pin(async move {
            self.fresh().await?;
            let state = self.mirror.state();
            Ok(Snapshot { revision: state.tip(), entries: state.versions().map(|v| entry(v)).collect() })
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.closed.store(true, Ordering::SeqCst) })
    }
}

/// A watch over the copy's history, at its own pace.
struct Source {
    mirror: Arc<Mirror>,
    visible: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
    ready: VecDeque<WatchItem>,
}

impl Source {
    fn pull(&mut self) -> Result<bool, ReadError> {
        let visible = *self.visible.borrow_and_update();
        let state = self.mirror.state();
        if self.after < state.compacted() {
            return Err(ReadError::Compacted { oldest: state.compacted() });
        }
        if visible <= self.after {
            return Ok(false);
        }
        let (events, upto) = state.events(&self.prefix, self.after, visible, self.mirror.remote.limits.watch_step);
        drop(state);
        for batch in events.chunk_by(|a, b| a.revision == b.revision) {
            self.ready.push_back(WatchItem::Changes(Batch {
                revision: batch[0].revision,
                records: batch.iter().map(record).collect(),
            }));
        }
        if events.last().is_none_or(|e| e.revision != upto) {
            self.ready.push_back(WatchItem::Progress(upto));
        }
        self.after = upto;
        Ok(true)
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
