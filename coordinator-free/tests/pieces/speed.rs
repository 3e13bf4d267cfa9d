//! How long it takes, in virtual time: the same on every machine.

use std::time::Duration;

use coordinator_free::pieces::{Layout, Tuning};
use essaim_jobs::IntervalSet;

use crate::link::{Link, time};
use crate::node::Manner;
use crate::world::{Weather, World};

pub const SIZE: u64 = 64 << 20;
/// 100 Mbit/s.
pub const RATE: u64 = 12_500_000;

/// What a transfer came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Time until the last had everything, by the time one copy takes on one link.
    pub time: f64,
    /// Copies that the author sent.
    pub copies: f64,
    /// Bytes that came twice, by those that had to come.
    pub waste: f64,
    /// Messages a taker and piece, each to one peer.
    pub messages: f64,
}

pub fn fair(latency_ms: u64) -> Weather {
    Weather { latency: Duration::from_millis(latency_ms), jitter: 0.2, socket: 128 << 10 }
}

/// Links of so many bytes a second. All takers come at the same time; each seeks `degree` others among those before it.
pub fn swarm(rate: u64, seed: u64, takers: usize, degree: usize, latency_ms: u64, tuning: Tuning) -> Outcome {
    let layout = Layout::of(SIZE).unwrap();
    let mut world = World::new(seed, layout, tuning, fair(latency_ms));
    world.add((0..layout.pieces()).into(), Manner::Honest, Link::new(rate, rate, None));
    for _ in 0..takers {
        world.add(IntervalSet::new(), Manner::Honest, Link::new(rate, rate, None));
    }
    for one in 1..=takers {
        world.connect(0, one);
        let mut order: Vec<usize> = (1..one).collect();
        while !order.is_empty() && world.nodes[one].sessions.len() <= degree {
            let other = order.swap_remove(world.rng.below(order.len()));
            if degree > 0 && world.nodes[other].sessions.len() <= 2 * degree {
                world.connect(one, other);
            }
        }
    }
    // Nothing goes wrong here.
    world.healed = true;
    world.run(Duration::from_secs(3_600));
    outcome(&world, rate, takers)
}

pub fn outcome(world: &World, rate: u64, takers: usize) -> Outcome {
    let last = world.nodes.iter().filter_map(|node| node.complete).max().unwrap();
    let size = world.layout.len() as f64;
    let wasted: u64 = world.nodes.iter().map(|node| node.wasted).sum();
    Outcome {
        time: last.as_secs_f64() / time(world.layout.len(), rate).as_secs_f64(),
        copies: world.nodes[0].sent as f64 / size,
        waste: wasted as f64 / (size * takers as f64),
        messages: world.judge.messages as f64 / (takers as f64 * f64::from(world.layout.pieces())),
    }
}

/// At 5 Mbit/s a piece takes longer than what is silence at 100, and all sources have a queue.
#[test]
fn sixteen_takers_need_little_more_than_one_and_the_author_sends_little_more_than_one_copy() {
    for (rate, latency) in [(RATE, 1), (RATE, 60), (RATE / 20, 1), (RATE / 20, 60)] {
        let outcome = swarm(rate, 1, 16, 63, latency, Tuning::default());
        assert!(outcome.time <= 1.25, "{rate} B/s, {latency} ms: {outcome:?}");
        assert!(outcome.copies <= 1.15, "{rate} B/s, {latency} ms: {outcome:?}");
        assert!(outcome.waste <= 0.05, "{rate} B/s, {latency} ms: {outcome:?}");
        if rate == RATE {
            assert!(outcome.messages <= 6.0, "{latency} ms: {outcome:?}");
        }
    }
}

/// Uplinks of homes: all but the author come down a hundred times faster than they go up.
#[test]
fn where_all_uplinks_are_slow_they_are_all_used() {
    let (rate, takers) = (100_000, 8);
    let layout = Layout::of(SIZE / 8).unwrap();
    for seed in 1..4 {
        let mut world = World::new(seed, layout, Tuning::default(), fair(20));
        world.add((0..layout.pieces()).into(), Manner::Honest, Link::new(rate, RATE, None));
        for one in 1..=takers {
            world.add(IntervalSet::new(), Manner::Honest, Link::new(rate, RATE, None));
            (0..one).for_each(|other| world.connect(one, other));
        }
        world.healed = true;
        world.run(Duration::from_secs(3_600));
        let one_copy = time(layout.len(), rate).as_secs_f64();
        let took = world.now.as_secs_f64() / one_copy;
        let copies = world.nodes[0].sent as f64 / layout.len() as f64;
        assert!(took < 1.6, "{took}");
        assert!(copies < 1.5, "{copies}");
    }
}

#[test]
fn one_or_four_takers_wait_for_nothing() {
    for (takers, latency, most) in [(1, 1, 1.01), (1, 60, 1.15), (4, 1, 1.06), (4, 60, 1.18)] {
        let outcome = swarm(RATE, 1, takers, 63, latency, Tuning::default());
        assert!(outcome.time <= most, "{takers} takers, {latency} ms: {outcome:?}");
        assert!(outcome.copies <= 1.1, "{takers} takers, {latency} ms: {outcome:?}");
    }
}
