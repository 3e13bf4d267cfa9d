//! What is done once an item, once a chunk or once a message, by criterion: a cut, a chunk in the sandbox, what the core
//! makes of a result. `benches/slower` runs it, and says what has become slower than `benches/inner.json` has it.
//!
//! `cargo bench --bench inner` (and a word: only those whose names have it)
#![allow(clippy::unwrap_used, reason = "a benchmark that fails should say where")]
#![allow(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
#![allow(missing_docs, reason = "criterion's macros")]

use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use essaim_jobs::split::{Block, Cutter, Items};
use essaim_jobs::{Leaf, Receipt};
use essaim_worker::process::{Launch, ProcessConfig};
use essaim_worker::{Chunk, Engine, EngineConfig, JobSpec, ProgramId, Report, Request, Role, Sandbox, Workers};

#[path = "core/pair.rs"]
mod pair;

use pair::{PROBES, Pair, clock};

const NOTHING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guests/nothing.wat");
/// Chunks of a job that is done by a pair, and inputs after which another begins: well before anything of it runs out.
const CHUNKS: u32 = 100_000;
const PROBED: u64 = 1_000;
/// Chunks that are under way in a sandbox at once.
const WINDOW: u64 = 2_000;

/// What has nothing to do with essaim: how fast this machine is now. `benches/slower` divides by it.
fn yardstick(criterion: &mut Criterion) {
    let bytes = vec![7; 64 << 10];
    criterion.bench_function("yardstick", |bencher| bencher.iter(|| blake3::hash(&bytes)));
}

fn items(criterion: &mut Criterion) {
    let text: Vec<u8> = (0..65_536).flat_map(|n| format!("{n:015}\n").into_bytes()).collect();
    let mut group = criterion.benchmark_group("item");
    group.throughput(Throughput::Elements(65_536));
    group.bench_function("65,536 lines cut by bytes", |bencher| {
        bencher.iter(|| cut(&text, Block::Bytes(NonZeroU64::new(64 << 10).unwrap())));
    });
    group.bench_function("65,536 lines cut by lines", |bencher| {
        bencher.iter(|| cut(&text, Block::Items(NonZeroU64::new(4_096).unwrap())));
    });
}

fn cut(text: &[u8], block: Block) -> Vec<u64> {
    let mut cutter = Cutter::new(&Items::lines(), block, u64::MAX);
    let mut cuts = cutter.push(text).unwrap();
    cuts.extend(cutter.finish());
    cuts
}

fn core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    // A tick is what the clock makes of it, and digests in short order are not answered.
    for (name, author, _, inputs) in
        PROBES.iter().filter(|(name, ..)| !name.contains("tick") && !name.contains("digest"))
    {
        let name = name.split(", ns").next().unwrap_or(name);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut pair = fresh();
                let mut took = Duration::ZERO;
                for done in 1..=iterations {
                    if done % PROBED == 0 {
                        pair = fresh();
                    }
                    took += clock(&mut pair, *author, *inputs);
                }
                took
            });
        });
    }
    let leaves = vec![Leaf::Inline(Bytes::from_static(b"a result")); 256];
    group.bench_function("root of 256 results", |bencher| bencher.iter(|| Receipt::root(&leaves)));
}

/// A pair that has all of its job before it, but for the last chunk: that would end it.
fn fresh() -> Pair {
    let mut pair = Pair::new(CHUNKS);
    pair.left = (0..CHUNKS - 1).collect::<Vec<_>>().into_iter();
    pair
}

fn sandbox(criterion: &mut Criterion) {
    let engine = Engine::new(EngineConfig { threads: 1, ..EngineConfig::default() }).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let launch = Launch { program: env!("CARGO_BIN_EXE_essaim").into(), words: vec!["sandbox-process".into()] };
    let processes = ProcessConfig { cpus: 1, ..ProcessConfig::new(launch, cache.path().to_owned()) };
    let mut group = criterion.benchmark_group("sandbox");
    for (name, sandbox) in [
        ("chunk in process", Sandbox::Threads(engine, 1)),
        ("chunk in a process of its own", Sandbox::Processes(processes)),
    ] {
        let (workers, finished) = start(sandbox);
        group.bench_function(name, |bencher| bencher.iter_custom(|chunks| run(&workers, &finished, chunks)));
    }
}

fn start(sandbox: Sandbox) -> (Workers, Receiver<u64>) {
    let (sender, finished) = sync_channel(100_000);
    let workers = Workers::new(sandbox, move |reports| {
        assert!(reports.iter().all(|report| !matches!(report, Report::Failed { .. } | Report::Refused { .. })));
        let ended = reports.iter().filter(|report| matches!(report, Report::Finished { .. })).count();
        sender.send(ended as u64).unwrap();
    });
    let workers = workers.unwrap();
    let program = ProgramId::plain([1; 32]);
    workers.submit(Request::Load { program, bytes: std::fs::read(NOTHING).unwrap().into() });
    workers.submit(Request::Job { job: 1, program, spec: JobSpec::default() });
    (workers, finished)
}

/// How long so many chunks take that do nothing.
fn run(workers: &Workers, finished: &Receiver<u64>, chunks: u64) -> Duration {
    let began = Instant::now();
    let (mut given, mut done) = (0, 0);
    while done < chunks {
        let more = (chunks - given).min(WINDOW - (given - done));
        if more >= WINDOW / 2 || more > 0 && given + more == chunks {
            let chunk = |ticket: u64| Chunk { ticket, chunk: ticket as u32, input: Bytes::new().into() };
            let chunks = (given..given + more).map(chunk).collect();
            workers.submit(Request::Run { job: 1, role: Role::Map, chunks });
            given += more;
        }
        done += finished.recv().unwrap();
    }
    began.elapsed()
}

criterion_group! {
    name = inner;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = yardstick, items, core, sandbox
}
criterion_main!(inner);
