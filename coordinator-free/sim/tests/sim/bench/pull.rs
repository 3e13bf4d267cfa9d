//! The usual rival: a submitter that hands out chunks one by one to workers that ask.
//!
//! A fair one: a worker asks ahead, so that it does not wait for the way while the submitter keeps up; a worker
//! that finds the row empty runs again what has been out longest (as MapReduce's backup tasks do); a lost connection
//! is noticed as in the simulated network of the members, and else after a time-out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::dispatcher::Result;
use super::setting::Setting;
use super::trial::{Parting, weather};
use essaim_sim::net::{Links, Rng};

/// Chunks that a worker has or has asked for beyond the one that it runs.
const AHEAD: usize = 2;
/// What a request costs the submitter, seconds of its one thread: it takes a result, and answers.
pub const REQUEST_SECONDS: f64 = 100e-6;
/// A silent worker is given up after so long, as between members on average; four of five crashes are noticed
/// within 0.3 s, as the connection is reset.
const TIME_OUT: f64 = 2.5;
const NOTICED: (f64, f64) = (0.8, 0.3);
/// Runs of one chunk at the same time.
const COPIES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Joins,
    Dies,
    /// The submitter hears: a request, with a result or without.
    Asks(Option<u32>),
    /// The submitter answers.
    Answers,
    /// The worker hears: a chunk.
    Gets(u32),
    Ends(u32),
    /// The submitter notices that the worker is gone.
    Lost,
}

#[derive(Debug, Default)]
struct Worker {
    waiting: VecDeque<u32>,
    running: Option<(u32, f64)>,
    alive: bool,
    /// As the submitter knows it.
    out: BTreeSet<u32>,
    given_up: bool,
}

struct Pull<'a> {
    setting: &'a Setting,
    links: Links,
    cut: Option<&'a Parting>,
    rng: Rng,
    events: BTreeMap<(u64, u64), (usize, What)>,
    number: u64,
    workers: Vec<Worker>,
    row: VecDeque<u32>,
    done: Vec<bool>,
    left: usize,
    /// Handed out and not back: since when, and how often.
    out: BTreeMap<u32, (f64, usize)>,
    oldest: BTreeSet<(u64, u32)>,
    starved: VecDeque<usize>,
    inbox: VecDeque<(usize, Option<u32>)>,
    free_at: f64,
    worked: f64,
}

/// Runs a setting to its end.
pub fn run(setting: &Setting, cut: Option<&Parting>) -> Result {
    let mut pull = Pull {
        setting,
        links: Links::new(weather()),
        cut,
        rng: Rng::new(setting.seed ^ 0x9011),
        events: BTreeMap::new(),
        number: 0,
        workers: setting.machines.iter().map(|_| Worker::default()).collect(),
        row: (0..setting.costs.len() as u32).collect(),
        done: vec![false; setting.costs.len()],
        left: setting.costs.len(),
        out: BTreeMap::new(),
        oldest: BTreeSet::new(),
        starved: VecDeque::new(),
        inbox: VecDeque::new(),
        free_at: 0.0,
        worked: 0.0,
    };
    for (machine, life) in setting.machines.iter().enumerate() {
        pull.at(life.from, machine, What::Joins);
        if life.until.is_finite() {
            pull.at(life.until, machine, What::Dies);
        }
    }
    // A submitter that is cut off from all of them is away itself, and gives up nobody.
    for cut in cut.into_iter().filter(|cut| !cut.side.contains(&0)) {
        cut.side.iter().for_each(|node| pull.at(cut.from + TIME_OUT, node - 1, What::Lost));
    }
    while let Some(((bits, _), (worker, what))) = pull.events.pop_first() {
        let now = f64::from_bits(bits);
        pull.happen(now, worker, what);
        if pull.left == 0 {
            let running: Vec<_> = pull.workers.iter().enumerate().collect();
            let still: f64 = running
                .iter()
                .filter_map(|(number, worker)| Some((now - worker.running?.1) / setting.machines[*number].slowness))
                .sum();
            return Result { makespan: now, wasted: pull.worked + still - setting.work() };
        }
    }
    unreachable!("workers ask until the job is done");
}

impl Pull<'_> {
    fn at(&mut self, time: f64, worker: usize, what: What) {
        self.number += 1;
        self.events.insert((time.to_bits(), self.number), (worker, what));
    }

    /// When a message between the submitter and a worker arrives. Worker w is node w + 1 of the members' network.
    fn arrives(&mut self, now: f64, worker: usize) -> f64 {
        let way = self.links.latency(&mut self.rng, 0, worker + 1).as_secs_f64();
        // What is said across a cut is said again until it is heard.
        let held_up = self.cut.filter(|cut| (cut.from..cut.to).contains(&now) && cut.parts(0, worker + 1));
        held_up.map_or(now, |cut| cut.to) + way
    }

    fn happen(&mut self, now: f64, worker: usize, what: What) {
        let slowness = self.setting.machines[worker].slowness;
        match what {
            What::Joins => {
                self.workers[worker].alive = true;
                (0..=AHEAD).for_each(|_| self.ask(now, worker, None));
            }
            What::Dies => {
                let machine = &mut self.workers[worker];
                machine.alive = false;
                machine.waiting.clear();
                if let Some((_, since)) = machine.running.take() {
                    self.worked += (now - since) / slowness;
                }
                let noticed = self.rng.chance(NOTICED.0);
                let after = if noticed { NOTICED.1 * self.rng.unit() } else { TIME_OUT };
                self.at(now + after, worker, What::Lost);
            }
            What::Asks(result) => {
                self.workers[worker].given_up &= !self.workers[worker].alive;
                self.inbox.push_back((worker, result));
                self.free_at = self.free_at.max(now) + REQUEST_SECONDS;
                self.at(self.free_at, worker, What::Answers);
            }
            What::Answers => {
                if let Some((worker, result)) = self.inbox.pop_front() {
                    self.answer(now, worker, result);
                }
            }
            What::Gets(chunk) => {
                if self.workers[worker].alive {
                    self.workers[worker].waiting.push_back(chunk);
                    self.start(now, worker);
                }
            }
            What::Ends(chunk) => {
                if let Some((_, since)) = self.workers[worker].running.take_if(|(running, _)| *running == chunk) {
                    self.worked += (now - since) / slowness;
                    self.ask(now, worker, Some(chunk));
                    self.start(now, worker);
                }
            }
            What::Lost => {
                self.workers[worker].given_up = true;
                for chunk in std::mem::take(&mut self.workers[worker].out) {
                    self.put_back(chunk);
                }
                self.feed_starved(now);
            }
        }
    }

    fn ask(&mut self, now: f64, worker: usize, result: Option<u32>) {
        let at = self.arrives(now, worker);
        self.at(at, worker, What::Asks(result));
    }

    fn start(&mut self, now: f64, worker: usize) {
        if self.workers[worker].running.is_some() {
            return;
        }
        let Some(chunk) = self.workers[worker].waiting.pop_front() else { return };
        self.workers[worker].running = Some((chunk, now));
        let seconds = self.setting.costs[chunk as usize] * self.setting.machines[worker].slowness;
        self.at(now + seconds, worker, What::Ends(chunk));
    }

    fn answer(&mut self, now: f64, worker: usize, result: Option<u32>) {
        if let Some(chunk) = result {
            self.workers[worker].out.remove(&chunk);
            self.took_in(chunk);
        }
        if !self.workers[worker].given_up {
            self.serve(now, worker);
        }
    }

    fn took_in(&mut self, chunk: u32) {
        if let Some((since, _)) = self.out.remove(&chunk) {
            self.oldest.remove(&(since.to_bits(), chunk));
        }
        if !std::mem::replace(&mut self.done[chunk as usize], true) {
            self.left -= 1;
        }
    }

    fn put_back(&mut self, chunk: u32) {
        let Some((since, copies)) = self.out.remove(&chunk) else { return };
        self.oldest.remove(&(since.to_bits(), chunk));
        if copies > 1 {
            self.out.insert(chunk, (since, copies - 1));
            self.oldest.insert((since.to_bits(), chunk));
        } else {
            self.row.push_front(chunk);
        }
    }

    fn feed_starved(&mut self, now: f64) {
        for _ in 0..self.starved.len() {
            if self.row.is_empty() {
                return;
            }
            let Some(worker) = self.starved.pop_front() else { return };
            if !self.workers[worker].given_up {
                self.serve(now, worker);
            }
        }
    }

    /// The next chunk of the row for this worker; failing that, the one that has been out longest.
    fn serve(&mut self, now: f64, worker: usize) {
        while self.row.front().is_some_and(|chunk| self.done[*chunk as usize]) {
            self.row.pop_front();
        }
        let again = || {
            let mine = &self.workers[worker].out;
            // Not ahead of need: only who has nothing else runs a chunk again.
            let free = mine.is_empty();
            let mut known = self.oldest.iter().map(|(_, chunk)| *chunk);
            known.find(|chunk| free && !mine.contains(chunk) && self.out.get(chunk).is_some_and(|out| out.1 < COPIES))
        };
        let Some(chunk) = self.row.pop_front().or_else(again) else {
            self.starved.push_back(worker);
            return;
        };
        let (since, copies) = self.out.get(&chunk).copied().unwrap_or((now, 0));
        self.out.insert(chunk, (since, copies + 1));
        self.oldest.insert((since.to_bits(), chunk));
        self.workers[worker].out.insert(chunk);
        let at = self.arrives(now, worker);
        self.at(at, worker, What::Gets(chunk));
    }
}
