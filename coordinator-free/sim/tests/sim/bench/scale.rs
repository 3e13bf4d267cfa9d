//! From two peers to thousands: makespan ÷ ideal of the core, of the two schedulers that cannot be, and of the
//! submitter that hands out work.

use super::account::{ENTRIES, MEANING};
use super::chart::{Bar, Line, Panel};
use super::dispatcher::{self, Knowledge};
use super::setting::{CHUNKS_A_WORKER, Costs, JOB_SECONDS, Setting};
use super::trial::{self, Trial};
use super::{Asked, chart, median, pull};

const PEERS: [usize; 5] = [2, 8, 64, 512, 4_096];
/// With more, one seed must do: with 4,096 it takes a quarter of an hour.
const SEVERAL_SEEDS: usize = 1_024;

/// Medians over the seeds; ratios to the ideal.
struct Row {
    peers: usize,
    omniscient: f64,
    dispatcher: f64,
    pull: f64,
    pull_waste: f64,
    core: Core,
}

/// One seed of the core, and what it is compared with.
struct Sample {
    trial: Trial,
    ideal: f64,
    floor: f64,
    work: f64,
}

struct Core {
    ratio: f64,
    worst: f64,
    to_omniscient: f64,
    waste: f64,
    control: f64,
    results: f64,
    /// As parts of the work.
    entries: [f64; 6],
}

pub fn run(asked: &Asked) -> Result<(), String> {
    println!(
        "makespan ÷ ideal: {CHUNKS_A_WORKER} chunks and {JOB_SECONDS} s of work a worker, links of 60 ms (σ 0.4, and 0.1 a"
    );
    println!(
        "message), speeds log-normal (σ 0.3) and one of 20 three times slower, peers crash after {} s on average",
        asked.lifetime
    );
    println!(
        "and are replaced, one thread a peer, an author's node beside them that runs nothing; medians over the seeds."
    );
    println!(
        "ideal: work is a liquid and nothing is lost. omniscient: no latency, knows costs and speeds. dispatcher: no"
    );
    println!(
        "latency, knows no costs. pull: asks the submitter, 2 chunks ahead, {} µs a request there.",
        1e6 * pull::REQUEST_SECONDS
    );
    let peers = asked.peers.clone().unwrap_or(PEERS.to_vec());
    let mut tables = Vec::new();
    for costs in [Costs::Exponential, Costs::Pareto] {
        println!();
        println!("{} costs, the longest at most 1/20 of the job", costs.name());
        println!("         makespan ÷ ideal                            essaim ÷        waste %    bytes/s a peer");
        println!(
            " peers  omniscient  dispatcher   pull  essaim (worst)  omniscient  essaim   pull  control  results  seeds"
        );
        let mut rows = Vec::new();
        for peers in &peers {
            let usual = match *peers {
                0..=100 => 5,
                101..=SEVERAL_SEEDS => 3,
                _ => 1,
            };
            let seeds = asked.seeds.unwrap_or(usual);
            let row = measure(*peers, costs, asked.lifetime, seeds)?;
            row.print(seeds);
            rows.push(row);
        }
        if asked.account || asked.peers.is_none() {
            print_account(&rows);
        }
        tables.push((costs, rows));
    }
    if asked.peers.is_none() {
        draw(&tables)?;
    }
    Ok(())
}

fn measure(peers: usize, costs: Costs, lifetime: f64, seeds: u64) -> Result<Row, String> {
    let (mut floors, mut rivals, mut trials) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..seeds {
        let setting = Setting::draw(seed, peers, costs, lifetime);
        let ideal = setting.ideal(1);
        let floor = dispatcher::run(&setting, Knowledge::Costs).makespan;
        floors.push((floor / ideal, dispatcher::run(&setting, Knowledge::Nothing).makespan / ideal));
        let rival = pull::run(&setting, None);
        rivals.push((rival.makespan / ideal, rival.wasted / setting.work()));
        let trial =
            trial::run(&setting, (1, 0), None).map_err(|error| format!("{peers} peers, seed {seed}: {error}"))?;
        trials.push(Sample { trial, ideal, floor, work: setting.work() });
    }
    let middle = |all: Vec<f64>| median(all).unwrap_or_default();
    Ok(Row {
        peers,
        omniscient: middle(floors.iter().map(|(one, _)| *one).collect()),
        dispatcher: middle(floors.iter().map(|(_, one)| *one).collect()),
        pull: middle(rivals.iter().map(|(one, _)| *one).collect()),
        pull_waste: middle(rivals.iter().map(|(_, one)| *one).collect()),
        core: Core::of(&trials),
    })
}

impl Core {
    fn of(samples: &[Sample]) -> Core {
        let of = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect()).unwrap_or_default();
        let ratio = |sample: &Sample| sample.trial.makespan / sample.ideal;
        Core {
            ratio: of(&ratio),
            worst: samples.iter().map(ratio).fold(0.0, f64::max),
            to_omniscient: of(&|sample| sample.trial.makespan / sample.floor),
            waste: of(&|sample| sample.trial.waste),
            control: of(&|sample| sample.trial.control),
            results: of(&|sample| sample.trial.results),
            entries: std::array::from_fn(|entry| of(&|sample| sample.trial.account.entries[entry] / sample.work)),
        }
    }
}

impl Row {
    fn print(&self, seeds: u64) {
        let core = &self.core;
        print!("{:>6}  {:>10.3}  {:>10.3}  {:>5.3}", self.peers, self.omniscient, self.dispatcher, self.pull);
        print!(
            "  {:>6.3} ({:.3})  {:>10.3}  {:>6.2}  {:>5.2}  {:>7.0}  {:>7.0}",
            core.ratio,
            core.worst,
            core.to_omniscient,
            100.0 * core.waste,
            100.0 * self.pull_waste,
            core.control,
            core.results
        );
        println!("  {seeds:>5}");
    }
}

fn print_account(rows: &[Row]) {
    println!();
    println!("where essaim's time went, % of the work (each a median)");
    print!(" peers");
    ENTRIES.iter().for_each(|entry| print!("  {entry:>6}"));
    println!("     all");
    for row in rows {
        let core = &row.core;
        print!("{:>6}", row.peers);
        core.entries.iter().for_each(|part| print!("  {:>6.2}", 100.0 * part));
        println!("  {:>6.2}", 100.0 * core.entries.iter().sum::<f64>());
    }
    for (entry, meaning) in ENTRIES.iter().zip(MEANING) {
        println!("{entry:>6}: {meaning}");
    }
}

fn draw(tables: &[(Costs, Vec<Row>)]) -> Result<(), String> {
    let panel = |(costs, rows): &(Costs, Vec<Row>)| {
        let line = |name: &str, value: &dyn Fn(&Row) -> f64| Line {
            name: name.to_owned(),
            points: rows.iter().map(|row| (row.peers, 100.0 * (value(row) - 1.0))).collect(),
        };
        Panel {
            title: format!("{} costs", costs.name()),
            lines: vec![
                line("essaim", &|row| row.core.ratio),
                line("submitter pull", &|row| row.pull),
                line("dispatcher, no latency", &|row| row.dispatcher),
                line("omniscient, no latency", &|row| row.omniscient),
            ],
        }
    };
    chart::lines("scaling.svg", "Time beyond the ideal", &tables.iter().map(panel).collect::<Vec<_>>())?;
    let bars = |(costs, rows): &(Costs, Vec<Row>)| {
        let bar = |row: &Row| {
            let core = &row.core;
            let name = format!("{} peers, {}", row.peers, costs.name());
            Bar { name, parts: core.entries.map(|part| 100.0 * part) }
        };
        rows.iter().map(bar).collect::<Vec<_>>()
    };
    chart::bars("losses.svg", "Where essaim's time goes", &ENTRIES, &tables.iter().flat_map(bars).collect::<Vec<_>>())
}
