//! Time as a guest sees it: it starts at a fixed instant, passes by a microsecond a reading, and jumps when
//! the guest sleeps. Wall clock and monotonic clock are two views of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// 2020-01-01T00:00:00Z, nanoseconds since 1970.
const WALL_START: u64 = 1_577_836_800_000_000_000;
/// A day after boot: programs subtract from the monotonic clock.
const MONOTONIC_START: u64 = 86_400_000_000_000;
/// How far a reading moves time, nanoseconds; the resolution that the guest is told.
const STEP: u64 = 1_000;
/// Time stops here, after 200 years: far from where a sum with a start could overflow.
const END: u64 = 200 * 365 * 86_400_000_000_000;

/// Nanoseconds since the guest's start. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// A reading: time passes.
    fn read(&self) -> u64 {
        self.advance(STEP)
    }

    /// The guest's monotonic clock now, without a reading.
    pub(super) fn monotonic(&self) -> u64 {
        MONOTONIC_START + self.0.load(Ordering::Relaxed)
    }

    /// The guest's wall clock now, without a reading.
    pub(super) fn wall(&self) -> u64 {
        WALL_START + self.0.load(Ordering::Relaxed)
    }

    /// Lets `nanos` pass and returns the time since the start. One thread runs a guest, so no update is lost.
    pub(super) fn advance(&self, nanos: u64) -> u64 {
        let now = self.0.load(Ordering::Relaxed).saturating_add(nanos).min(END);
        self.0.store(now, Ordering::Relaxed);
        now
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(WALL_START + self.read())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        STEP
    }

    fn now(&self) -> u64 {
        MONOTONIC_START + self.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_move_with_each_reading_and_stop_at_the_end() {
        let clock = Clock::default();
        let (wall, monotonic) = (HostWallClock::now(&clock), HostMonotonicClock::now(&clock));
        assert_eq!(wall.as_nanos(), u128::from(WALL_START + STEP));
        assert_eq!(monotonic, MONOTONIC_START + 2 * STEP);
        clock.advance(u64::MAX);
        assert_eq!(HostMonotonicClock::now(&clock), MONOTONIC_START + END);
        assert!(WALL_START.checked_add(END).is_some());
    }
}
