//! The judges, judged: small mistakes are planted into a copy of the core, its wire and its simulator, one at a
//! time, and each must be caught by a test or by the simulator. A judge that nothing has ever failed proves nothing.
//!
//! `cargo planted` lists the plants; `cargo planted all`, or `cargo planted NAME..`, plants them. As a part of
//! `cargo test` it only checks that each plant still has its place in the source, so that the list cannot rot.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test program: it talks to its reader, and gives up on a judge that does not end"
)]

mod judge;
mod list;
mod plant;
mod round;
mod workshop;

use std::path::Path;
use std::process::ExitCode;

use plant::Plant;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    if flag("--list") {
        // What test runners ask first: whether all plants fit is one test.
        if !flag("--ignored") {
            println!("planted: test");
        }
        return ExitCode::SUCCESS;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let plants = list::all();
    let misfits: Vec<String> = plants.iter().filter_map(|plant| plant.fits(source).err()).collect();
    misfits.iter().for_each(|misfit| println!("{misfit}"));
    // Without `--plant`, which the alias gives, all other arguments are somebody else's: filters of `cargo test`.
    let asked = flag("--plant");
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    if !asked || names.is_empty() {
        if asked {
            plants.iter().for_each(|plant| println!("{:<34} {}", plant.name, plant.what));
        }
        let word = if misfits.is_empty() { "ok" } else { "FAILED" };
        let fit = plants.len() - misfits.len();
        println!("test result: {word}. {fit} plants fit; {} do not", misfits.len());
        return if misfits.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if !misfits.is_empty() {
        return ExitCode::FAILURE;
    }
    let chosen: Vec<&Plant> = match names[..] {
        [all] if all == "all" => plants.iter().collect(),
        _ => plants.iter().filter(|plant| names.iter().any(|name| *name == plant.name)).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| *name != &"all" && plants.iter().all(|p| p.name != name.as_str())) {
        println!("there is no plant \"{unknown}\"; hint: `cargo planted` lists them");
        return ExitCode::FAILURE;
    }
    match round::run(source, &chosen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
