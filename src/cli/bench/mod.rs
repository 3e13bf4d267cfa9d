//! `essaim bench`: what peers are worth, by work whose answers are known, beside the same work in one process.

pub mod args;
mod forecast;
mod html;
mod kernels;
mod native;
mod nodes;
mod report;
mod round;
mod suite;
mod table;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{Global, Run as Words};
use super::{Fail, program};
use crate::machine::all_cpus;
use args::{Bench, Own};
use native::{Guest, Native};
use nodes::Nodes;
use report::{Machine, Report, Run, Spread, Workload};
use round::{Round, round};
use suite::{Answer, Input, Kind, Pace};

/// The program of the suite, as `build.rs` compiled it; empty where the compiler had no target for it.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bench.wasm"));
/// Which part of the work says what the sandbox costs.
const PART: f64 = 0.1;

/// Measures, and says what was found.
///
/// # Errors
/// A run fails, an answer is wrong, or a report cannot be written.
pub async fn bench(global: &Global, bench: Bench) -> Result<(), Fail> {
    if bench.list {
        return say(&suite::ALL.iter().map(|kind| format!("{:<12} {}\n", kind.name, kind.about)).collect::<String>());
    }
    if cfg!(debug_assertions) {
        let words =
            "essaim: this is a debug build, whose native reference is slow: measure with one built by --release";
        super::say::say(global, words, "debug-build", serde_json::json!({}));
    }
    let mut peers = if bench.on.is_empty() { doubling(all_cpus()) } else { bench.on.clone() };
    peers.sort_unstable();
    peers.dedup();
    let own = match &bench.own {
        Some(Own::Run(_)) if !bench.suite.is_empty() => {
            let hint = "say which works, or `run` and a program of your own";
            return Err(Fail::new("works of the suite and a program cannot be measured together", hint).with_status(2));
        }
        Some(Own::Run(run)) => Some(ready(global, run).await?),
        None => None,
    };
    // What has been measured must not be lost for want of a place.
    let (csv, html) = (open(bench.csv.as_deref())?, open(bench.html.as_deref())?);
    let bar = bar(global);
    let mut nodes = Nodes::start(global).await?;
    let measured = match &own {
        Some(run) => of_ones_own(&bench, run, &peers, &mut nodes, &bar).await,
        None => whole_suite(&bench, &peers, &mut nodes, &bar).await,
    };
    nodes.stop().await;
    bar.finish_and_clear();
    let mut report = Report { machine: machine(), rounds: bench.rounds.into(), workloads: measured? };
    let foretold = match bench.simulate {
        Some(peers) => tokio::task::block_in_place(|| foretell(&mut report, peers, bench.latency)),
        None => Ok(()),
    };
    let said = if global.json {
        say(&format!("{}\n", serde_json::to_string(&report).map_err(|e| Fail::new(e, "please report it"))?))
    } else {
        say(&table::table(&report))
    };
    write(csv, || table::csv(&report))?;
    write(html, || html::page(&report))?;
    said.and(foretold)
}

/// The words with which a program of one's own is measured.
async fn ready(global: &Global, run: &Words) -> Result<Words, Fail> {
    let mut run = run.clone();
    run.program = program::find(global, &run.program).await?;
    run.no_cache = true;
    Ok(run)
}

/// Says of each work what so many peers would make of it, by what it cost on the fewest.
fn foretell(report: &mut Report, peers: u16, latency: Duration) -> Result<(), Fail> {
    for work in &mut report.workloads {
        let Some(run) = work.runs.first() else { continue };
        let items = if work.items == 0 { u64::MAX / 1_024 } else { work.items };
        work.forecasts.push(forecast::forecast(run, items, peers, latency)?);
    }
    Ok(())
}

/// The name of a work, as it is written on the command line.
///
/// # Errors
/// There is none of that name.
pub fn work(text: &str) -> Result<String, String> {
    let names: Vec<&str> = suite::ALL.iter().map(|kind| kind.name).collect();
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("the works are {}", names.join(", "))) }
}

/// 1, 2, 4 … as many as there are cores.
fn doubling(cores: u16) -> Vec<u16> {
    let mut peers: Vec<u16> = (0..16).map(|n| 1 << n).take_while(|n| *n < cores).collect();
    peers.push(cores);
    peers
}

fn bar(global: &Global) -> ProgressBar {
    if global.quiet || global.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar:.cyan/black.bright} {pos}/{len} · {elapsed} · {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What is to be run: so much of the work, on so many peers.
struct Case {
    peers: u16,
    times: u16,
}

fn cases(bench: &Bench, peers: &[u16]) -> Vec<Case> {
    let strong = peers.iter().map(|peers| Case { peers: *peers, times: 1 });
    let weak =
        peers.iter().filter(|peers| **peers > 1 && !bench.strong).map(|peers| Case { peers: *peers, times: *peers });
    strong.chain(weak).collect()
}

/// The rounds of one case.
#[derive(Default)]
struct Rounds {
    rounds: Vec<Round>,
    native: Vec<f64>,
}

impl Rounds {
    /// What they come to; `one` is what one peer took for one time the work.
    fn sum(mut self, case: &Case, one: Option<f64>) -> Option<Run> {
        self.rounds.sort_by_key(|round| round.took);
        let seconds = Spread::of(self.rounds.iter().map(|round| round.took.as_secs_f64()).collect())?;
        let native = Spread::of(self.native);
        let median = self.rounds.len() / 2;
        let Round { chunks, went, spans, .. } = self.rounds.swap_remove(median);
        let speedup = one.unwrap_or(seconds.median) * f64::from(case.times) / seconds.median;
        let efficiency = native.map_or(speedup / f64::from(case.peers), |native| native.median / seconds.median);
        Some(Run { peers: case.peers, times: case.times, seconds, native, speedup, efficiency, chunks, went, spans })
    }
}

async fn whole_suite(
    bench: &Bench,
    peers: &[u16],
    nodes: &mut Nodes,
    bar: &ProgressBar,
) -> Result<Vec<Workload>, Fail> {
    if PROGRAM.is_empty() {
        let hint = "`rustup target add wasm32-wasip1`, then build essaim again; `essaim bench run PROGRAM …` measures \
                    one of your own";
        return Err(Fail::new("this essaim was built without the programs of its suite", hint));
    }
    let kinds: Vec<&Kind> =
        suite::ALL.iter().filter(|kind| bench.suite.is_empty() || bench.suite.iter().any(|s| s == kind.name)).collect();
    let file = |name: &str| nodes.file(name);
    let program = file("bench.wasm");
    std::fs::write(&program, PROGRAM).map_err(|error| full(&program, &error))?;
    let (guest, pace) = tokio::task::block_in_place(|| Ok::<_, Fail>((Guest::new()?, Pace::measure())))?;
    let cases = cases(bench, peers);
    bar.set_length((kinds.len() * cases.len() * usize::from(bench.rounds)) as u64);
    let mut rounds: Vec<Vec<Rounds>> =
        kinds.iter().map(|_| cases.iter().map(|_| Rounds::default()).collect()).collect();
    let mut order: Vec<usize> = (0..cases.len()).collect();
    // So that workers are started only once.
    order.sort_by_key(|at| cases[*at].peers);
    for at in order {
        let case = &cases[at];
        nodes.grow(case.peers).await?;
        let native = Native::new(case.peers)?;
        for (kind, rounds) in kinds.iter().zip(&mut rounds) {
            let (_, input) = kind.input(bench.scale * f64::from(case.times), pace);
            let words = words(kind, &input, &program, nodes)?;
            bar.set_message(format!("{} on {}", kind.name, super::say::count(case.peers.into(), "peer")));
            // The program goes to the peers, and is compiled there.
            round(&nodes.global, &nodes.author, &words, case.peers, kind.answer).await?;
            for _ in 0..bench.rounds {
                let (took, right) = tokio::task::block_in_place(|| native.run(kind, &input))?;
                let ran = round(&nodes.global, &nodes.author, &words, case.peers, kind.answer).await?;
                if ran.answer != right {
                    let hint = "the same work in this process gives another: please report it, with your processor";
                    return Err(Fail::new(format!("the answer of `{}` is wrong", kind.name), hint));
                }
                rounds[at].native.push(took.as_secs_f64());
                rounds[at].rounds.push(ran);
                bar.inc(1);
            }
        }
    }
    let mut workloads = Vec::new();
    for (kind, rounds) in kinds.into_iter().zip(rounds) {
        let (items, _) = kind.input(bench.scale, pace);
        let (_, part) = kind.input(bench.scale * PART, pace);
        let sandbox = tokio::task::block_in_place(|| guest.slower(kind, &part))?;
        workloads.push(Workload {
            name: kind.name.to_owned(),
            about: kind.about.to_owned(),
            items,
            sandbox: Some(sandbox),
            runs: sums(&cases, rounds),
            forecasts: Vec::new(),
        });
    }
    Ok(workloads)
}

fn sums(cases: &[Case], rounds: Vec<Rounds>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (case, rounds) in cases.iter().zip(rounds) {
        let one = runs.first().map(|first| first.seconds.median * f64::from(first.peers));
        runs.extend(rounds.sum(case, one));
    }
    runs
}

/// The words of `essaim run` for this.
fn words(kind: &Kind, input: &Input, program: &Path, nodes: &Nodes) -> Result<Words, Fail> {
    let named = match input {
        Input::Range(end) => format!("0..{end}").into(),
        Input::Text(text) => {
            let path = nodes.file("input");
            std::fs::write(&path, text).map_err(|error| full(&path, &error))?;
            path.into_os_string()
        }
    };
    Ok(Words { inputs: vec![named], args: vec![kind.kernel.to_owned()], ..args::run_of(program) })
}

/// A program of the person's own, by itself.
async fn of_ones_own(
    bench: &Bench,
    run: &Words,
    peers: &[u16],
    nodes: &mut Nodes,
    bar: &ProgressBar,
) -> Result<Vec<Workload>, Fail> {
    let cases: Vec<Case> = peers.iter().map(|peers| Case { peers: *peers, times: 1 }).collect();
    bar.set_length((cases.len() * usize::from(bench.rounds)) as u64);
    let (mut rounds, mut answer) = (Vec::new(), None);
    for case in &cases {
        nodes.grow(case.peers).await?;
        bar.set_message(super::say::count(case.peers.into(), "peer"));
        round(&nodes.global, &nodes.author, run, case.peers, Answer::Joined).await?;
        let mut some = Rounds::default();
        for _ in 0..bench.rounds {
            let ran = round(&nodes.global, &nodes.author, run, case.peers, Answer::Joined).await?;
            if *answer.get_or_insert(ran.answer) != ran.answer {
                let hint = "its output depends on how its input is cut: --block SIZE cuts it alike each time";
                bar.println(format!("essaim: the program does not print the same each time\n  hint: {hint}"));
                answer = Some(ran.answer);
            }
            some.rounds.push(ran);
            bar.inc(1);
        }
        rounds.push(some);
    }
    let name = crate::build::name(&run.program);
    let about = "your own program".to_owned();
    Ok(vec![Workload { name, about, items: 0, sandbox: None, runs: sums(&cases, rounds), forecasts: Vec::new() }])
}

fn machine() -> Machine {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    Machine {
        processor: model.unwrap_or(std::env::consts::ARCH).trim().to_owned(),
        cores: all_cpus(),
        system: std::env::consts::OS.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        began: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    }
}

/// A file that a report is to be written to, if one is.
fn open(path: Option<&Path>) -> Result<Option<(PathBuf, File)>, Fail> {
    let open = |path: &Path| File::create(path).map(|file| (path.to_owned(), file)).map_err(|error| full(path, &error));
    path.map(open).transpose()
}

fn write(to: Option<(PathBuf, File)>, text: impl FnOnce() -> String) -> Result<(), Fail> {
    let Some((path, mut file)) = to else { return Ok(()) };
    file.write_all(text().as_bytes()).map_err(|error| full(&path, &error))
}

fn full(path: &Path, error: &std::io::Error) -> Fail {
    Fail::new(format!("cannot write {}: {error}", path.display()), "name a place where there is room")
}

/// Prints on standard output; a reader that goes early ends it without a word.
fn say(text: &str) -> Result<(), Fail> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Fail::new("", "").with_status(141)),
        written => written.map_err(|error| Fail::new(format!("cannot print: {error}"), "see where it is printed to")),
    }
}
