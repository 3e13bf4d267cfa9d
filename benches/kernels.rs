//! What a sandbox costs a program that computes: the same loops as machine code and as WebAssembly, on one thread, with
//! what can be compiled in beside them, and on all threads. Medians of five, one table.
//!
//! `cargo bench --bench kernels`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails should say where")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use bytes::Bytes;
use essaim_kernels::{KERNELS, Kernel};
use essaim_worker::process::{Launch, ProcessConfig};
use essaim_worker::{Chunk, Engine, EngineConfig, JobSpec, Mode, ProgramId, Report, Request, Role, Sandbox, Workers};
use rayon::prelude::*;

const RUNS: usize = 5;
/// Chunks for each thread, where all threads work.
const EACH: usize = 4;
const PLAIN: &str = "";
const SIMD: &str = "-C target-feature=+simd128";

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = tempfile::tempdir().unwrap();
    let build = |name, flags| essaim_kernels::build(Path::new(env!("CARGO_TARGET_TMPDIR")), name, flags).unwrap();
    let (plain, simd) = (build("plain", PLAIN), build("simd", SIMD));
    let launch =
        Launch { program: env!("CARGO_BIN_EXE_essaim").into(), words: vec![OsString::from("sandbox-process")] };
    let processes = |cpus| {
        let config = ProcessConfig { cpus, ..ProcessConfig::new(launch.clone(), cache.path().join(cpus.to_string())) };
        Sandbox::Processes(config)
    };
    let threads = Sandbox::Threads(Engine::new(EngineConfig { threads: 1, ..EngineConfig::default() }).unwrap(), 1);
    let (usual, metered) = (Mode::default(), Mode { metered: true, strict: false });
    let strict = Mode { metered: false, strict: true };
    let under = [
        ("usual", Under::start(processes(1), &simd, usual)),
        ("no SIMD", Under::start(processes(1), &plain, usual)),
        ("fuel", Under::start(processes(1), &simd, metered)),
        ("strict", Under::start(processes(1), &simd, strict)),
        ("epochs", Under::start(threads, &simd, usual)),
    ];
    let all = Under::start(processes(cores), &simd, usual);
    print!("{:<14} {:>9}", "", "native ms");
    under.iter().for_each(|(name, _)| print!(" {name:>7}"));
    println!(" {:>11}", format!("{cores} processes"));
    let mut ratios = vec![Vec::new(); under.len() + 1];
    for kernel in &KERNELS {
        let (name, size, function) = kernel;
        let expected = function(*size);
        let native = median(|| timed(|| assert_eq!(std::hint::black_box(function)(*size), expected)));
        print!("{name:<14} {:>9.1}", 1e3 * native);
        for ((_, under), ratios) in under.iter().zip(&mut ratios) {
            ratios.push(median(|| under.run(kernel, 1, expected)) / native);
            print!(" {:>7.2}", ratios.last().unwrap());
        }
        let many = EACH * cores;
        let rayon = median(|| timed(|| (0..many).into_par_iter().for_each(|_| assert_eq!(function(*size), expected))));
        let ratio = median(|| all.run(kernel, many, expected)) / rayon;
        ratios.last_mut().unwrap().push(ratio);
        println!(" {ratio:>11.2}");
    }
    for (name, hashes) in [("all", true), ("without hashes", false)] {
        print!("{name:<14} {:>9}", "");
        for ratios in &ratios {
            let kept = KERNELS.iter().zip(ratios).filter(|((name, ..), _)| hashes || *name != "sha-256");
            let logs: Vec<f64> = kept.map(|(_, ratio)| ratio.ln()).collect();
            print!(" {:>7.2}", (logs.iter().sum::<f64>() / logs.len() as f64).exp());
        }
        println!();
    }
    println!("time ÷ native (the last column: ÷ rayon on as many threads); the last rows are geometric means");
    println!("usual: a sandbox process, nothing compiled in, SIMD; each other column differs from it in one thing");
    println!("epochs: in this process, as with --sandbox none, with checks compiled in");
}

fn timed(what: impl FnOnce()) -> f64 {
    let began = Instant::now();
    what();
    began.elapsed().as_secs_f64()
}

/// The median of some runs, after one to warm up.
fn median(mut run: impl FnMut() -> f64) -> f64 {
    run();
    let mut all: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    all.sort_by(f64::total_cmp);
    all[RUNS / 2]
}

/// What runs chunks of the kernels.
struct Under {
    workers: Workers,
    reports: Receiver<Report>,
}

impl Under {
    fn start(sandbox: Sandbox, program: &Path, mode: Mode) -> Under {
        let (sender, reports) = sync_channel(10_000);
        let workers = Workers::new(sandbox, move |all| all.into_iter().for_each(|report| sender.send(report).unwrap()));
        let under = Under { workers: workers.unwrap(), reports };
        let id = ProgramId { hash: [1; 32], mode };
        under.workers.submit(Request::Load { program: id, bytes: fs::read(program).unwrap().into() });
        under.workers.submit(Request::Job { job: 1, program: id, spec: JobSpec::default() });
        assert_eq!(under.reports.recv().unwrap(), Report::Loaded { program: id });
        under
    }

    /// Seconds for so many chunks of a kernel, all of which must come to `expected`.
    fn run(&self, (name, size, _): &Kernel, chunks: usize, expected: u64) -> f64 {
        let input = Bytes::from(format!("{name} {size}"));
        let chunk = |ticket| Chunk { ticket: ticket as u64, chunk: 0, input: input.clone().into() };
        timed(|| {
            let chunks = (0..chunks).map(chunk).collect::<Vec<_>>();
            let mut left = chunks.len();
            self.workers.submit(Request::Run { job: 1, role: Role::Map, chunks });
            while left > 0 {
                match self.reports.recv().unwrap() {
                    Report::Finished { output, .. } => {
                        assert_eq!(output, format!("{expected}\n"));
                        left -= 1;
                    }
                    Report::Started { .. } => {}
                    other => unreachable!("{other:?}"),
                }
            }
        })
    }
}
