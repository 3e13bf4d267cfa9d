//! Where the time went: every second of every machine, until the author had everything, is in one place of the
//! account. Seconds are those of a machine of slowness 1, so that the account adds up to the makespan.

use std::collections::BTreeSet;
use std::time::Duration;

use essaim_jobs::Rows;

use super::setting::Setting;
use essaim_sim::diary::{Diary, End, Run};

/// The names of the entries beside the useful work, in the order in which they are shown.
pub const ENTRIES: [&str; 6] = ["start", "hunger", "tail", "return", "twice", "lost"];
/// What they mean.
pub const MEANING: [&str; 6] = [
    "idle until a machine's first chunk begins",
    "idle while some chunk had not been begun anywhere",
    "idle after the last chunk had begun",
    "idle after the last result was there, until the author had it",
    "run although somebody else's result counted",
    "run by a machine that crashed before its result was safe",
];

/// Seconds in each entry.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub useful: f64,
    pub entries: [f64; 6],
}

impl Account {
    /// Judges what was written down. The machine `m` is node `m + 1`: node 0 is the author's and runs nothing.
    pub fn of(setting: &Setting, rows: Rows, diary: &Diary, makespan: Duration) -> Account {
        let useful = useful(rows, diary);
        let begun = last_begin(rows, diary);
        let through = useful.iter().map(|number| diary.runs[*number].ended).max().unwrap_or_default();
        let mut by_node: Vec<Vec<(usize, &Run)>> = vec![Vec::new(); setting.machines.len() + 1];
        diary.runs.iter().enumerate().for_each(|(number, run)| by_node[run.node].push((number, run)));
        let mut account = Account::default();
        for (machine, mut runs) in setting.machines.iter().zip(by_node.into_iter().skip(1)) {
            let until = machine.until.min(makespan.as_secs_f64());
            let mut at = machine.from;
            runs.sort_by_key(|(_, run)| run.began);
            let mut first = true;
            for (number, run) in runs {
                let (began, ended) = (run.began.as_secs_f64().min(until), run.ended.as_secs_f64().min(until));
                account.idle(first, (at, began), (begun, through), machine.slowness);
                let seconds = (ended - began) / machine.slowness;
                match run.end {
                    _ if useful.contains(&number) => account.useful += seconds,
                    End::Crashed => account.entries[5] += seconds,
                    // It crashed before the author had its result.
                    End::Finished if machine.until.is_finite() && machine.until < makespan.as_secs_f64() => {
                        account.entries[5] += seconds;
                    }
                    End::Finished | End::Stopped => account.entries[4] += seconds,
                }
                (at, first) = (ended, false);
            }
            account.idle(first, (at, until), (begun, through), machine.slowness);
        }
        account
    }

    /// Enters idle time, split where the job went from one phase to the next.
    fn idle(&mut self, first: bool, (from, to): (f64, f64), (begun, through): (Duration, Duration), slowness: f64) {
        let cuts = [0.0, begun.as_secs_f64(), through.as_secs_f64(), f64::INFINITY];
        for phase in 0..3 {
            let seconds = (to.min(cuts[phase + 1]) - from.max(cuts[phase])).max(0.0) / slowness;
            let entry = if first && phase == 0 { 0 } else { phase + 1 };
            self.entries[entry] += seconds;
        }
    }

    pub fn total(&self) -> f64 {
        self.useful + self.entries.iter().sum::<f64>()
    }

    /// An account that does not add up is no account.
    pub fn check(&self, setting: &Setting, copies: u8, makespan: Duration) -> Result<(), String> {
        let there = setting.power_until(makespan.as_secs_f64());
        let needed = setting.work() * f64::from(copies);
        let off = |a: f64, b: f64| (a - b).abs() > 1e-6 * b;
        if off(self.total(), there) {
            return Err(format!("{:.6} s in the account, {there:.6} s were there", self.total()));
        }
        if off(self.useful, needed) {
            return Err(format!("{:.6} s of useful work, {needed:.6} s were needed", self.useful));
        }
        Ok(())
    }
}

/// The runs that counted: for each chunk the one whose output was taken, and the first of as many other nodes as
/// the job asks for.
fn useful(rows: Rows, diary: &Diary) -> BTreeSet<usize> {
    let mut of_chunk: Vec<Vec<usize>> = vec![Vec::new(); rows.chunks as usize];
    for (number, run) in diary.runs.iter().enumerate().filter(|(_, run)| run.end == End::Finished) {
        of_chunk[rows.chunk(run.slot) as usize].push(number);
    }
    let mut useful = BTreeSet::new();
    for (chunk, mut numbers) in of_chunk.into_iter().enumerate() {
        let taken = diary.sealed.get(&(chunk as u32));
        numbers.sort_by_key(|number| (Some(&diary.runs[*number].node) != taken, diary.runs[*number].ended));
        let mut nodes = BTreeSet::new();
        for number in numbers {
            if nodes.len() < usize::from(rows.copies) && nodes.insert(diary.runs[number].node) {
                useful.insert(number);
            }
        }
    }
    useful
}

/// When the last slot that had never been begun was begun.
fn last_begin(rows: Rows, diary: &Diary) -> Duration {
    let mut first = vec![Duration::MAX; rows.slots() as usize];
    for run in &diary.runs {
        let first = &mut first[run.slot as usize];
        *first = run.began.min(*first);
    }
    first.into_iter().filter(|began| *began < Duration::MAX).max().unwrap_or_default()
}
