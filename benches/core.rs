//! What the core costs: nanoseconds an input, and bytes of memory a chunk that is done, at the author and at a worker,
//! for jobs of a thousand, a hundred thousand and a million chunks. One table; times are medians of seven.
//!
//! `cargo bench -p coordinator-free` (an argument, such as `1000`, is the largest job to measure).
//!
//! A job is done *in order*; by *256 fronts* that advance together, as by as many members; or *scattered*, chunk by
//! chunk at random, which no swarm does: it bounds what hurts. Times are taken with half of the job done. They hold
//! what follows from an input, signatures and encoding of sets included, but no encoding of messages.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails should say where")]
#![allow(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
#![allow(unsafe_code, reason = "an allocator that counts can be written in no other way")]
#![allow(missing_docs, reason = "a program, no library")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_free::message::{Record, Seal, initials};
use coordinator_free::{Config, Input, Load, Member, Message, Output, Resume, Tuning};
use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, Leaf, NodeId, Receipt, Results, Rows, Signed};

/// Counts the bytes that are in use.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came; only a number is kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Times are medians of so many, each over so many inputs.
const RUNS: usize = 7;
const INPUTS: usize = 3;
/// Chunks in a batch when a job is worked off, and in one that is timed.
const BATCH: usize = 64;
const MANY: usize = 8;
/// The largest job that is done chunk by chunk at random.
const MOST_SCATTERED: u32 = 100_000;
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Straight,
    Fronts(u32),
    Scattered,
}

const ORDERS: [(Order, &str); 3] =
    [(Order::Straight, "in order"), (Order::Fronts(256), "256 fronts"), (Order::Scattered, "scattered")];

impl Order {
    /// The chunks in the order in which they are done; the last is never done, as that would end the job.
    fn chunks(self, count: u32) -> Vec<u32> {
        let mut chunks: Vec<u32> = match self {
            Order::Straight => (0..count).collect(),
            Order::Fronts(fronts) => {
                let wide = count.div_ceil(fronts);
                (0..wide).flat_map(|step| (0..fronts).map(move |front| front * wide + step)).collect()
            }
            Order::Scattered => {
                let mut chunks: Vec<u32> = (0..count).collect();
                let mut random = 1_u64;
                for at in (1..chunks.len()).rev() {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    chunks.swap(at, (random >> 33) as usize % (at + 1));
                }
                chunks
            }
        };
        chunks.retain(|chunk| *chunk < count - 1);
        chunks
    }
}

/// Two members of one job, and a third that only speaks.
struct Bench {
    now: Duration,
    author_key: Keypair,
    keys: [Keypair; 3],
    author: Member,
    worker: Member,
    /// Version of the third's record, and number of its askings.
    seq: u64,
    /// Chunks that are not done.
    left: std::vec::IntoIter<u32>,
}

const JOB: JobId = JobId([7; 32]);

impl Bench {
    /// A job of which the worker holds everything.
    fn new(chunks: u32) -> Bench {
        let rows = Rows { chunks, copies: 1 };
        let key = |number: u8| Keypair::from_seed(&[number; 32]);
        let (keys, author_key) = ([1, 2, 3].map(key), key(9));
        let config = |number: usize| Config {
            job: JOB,
            rows,
            me: NodeId(keys[number].public()),
            keypair: keys[number].clone(),
            author_node: NodeId(keys[0].public()),
            author: AuthorId(author_key.public()),
            author_key: (number == 0).then(|| author_key.clone()),
            engine: "bench".into(),
            threads: number as u16,
            seed: [number as u8; 32],
            incarnation: 1,
            retries: 1,
            bears: 0,
            resume: Resume::default(),
            distrusted: Vec::new(),
            tuning: Tuning::default(),
        };
        let (author, worker) = (Member::new(config(0), Duration::ZERO), Member::new(config(1), Duration::ZERO));
        let mut bench =
            Bench { now: Duration::ZERO, author_key, keys, author, worker, seq: 0, left: Vec::new().into_iter() };
        for _ in 0..200 {
            bench.now += Duration::from_millis(5);
            let now = bench.now;
            bench.author.tick(now);
            bench.worker.tick(now);
            let ids = [bench.id(0), bench.id(1)];
            let outputs: Vec<Output> = std::iter::from_fn(|| bench.author.poll()).collect();
            outputs.into_iter().filter_map(message).for_each(|message| {
                bench.worker.handle(now, Input::Message { from: ids[0], message });
            });
            let outputs: Vec<Output> = std::iter::from_fn(|| bench.worker.poll()).collect();
            outputs.into_iter().filter_map(message).for_each(|message| {
                bench.author.handle(now, Input::Message { from: ids[1], message });
            });
        }
        assert_eq!(bench.worker.view().members[0].held, u64::from(chunks), "the worker holds everything");
        bench
    }

    fn id(&self, number: usize) -> NodeId {
        NodeId(self.keys[number].public())
    }

    fn step(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    fn results(&self, chunks: &[u32]) -> Message {
        let slots: IntervalSet = chunks.iter().copied().collect();
        let leaves = vec![Leaf::Inline(Bytes::from_static(b"a result")); chunks.len()];
        let root = Receipt::root(&leaves);
        let receipt = Receipt { job: JOB, slots, root, engine: "bench".into(), cpu_micros: 1 };
        Message::Results(Results { receipt: Signed::sign(receipt, &self.keys[1]), leaves })
    }

    fn seal(&self, chunks: &[u32]) -> Message {
        let slots = chunks.iter().copied().collect();
        Message::Seal(Signed::sign(Seal { job: JOB, term: 0, slots }, &self.author_key))
    }

    /// The third's word, which holds nothing; `queued` it says that it has.
    fn load(&self, queued: u32) -> Load {
        Load { threads: 1, slot_micros: 1_000, queued, running: 1, blocked: 0 }
    }

    fn record(&mut self) -> Message {
        self.seq += 1;
        let held = IntervalSet::new();
        let record = Record {
            job: JOB,
            seq: self.seq,
            group: 0,
            held: held.clone(),
            done: held,
            load: self.load(0),
            leaving: None,
        };
        Message::Record(Signed::sign(record, &self.keys[2]))
    }

    /// One message to a member, and all that follows; at the author, outputs are safe at once.
    fn tell(member: &mut Member, now: Duration, from: NodeId, message: Message) {
        member.handle(now, Input::Message { from, message });
        drain(member, now);
    }

    /// Works these chunks off, at the author and at the worker.
    fn work_off(&mut self, chunks: &[u32]) {
        for batch in chunks.chunks(BATCH) {
            let (now, author, worker) = (self.step(), self.id(0), self.id(1));
            let (results, seal) = (self.results(batch), self.seal(batch));
            Bench::tell(&mut self.author, now, worker, results);
            Bench::tell(&mut self.worker, now, author, seal);
        }
    }
}

fn message(output: Output) -> Option<Message> {
    match output {
        Output::Send { message, .. } | Output::Gossip(message) => Some(message),
        _ => None,
    }
}

fn drain(member: &mut Member, now: Duration) {
    while let Some(output) = member.poll() {
        if let Output::Collect { slot, worker, .. } = output {
            member.handle(now, Input::Collected { slot, worker, safe: true });
        }
    }
}

fn main() {
    let most = std::env::args().skip(1).find_map(|arg| arg.parse::<u32>().ok()).unwrap_or(u32::MAX);
    for chunks in SIZES.into_iter().filter(|size| *size <= most) {
        println!("\n{chunks} chunks{:>33} {:>12} {:>12}", ORDERS[0].1, ORDERS[1].1, ORDERS[2].1);
        // A scattered million costs minutes: an input is linear in the number of intervals there.
        let orders = ORDERS.iter().filter(|(order, _)| *order != Order::Scattered || chunks <= MOST_SCATTERED);
        let columns: Vec<Vec<(&'static str, f64)>> = orders.map(|(order, _)| measure(chunks, *order)).collect();
        for (row, (name, _)) in columns[0].iter().enumerate() {
            print!("{name:<40}");
            columns.iter().for_each(|column| print!(" {:>12.1}", column[row].1));
            println!();
        }
    }
}

fn measure(chunks: u32, order: Order) -> Vec<(&'static str, f64)> {
    let mut rows = memory(chunks, order);
    rows.extend(times(chunks, order));
    rows
}

/// Bytes a chunk that is done, at the half and at the end.
fn memory(chunks: u32, order: Order) -> Vec<(&'static str, f64)> {
    let order = order.chunks(chunks);
    let (first, second) = order.split_at(order.len() / 2);
    let mut rows = Vec::new();
    let mut bench = Bench::new(chunks);
    let start = LIVE.load(Relaxed);
    let grown = |done: usize| (LIVE.load(Relaxed) as f64 - start as f64) / done as f64;
    for (author, names) in [
        (true, ["author, B a chunk done, half", "author, B a chunk done, all"]),
        (false, ["worker, B a chunk done, half", "worker, B a chunk done, all"]),
    ] {
        if !author {
            bench = Bench::new(chunks);
        }
        let mut done = 0;
        for (part, name) in [first, second].into_iter().zip(names) {
            for batch in part.chunks(BATCH) {
                let (now, author_id, worker_id) = (bench.step(), bench.id(0), bench.id(1));
                if author {
                    let results = bench.results(batch);
                    Bench::tell(&mut bench.author, now, worker_id, results);
                } else {
                    let seal = bench.seal(batch);
                    Bench::tell(&mut bench.worker, now, author_id, seal);
                }
            }
            done += part.len();
            rows.push((name, grown(done)));
        }
    }
    // A worker whose author is away keeps all that it has run.
    let mut bench = Bench::new(chunks);
    let start = LIVE.load(Relaxed);
    let half = chunks / 2;
    finish(&mut bench, half);
    rows.push(("worker, B a chunk run and not sealed", (LIVE.load(Relaxed) as f64 - start as f64) / f64::from(half)));
    rows
}

/// The worker runs this many chunks, one after the other.
fn finish(bench: &mut Bench, count: u32) {
    for slot in 0..count {
        // Fast, so that what is sent again stays little.
        bench.now += Duration::from_micros(1);
        let now = bench.now;
        let results = vec![(slot, Leaf::Inline(Bytes::from_static(b"a result")))];
        bench.worker.handle(now, Input::Finished { results, cpu_micros: 1_000, wall_micros: 1_000 });
        drain(&mut bench.worker, now);
    }
}

/// What is timed: its name, whether at the author or at the worker, by what the time is divided, and what goes in.
type Probe = (&'static str, bool, usize, fn(&mut Bench) -> Vec<Input>);

const PROBES: [Probe; 11] = [
    ("author, results of 1 chunk, ns", true, 1, |bench| bench.results_input(1)),
    ("author, results of many, ns a chunk", true, MANY, |bench| bench.results_input(MANY)),
    ("author, record, ns", true, 1, Bench::record_input),
    ("author, tick, ns", true, 1, |_| Vec::new()),
    ("worker, finished 1 chunk, ns", false, 1, Bench::finished_input),
    ("worker, split and its receipt, ns", false, 1, Bench::split_input),
    ("worker, seal of many, ns a chunk", false, MANY, |bench| bench.seal_input(MANY)),
    ("worker, record, ns", false, 1, Bench::record_input),
    ("worker, tick, ns", false, 1, |_| Vec::new()),
    // Last, as they take time: digests in short order are not answered.
    ("author, digest, ns", true, 1, Bench::digest_input),
    ("worker, digest, ns", false, 1, Bench::digest_input),
];

/// Nanoseconds an input, with half of the job done.
fn times(chunks: u32, order: Order) -> Vec<(&'static str, f64)> {
    let mut bench = Bench::new(chunks);
    let mut chunks = order.chunks(chunks);
    let left = chunks.split_off(chunks.len() / 2);
    bench.work_off(&chunks);
    bench.left = left.into_iter();
    assert_eq!(bench.author.sealed().len(), chunks.len() as u64, "the author has taken all results");
    assert_eq!(bench.worker.sealed().len(), chunks.len() as u64, "the worker has taken all seals");
    PROBES
        .iter()
        .map(|(name, author, share, inputs)| {
            let mut all: Vec<f64> = (0..RUNS).map(|_| clock(&mut bench, *author, *share, *inputs)).collect();
            all.sort_by(f64::total_cmp);
            (*name, all[all.len() / 2])
        })
        .collect()
}

/// Nanoseconds for what goes in and all that follows, divided by `share`; no input at all is a tick.
fn clock(bench: &mut Bench, author: bool, share: usize, inputs: fn(&mut Bench) -> Vec<Input>) -> f64 {
    let mut nanos = 0;
    for _ in 0..INPUTS {
        let inputs = inputs(bench);
        let now = bench.step();
        let member = if author { &mut bench.author } else { &mut bench.worker };
        let rejected = member.view().rejected;
        if inputs.is_empty() {
            bench.now = now.max(member.deadline().unwrap());
            let start = Instant::now();
            member.tick(bench.now);
            drain(member, now);
            nanos += start.elapsed().as_nanos();
        } else {
            let start = Instant::now();
            for input in inputs {
                member.handle(now, input);
                drain(member, now);
            }
            nanos += start.elapsed().as_nanos();
        }
        assert_eq!(member.view().rejected, rejected, "what is timed is taken in, not refused");
    }
    nanos as f64 / (INPUTS * share) as f64
}

impl Bench {
    fn take(&mut self, count: usize) -> Vec<u32> {
        let chunks: Vec<u32> = self.left.by_ref().take(count).collect();
        assert_eq!(chunks.len(), count, "enough chunks are left to be timed");
        chunks
    }

    fn results_input(&mut self, count: usize) -> Vec<Input> {
        let chunks = self.take(count);
        vec![Input::Message { from: self.id(1), message: self.results(&chunks) }]
    }

    fn seal_input(&mut self, count: usize) -> Vec<Input> {
        let chunks = self.take(count);
        vec![Input::Message { from: self.id(0), message: self.seal(&chunks) }]
    }

    fn finished_input(&mut self) -> Vec<Input> {
        let results = vec![(self.take(1)[0], Leaf::Inline(Bytes::from_static(b"a result")))];
        vec![Input::Finished { results, cpu_micros: 1_000, wall_micros: 1_000 }]
    }

    fn record_input(&mut self) -> Vec<Input> {
        vec![Input::Message { from: self.id(2), message: self.record() }]
    }

    /// The third knows all records; what is to be said to it is that there is nothing.
    fn digest_input(&mut self) -> Vec<Input> {
        self.now += Tuning::default().answer_gap;
        let records = (0..3).map(|number| (initials(&self.id(number)), u64::MAX)).collect();
        vec![Input::Message {
            from: self.id(2),
            message: Message::Digest { term: 0, sealed: u64::MAX, banned: 0, records },
        }]
    }

    /// The third has a little less to do than the worker, so it gets a few chunks.
    fn split_input(&mut self) -> Vec<Input> {
        self.seq += 1;
        let queued = self.worker.view().members[0].load.queued;
        let (ask, load) = (self.seq, self.load(queued.saturating_sub(16)));
        let from = self.id(2);
        [Message::Split { ask, taken: None, load }, Message::Taken { ask }]
            .map(|message| Input::Message { from, message })
            .into()
    }
}
