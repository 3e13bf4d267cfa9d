//! Quiet groups, near and far, with chunks from 20 µs to 0.25 s: how much being without a coordinator costs.

use crate::scenario::Scenario;
use crate::world::World;

/// Makespan ÷ ideal in quiet groups: how much being without a coordinator costs.
pub fn run() -> Result<(), String> {
    println!("exponential chunks, one thread a peer, speeds log-normal (0.3); mean of 3 seeds");
    println!("links  chunks a thread x mean  peers  makespan/ideal  makespan s  waste %  bytes/s a peer");
    for (wan, chunks, mean) in [(false, 240, 0.25), (true, 240, 0.25), (false, 50, 0.002), (false, 2_000, 2e-5)] {
        for workers in [2, 8, 32] {
            let (mut ratio, mut seconds, mut waste, mut bytes) = (0.0, 0.0, 0.0, 0.0);
            for seed in 0..3 {
                let scenario = Scenario::bench(seed, workers, wan, chunks, mean);
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
