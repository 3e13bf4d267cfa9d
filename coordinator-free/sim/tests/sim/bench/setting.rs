//! What one cell of a table is measured on: machines that come and go, chunks with their costs. Drawn once a
//! seed and given to every scheduler alike.

use essaim_sim::net::Rng;

/// Seconds that the job takes when nothing is lost, about.
pub const JOB_SECONDS: f64 = 60.0;
/// Chunks for each worker.
pub const CHUNKS_A_WORKER: u32 = 240;
/// The longest chunk is a twentieth of the job: so many times the mean.
const LONGEST: f64 = CHUNKS_A_WORKER as f64 / 20.0;
/// Machines come and go for so long: later there is no job any more.
const HORIZON: f64 = 4.0 * JOB_SECONDS;
/// Spread of the speeds; and the slow tail: so many of all machines are so many times slower.
const SPEED_SIGMA: f64 = 0.3;
const SLOW: (f64, f64) = (0.05, 3.0);

/// How the costs of chunks are distributed, both cut at [`LONGEST`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Costs {
    Exponential,
    /// Bounded Pareto, α = 1.5: a tenth of the chunks are two fifths of the work.
    Pareto,
}

impl Costs {
    pub fn name(self) -> &'static str {
        match self {
            Costs::Exponential => "exponential",
            Costs::Pareto => "Pareto",
        }
    }

    /// A cost of about mean 1.
    fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Costs::Exponential => rng.exponential().clamp(0.01, LONGEST),
            Costs::Pareto => {
                // The largest is 29.5 times the smallest, and 12 times the mean.
                let (alpha, most) = (1.5_f64, 29.5_f64);
                let low = 1.0 / (3.0 * (1.0 - most.powf(1.0 - alpha)) / (1.0 - most.powf(-alpha)));
                low * (1.0 - rng.unit() * (1.0 - most.powf(-alpha))).powf(-1.0 / alpha)
            }
        }
    }
}

/// A machine of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Times slower than the norm.
    pub slowness: f64,
    /// When it joins, seconds.
    pub from: f64,
    /// When it crashes; infinite when it stays.
    pub until: f64,
}

impl Machine {
    /// Seconds of work on a machine of slowness 1 that this one can do until `end`.
    pub fn power_until(&self, end: f64) -> f64 {
        (self.until.min(end) - self.from).max(0.0) / self.slowness
    }
}

/// One draw of everything.
#[derive(Clone, Debug)]
pub struct Setting {
    pub seed: u64,
    /// At every time as many as there are peers.
    pub machines: Vec<Machine>,
    /// Seconds of each chunk on a machine of slowness 1.
    pub costs: Vec<f64>,
}

impl Setting {
    /// `peers` workers, each replaced by another when its life ends; `lifetime` in seconds, 0 for ever.
    pub fn draw(seed: u64, peers: usize, costs: Costs, lifetime: f64) -> Setting {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(peers as u64));
        let slowness = |rng: &mut Rng| {
            let slow = if rng.chance(SLOW.0) { SLOW.1 } else { 1.0 };
            slow * rng.log_normal(SPEED_SIGMA)
        };
        let mut machines = Vec::new();
        for _ in 0..peers {
            let mut from = 0.0;
            while from < HORIZON {
                let until = if lifetime > 0.0 { from + lifetime * rng.exponential() } else { f64::INFINITY };
                machines.push(Machine { slowness: slowness(&mut rng), from, until });
                from = until;
            }
        }
        machines.sort_by(|a, b| a.from.total_cmp(&b.from));
        let chunks = CHUNKS_A_WORKER as usize * peers;
        let mut costs: Vec<f64> = (0..chunks).map(|_| costs.draw(&mut rng)).collect();
        let power: f64 = machines[..peers].iter().map(|machine| 1.0 / machine.slowness).sum();
        let scale = JOB_SECONDS * power / costs.iter().sum::<f64>();
        costs.iter_mut().for_each(|cost| *cost *= scale);
        Setting { seed, machines, costs }
    }

    /// Seconds of work on a machine of slowness 1.
    pub fn work(&self) -> f64 {
        self.costs.iter().sum()
    }

    /// Seconds of work that all machines together could have done by `end`.
    pub fn power_until(&self, end: f64) -> f64 {
        self.machines.iter().map(|machine| machine.power_until(end)).sum()
    }

    /// When the job would be done if work were a liquid: no chunk, no latency, nothing lost.
    pub fn ideal(&self, copies: u8) -> f64 {
        let work = self.work() * f64::from(copies);
        let (mut low, mut high) = (0.0, 100.0 * JOB_SECONDS);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if self.power_until(middle) < work { low = middle } else { high = middle }
        }
        high
    }
}
