//! The simulator: one seed is one world with slow links, lost, late, repeated and reordered messages, crashes,
//! restarts, late joiners, slow peers, partitions, wrong clocks, forgeries and more (`menu`); the members in it are
//! the real ones, and so is the wire form of every message.
//!
//! `cargo sim [--seeds N] [--from N] [--seed N [--trace]] [--with|--without|--only FAULT,..] [bench]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: it talks to its reader and stops where something is off"
)]

mod attack;
mod bounds;
mod checks;
mod clock;
mod converge;
mod drive;
mod event;
mod menu;
mod net;
mod runner;
mod scenario;
mod suffer;
mod traffic;
mod world;

use std::process::ExitCode;

use menu::Menu;
use runner::{Runner, SEEDS};
use scenario::Scenario;
use world::World;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    if flag("--list") {
        // What test runners ask first: the simulator is one test.
        if !flag("--ignored") {
            println!("sim: test");
        }
        return ExitCode::SUCCESS;
    }
    if flag("bench") {
        return bench();
    }
    match runner(&args) {
        Ok(runner) => runner.run(),
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
fn runner(args: &[String]) -> Result<Runner, String> {
    let text = |name: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.map(|at| args.get(at + 1).ok_or_else(|| format!("{name} wants a value"))).transpose()
    };
    let number = |name: &str| {
        let parse = |text: &String| text.parse::<u64>().map_err(|error| format!("{name} {text}: {error}"));
        text(name)?.map(parse).transpose()
    };
    let list = |name: &str| Ok::<_, String>(text(name)?.map(|text| text.split(',').map(str::to_owned).collect()));
    let menu = Menu {
        with: list("--with")?.unwrap_or_default(),
        without: list("--without")?.unwrap_or_default(),
        only: list("--only")?,
    };
    menu.check()?;
    let seeds = match number("--seed")? {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("--from")?.unwrap_or(0);
            from..from + number("--seeds")?.unwrap_or(SEEDS)
        }
    };
    Ok(Runner { seeds, menu, trace: args.iter().any(|arg| arg == "--trace") })
}

/// Makespan ÷ ideal in quiet groups: how much being without a coordinator costs.
fn bench() -> ExitCode {
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
                        println!("seed {seed}: {error}");
                        return ExitCode::FAILURE;
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
    ExitCode::SUCCESS
}
