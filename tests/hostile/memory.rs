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
    let echo = node.load(ECHO, limits(|l| l.memory_bytes = 4 << 20)).unwrap();
    node.begin(spin, 0..6);
    let (mut running, mut over, mut small) = (BTreeSet::new(), 0, 0);
    while over < 6 {
        match node.next() {
            Report::Started { ticket } if ticket < 6 => {
                assert!(running.insert(ticket));
                assert!(running.len() <= 2, "{running:?} run at once");
                if running.len() == 2 {
                    // While two run and four wait, what needs less gets through, again and again.
                    small = 0;
                    node.begin(echo, [100]);
                }
            }
            Report::Finished { ticket: 100, .. } if small < 20 => {
                small += 1;
                node.begin(echo, [100]);
            }
            Report::Finished { ticket: 100, .. } => node.stop(running.iter().copied()),
            Report::Failed { ticket, failure: Failure::Stopped, .. } => {
                assert!(running.remove(&ticket), "{ticket} was stopped and had not started");
                over += 1;
            }
            Report::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    node.is_well();
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
