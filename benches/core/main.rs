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
use std::time::Duration;

use bytes::Bytes;
use coordinator_free::{Input, Member, Message};
use essaim_jobs::{Leaf, NodeId};

use pair::{PROBES, Pair, clock, drain};

mod pair;

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

/// Chunks in a batch when a job is worked off.
const BATCH: usize = 64;
/// Times are medians of so many, each over so many inputs.
const RUNS: usize = 7;
const INPUTS: usize = 3;
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
    let mut pair = Pair::new(chunks);
    let start = LIVE.load(Relaxed);
    let grown = |done: usize| (LIVE.load(Relaxed) as f64 - start as f64) / done as f64;
    for (author, names) in [
        (true, ["author, B a chunk done, half", "author, B a chunk done, all"]),
        (false, ["worker, B a chunk done, half", "worker, B a chunk done, all"]),
    ] {
        if !author {
            pair = Pair::new(chunks);
        }
        let mut done = 0;
        for (part, name) in [first, second].into_iter().zip(names) {
            for batch in part.chunks(BATCH) {
                let (now, author_id, worker_id) = (pair.step(), pair.id(0), pair.id(1));
                if author {
                    let results = pair.results(batch);
                    tell(&mut pair.author, now, worker_id, results);
                } else {
                    let seal = pair.seal(batch);
                    tell(&mut pair.worker, now, author_id, seal);
                }
            }
            done += part.len();
            rows.push((name, grown(done)));
        }
    }
    // A worker whose author is away keeps all that it has run.
    let mut pair = Pair::new(chunks);
    let start = LIVE.load(Relaxed);
    let half = chunks / 2;
    finish(&mut pair, half);
    rows.push(("worker, B a chunk run and not sealed", (LIVE.load(Relaxed) as f64 - start as f64) / f64::from(half)));
    rows
}

/// One message to a member, and all that follows; at the author, outputs are safe at once.
fn tell(member: &mut Member, now: Duration, from: NodeId, message: Message) {
    member.handle(now, Input::Message { from, message });
    drain(member, now);
}

/// Works these chunks off, at the author and at the worker.
fn work_off(pair: &mut Pair, chunks: &[u32]) {
    for batch in chunks.chunks(BATCH) {
        let (now, author, worker) = (pair.step(), pair.id(0), pair.id(1));
        let (results, seal) = (pair.results(batch), pair.seal(batch));
        tell(&mut pair.author, now, worker, results);
        tell(&mut pair.worker, now, author, seal);
    }
}

/// The worker runs this many chunks, one after the other.
fn finish(pair: &mut Pair, count: u32) {
    for slot in 0..count {
        // Fast, so that what is sent again stays little.
        pair.now += Duration::from_micros(1);
        let now = pair.now;
        let results = vec![(slot, Leaf::Inline(Bytes::from_static(b"a result")))];
        pair.worker.handle(now, Input::Finished { results, cpu_micros: 1_000, wall_micros: 1_000 });
        drain(&mut pair.worker, now);
    }
}

/// Nanoseconds an input, with half of the job done.
fn times(chunks: u32, order: Order) -> Vec<(&'static str, f64)> {
    let mut pair = Pair::new(chunks);
    let mut chunks = order.chunks(chunks);
    let left = chunks.split_off(chunks.len() / 2);
    work_off(&mut pair, &chunks);
    pair.left = left.into_iter();
    assert_eq!(pair.author.sealed().len(), chunks.len() as u64, "the author has taken all results");
    assert_eq!(pair.worker.sealed().len(), chunks.len() as u64, "the worker has taken all seals");
    PROBES
        .iter()
        .map(|(name, author, share, inputs)| {
            let mut nanos = || {
                let took: Duration = (0..INPUTS).map(|_| clock(&mut pair, *author, *inputs)).sum();
                took.as_nanos() as f64 / (INPUTS * share) as f64
            };
            let mut all: Vec<f64> = (0..RUNS).map(|_| nanos()).collect();
            all.sort_by(f64::total_cmp);
            (*name, all[all.len() / 2])
        })
        .collect()
}
