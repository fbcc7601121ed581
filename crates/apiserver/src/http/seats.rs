//! How many requests are answered at once: a bound on work and memory, whatever clients do.
//!
//! Reads and writes have seats of their own, as upstream's `--max-requests-inflight` and
//! `--max-mutating-requests-inflight`. Who finds none waits a while in a bounded line, then is told to come again.
//! Long-running requests, probes and administrators (`system:masters`) take no seat; neither do components of this process.

use super::Call;
use platform::ServerLimits;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

struct Row {
    kind: &'static str,
    seats: usize,
    free: Semaphore,
    waiting: AtomicUsize,
    limits: ServerLimits,
}

/// The seats.
pub struct Seats {
    reads: Row,
    writes: Row,
}

/// Why there is no seat.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Somebody in line; leaves it when dropped, whatever the reason.
struct InLine<'a>(&'a AtomicUsize);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Row {
    fn new(kind: &'static str, seats: usize, limits: ServerLimits) -> Row {
        Row { kind, seats, free: Semaphore::new(seats), waiting: AtomicUsize::new(0), limits }
    }

    async fn take(&self) -> Result<SemaphorePermit<'_>, Full> {
        if let Ok(seat) = self.free.try_acquire() {
            return Ok(seat);
        }
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _line = InLine(&self.waiting);
        if ahead >= self.seats * self.limits.line {
            return Err(Full);
        }
        match platform::time::timeout(self.limits.seat, self.free.acquire()).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Full),
        }
    }
}

impl Seats {
    /// So many of each.
    pub fn new(reads: usize, writes: usize, limits: ServerLimits) -> Seats {
        Seats { reads: Row::new("readOnly", reads, limits), writes: Row::new("mutating", writes, limits) }
    }

    /// A seat for a request, if it needs one.
    pub(crate) async fn take(&self, call: &Call) -> Result<Option<SemaphorePermit<'_>>, Full> {
        if call.is_long_running() || call.user.in_group("system:masters") || !call.info.is_resource {
            return Ok(None);
        }
        let row = match call.info.verb.as_str() {
            "get" | "list" => &self.reads,
            _ => &self.writes,
        };
        row.take().await.map(Some)
    }

    /// Seats that are taken, by kind.
    pub fn taken(&self) -> [(&'static str, usize); 2] {
        [&self.reads, &self.writes].map(|r| (r.kind, r.seats - r.free.available_permits()))
    }
}

impl Default for Seats {
    fn default() -> Seats {
        Seats::new(400, 200, ServerLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_row_makes_wait_then_refuses_and_the_line_is_bounded() {
        let row = Row::new("readOnly", 1, ServerLimits::default());
        let seat = row.take().await.expect("the first sits down");
        assert_eq!(row.take().await.err(), Some(Full), "nobody left in time");
        assert_eq!(row.waiting.load(Ordering::Relaxed), 0, "who gave up is out of the line");
        let line: Vec<InLine> = (0..row.limits.line)
            .map(|_| {
                row.waiting.fetch_add(1, Ordering::Relaxed);
                InLine(&row.waiting)
            })
            .collect();
        let before = platform::Instant::now();
        assert_eq!(row.take().await.err(), Some(Full), "the line is full");
        assert_eq!(before.elapsed(), std::time::Duration::ZERO, "told at once");
        drop((line, seat));
        assert!(row.take().await.is_ok());
    }
}
