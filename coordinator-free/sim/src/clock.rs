//! A node's own clock: it starts anywhere, runs fast or slow, and may jump.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Clock {
    /// A moment of the world, and what this clock showed then.
    world: Duration,
    local: Duration,
    /// Seconds that it counts in one second.
    pub rate: f64,
}

impl Clock {
    pub fn new(start: Duration, rate: f64) -> Clock {
        Clock { world: Duration::ZERO, local: start, rate }
    }

    /// What it shows.
    pub fn local(&self, world: Duration) -> Duration {
        self.local + self.scaled(world - self.world)
    }

    /// How much it counts in this time.
    pub fn scaled(&self, time: Duration) -> Duration {
        if self.rate == 1.0 { time } else { time.mul_f64(self.rate) }
    }

    /// When it will show this; now or earlier where it does already.
    pub fn world(&self, local: Duration) -> Duration {
        let ahead = local.saturating_sub(self.local);
        self.world + if self.rate == 1.0 { ahead } else { ahead.div_f64(self.rate) }
    }

    pub fn jump(&mut self, world: Duration, millis: i64) {
        let (shown, by) = (self.local(world), Duration::from_millis(millis.unsigned_abs()));
        self.local = if millis < 0 { shown.saturating_sub(by) } else { shown + by };
        self.world = world;
    }
}
