//! The world that a seed stands for.

use std::time::Duration;

use coordinator_free::Tuning;
use essaim_jobs::Rows;
use essaim_sim::event::Fault;
use essaim_sim::net::{Rng, Weather};
use essaim_sim::scenario::{Peer, Scenario};

use crate::menu::Menu;

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
        mild: true,
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
