//! `cargo sim bench`: how near the core comes to a scheduler that cannot be, beside a rival that can; and where
//! the rest of the time goes.
//!
//! `cargo sim bench [scale|faults|quiet] [--peers 2,8,64] [--seeds N] [--lifetime SECONDS] [--account]`. With
//! nothing named, all tables are printed, and the first is drawn into `docs/`.

mod account;
mod chart;
mod dispatcher;
mod faults;
mod pull;
mod quiet;
mod scale;
mod setting;
mod trial;

use std::process::ExitCode;

/// What is asked for.
struct Asked {
    /// Sizes of the swarm; `None` for the usual ones, which are drawn.
    peers: Option<Vec<usize>>,
    seeds: Option<u64>,
    lifetime: f64,
    account: bool,
}

pub fn run(args: &[String]) -> ExitCode {
    match tables(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tables(args: &[String]) -> Result<(), String> {
    let asked = ask(args)?;
    let named = |name: &str| args.iter().any(|arg| arg == name);
    let all = !["scale", "faults", "quiet"].into_iter().any(named);
    if all || named("scale") {
        scale::run(&asked)?;
    }
    if all || named("faults") {
        faults::run(&asked)?;
    }
    if all || named("quiet") {
        quiet::run()?;
    }
    Ok(())
}

fn ask(args: &[String]) -> Result<Asked, String> {
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        Some(args.get(at + 1).map(String::as_str).unwrap_or_default())
    };
    let number =
        |name: &str, text: &str| text.parse::<u32>().map_err(|_| format!("{name} takes a number, not {text:?}"));
    let numbers = |name: &str| value(name).map(|text| number(name, text)).transpose();
    let peers = match value("--peers") {
        None => None,
        Some(list) => Some(
            list.split(',').map(|text| Ok(number("--peers", text)?.max(1) as usize)).collect::<Result<_, String>>()?,
        ),
    };
    Ok(Asked {
        peers,
        seeds: numbers("--seeds")?.map(|seeds| u64::from(seeds.max(1))),
        lifetime: numbers("--lifetime")?.map_or(120.0, f64::from),
        account: args.iter().any(|arg| arg == "--account"),
    })
}

fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let middle = all.len().checked_sub(1)? / 2;
    Some(f64::midpoint(all[middle], all[all.len() / 2]))
}
