//! How fast a node may send, whatever and to whomever it sends.

use std::time::Duration;

/// What may be sent in one go after a pause, as time at the full rate.
const BURST: Duration = Duration::from_millis(50);

/// A bucket that fills at a fixed rate. Whoever wants to send takes first and sends when told to, so that those who
/// take first send first, and nobody is passed over.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: Option<u64>,
    /// When all that was taken will have been sent at the full rate.
    free: Duration,
}

impl Pacer {
    /// At most `rate` bytes a second, of which there is at least one; unlimited where there is none.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Pacer {
        Pacer { rate: rate.map(|rate| rate.max(1)), free: Duration::ZERO }
    }

    /// Takes leave to send so many bytes, and says how long to wait before they may be.
    pub fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let wait = self.free.saturating_sub(now + BURST);
        self.free = self.free.max(now) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_never_exceeds_the_rate_and_a_pause_saves_up_only_a_burst() {
        let mut pacer = Pacer::new(Some(1_000_000));
        let mut now = Duration::from_secs(5);
        let start = now;
        let mut sent = 0;
        for step in 0..1_000_u32 {
            now += pacer.take(now, 10_000);
            sent += 10_000;
            let most = 1e6 * (now - start + BURST).as_secs_f64() + 10_000.0;
            assert!(f64::from(sent) <= most + 1.0, "{step}: {sent} by {now:?}");
        }
        assert!(now - start >= Duration::from_millis(9_900));
        assert!(now - start <= Duration::from_secs(10), "it is not slower than it may be either");
        // An hour later there is no hour's worth of bytes.
        now += Duration::from_secs(3_600);
        let waits: Vec<_> = (0..100).map(|_| pacer.take(now, 10_000)).collect();
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits[99] >= Duration::from_millis(900));
        assert_eq!(Pacer::new(None).take(now, u64::MAX), Duration::ZERO);
    }
}
