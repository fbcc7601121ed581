//! Time: monotonic instants and timers (tokio's, hence virtual in the simulation) and wall-clock time.

pub use std::time::Duration;
pub use tokio::time::{
    Instant, Interval, MissedTickBehavior, Sleep, interval, sleep, sleep_until, timeout, timeout_at,
};

/// Wall-clock time in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// The system's clock.
    pub(crate) fn system() -> WallTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// From seconds and nanoseconds since the epoch.
    pub const fn from_unix(seconds: i64, nanos: u32) -> WallTime {
        WallTime(seconds.saturating_mul(1_000_000_000).saturating_add(nanos as i64))
    }

    /// From nanoseconds since the epoch.
    pub const fn from_unix_nanos(nanos: i64) -> WallTime {
        WallTime(nanos)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Nanoseconds since the epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// The nanoseconds within the second.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(1_000_000_000) as u32
    }

    /// Later (or earlier) by `nanos`.
    pub const fn plus_nanos(self, nanos: i64) -> WallTime {
        WallTime(self.0.saturating_add(nanos))
    }

    /// Later by `duration`.
    pub fn plus(self, duration: Duration) -> WallTime {
        self.plus_nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Time from `earlier` to this; zero if `earlier` is later.
    pub fn since(self, earlier: WallTime) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
