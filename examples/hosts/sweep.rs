//! A sweep over seeds: what an option is worth, a line a seed as it comes, and the mean of all.
//!
//! ```text
//! cargo run --example sweep            # 32 seeds
//! cargo run --example sweep -- 1000
//! ```
//!
//! It works with this machine alone, and faster with others: `essaim join` on each of them. The program that it has run is
//! examples/montecarlo, which is built first.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::process::ExitCode;

use essaim::swarm::{Config, Error, Swarm};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/montecarlo");

fn main() -> ExitCode {
    essaim::sandbox::init();
    let seeds = std::env::args().nth(1).map_or(Ok(32), |word| word.parse());
    let (Ok(seeds), Ok(runtime)) = (seeds, tokio::runtime::Runtime::new()) else {
        eprintln!("sweep: say how many seeds, as 32");
        return ExitCode::from(2);
    };
    match runtime.block_on(sweep(seeds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sweep: {error}\n  hint: {}", error.hint());
            ExitCode::FAILURE
        }
    }
}

async fn sweep(seeds: u64) -> Result<(), Error> {
    let swarm = Swarm::join(Config::from_env()?).await?;
    let program = swarm.program(PROGRAM).await?;
    let mut results = swarm.map::<_, (u64, f64, f64)>(&program, 1..=seeds).as_completed();
    println!("{:>6} {:>9} {:>8}", "seed", "price", "error");
    let (mut sum, mut squares) = (0.0, 0.0);
    while let Some(result) = results.next().await {
        let (_, (seed, price, error)) = result?;
        println!("{seed:>6} {price:>9.4} {error:>8.4}");
        sum += price;
        squares += error * error;
    }
    let n = seeds as f64;
    println!("{:>6} {:>9.4} {:>8.4}", "mean", sum / n, squares.sqrt() / n);
    let machines = results.progress().by.len();
    eprintln!("sweep: {seeds} seeds by {machines} of the swarm's machines");
    swarm.shutdown().await;
    Ok(())
}
