//! Links, faults and the order of events: everything about the world that is not a node.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use coordinator_free::Message;

/// A small generator of its own, so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Log-normal with median 1.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (sigma * normal).exp()
    }
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    Deliver {
        from: usize,
        to: usize,
        bytes: Bytes,
    },
    /// The worker of a node ends a slot; `run` tells it from an earlier, aborted run.
    Finish {
        node: usize,
        slot: u32,
        run: u64,
    },
    /// An output has been fetched, or could not be.
    Collected {
        slot: u32,
        worker: usize,
        leaf: essaim_jobs::Leaf,
    },
    Wake {
        node: usize,
    },
    Down {
        at: usize,
        peer: usize,
    },
    Up {
        at: usize,
        peer: usize,
    },
    Fault(Fault),
}

/// What goes wrong, and is planned when the world is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Join(usize),
    Crash(usize),
    Threads(usize, u16),
    Leave(usize),
    /// The nodes on one side; none heals.
    Partition(BTreeSet<usize>),
    /// Somebody who is no member says things that nobody may believe.
    Forge,
    /// From now on nothing goes wrong any more.
    Heal,
}

/// An event to come. Of two at one time the one that was planned first comes first.
#[derive(Debug)]
struct Planned {
    time: Duration,
    number: u64,
    event: Event,
}

impl Ord for Planned {
    /// The soonest is the greatest: the heap gives that first.
    fn cmp(&self, other: &Planned) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.number == other.number
    }
}
impl Eq for Planned {}

/// The events to come.
#[derive(Debug, Default)]
pub struct Queue {
    events: BinaryHeap<Planned>,
    number: u64,
}

impl Queue {
    pub fn at(&mut self, time: Duration, event: Event) {
        self.number += 1;
        self.events.push(Planned { time, number: self.number, event });
    }

    pub fn pop(&mut self) -> Option<(Duration, Event)> {
        self.events.pop().map(|Planned { time, event, .. }| (time, event))
    }
}

/// How links behave: data of a scenario.
#[derive(Clone, Debug)]
pub struct Weather {
    pub median: Duration,
    /// Spread of the latency of a link, and of each message on it.
    pub sigma: f64,
    pub jitter: f64,
    pub loss: f64,
    pub duplication: f64,
}

/// The links of one world: what the weather is now, what is cut, and what has passed over them.
#[derive(Debug)]
pub struct Links {
    pub weather: Weather,
    /// The nodes on one side of a partition.
    pub cut: BTreeSet<usize>,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub blocked: u64,
    pub messages: u64,
    pub bytes: u64,
    /// By tag: how many messages of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    last: BTreeMap<(usize, usize), Duration>,
}

impl Links {
    pub fn new(weather: Weather) -> Links {
        Links {
            weather,
            cut: BTreeSet::new(),
            lost: 0,
            duplicated: 0,
            reordered: 0,
            blocked: 0,
            messages: 0,
            bytes: 0,
            kinds: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// When the copies of a message from one node to another arrive: none, one or several.
    pub fn send(
        &mut self,
        rng: &mut Rng,
        now: Duration,
        ends: (usize, usize),
        message: &Message,
        len: usize,
    ) -> Vec<Duration> {
        self.messages += 1;
        self.bytes += len as u64;
        *self.kinds.entry(kind(message)).or_default() += 1;
        let (from, to) = ends;
        if self.cut.contains(&from) != self.cut.contains(&to) {
            self.blocked += 1;
            return Vec::new();
        }
        let copies = if rng.chance(self.weather.loss) {
            self.lost += 1;
            0
        } else if rng.chance(self.weather.duplication) {
            self.duplicated += 1;
            2
        } else {
            1
        };
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let at = now + self.latency(rng, from, to);
            let last = self.last.entry((from, to)).or_default();
            self.reordered += u64::from(*last > at);
            *last = (*last).max(at);
            arrivals.push(at);
        }
        arrivals
    }

    pub fn latency(&self, rng: &mut Rng, from: usize, to: usize) -> Duration {
        let link = ((from.min(to) << 20) + from.max(to)) as u64;
        let of_link = Rng::new(link).log_normal(self.weather.sigma);
        self.weather.median.mul_f64(of_link * rng.log_normal(self.weather.jitter))
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Record(_) => "record",
        Message::Seal(_) => "seal",
        Message::Close(_) => "close",
        Message::Digest { .. } => "digest",
        Message::Ledger { .. } => "ledger",
        Message::Split { .. } => "split",
        Message::Grant { .. } => "grant",
        Message::Taken { .. } => "taken",
        Message::Duplicate { .. } => "duplicate",
        Message::Nothing { .. } => "nothing",
        Message::Results(_) => "results",
        Message::Counted { .. } => "counted",
        Message::Refused { .. } => "refused",
    }
}
