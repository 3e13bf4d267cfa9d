//! Chance, and the links between nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_free::Message;

use crate::event::Cut;

/// A small generator of its own, so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The chance of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// What a seed means for one thing, whatever else is drawn from it.
    #[must_use]
    pub fn of(seed: u64, what: &str) -> Rng {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Rng::new(Rng::new(seed).next() ^ what.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Evenly from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Evenly between two numbers.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Log-normal with median 1.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (sigma * normal).exp()
    }
}

/// How links behave: data of a scenario.
#[derive(Clone, Debug)]
pub struct Weather {
    /// One way, in the middle of all links.
    pub median: Duration,
    /// Spread of the latency of a link, and of each message on it.
    pub sigma: f64,
    /// See `sigma`.
    pub jitter: f64,
    /// Part of the messages that never arrive.
    pub loss: f64,
    /// Part of the messages that arrive twice.
    pub duplication: f64,
    /// Part of the messages that take 10 to 100 times as long.
    pub tail: f64,
    /// Bytes a second that a node sends at most.
    pub bandwidth: Option<u64>,
}

impl Weather {
    /// Nothing is lost, nothing is late.
    pub fn fair(median: Duration, sigma: f64, jitter: f64) -> Weather {
        Weather { median, sigma, jitter, loss: 0.0, duplication: 0.0, tail: 0.0, bandwidth: None }
    }
}

/// The links of one world: what the weather is now, what is cut, and what has passed over them.
#[derive(Debug)]
pub struct Links {
    /// What it is now.
    pub weather: Weather,
    /// What does not pass, by number.
    pub cuts: BTreeMap<usize, Cut>,
    /// What went wrong, by name, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// By tag: how many messages of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// And how many bytes.
    pub sizes: BTreeMap<&'static str, u64>,
    last: BTreeMap<(usize, usize), Duration>,
    /// When a node has sent all that it is to send, where that takes time.
    sent: BTreeMap<usize, Duration>,
}

impl Links {
    /// With nothing cut.
    #[must_use]
    pub fn new(weather: Weather) -> Links {
        Links {
            weather,
            cuts: BTreeMap::new(),
            faults: BTreeMap::new(),
            messages: 0,
            bytes: 0,
            kinds: BTreeMap::new(),
            sizes: BTreeMap::new(),
            last: BTreeMap::new(),
            sent: BTreeMap::new(),
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
        *self.sizes.entry(kind(message)).or_default() += len as u64;
        let (from, to) = ends;
        if let Some(name) = self.blocked(from, to) {
            self.count(name);
            return Vec::new();
        }
        let copies = if rng.chance(self.weather.loss) {
            self.count("loss");
            0
        } else if rng.chance(self.weather.duplication) {
            self.count("duplication");
            2
        } else {
            1
        };
        let now = self.on_its_way(now, from, len);
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let mut way = self.latency(rng, from, to);
            if rng.chance(self.weather.tail) {
                self.count("long delay");
                way = way.mul_f64(10_f64.powf(rng.between(1.0, 2.0)));
            }
            let at = now + way;
            let last = self.last.entry((from, to)).or_default();
            let reordered = *last > at;
            *last = (*last).max(at);
            if reordered {
                self.count("reordering");
            }
            arrivals.push(at);
        }
        arrivals
    }

    /// When a message has left its sender, which may have others to send before.
    fn on_its_way(&mut self, now: Duration, from: usize, len: usize) -> Duration {
        let Some(bandwidth) = self.weather.bandwidth else { return now };
        let sent = self.sent.entry(from).or_default();
        *sent = now.max(*sent) + Duration::from_secs_f64(len as f64 / bandwidth as f64);
        *sent
    }

    /// Which cut stands between two nodes.
    #[must_use]
    pub fn blocked(&self, from: usize, to: usize) -> Option<&'static str> {
        self.cuts.values().find(|cut| cut.blocks(from, to)).map(|cut| cut.name)
    }

    fn count(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// How long a message takes this time.
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
        Message::Ban(_) => "ban",
        Message::Close(_) => "close",
        Message::Digest { .. } => "digest",
        Message::Ledger { .. } => "ledger",
        Message::Split { .. } => "split",
        Message::Grant { .. } => "grant",
        Message::Taken { .. } => "taken",
        Message::Duplicate { .. } => "duplicate",
        Message::Nothing { .. } => "nothing",
        Message::Look => "look",
        Message::Contacts { .. } => "contacts",
        Message::Place { .. } => "place",
        Message::Results(_) => "results",
        Message::Deposit(_) => "deposit",
        Message::Counted { .. } => "counted",
        Message::Refused { .. } => "refused",
    }
}
