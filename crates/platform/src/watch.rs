//! A value that many tasks watch: tokio's `sync::watch` with a fixed order of waking.
//!
//! tokio's wakes its receivers in an order that differs from run to run, so a simulation that uses it cannot be repeated. This
//! one has the same methods (those that the project uses) and wakes in the order of waiting.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

struct Shared<T> {
    /// The value and how often it was set.
    value: Mutex<(T, u64)>,
    news: Notify,
    closed: AtomicBool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, (T, u64)> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value, locked: do not hold it for long, nor across an await.
pub struct Ref<'a, T>(MutexGuard<'a, (T, u64)>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// Sets the value.
pub struct Sender<T>(Arc<Shared<T>>);

/// Sees the value, and waits for others.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A sender and its first receiver.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// Without receivers.
    pub fn new(value: T) -> Sender<T> {
        Sender(Arc::new(Shared { value: Mutex::new((value, 0)), news: Notify::new(), closed: AtomicBool::new(false) }))
    }

    /// Sets the value and answers the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut old = value;
        self.send_modify(|v| std::mem::swap(v, &mut old));
        old
    }

    /// Changes the value in place.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        {
            let mut value = self.0.lock();
            change(&mut value.0);
            value.1 += 1;
        }
        self.0.news.notify_waiters();
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.lock())
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.lock().1;
        Receiver { shared: self.0.clone(), seen }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Receiver<T> {
    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.lock())
    }

    /// The value, which counts as seen now.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.lock();
        self.seen = value.1;
        Ref(value)
    }

    /// Takes the present value as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.lock().1;
    }

    /// Waits until the value was set after it was seen last; it counts as seen then. Safe to cancel.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let news = self.shared.news.notified();
            tokio::pin!(news);
            news.as_mut().enable(); // before looking: nothing is missed in between
            let version = self.shared.lock().1;
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            news.await;
        }
    }

    /// Waits until the value satisfies `condition`; it counts as seen then. Safe to cancel.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<(), Closed> {
        loop {
            if condition(&self.borrow_and_update()) {
                return Ok(());
            }
            self.changed().await?;
        }
    }
}
