//! The author goes away and comes back, here or elsewhere: what was run is kept by two, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "tests stop where something is off")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use coordinator_free::{Config, Input, Member, Message, Notice, Output, Reason, Resume, Tuning};
use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, Leaf, NodeId, Rows};

const JOB: JobId = JobId([7; 32]);
const ROWS: Rows = Rows { chunks: 60, copies: 1 };
const STEP: Duration = Duration::from_millis(10);

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).public())
}

/// A few nodes on a perfect network, which run one slot a step each, unless work rests.
struct Swarm {
    now: Duration,
    members: BTreeMap<NodeId, Member>,
    mail: VecDeque<(NodeId, NodeId, Message)>,
    author: u8,
    rests: bool,
    waiting: Vec<(NodeId, u32)>,
    /// How often each slot was run.
    runs: BTreeMap<u32, u32>,
    /// Who has run what; and results that were reported by others.
    ran: BTreeSet<(NodeId, u32)>,
    passed_on: usize,
    sealed: BTreeSet<u32>,
    ended: BTreeMap<NodeId, Reason>,
}

impl Swarm {
    fn new() -> Swarm {
        Swarm {
            now: Duration::ZERO,
            members: BTreeMap::new(),
            mail: VecDeque::new(),
            author: 0,
            rests: false,
            waiting: Vec::new(),
            runs: BTreeMap::new(),
            ran: BTreeSet::new(),
            passed_on: 0,
            sealed: BTreeSet::new(),
            ended: BTreeMap::new(),
        }
    }

    fn join(&mut self, number: u8, resume: Resume) {
        let config = Config {
            job: JOB,
            rows: ROWS,
            me: node(number),
            keypair: key(number),
            author_node: node(self.author),
            author: AuthorId(key(100).public()),
            author_key: (number == self.author).then(|| key(100)),
            engine: "test".into(),
            threads: u16::from(number != self.author),
            seed: [number; 32],
            incarnation: 1_000,
            retries: 1,
            bears: 0,
            resume,
            distrusted: Vec::new(),
            // A short job, in which some results come before the last.
            tuning: Tuning { author_silence: Duration::from_secs(3_600), flush: 10 * STEP, ..Tuning::default() },
        };
        let me = node(number);
        self.members.insert(me, Member::new(config, self.now));
        for other in self.members.keys().copied().filter(|other| *other != me).collect::<Vec<_>>() {
            self.give(other, Input::Up(me));
            self.give(me, Input::Up(other));
        }
    }

    /// Its process is gone.
    fn die(&mut self, number: u8) {
        self.members.remove(&node(number)).unwrap();
        self.waiting.retain(|(at, _)| *at != node(number));
        for other in self.members.keys().copied().collect::<Vec<_>>() {
            self.give(other, Input::Down(node(number)));
        }
    }

    /// The author is at another node now, and all have heard of it.
    fn author_comes_back(&mut self, number: u8, resume: Resume) {
        self.author = number;
        self.sealed.clear();
        self.join(number, resume);
        for other in self.members.keys().copied().collect::<Vec<_>>() {
            self.give(other, Input::Author(node(number)));
        }
    }

    fn give(&mut self, to: NodeId, input: Input) {
        if let Some(member) = self.members.get_mut(&to).filter(|_| !self.ended.contains_key(&to)) {
            member.handle(self.now, input);
            self.carry_out(to);
        }
    }

    fn carry_out(&mut self, me: NodeId) {
        while let Some(output) = self.members.get_mut(&me).and_then(Member::poll) {
            match output {
                Output::Send { to, message } => self.mail.push_back((me, to, message)),
                Output::Gossip(message) => {
                    let others = self.members.keys().filter(|other| **other != me);
                    self.mail.extend(others.map(|other| (me, *other, message.clone())));
                }
                Output::Run(slots) => self.waiting.extend(slots.into_iter().map(|slot| (me, slot))),
                Output::Stop(slots) => self.waiting.retain(|(at, slot)| *at != me || !slots.contains(slot)),
                Output::Collect { slot, worker, .. } => self.give(me, Input::Collected { slot, worker, safe: true }),
                Output::Keep { slot, leaf, .. } => self.give(me, Input::Kept { slot, leaf }),
                Output::Notice(Notice::Sealed { chunk, .. }) => {
                    assert!(self.sealed.insert(chunk), "chunk {chunk} is sealed twice");
                }
                Output::Ended { reason, .. } => drop(self.ended.insert(me, reason)),
                Output::Notice(_) | Output::Release(_) => {}
            }
        }
    }

    /// Lets time go by until it is so; it must be within two minutes.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Swarm) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !is_so(self) {
            assert!(self.now < end, "not in time: {what}");
            self.now += STEP;
            for me in self.members.keys().copied().collect::<Vec<_>>() {
                let member = self.members.get_mut(&me).unwrap();
                if member.deadline().is_some_and(|at| at <= self.now) {
                    member.tick(self.now);
                    self.carry_out(me);
                }
            }
            for (from, to, message) in std::mem::take(&mut self.mail) {
                self.look_at_receipts(&message);
                self.give(to, Input::Message { from, message });
            }
            let mut busy = BTreeSet::new();
            let (run, wait) = std::mem::take(&mut self.waiting).into_iter().partition(|(me, _)| {
                // Each runs one at a time.
                !self.rests && busy.insert(*me)
            });
            self.waiting = wait;
            let run: Vec<(NodeId, u32)> = run;
            for (me, slot) in run {
                *self.runs.entry(slot).or_default() += 1;
                self.ran.insert((me, slot));
                self.give(me, Input::Started { slot });
                let results = vec![(slot, Leaf::Inline(slot.to_le_bytes().to_vec().into()))];
                self.give(me, Input::Finished { results, cpu_micros: 1_000, wall_micros: 1_000 });
            }
        }
    }

    /// Nobody says that its engine has run what another's has.
    fn look_at_receipts(&mut self, message: &Message) {
        let (Message::Results(results) | Message::Deposit(results)) = message else { return };
        for (slot, _) in results.iter().filter(|(slot, _)| !self.ran.contains(&(results.worker(), *slot))) {
            assert_eq!(results.receipt.body.engine, "", "{} has not run {slot}", results.worker().short());
            self.passed_on += 1;
        }
    }

    /// How many living workers say of each slot that they have its result: the least.
    fn least_kept(&self) -> usize {
        let workers = self.members.iter().filter(|(me, _)| **me != node(self.author));
        let done = |me: &NodeId| -> IntervalSet {
            let other = self.members.values().filter_map(|member| member.ledger().record(me)).max_by_key(|r| r.seq);
            other.map(|record| record.done.clone()).unwrap_or_default()
        };
        let done: Vec<IntervalSet> = workers.map(|(me, _)| done(me)).collect();
        (0..ROWS.chunks).map(|slot| done.iter().filter(|done| done.contains(slot)).count()).min().unwrap()
    }

    fn everything_has_ended_well(&self) -> bool {
        self.members.keys().all(|me| self.ended.get(me) == Some(&Reason::Done))
    }
}

/// A swarm whose workers hold all slots and have run none when the author goes.
fn abandoned(workers: std::ops::RangeInclusive<u8>) -> Swarm {
    let mut swarm = Swarm::new();
    swarm.rests = true;
    swarm.join(0, Resume::default());
    workers.for_each(|worker| swarm.join(worker, Resume::default()));
    swarm.until("the workers hold all", |swarm| swarm.members[&node(0)].held().is_empty());
    swarm.die(0);
    swarm.rests = false;
    swarm
}

#[test]
fn what_is_run_while_the_author_is_away_is_kept_by_two_and_outlives_one_of_them() {
    let mut swarm = abandoned(1..=4);
    swarm.until("two have each result", |swarm| swarm.least_kept() >= 2);
    swarm.runs.clear();
    swarm.die(1);
    swarm.until("two have each result again", |swarm| swarm.least_kept() >= 2);
    swarm.die(2);
    swarm.author_comes_back(50, Resume { again: true, term: 1, ..Resume::default() });
    swarm.until("the job is done", Swarm::everything_has_ended_well);
    assert_eq!(swarm.sealed.len(), ROWS.chunks as usize);
    assert!(swarm.runs.is_empty(), "something was run again: {:?}", swarm.runs);
    assert!(swarm.passed_on > 0, "nobody has answered for another");
}

#[test]
fn an_author_that_has_lost_what_it_had_sealed_gets_it_again() {
    let mut swarm = Swarm::new();
    swarm.join(0, Resume::default());
    (1..=3).for_each(|worker| swarm.join(worker, Resume::default()));
    swarm.until("some are sealed", |swarm| swarm.sealed.len() >= 20);
    assert!(swarm.ended.is_empty(), "all is done already");
    swarm.die(0);
    swarm.author_comes_back(50, Resume { again: true, term: 1, ..Resume::default() });
    swarm.until("the job is done", Swarm::everything_has_ended_well);
    assert_eq!(swarm.sealed.len(), ROWS.chunks as usize);
}

#[test]
fn an_author_that_comes_back_elsewhere_with_what_it_had_runs_none_of_it_again() {
    let mut swarm = Swarm::new();
    swarm.join(0, Resume::default());
    (1..=3).for_each(|worker| swarm.join(worker, Resume::default()));
    swarm.until("some are sealed", |swarm| swarm.sealed.len() >= 20);
    assert!(swarm.ended.is_empty(), "all is done already");
    let sealed: IntervalSet = swarm.sealed.iter().copied().collect();
    swarm.die(0);
    swarm.author_comes_back(50, Resume { again: true, term: 1, sealed: sealed.clone(), ..Resume::default() });
    swarm.until("the job is done", Swarm::everything_has_ended_well);
    assert_eq!(swarm.sealed.len() as u64 + sealed.len(), u64::from(ROWS.chunks));
    assert!(sealed.iter().all(|slot| swarm.runs[&slot] == 1), "{:?}", swarm.runs);
}

#[test]
fn an_author_that_begins_with_some_sealed_has_only_the_others_run() {
    for left in [1, 7, ROWS.chunks - 1] {
        let mut swarm = Swarm::new();
        let sealed: IntervalSet = (0..ROWS.chunks).filter(|slot| (slot * 37) % ROWS.chunks >= left).collect();
        swarm.join(0, Resume { sealed: sealed.clone(), ..Resume::default() });
        assert_eq!(swarm.members[&node(0)].held().len(), u64::from(left));
        (1..=3).for_each(|worker| swarm.join(worker, Resume::default()));
        swarm.until("the job is done", Swarm::everything_has_ended_well);
        assert_eq!(swarm.sealed.len(), left as usize);
        assert!(swarm.runs.keys().all(|slot| !sealed.contains(*slot)), "{:?}", swarm.runs);
    }
}
