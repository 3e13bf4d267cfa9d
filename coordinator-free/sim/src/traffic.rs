//! What one node sends and hears, second by second: talking must stay bounded, whoever asks.

use std::time::Duration;

/// One second of a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    pub number: u64,
    /// Messages and bytes.
    pub sent: (u64, u64),
    pub heard: (u64, u64),
}

/// The meter of one node.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    now: Second,
    before: Second,
    /// The most of what was sent in a second beyond what was heard in it and the one before.
    pub most: (u64, u64),
}

impl Meter {
    pub fn sent(&mut self, now: Duration, bytes: usize) {
        self.roll(now);
        add(&mut self.now.sent, bytes);
    }

    pub fn heard(&mut self, now: Duration, bytes: usize) {
        self.roll(now);
        add(&mut self.now.heard, bytes);
    }

    fn roll(&mut self, now: Duration) {
        let number = now.as_secs();
        if number != self.now.number {
            let (sent, heard, before) = (self.now.sent, self.now.heard, self.before.heard);
            let beyond = |sent: u64, heard: u64| sent.saturating_sub(heard);
            self.most.0 = self.most.0.max(beyond(sent.0, heard.0 + before.0));
            self.most.1 = self.most.1.max(beyond(sent.1, heard.1 + before.1));
            self.before = if self.now.number + 1 == number { self.now } else { Second::default() };
            self.now = Second { number, ..Second::default() };
        }
    }
}

fn add(sum: &mut (u64, u64), bytes: usize) {
    sum.0 += 1;
    sum.1 += bytes as u64;
}
