//! Worlds in which things go wrong: each drawn from a seed, run until nothing goes wrong any more, and then until
//! every live honest node has everything.

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_free::pieces::{Input, Layout, PIECE_BYTES, Tuning};
use essaim_jobs::IntervalSet;

use crate::link::Link;
use crate::node::Manner;
use crate::speed::RATE;
use crate::world::{Event, Weather, World};

/// Worlds that a plain `cargo test` runs.
const SEEDS: u64 = 80;
/// What must have happened in some of them.
const FAULTS: [&str; 13] = [
    "author needed again",
    "author not needed",
    "back with nothing",
    "back with pieces",
    "deaf",
    "kill",
    "late joiner",
    "liar left",
    "mute",
    "refusal",
    "silent kill",
    "trickle",
    "wrong piece",
];

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A world of one author and up to eleven others, with some of everything.
fn world(seed: u64) -> World {
    let mut rng = crate::chance::Rng::new(seed ^ 0x5eed);
    let pieces = 8 + rng.below(56) as u64;
    let layout = Layout::of(pieces * PIECE_BYTES - rng.next() % PIECE_BYTES).unwrap();
    let weather = Weather {
        latency: secs(rng.between(0.0005, 0.08)),
        jitter: rng.between(0.0, 2.0),
        socket: rng.below(9) as u64 * 32_768,
    };
    // Few sessions in some worlds: who is turned away must get everything all the same.
    let sessions = if rng.chance(0.2) { 4 } else { 64 };
    let mut world = World::new(seed, layout, Tuning { sessions, ..Tuning::default() }, weather);
    let all: IntervalSet = (0..layout.pieces()).into();
    let limit = rng.chance(0.3).then_some(RATE / 20);
    world.add(all.clone(), Manner::Honest, Link::new(RATE, RATE, limit));
    for number in 1..3 + rng.below(10) {
        let rate = (RATE as f64 * rng.between(0.05, 1.0)) as u64;
        match rng.below(12) {
            0 => world.add(all.clone(), Manner::Liar, Link::new(rate, RATE, None)),
            1 => world.add(all.clone(), Manner::Mute, Link::new(rate, RATE, None)),
            2 => world.add(all.clone(), Manner::Refuser, Link::new(rate, RATE, None)),
            3 => {
                world.judge.count("trickle");
                world.add(all.clone(), Manner::Honest, Link::new(1_000, RATE, None))
            }
            _ => world.add(IntervalSet::new(), Manner::Honest, Link::new(rate, rate, None)),
        };
        if world.nodes[number].exchange.is_complete() {
            world.nodes[number].complete = Some(Duration::ZERO);
        }
    }
    world.nodes[0].complete = Some(Duration::ZERO);
    let nodes = world.nodes.len();
    for one in 0..nodes {
        let late = rng.chance(0.2);
        let joins = if late { rng.between(0.5, 6.0) } else { rng.between(0.0, 0.05) };
        if late {
            world.judge.count("late joiner");
        }
        for other in 0..one {
            world.at(secs(joins), Event::Connect { one, other });
        }
    }
    plan(&mut world, &mut rng, nodes);
    world
}

/// What goes wrong, until ten seconds in.
fn plan(world: &mut World, rng: &mut crate::chance::Rng, nodes: usize) {
    for node in 0..nodes {
        // The author lives for a while: before it has spoken to anybody nothing can be learnt from its death.
        let first = if node == 0 { 1.0 } else { 0.05 };
        if rng.chance(0.35) {
            let when = rng.between(first, 8.0);
            world.at(secs(when), Event::Kill { node, noticed: rng.chance(0.5) });
            if node != 0 && rng.chance(0.5) {
                let keeps = rng.chance(0.5);
                world.at(secs(when + rng.between(0.1, 3.0)), Event::Back { node, keeps });
            }
        }
        if rng.chance(0.2) {
            let to = rng.below(nodes);
            world.at(secs(rng.between(0.05, 5.0)), Event::Deafen { from: node, to });
        }
    }
    world.at(secs(12.0), Event::Heal);
}

fn run(seed: u64) -> World {
    println!("seed {seed}");
    let mut world = world(seed);
    // 1 kB/s is slow, but better than nothing: what only a trickling node has takes minutes a piece.
    world.run(Duration::from_secs(40_000));
    world
}

#[test]
fn whatever_goes_wrong_every_live_taker_ends() {
    let mut faults: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for seed in 0..SEEDS {
        let world = run(seed);
        // What is said stays in proportion to what there is to say.
        let pairs = (world.nodes.len() * world.nodes.len()) as u64;
        let most = pairs * (u64::from(world.layout.pieces()) * 12 + 200 + world.now.as_secs() * 4);
        assert!(world.judge.messages < most, "{} messages", world.judge.messages);
        assert!(world.judge.wrong.values().all(|wrong| *wrong <= 2), "{:?}", world.judge.wrong);
        slowest = slowest.max(world.now);
        for (name, times) in world.judge.faults {
            *faults.entry(name).or_default() += times;
        }
    }
    println!("{faults:?}, slowest {slowest:?}");
    for fault in FAULTS {
        assert!(faults.get(fault).is_some_and(|times| *times > 0), "{fault} never happened");
    }
}

#[test]
fn a_world_is_its_seed() {
    let story = |seed| {
        let world = run(seed);
        let ends: Vec<_> = world.nodes.iter().map(|node| (node.complete, node.sent, node.wasted)).collect();
        (world.now, world.judge.messages, world.judge.bytes, ends)
    };
    for seed in [3, 14] {
        assert_eq!(story(seed), story(seed));
    }
    assert_ne!(story(3), story(14));
}

/// A taker, an author, and others with everything that behave as they do; how long it took, beside the ideal.
fn beside(others: &[(Manner, u64)], author_rate: u64) -> (f64, World) {
    let layout = Layout::of(32 * PIECE_BYTES).unwrap();
    let mut world = World::new(1, layout, Tuning::default(), crate::speed::fair(10));
    let all: IntervalSet = (0..layout.pieces()).into();
    world.add(all.clone(), Manner::Honest, Link::new(author_rate, RATE, None));
    world.add(IntervalSet::new(), Manner::Honest, Link::new(RATE, RATE, None));
    for (manner, rate) in others {
        world.add(all.clone(), *manner, Link::new(*rate, RATE, None));
    }
    for number in (0..world.nodes.len()).filter(|number| *number != 1) {
        world.nodes[number].complete = Some(Duration::ZERO);
        world.connect(1, number);
    }
    world.healed = true;
    world.run(Duration::from_secs(40_000));
    let took = world.nodes[1].complete.unwrap().as_secs_f64();
    (took / (layout.len() as f64 / author_rate as f64), world)
}

#[test]
fn one_that_trickles_lies_or_is_silent_does_not_hold_up_the_end() {
    let bad = [(Manner::Honest, 1_000), (Manner::Liar, RATE), (Manner::Mute, RATE), (Manner::Refuser, RATE)];
    // Slow enough that the author is still at work when the bad ones are found out.
    let (time, world) = beside(&bad, RATE / 20);
    assert!(time < 1.15, "{time}");
    assert_eq!(world.judge.wrong.values().sum::<u64>(), 1, "one wrong piece is enough");
    // The trickling and the silent one were found out while the author was still at work, and asked no more.
    for bad in [2, 4] {
        let source = world.nodes[1].exchange.sources().into_iter().find(|source| source.node == world.nodes[bad].id);
        assert!(source.is_some_and(|source| source.poor), "{bad}");
    }
    // And where all is over before anybody can be found poor, its pieces are raced for.
    let (time, _) = beside(&[(Manner::Honest, 1_000)], RATE);
    assert!(time < 2.0, "{time}");
}

#[test]
fn the_only_source_is_kept_however_slow_it_is() {
    let (time, world) = beside(&[], 1_000);
    assert!(time < 1.01, "{time}");
    assert_eq!(world.nodes[1].wasted, 0);
    // Also when others have promised everything and say nothing.
    let (time, _) = beside(&[(Manner::Mute, RATE), (Manner::Mute, RATE), (Manner::Refuser, RATE)], 2_000);
    assert!(time < 1.01, "{time}");
}

#[test]
fn takers_that_cannot_reach_each_other_are_all_served() {
    let layout = Layout::of(64 * PIECE_BYTES).unwrap();
    let mut world = World::new(1, layout, Tuning::default(), crate::speed::fair(10));
    world.add((0..layout.pieces()).into(), Manner::Honest, Link::new(RATE, RATE, None));
    for taker in 1..=4 {
        world.add(IntervalSet::new(), Manner::Honest, Link::new(RATE, RATE, None));
        world.connect(0, taker);
    }
    world.healed = true;
    world.run(Duration::from_secs(60));
    let ideal = 4.0 * layout.len() as f64 / RATE as f64;
    let ends: Vec<f64> = world.nodes[1..].iter().map(|node| node.complete.unwrap().as_secs_f64() / ideal).collect();
    assert!(ends.iter().all(|end| *end < 1.1), "{ends:?}");
    // Fair: all of them had their bytes at the same pace.
    assert!(ends.iter().all(|end| *end > 0.9), "{ends:?}");
}

#[test]
fn an_upload_limit_is_kept_and_used() {
    let layout = Layout::of(16 * PIECE_BYTES).unwrap();
    let mut world = World::new(1, layout, Tuning::default(), crate::speed::fair(10));
    world.add((0..layout.pieces()).into(), Manner::Honest, Link::new(RATE, RATE, Some(1_000_000)));
    for taker in 1..=3 {
        world.add(IntervalSet::new(), Manner::Honest, Link::new(RATE, RATE, None));
        (0..taker).for_each(|other| world.connect(taker, other));
    }
    world.healed = true;
    world.run(Duration::from_secs(600));
    let rate = world.nodes[0].sent as f64 / world.now.as_secs_f64();
    assert!(rate < 1_000_000.0 * 1.05, "{rate}");
    let ideal = layout.len() as f64 / 1_000_000.0;
    assert!(world.now.as_secs_f64() < 1.15 * ideal, "{:?} of {ideal}", world.now);
}

#[test]
fn who_asks_more_gets_no_more() {
    // A node that gives, driven by hand: one peer asks for everything at once, another for two at a time.
    let layout = Layout::of(64 * PIECE_BYTES).unwrap();
    let mut giver = crate::node::exchange(0, 0, layout, (0..64).into(), Tuning::default());
    let [greedy, modest] = [1, 2].map(crate::node::id);
    let want = |from, list: Vec<u32>| Input::Message { from, message: coordinator_free::pieces::Message::Want(list) };
    let now = Duration::ZERO;
    for input in [Input::Up(greedy), Input::Up(modest), want(greedy, (0..60).collect()), want(modest, vec![60, 61])] {
        giver.handle(now, input);
    }
    let (mut counts, mut next) = ([0_u32; 2], 0);
    for _ in 0..12 {
        let mut gives = Vec::new();
        while let Some(output) = giver.poll() {
            if let coordinator_free::pieces::Output::Give { to, piece } = output {
                gives.push((to, piece));
            }
        }
        for (to, piece) in gives {
            counts[usize::from(to == modest)] += 1;
            if to == modest {
                giver.handle(now, want(modest, vec![next]));
                next += 1;
            }
            giver.handle(now, Input::Given { to, piece, sent: true });
        }
    }
    assert!(counts[0] + counts[1] > 30, "{counts:?}");
    assert!(counts[0].abs_diff(counts[1]) <= 4, "{counts:?}");
}

#[test]
#[ignore = "one seed, told step by step: SEED=42"]
fn one_seed() {
    let seed = std::env::var("SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut world = world(seed);
    world.trace = true;
    world.run(Duration::from_secs(40_000));
}
