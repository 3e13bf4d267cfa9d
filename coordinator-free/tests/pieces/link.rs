//! Links: a node sends and receives so many bytes a second, whoever they are for, and each way takes its time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use coordinator_free::pieces::{Message, Pacer};

/// Bytes that go over a link in one go: what a real sender interleaves its streams by.
pub const GRAIN: u64 = 16 << 10;

/// What a message costs on a link, with everything below it.
pub const MESSAGE: u64 = 200;

/// A piece that is being given, so far as it is not yet in the socket.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub piece: u32,
    pub left: u64,
    pub wrong: bool,
}

/// A part of a piece.
#[derive(Clone, Debug)]
pub struct Grain {
    pub piece: u32,
    pub bytes: u64,
    pub last: bool,
    pub wrong: bool,
}

/// What is in a socket.
#[derive(Clone, Debug)]
pub enum Item {
    Message(Message),
    Grain(Grain),
}

impl Item {
    pub fn bytes(&self) -> u64 {
        match self {
            Item::Message(_) => MESSAGE,
            Item::Grain(grain) => grain.bytes,
        }
    }
}

/// The way to one peer, in order.
#[derive(Debug)]
pub struct Socket {
    pub session: u64,
    pub waiting: VecDeque<Transfer>,
    /// Whether the upload limit keeps the next grain back.
    pub paced: bool,
    pub queue: VecDeque<Item>,
    /// Bytes in the queue and on their way out.
    pub held: u64,
}

/// What a node is connected by.
#[derive(Debug)]
pub struct Link {
    pub up_rate: u64,
    pub down_rate: u64,
    pub pacer: Pacer,
    pub sockets: BTreeMap<usize, Socket>,
    /// Those with something in their queue, in the order in which they may send.
    pub turns: VecDeque<usize>,
    /// Whether something is on its way out.
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
            sockets: BTreeMap::new(),
            turns: VecDeque::new(),
            busy: false,
            down_free: Duration::ZERO,
        }
    }

    /// The way to a peer: a new one for each session.
    pub fn socket(&mut self, to: usize, session: u64) -> &mut Socket {
        let new = || Socket { session, waiting: VecDeque::new(), paced: false, queue: VecDeque::new(), held: 0 };
        let socket = self.sockets.entry(to).or_insert_with(new);
        if socket.session != session {
            *socket = new();
        }
        socket
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
