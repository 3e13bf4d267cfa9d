//! The items of W1 to W3, W5 and W6 for essaim: a range `A..B`, or an item a line, on standard input; the argument is the
//! steps that each takes. A line an item comes out.

use std::io::{Read, Write, stdin, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("items: STEPS as the argument, A..B or a number a line as the input");
            ExitCode::from(2)
        }
    }
}

fn run() -> Option<()> {
    let steps: u64 = std::env::args().nth(1)?.parse().ok()?;
    let mut input = String::new();
    stdin().read_to_string(&mut input).ok()?;
    let input = input.trim();
    let mut lines = Vec::new();
    if let Some((from, to)) = input.split_once("..") {
        for item in from.parse::<u64>().ok()?..to.parse().ok()? {
            writeln!(lines, "{}", peers::item(item, steps)).ok()?;
        }
    } else {
        for item in input.lines() {
            writeln!(lines, "{}", peers::item(item.parse().ok()?, steps)).ok()?;
        }
    }
    stdout().write_all(&lines).ok()
}
