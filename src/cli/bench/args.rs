//! What can be written behind `essaim bench`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, FromArgMatches, Subcommand};

use super::super::args::Run;

/// Measure what peers are worth.
///
/// Peers of one core each are started on this machine, in a swarm of their own, and are given works whose answers are known;
/// each answer is checked. Beside them the same work is done in one process, on as many threads, with nothing around it: the
/// efficiency is that time by this one. The speed-up is against one peer. All systems take turns.
#[derive(Debug, Args)]
#[command(
    subcommand_precedence_over_arg = true,
    override_usage = "essaim bench [OPTIONS] [WORK]...\n       essaim bench [OPTIONS] run PROGRAM ...",
    after_help = "\
Examples:
  essaim bench                                   all works, on 1, 2, 4 … peers, as many as there are cores
  essaim bench --list                            which works there are
  essaim bench primes wordcount --html report.html
  essaim bench --simulate 500 primes             and what 500 peers would make of it
  essaim bench --on 1,4 run my.wasm big.txt   a program of your own, as `essaim run` would run it

With --json the report is printed as JSON, on standard output."
)]
pub struct Bench {
    /// What is to be measured, of what --list names [default: all]
    #[arg(value_name = "WORK", value_parser = super::work)]
    pub suite: Vec<String>,
    /// Say which works there are
    #[arg(long)]
    pub list: bool,
    /// How many peers, of one core each; several, parted by commas [default: 1, 2, 4 … as many as there are cores]
    #[arg(long = "on", value_name = "PEERS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    pub on: Vec<u16>,
    /// How often each is run; the table has medians
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub rounds: u8,
    /// How many times the usual amount of work: 0.1 for a quick look
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = scale)]
    pub scale: f64,
    /// Only the same work on more peers, not more work on more peers
    #[arg(long)]
    pub strong: bool,
    /// Say, too, what so many peers would give: what was measured here, run through the protocol's simulator
    ///
    /// They have one core each, as fast as this machine's. Chunks are cut further where they can be. What the forecast
    /// leaves out: sending the program, inputs and outputs, and compiling.
    #[arg(long, value_name = "PEERS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub simulate: Option<u16>,
    /// How long a message takes between two of those peers
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// Write the table for a spreadsheet, too
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write a report with plots, too: one page that needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// A program of one's own.
    #[command(subcommand)]
    pub own: Option<Own>,
}

/// What can be measured beside the suite.
#[derive(Debug, Subcommand)]
pub enum Own {
    /// Measure a program of your own, with the words of `essaim run`
    Run(Box<Run>),
}

/// `essaim run PROGRAM`, with nothing said, on no core of this node, and keeping nothing.
pub fn run_of(program: &Path) -> Run {
    let words = ["run".into(), "--no-cache".into(), "--cpus=0".into(), program.as_os_str().to_owned()];
    let command = Run::augment_args(clap::Command::new("run"));
    let matches = command.try_get_matches_from(words);
    matches.and_then(|matches| Run::from_arg_matches(&matches)).unwrap_or_else(|error| error.exit())
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=1_000.0).contains(&scale) => Ok(scale),
        _ => Err("from 0.001 to 1000 times the usual work".to_owned()),
    }
}
