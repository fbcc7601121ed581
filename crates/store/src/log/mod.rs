//! The durable engine: an append-only log with group commit, snapshots, and history in memory under a budget.
//!
//! The shell around [`core::committer`](crate::core::committer): one task owns the committer and runs its disk requests, one
//! rewrites the log as a snapshot when it has grown; callers read the shared state under a short lock. After a failed disk
//! request the directory is read again and the service goes on, or says why not in [`Status::trouble`].
//!
//! Files: `LOCK`, `VERSION`, `%020d.log` segments, `%020d.snap` (all keys at the compaction revision; at most one counts).

mod files;
mod recover;
mod rewrite;

use crate::contract::*;
use crate::core::committer::{Committer, Input, Outcome, Output, Pending};
use crate::core::splice::resplice;
use crate::core::state::{Body, Event, Refusal, State, Version};
use crate::memory::push_batches;
use crate::seal::Seal;
use bytes::Bytes;
use files::Files;
use platform::disk::{Disk, DiskError};
use platform::watch;
use platform::{Env, WallTime, time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

pub use crate::core::committer::Limits;
pub use crate::core::record::Formats;
pub use recover::OpenError;

/// See the file's head. Clones are handles of one engine.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    submit: mpsc::Sender<Message>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    visible: watch::Sender<Revision>,
    files: Files,
    seal: Option<Arc<dyn Seal>>,
    limits: Limits,
    formats: Formats,
    trouble: Mutex<Option<String>>,
    /// How often the state was read again.
    generation: AtomicU64,
    _lock: Box<dyn Send + Sync>,
}

enum Message {
    Commit { commit: Commit, texts: Vec<Option<crate::Sealed>>, reply: oneshot::Sender<Outcome> },
    Close(oneshot::Sender<()>),
}

/// Opens (or makes) the store in `disk`.
///
/// `seal` encrypts what commits mark for it; without one such commits are refused.
pub async fn open(
    env: &Env,
    disk: Arc<dyn Disk>,
    seal: Option<Arc<dyn Seal>>,
    limits: Limits,
) -> Result<Arc<Log>, OpenError> {
    open_as(env, disk, seal, limits, Formats::OURS).await
}

/// [`open`], by a program with other formats: what tests of upgrades need.
pub async fn open_as(
    env: &Env,
    disk: Arc<dyn Disk>,
    seal: Option<Arc<dyn Seal>>,
    limits: Limits,
    formats: Formats,
) -> Result<Arc<Log>, OpenError> {
    let lock = disk.lock().await?;
    let opened = recover::open(&disk, seal.as_deref(), limits, formats, None).await?;
    let visible = opened.state.tip();
    let shared = Arc::new(Shared {
        state: Mutex::new(opened.state),
        visible: watch::Sender::new(visible),
        files: Files::new(disk, opened.files, opened.format),
        formats,
        seal,
        limits,
        trouble: Mutex::new(None),
        generation: AtomicU64::new(0),
        _lock: lock,
    });
    let committer = Committer::new(limits, opened.segment, opened.offset, visible, opened.reserved);
    let (submit, messages) = mpsc::channel(limits.queue.max(1));
    let (wake, woken) = watch::channel(());
    env.spawn("store-rewrite", rewrite::run(env.clone(), Arc::downgrade(&shared), woken));
    let engine = Engine {
        env: env.clone(),
        shared: shared.clone(),
        committer,
        waiting: BTreeMap::new(),
        next: 0,
        sync_at: None,
        wake,
    };
    env.spawn("store-committer", engine.run(messages));
    Ok(Arc::new(Log { shared, submit }))
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> Revision {
        *self.visible.borrow()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// A version's final bytes, from memory or from disk.
    async fn bytes(&self, version: &Version) -> Result<Bytes, ReadError> {
        let mut last = None;
        loop {
            match version.body() {
                Body::Here(bytes) => return Ok(bytes),
                // Its file may have been replaced by a snapshot in between: then it has another place now.
                Body::Away(place) if last == Some(place) => {
                    return Err(ReadError::Unavailable(format!(
                        "{} at revision {} is not on disk",
                        version.key, version.revision
                    )));
                }
                Body::Away(place) => {
                    last = Some(place);
                    if let Some(bytes) = self.files.value(place, version, self.seal.as_deref()).await? {
                        return Ok(bytes);
                    }
                }
            }
        }
    }

    async fn entry(&self, version: &Version) -> Result<Entry, ReadError> {
        Ok(version.entry(self.bytes(version).await?))
    }

    async fn record(&self, event: &Event) -> Result<Record, ReadError> {
        let prev = match &event.prev {
            Some(prev) => Some(self.entry(prev).await?),
            None => None,
        };
        let entry = match (event.change, event.now.body(), &prev) {
            (Changed::Deleted, Body::Away(_), Some(prev)) => {
                event.now.entry(resplice(&prev.value, prev.rv_at, prev.revision, event.revision))
            }
            _ => self.entry(&event.now).await?,
        };
        Ok(Record { change: event.change, entry, prev })
    }

    /// A failed read of the state at `at`: gone, if it was reclaimed meanwhile.
    fn failed(&self, at: Revision, error: ReadError) -> ReadError {
        self.state().readable(at, self.seen()).err().unwrap_or(error)
    }

    fn resolve(&self, state: &State, at: At) -> Result<Revision, ReadError> {
        let visible = self.seen();
        match at {
            At::Latest => Ok(visible),
            At::Revision(revision) => state.readable(revision, visible).map(|()| revision),
        }
    }
}

impl Log {
    async fn submit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        let texts = self.seal(&commit)?;
        let (reply, answer) = oneshot::channel();
        let gone = || CommitError::Unavailable("the store is closed".into());
        self.submit.send(Message::Commit { commit, texts, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    fn seal(&self, commit: &Commit) -> Result<Vec<Option<crate::Sealed>>, CommitError> {
        let one = |change: &Change| match change {
            Change::Put { key, value, seal: true, .. } => match &self.shared.seal {
                Some(seal) => seal.seal(key, value).map(Some).map_err(|e| CommitError::Seal(e.0)),
                None => Err(CommitError::Seal(format!("{key}: no encryption key was given to the store"))),
            },
            _ => Ok(None),
        };
        commit.changes.iter().map(one).collect()
    }

    async fn commit_inner(&self, commit: Commit) -> Result<Committed, CommitError> {
        match self.submit(commit).await? {
            Outcome::Done(committed) => Ok(committed),
            Outcome::Refused(Refusal::Conflict(key, current)) => Err(CommitError::Conflict { key, current }),
            Outcome::Refused(Refusal::Invalid(why)) => Err(CommitError::Invalid(why)),
            Outcome::Full(why) => Err(CommitError::Full(why)),
            Outcome::Unavailable(why) => Err(CommitError::Unavailable(why)),
        }
    }
}

impl Store for Log {
    fn get<'a>(&'a self, key: &'a str, at: At) -> BoxFuture<'a, Result<(Option<Entry>, Revision), ReadError>> {
        Box::pin(async move {
            let (version, at) = {
                let state = self.shared.state();
                let at = self.shared.resolve(&state, at)?;
                (state.get(key, at), at)
            };
            match version {
                Some(version) => {
                    let entry = self.shared.entry(&version).await.map_err(|e| self.shared.failed(at, e))?;
                    Ok((Some(entry), at))
                }
                None => Ok((None, at)),
            }
        })
    }

    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Range, ReadError>> {
        Box::pin(async move {
            let ((versions, remaining), revision) = {
                let state = self.shared.state();
                let at = self.shared.resolve(&state, request.at)?;
                (state.range(&request.prefix, request.start.as_deref(), request.limit, at), at)
            };
            let mut entries = Vec::with_capacity(versions.len());
            for version in &versions {
                entries.push(self.shared.entry(version).await.map_err(|e| self.shared.failed(revision, e))?);
            }
            Ok(Range { entries, remaining, revision })
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.commit_inner(commit))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        let state = self.shared.state();
        state.readable(after, self.shared.seen())?;
        let visible = self.shared.visible.subscribe();
        Ok(Watch::new(Source {
            shared: self.shared.clone(),
            visible,
            prefix: prefix.into(),
            after,
            taken: None,
            ready: VecDeque::new(),
        }))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, ReadError>> {
        Box::pin(async move {
            let mut state = self.shared.state();
            state.readable(revision, self.shared.seen())?;
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
                let deletes = due.into_iter().map(|key| {
                    // Each has its revision: they are objects of one resource. Cheap: an expiry can be repeated.
                    self.submit(
                        Commit { changes: vec![Change::delete(key)], meta: meta.clone(), ..Commit::default() }.cheap(),
                    )
                });
                for outcome in futures_join(deletes.collect()).await {
                    match outcome? {
                        Outcome::Done(_) | Outcome::Refused(_) => {}
                        Outcome::Full(why) => return Err(CommitError::Full(why)),
                        Outcome::Unavailable(why) => return Err(CommitError::Unavailable(why)),
                    }
                }
            }
        })
    }

    fn revision(&self) -> Revision {
        self.shared.seen()
    }

    fn lost(&self, at: Revision) -> Option<Revision> {
        self.shared.state().lost(at)
    }

    fn status(&self) -> Status {
        let revision = self.shared.seen();
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = self.shared.state();
        let ((keys, live_bytes), (history, _)) = (state.live(), state.history());
        Status {
            revision,
            compacted: state.compacted(),
            keys,
            live_bytes,
            history,
            disk_bytes: self.shared.files.bytes(),
            trouble,
            format: (self.shared.files.format(), self.shared.formats.newest),
        }
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, ReadError>> {
        Box::pin(async move {
            let range = self.range(RangeRequest::prefix("")).await?;
            Ok(Snapshot { revision: range.revision, entries: range.entries })
        })
    }

    fn finalize(&self) -> BoxFuture<'_, Result<u32, String>> {
        Box::pin(async move {
            let newest = self.shared.formats.newest;
            if self.shared.files.format() < newest {
                self.shared.files.finalize(newest).await.map_err(|e| format!("write the store's format: {e}"))?;
            }
            Ok(newest)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            if self.submit.send(Message::Close(reply)).await.is_ok() {
                let _ = done.await; // the committer is gone: closed as well
            }
        })
    }
}

/// Awaits all of a small number of futures, in order of their start.
async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                std::task::Poll::Ready(value) => *output = Some(value),
                std::task::Poll::Pending => pending = true,
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

struct Source {
    shared: Arc<Shared>,
    visible: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
    /// Taken from the history, not yet turned into batches: kept here so that `next` can be cancelled while it reads disk.
    taken: Option<(Vec<Event>, Revision)>,
    ready: VecDeque<WatchItem>,
}

impl Source {
    async fn pull(&mut self) -> Result<bool, ReadError> {
        if self.taken.is_none() {
            let visible = *self.visible.borrow_and_update();
            if visible <= self.after {
                return Ok(false);
            }
            let state = self.shared.state();
            state.readable(self.after, visible)?;
            self.taken = Some(state.events(&self.prefix, self.after, visible, self.shared.limits.watch_step));
        }
        if let Some((events, upto)) = &self.taken {
            let mut records = Vec::with_capacity(events.len());
            for event in events {
                match self.shared.record(event).await {
                    Ok(record) => records.push(record),
                    // Its file may have been reclaimed meanwhile: then say so.
                    Err(error) => return Err(self.shared.failed(self.after, error)),
                }
            }
            push_batches(&mut self.ready, records.into_iter(), *upto);
            self.after = *upto;
            self.taken = None;
        }
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
                if !self.pull().await? && self.visible.changed().await.is_err() {
                    return Err(ReadError::Unavailable("the store was closed".into()));
                }
            }
        })
    }
}

/// The committer's task.
struct Engine {
    env: Env,
    shared: Arc<Shared>,
    committer: Committer,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    next: u64,
    sync_at: Option<time::Instant>,
    wake: watch::Sender<()>,
}

type Request = std::pin::Pin<Box<dyn Future<Output = Result<(), DiskError>> + Send>>;

/// What the task was woken by.
enum Woken {
    Done(Result<(), DiskError>),
    Message(Option<Message>),
    SyncDue,
}

async fn either(
    request: &mut Option<Request>,
    messages: &mut mpsc::Receiver<Message>,
    sync_at: Option<time::Instant>,
) -> Woken {
    tokio::select! {
        biased;
        result = async { match request { Some(request) => request.await, None => std::future::pending().await } } => Woken::Done(result),
        () = async { match sync_at { Some(at) => time::sleep_until(at).await, None => std::future::pending().await } } => Woken::SyncDue,
        message = messages.recv() => Woken::Message(message),
    }
}

impl Engine {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut request: Option<Request> = None;
        let mut closing: Option<oneshot::Sender<()>> = None;
        loop {
            let inputs = match either(&mut request, &mut messages, self.sync_at).await {
                Woken::Done(result) => {
                    request = None;
                    vec![Input::Done(result)]
                }
                Woken::SyncDue => {
                    self.sync_at = None;
                    vec![Input::SyncDue]
                }
                Woken::Message(None) => return, // every handle is gone
                Woken::Message(Some(message)) => self.gather(message, &mut messages, &mut closing),
            };
            let mut outputs = Vec::new();
            for input in inputs {
                outputs.extend(self.committer.step(&mut self.shared.state(), input));
            }
            for output in outputs {
                match output {
                    Output::Closed => {
                        self.shared.set_trouble(Some("the store is closed".into()));
                        if let Some(reply) = closing.take() {
                            let _ = reply.send(()); // nobody waits: fine
                        }
                    }
                    Output::Broken { error, durable } => {
                        self.reopen(error, durable, &mut messages).await;
                        if let Some(reply) = closing.take() {
                            let _ = reply.send(()); // nobody waits: fine
                        }
                    }
                    other => request = self.output(other).or(request),
                }
            }
        }
    }

    /// Takes the whole queue, in order: what was submitted before a close is written before the end.
    fn gather(
        &mut self,
        first: Message,
        messages: &mut mpsc::Receiver<Message>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) -> Vec<Input> {
        let mut pending = Vec::new();
        let mut message = Some(first);
        while let Some(taken) = message {
            match taken {
                Message::Commit { commit, texts, reply } => {
                    self.waiting.insert(self.next, reply);
                    pending.push(Pending { ticket: self.next, commit, texts });
                    self.next += 1;
                }
                Message::Close(reply) => {
                    *closing = Some(reply);
                    return vec![Input::Submit(pending), Input::Close];
                }
            }
            message = messages.try_recv().ok();
        }
        vec![Input::Submit(pending)]
    }

    fn output(&mut self, output: Output) -> Option<Request> {
        let files = self.shared.files.clone();
        match output {
            Output::Write { offset, data, sync } => {
                files.grew(data.len() as u64);
                Some(Box::pin(async move { files.current().await?.write(offset, data, sync).await }))
            }
            Output::Sync => Some(Box::pin(async move { files.current().await?.sync().await })),
            Output::Truncate(offset) => Some(Box::pin(async move {
                let file = files.current().await?;
                file.truncate(offset).await?;
                file.sync().await
            })),
            Output::Roll { number, after, reserved } => {
                Some(Box::pin(async move { files.roll(number, after, reserved).await }))
            }
            Output::Visible(revision) => {
                self.shared.state().shrink(self.shared.limits.history_bytes, revision);
                self.shared.visible.send_replace(revision);
                self.wake.send_replace(());
                None
            }
            Output::Answer(ticket, outcome) => {
                if let Some(reply) = self.waiting.remove(&ticket) {
                    let _ = reply.send(outcome); // the caller gave up; the commit stands
                }
                None
            }
            Output::SyncLater => {
                self.sync_at = Some(time::Instant::now() + self.shared.limits.cheap_delay);
                None
            }
            Output::Broken { .. } | Output::Closed => None,
        }
    }

    /// Reads the disk again after a failed request, until that works; meanwhile commits are refused.
    async fn reopen(&mut self, error: String, durable: u64, messages: &mut mpsc::Receiver<Message>) {
        tracing::error!(error, "the store's disk failed; reading it again");
        self.shared.set_trouble(Some(error));
        let mut pause = self.shared.limits.reopen_first;
        let segment = self.shared.files.current_number();
        self.sync_at = None;
        loop {
            let disk = self.shared.files.disk();
            let visible = self.shared.seen();
            let trusted = recover::Trusted { segment, durable, above: visible };
            let seal = self.shared.seal.as_deref();
            match recover::open(&disk, seal, self.shared.limits, self.shared.formats, Some(trusted)).await {
                Ok(opened) => {
                    let tip = opened.state.tip();
                    self.shared.files.replace(opened.files);
                    *self.shared.state() = opened.state;
                    self.shared.generation.fetch_add(1, Ordering::SeqCst);
                    self.committer =
                        Committer::new(self.shared.limits, opened.segment, opened.offset, tip, opened.reserved);
                    self.shared.set_trouble(None);
                    self.shared.visible.send_replace(tip);
                    tracing::warn!(revision = tip.0, "the store was read again and accepts writes");
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the store could not be read again");
                    self.shared.set_trouble(Some(error.to_string()));
                }
            }
            let until = self.env.now() + pause;
            pause = (pause * 2).min(self.shared.limits.reopen_most);
            while let Ok(Some(message)) = time::timeout_at(until, messages.recv()).await {
                match message {
                    Message::Commit { reply, .. } => {
                        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let _ = reply.send(Outcome::Unavailable(trouble.unwrap_or_default())); // the caller gave up
                    }
                    Message::Close(reply) => {
                        let _ = reply.send(()); // the caller gave up
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
