//! Many seeds on all cores. Each world is one thread's and knows nothing of the others, so what is printed does not
//! depend on how the threads were scheduled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use essaim_sim::world::{Outcome, World};

use crate::draw::draw;
use crate::menu::{Kind, MENU, Menu};

/// Seeds that are run when nothing else is asked for: as many as are needed that every fault happens, and happens
/// together with others.
pub const SEEDS: u64 = 1_000;
/// Seeds after which a fault that was asked for by name must have happened.
const NAMED: u64 = 100;
/// One seed in so many is run twice: the same seed is the same world, to the byte.
const TWICE: u64 = 20;
/// The first so many are run in another process too: what depends on the process is the same twice in one.
const ELSEWHERE: u64 = 3;
/// What is counted in a full run besides the faults.
const ALWAYS: [&str; 2] = ["collected", "replicas compared"];

thread_local! {
    /// Where this thread's last panic was.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What to run.
pub struct Runner {
    pub seeds: Range<u64>,
    pub menu: Menu,
    pub trace: bool,
    /// Stop at the first failure. All seeds before it have been run, however the threads were scheduled.
    pub first: bool,
    /// Print the hash of each world, and nothing else.
    pub hashes: bool,
}

/// What all seeds together came to.
#[derive(Default)]
struct Totals {
    passed: u64,
    failures: BTreeMap<u64, String>,
    /// Of the first worlds.
    hashes: BTreeMap<u64, String>,
    faults: BTreeMap<&'static str, u64>,
    drawn: BTreeMap<&'static str, u64>,
    kinds: BTreeMap<&'static str, u64>,
    ends: BTreeMap<String, u64>,
    events: u64,
    rejected: u64,
    wastes: Vec<f64>,
    longest: (Duration, u64),
    nobodys: (usize, u64),
    most_sent: [(u64, u64); 2],
}

impl Totals {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.passed += 1;
        self.events += outcome.events;
        self.rejected += outcome.rejected;
        outcome.faults.iter().for_each(|(name, count)| *self.faults.entry(name).or_default() += count);
        outcome.kinds.iter().for_each(|(name, count)| *self.kinds.entry(name).or_default() += count);
        outcome.drawn.iter().for_each(|name| *self.drawn.entry(name).or_default() += 1);
        *self.ends.entry(format!("{:?}", outcome.reason)).or_default() += 1;
        self.wastes.push(outcome.waste);
        self.longest = self.longest.max((outcome.makespan, seed));
        self.nobodys = self.nobodys.max((outcome.nobodys, seed));
        self.most_sent[0] = self.most_sent[0].max((outcome.most_sent.0, seed));
        self.most_sent[1] = self.most_sent[1].max((outcome.most_sent.1, seed));
    }

    fn print(&mut self) {
        self.wastes.sort_by(f64::total_cmp);
        let waste = |part: usize| 100.0 * self.wastes.get(self.wastes.len() * part / 100).copied().unwrap_or_default();
        println!("{} events; ends {:?}; {} refused", self.events, self.ends, self.rejected);
        println!("waste: median {:.1} %, 99 of 100 below {:.1} %", waste(50), waste(99));
        println!("the longest took {:.1?} (seed {})", self.longest.0, self.longest.1);
        println!("a slot was nobody's for up to {} s (seed {})", self.nobodys.0, self.nobodys.1);
        let [messages, bytes] = self.most_sent;
        println!(
            "beyond answers, a node sent up to {} messages (seed {}) and {} bytes (seed {}) in a second",
            messages.0, messages.1, bytes.0, bytes.1
        );
        println!("messages {:?}", self.kinds);
        println!("worlds with {:?}", self.drawn);
        println!("faults {:?}", self.faults);
    }
}

impl Runner {
    pub fn run(&self) -> ExitCode {
        if self.hashes {
            self.seeds.clone().for_each(|seed| println!("{seed} {}", self.hash(seed)));
            return ExitCode::SUCCESS;
        }
        std::panic::set_hook(Box::new(|panic| {
            PANIC.with(|last| *last.borrow_mut() = panic.to_string().replace('\n', " "));
        }));
        let one = self.seeds.end - self.seeds.start == 1;
        if one {
            println!("{:#?}", draw(self.seeds.start, &self.menu));
        }
        let (next, totals) = (AtomicU64::new(self.seeds.start), Mutex::new(Totals::default()));
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !self.seeds.contains(&seed) || (self.first && !totals.lock().unwrap().failures.is_empty()) {
                    return;
                }
                let result = self.judge(seed, one);
                if let (true, Ok(outcome)) = (one, &result) {
                    println!("{outcome:#?}");
                }
                let mut totals = totals.lock().unwrap();
                match result {
                    Ok(outcome) => {
                        if seed < self.seeds.start + ELSEWHERE {
                            totals.hashes.insert(seed, outcome.hash.clone());
                        }
                        totals.add(seed, &outcome);
                    }
                    Err(error) => drop(totals.failures.insert(seed, error)),
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
        let mut totals = totals.into_inner().unwrap();
        if self.seeds.end - self.seeds.start >= NAMED {
            self.compare_elsewhere(&mut totals);
        }
        totals.print();
        self.verdict(&totals)
    }

    /// Runs some worlds once more, in a process of their own.
    fn compare_elsewhere(&self, totals: &mut Totals) {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--hashes", "--from", &self.seeds.start.to_string(), "--seeds", &ELSEWHERE.to_string()]);
        let output = program.args(self.menu.options().split_whitespace()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for (seed, hash) in std::mem::take(&mut totals.hashes) {
            if !text.lines().any(|line| line == format!("{seed} {hash}")) {
                let error = format!("not reproducible in another process: {hash}, and there: {text}");
                totals.failures.insert(seed, error);
            }
        }
    }

    fn hash(&self, seed: u64) -> String {
        self.simulate(seed, false).map_or_else(|error| error, |outcome| outcome.hash)
    }

    fn verdict(&self, totals: &Totals) -> ExitCode {
        let mut failed = totals.failures.len();
        let commit = commit();
        for (seed, error) in &totals.failures {
            println!("seed {seed} FAILED at commit {commit}: {error}");
            println!("  replay: cargo sim --seed {seed}{} --trace", self.menu.options());
        }
        for name in self.must_happen().filter(|name| !totals.faults.contains_key(name)) {
            println!("\"{name}\" never happened: the scenarios have lost it");
            failed += 1;
        }
        let word = if failed == 0 { "ok" } else { "FAILED" };
        println!("test result: {word}. {} passed; {failed} failed; commit {commit}", totals.passed);
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// What so many seeds must have shown: in a full run everything, in a smaller one what was asked for by name,
    /// which is then planned in every world.
    fn must_happen(&self) -> impl Iterator<Item = &'static str> {
        let seeds = self.seeds.end - self.seeds.start;
        let all = seeds >= SEEDS && self.menu.only.is_none();
        let named = move |kind: &Kind| seeds >= NAMED && self.menu.with.iter().any(|name| name == kind.name);
        let kinds = MENU.iter().filter(move |kind| if all { self.menu.has(kind) } else { named(kind) });
        let always = ALWAYS.iter().filter(move |_| all);
        kinds.flat_map(|kind| kind.fires).chain(always).copied()
    }

    fn judge(&self, seed: u64, one: bool) -> Result<Outcome, String> {
        let outcome = self.simulate(seed, self.trace && one)?;
        if one || seed.is_multiple_of(TWICE) {
            let again = self.simulate(seed, false)?.hash;
            if again != outcome.hash {
                return Err(format!("not reproducible: {} and {again}", outcome.hash));
            }
        }
        Ok(outcome)
    }

    fn simulate(&self, seed: u64, trace: bool) -> Result<Outcome, String> {
        let run = || World::new(seed, draw(seed, &self.menu), trace).run().map_err(|halt| halt.to_string());
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| PANIC.with(|last| Err(last.borrow().clone())))
    }
}

/// What is being judged, as git knows it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".into() };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if clean { head } else { head + "-dirty" }
}
