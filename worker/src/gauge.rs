//! How far a running chunk has come, in its program's own words.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What begins a write to stderr that tells it; a number from 0 to 100 and a newline follow, and nothing else.
const MARK: &[u8] = b"\x1eessaim-progress ";
/// Nothing was said.
const SILENT: u8 = u8::MAX;

/// One chunk's last word, until somebody takes it. Which of several words is heard is left to chance, but for the last.
#[derive(Debug, Clone)]
pub(crate) struct Gauge(Arc<AtomicU8>);

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge(Arc::new(AtomicU8::new(SILENT)))
    }
}

impl Gauge {
    /// Looks at a write to stderr: whether it was such a word, which is then noted.
    pub(crate) fn hears(&self, written: &[u8]) -> bool {
        let percent = percent(written);
        percent.inspect(|percent| self.0.store(*percent, Ordering::Relaxed)).is_some()
    }

    /// The last word, if it was not taken before.
    pub(crate) fn take(&self) -> Option<u8> {
        Some(self.0.swap(SILENT, Ordering::Relaxed)).filter(|percent| *percent != SILENT)
    }
}

fn percent(written: &[u8]) -> Option<u8> {
    let number = written.strip_prefix(MARK)?.strip_suffix(b"\n")?;
    std::str::from_utf8(number).ok()?.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_word_is_heard() {
        let gauge = Gauge::default();
        assert_eq!(gauge.take(), None);
        for other in ["", "40\n", "\x1eessaim-progress 101\n", "\x1eessaim-progress 4", "\x1eessaim-progress -1\n"] {
            assert!(!gauge.hears(other.as_bytes()), "{other:?}");
        }
        assert_eq!(gauge.take(), None);
        assert!(gauge.hears(b"\x1eessaim-progress 4\n") && gauge.hears(b"\x1eessaim-progress 100\n"));
        assert_eq!((gauge.take(), gauge.take()), (Some(100), None), "the last word, once");
    }
}
