//! How fast a source gives, measured over the time in which it was being asked.

use std::time::Duration;

/// Bytes and seconds, both fading as time passes. No transcendental functions: the same on every machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    bytes: f64,
    seconds: f64,
    /// All busy time, not faded.
    measured: Duration,
    /// Up to when it has been counted; none while the source is not asked for anything.
    busy: Option<Duration>,
}

impl Meter {
    /// From now on it has something to give.
    pub(super) fn start(&mut self, now: Duration) {
        self.busy.get_or_insert(now);
    }

    /// From now on it has not.
    pub(super) fn stop(&mut self, now: Duration, fade: Duration) {
        self.advance(now, fade);
        self.busy = None;
    }

    /// It gave so much.
    pub(super) fn add(&mut self, now: Duration, bytes: u64, fade: Duration) {
        self.advance(now, fade);
        self.bytes += bytes as f64;
    }

    fn advance(&mut self, now: Duration, fade: Duration) {
        let Some(since) = &mut self.busy else { return };
        let past = now.saturating_sub(*since);
        *since = now.max(*since);
        self.measured += past;
        let kept = fade.as_secs_f64() / (fade + past).as_secs_f64();
        self.bytes *= kept;
        self.seconds = self.seconds * kept + past.as_secs_f64();
    }

    /// Bytes a second; none before anything is known.
    pub(super) fn rate(&self, now: Duration) -> Option<f64> {
        let running = self.busy.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let seconds = self.seconds + running.as_secs_f64();
        (self.bytes > 0.0 && seconds > 0.0).then(|| self.bytes / seconds)
    }

    /// How long it has been measured.
    pub(super) fn measured(&self, now: Duration) -> Duration {
        self.measured + self.busy.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}
