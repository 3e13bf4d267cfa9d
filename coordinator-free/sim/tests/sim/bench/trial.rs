//! The core in a setting: the same machines, chunks and links that the rivals get, and what goes wrong beside.

use std::collections::BTreeSet;
use std::time::Duration;

use coordinator_free::Tuning;
use essaim_jobs::Rows;

use super::account::Account;
use super::setting::Setting;
use essaim_sim::event::{Cut, Fault};
use essaim_sim::net::Weather;
use essaim_sim::scenario::{Nature, Peer, Scenario};
use essaim_sim::world::World;

/// The links of all tables: 60 ms one way.
pub fn weather() -> Weather {
    Weather::fair(Duration::from_millis(60), 0.4, 0.1)
}

/// A job has failed when it takes so many times the ideal.
const LIMIT: f64 = 6.0;
/// A liar lies about so many of its chunks.
const LIES: f64 = 0.2;

/// What became of the core in a setting.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Seconds.
    pub makespan: f64,
    /// Work done and not needed, as a part of what was.
    pub waste: f64,
    pub account: Account,
    /// Chunks.
    pub sealed: usize,
    /// Bytes sent by a peer in a second, but for results; and results.
    pub control: f64,
    pub results: f64,
}

/// Some nodes cannot reach the others for a while, seconds.
#[derive(Clone, Debug)]
pub struct Parting {
    pub from: f64,
    pub to: f64,
    pub side: BTreeSet<usize>,
}

impl Parting {
    pub fn parts(&self, one: usize, other: usize) -> bool {
        self.side.contains(&one) != self.side.contains(&other)
    }
}

/// Runs the core in a setting; `Err` says what went wrong.
pub fn run(setting: &Setting, (copies, liars): (u8, usize), parting: Option<&Parting>) -> Result<Trial, String> {
    let rows = Rows { chunks: setting.costs.len() as u32, copies };
    let mut peers = vec![Peer::new(0, 1.0)];
    peers.extend(setting.machines.iter().map(|machine| Peer::new(1, machine.slowness)));
    // The last ones: the first may crash or be cut off.
    peers.iter_mut().rev().take(liars).for_each(|peer| peer.nature = Nature::Liar(LIES));
    let mut faults = vec![(0.0, Fault::Join(0))];
    for (number, machine) in setting.machines.iter().enumerate() {
        faults.push((machine.from, Fault::Join(number + 1)));
        if machine.until.is_finite() {
            faults.push((machine.until, Fault::Crash { node: number + 1, disk: false }));
        }
    }
    if let Some(Parting { from, to, side }) = parting {
        let others = (0..peers.len()).filter(|node| !side.contains(node)).collect();
        let cut = Cut { number: 0, name: "partition", from: side.clone(), to: others, both: true, noticed: false };
        faults.extend([(*from, Fault::Cut(cut)), (*to, Fault::Mend(0))]);
    }
    let mut faults: Vec<(Duration, Fault)> =
        faults.into_iter().map(|(at, fault)| (Duration::from_secs_f64(at), fault)).collect();
    faults.sort_by_key(|(at, _)| *at);
    let scenario = Scenario {
        kinds: Vec::new(),
        mild: true,
        rows,
        peers,
        weather: weather(),
        mean: 0.0,
        exponential: false,
        costs: Some(setting.costs.clone()),
        doomed: 0.0,
        blobs: false,
        faults,
        heal: Duration::from_secs_f64(LIMIT * setting.ideal(copies)),
        group: Tuning::of(rows).group,
        rest: Duration::ZERO,
    };
    let outcome = World::new(setting.seed, scenario, false).run().map_err(|halt| halt.to_string())?;
    let account = Account::of(setting, rows, &outcome.diary, outcome.makespan);
    account.check(setting, copies, outcome.makespan)?;
    let makespan = outcome.makespan.as_secs_f64();
    let present: f64 =
        setting.machines.iter().map(|machine| machine.until.min(makespan) - machine.from).map(|s| s.max(0.0)).sum();
    let all: u64 = outcome.sizes.values().sum();
    let results = outcome.sizes.get("results").copied().unwrap_or_default();
    Ok(Trial {
        makespan,
        waste: outcome.waste,
        account,
        sealed: outcome.diary.sealed.len(),
        control: (all - results) as f64 / (present + makespan),
        results: results as f64 / (present + makespan),
    })
}
