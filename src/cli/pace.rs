//! How much of an input without an end goes into a job, and how much into a chunk: measured from how fast what was read
//! before is done.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Duration;

/// Bytes of one leg: the first has no more than this, ...
pub const FIRST_BYTES: u64 = 64 << 20;
/// ... the others between these.
const LEG_BYTES: (u64, u64) = (4 << 20, 256 << 20);
/// How long a leg is to last, and how long before the end of what is open the next one is opened.
const LEG_SECONDS: f64 = 4.0;
const AHEAD_SECONDS: f64 = 1.0;
/// How long a chunk is to run, how many there are to be for each thread, and its bytes, least and most.
const CHUNK_SECONDS: f64 = 0.5;
const CHUNKS_A_THREAD: u64 = 8;
const CHUNK_BYTES: (u64, u64) = (16 << 10, 1 << 20);
/// How much of the past is looked at.
const WINDOW: Duration = Duration::from_secs(3);

/// What a leg, and a chunk of it, may have in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub leg: u64,
    pub chunk: NonZeroU64,
}

/// How things are at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Bytes of input whose outputs are here, since the start.
    pub sealed: u64,
    /// Bytes of input that are open, and the chunks that they make.
    pub open: u64,
    pub chunks: u64,
    /// Threads that work on them.
    pub threads: u64,
    /// What one thread needs for a byte; none while it is not known.
    pub seconds_a_byte: Option<f64>,
}

/// Follows how fast the swarm is.
#[derive(Debug, Default)]
pub struct Pace {
    /// When so many bytes were sealed.
    looks: VecDeque<(Duration, u64)>,
    last: Look,
}

impl Pace {
    /// Takes note of how things are at `now`, a time since the start.
    pub fn look(&mut self, now: Duration, look: Look) {
        self.last = Look { seconds_a_byte: look.seconds_a_byte.or(self.last.seconds_a_byte), ..look };
        while self.looks.len() > 1 && self.looks[1].0 + WINDOW < now {
            self.looks.pop_front();
        }
        self.looks.push_back((now, look.sealed));
    }

    /// Bytes a second that the swarm does.
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.looks.front(), self.looks.back()) else { return 0.0 };
        let seconds = (*to - *from).as_secs_f64();
        if seconds > 0.0 { (after - before) as f64 / seconds } else { 0.0 }
    }

    /// Whether what is open is nearly done, or has no chunk left for some thread, so that more is to be opened.
    pub fn is_dry(&self) -> bool {
        self.last.open as f64 <= self.rate() * AHEAD_SECONDS || self.last.chunks < self.last.threads
    }

    /// How large the next leg is to be, and its chunks.
    pub fn size(&self) -> Size {
        let (least, most) = LEG_BYTES;
        let leg = ((self.rate() * LEG_SECONDS) as u64).clamp(least, most);
        let (least, most) = CHUNK_BYTES;
        let by_cost = self.last.seconds_a_byte.map_or(most, |cost| (CHUNK_SECONDS / cost) as u64);
        let by_threads = leg / (CHUNKS_A_THREAD * self.last.threads.max(1));
        let chunk = by_cost.min(by_threads).clamp(least, most);
        // Few sizes: what is measured is not that exact.
        let chunk = NonZeroU64::new(1 << chunk.ilog2()).unwrap_or(NonZeroU64::MIN);
        Size { leg, chunk }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Looks ten times a second for five seconds at a swarm that does so much a second, `open` bytes being open.
    fn pace(rate: u64, open: u64, threads: u64, seconds_a_byte: Option<f64>) -> Pace {
        let mut pace = Pace::default();
        for tenth in 0..50 {
            let look = Look { sealed: rate * tenth / 10, open, chunks: 100, threads, seconds_a_byte };
            pace.look(Duration::from_millis(100 * tenth), look);
        }
        pace
    }

    #[test]
    fn before_anything_is_known_one_leg_at_a_time_is_open() {
        assert!(Pace::default().is_dry());
        assert!(!pace(0, 1, 1, None).is_dry());
        assert!(pace(0, 0, 0, None).is_dry());
    }

    #[test]
    fn the_next_leg_is_opened_a_second_before_the_end_of_the_last() {
        assert!(!pace(10 * MIB, 11 * MIB, 4, None).is_dry());
        assert!(pace(10 * MIB, 9 * MIB, 4, None).is_dry());
    }

    #[test]
    fn a_chunk_that_takes_long_does_not_keep_other_threads_idle() {
        assert!(!pace(0, 11 * MIB, 100, None).is_dry());
        assert!(pace(0, 11 * MIB, 101, None).is_dry());
    }

    #[test]
    fn legs_last_some_seconds_within_bounds() {
        assert_eq!(pace(10 * MIB, MIB, 4, None).size().leg, 40 * MIB);
        assert_eq!(pace(1_000, MIB, 4, None).size().leg, 4 * MIB);
        assert_eq!(pace(1 << 40, MIB, 4, None).size().leg, 256 * MIB);
    }

    #[test]
    fn only_what_was_lately_counts() {
        let mut pace = pace(100 * MIB, MIB, 1, None);
        let sealed = 490 * MIB;
        for second in 5..15 {
            pace.look(Duration::from_secs(second), Look { sealed: sealed + second * 10 * MIB, ..Look::default() });
        }
        assert_eq!(pace.size().leg, 40 * MIB);
        assert!(pace.looks.len() < 50);
    }

    #[test]
    fn chunks_last_half_a_second_and_are_enough_for_all_threads() {
        // 100 KiB a second on a thread, many of them.
        let chunk = pace(40 * MIB, MIB, 10, Some(1.0 / 102_400.0)).size().chunk.get();
        assert_eq!(chunk, 32 << 10);
        assert_eq!(pace(40 * MIB, MIB, 10, Some(1.0)).size().chunk.get(), 16 << 10, "never smaller");
        assert_eq!(pace(40 * MIB, MIB, 2, Some(1e-12)).size().chunk.get(), MIB, "never larger");
        assert_eq!(pace(40 * MIB, MIB, 40, None).size().chunk.get(), 512 << 10, "160 MiB for 320 chunks");
    }
}
