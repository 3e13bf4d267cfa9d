//! What a trivial chunk costs: in this process, and through two worker processes on loopback; what it weighs on the
//! wire; how late one is ended that is over its limit; and how long a run takes to its first result. Medians of five,
//! one table.
//!
//! `cargo bench --bench chunks`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails should say where")]

use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use bytes::Bytes;
use essaim_worker::process::{Launch, ProcessConfig};
use essaim_worker::{
    Chunk, Engine, EngineConfig, Failure, JobSpec, ProgramId, Report, Request, Role, Sandbox, Workers,
};

use swarm::Swarm;

mod swarm;

const RUNS: usize = 5;
const CHUNKS: u32 = 20_000;
const NOTHING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guests/nothing.wat");
const ENDLESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guests/loop.wat");
const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guests/echo.wat");

fn main() {
    println!("{:<58} {:>9} {:>9} {:>9}", "", "min", "median", "max");
    for threads in [1, 2] {
        let engine = Engine::new(EngineConfig { threads, ..EngineConfig::default() }).unwrap();
        let under = Under::start(Sandbox::Threads(engine, threads));
        row(&format!("in process, {threads} thread(s), µs a chunk"), || under.run().0);
        row(&format!("in process, {threads} thread(s), µs of CPU a chunk"), || under.run().1);
    }
    let cache = tempfile::tempdir().unwrap();
    let launch = Launch { program: env!("CARGO_BIN_EXE_essaim").into(), words: vec!["sandbox-process".into()] };
    for cpus in [1, 2] {
        let config = ProcessConfig { cpus, ..ProcessConfig::new(launch.clone(), cache.path().to_owned()) };
        let under = Under::start(Sandbox::Processes(config));
        row(&format!("{cpus} sandbox process(es), µs a chunk"), || under.run().0);
        row(&format!("{cpus} sandbox process(es), µs of CPU a chunk, both sides"), || under.run().1);
    }
    for millis in [100, 1_000, 3_000] {
        let config = ProcessConfig { cpus: 1, ..ProcessConfig::new(launch.clone(), cache.path().to_owned()) };
        let endless = Endless::start(Sandbox::Processes(config), millis);
        row(&format!("limit of {millis} ms: ended so many ms late"), || endless.late_by());
    }
    let swarm = Swarm::start();
    let mut wire = Vec::new();
    row("two worker processes, whole command, µs a chunk", || {
        let (seconds, done) = swarm.run(&["--block", "1", NOTHING, &format!("0..{CHUNKS}")], "done");
        wire.push(done);
        seconds * 1e6 / f64::from(CHUNKS)
    });
    row("two worker processes, submitted to done, µs a chunk", || {
        let (_, done) = swarm.run(&["--block", "1", NOTHING, &format!("0..{CHUNKS}")], "done");
        done["job_seconds"].as_f64().unwrap() * 1e6 / f64::from(CHUNKS)
    });
    let per_chunk = |field: &str| {
        let mut all: Vec<f64> = wire.iter().map(|done| done[field].as_f64().unwrap() / f64::from(CHUNKS)).collect();
        median(&mut all)
    };
    println!(
        "author's wire, a chunk: {:.4} messages and {:.1} bytes out, {:.4} messages and {:.1} bytes in",
        per_chunk("messages_out"),
        per_chunk("bytes_out"),
        per_chunk("messages_in"),
        per_chunk("bytes_in"),
    );
    row("start of the command to its first result, ms", || first_result(&swarm) * 1e3);
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Measures once to warm up, then `RUNS` times.
fn row(name: &str, mut measure: impl FnMut() -> f64) {
    measure();
    let mut all: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    let middle = median(&mut all);
    println!("{name:<58} {:>9.2} {middle:>9.2} {:>9.2}", all[0], all[RUNS - 1]);
}

struct Under {
    workers: Workers,
    finished: std::sync::mpsc::Receiver<usize>,
}

impl Under {
    fn start(sandbox: Sandbox) -> Under {
        let (sender, finished) = sync_channel(100_000);
        let workers = Workers::new(sandbox, move |reports| {
            assert!(reports.iter().all(|report| !matches!(report, Report::Failed { .. } | Report::Refused { .. })));
            let ended = reports.iter().filter(|report| matches!(report, Report::Finished { .. })).count();
            sender.send(ended).unwrap();
        });
        let workers = workers.unwrap();
        let (program, spec) = (ProgramId::plain([1; 32]), JobSpec::default());
        workers.submit(Request::Load { program, bytes: std::fs::read(NOTHING).unwrap().into() });
        workers.submit(Request::Job { job: 1, program, spec });
        Under { workers, finished }
    }

    /// Microseconds a chunk: by the wall, and on the processor, here and in the sandbox.
    fn run(&self) -> (f64, f64) {
        let chunks = (0..CHUNKS).map(|chunk| Chunk { ticket: u64::from(chunk), chunk, input: Bytes::new().into() });
        let (began, before) = (Instant::now(), self.cpu_seconds());
        self.workers.submit(Request::Run { job: 1, role: Role::Map, chunks: chunks.collect() });
        let mut left = CHUNKS as usize;
        while left > 0 {
            left -= self.finished.recv().unwrap();
        }
        let a_chunk = |seconds: f64| seconds * 1e6 / f64::from(CHUNKS);
        (a_chunk(began.elapsed().as_secs_f64()), a_chunk(self.cpu_seconds() - before))
    }

    /// Of this process and those that it has.
    fn cpu_seconds(&self) -> f64 {
        let of = |pid: String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
            fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
        };
        let children = self.workers.processes().into_iter().map(|pid| of(pid.to_string()));
        children.sum::<f64>() + of("self".to_owned())
    }
}

/// Chunks that never end, and may run for so many milliseconds.
struct Endless {
    workers: Workers,
    ended: std::sync::mpsc::Receiver<Report>,
    millis: u64,
}

impl Endless {
    fn start(sandbox: Sandbox, millis: u64) -> Endless {
        let (sender, ended) = sync_channel(100);
        let workers = Workers::new(sandbox, move |reports| {
            let over = |report: &Report| matches!(report, Report::Failed { .. } | Report::Refused { .. });
            reports.into_iter().filter(over).for_each(|report| sender.send(report).unwrap());
        });
        let workers = workers.unwrap();
        let mut spec = JobSpec::default();
        spec.limits.millis = millis;
        let program = ProgramId::plain([2; 32]);
        workers.submit(Request::Load { program, bytes: std::fs::read(ENDLESS).unwrap().into() });
        workers.submit(Request::Job { job: 1, program, spec });
        Endless { workers, ended, millis }
    }

    /// Milliseconds from the limit until it is known that the chunk was ended; a new process has to be started first.
    fn late_by(&self) -> f64 {
        let began = Instant::now();
        let chunks = vec![Chunk { ticket: 1, chunk: 0, input: Bytes::new().into() }];
        self.workers.submit(Request::Run { job: 1, role: Role::Map, chunks });
        let report = self.ended.recv().unwrap();
        assert!(matches!(report, Report::Failed { failure: Failure::TimedOut { .. }, .. }), "{report:?}");
        began.elapsed().as_secs_f64() * 1e3 - self.millis as f64
    }
}

/// Seconds from the command's start to the first byte that it prints.
fn first_result(swarm: &Swarm) -> f64 {
    let began = Instant::now();
    let mut command = swarm.essaim("run");
    let mut child = command
        .args(["--no-cache", "--cpus", "0", "--quiet", ECHO, ":::", "x"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert!(child.wait().unwrap().success());
    seconds
}
