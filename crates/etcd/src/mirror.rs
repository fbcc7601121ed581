//! The local copy of etcd: loaded once, kept up by one watch over everything, read by everybody.
//!
//! Every revision of etcd passes here in order, so the copy knows up to which revision it is complete, and a linearizable
//! read is: ask etcd for its revision, wait until the copy has it, read the copy.

use crate::core::layout::{Layout, change_of, read_kept};
use crate::proto::{
    Event, RangeRequest, WatchCreateRequest, WatchMessage, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::remote::{Failed, Remote};
use bytes::Bytes;
use futures_util::StreamExt;
use platform::time::{Duration, sleep, timeout};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::core::splice::splice;
use store::core::state::{Body, State, Version};
use store::{Change, Entry, Meta, Revision, Seal};
use tokio::sync::{mpsc, watch};

const PAGE: i64 = 1000;

/// See the file's head.
pub struct Mirror {
    /// Where the keys lie.
    pub layout: Layout,
    /// Opens sealed values.
    pub seal: Arc<dyn Seal>,
    /// Etcd.
    pub remote: Remote,
    state: Mutex<State>,
    visible: watch::Sender<Revision>,
    pending: Mutex<BTreeMap<u64, Option<Revision>>>,
    trouble: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// Loads everything that is there.
    pub async fn load(layout: Layout, seal: Arc<dyn Seal>, remote: Remote) -> Result<Mirror, Failed> {
        let (state, revision) = read_all(&layout, &*seal, &remote).await?;
        Ok(Mirror {
            layout,
            seal,
            remote,
            state: Mutex::new(state),
            visible: watch::Sender::new(revision),
            pending: Mutex::new(BTreeMap::new()),
            trouble: Mutex::new(None),
        })
    }

    /// The state; hold it shortly.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells when the copy moves.
    pub fn visible(&self) -> watch::Receiver<Revision> {
        self.visible.subscribe()
    }

    /// Up to where the copy is complete.
    pub fn revision(&self) -> Revision {
        *self.visible.borrow()
    }

    /// Why the copy does not move, if it does not.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Announces a transaction, so that its revision is noted when it passes.
    pub fn expect(&self, number: u64) {
        lock(&self.pending).insert(number, None);
    }

    /// The revision at which an announced transaction passed, if it did; it is forgotten.
    pub fn passed(&self, number: u64) -> Option<Revision> {
        lock(&self.pending).remove(&number).flatten()
    }

    /// Follows etcd until the task is ended.
    pub async fn follow(self: Arc<Mirror>) {
        loop {
            let ended = self.follow_once().await;
            tracing::warn!("the watch of etcd ended: {ended}; opening it again");
            *lock(&self.trouble) = Some(ended);
            self.remote.lost();
            sleep(self.remote.limits.retry).await;
        }
    }

    /// One watch, until it ends; answers why.
    async fn follow_once(&self) -> String {
        let (key, range_end) = self.layout.everything();
        let start_revision = (self.revision().0 + 1).cast_signed();
        let create = WatchMessage::Create(WatchCreateRequest { key, range_end, start_revision, progress_notify: true });
        let (send, receive) = mpsc::channel(4);
        let first = WatchRequest { request: Some(create) };
        if send.try_send(first).is_err() {
            return "the request could not be queued".into();
        }
        let requests =
            futures_util::stream::unfold(
                receive,
                |mut receive| async move { receive.recv().await.map(|r| (r, receive)) },
            );
        let mut stream = match self.remote.watch(requests).await {
            Ok(stream) => stream,
            Err(failed) => return failed.text().to_string(),
        };
        let limits = self.remote.limits;
        let mut quiet = Duration::ZERO;
        loop {
            match timeout(limits.ask, stream.next()).await {
                Ok(Some(Ok(response))) => {
                    quiet = Duration::ZERO;
                    if let Err(why) = self.take(response).await {
                        return why;
                    }
                }
                Ok(Some(Err(status))) => return status.message().to_string(),
                Ok(None) => return "the member closed it".into(),
                Err(_) => {
                    quiet += limits.ask;
                    if quiet >= limits.silence {
                        return format!("nothing was heard for {:?}", limits.silence);
                    }
                    let ask = WatchRequest { request: Some(WatchMessage::Progress(WatchProgressRequest {})) };
                    let _ = send.try_send(ask); // when the queue is full, questions are on their way already
                }
            }
        }
    }

    async fn take(&self, response: WatchResponse) -> Result<(), String> {
        if response.compact_revision > 0 {
            tracing::warn!(
                oldest = response.compact_revision,
                "etcd forgot revisions that were not seen yet; reading everything again"
            );
            let (state, revision) =
                read_all(&self.layout, &*self.seal, &self.remote).await.map_err(|f| f.text().to_string())?;
            *self.state() = state;
            self.visible.send_replace(revision);
            return Err("its revisions were compacted".into());
        }
        if response.canceled {
            return Err(response.cancel_reason);
        }
        *lock(&self.trouble) = None;
        let revision_of = |e: &Event| e.kv.as_ref().map_or(0, |kv| kv.mod_revision.cast_unsigned());
        for events in response.events.chunk_by(|a, b| revision_of(a) == revision_of(b)) {
            self.apply(Revision(revision_of(&events[0])), events);
        }
        Ok(())
    }

    fn apply(&self, revision: Revision, events: &[Event]) {
        let step = self.layout.step(events, &*self.seal);
        let mut state = self.state();
        if revision <= state.tip() {
            return; // seen before the watch broke
        }
        state.apply(&step.changes, &Arc::new(step.meta), revision);
        if let Some(number) = step.number
            && let Some(place) = lock(&self.pending).get_mut(&number)
        {
            *place = Some(revision);
        }
        drop(state);
        self.visible.send_replace(revision);
    }
}

/// Everything at one revision, page by page.
async fn read_all(layout: &Layout, seal: &dyn Seal, remote: &Remote) -> Result<(State, Revision), Failed> {
    let mut kept = BTreeMap::new();
    let (key, range_end) = layout.kept();
    let revision = pages(remote, key, range_end, 0, |kv| {
        if let (Some(key), Some(found)) = (layout.kept_key_of(&kv.key), read_kept(&kv.value)) {
            kept.insert(key.to_string(), found);
        }
    })
    .await?;
    let mut state = State::new(Revision(revision.cast_unsigned()));
    let nobody = Arc::new(Meta::default());
    let (key, range_end) = layout.objects();
    pages(remote, key, range_end, revision, |kv| {
        let Some(key) = layout.key_of(&kv.key) else { return };
        let beside = kept.remove(key);
        let change = change_of(key, kv, beside.as_ref().map(|(k, _)| k), seal);
        let Change::Put { key, value, rv_at, seal: sealed, expires } = change else { return };
        let revision = Revision(kv.mod_revision.cast_unsigned());
        let meta = beside.map_or_else(|| nobody.clone(), |(_, meta)| Arc::new(meta));
        let created = Revision(kv.create_revision.cast_unsigned());
        let value = splice(&value, rv_at, revision);
        state.load(
            Entry { key, value, rv_at, revision, created, version: kv.version.cast_unsigned(), expires, meta },
            sealed,
            None,
        );
    })
    .await?;
    Ok((state, Revision(revision.cast_unsigned())))
}

/// Calls `each` for every key of a range at `revision` (0: now); answers the revision.
async fn pages(
    remote: &Remote,
    mut key: Vec<u8>,
    range_end: Vec<u8>,
    mut revision: i64,
    mut each: impl FnMut(&crate::proto::KeyValue),
) -> Result<i64, Failed> {
    loop {
        let request =
            RangeRequest { key: key.clone(), range_end: range_end.clone(), limit: PAGE, revision, count_only: false };
        let page = remote.range(request).await?;
        if revision == 0 {
            revision = page.header.as_ref().map_or(0, |h| h.revision);
        }
        page.kvs.iter().for_each(&mut each);
        match page.kvs.last() {
            Some(last) if page.more => {
                key = last.key.to_vec();
                key.push(0);
            }
            _ => return Ok(revision),
        }
    }
}

/// A version's public form: nothing is ever sent away here.
pub fn entry(version: &Version) -> Entry {
    let value = if let Body::Here(bytes) = version.body() { bytes } else { Bytes::new() };
    version.entry(value)
}
