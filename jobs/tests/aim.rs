//! A size chooses itself: whatever the items cost, chunks are long enough and short enough, and whole.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use essaim_jobs::split::{Aim, Load, Pace};
use proptest::prelude::*;

/// Nanoseconds of a millisecond and of a second.
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

/// Tries what is asked for until nothing more is, of a program that takes `begins` to begin and `of(place)` for each
/// unit; returns what was tried, and what is chosen for `threads`.
fn aim_at(load: Load, threads: u32, begins: u64, of: impl Fn(u64) -> u64) -> (Vec<(u64, u64)>, Pace) {
    aim_with_outputs(load, threads, begins, of, |_| 8)
}

/// As [`aim_at`], of a program that makes `gives(length)` bytes of a piece.
fn aim_with_outputs(
    load: Load,
    threads: u32,
    begins: u64,
    of: impl Fn(u64) -> u64,
    gives: impl Fn(u64) -> u64,
) -> (Vec<(u64, u64)>, Pace) {
    let mut aim = Aim::new(load);
    let mut tried = Vec::new();
    while let Some((at, len)) = aim.next() {
        // A long piece costs what its units cost that are looked at: every one of a short piece.
        let step = (len / 1_000).max(1);
        let looked: u64 = (at..at + len).step_by(step as usize).map(&of).sum();
        aim.took(len, begins + looked * step, gives(len));
        tried.push((at, len));
    }
    (tried, aim.chosen(threads))
}

fn range(total: u64, begins: u64, nanos: u64) -> (Vec<(u64, u64)>, Pace) {
    aim_at(Load::range(total), 2, begins, |_| nanos)
}

#[test]
fn dear_items_are_one_a_chunk() {
    for millis in [60, 100, 290, 10_000] {
        let (tried, pace) = range(64, 0, millis * MILLI);
        assert_eq!(pace.block.get(), 1, "{millis} ms");
        assert!(tried.len() <= 5, "{tried:?}");
    }
    let mut aim = Aim::new(Load::range(64));
    aim.overran();
    assert_eq!((aim.next(), aim.chosen(2).block.get()), (None, 1));
}

#[test]
fn cheap_items_make_chunks_that_are_not_too_short_and_not_too_long() {
    let micro = 1_000;
    for (total, nanos) in [(1 << 20, micro), (2_000, MILLI), (1 << 30, micro), (1 << 36, 10 * micro), (1 << 24, 300)] {
        let (_, pace) = range(total, 0, nanos);
        let cost = pace.block.get() * nanos;
        assert!((MILLI..=3 * SECOND).contains(&cost), "{total} of {nanos} ns: {cost} ns a chunk");
        assert!(pace.block.is_power_of_two());
        let chunks = total / pace.block;
        assert!(chunks >= 240 || cost < 8 * MILLI, "{total} of {nanos} ns: {chunks} chunks of {cost} ns");
    }
}

#[test]
fn a_large_job_has_many_chunks_for_each_thread_that_is_known() {
    for threads in [8_u64, 64, 1_024] {
        let total = 10_000_000;
        let (_, pace) = aim_at(Load::range(total), threads as u32, 0, |_| MILLI);
        // The grid may halve it.
        assert!(total / pace.block >= threads * 240 / 2, "{threads} threads");
        assert!(pace.block.get() * MILLI <= 3 * SECOND);
    }
}

#[test]
fn a_program_that_is_slow_to_begin_gets_longer_chunks() {
    let (_, quick) = range(1 << 30, 0, 1_000);
    let (_, slow) = range(1 << 30, 20 * MILLI, 1_000);
    assert!(slow.block > quick.block, "{slow:?} and {quick:?}");
    let (_, short) = range(10_000, 20 * MILLI, 1_000);
    assert!(short.block.get() * 1_000 >= 5 * MILLI, "its beginning is not paid for again and again: {short:?}");
}

/// Tries a text of so many lines of eight bytes, of which each costs `line`, of a program that takes `begins`, on a machine
/// on which nothing takes as long as the last time; returns the lines that were tried, and those of a chunk.
fn lines(total: u64, begins: u64, line: u64) -> (Vec<u64>, u64) {
    let mut aim = Aim::new(Load::text(8 * total, 512 << 20));
    let mut tried = Vec::new();
    while let Some((_, len)) = aim.next() {
        let whole = len.div_ceil(8);
        let noise = [100, 94, 106, 97, 103][tried.len() % 5];
        aim.took(8 * whole, (begins + whole * line) * noise / 100, 8);
        tried.push(whole);
    }
    (tried, aim.chosen(2).block.get().div_ceil(8))
}

#[test]
fn a_dear_line_and_a_slow_beginning_are_told_apart() {
    for millis in [50, 100, 140] {
        let (tried, block) = lines(64, 0, millis * MILLI);
        assert_eq!((&tried[..], block), (&[1, 2][..], 1), "{millis} ms a line");
        let (tried, block) = lines(200, millis * MILLI, 1_000);
        assert!(block >= 32, "{millis} ms to begin: {block} lines a chunk, {tried:?}");
    }
}

#[test]
fn one_dear_item_beside_a_cheap_one_does_not_end_the_trying() {
    let mut aim = Aim::new(Load::range(10_000));
    for nanos in [MILLI, 45 * MILLI] {
        assert!(aim.next().is_some_and(|(_, len)| len == 1));
        aim.took(1, nanos, 8);
    }
    assert!(aim.next().is_some());
}

#[test]
fn trying_is_a_small_part_of_a_short_job() {
    for (total, nanos) in [(2_000, MILLI), (1_000_000, 1_000), (20_000, 100_000), (500_000, 10_000)] {
        let (tried, _) = lines(total, 0, nanos);
        let part = tried.iter().sum::<u64>() as f64 / total as f64;
        assert!(part < 1.0 / 150.0, "{total} of {nanos} ns: {tried:?}");
    }
}

#[test]
fn chunks_are_longer_where_less_comes_out_of_a_long_one_than_of_its_parts() {
    let text = || Load::text(512 << 20, 512 << 20);
    let block = |gives: &dyn Fn(u64) -> u64| aim_with_outputs(text(), 2, 0, |_| 8, gives).1.block.get();
    let (none, as_long) = (block(&|_| 0), block(&|len| len));
    assert_eq!(none, as_long, "what comes out is as much, however it is cut");
    // Different words of a text, about.
    let words = block(&|len| 20 * (len as f64).powf(0.7) as u64);
    assert!(words >= 4 * none, "{words}, and {none} without outputs");
    let sums = block(&|_| 8);
    assert_eq!(none, sums, "a few bytes are nothing");
    // A large job has enough for many threads all the same.
    let (_, pace) = aim_with_outputs(Load::text(1 << 40, 512 << 20), 64, 0, |_| 8, |len| len / 2);
    assert!((1 << 40) / pace.block.get() >= 64 * 240, "{pace:?}");
}

#[test]
fn a_text_has_no_chunk_that_fills_the_programs_memory() {
    for memory in [16 << 20, 512 << 20, 4 << 30] {
        let (_, pace) = aim_at(Load::text(1 << 40, memory), 2, 0, |_| 1);
        assert!(pace.block.get() <= memory / 8 && pace.block.get() <= 16 << 20, "{pace:?}");
        assert!((1 << 40) / pace.block.get() <= 1 << 20, "a job has so many chunks at most");
    }
    let (_, endless) = aim_at(Load::stream(1 << 30, 512 << 20), 2, 0, |_| 1_000);
    assert_eq!(endless.block.get(), 1 << 18, "a quarter of a second of what nobody knows the length of");
}

#[test]
fn what_cannot_be_tried_is_cut_by_its_length() {
    for (total, block) in [(0, 64 << 10), (16 << 20, 64 << 10), (64 << 20, 256 << 10), (1 << 40, 1 << 20)] {
        let mut aim = Aim::new(Load::text(total, 512 << 20));
        aim.failed();
        let pace = aim.chosen(2);
        assert_eq!((pace.block.get(), pace.nanos), (block, None), "{total}");
    }
    let mut aim = Aim::new(Load::range(100_000));
    aim.failed();
    assert_eq!(aim.chosen(2).block.get(), 512);
}

#[test]
fn a_dear_beginning_of_the_input_does_not_speak_for_all_of_it() {
    // The first hundredth costs a hundred times what the rest does.
    let total = 1_000_000;
    let (tried, pace) = aim_at(Load::range(total), 2, 0, |at| if at < total / 100 { 1_000_000 } else { 10_000 });
    assert!(tried.iter().any(|(at, _)| *at > total / 2) && tried.iter().any(|(at, _)| (1..total / 2).contains(at)));
    assert!(pace.block.get() >= 64, "{pace:?}");
}

proptest! {
    #[test]
    fn trying_stays_within_its_bounds(
        total in prop_oneof![1u64..100, any::<u64>()], begins in 0..100 * MILLI, nanos in 1..1_000 * MILLI, is_text: bool,
    ) {
        let load = if is_text { Load::text(total, 512 << 20) } else { Load::range(total) };
        let mut aim = Aim::new(load);
        let (mut spent, mut last) = (0_u64, 0);
        while let Some((at, len)) = aim.next() {
            prop_assert!(len >= 1 && at.checked_add(len).is_some_and(|end| end <= total.max(1)));
            prop_assert!(spent < 300 * MILLI, "it is told to stop");
            last = begins + len.saturating_mul(nanos).min(u64::MAX / 100);
            spent = spent.saturating_add(last);
            aim.took(len, last, 0);
        }
        prop_assert!(total <= 1 || last > 0);
        let pace = aim.chosen(3);
        prop_assert!(pace.block.is_power_of_two());
        prop_assert!(total.div_ceil(pace.block.get()) <= 1 << 20 || is_text);
    }

    #[test]
    fn two_tries_that_differ_a_little_mostly_choose_alike(noise in 0.97_f64..1.03, nanos in 100_u64..100_000) {
        let (_, one) = range(1 << 30, 0, nanos);
        let (_, other) = range(1 << 30, 0, (nanos as f64 * noise) as u64);
        let (one, other) = (one.block.get(), other.block.get());
        prop_assert!(one == other || one == 2 * other || other == 2 * one, "{} and {}", one, other);
    }
}
