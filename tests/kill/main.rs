//! `kill -9` of the author, of workers, of both, at random instants, with real processes: no output that was safe is
//! lost, none that is here is computed again, and every home opens.
//!
//! `cargo kill 1000`; `ESSAIM_KILL_SEED=N` says which rounds, `ESSAIM_KILL_ROUNDS` how many in `cargo test`. A seed
//! draws what is killed and when; what is under way at that instant is the machine's affair, so a round that failed is
//! tried again some times over.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: it talks to its reader and stops where something is off"
)]

#[allow(dead_code, reason = "shared with `it`, which uses all of it")]
#[path = "../it/node.rs"]
mod node;
mod process;
mod round;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use round::{Round, Tally};

/// Rounds in `cargo test`.
const ROUNDS: u64 = 4;
/// From so many on, it would be odd if a kind of kill had never been seen.
const ENOUGH: u64 = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        // What test runners ask first: all of it is one test.
        if !args.iter().any(|arg| arg == "--ignored") {
            println!("kill: test");
        }
        return ExitCode::SUCCESS;
    }
    let set = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")));
    let asked = args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1));
    let asked = asked.map(|text| text.parse().unwrap_or_else(|e| panic!("--rounds {text}: {e}")));
    let rounds: u64 = asked.or_else(|| set("ESSAIM_KILL_ROUNDS")).unwrap_or(ROUNDS);
    let first: u64 = set("ESSAIM_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let began = Instant::now();
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for seed in first..first + rounds {
        let mut round = Round::new(seed);
        if catch_unwind(AssertUnwindSafe(|| round.play(&mut tally))).is_err() {
            println!("round failed: ESSAIM_KILL_SEED={seed} cargo kill 1\n{}", round.report());
            failed.push(seed);
        }
    }
    let took = Duration::from_secs(began.elapsed().as_secs());
    println!("{rounds} rounds from seed {first} in {}: {tally}", humantime::format_duration(took));
    if rounds >= ENOUGH {
        assert!(tally.is_varied(), "a kind of kill was never seen");
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}
