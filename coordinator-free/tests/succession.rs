//! Who takes over, and who yields: members that are told the same decide the same, each for itself.

#![allow(clippy::unwrap_used, reason = "tests stop where something is off")]

use std::time::Duration;

use coordinator_free::message::{Contact, Record, Seal};
use coordinator_free::{Config, Input, Load, Member, Message, Output, Resume, Tuning};
use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, NodeId, Rows, Signed};

const JOB: JobId = JobId([7; 32]);
const MS: Duration = Duration::from_millis(1);
const ROWS: Rows = Rows { chunks: 1_000, copies: 1 };
/// The workers that are looked at; node 0 is the author's, and the others are known by their records only.
const WORKERS: std::ops::Range<u8> = 1..5;

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).public())
}

fn member(number: u8) -> Member {
    let config = Config {
        job: JOB,
        rows: ROWS,
        me: node(number),
        keypair: key(number),
        author_node: node(0),
        author: AuthorId(key(100).public()),
        author_key: None,
        engine: "test".into(),
        threads: 1,
        seed: [number; 32],
        incarnation: 1_000,
        retries: 1,
        bears: 0,
        resume: Resume::default(),
        distrusted: Vec::new(),
        tuning: Tuning::default(),
    };
    Member::new(config, Duration::ZERO)
}

fn drain(member: &mut Member) -> Vec<Output> {
    std::iter::from_fn(|| member.poll()).collect()
}

fn say(member: &mut Member, now: Duration, from: u8, message: Message) -> Vec<Output> {
    member.handle(now, Input::Message { from: node(from), message });
    drain(member)
}

fn record(number: u8, seq: u64, held: IntervalSet) -> Message {
    Message::Record(page(number, seq, 0, held, None))
}

fn page(number: u8, seq: u64, group: u64, held: IntervalSet, leaving: Option<IntervalSet>) -> Signed<Record> {
    let load = Load { threads: u16::from(number > 0), queued: held.len() as u32, ..Load::default() };
    let record = Record { job: JOB, seq, group, held, done: IntervalSet::new(), load, leaving };
    Signed::sign(record, &key(number))
}

/// All workers, each with the records of all others and of node 9, which holds `held`.
fn group(held: &IntervalSet) -> Vec<Member> {
    let mut members: Vec<Member> = WORKERS.map(member).collect();
    for (me, member) in WORKERS.zip(&mut members) {
        drain(member);
        for other in (0..WORKERS.end).filter(|other| *other != me) {
            say(member, MS, other, record(other, 2_000, IntervalSet::new()));
        }
        say(member, MS, 9, record(9, 2_000, held.clone()));
    }
    members
}

/// Each of `slots` has one holder.
fn judge(members: &[Member], slots: &IntervalSet) {
    let mut all = IntervalSet::new();
    for member in members {
        assert!(all.intersection(member.held()).is_empty(), "{:?} is held twice", all.intersection(member.held()));
        all.union(member.held());
    }
    assert_eq!(&all, slots);
}

#[test]
fn the_dead_have_one_heir() {
    let held: IntervalSet = (0..100).into();
    let mut members = group(&held);
    for member in &mut members {
        member.handle(MS * 2, Input::Down(node(9)));
        for ms in [200, 600, 900] {
            member.tick(MS * ms);
        }
    }
    judge(&members, &held);
}

#[test]
fn where_the_first_heir_does_nothing_the_second_steps_in() {
    let held: IntervalSet = (0..100).into();
    let mut members = group(&held);
    let inherit = |members: &mut [Member], times: std::ops::Range<u32>| {
        for member in members {
            member.handle(MS * 2, Input::Down(node(9)));
            times.clone().for_each(|step| member.tick(MS * 250 * step));
        }
    };
    let mut first = group(&held);
    inherit(&mut first, 0..4);
    members.retain(|member| {
        first.iter().all(|heir| heir.view().members[0].node != member.view().members[0].node || heir.held().is_empty())
    });
    inherit(&mut members, 0..4);
    judge(&members, &IntervalSet::new());
    // The first is there all the time.
    for member in &mut members {
        let me = member.view().members[0].node;
        for other in (0..WORKERS.end).filter(|other| node(*other) != me) {
            say(member, MS * 1_200, other, record(other, 2_001, IntervalSet::new()));
        }
    }
    inherit(&mut members, 5..11);
    judge(&members, &held);
}

/// Node 9 says for so many more seconds that it holds 100 slots and has run half of them.
fn does_not_get_on(heir: &mut Member, seconds: std::ops::Range<u32>) {
    let load = Load { threads: 1, slot_micros: 1_000, queued: 50, ..Load::default() };
    for second in seconds {
        let (held, done, seq) = ((0..100).into(), (0..50).into(), 2_000 + u64::from(second));
        let record = Record { job: JOB, seq, group: 0, held, done, load, leaving: None };
        say(heir, MS * 1_000 * second, 9, Message::Record(Signed::sign(record, &key(9))));
        (0..4).for_each(|pulse| heir.tick(MS * (1_000 * second + 250 * pulse)));
        drain(heir);
    }
}

#[test]
fn who_does_not_get_on_keeps_what_it_has_run() {
    let mut heir = member(1);
    does_not_get_on(&mut heir, 0..40);
    assert_eq!(heir.held(), &(50..100).into());
}

#[test]
fn whose_own_worker_does_not_get_on_judges_nobody() {
    let own = (500..510).into();
    let mut heir = holder(1, &own);
    does_not_get_on(&mut heir, 0..60);
    assert_eq!(heir.held(), &own);
}

#[test]
fn an_heir_inherits_once_for_long() {
    let mut heir = member(1);
    does_not_get_on(&mut heir, 0..24);
    assert_eq!(heir.held(), &(50..100).into());
    // It gives of it to one of another group, of whom it hears no more.
    let split = Message::Split { ask: 5, taken: None, load: Load { threads: 1, ..Load::default() } };
    say(&mut heir, MS * 24_000, 8, split);
    say(&mut heir, MS * 24_001, 8, Message::Taken { ask: 5 });
    let left = heir.held().clone();
    assert!(left.len() < 50);
    does_not_get_on(&mut heir, 25..30);
    assert_eq!(heir.held(), &left);
    // What still comes up after so long has been lost there.
    does_not_get_on(&mut heir, 30..60);
    assert_eq!(heir.held(), &(50..100).into());
}

#[test]
fn who_has_moved_does_not_come_back_by_hearsay() {
    let mut member = member(1);
    let old = page(9, 2_000, 0, (0..100).into(), None);
    say(&mut member, MS, 9, Message::Record(old.clone()));
    say(&mut member, MS * 2, 9, Message::Record(page(9, 2_005, 77, (0..100).into(), None)));
    say(&mut member, MS * 3, 2, Message::Ledger { seals: Vec::new(), bans: Vec::new(), records: vec![old] });
    assert!(member.ledger().record(&node(9)).is_none());
    // It may come back itself.
    say(&mut member, MS * 4, 9, record(9, 2_006, (0..100).into()));
    assert!(member.ledger().record(&node(9)).is_some());
}

#[test]
fn who_leaves_has_one_heir_at_once() {
    let mut members = group(&(0..100).into());
    // Of the other half it had started some, which it ends, and has given some to one of another group.
    let left = |seq| Message::Record(page(9, seq, 0, IntervalSet::new(), Some((50..100).into())));
    for member in &mut members {
        say(member, MS * 2, 9, left(2_001));
        say(member, MS * 3, 9, left(2_002));
    }
    judge(&members, &(50..100).into());
}

/// A worker that was granted `slots`.
fn holder(number: u8, slots: &IntervalSet) -> Member {
    let mut member = member(number);
    drain(&mut member);
    let outputs = say(&mut member, MS, 0, record(0, 2_000, slots.clone()));
    let ask = outputs.iter().find_map(|output| match output {
        Output::Send { message: Message::Split { ask, .. }, .. } => Some(*ask),
        _ => None,
    });
    say(&mut member, MS, 0, Message::Grant { ask: ask.unwrap(), slots: slots.clone() });
    assert_eq!(member.held(), slots);
    member
}

#[test]
fn of_two_holders_one_yields() {
    let slots: IntervalSet = (0..1_000).into();
    let mut pair = [holder(1, &slots), holder(2, &slots)];
    // What is taken is kept for a while, as the other's record may be old.
    for ms in (100..6_000).step_by(100) {
        for (me, other) in [(0, 1), (1, 0)] {
            pair[me].tick(MS * ms);
            for output in drain(&mut pair[me]) {
                if let Output::Send { message: message @ Message::Record(_), .. } = output {
                    pair[other].handle(MS * ms, Input::Message { from: node(me as u8 + 1), message });
                }
            }
        }
    }
    judge(&pair, &slots);
    assert!(pair.iter().all(|member| !member.held().is_empty()), "block by block, so that both go on");
}

#[test]
fn who_leaves_hands_back_what_it_has_not_started() {
    let slots: IntervalSet = (0..1_000).into();
    let mut member = holder(1, &slots);
    member.handle(MS * 2, Input::Started { slot: 0 });
    member.handle(MS * 3, Input::Leave);
    assert_eq!(member.held(), &(0..1).into());
    let outputs = drain(&mut member);
    assert!(outputs.iter().any(|output| matches!(output, Output::Stop(stop) if !stop.contains(&0))), "{outputs:?}");
    member.tick(MS * 5_000);
    let outputs = drain(&mut member);
    let says = |output: &Output| match output {
        Output::Send { message: Message::Record(record), .. } => record.body.leaving == Some((1..1_000).into()),
        _ => false,
    };
    assert!(outputs.iter().any(says), "{outputs:?}");
}

/// A lone worker beside node 9, which holds a hundred slots and dies; when the worker has found that, and what it is to
/// run at once.
fn heir_of_nine() -> (Member, Duration, Vec<Output>) {
    let mut heir = member(1);
    drain(&mut heir);
    say(&mut heir, MS, 0, record(0, 2_000, IntervalSet::new()));
    say(&mut heir, MS, 9, record(9, 2_000, (0..100).into()));
    heir.handle(MS * 2, Input::Down(node(9)));
    let mut outputs = Vec::new();
    for now in (0..100).map(|step| MS * 250 * step) {
        heir.tick(now);
        outputs.extend(drain(&mut heir));
        if heir.held() == &IntervalSet::from(0..100) {
            return (heir, now, outputs);
        }
    }
    panic!("it never inherits");
}

fn runs(outputs: &[Output]) -> IntervalSet {
    let slots = outputs.iter().filter_map(|output| match output {
        Output::Run(slots) => Some(slots.iter().copied()),
        _ => None,
    });
    slots.flatten().collect()
}

#[test]
fn what_is_inherited_is_not_run_before_the_author_has_said_what_is_sealed() {
    let (mut heir, now, outputs) = heir_of_nine();
    assert_eq!(runs(&outputs), IntervalSet::new());
    let seal = Seal { job: JOB, term: 0, slots: (0..90).into() };
    let seals = vec![Signed::sign(seal, &key(100))];
    let outputs = say(&mut heir, now + MS, 0, Message::Ledger { seals, bans: Vec::new(), records: Vec::new() });
    let runs = runs(&outputs);
    assert!(!runs.is_empty() && runs.first() >= Some(90), "{runs:?}");
}

#[test]
fn where_the_author_does_not_answer_what_is_inherited_is_run_after_a_while() {
    let (mut heir, now, _) = heir_of_nine();
    heir.tick(now + MS * 1_000);
    assert!(!runs(&drain(&mut heir)).is_empty());
}

#[test]
fn who_was_asleep_takes_nobody_for_dead() {
    let mut sleeper = member(1);
    say(&mut sleeper, MS, 9, record(9, 2_000, (0..100).into()));
    sleeper.tick(MS * 250);
    sleeper.tick(MS * 300_000);
    let outputs = drain(&mut sleeper);
    let nine = sleeper.view().members.into_iter().find(|member| member.node == node(9)).unwrap();
    assert!(nine.alive);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Ended { .. })), "its author was there all the time");
    // Only then begins the time in which it must be heard.
    (0..20).for_each(|step| sleeper.tick(MS * (300_000 + 250 * step)));
    assert_eq!(sleeper.held(), &(0..100).into());
}

#[test]
fn hearsay_grows_old_on_its_way() {
    let mut member = member(1);
    let far = Contact { node: node(50), group: 77, left_ms: 5_000, members: 0 };
    say(&mut member, MS, 51, Message::Contacts { contacts: vec![far] });
    let outputs = say(&mut member, MS * 4_001, 52, Message::Look);
    let told = outputs.iter().find_map(|output| match output {
        Output::Send { message: Message::Contacts { contacts }, .. } => Some(contacts.clone()),
        _ => None,
    });
    let left = told.unwrap().iter().find(|contact| contact.node == far.node).map(|contact| contact.left_ms);
    assert_eq!(left, Some(1_000));
}
