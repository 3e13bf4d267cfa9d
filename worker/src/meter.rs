//! What a run cost: time on the processor and time by the wall.

use std::time::Instant;

/// What was spent between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) cpu_micros: u64,
    pub(crate) wall_micros: u64,
}

/// Reads this thread's clocks; one reading ends a lap and starts the next.
pub(crate) struct Meter {
    cpu_nanos: u64,
    wall: Instant,
}

impl Meter {
    pub(crate) fn start() -> Meter {
        let wall = Instant::now();
        Meter { cpu_nanos: thread_cpu_nanos(wall), wall }
    }

    /// What was spent since the start or the last lap, rounded to microseconds.
    pub(crate) fn lap(&mut self) -> Spent {
        let before = std::mem::replace(self, Meter::start());
        Spent {
            cpu_micros: self.cpu_nanos.saturating_sub(before.cpu_nanos).saturating_add(500) / 1_000,
            wall_micros: u64::try_from((self.wall - before.wall).as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// When the last reading was.
    pub(crate) fn read_at(&self) -> Instant {
        self.wall
    }
}

#[cfg(unix)]
fn thread_cpu_nanos(_wall: Instant) -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Without a clock for the thread, the wall's is the best there is.
#[cfg(not(unix))]
fn thread_cpu_nanos(wall: Instant) -> u64 {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(wall.saturating_duration_since(*ORIGIN.get_or_init(|| wall)).as_nanos()).unwrap_or(u64::MAX)
}
