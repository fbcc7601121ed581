//! The one registry: every verb of every resource, over the store and the caches that the store feeds.
//!
//! Invariants: an answered write is visible in this server's caches; served text is the stored text; nothing here knows a
//! kind except through its row in the table, but for [`special`], where the few kinds with extra endpoints live.

pub mod access;
pub mod delete;
pub mod encode;
pub mod patch;
pub mod read;
pub mod service;
pub mod special;
pub mod stored;
pub mod subresources;
pub mod watch;
pub mod write;

use crate::admission;
use api::{Status, Value};
use bytes::Bytes;
use cache::{Cache, Change, Forms, Object};
use kinds::Resource;
use platform::Env;
use platform::watch as signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use store::{At, Changed, Meta, RangeRequest, Record, Revision, Store, WatchItem};

pub use crate::core::rbac::User;

/// What can be told apart about servers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer of service account tokens.
    pub issuer: String,
    /// The range of service addresses: network and prefix length.
    pub service_cidr: (std::net::Ipv4Addr, u8),
    /// Node ports, first and last.
    pub node_ports: (u16, u16),
    /// The address that the `kubernetes` service leads to.
    pub advertise: (std::net::IpAddr, u16),
    /// Whether NodeRestriction admission is on.
    pub node_restriction: bool,
    /// Whether the default service account controller's promises hold (pods need their service account).
    pub service_account_admission: bool,
    /// How long Events are kept.
    pub event_ttl_seconds: i64,
}

/// Who asks, and how.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The user.
    pub user: User,
    /// Its program.
    pub agent: String,
    /// The request's id.
    pub request_id: String,
    /// Do everything but write.
    pub dry_run: bool,
    /// The writer's name for field ownership.
    pub field_manager: String,
    /// How unknown fields are treated: Strict, Warn or Ignore.
    pub validation: String,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// The registry.
pub struct Registry {
    /// Clock, tasks, randomness.
    pub env: Env,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Settings.
    pub settings: Settings,
    caches: Vec<(String, Arc<Cache>)>,
    by_prefix: BTreeMap<String, usize>,
    seen: signal::Sender<u64>,
    /// Protobuf, frames, metadata: made on demand, kept under one budget.
    pub(crate) forms: Forms,
    /// Whether the caches are fed by a watch just now.
    following: AtomicBool,
    rng: Mutex<platform::Rng>,
    pub(crate) policy: access::PolicyCache,
    /// Service addresses and node ports are given out one at a time.
    pub(crate) allocation: tokio::sync::Mutex<()>,
    pub(crate) signer: crate::core::token::Signer,
}

impl Registry {
    /// Loads every cache from the store and starts to follow it.
    pub async fn start(
        env: Env,
        store: Arc<dyn Store>,
        settings: Settings,
        signer: crate::core::token::Signer,
    ) -> Result<Arc<Registry>, String> {
        let limits = *env.limits();
        let range = recent(&*store, limits.server.history).await?;
        let mut prefixes: Vec<String> =
            kinds::resources().iter().filter(|r| !r.prefix.is_empty()).map(|r| r.prefix.clone()).collect();
        prefixes.sort();
        prefixes.dedup();
        let by_prefix: BTreeMap<String, usize> = prefixes.iter().enumerate().map(|(i, p)| (p.clone(), i)).collect();
        let mut objects: Vec<Vec<Arc<Object>>> = prefixes.iter().map(|_| Vec::new()).collect();
        for entry in &range.entries {
            if let Some(i) = prefix_of(&entry.key).and_then(|p| by_prefix.get(p)) {
                objects[*i].push(Arc::new(object_of(entry, stored_resource(&prefixes[*i]))));
            }
        }
        let revision = range.revision.0;
        let caches = prefixes.into_iter().zip(objects).map(|(p, list)| {
            let indexed = stored_resource(&p).selectable.iter().position(|s| s == "spec.nodeName");
            (p, Arc::new(Cache::new(list, revision, indexed, limits.cache)))
        });
        let registry = Arc::new(Registry {
            rng: Mutex::new(env.rng("registry")),
            forms: Forms::new(limits.cache.form_bytes),
            env: env.clone(),
            store,
            settings,
            caches: caches.collect(),
            by_prefix,
            seen: signal::channel(revision).0,
            following: AtomicBool::new(true),
            policy: access::PolicyCache::default(),
            allocation: tokio::sync::Mutex::new(()),
            signer,
        });
        let follower = registry.clone();
        env.spawn("store follower", async move { follower.follow(revision).await });
        registry.catch_up().await;
        let expiry = registry.clone();
        env.spawn("expiry", async move { expiry.expire().await });
        Ok(registry)
    }

    /// Feeds the caches; when the store's history no longer reaches back far enough, everything is loaded anew.
    async fn follow(&self, mut after: u64) {
        loop {
            self.following.store(true, Ordering::Relaxed);
            match self.store.watch("/registry/", Revision(after)) {
                Ok(mut watch) => loop {
                    match watch.next().await {
                        Ok(WatchItem::Changes(batch)) => {
                            after = batch.revision.0;
                            batch.records.iter().for_each(|r| self.feed(r));
                            self.seen.send_replace(after);
                        }
                        Ok(WatchItem::Progress(r)) => {
                            after = after.max(r.0);
                            self.seen.send_replace(after);
                        }
                        Err(e) => {
                            tracing::warn!(error = %e, after, "the store's watch ended; starting it again");
                            break;
                        }
                    }
                },
                Err(e) => {
                    tracing::warn!(error = %e, after, "the store cannot be watched from there; loading everything anew")
                }
            }
            self.following.store(false, Ordering::Relaxed);
            after = self.reload().await;
        }
    }

    async fn reload(&self) -> u64 {
        loop {
            match self.store.range(RangeRequest::prefix("/registry/")).await {
                Ok(range) => {
                    let revision = range.revision.0;
                    for (prefix, cache) in &self.caches {
                        let r = stored_resource(prefix);
                        let mine = range
                            .entries
                            .iter()
                            .filter(|e| prefix_of(&e.key) == Some(prefix.as_str()))
                            .map(|e| Arc::new(object_of(e, r)))
                            .collect();
                        cache.reset(mine, revision);
                    }
                    self.seen.send_replace(revision);
                    return revision;
                }
                Err(e) => {
                    tracing::error!(error = %e, "the store cannot be read; trying again");
                    platform::time::sleep(self.env.limits().server.reload_pause).await;
                }
            }
        }
    }

    fn feed(&self, record: &Record) {
        let Some(i) = prefix_of(&record.entry.key).and_then(|p| self.by_prefix.get(p)) else { return };
        let (prefix, cache) = &self.caches[*i];
        let object = Arc::new(object_of(&record.entry, stored_resource(prefix)));
        if prefix.contains("rbac.authorization.k8s.io")
            || matches!(
                prefix.as_str(),
                "/registry/roles"
                    | "/registry/clusterroles"
                    | "/registry/rolebindings"
                    | "/registry/clusterrolebindings"
            )
        {
            self.policy.touch();
        }
        cache.apply(Change { object, deleted: record.change == Changed::Deleted });
    }

    /// Lets expired objects go, waking only when one is due.
    async fn expire(&self) {
        let mut changes = self.seen.subscribe();
        let pause = self.env.limits().server.expire_every;
        loop {
            let due = match self.store.expire(self.env.wall()).await {
                Ok(due) => due,
                Err(e) => {
                    tracing::warn!(error = %e, "expired objects could not be removed");
                    Some(self.env.wall().plus(std::time::Duration::from_secs(10)))
                }
            };
            match due {
                // Not more often: expiry is coarse.
                Some(at) => platform::time::sleep(at.since(self.env.wall()).max(pause)).await,
                None => {
                    if changes.changed().await.is_err() {
                        return;
                    }
                    platform::time::sleep(pause).await;
                    changes.mark_unchanged();
                }
            }
        }
    }

    /// The cache of a resource.
    pub fn cache(&self, r: &Resource) -> Option<&Arc<Cache>> {
        self.by_prefix.get(&r.prefix).map(|i| &self.caches[*i].1)
    }

    /// The cache of a resource by group and plural, in whatever version.
    pub fn cache_of(&self, group: &str, plural: &str) -> Option<&Arc<Cache>> {
        kinds::resources().iter().find(|r| r.group == group && r.plural == plural).and_then(|r| self.cache(r))
    }

    /// Objects in all caches, and bytes of them.
    pub fn size(&self) -> (usize, usize) {
        self.caches.iter().map(|(_, c)| c.size()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Whether the caches follow the store: not while its watch is broken.
    pub fn follows(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }

    /// Number of objects by resource (`pods`, `deployments.apps`).
    pub fn counts(&self) -> impl Iterator<Item = (String, usize)> + '_ {
        self.caches.iter().map(|(prefix, cache)| {
            let r = stored_resource(prefix);
            let dot = if r.group.is_empty() { "" } else { "." };
            (format!("{}{dot}{}", r.plural, r.group), cache.size().0)
        })
    }

    /// The revision that the caches have reached.
    pub fn revision(&self) -> u64 {
        *self.seen.borrow()
    }

    /// A signal of the revision that the caches have reached.
    pub fn progress(&self) -> signal::Receiver<u64> {
        self.seen.subscribe()
    }

    /// Waits until the caches have seen a revision.
    pub async fn wait_for(&self, revision: u64) {
        if self.revision() >= revision {
            return;
        }
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|r| *r >= revision).await; // fails only when the registry goes away
    }

    /// Waits until reads from the caches are as new as the store is now.
    pub async fn catch_up(&self) {
        self.wait_for(self.store.revision().0).await;
    }

    /// An object's tree and revision as the cache has it.
    pub fn load(&self, r: &Resource, namespace: &str, name: &str) -> Option<(Value, Arc<Object>)> {
        let object = self.cache(r)?.get(&r.key(namespace, name))?;
        Some((encode::tree(&object.text()), object))
    }

    /// An object's tree by group, plural and name.
    pub fn find(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let r = kinds::resources().iter().find(|r| r.group == group && r.plural == plural)?;
        self.load(r, namespace, name).map(|(v, _)| v)
    }

    /// All objects of a resource in a namespace (or everywhere).
    pub fn all(&self, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
        let Some(r) = kinds::resources().iter().find(|r| r.group == group && r.plural == plural) else {
            return Vec::new();
        };
        self.cache(r)
            .map(|c| c.list(&r.key_prefix(namespace)).iter().map(|o| encode::tree(&o.text())).collect())
            .unwrap_or_default()
    }

    /// Now, as RFC 3339.
    pub fn now(&self) -> String {
        api::time::format_seconds(self.env.wall().unix_seconds())
    }

    pub(crate) fn uuid(&self) -> String {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).uuid()
    }

    pub(crate) fn suffix(&self) -> String {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).name_suffix(5)
    }

    pub(crate) fn random(&self, n: u64) -> u64 {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).below(n)
    }

    /// Who writes, for the store's record.
    pub(crate) fn meta(&self, cx: &Context, r: &Resource, cause: Option<u64>) -> Meta {
        Meta {
            wall: self.env.wall(),
            user: cx.user.name.clone(),
            component: cx.agent.clone(),
            request_id: cx.request_id.clone(),
            cause: cause.map(Revision),
            schema: stored::generation(r),
            media_type: String::new(),
        }
    }
}

/// The state somewhat before now, so that what happened since becomes history that watches resume over: a restart of the
/// server causes no relist storm. An engine without that history gives the newest state.
async fn recent(store: &dyn Store, history: u64) -> Result<store::Range, String> {
    let request = |at| RangeRequest { at, ..RangeRequest::prefix("/registry/") };
    let oldest = store.status().compacted.0.max(store.revision().0.saturating_sub(history));
    if oldest > 0
        && let Ok(range) = store.range(request(At::Revision(Revision(oldest)))).await
    {
        return Ok(range);
    }
    store.range(request(At::Latest)).await.map_err(|e| format!("read the store: {e}"))
}

/// A watch resumes by revision and would lose the second change of one resource in it.
pub(crate) fn one_change_a_resource(changes: &[store::Change]) {
    for (i, change) in changes.iter().enumerate() {
        let of = prefix_of(change.key());
        let twin = changes[..i].iter().find(|other| of.is_some() && prefix_of(other.key()) == of);
        assert!(twin.is_none(), "{} and {} change in one commit", twin.map_or("", |t| t.key()), change.key());
    }
}

/// The key prefix of the resource that a key belongs to.
fn prefix_of(key: &str) -> Option<&str> {
    static PREFIXES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
        let mut all: Vec<&str> =
            kinds::resources().iter().filter(|r| !r.prefix.is_empty()).map(|r| r.prefix.as_str()).collect();
        all.sort_by_key(|p| std::cmp::Reverse(p.len()));
        all.dedup();
        all
    });
    PREFIXES.iter().find(|p| key.strip_prefix(**p).is_some_and(|rest| rest.starts_with('/'))).copied()
}

/// The row whose form is stored under a prefix.
pub(crate) fn stored_resource(prefix: &str) -> &'static Resource {
    kinds::resources()
        .iter()
        .find(|r| r.prefix == prefix && r.stored.is_none())
        .unwrap_or_else(|| panic!("{prefix} belongs to a resource"))
}

/// The row whose form a resource is stored in.
pub(crate) fn stored_of(r: &'static Resource) -> &'static Resource {
    match &r.stored {
        Some((group, version)) => kinds::by_path(group, version, &r.plural).unwrap_or(r),
        None => r,
    }
}

/// What an operation yields.
pub enum Outcome {
    /// An object of a resource, and the code of the answer.
    Object(&'static Resource, Bytes, u16),
    /// A status.
    Status(Box<Status>),
    /// An object that is not stored, of this apiVersion and kind.
    Made(Value, u16),
}

impl From<Status> for Outcome {
    fn from(s: Status) -> Outcome {
        Outcome::Status(Box::new(s))
    }
}

pub(crate) use admission::{Attrs, Operation};
pub(crate) use stored::object_of;
