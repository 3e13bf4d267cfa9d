//! One round: a world, a job in it, and what is killed until the job is done.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::node::{World, run};
use crate::process::Process;
use crate::work::{Here, Text, look};

/// How long a life of an author may take before it is said to hang.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often it is looked whether the instant has come.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What has been seen in all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Authors killed before their job was on the disk, with no output safe, with some, with all.
    before: u32,
    none: u32,
    some: u32,
    all: u32,
    /// After their job was forgotten.
    after: u32,
    /// Kills of workers: alone, and with the author.
    workers: u32,
    both: u32,
    /// Kills that came too late.
    late: u32,
    chunks: u64,
    ran: u64,
    /// Runs of what had been safe when an author died, by those who had taken it over and could not know.
    again: u64,
    /// Milliseconds that lives of authors took that nobody cut short.
    lives: (u64, u64),
}

impl Tally {
    /// Whether every kind of kill was seen.
    pub fn is_varied(&self) -> bool {
        [self.before, self.none, self.some, self.all, self.workers, self.both].iter().all(|seen| *seen > 0)
    }

    /// How long an author lives, usually.
    fn life_ms(&self) -> u64 {
        self.lives.0.checked_div(self.lives.1).unwrap_or(2_000)
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { before, none, some, all, after, workers, both, late, chunks, ran, again, .. } = self;
        write!(
            f,
            "authors killed: {before} before their job was on the disk, {none} with nothing safe, {some} with some, \
             {all} with all, {after} at the very end; workers killed: {workers} times alone, {both} with the author; \
             {late} came too late; {chunks} chunks, {ran} runs, {again} of them of what was safe already, by workers that could not know"
        )
    }
}

/// When something is killed.
#[derive(Debug)]
enum When {
    /// So long after the author began.
    After(Duration),
    /// So long after it had printed so many bytes.
    Printed(usize, Duration),
}

/// What is killed.
#[derive(Debug)]
struct Victims {
    author: bool,
    workers: Vec<usize>,
}

/// An author was killed.
struct Death {
    /// What was safe then.
    safe: BTreeSet<u32>,
    /// How many chunks each process had run by then.
    ran: Vec<usize>,
    /// Whether some workers died with it and some lived: these took over what they could not know to be safe.
    inherited: bool,
}

pub struct Round {
    seed: u64,
    born: Instant,
    rng: SmallRng,
    world: World,
    text: Text,
    input: PathBuf,
    spooled: bool,
    author_cpus: &'static str,
    sandbox: &'static str,
    home: PathBuf,
    /// All that there ever were.
    processes: Vec<Process>,
    /// The homes of the workers, and which process each is now.
    workers: Vec<(PathBuf, usize)>,
    deaths: Vec<Death>,
    /// How many outputs an author had said to be safe, just before it was killed.
    told: u64,
    workers_died: bool,
    trail: Vec<String>,
}

impl Round {
    pub fn new(seed: u64) -> Round {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::new(&format!("kill{seed}"));
        let text = Text::draw(&mut rng);
        Round {
            seed,
            born: Instant::now(),
            input: world.file("input", &text.bytes),
            spooled: rng.random_ratio(1, 2),
            author_cpus: if rng.random_ratio(1, 4) { "1" } else { "0" },
            sandbox: if rng.random_ratio(1, 4) { "process" } else { "none" },
            home: world.dir.path().join("author"),
            rng,
            world,
            text,
            processes: Vec::new(),
            workers: Vec::new(),
            deaths: Vec::new(),
            told: 0,
            workers_died: false,
            trail: Vec::new(),
        }
    }

    /// What happened, for whoever has to understand it; the world stays on the disk.
    pub fn report(&mut self) -> String {
        self.world.dir.disable_cleanup(true);
        format!("  {}\n  what they said is in {}", self.trail.join("\n  "), self.world.dir.path().display())
    }

    /// Kills, starts again, and goes on until the job is done.
    ///
    /// # Panics
    /// Something is not as it must be.
    pub fn play(&mut self, tally: &mut Tally) {
        let workers = self.rng.random_range(1..=3);
        self.note(format!(
            "seed {}: {workers} workers, {} chunks, an author with {} cores, sandbox {}, input {}",
            self.seed,
            self.text.chunks(),
            self.author_cpus,
            self.sandbox,
            if self.spooled { "spooled" } else { "a file" }
        ));
        for number in 0..workers {
            let home = self.world.dir.path().join(format!("worker{number}"));
            let process = self.join(&home);
            self.workers.push((home, process));
        }
        self.all_joined();
        let mut kills = self.rng.random_range(1..=3);
        let mut here = None;
        loop {
            let (began, undisturbed) = (Instant::now(), kills == 0);
            let author = self.author(here.as_ref());
            let mut killed = false;
            while kills > 0 && !killed && self.processes[author].is_alive() {
                kills -= 1;
                killed = self.strike(author, began, tally);
            }
            if killed {
                here = self.find(author, here.as_ref(), tally);
                self.rise();
                if here.is_none() && self.processes[author].printed() == self.text.bytes {
                    break;
                }
            } else {
                self.finish(author, here.as_ref());
                if undisturbed {
                    tally.lives.0 += began.elapsed().as_millis() as u64;
                    tally.lives.1 += 1;
                }
                break;
            }
        }
        self.account(tally);
    }

    fn note(&mut self, what: impl Display) {
        self.trail.push(format!("{:>6} ms: {what}", self.born.elapsed().as_millis()));
    }

    fn start(&mut self, command: Command, name: &str) -> usize {
        let number = self.processes.len();
        self.processes.push(Process::start(command, self.world.dir.path().join(format!("{number}-{name}"))));
        number
    }

    /// A worker in `home`.
    fn join(&mut self, home: &Path) -> usize {
        let mut command = self.world.bare("join");
        command.args(["--cpus", "1", "--sandbox", self.sandbox]).arg("--home").arg(home);
        self.start(command, "join")
    }

    /// An author who goes on with what is here, or begins.
    fn author(&mut self, here: Option<&Here>) -> usize {
        let verb = if here.is_some() { "attach" } else { "run" };
        let mut command = self.world.bare(verb);
        command.args(["--cpus", self.author_cpus, "--sandbox", self.sandbox]).arg("--home").arg(&self.home);
        match here {
            Some(here) => {
                command.arg(&here.job);
            }
            None => {
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kill/work.wat");
                command.args(["--block", "1"]).arg(program);
                if self.spooled {
                    command.stdin(File::open(&self.input).unwrap());
                } else {
                    command.arg(&self.input);
                }
            }
        }
        self.note(format!("process {}: {verb}", self.processes.len()));
        self.start(command, verb)
    }

    fn all_joined(&self) {
        self.workers.iter().for_each(|(_, process)| drop(self.processes[*process].wait_for("joined")));
    }

    /// Waits for an instant, and kills; says whether the author was killed.
    fn strike(&mut self, author: usize, began: Instant, tally: &mut Tally) -> bool {
        let (when, victims) = (self.when(tally), self.victims());
        let mut reached = None;
        wait_until(|| {
            let process = &mut self.processes[author];
            let since = match when {
                When::After(_) => Some(began),
                When::Printed(bytes, _) => {
                    reached = reached.or_else(|| (process.printed_len() >= bytes).then(Instant::now));
                    reached
                }
            };
            let (When::After(pause) | When::Printed(_, pause)) = when;
            since.is_some_and(|since| since.elapsed() >= pause) || !process.is_alive()
        });
        self.told = if self.rng.random_ratio(1, 3) { self.sealed() } else { 0 };
        let in_time = self.processes[author].is_alive();
        let author_first = self.rng.random_ratio(1, 2);
        let mut killed = author_first && victims.author && self.processes[author].kill();
        for worker in &victims.workers {
            self.workers_died |= self.processes[self.workers[*worker].1].kill();
        }
        killed |= !author_first && victims.author && self.processes[author].kill();
        self.note(format!("{when:?}, {victims:?}, killed: {killed}"));
        match (killed, victims.workers.is_empty()) {
            (true, false) => tally.both += 1,
            (false, false) if in_time => tally.workers += 1,
            (false, _) => tally.late += 1,
            (true, true) => {}
        }
        if !killed {
            self.rise();
        }
        killed
    }

    /// How many outputs whoever follows the job says to be safe.
    fn sealed(&self) -> u64 {
        let listed = run(self.world.bare("jobs").arg("--json").arg("--home").arg(&self.home), b"");
        let job: Option<Value> = serde_json::from_slice(&listed.stdout).ok();
        job.and_then(|job| job["sealed"].as_u64()).unwrap_or(0)
    }

    fn when(&mut self, tally: &Tally) -> When {
        let whole = self.text.bytes.len();
        match self.rng.random_range(0..7) {
            // While it starts: its job is not on the disk yet, or has just come there.
            0 | 1 => When::After(Duration::from_millis(self.rng.random_range(0..300))),
            2 => When::After(Duration::from_millis(self.rng.random_range(0..=tally.life_ms()))),
            3 | 4 => {
                let bytes = self.rng.random_range(1..=whole);
                When::Printed(bytes, Duration::from_millis(self.rng.random_range(0..50)))
            }
            _ => When::Printed(whole, Duration::from_millis(self.rng.random_range(0..20))),
        }
    }

    fn victims(&mut self) -> Victims {
        let (author, some) = match self.rng.random_range(0..5) {
            0 | 1 => (true, false),
            2 => (false, true),
            _ => (true, true),
        };
        let mut workers = Vec::new();
        if some {
            let all = self.rng.random_ratio(1, 2);
            let one = self.rng.random_range(0..self.workers.len());
            workers.extend((0..self.workers.len()).filter(|worker| all || *worker == one));
        }
        Victims { author, workers }
    }

    /// What a killed author has left behind.
    fn find(&mut self, author: usize, before: Option<&Here>, tally: &mut Tally) -> Option<Here> {
        let author = &self.processes[author];
        let printed = author.printed();
        assert!(self.text.bytes.starts_with(&printed), "what was printed is not what is to be printed");
        let here = look(&self.home, &self.text);
        let listed = run(self.world.bare("jobs").arg("--json").arg("--home").arg(&self.home), b"").well();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(listed.len(), usize::from(here.is_some()), "{listed:?}");
        let Some(here) = here else {
            if printed == self.text.bytes {
                tally.after += 1;
            } else {
                let acknowledged = before.is_some() || author.event("submitted").is_some();
                assert!(!acknowledged, "the job is lost");
                tally.before += 1;
            }
            return None;
        };
        assert_eq!(listed[0]["sealed"], here.safe.len(), "{listed:?}");
        let acknowledged =
            (0..self.text.whole_in(printed.len()) as u32).chain(before.into_iter().flat_map(|b| b.safe.clone()));
        let lost: Vec<u32> = acknowledged.filter(|chunk| !here.safe.contains(chunk)).collect();
        assert!(lost.is_empty(), "outputs {lost:?} were here, and are lost");
        assert!(here.safe.len() as u64 >= self.told, "{} were said to be safe, {} are", self.told, here.safe.len());
        self.note(format!("{} of {} outputs are safe", here.safe.len(), self.text.chunks()));
        match here.safe.len() {
            0 => tally.none += 1,
            all if all == self.text.chunks() => tally.all += 1,
            _ => tally.some += 1,
        }
        let ran = self.processes.iter().map(|process| process.ran().len()).collect();
        let dead = self.workers.iter().filter(|(_, process)| self.processes[*process].was_killed()).count();
        let inherited = (1..self.workers.len()).contains(&dead);
        self.deaths.push(Death { safe: here.safe.clone(), ran, inherited });
        Some(here)
    }

    /// Workers that were killed come back, each to its home.
    fn rise(&mut self) {
        for at in 0..self.workers.len() {
            if self.processes[self.workers[at].1].was_killed() {
                let home = self.workers[at].0.clone();
                self.workers[at].1 = self.join(&home);
            }
        }
        self.all_joined();
    }

    /// An author comes to the job's end.
    fn finish(&mut self, author: usize, here: Option<&Here>) {
        let process = &mut self.processes[author];
        wait_until(|| !process.is_alive());
        assert!(process.succeeded(), "it ended otherwise: {}", process.said());
        if let Some(here) = here {
            assert_eq!(process.wait_for("attached")["sealed"], here.safe.len());
        }
        assert!(process.printed() == self.text.bytes, "the output differs");
        assert!(look(&self.home, &self.text).is_none(), "a job that has come to its end is forgotten");
    }

    /// Nothing that was safe was computed again.
    fn account(&self, tally: &mut Tally) {
        let ran: Vec<Vec<u32>> = self.processes.iter().map(Process::ran).collect();
        for death in &self.deaths {
            for (number, ran) in ran.iter().enumerate() {
                // What a process runs at that instant it cannot know to be safe.
                let since = death.ran.get(number).map_or(0, |ran| ran + 1).min(ran.len());
                let again: Vec<u32> = ran[since..].iter().copied().filter(|chunk| death.safe.contains(chunk)).collect();
                if death.inherited {
                    tally.again += again.len() as u64;
                } else {
                    assert!(again.is_empty(), "process {number} ran {again:?} again, which were safe");
                }
            }
        }
        let total: usize = ran.iter().map(Vec::len).sum();
        tally.chunks += self.text.chunks() as u64;
        tally.ran += total as u64;
        if self.workers.len() == 1 && self.author_cpus == "0" && !self.workers_died {
            assert_eq!(total, self.text.chunks(), "with one worker, which lived, every chunk runs once");
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it hangs");
        std::thread::sleep(LOOK_EVERY);
    }
}
