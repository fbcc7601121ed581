//! The only door to the outside world: clock, timers, tasks, randomness (and, in their own modules, disk and network).
//!
//! Every effectful crate gets an [`Env`] from its caller and reaches time, tasks and randomness through it. In production
//! an `Env` is the system; in the simulation (`Env::simulated`) the same code runs on one thread in tokio's paused, virtual
//! time, with a skewed wall clock and seeded randomness, and `kill` ends every task of one simulated process.
//!
//! Invariants: no other crate that takes part in the simulation names `std::time`, `tokio::time`, `tokio::spawn`,
//! `std::fs` or `std::net` (`cargo xtask tidy` reads them); everything random comes from [`Rng`].

pub mod disk;
pub mod limits;
pub mod process;
pub mod rng;
pub mod time;
pub mod watch;

pub use limits::{EtcdLimits, KubeletLimits, Limits, ServerLimits};
pub use rng::Rng;
pub use time::{Instant, WallTime};

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One process' view of the world: wall clock, randomness, tasks. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    shared: Arc<Shared>,
    limits: Arc<Limits>,
}

struct Shared {
    name: String,
    rng: Mutex<Rng>,
    clock: Clock,
    next_task: AtomicU64,
    tasks: Mutex<BTreeMap<u64, tokio::task::AbortHandle>>,
}

enum Clock {
    System,
    /// Wall time is `base` at `start`, moves with virtual time, and is off by `skew_ns`.
    Virtual {
        base: WallTime,
        start: Instant,
        skew_ns: AtomicI64,
    },
}

impl Env {
    /// The real world. `name` is the process' name in logs.
    pub fn system(name: &str) -> Env {
        Env::new(name, Rng::from_system(), Clock::System)
    }

    /// A process in a simulation: wall time starts at `base` and follows tokio's (paused) clock; randomness comes from `seed`.
    pub fn simulated(name: &str, seed: u64, base: WallTime) -> Env {
        let clock = Clock::Virtual { base, start: Instant::now(), skew_ns: AtomicI64::new(0) };
        Env::new(name, Rng::from_seed(seed), clock)
    }

    fn new(name: &str, rng: Rng, clock: Clock) -> Env {
        let shared = Shared {
            name: name.to_string(),
            rng: Mutex::new(rng),
            clock,
            next_task: AtomicU64::new(0),
            tasks: Mutex::new(BTreeMap::new()),
        };
        Env { shared: Arc::new(shared), limits: Arc::default() }
    }

    /// The same process with other bounds.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Env {
        Env { limits: Arc::new(limits), ..self }
    }

    /// The bounds that everything in this process keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The process' name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Wall-clock time: for timestamps in objects, never for measuring durations.
    pub fn wall(&self) -> WallTime {
        match &self.shared.clock {
            Clock::System => WallTime::system(),
            Clock::Virtual { base, start, skew_ns } => {
                let elapsed = i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX);
                base.plus_nanos(elapsed.saturating_add(skew_ns.load(Ordering::Relaxed)))
            }
        }
    }

    /// Skews the simulated wall clock by `nanos` (no effect on the system's clock).
    pub fn skew(&self, nanos: i64) {
        if let Clock::Virtual { skew_ns, .. } = &self.shared.clock {
            skew_ns.store(nanos, Ordering::Relaxed);
        }
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// A generator of its own for the component called `name`, split off this process' seed: what one component draws
    /// never changes what another one gets.
    pub fn rng(&self, name: &str) -> Rng {
        self.shared.rng.lock().unwrap_or_else(PoisonError::into_inner).split(name)
    }

    /// Starts a named task that belongs to this process and ends with it.
    ///
    /// The answer can be awaited for the task's output; dropping it leaves the task running.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let id = self.shared.next_task.fetch_add(1, Ordering::Relaxed);
        let guard = Forget { id, shared: Arc::downgrade(&self.shared) };
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = tokio::spawn(async move {
            let _guard = guard;
            tracing::trace!(task = name, "task started");
            future.await
        });
        tasks.insert(id, handle.abort_handle());
        handle
    }

    /// Runs `work` where it may block: on a thread of its own, or, in a simulation, at once (time stands still meanwhile, and
    /// the order of events does not depend on threads).
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        match &self.shared.clock {
            Clock::System => tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string()),
            Clock::Virtual { .. } => Ok(work()),
        }
    }

    /// Ends every task of this process at its next suspension point: a crash, or the last step of a shutdown.
    pub fn kill(&self) {
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.into_values().for_each(|task| task.abort());
    }

    /// Number of tasks that run in this process.
    pub fn tasks(&self) -> usize {
        self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Takes a finished (or aborted) task out of its process' table.
struct Forget {
    id: u64,
    shared: std::sync::Weak<Shared>,
}

impl Drop for Forget {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests;
