//! Subscriptions: each reads the shared history at its own pace; selective ones are woken only by what concerns them.

use crate::{Behind, Cache, Event};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// What a subscriber may want; it still filters what it gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Everything.
    All,
    /// One namespace.
    Namespace(Box<str>),
    /// One object, by namespace and name.
    Object(Box<str>, Box<str>),
    /// Objects whose indexed field has this value.
    Field(Box<str>),
}

struct Waiter {
    notify: Notify,
    /// Revisions of events that a selective subscriber has not read yet. The events themselves are only in the history: who
    /// is slower than it holds no memory and is cut off.
    pending: Mutex<VecDeque<u64>>,
    overflow: AtomicBool,
    reset: AtomicBool,
}

pub(crate) struct Wakers {
    indexed: Option<usize>,
    unread: usize,
    /// In a fixed order: a reset wakes all of them, and a simulated run must be repeatable.
    table: Mutex<BTreeMap<Interest, Vec<Weak<Waiter>>>>,
}

impl Wakers {
    pub fn new(indexed: Option<usize>, unread: usize) -> Wakers {
        Wakers { indexed, unread, table: Mutex::new(BTreeMap::new()) }
    }

    /// Subscribes unless `check` finds that the start is gone. Registered before checked, so that nothing is missed.
    pub fn subscribe(
        &self,
        cache: &Arc<Cache>,
        after: u64,
        interest: Interest,
        check: impl FnOnce(&Cache) -> Result<(), Behind>,
    ) -> Result<Subscription, Behind> {
        let mut subscription = self.add(cache, after, interest);
        check(cache)?;
        subscription.catch_up(self.indexed);
        Ok(subscription)
    }

    pub fn add(&self, cache: &Arc<Cache>, after: u64, interest: Interest) -> Subscription {
        let waiter = Arc::new(Waiter {
            notify: Notify::new(),
            pending: Mutex::new(VecDeque::new()),
            overflow: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        });
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let list = table.entry(interest.clone()).or_default();
        list.retain(|w| w.strong_count() > 0);
        list.push(Arc::downgrade(&waiter));
        Subscription { cache: cache.clone(), waiter, interest, after, backlog: VecDeque::new() }
    }

    pub fn wake(&self, event: &Arc<Event>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        notify(&mut table, &Interest::All, None);
        if table.is_empty() {
            return;
        }
        for interest in interests(event, self.indexed) {
            notify(&mut table, &interest, Some((event.revision, self.unread)));
        }
    }

    pub fn wake_all(&self) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for w in table.values().flatten().filter_map(Weak::upgrade) {
            w.reset.store(true, Ordering::Release);
            w.notify.notify_one();
        }
    }
}

/// Whom an event concerns: by its object as it is, and as it was.
fn interests(event: &Event, indexed: Option<usize>) -> BTreeSet<Interest> {
    let mut out = BTreeSet::new();
    for object in [Some(&event.object), event.prev.as_ref()].into_iter().flatten() {
        let i = &object.index;
        out.insert(Interest::Namespace(i.namespace.clone()));
        out.insert(Interest::Object(i.namespace.clone(), i.name.clone()));
        out.extend(indexed.and_then(|n| i.fields.get(n)).map(|v| Interest::Field(v.clone())));
    }
    out
}

fn notify(table: &mut BTreeMap<Interest, Vec<Weak<Waiter>>>, interest: &Interest, unread: Option<(u64, usize)>) {
    let Some(list) = table.get_mut(interest) else { return };
    list.retain(|w| {
        let Some(w) = w.upgrade() else { return false };
        if let Some((revision, most)) = unread {
            let mut pending = w.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.len() >= most {
                pending.clear();
                w.overflow.store(true, Ordering::Release);
            } else {
                pending.push_back(revision);
            }
        }
        w.notify.notify_one();
        true
    });
    if list.is_empty() {
        table.remove(interest);
    }
}

/// A reader of a cache's events.
pub struct Subscription {
    cache: Arc<Cache>,
    waiter: Arc<Waiter>,
    interest: Interest,
    after: u64,
    /// Revisions of what happened between the subscription's start and its registration.
    backlog: VecDeque<u64>,
}

impl Subscription {
    /// What happened before its registration and concerns it, for selective subscribers.
    fn catch_up(&mut self, indexed: Option<usize>) {
        if self.interest == Interest::All {
            return;
        }
        let state = self.cache.read();
        let mut after = self.after;
        while let Ok(Some(event)) = state.history.next_after(after) {
            after = event.revision;
            if interests(&event, indexed).contains(&self.interest) {
                self.backlog.push_back(event.revision);
            }
        }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Behind> {
        if self.waiter.reset.load(Ordering::Acquire) || self.waiter.overflow.load(Ordering::Acquire) {
            return Err(Behind { oldest: self.cache.read().history.oldest() });
        }
        let next = if self.interest == Interest::All {
            self.cache.read().history.next_after(self.after).map_err(|oldest| Behind { oldest })?
        } else {
            self.next_pending()?
        };
        if let Some(event) = &next {
            self.after = event.revision;
        }
        Ok(next)
    }

    fn next_pending(&mut self) -> Result<Option<Arc<Event>>, Behind> {
        loop {
            let next = self.backlog.pop_front();
            let next = next.or_else(|| self.waiter.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
            let Some(revision) = next else { return Ok(None) };
            if revision > self.after {
                let event = self.cache.read().history.at(revision).map_err(|oldest| Behind { oldest })?;
                return Ok(Some(event));
            }
        }
    }

    /// The next event; waits until there is one. Safe to cancel.
    pub async fn next(&mut self) -> Result<Arc<Event>, Behind> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            self.waiter.notify.notified().await;
        }
    }

    /// The revision up to which events were delivered.
    pub fn position(&self) -> u64 {
        self.after
    }
}
