//! The same job while something goes wrong: crashes at half time, a partition, an author that is away, liars.

use super::dispatcher::{self, Knowledge};
use super::setting::{Costs, Setting};
use super::trial::{self, Parting};
use super::{Asked, median, pull};

const PEERS: usize = 32;

#[derive(Clone, Copy)]
enum Fault {
    Nothing,
    /// 30 % of the peers crash at half time, and nobody comes in their place.
    Crash,
    /// 30 % of the peers are cut off from the others for 20 s, from a third of the job on.
    Partition,
    /// The author's node cannot be reached from a quarter of the job to three quarters.
    Away,
    /// 10 % of the peers answer wrongly; every chunk is run by two.
    Liars,
}

const FAULTS: [(Fault, &str); 5] = [
    (Fault::Nothing, "nothing"),
    (Fault::Crash, "30 % crash at half time"),
    (Fault::Partition, "30 % cut off for 20 s"),
    (Fault::Away, "author away for the middle half"),
    (Fault::Liars, "10 % liars, 2 copies"),
];

/// One seed.
struct Sample {
    /// These two know nothing of copies.
    omniscient: Option<f64>,
    pull: Option<f64>,
    core: f64,
    waste: f64,
    /// Chunks, none of them wrongly: the simulator ends with an error at the first such.
    sealed: usize,
}

pub fn run(asked: &Asked) -> Result<(), String> {
    let peers = asked.peers.as_ref().and_then(|list| list.first().copied());
    let (peers, seeds) = (peers.unwrap_or(PEERS), asked.seeds.unwrap_or(5));
    println!();
    println!("{peers} peers and no churn but what is said, exponential costs, else as above; medians of {seeds} seeds");
    println!("a chunk that is sealed wrongly ends a run as an error; all seals here are right.");
    println!("                                       makespan ÷ ideal                   chunks");
    println!("fault                            omniscient   pull  essaim (worst)  waste %  sealed");
    for (fault, name) in FAULTS {
        let samples: Result<Vec<Sample>, String> = (0..seeds).map(|seed| sample(seed, peers, fault)).collect();
        let samples = match samples {
            Ok(samples) => samples,
            Err(why) => {
                println!("{name:<31}  not measured: {why}");
                continue;
            }
        };
        let of = |value: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(value).collect());
        let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        let worst = samples.iter().map(|sample| sample.core).fold(0.0, f64::max);
        println!(
            "{name:<31}  {:>10}  {:>5}  {:>6} ({worst:.3})  {:>7.2}  {:>6}",
            ratio(of(|sample| sample.omniscient)),
            ratio(of(|sample| sample.pull)),
            ratio(of(|sample| Some(sample.core))),
            100.0 * of(|sample| Some(sample.waste)).unwrap_or_default(),
            of(|sample| Some(sample.sealed as f64)).unwrap_or_default(),
        );
    }
    Ok(())
}

fn sample(seed: u64, peers: usize, fault: Fault) -> Result<Sample, String> {
    let mut setting = Setting::draw(seed, peers, Costs::Exponential, 0.0);
    let some = (peers * 3).div_ceil(10);
    let whole = setting.ideal(1);
    let mut cut = None;
    let (mut copies, mut liars) = (1, 0);
    match fault {
        Fault::Nothing => {}
        Fault::Crash => setting.machines[..some].iter_mut().for_each(|machine| machine.until = whole / 2.0),
        Fault::Partition => {
            cut = Some(Parting { from: whole / 3.0, to: whole / 3.0 + 20.0, side: (1..=some).collect() });
        }
        Fault::Away => cut = Some(Parting { from: whole / 4.0, to: whole * 0.75, side: [0].into() }),
        Fault::Liars => (copies, liars) = (2, peers.div_ceil(10)),
    }
    let ideal = setting.ideal(copies);
    let trial = trial::run(&setting, (copies, liars), cut.as_ref()).map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(Sample {
        omniscient: (copies == 1).then(|| dispatcher::run(&setting, Knowledge::Costs).makespan / ideal),
        pull: (copies == 1).then(|| pull::run(&setting, cut.as_ref()).makespan / ideal),
        core: trial.makespan / ideal,
        waste: trial.waste,
        sealed: trial.sealed,
    })
}
