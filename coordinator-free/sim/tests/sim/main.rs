//! The simulator: one seed is one world with slow links, lost, late, repeated and reordered messages, crashes,
//! restarts, late joiners, slow peers, partitions, wrong clocks, forgeries and more (`menu`); the members in it are
//! the real ones, and so is the wire form of every message.
//!
//! `cargo sim [--seeds N] [--from N] [--seed N [--trace]] [--with|--without|--only FAULT,..] [--first] [bench]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: it talks to its reader and stops where something is off"
)]

mod bench;
mod draw;
mod menu;
mod runner;

use std::process::ExitCode;

use menu::Menu;
use runner::{Runner, SEEDS};

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
        return bench::run(&args);
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
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    Ok(Runner { seeds, menu, trace: flag("--trace"), first: flag("--first"), hashes: flag("--hashes") })
}
