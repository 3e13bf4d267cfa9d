//! How far a chunk has come, for who looks at the machine that runs it.

use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is said was said last; none yet.
const NOTHING: u64 = u64::MAX;

/// Says that `done` of `total` are done, in whatever they are counted.
///
/// `essaim status` shows it, on the machine that runs the chunk. It may be called as often as one likes: a division and
/// no more, but where another per cent is full.
///
/// ```
/// let seeds = 0..10_000;
/// for seed in seeds.clone() {
///     essaim_guest::progress(seed, seeds.end);
///     // …
/// }
/// ```
///
/// What happens underneath: one write to stderr of the line `␞essaim-progress 25` (U+001E before it, a number from 0 to
/// 100), which the node takes out of what the program says. So programs in other languages can say it, too. Run by hand,
/// the program says nothing.
pub fn progress(done: u64, total: u64) {
    static SAID: AtomicU64 = AtomicU64::new(NOTHING);
    let percent = percent(done, total);
    if SAID.swap(percent, Ordering::Relaxed) != percent && env::var_os("ESSAIM_ROLE").is_some() {
        // Who cannot hear it misses nothing that the job needs.
        let _ = io::stderr().write_all(format!("\x1eessaim-progress {percent}\n").as_bytes());
    }
}

/// From 0 to 100, rounded down. Nothing of nothing is all of it.
fn percent(done: u64, total: u64) -> u64 {
    if done >= total {
        100
    } else if let Some(hundredfold) = done.checked_mul(100) {
        hundredfold / total
    } else {
        done / (total / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cents_are_rounded_down_and_never_too_many() {
        for (done, total, full) in [
            (0, 0, 100),
            (0, 1, 0),
            (199, 20_000, 0),
            (200, 20_000, 1),
            (19_999, 20_000, 99),
            (5, 4, 100),
            (u64::MAX / 2, u64::MAX, 50),
            (u64::MAX - 1, u64::MAX, 100),
        ] {
            assert_eq!(percent(done, total), full, "{done} of {total}");
        }
    }
}
