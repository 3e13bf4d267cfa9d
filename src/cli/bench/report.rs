//! What a benchmark has found, as it is written down.

use serde::Serialize;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    /// How often each run was made.
    pub rounds: usize,
    pub workloads: Vec<Workload>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: u16,
    pub system: String,
    /// The version of essaim.
    pub version: &'static str,
    /// Seconds since 1970, when it began.
    pub began: u64,
}

/// One kind of work, in all ways in which it was run.
#[derive(Debug, Serialize)]
pub struct Workload {
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// Items of one time the work.
    pub items: u64,
    /// Time of one thread as a guest by that of one native thread; none where there is no native form.
    pub sandbox: Option<f64>,
    pub runs: Vec<Run>,
    /// What more peers would give, by the simulator.
    pub forecasts: Vec<Forecast>,
}

/// What so many peers would make of the work.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// Peers of one core each, as fast as this machine's.
    pub peers: u16,
    /// What a message takes between two of them, seconds.
    pub latency: f64,
    /// Chunks into which the work would be cut.
    pub chunks: u32,
    pub seconds: f64,
    /// What it would take if work were a liquid.
    pub ideal: f64,
    /// By how much faster than one peer that only runs chunks.
    pub speedup: f64,
    /// Part of the peers' time in which they run what counts.
    pub busy: f64,
    /// Runs that did not count.
    pub run_twice: u32,
}

/// So much of the work on so many peers, several times.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Peers of one core each.
    pub peers: u16,
    /// How many times the work: 1 with strong scaling, as many as there are peers with weak scaling.
    pub times: u16,
    /// From the command to the last result, the peers up and warm.
    pub seconds: Spread,
    /// The same work on as many threads of one process of this machine; none where there is no native form.
    pub native: Option<Spread>,
    /// By how much faster than one peer with one time the work, per work.
    pub speedup: f64,
    /// The native time by this one; where there is none, the speed-up by the number of peers.
    pub efficiency: f64,
    pub chunks: u32,
    /// Where the time of the median round went, in seconds that add up to it.
    pub went: Went,
    /// The chunks of the median round.
    pub spans: Vec<Span>,
}

/// A median, and what it lies between, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// Where the time went, in seconds by the wall.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Went {
    /// Cutting the input, and trying the program for that.
    pub cut: f64,
    /// From the submission until the first chunk runs: telling the peers, sending the program, compiling it.
    pub start: f64,
    /// What the chunks took on the processor, shared by the peers.
    pub run: f64,
    /// While some peers had nothing to do any more.
    pub tail: f64,
    /// All else: waiting for input, for the processor, sending results.
    pub between: f64,
}

/// A chunk where it was run, as the author saw it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    pub chunk: u32,
    /// Which peer, from 0 on.
    pub peer: u16,
    /// Seconds since the submission: its time on the processor before its result was here, and when that was.
    pub from: f64,
    pub to: f64,
}

impl Spread {
    /// Of some seconds; none where there are none.
    pub fn of(mut seconds: Vec<f64>) -> Option<Spread> {
        seconds.sort_by(f64::total_cmp);
        let (least, most) = (*seconds.first()?, *seconds.last()?);
        Some(Spread { median: seconds[seconds.len() / 2], least, most })
    }
}
