//! What one seed stands for: who takes part, how the links are, what goes wrong when. All of it is data; which
//! faults there are, and how each is drawn, stands in `menu`.

use std::time::Duration;

use coordinator_free::Tuning;
use essaim_jobs::Rows;

use crate::event::Fault;
use crate::menu::Menu;
use crate::net::{Rng, Weather};

/// What a node is up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nature {
    Honest,
    /// A part of the chunks fails here.
    Flaky(f64),
    /// For a part of the chunks, what it says came out did not: its own wrong bytes.
    Liar(f64),
    /// Takes what it is granted and looks busy, but runs nothing and gives nothing away.
    Hog,
    /// No member at all, but a key that signs records that claim everything.
    Grabber,
    /// No member at all, but a key that sends valid and useless messages, so many a second.
    Spammer(u32),
}

/// One node's nature.
#[derive(Clone, Debug)]
pub struct Peer {
    pub threads: u16,
    /// Times slower than the norm.
    pub slowness: f64,
    pub nature: Nature,
    /// What its clock shows at the start, and how much faster it runs.
    pub clock: (Duration, f64),
}

impl Peer {
    /// An honest one.
    pub fn new(threads: u16, slowness: f64) -> Peer {
        Peer { threads, slowness, nature: Nature::Honest, clock: (Duration::ZERO, 1.0) }
    }
}

/// All that a seed determines, but for chance along the way.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The kinds of fault that were drawn.
    pub kinds: Vec<&'static str>,
    pub rows: Rows,
    /// Node 0 is the author's.
    pub peers: Vec<Peer>,
    pub weather: Weather,
    /// Mean seconds of a slot on a node of slowness 1, and whether costs are exponential.
    pub mean: f64,
    pub exponential: bool,
    /// Seconds of each chunk instead, where they are drawn elsewhere.
    pub costs: Option<Vec<f64>>,
    /// Which part of the chunks fails wherever it is run: the author goes on without them.
    pub doomed: f64,
    /// Outputs are blobs that the author fetches.
    pub blobs: bool,
    pub faults: Vec<(Duration, Fault)>,
    /// No fault after this time.
    pub heal: Duration,
    /// Members of a group: least, good, most.
    pub group: (usize, usize, usize),
    /// How long all work rests after that, so that replicas can be compared while nothing new happens.
    pub rest: Duration,
}

impl Scenario {
    /// The scenario of `seed`. Small ones, so that many can be run.
    pub fn draw(seed: u64, menu: &Menu) -> Scenario {
        let mut rng = Rng::new(seed);
        let wan = rng.chance(0.4);
        let workers = [1, 2, 3, 3, 5, 8, 12][rng.below(7) as usize];
        let copies = if workers >= 3 && rng.chance(0.35) { 2 } else { 1 };
        let author_threads = [0, 0, 1, 2][rng.below(4) as usize];
        let mut peers = vec![Peer::new(author_threads, 1.0)];
        for _ in 0..workers {
            let threads = 1 + rng.below(4) as u16;
            peers.push(Peer::new(threads, rng.log_normal(0.4).clamp(0.3, 8.0)));
        }
        for peer in &mut peers {
            peer.clock.0 = Duration::from_secs_f64(1e6 * rng.unit());
        }
        let trivial = rng.chance(0.15);
        let seconds = if trivial { 0.03 } else { 1.0 + 9.0 * rng.unit() * rng.unit() };
        let threads: u16 = peers.iter().map(|peer| peer.threads).sum();
        // So many that every rule has something to do, so few that a seed takes milliseconds.
        let most = seconds * f64::from(threads) / f64::from(copies) / 2_500.0;
        let mean = if trivial { 20e-6 } else { (0.003 * 100_f64.powf(rng.unit())).max(most) };
        let chunks = (seconds * f64::from(threads) / mean / f64::from(copies)).clamp(1.0, 3_000.0) as u32;
        let (median, sigma, jitter) = if wan { (60, 0.4, 0.15) } else { (1, 0.2, 0.3) };
        let weather = Weather::fair(Duration::from_millis(median), sigma, jitter);
        let mut scenario = Scenario {
            kinds: Vec::new(),
            rows: Rows { chunks, copies },
            peers,
            weather,
            mean,
            exponential: rng.chance(0.7),
            costs: None,
            doomed: 0.0,
            blobs: rng.chance(0.3),
            faults: Vec::new(),
            // Faults are to happen while there is work, and healing mostly before it is all done.
            heal: Duration::from_secs_f64(0.3 + seconds * rng.between(0.3, 1.5)),
            // Worlds are small: so that they have several groups, these must be too.
            group: if Rng::of(seed, "groups").chance(0.4) { (2, 3, 4) } else { Tuning::default().group },
            rest: Duration::ZERO,
        };
        scenario.faults.push((Duration::ZERO, Fault::Join(0)));
        for node in 1..=workers {
            scenario.faults.push((Duration::from_millis(rng.below(50)), Fault::Join(node)));
        }
        menu.plan(seed, &mut scenario);
        scenario.faults.push((scenario.heal, Fault::Heal));
        scenario.faults.sort_by_key(|(at, _)| *at);
        if rng.chance(0.25) {
            scenario.rest = Duration::from_secs(20);
        }
        scenario
    }

    /// A quiet group, to measure how near to the ideal it comes.
    pub fn bench(seed: u64, workers: usize, wan: bool, chunks_a_thread: u32, mean: f64) -> Scenario {
        let median = Duration::from_millis(if wan { 60 } else { 1 });
        let mut peers = vec![Peer::new(0, 1.0)];
        let mut rng = Rng::new(seed);
        peers.extend((0..workers).map(|_| Peer::new(1, rng.log_normal(0.3))));
        let mut faults = vec![(Duration::ZERO, Fault::Heal)];
        faults.extend((0..=workers).map(|node| (Duration::ZERO, Fault::Join(node))));
        Scenario {
            kinds: Vec::new(),
            rows: Rows { chunks: chunks_a_thread * workers as u32, copies: 1 },
            peers,
            weather: Weather::fair(median, if wan { 0.4 } else { 0.2 }, 0.1),
            mean,
            exponential: true,
            costs: None,
            doomed: 0.0,
            blobs: false,
            faults,
            heal: Duration::ZERO,
            group: Tuning::default().group,
            rest: Duration::ZERO,
        }
    }

    /// Whether this chunk fails wherever it is run.
    pub fn is_doomed(&self, chunk: u32) -> bool {
        Rng::of(u64::from(chunk), "doomed").chance(self.doomed)
    }

    /// Seconds of work that all together do in a second, at first.
    pub fn power(&self) -> f64 {
        self.peers.iter().map(|peer| f64::from(peer.threads) / peer.slowness).sum()
    }

    /// The first of those that may do anything: the ones before are honest and stay, so that every copy of a
    /// chunk can be run by somebody.
    pub fn staying(&self) -> usize {
        1 + usize::from(self.rows.copies)
    }

    /// One of those that may do anything, and has not been made anything yet.
    pub fn victim(&self, rng: &mut Rng) -> Option<usize> {
        let honest = |node: &usize| self.peers[*node].nature == Nature::Honest;
        let victims: Vec<usize> = (self.staying()..self.peers.len()).filter(honest).collect();
        (!victims.is_empty()).then(|| victims[rng.below(victims.len() as u64) as usize])
    }

    /// Any worker.
    pub fn worker(&self, rng: &mut Rng) -> usize {
        1 + rng.below(self.peers.len() as u64 - 1) as usize
    }

    /// A time at which there is still something to be done.
    pub fn early(&self, rng: &mut Rng) -> Duration {
        self.heal.mul_f64(rng.unit() * 0.9)
    }

    /// A time from then on, before all is healed.
    pub fn later(&self, rng: &mut Rng, at: Duration) -> Duration {
        at + (self.heal - at).mul_f64(rng.unit())
    }

    pub fn fault(&mut self, at: Duration, fault: Fault) {
        self.faults.push((at, fault));
    }
}
