//! Schedulers that cannot be: no latency, no cost of their own, told of every crash in the same moment. What they
//! lose is lost to the size of chunks and to the crashes themselves.
//!
//! *omniscient* knows the cost of every chunk and the speed of every machine. A free machine takes the longest
//! chunk that it can end by the time at which the whole job can end (longest processing time first, Graham 1969;
//! on machines of unequal speed with earliest completion time as the limit, Gonzalez, Ibarra and Sahni 1977).
//! *dispatcher* knows no cost: a free machine takes the next chunk in the row. No scheduler that does not look into
//! chunks, and runs none twice, does better on average.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use super::setting::Setting;

/// What a scheduler made of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Result {
    /// Seconds.
    pub makespan: f64,
    /// Work done and not needed, seconds on a machine of slowness 1.
    pub wasted: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    Costs,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// The machine ends what it runs.
    Ends,
    Dies,
    Joins,
}

/// Events by time, the earliest greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Event {
    at: f64,
    machine: usize,
    what: What,
}

impl Eq for Event {}
impl Ord for Event {
    fn cmp(&self, other: &Event) -> Ordering {
        let rank = |event: &Event| match event.what {
            What::Ends => 0,
            What::Dies => 1,
            What::Joins => 2,
        };
        other.at.total_cmp(&self.at).then(rank(other).cmp(&rank(self))).then(other.machine.cmp(&self.machine))
    }
}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A machine at work: the chunk, and since when.
type Running = Option<(u32, f64)>;

struct State<'a> {
    setting: &'a Setting,
    /// Chunks not started, by cost or by number; the cost's bits sort as the cost does.
    left: BTreeSet<(u64, u32)>,
    left_work: f64,
    running: Vec<Running>,
    /// Work of all that runs, and the part of it that depends on the time: work − Σ (now − since) ÷ slowness.
    alive: BTreeSet<usize>,
    /// By slowness.
    idle: BTreeSet<(u64, usize)>,
    power: f64,
    events: BinaryHeap<Event>,
    knowledge: Knowledge,
}

/// Runs a setting to its end.
pub fn run(setting: &Setting, knowledge: Knowledge) -> Result {
    let mut state = State {
        setting,
        left: BTreeSet::new(),
        left_work: setting.work(),
        running: vec![None; setting.machines.len()],
        alive: BTreeSet::new(),
        idle: BTreeSet::new(),
        power: 0.0,
        events: BinaryHeap::new(),
        knowledge,
    };
    (0..setting.costs.len() as u32).for_each(|chunk| {
        let key = state.key(chunk);
        state.left.insert(key);
    });
    for (machine, life) in setting.machines.iter().enumerate() {
        state.events.push(Event { at: life.from, machine, what: What::Joins });
        if life.until.is_finite() {
            state.events.push(Event { at: life.until, machine, what: What::Dies });
        }
    }
    let (mut done, mut wasted) = (0, 0.0);
    while let Some(Event { at, machine, what }) = state.events.pop() {
        let slowness = setting.machines[machine].slowness;
        match what {
            What::Joins => {
                state.alive.insert(machine);
                state.power += 1.0 / slowness;
                state.idle.insert((slowness.to_bits(), machine));
            }
            What::Dies => {
                state.alive.remove(&machine);
                state.power -= 1.0 / slowness;
                state.idle.remove(&(slowness.to_bits(), machine));
                if let Some((chunk, since)) = state.running[machine].take() {
                    wasted += (at - since) / slowness;
                    state.left.insert(state.key(chunk));
                    state.left_work += setting.costs[chunk as usize];
                }
            }
            What::Ends => {
                // Else it has died in the meantime.
                if state.running[machine].take().is_some() {
                    done += 1;
                    state.idle.insert((slowness.to_bits(), machine));
                }
            }
        }
        if done == setting.costs.len() {
            return Result { makespan: at, wasted };
        }
        state.assign(at);
    }
    unreachable!("machines stay until the job is done, or are replaced");
}

impl State<'_> {
    fn key(&self, chunk: u32) -> (u64, u32) {
        match self.knowledge {
            Knowledge::Costs => (self.setting.costs[chunk as usize].to_bits(), chunk),
            Knowledge::Nothing => (0, chunk),
        }
    }

    /// Gives the idle something to run, the fastest first.
    fn assign(&mut self, now: f64) {
        while let Some((bits, machine)) = self.idle.first().copied() {
            let Some(key) = self.pick(now, f64::from_bits(bits)) else { return };
            self.left.remove(&key);
            self.idle.remove(&(bits, machine));
            let cost = self.setting.costs[key.1 as usize];
            self.left_work -= cost;
            self.running[machine] = Some((key.1, now));
            let at = now + cost * f64::from_bits(bits);
            if at <= self.setting.machines[machine].until {
                self.events.push(Event { at, machine, what: What::Ends });
            }
        }
    }

    fn pick(&self, now: f64, slowness: f64) -> Option<(u64, u32)> {
        if self.knowledge == Knowledge::Nothing {
            return self.left.first().copied();
        }
        let longest = self.left.last()?;
        // Never late for what is not even started: then the longest chunk is for anyone.
        let unstarted = self.left_work / self.power;
        if f64::from_bits(longest.0) * slowness <= unstarted {
            return Some(*longest);
        }
        let limit = self.end(now, f64::from_bits(longest.0)) - now;
        // A little more, as the machine that sets the limit must meet it.
        let most = limit / slowness * (1.0 + 1e-9);
        self.left.range(..=(most.to_bits(), u32::MAX)).next_back().copied()
    }

    /// By when the job can end: all that is left shared by all machines, but not before the longest chunk could.
    fn end(&self, now: f64, longest: f64) -> f64 {
        let (mut running, mut first) = (0.0, f64::INFINITY);
        for machine in &self.alive {
            let slowness = self.setting.machines[*machine].slowness;
            let busy = self.running[*machine]
                .map_or(0.0, |(chunk, since)| (self.setting.costs[chunk as usize] - (now - since) / slowness).max(0.0));
            running += busy;
            first = f64::min(first, now + (busy + longest) * slowness);
        }
        f64::max(now + (self.left_work + running) / self.power, first)
    }
}
