//! Programs that together would take more memory than the machine lends.

use std::collections::BTreeSet;

use essaim_worker::process::ProcessConfig;
use essaim_worker::{Failure, Report};

use crate::corpus;
use crate::node::{Node, limits};

const ECHO: &str = include_str!("../it/guests/echo.wat");

/// Memory for two chunks of 64 MiB and one of 4.
fn for_two(config: &mut ProcessConfig) {
    config.total_bytes = (2 * 64 + 4) << 20;
}

#[test]
fn no_more_run_at_once_than_there_is_memory_for() {
    let mut node = Node::with(|config| {
        for_two(config);
        config.cpus = 4;
    });
    let spin = node.load(corpus::SPIN, limits(|l| (l.memory_bytes, l.millis) = (64 << 20, 3_600_000))).unwrap();
    let small = node.load(corpus::SPIN, limits(|l| (l.memory_bytes, l.millis) = (4 << 20, 200))).unwrap();
    node.begin(spin, 0..6);
    let mut running = BTreeSet::new();
    for over in 0..6 {
        while running.len() < 2.min(6 - over) {
            match node.next() {
                Report::Started { ticket } => assert!(running.insert(ticket)),
                Report::Loaded { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        // While two run and others wait, what needs less gets through; it lasts long enough for a third to show itself.
        for _ in 0..2 {
            node.begin(small, [100]);
            loop {
                match node.next() {
                    Report::Failed { ticket: 100, failure: Failure::TimedOut { .. }, .. } => break,
                    Report::Started { ticket: 100 } => {}
                    other => panic!("beside {running:?}: {other:?}"),
                }
            }
        }
        let first = running.pop_first().unwrap();
        node.stop([first]);
        loop {
            match node.next() {
                Report::Failed { ticket, failure: Failure::Stopped, .. } if ticket == first => break,
                Report::Started { ticket } => assert!(running.insert(ticket) && running.len() <= 2),
                other => panic!("{other:?}"),
            }
        }
    }
    node.is_well();
}

#[test]
fn what_falls_free_is_for_as_many_as_there_is_room_for() {
    let mut node = Node::with(|config| {
        for_two(config);
        config.cpus = 4;
    });
    let [large, two, small] = [128, 64, 4].map(|mib| {
        let program = if mib == 4 { ECHO } else { corpus::SPIN };
        node.load(program, limits(|l| (l.memory_bytes, l.millis) = (mib << 20, 3_600_000))).unwrap()
    });
    node.begin(large, [0]);
    while node.next() != (Report::Started { ticket: 0 }) {}
    node.begin(two, [1, 2]);
    // Those who could run them find no room, and go; this one is run by one of them.
    node.begin(small, [3]);
    while !matches!(node.next(), Report::Finished { ticket: 3, .. }) {}
    node.stop([0]);
    let mut started = BTreeSet::new();
    while started.len() < 2 {
        if let Report::Started { ticket } = node.next() {
            started.insert(ticket);
        }
    }
    assert_eq!(started, BTreeSet::from([1, 2]));
}

#[test]
fn who_stands_still_with_all_the_memory_is_let_run_by_who_cannot() {
    let mut node = Node::with(|config| {
        for_two(config);
        config.cpus = 2;
    });
    let spin = node.load(corpus::SPIN, limits(|l| (l.memory_bytes, l.millis) = (64 << 20, 1_000))).unwrap();
    let large = node.load(ECHO, limits(|l| l.memory_bytes = 128 << 20)).unwrap();
    node.begin(spin, [0, 1]);
    let mut running = BTreeSet::new();
    while running.len() < 2 {
        if let Report::Started { ticket } = node.next() {
            running.insert(ticket);
        }
    }
    // One of the two is stopped where it is; the other ends, and then there is no room for a third.
    node.lend(1);
    node.begin(large, [2]);
    let mut late = 0;
    loop {
        match node.next() {
            Report::Failed { ticket: 0 | 1, failure: Failure::TimedOut { .. }, .. } => late += 1,
            Report::Finished { ticket: 2, .. } => break,
            Report::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(late, 2);
    node.is_well();
}
