//! A round: first nothing is planted and all judges must be content, then one mistake after the other, and each must
//! be caught.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::judge::{Verdict, judge};
use crate::plant::Plant;
use crate::workshop::Workshop;

/// What is shown of why something was caught.
const SHOWN: usize = 160;

/// Whether everything was caught; `Err` when there is nothing to be learnt from the round.
pub fn run(source: &Path, plants: &[&Plant]) -> Result<bool, String> {
    let io = |error: std::io::Error| format!("the workshop: {error}");
    let began = Instant::now();
    let workshop = Workshop::open(source).map_err(io)?;
    let sims: BTreeSet<&str> = plants.iter().map(|plant| plant.sim).collect();
    let sims: Vec<&str> = sims.into_iter().collect();
    match judge(&workshop, &sims).map_err(io)? {
        Verdict::Nothing => println!("nothing planted: all judges are content, after {}", seconds(began.elapsed())),
        Verdict::Caught(by) => return Err(format!("nothing is planted, and yet a judge fails: {by}")),
        Verdict::Broken(error) => return Err(format!("nothing is planted, and it does not build: {error}")),
    }
    let mut missed = Vec::new();
    for plant in plants {
        let since = Instant::now();
        let pristine = workshop.plant(plant)?;
        let verdict = judge(&workshop, &[plant.sim]).map_err(io);
        // Out again, whatever came of it.
        for (file, text) in pristine {
            workshop.put(file, &text).map_err(io)?;
        }
        let verdict = verdict?;
        let (caught, by) = match &verdict {
            Verdict::Caught(by) => (true, brief(by)),
            Verdict::Nothing => (false, format!("NOT CAUGHT, by no test and not by sim {}", plant.sim)),
            Verdict::Broken(error) => (false, format!("DOES NOT BUILD: {error}")),
        };
        println!("{:<34} {:>6}  {by}", plant.name, seconds(since.elapsed()));
        if !caught {
            missed.push(plant);
        }
    }
    for plant in &missed {
        println!("missed: {}: {}", plant.name, plant.what);
    }
    let word = if missed.is_empty() { "ok" } else { "FAILED" };
    let caught = plants.len() - missed.len();
    let time = seconds(began.elapsed());
    println!("test result: {word}. {caught} of {} caught; {} missed; {time}", plants.len(), missed.len());
    Ok(missed.is_empty())
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

/// One line, not too long.
fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
