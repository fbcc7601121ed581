//! The controller runner: a controller says which changes wake which key, gathers what a decision needs, and plans; the runner
//! owns the rest: the queue, one run per key, rate limits, retries, events, counters.
//!
//! *Read-your-writes*: after a plan is applied its key is held until the caches have seen what was written, so that a
//! controller never decides on a state older than its own last action. A hold ends after a time (`ClientLimits::hold`) in any case.

use crate::client::{At, Client, DeleteOptions, PatchKind, decode};
use crate::core::queue::Queue;
use crate::error::Error;
use crate::events::{Event, Recorder, Regarding};
use crate::informer::{Change, Informer};
use crate::resource::Resource;
use crate::transport::BoxFuture;
use crate::view::{ObjectKey, Partial, View};
use platform::time::{Duration, Instant, sleep_until, timeout};
use platform::{Env, WallTime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// A controller. Its value holds the informers that it reads.
pub trait Controller: Send + Sync + 'static {
    /// Its name in logs, events and metrics.
    const NAME: &'static str;
    /// The service account it acts as (`kube-system`), if that is not its name.
    const ACCOUNT: &'static str = Self::NAME;
    /// What it works on.
    type Key: Clone + Ord + Debug + Send + Sync + 'static;
    /// All that one decision looks at.
    type World: Send + Sync;
    /// Which change wakes which key.
    fn routes(&self, routes: &mut Routes<Self::Key>);
    /// Reads caches; nothing else.
    fn gather(&self, key: &Self::Key) -> Self::World;
    /// Adds to a world what no cache holds, by asking the server.
    fn refine<'a>(
        &'a self,
        client: &'a Client,
        key: &'a Self::Key,
        world: Self::World,
    ) -> BoxFuture<'a, Result<Self::World, Error>> {
        let _ = (client, key);
        Box::pin(async move { Ok(world) })
    }
    /// Decides; pure and total.
    fn plan(&self, key: &Self::Key, world: &Self::World, now: WallTime) -> Plan;
}

/// What to do now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order; the first failure ends the run, which is repeated later. Neighbouring creations, and neighbouring
    /// deletions, are done together: 1, then 2, 4, … at a time.
    pub ops: Vec<Op>,
    /// Wall time at which to look again.
    pub again_at: Option<WallTime>,
    /// The decision cannot be made yet: look again soon, and ever later.
    pub retry: Option<String>,
}

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Plan {
        Plan::default()
    }

    /// Adds an operation.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Looks again at `at` or earlier.
    pub fn look_again(&mut self, at: WallTime) {
        self.again_at = Some(self.again_at.map_or(at, |old| old.min(at)));
    }
}

/// An object to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The object of `resource` with this key.
    pub fn new(resource: &Resource, namespace: &str, name: &str) -> Target {
        Target { resource: resource.clone(), namespace: namespace.into(), name: name.into() }
    }

    fn at(&self) -> At<'_> {
        At { resource: &self.resource, namespace: &self.namespace, name: &self.name }
    }
}

/// Tells that a child was made or removed (`SuccessfulCreate: Created pod: a-1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The parent.
    pub regarding: Regarding,
    /// The child's kind, in lower case.
    pub child: &'static str,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Creates an object.
    Create {
        /// Its resource.
        resource: Resource,
        /// Its namespace.
        namespace: String,
        /// The object.
        object: Value,
        /// Fine if it exists.
        may_exist: bool,
        /// Tell it.
        announce: Option<Announce>,
    },
    /// Patches an object or a subresource.
    Patch {
        /// The object.
        target: Target,
        /// Empty: the object itself.
        subresource: &'static str,
        /// How.
        kind: PatchKind,
        /// The patch.
        patch: Value,
    },
    /// Reads an object, merges the patch into it and writes it back at the revision that was read: for those who may `update`
    /// but not `patch`.
    Update {
        /// The object.
        target: Target,
        /// Empty: the object itself.
        subresource: &'static str,
        /// The merge patch; `metadata.uid` and `metadata.resourceVersion` in it are preconditions.
        patch: Value,
    },
    /// Deletes an object; fine if it is gone.
    Delete {
        /// The object.
        target: Target,
        /// How.
        options: DeleteOptions,
        /// Tell it.
        announce: Option<Announce>,
    },
    /// Deletes all objects of a resource in a namespace.
    DeleteAll {
        /// The resource.
        resource: Resource,
        /// The namespace.
        namespace: String,
    },
    /// Posts to a subresource.
    Post {
        /// The object.
        target: Target,
        /// Which.
        subresource: &'static str,
        /// What.
        object: Value,
    },
    /// Replaces an object (empty subresource) or a subresource (`finalize`).
    Put {
        /// The object.
        target: Target,
        /// Which.
        subresource: &'static str,
        /// What.
        object: Value,
    },
    /// Goes on only if the server has this object and it is not being deleted: asked of the server, not of a cache.
    Require {
        /// The object.
        target: Target,
        /// Its uid.
        uid: String,
    },
    /// Tells an event.
    Tell(Event),
}

impl Op {
    /// Creates an object.
    pub fn create(resource: &Resource, namespace: &str, object: Value) -> Op {
        Op::Create { resource: resource.clone(), namespace: namespace.into(), object, may_exist: false, announce: None }
    }

    /// Merges into an object.
    pub fn merge(target: Target, patch: Value) -> Op {
        Op::Patch { target, subresource: "", kind: PatchKind::Merge, patch }
    }

    /// Merges into an object's status, by a patch request.
    pub fn patch_status(target: Target, patch: Value) -> Op {
        Op::Patch { target, subresource: "status", kind: PatchKind::Merge, patch }
    }

    /// Merges into an object, by an update request.
    pub fn update(target: Target, patch: Value) -> Op {
        Op::Update { target, subresource: "", patch }
    }

    /// Merges into an object's status, by an update request.
    pub fn status(target: Target, patch: Value) -> Op {
        Op::Update { target, subresource: "status", patch }
    }

    /// Deletes the object with this uid.
    pub fn delete(target: Target, uid: &str) -> Op {
        Op::Delete { target, options: DeleteOptions::uid(uid), announce: None }
    }

    /// Tells the parent's story.
    #[must_use]
    pub fn announced(mut self, by: Announce) -> Op {
        if let Op::Create { announce, .. } | Op::Delete { announce, .. } = &mut self {
            *announce = Some(by);
        }
        self
    }

    fn is_like(&self, other: &Op) -> bool {
        matches!((self, other), (Op::Create { .. }, Op::Create { .. }) | (Op::Delete { .. }, Op::Delete { .. }))
    }
}

/// What a cache has to show before the next decision.
#[derive(Clone, Debug)]
enum Wrote {
    Revision(u64),
    Gone(ObjectKey, String),
}

trait Cache: Send + Sync {
    fn shows<'a>(&'a self, wrote: &'a Wrote) -> BoxFuture<'a, ()>;
    fn synced(&self) -> BoxFuture<'_, ()>;
}

impl<V: View> Cache for Informer<V> {
    fn shows<'a>(&'a self, wrote: &'a Wrote) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match wrote {
                Wrote::Revision(revision) => self.reached(*revision).await,
                Wrote::Gone(key, uid) => {
                    let gone =
                        |i: &Informer<V>| i.get_key(key).is_none_or(|o| o.meta().uid != *uid || o.meta().is_deleting());
                    self.until(gone).await;
                }
            }
        })
    }

    fn synced(&self) -> BoxFuture<'_, ()> {
        Box::pin(Informer::synced(self))
    }
}

type CacheKey = (String, String);

fn cache_key(resource: &Resource) -> CacheKey {
    (resource.group.to_string(), resource.plural.to_string())
}

/// Where a controller says what wakes it.
pub struct Routes<K> {
    shared: Arc<Shared<K>>,
    caches: BTreeMap<CacheKey, Arc<dyn Cache>>,
}

impl<K: Clone + Ord + Debug + Send + Sync + 'static> Routes<K> {
    /// Changes in `informer` wake the keys that `keys` names. The informer must hold everything of its resource that the
    /// controller writes.
    pub fn on<V: View>(&mut self, informer: &Informer<V>, keys: impl Fn(&Change<V>) -> Vec<K> + Send + Sync + 'static) {
        self.reads(informer);
        let shared = self.shared.clone();
        informer.on_change(move |change| {
            for key in keys(change) {
                shared.add(key);
            }
        });
    }

    /// The controller also reads `informer`: it is waited for, without waking anything.
    pub fn reads<V: View>(&mut self, informer: &Informer<V>) {
        self.caches.insert(cache_key(informer.resource()), Arc::new(informer.clone()));
    }

    /// Wakes a key once at the start.
    pub fn once(&mut self, key: K) {
        self.shared.add(key);
    }

    /// A handle that wakes keys from elsewhere.
    pub fn waker(&self) -> impl Fn(K) + Send + Sync + Clone + 'static {
        let shared = self.shared.clone();
        move |key| shared.add(key)
    }
}

/// Counters of one controller.
#[derive(Debug, Default)]
pub struct Counters {
    pub adds: AtomicU64,
    pub runs: AtomicU64,
    pub failures: AtomicU64,
    pub operations: AtomicU64,
}

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    news: Notify,
    start: Instant,
    counters: Arc<Counters>,
}

impl<K: Clone + Ord + Debug + Send + Sync + 'static> Shared<K> {
    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: K) {
        if self.queue().add(key) {
            self.counters.adds.fetch_add(1, Ordering::Relaxed);
            self.news.notify_one();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The next key that is due.
    async fn next(&self) -> K {
        loop {
            let time = {
                let mut queue = self.queue();
                if let Some(key) = queue.take(self.now()) {
                    return key;
                }
                queue.next_time()
            };
            match time {
                Some(time) => {
                    tokio::select! {
                        biased;
                        () = self.news.notified() => {}
                        () = sleep_until(self.start + Duration::from_nanos(time)) => {}
                    }
                }
                None => self.news.notified().await,
            }
        }
    }
}

/// A running controller.
pub struct Running {
    /// Its counters.
    pub counters: Arc<Counters>,
    idle: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Running {
    /// Whether nothing is in line or being done (keys may wait for their time).
    pub fn is_idle(&self) -> bool {
        (self.idle)()
    }
}

/// Starts a controller with at most `workers` keys at a time, as tasks of `env`.
pub fn run<C: Controller>(env: &Env, client: &Client, recorder: &Recorder, controller: C, workers: usize) -> Running {
    let counters = Arc::new(Counters::default());
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::new(env.limits().client.retry_first, env.limits().client.retry_most)),
        news: Notify::new(),
        start: env.now(),
        counters: counters.clone(),
    });
    let mut routes = Routes { shared: shared.clone(), caches: BTreeMap::new() };
    controller.routes(&mut routes);
    let runner = Arc::new(Runner {
        env: env.clone(),
        client: client.clone(),
        recorder: recorder.clone(),
        controller,
        shared: shared.clone(),
        caches: routes.caches,
    });
    drop(env.spawn("controller", runner.run(workers))); // detached: it ends with the process
    Running { counters, idle: Box::new(move || shared.queue().is_idle()) }
}

struct Runner<C: Controller> {
    env: Env,
    client: Client,
    recorder: Recorder,
    controller: C,
    shared: Arc<Shared<C::Key>>,
    caches: BTreeMap<CacheKey, Arc<dyn Cache>>,
}

impl<C: Controller> Runner<C> {
    async fn run(self: Arc<Self>, workers: usize) {
        for cache in self.caches.values() {
            cache.synced().await;
        }
        tracing::debug!(controller = C::NAME, "caches are synced");
        let places = Arc::new(Semaphore::new(workers.max(1)));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let key = self.shared.next().await;
            let runner = self.clone();
            let work = async move {
                runner.once(key).await;
                drop(place);
            };
            drop(self.env.spawn("controller-key", work)); // detached: the queue knows what runs
        }
    }

    async fn once(&self, key: C::Key) {
        let world = self.controller.gather(&key);
        let plan = match self.controller.refine(&self.client, &key, world).await {
            Ok(world) => self.controller.plan(&key, &world, self.env.wall()),
            Err(error) => Plan { retry: Some(error.to_string()), ..Plan::default() },
        };
        self.shared.counters.runs.fetch_add(1, Ordering::Relaxed);
        let (wrote, mut failure) = self.apply(plan.ops).await;
        let shown = async {
            for (cache, wrote) in &wrote {
                if let Some(cache) = self.caches.get(cache) {
                    cache.shows(wrote).await;
                }
            }
        };
        if timeout(self.env.limits().client.hold, shown).await.is_err() {
            tracing::debug!(controller = C::NAME, ?key, "the caches did not show what was written");
        }
        if let Some(why) = plan.retry {
            failure = failure.or(Some(Error::Transport(why)));
        }
        if let Some(error) = &failure {
            self.shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            if error.is_conflict() || error.is_temporary() || error.is_not_found() {
                tracing::debug!(controller = C::NAME, ?key, %error, "will try again");
            } else {
                tracing::warn!(controller = C::NAME, ?key, %error, "will try again");
            }
        }
        let mut queue = self.shared.queue();
        let now = self.shared.now();
        queue.done(key.clone(), failure.is_some(), now);
        if let Some(at) = plan.again_at {
            let pause = u64::try_from(at.since(self.env.wall()).as_nanos()).unwrap_or(u64::MAX);
            queue.add_at(key, now.saturating_add(pause));
        }
        drop(queue);
        self.shared.news.notify_one();
    }

    async fn apply(&self, ops: Vec<Op>) -> (Vec<(CacheKey, Wrote)>, Option<Error>) {
        let mut wrote = Vec::new();
        let mut ops = ops.into_iter().peekable();
        let mut width = 1;
        while let Some(op) = ops.next() {
            let mut together = vec![op];
            while together.len() < width
                && let Some(op) = ops.next_if(|op| op.is_like(&together[0]))
            {
                together.push(op);
            }
            width = if ops.peek().is_some_and(|op| op.is_like(&together[0])) { width * 2 } else { 1 };
            let results = futures_util::future::join_all(together.iter().map(|op| self.one(op))).await;
            let mut failure = None;
            for result in results {
                match result {
                    Ok(done) => wrote.extend(done),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if failure.is_some() {
                return (wrote, failure);
            }
        }
        (wrote, None)
    }

    async fn one(&self, op: &Op) -> Result<Option<(CacheKey, Wrote)>, Error> {
        self.shared.counters.operations.fetch_add(1, Ordering::Relaxed);
        let written = |resource: &Resource, bytes: &[u8]| {
            let revision = decode::<Partial>(bytes).map_or(0, |object| object.metadata.revision());
            Some((cache_key(resource), Wrote::Revision(revision)))
        };
        match op {
            Op::Tell(event) => {
                self.recorder.tell(event.clone());
                Ok(None)
            }
            Op::Require { target, uid } => {
                let found: Partial = self.client.get(target.at()).await?;
                if found.metadata.uid == *uid && !found.metadata.is_deleting() {
                    return Ok(None);
                }
                Err(Error::Transport(format!("{} {} is not there any more", target.resource.plural, target.name)))
            }
            Op::Create { resource, namespace, object, may_exist, announce } => {
                let result = self.client.create(resource, namespace, object.clone()).await;
                self.announce(announce.as_ref(), "Create", "Created", "creating", result.as_ref());
                match result {
                    Ok(bytes) => Ok(written(resource, &bytes)),
                    Err(error) if error.is_already_exists() && *may_exist => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Op::Patch { target, subresource, kind, patch } => {
                let subresource = Some(*subresource).filter(|s| !s.is_empty());
                let bytes = self.client.patch(target.at(), subresource, kind, patch).await?;
                Ok(written(&target.resource, &bytes))
            }
            Op::Put { target, subresource, object } => {
                let bytes =
                    self.client.update(target.at(), Some(*subresource).filter(|s| !s.is_empty()), object).await?;
                Ok(written(&target.resource, &bytes))
            }
            Op::Update { target, subresource, patch } => {
                let bytes =
                    self.client.modify(target.at(), Some(*subresource).filter(|s| !s.is_empty()), patch).await?;
                Ok(written(&target.resource, &bytes))
            }
            Op::DeleteAll { resource, namespace } => {
                self.client.delete_collection(resource, namespace, None).await?;
                Ok(None)
            }
            Op::Post { target, subresource, object } => {
                self.client.post(target.at(), subresource, object).await?;
                Ok(None)
            }
            Op::Delete { target, options, announce } => {
                let result = self.client.delete(target.at(), options).await;
                if result.as_ref().is_err_and(|e| e.is_not_found() || (e.is_conflict() && options.uid.is_some())) {
                    return Ok(None); // gone, or another object has its name: what was to go is gone
                }
                let named = serde_json::json!({"metadata": {"name": target.name}}).to_string().into();
                self.announce(announce.as_ref(), "Delete", "Deleted", "deleting", result.as_ref().map(|_| &named));
                result?;
                let gone =
                    options.uid.clone().map(|uid| Wrote::Gone(ObjectKey::new(&target.namespace, &target.name), uid));
                Ok(gone.map(|gone| (cache_key(&target.resource), gone)))
            }
        }
    }

    fn announce(
        &self,
        by: Option<&Announce>,
        verb: &str,
        done: &str,
        doing: &str,
        result: Result<&bytes::Bytes, &Error>,
    ) {
        let Some(by) = by else { return };
        // Upstream's words for jobs differ a little from those for pods.
        let of_job = by.child == "job";
        let (colon, what) = if of_job { ("", " job") } else { (":", "") };
        match result {
            Ok(bytes) => {
                let name = decode::<Partial>(bytes).map(|object| object.metadata.name).unwrap_or_default();
                self.recorder.normal(
                    by.regarding.clone(),
                    &format!("Successful{verb}"),
                    format!("{done} {}{colon} {name}", by.child),
                );
            }
            // Nothing can be made in a namespace that goes away: not worth an event (which could not be made either).
            Err(error) if error.is_namespace_terminating() => {}
            Err(error) => self.recorder.warning(
                by.regarding.clone(),
                &format!("Failed{verb}"),
                format!("Error {doing}{what}: {error}"),
            ),
        }
    }
}
