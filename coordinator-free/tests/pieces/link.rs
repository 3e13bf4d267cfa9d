//! Links: a node sends and receives so many bytes a second, whoever they are for, and each way takes its time.

use std::collections::VecDeque;
use std::time::Duration;

use coordinator_free::pieces::Pacer;

/// Bytes that go over a link in one go: what a real sender interleaves its streams by.
pub const GRAIN: u64 = 16 << 10;

/// A piece under way.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub to: usize,
    pub session: u64,
    pub piece: u32,
    pub left: u64,
    pub wrong: bool,
}

/// What a node is connected by.
#[derive(Debug)]
pub struct Link {
    pub up_rate: u64,
    pub down_rate: u64,
    pub pacer: Pacer,
    /// What is being sent: each in its turn a grain.
    pub sending: VecDeque<Transfer>,
    /// Whether a grain is on its way out.
    pub busy: bool,
    /// When all that has been sent here will have come in.
    pub down_free: Duration,
}

impl Link {
    pub fn new(up_rate: u64, down_rate: u64, limit: Option<u64>) -> Link {
        Link {
            up_rate,
            down_rate,
            pacer: Pacer::new(limit),
            sending: VecDeque::new(),
            busy: false,
            down_free: Duration::ZERO,
        }
    }

    /// Bytes of one grain: a slow link has smaller ones.
    pub fn grain(&self) -> u64 {
        GRAIN.min(self.up_rate / 4).max(64)
    }

    /// When a grain that reaches this node at `at` has come in.
    pub fn comes_in(&mut self, at: Duration, bytes: u64) -> Duration {
        self.down_free = self.down_free.max(at) + time(bytes, self.down_rate);
        self.down_free
    }
}

pub fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}
