//! What one seed stands for: who takes part, how the links are, what goes wrong when.

use std::time::Duration;

use essaim_jobs::Rows;

use crate::net::{Fault, Rng, Weather};

/// One node's nature.
#[derive(Clone, Debug)]
pub struct Peer {
    pub threads: u16,
    /// Times slower than the norm.
    pub slowness: f64,
}

impl Peer {
    /// An honest one.
    pub fn new(threads: u16, slowness: f64) -> Peer {
        Peer { threads, slowness }
    }
}

/// All that a seed determines, but for chance along the way.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub rows: Rows,
    /// Node 0 is the author's.
    pub peers: Vec<Peer>,
    pub weather: Weather,
    /// Mean seconds of a slot on a node of slowness 1, and whether costs are exponential.
    pub mean: f64,
    pub exponential: bool,
    /// Outputs are blobs that the author fetches.
    pub blobs: bool,
    /// A node at which some chunks fail.
    pub flaky: Option<usize>,
    pub faults: Vec<(Duration, Fault)>,
    /// No fault after this time.
    pub heal: Duration,
}

impl Scenario {
    /// The scenario of `seed`. Small ones, so that many can be run.
    pub fn draw(seed: u64) -> Scenario {
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
        let trivial = rng.chance(0.2);
        let mean = if trivial { 20e-6 } else { 0.003 * 100_f64.powf(rng.unit()) };
        let seconds = if trivial { 0.03 } else { 1.0 + 4.0 * rng.unit() };
        let threads: u16 = peers.iter().map(|peer| peer.threads).sum();
        let chunks = (seconds * f64::from(threads) / mean / f64::from(copies)).clamp(1.0, 3_000.0) as u32;
        let lossy = rng.chance(0.5);
        let loss = if lossy { 0.3 * rng.unit() } else { 0.0 };
        let duplication = if rng.chance(0.3) { 0.1 } else { 0.0 };
        let (median, sigma, jitter) = if wan { (60, 0.4, 0.15) } else { (1, 0.2, 0.3) };
        let median = Duration::from_millis(median);
        let heal = Duration::from_secs_f64(2.0 + 10.0 * rng.unit());
        let mut scenario = Scenario {
            rows: Rows { chunks, copies },
            peers,
            weather: Weather { median, sigma, jitter, loss, duplication },
            mean,
            exponential: rng.chance(0.7),
            blobs: rng.chance(0.3),
            flaky: None,
            faults: Vec::new(),
            heal,
        };
        scenario.plan(&mut rng);
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
            rows: Rows { chunks: chunks_a_thread * workers as u32, copies: 1 },
            peers,
            weather: Weather { median, sigma: if wan { 0.4 } else { 0.2 }, jitter: 0.1, loss: 0.0, duplication: 0.0 },
            mean,
            exponential: true,
            blobs: false,
            flaky: None,
            faults,
            heal: Duration::ZERO,
        }
    }

    fn plan(&mut self, rng: &mut Rng) {
        let count = self.peers.len();
        let early = |rng: &mut Rng, heal: Duration| heal.mul_f64(rng.unit() * 0.9);
        self.faults.push((Duration::ZERO, Fault::Join(0)));
        // Those who stay: enough that every copy can be run by somebody else.
        let staying = 1 + usize::from(self.rows.copies);
        for node in 1..count {
            let late = rng.chance(0.3);
            let joins = if late { early(rng, self.heal) } else { Duration::from_millis(rng.below(50)) };
            self.faults.push((joins, Fault::Join(node)));
            if node < staying {
                continue;
            }
            match rng.below(10) {
                0..3 => {
                    let at = early(rng, self.heal);
                    self.faults.push((at, Fault::Crash(node)));
                    if rng.chance(0.6) {
                        let back = at + (self.heal - at).mul_f64(rng.unit());
                        self.faults.push((back, Fault::Join(node)));
                    }
                }
                3 => self.faults.push((early(rng, self.heal), Fault::Leave(node))),
                4 => {
                    let threads = self.peers[node].threads;
                    self.faults.push((early(rng, self.heal), Fault::Threads(node, 0)));
                    self.faults.push((self.heal, Fault::Threads(node, threads)));
                }
                _ => {}
            }
        }
        if rng.chance(0.15) && count > 3 {
            // Half of the group dies at once.
            let at = early(rng, self.heal);
            self.faults.extend((staying..count).step_by(2).map(|node| (at, Fault::Crash(node))));
        }
        if rng.chance(0.25) {
            let at = early(rng, self.heal);
            let side = (0..count).filter(|_| rng.chance(0.5)).collect();
            self.faults.push((at, Fault::Partition(side)));
        }
        if rng.chance(0.3) {
            let count = 5 + rng.below(20);
            for _ in 0..count {
                self.faults.push((early(rng, self.heal), Fault::Forge));
            }
        }
        if rng.chance(0.2) && count > 3 {
            self.flaky = Some(count - 1);
        }
        self.faults.push((self.heal, Fault::Heal));
        self.faults.sort_by_key(|(at, _)| *at);
    }
}
