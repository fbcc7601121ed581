//! What happened: a running hash of it, and the last lines for people.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

const KEPT: usize = 60;

/// A run's trace.
pub struct Trace {
    start: Instant,
    inner: Mutex<(u64, u64, VecDeque<String>)>,
    loud: bool,
}

impl Trace {
    /// An empty one; `loud` prints every line.
    pub fn new(loud: bool) -> Trace {
        Trace { start: Instant::now(), inner: Mutex::new((0xcbf2_9ce4_8422_2325, 0, VecDeque::new())), loud }
    }

    /// Notes a line.
    pub fn note(&self, line: &str) {
        let millis = self.start.elapsed().as_micros();
        let line = format!("{:>10}.{:03} {line}", millis / 1000, millis % 1000);
        if self.loud {
            println!("{line}");
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in line.bytes() {
            inner.0 = (inner.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        inner.1 += 1;
        if inner.2.len() == KEPT {
            inner.2.pop_front();
        }
        inner.2.push_back(line);
    }

    /// The hash and the number of lines so far.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.0, inner.1)
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).2.iter().cloned().collect()
    }
}
