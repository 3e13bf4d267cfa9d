//! Quiet groups, near and far, with chunks from 20 µs to 0.25 s: how much being without a coordinator costs.

use std::time::Duration;

use coordinator_free::Tuning;
use essaim_jobs::Rows;
use essaim_sim::event::Fault;
use essaim_sim::net::{Rng, Weather};
use essaim_sim::scenario::{Peer, Scenario};
use essaim_sim::world::World;

/// Makespan ÷ ideal in quiet groups: how much being without a coordinator costs.
pub fn run() -> Result<(), String> {
    println!("exponential chunks, one thread a peer, speeds log-normal (0.3); mean of 3 seeds");
    println!("links  chunks a thread x mean  peers  makespan/ideal  makespan s  waste %  bytes/s a peer");
    for (wan, chunks, mean) in [(false, 240, 0.25), (true, 240, 0.25), (false, 50, 0.002), (false, 2_000, 2e-5)] {
        for workers in [2, 8, 32] {
            let (mut ratio, mut seconds, mut waste, mut bytes) = (0.0, 0.0, 0.0, 0.0);
            for seed in 0..3 {
                let scenario = scenario(seed, workers, wan, chunks, mean);
                match World::new(seed, scenario, false).run() {
                    Ok(outcome) => {
                        ratio += outcome.ratio / 3.0;
                        seconds += outcome.makespan.as_secs_f64() / 3.0;
                        waste += outcome.waste / 3.0;
                        bytes += outcome.bytes_a_second / 3.0;
                    }
                    Err(error) => {
                        return Err(format!("seed {seed}: {error}"));
                    }
                }
            }
            let name = if wan { "wan" } else { "lan" };
            println!(
                "{name:>5}  {chunks:>15} x {mean:<5}  {workers:>5}  {ratio:>14.3}  {seconds:>10.3}  {:>7.2}  {bytes:>14.0}",
                100.0 * waste
            );
        }
    }
    Ok(())
}

/// A quiet group, to measure how near to the ideal it comes.
fn scenario(seed: u64, workers: usize, wan: bool, chunks_a_thread: u32, mean: f64) -> Scenario {
    let median = Duration::from_millis(if wan { 60 } else { 1 });
    let mut peers = vec![Peer::new(0, 1.0)];
    let mut rng = Rng::new(seed);
    peers.extend((0..workers).map(|_| Peer::new(1, rng.log_normal(0.3))));
    let mut faults = vec![(Duration::ZERO, Fault::Heal)];
    faults.extend((0..=workers).map(|node| (Duration::ZERO, Fault::Join(node))));
    Scenario {
        kinds: Vec::new(),
        mild: true,
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
