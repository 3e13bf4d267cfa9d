//! The simulator: one seed is one world with slow links, lost, repeated and reordered messages, crashes,
//! restarts, late joiners, slow peers, partitions and forgeries; the members in it are the real ones, and so is
//! the wire form of every message.
//!
//! `cargo sim [--seeds N] [--from N] [--seed N [--trace]] [bench]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: it talks to its reader and stops where something is off"
)]

mod checks;
mod drive;
mod forge;
mod net;
mod scenario;
mod suffer;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use scenario::Scenario;
use world::{Outcome, World};

/// Seeds that are run when nothing else is asked for.
const SEEDS: u64 = 60;
/// Faults that must have happened over all seeds.
const EXPECTED: [&str; 12] = [
    "crash",
    "restart",
    "late joiner",
    "pause",
    "leave",
    "forgery",
    "failed chunk",
    "output lost",
    "loss",
    "duplication",
    "reordering",
    "partition",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
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
    let seeds: Vec<u64> = match value("--seed") {
        Some(seed) => vec![seed],
        None => {
            let from = value("--from").unwrap_or(0);
            (from..from + value("--seeds").unwrap_or(SEEDS)).collect()
        }
    };
    run(&seeds, flag("--trace"))
}

fn simulate(seed: u64, trace: bool) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, Scenario::draw(seed), trace).run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn run(seeds: &[u64], trace: bool) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let (mut faults, mut kinds) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    let (mut ends, mut events, mut rejected) = (BTreeMap::<String, u64>::new(), 0, 0);
    let mut wastes = Vec::new();
    let mut slowest = (std::time::Duration::ZERO, 0);
    for (number, seed) in seeds.iter().enumerate() {
        let mut result = simulate(*seed, trace);
        if number % 20 == 0 || seeds.len() == 1 {
            // The same seed twice is the same world to the byte.
            let again = simulate(*seed, false).map(|outcome| outcome.hash);
            if let (Ok(one), Ok(two)) = (&result, &again)
                && one.hash != *two
            {
                result = Err(format!("not reproducible: {} and {two}", one.hash));
            }
        }
        match result {
            Ok(outcome) => {
                passed += 1;
                events += outcome.events;
                rejected += outcome.rejected;
                outcome.faults.iter().for_each(|(name, count)| *faults.entry(name).or_default() += count);
                outcome.kinds.iter().for_each(|(name, count)| *kinds.entry(name).or_default() += count);
                *ends.entry(format!("{:?}", outcome.reason)).or_default() += 1;
                wastes.push(outcome.waste);
                slowest = slowest.max((outcome.makespan, *seed));
                if trace || seeds.len() == 1 {
                    println!("{outcome:#?}");
                }
            }
            Err(error) => {
                failed += 1;
                println!("seed {seed} FAILED: {error}");
                println!("  replay: cargo test -p coordinator-free --test sim -- --seed {seed} --trace");
            }
        }
    }
    wastes.sort_by(f64::total_cmp);
    let median = wastes.get(wastes.len() / 2).copied().unwrap_or_default();
    println!(
        "{events} events; ends {ends:?}; {rejected} refused; waste (median) {:.1} %; the longest took {:.1?} (seed {})",
        100.0 * median,
        slowest.0,
        slowest.1
    );
    println!("messages {kinds:?}");
    println!("faults {faults:?}");
    if seeds.len() as u64 >= SEEDS {
        for name in EXPECTED.iter().filter(|name| faults.get(**name).is_none_or(|count| *count == 0)) {
            println!("the fault \"{name}\" never happened: the scenarios have lost it");
            failed += 1;
        }
    }
    println!("{passed} passed, {failed} failed");
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
