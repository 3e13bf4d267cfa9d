//! How peers find one another.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::node::{Worker, World, guest, run};

#[test]
fn twenty_peers_in_a_chain_are_all_found_through_the_dht() {
    let world = World::new("chain");
    let mut chain: Vec<Worker> = Vec::new();
    for _ in 0..20 {
        let mut join = world.alone("join");
        if let Some(last) = chain.last() {
            join.args(["--peer", &last.address]);
        }
        chain.push(Worker::start(join));
    }
    // The twenty-first knows the first of the chain only.
    let found = run(world.alone("peers").args(["--json", "--within", "60s", "--peer", &chain[0].address]), b"").well();
    let lines: Vec<Value> =
        found.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    let listed: BTreeSet<&str> = lines.iter().map(|line| line["peer"].as_str().unwrap()).collect();
    let expected: BTreeSet<&str> = chain.iter().map(|worker| worker.peer.as_str()).collect();
    assert_eq!(listed, expected);
    assert!(lines.iter().all(|line| line["cores_spare"] == 1), "{lines:?}");
}

#[test]
fn peers_on_one_machine_find_one_another_without_an_address() {
    let world = World::new("near");
    let worker = Worker::start(world.near("join"));
    let ran =
        run(world.near("run").args(["--json", "--cpus", "0"]).arg(guest("echo")).args([":::", "a", "b"]), b"").well();
    assert_eq!(ran.stdout, b"a\nb\n");
    assert_eq!(ran.event("done")["by"][&worker.peer], 2);
}

#[test]
fn peers_of_other_swarms_never_meet() {
    let world = World::new("here");
    let other = World::new("there");
    let worker = Worker::start(world.alone("join"));
    let found = run(other.alone("peers").args(["--within", "1s", "--peer", &worker.address]), b"");
    assert_eq!(found.status, 1);
    assert!(found.stderr.contains("hint:"), "{}", found.stderr);
}

#[test]
fn nodes_without_a_home_of_their_own_each_get_one() {
    let world = World::new("homes");
    let one = Worker::start(world.bare("join"));
    let two = Worker::start(world.bare("join"));
    assert_ne!(one.peer, two.peer);
    let ran = run(world.bare("run").args(["--cpus", "0"]).arg(guest("echo")).args([":::", "x"]), b"").well();
    assert_eq!(ran.stdout, b"x\n");
}
