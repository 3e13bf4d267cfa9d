//! How a job begins: those who are there have work at once, in virtual time.

#![allow(clippy::unwrap_used, reason = "tests stop where something is off")]

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_free::{Config, Input, Member, Output, Resume, Tuning};
use essaim_jobs::{AuthorId, JobId, Keypair, NodeId, Rows};

/// How long a message takes.
const WAY: Duration = Duration::from_millis(1);

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

/// Node 0 is the author's, which lends nothing; all others lend one thread.
fn member(number: u8, now: Duration) -> Member {
    let config = Config {
        job: JobId([7; 32]),
        rows: Rows { chunks: 400, copies: 1 },
        me: NodeId(key(number).public()),
        keypair: key(number),
        author_node: NodeId(key(0).public()),
        author: AuthorId(key(100).public()),
        author_key: (number == 0).then(|| key(100)),
        engine: "test".into(),
        threads: u16::from(number > 0),
        seed: [number; 32],
        incarnation: 1_000,
        retries: 1,
        bears: 0,
        resume: Resume::default(),
        distrusted: Vec::new(),
        tuning: Tuning::default(),
    };
    Member::new(config, now)
}

/// When each of `workers`, of which each comes at its time, is first given something to run; no slot ends before `until`.
fn begin(workers: &[Duration], until: Duration) -> Vec<Option<Duration>> {
    let nodes: Vec<NodeId> = (0..=workers.len() as u8).map(|number| NodeId(key(number).public())).collect();
    let mut members: Vec<Option<Member>> = vec![Some(member(0, Duration::ZERO))];
    members.resize_with(nodes.len(), || None);
    let mut begun = vec![None; workers.len()];
    let mut under_way: BTreeMap<(Duration, u64), (usize, Input)> = BTreeMap::new();
    let (mut now, mut sent) = (Duration::ZERO, 0);
    while now <= until {
        for (at, comes) in workers.iter().enumerate().filter(|(_, comes)| **comes == now) {
            members[at + 1] = Some(member(at as u8 + 1, *comes));
        }
        while let Some(entry) = under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, input) = entry.remove();
            members[to].as_mut().unwrap().handle(now, input);
        }
        for at in 0..members.len() {
            let Some(member) = &mut members[at] else { continue };
            if member.deadline().is_some_and(|due| due <= now) {
                member.tick(now);
            }
            while let Some(output) = member.poll() {
                match output {
                    Output::Send { to, message } => {
                        let to = nodes.iter().position(|node| *node == to).unwrap();
                        sent += 1;
                        under_way.insert((now + WAY, sent), (to, Input::Message { from: nodes[at], message }));
                    }
                    Output::Run(slots) => {
                        begun[at - 1].get_or_insert(now);
                        for slot in slots.into_iter().take(1) {
                            sent += 1;
                            under_way.insert((now + WAY, sent), (at, Input::Started { slot }));
                        }
                    }
                    _ => {}
                }
            }
        }
        now += Duration::from_micros(100);
    }
    begun
}

#[test]
fn who_comes_at_the_same_time_has_work_at_once() {
    // The author answers the first before it knows the second, and the second before the first holds anything.
    for apart in [0, 100, 500, 1_000, 2_000, 3_000, 5_000, 20_000] {
        let begun = begin(&[Duration::ZERO, Duration::from_micros(apart)], Duration::from_secs(2));
        let latest = begun.iter().max().unwrap().filter(|_| begun.iter().all(Option::is_some)).unwrap();
        assert!(latest < Duration::from_millis(100), "{apart} µs apart: {begun:?}");
    }
}

#[test]
fn many_that_come_at_the_same_time_have_work_at_once() {
    let workers: Vec<Duration> = (0..12).map(|nth| Duration::from_micros(nth * 300)).collect();
    let begun = begin(&workers, Duration::from_secs(2));
    assert!(begun.iter().all(|at| at.is_some_and(|at| at < Duration::from_millis(200))), "{begun:?}");
}
