//! Members without a network: what one does with what it is told, right and wrong.

#![allow(clippy::unwrap_used, reason = "tests stop where something is off")]

use std::time::Duration;

use bytes::Bytes;
use coordinator_free::ledger::Ledger;
use coordinator_free::message::{Ban, Close, DISTRUSTED, MESSAGE_BYTES, Record, Seal};
use coordinator_free::{Config, Input, Load, Member, Message, Notice, Output, Reason, Resume, Tuning};
use essaim_jobs::{
    AuthorId, FailureNote, IntervalSet, JobId, Keypair, Leaf, NodeId, Receipt, Results, Rows, Signed, decode, encode,
};
use proptest::prelude::*;

const JOB: JobId = JobId([7; 32]);
const MS: Duration = Duration::from_millis(1);

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).public())
}

fn set(spans: &[(u32, u32)]) -> IntervalSet {
    let mut set = IntervalSet::new();
    spans.iter().for_each(|(start, end)| set.insert(*start..*end));
    set
}

/// Node 0 is the author's, and its author's key is number 100.
fn config(number: u8, threads: u16, rows: Rows) -> Config {
    Config {
        job: JOB,
        rows,
        me: node(number),
        keypair: key(number),
        author_node: node(0),
        author: AuthorId(key(100).public()),
        author_key: (number == 0).then(|| key(100)),
        engine: "test".into(),
        threads,
        seed: [number; 32],
        incarnation: 1_000,
        retries: 1,
        bears: 0,
        resume: Resume::default(),
        distrusted: Vec::new(),
        tuning: Tuning::default(),
    }
}

fn member(number: u8, threads: u16, rows: Rows) -> Member {
    Member::new(config(number, threads, rows), Duration::ZERO)
}

fn say(member: &mut Member, now: Duration, from: u8, message: Message) -> Vec<Output> {
    member.handle(now, Input::Message { from: node(from), message });
    drain(member)
}

fn drain(member: &mut Member) -> Vec<Output> {
    std::iter::from_fn(|| member.poll()).collect()
}

fn record(number: u8, seq: u64, held: IntervalSet, done: IntervalSet, load: Load) -> Signed<Record> {
    Signed::sign(Record { job: JOB, seq, group: 0, held, done, load, leaving: None }, &key(number))
}

fn results(number: u8, slots: &IntervalSet, leaf: impl Fn(u32) -> Leaf) -> Message {
    let leaves: Vec<Leaf> = slots.iter().map(leaf).collect();
    let root = Receipt::root(&leaves);
    let receipt = Receipt { job: JOB, slots: slots.clone(), root, engine: String::new(), cpu_micros: 1 };
    Message::Results(Results { receipt: Signed::sign(receipt, &key(number)), leaves })
}

fn right(_slot: u32) -> Leaf {
    Leaf::Inline(Bytes::from_static(b"right"))
}

fn granted(outputs: &[Output]) -> Option<(u64, IntervalSet)> {
    outputs.iter().find_map(|output| match output {
        Output::Send { message: Message::Grant { ask, slots }, .. } => Some((*ask, slots.clone())),
        _ => None,
    })
}

/// The author's member, after node 1 has taken all of the first row.
fn author_of(rows: Rows) -> Member {
    let mut author = member(0, 0, rows);
    assert!(granted(&say(&mut author, MS, 1, split(5))).is_some());
    say(&mut author, MS, 1, Message::Taken { ask: 5 });
    author
}

fn idle(threads: u16) -> Load {
    Load { threads, ..Load::default() }
}

fn split(ask: u64) -> Message {
    Message::Split { ask, taken: None, load: idle(1) }
}

const ROWS: Rows = Rows { chunks: 100, copies: 1 };

#[test]
fn a_grant_is_kept_aside_until_taken() {
    let mut author = member(0, 0, ROWS);
    drain(&mut author);
    let first = granted(&say(&mut author, MS, 1, split(5))).unwrap();
    assert_eq!(first, (5, set(&[(0, 100)])), "who has no threads gives all to the only one it knows");
    // Nothing of it is given to anyone else, and asking again gives the same again.
    assert_eq!(granted(&say(&mut author, MS, 2, split(9))), None);
    let again = granted(&say(&mut author, MS, 1, split(5)));
    assert_eq!(again, Some(first));
    assert_eq!(author.view().members[0].held, 100);
    say(&mut author, MS, 1, Message::Taken { ask: 4 });
    assert_eq!(author.view().members[0].held, 100, "that was another asking");
    say(&mut author, MS, 1, Message::Taken { ask: 5 });
    assert_eq!(author.view().members[0].held, 0);
}

#[test]
fn a_chunk_that_failed_for_good_is_given_up_if_the_job_bears_it() {
    let note = FailureNote { deterministic: true, message: "no".into() };
    let failed = |_| Leaf::Failed(note.clone());
    let mut author = Member::new(Config { bears: 1, ..config(0, 0, ROWS) }, Duration::ZERO);
    say(&mut author, MS, 1, split(5));
    say(&mut author, MS, 1, Message::Taken { ask: 5 });
    let outputs = say(&mut author, MS * 2, 1, results(1, &set(&[(3, 4)]), failed));
    let written_off = outputs
        .iter()
        .any(|output| matches!(output, Output::Collect { chunk: 3, leaf: Leaf::Failed(said), .. } if *said == note));
    assert!(written_off && author.sealed().is_empty(), "it is not safe yet: {outputs:?}");
    // Whoever says something else now comes too late.
    say(&mut author, MS * 3, 2, results(2, &set(&[(3, 4)]), right));
    let mut collected = |slot, worker| {
        author.handle(MS * 4, Input::Collected { slot, worker, safe: true });
        drain(&mut author)
    };
    assert!(!collected(3, node(2)).iter().any(|output| matches!(output, Output::Notice(_))));
    let outputs = collected(3, node(1));
    let told = Notice::GivenUp { chunk: 3, worker: node(1), note: note.clone() };
    assert!(outputs.iter().any(|output| matches!(output, Output::Notice(notice) if *notice == told)), "{outputs:?}");
    assert_eq!(*author.sealed(), set(&[(3, 4)]));
    let outputs = say(&mut author, MS * 5, 1, results(1, &set(&[(4, 5)]), failed));
    assert!(matches!(outputs.last(), Some(Output::Ended { reason: Reason::Failed, .. })), "one more is too many");

    let resume = Resume { sealed: set(&[(3, 4)]), given_up: 1, ..Resume::default() };
    let mut again = Member::new(Config { bears: 1, resume, ..config(0, 0, ROWS) }, Duration::ZERO);
    let outputs = say(&mut again, MS, 1, results(1, &set(&[(4, 5)]), failed));
    assert!(matches!(outputs.last(), Some(Output::Ended { reason: Reason::Failed, .. })), "it had borne one before");
}

#[test]
fn a_chunk_that_failed_waits_for_somebody_else() {
    for deterministic in [false, true] {
        let failed = |_| Leaf::Failed(FailureNote { deterministic, message: "no".into() });
        let ends = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Ended { .. }));
        let mut author = author_of(ROWS);
        let outputs = say(&mut author, MS * 2, 1, results(1, &set(&[(0, 1)]), failed));
        assert_eq!(ends(&outputs), deterministic, "it fails everywhere: {deterministic}");
        let outputs = (1..280_u32).flat_map(|pulse| {
            author.tick(MS * 250 * pulse);
            drain(&mut author)
        });
        assert_eq!(ends(&outputs.collect::<Vec<_>>()), !deterministic);
    }
}

#[test]
fn the_next_asking_says_what_was_taken() {
    for (taken, held) in [(Some(5), 0), (None, 100)] {
        let mut author = member(0, 0, ROWS);
        say(&mut author, MS, 1, split(5));
        // Its word that it has it is on its way still, or lost.
        say(&mut author, MS, 1, Message::Split { ask: 6, taken, load: idle(1) });
        assert_eq!(author.view().members[0].held, held, "{taken:?}");
    }
}

#[test]
fn a_grant_not_taken_comes_back() {
    let mut author = member(0, 0, ROWS);
    say(&mut author, MS, 1, split(5));
    author.tick(MS * 800);
    drain(&mut author);
    let again = granted(&say(&mut author, MS * 801, 2, split(9)));
    assert_eq!(again, Some((9, set(&[(0, 100)]))));
}

#[test]
fn a_record_that_shows_the_grant_acknowledges_it() {
    let mut author = member(0, 0, ROWS);
    say(&mut author, MS, 1, split(5));
    let shown = record(1, 2_000, set(&[(0, 100)]), IntervalSet::new(), idle(1));
    say(&mut author, MS, 1, Message::Record(shown));
    assert_eq!(author.view().members[0].held, 0);
}

#[test]
fn only_grants_that_were_asked_for_are_taken() {
    let mut worker = member(1, 1, ROWS);
    let author = record(0, 2_000, set(&[(0, 100)]), IntervalSet::new(), Load { queued: 100, ..idle(0) });
    let outputs = say(&mut worker, MS, 0, Message::Record(author));
    let ask = outputs.iter().find_map(|output| match output {
        Output::Send { to, message: Message::Split { ask, .. } } if *to == node(0) => Some(*ask),
        _ => None,
    });
    let ask = ask.expect("it has nothing, and the author has much");
    let refused = [
        (2, Message::Grant { ask, slots: set(&[(0, 10)]) }),
        (0, Message::Grant { ask: ask + 1, slots: set(&[(0, 10)]) }),
        (0, Message::Grant { ask, slots: set(&[(0, 101)]) }),
    ];
    for (number, (from, message)) in refused.into_iter().enumerate() {
        say(&mut worker, MS * 2, from, message);
        assert_eq!(worker.view().rejected, number as u64 + 1);
        assert_eq!(worker.view().members[0].held, 0);
    }
    let outputs = say(&mut worker, MS * 3, 0, Message::Grant { ask, slots: set(&[(90, 100)]) });
    assert!(outputs.iter().any(|o| matches!(o, Output::Run(slots) if slots.first() == Some(&90))));
    let taken = |o: &Output| matches!(o, Output::Send { message: Message::Taken { ask: a }, .. } if *a == ask);
    assert!(outputs.iter().any(taken));
    // An echo of the grant is acknowledged again and changes nothing.
    let outputs = say(&mut worker, MS * 4, 0, Message::Grant { ask, slots: set(&[(90, 100)]) });
    assert!(outputs.iter().any(taken));
    assert_eq!(worker.view().members[0].held, 10);
}

#[test]
fn who_has_run_a_chunk_does_not_check_it() {
    let rows = Rows { chunks: 100, copies: 2 };
    let mut author = member(0, 0, rows);
    let (ask, slots) = granted(&say(&mut author, MS, 1, split(5))).unwrap();
    assert_eq!(slots, set(&[(0, 100)]), "one copy of each");
    say(&mut author, MS, 1, Message::Taken { ask });
    let (_, none) = (0, say(&mut author, MS, 2, split(6)));
    assert_eq!(granted(&none), None, "nothing is to be checked that nobody has run");
    say(&mut author, MS, 1, results(1, &set(&[(0, 10)]), right));
    let more = say(&mut author, MS, 1, split(6));
    assert_eq!(granted(&more), None, "what is left are copies of what it has run");
    let (_, checks) = granted(&say(&mut author, MS, 2, split(7))).unwrap();
    assert!(checks.iter().all(|slot| slot >= 100 && rows.chunk(slot) < 10), "{checks:?}");
}

#[test]
fn short_checks_are_given_many_at_a_time() {
    let rows = Rows { chunks: 100, copies: 2 };
    for (slot_micros, least) in [(10, 99), (1_000_000, 1)] {
        let mut author = author_of(rows);
        say(&mut author, MS, 1, results(1, &set(&[(0, 100)]), right));
        for other in 2..20 {
            say(&mut author, MS, other, Message::Record(record(other, 9, set(&[]), set(&[]), idle(1))));
        }
        let load = Load { slot_micros, ..idle(1) };
        let outputs = say(&mut author, MS, 2, Message::Split { ask: 6, taken: None, load });
        let given = granted(&outputs).unwrap().1.len();
        assert!((least..least + 4).contains(&given), "{given} of {slot_micros} us");
    }
}

#[test]
fn to_check_what_one_has_run_is_to_say_it_again() {
    let mut worker = member(1, 1, Rows { chunks: 1, copies: 2 });
    let asked = |outputs: &[Output]| {
        let asks = outputs.iter().filter_map(|output| match output {
            Output::Send { message: Message::Split { ask, .. }, .. } => Some(*ask),
            _ => None,
        });
        asks.last().unwrap()
    };
    let (check, load) = (set(&[(1, 2)]), Load { queued: 9, ..idle(0) });
    let outputs = say(&mut worker, MS, 0, Message::Record(record(0, 9, set(&[(0, 2)]), set(&[]), load)));
    say(&mut worker, MS * 2, 0, Message::Grant { ask: asked(&outputs), slots: check.clone() });
    worker.handle(MS * 3, Input::Finished { results: vec![(1, right(1))], cpu_micros: 1, wall_micros: 1 });
    let outputs = drain(&mut worker);
    // The author that counted it was another, of an earlier life.
    say(&mut worker, MS * 4, 0, Message::Counted { slots: check.clone() });
    let outputs = say(&mut worker, MS * 5, 0, Message::Grant { ask: asked(&outputs), slots: check });
    let again = |output: &Output| matches!(output, Output::Send { message: Message::Results(_), .. });
    assert!(outputs.iter().any(again), "{outputs:?}");
}

#[test]
fn a_member_compares_with_its_fellows() {
    let mut worker = member(1, 1, ROWS);
    let mut compared = 0;
    for round in 1..20 {
        let now = MS * 500 * round;
        // They are heard, so that none is asked only whether it is there.
        for fellow in [0, 2] {
            let record = record(fellow, u64::from(round), set(&[]), set(&[]), idle(1));
            say(&mut worker, now, fellow, Message::Record(record));
        }
        worker.tick(now);
        let digest =
            |output: &&Output| matches!(output, Output::Send { to, message: Message::Digest { .. } } if *to == node(2));
        compared += drain(&mut worker).iter().filter(digest).count();
    }
    assert!(compared > 0);
}

#[test]
fn a_check_counts_only_from_the_one_that_was_asked() {
    let rows = Rows { chunks: 1, copies: 2 };
    let mut author = author_of(rows);
    say(&mut author, MS, 1, results(1, &set(&[(0, 1)]), right));
    say(&mut author, MS, 2, split(6));
    let unasked = say(&mut author, MS, 3, results(3, &set(&[(1, 2)]), right));
    assert!(!unasked.iter().any(|output| matches!(output, Output::Collect { .. })), "{unasked:?}");
    let asked = say(&mut author, MS, 2, results(2, &set(&[(1, 2)]), right));
    assert!(asked.iter().any(|output| matches!(output, Output::Collect { .. })), "{asked:?}");
}

#[test]
fn a_chunk_is_sealed_when_its_output_is_safe() {
    let mut author = member(0, 0, Rows { chunks: 1, copies: 1 });
    drain(&mut author);
    let outputs = say(&mut author, MS, 1, results(1, &set(&[(0, 1)]), right));
    assert!(matches!(outputs[..], [Output::Collect { slot: 0, chunk: 0, .. }]), "{outputs:?}");
    assert!(say(&mut author, MS, 2, results(2, &set(&[(0, 1)]), right)).is_empty(), "once is enough");
    author.handle(MS, Input::Collected { slot: 0, worker: node(1), safe: true });
    let outputs = drain(&mut author);
    assert!(
        outputs.iter().any(|o| matches!(o, Output::Notice(Notice::Sealed { chunk: 0, worker }) if *worker == node(1)))
    );
    assert!(matches!(outputs.last(), Some(Output::Ended { reason: Reason::Done, .. })));
}

#[test]
fn an_output_that_is_lost_is_run_again_elsewhere() {
    let mut author = member(0, 0, Rows { chunks: 1, copies: 1 });
    say(&mut author, MS, 1, split(5));
    say(&mut author, MS, 1, Message::Taken { ask: 5 });
    say(&mut author, MS, 1, results(1, &set(&[(0, 1)]), right));
    author.handle(MS, Input::Collected { slot: 0, worker: node(1), safe: false });
    assert_eq!(author.view().members[0].held, 1);
    assert_eq!(granted(&say(&mut author, MS, 1, split(6))), None);
    assert!(granted(&say(&mut author, MS, 2, split(6))).is_some());
}

fn wrong(_slot: u32) -> Leaf {
    Leaf::Inline(Bytes::from_static(b"wrong"))
}

/// Has `number` check whatever is open, and say `leaf` of it.
fn check(author: &mut Member, number: u8, ask: u64, leaf: impl Fn(u32) -> Leaf) -> Vec<Output> {
    let (ask, slots) = granted(&say(author, MS, number, split(ask))).unwrap();
    say(author, MS, number, Message::Taken { ask });
    say(author, MS, number, results(number, &slots, leaf))
}

fn collected(outputs: &[Output]) -> Option<(u32, NodeId)> {
    outputs.iter().find_map(|output| match output {
        Output::Collect { slot, worker, .. } => Some((*slot, *worker)),
        _ => None,
    })
}

#[test]
fn two_copies_need_two_workers_that_agree() {
    let mut author = author_of(Rows { chunks: 1, copies: 2 });
    let first = say(&mut author, MS, 1, results(1, &set(&[(0, 1)]), right));
    assert_eq!(collected(&first), None, "one voice is not enough");
    // The same worker's second copy counts for nothing.
    let again = say(&mut author, MS, 1, results(1, &set(&[(1, 2)]), right));
    assert_eq!(collected(&again), None);
    let (slot, worker) = collected(&check(&mut author, 2, 6, right)).unwrap();
    author.handle(MS, Input::Collected { slot, worker, safe: true });
    assert!(drain(&mut author).iter().any(|output| matches!(output, Output::Ended { reason: Reason::Done, .. })));
}

#[test]
fn a_third_settles_what_two_disagree_on() {
    let mut author = author_of(Rows { chunks: 1, copies: 2 });
    say(&mut author, MS, 1, results(1, &set(&[(0, 1)]), wrong));
    assert_eq!(collected(&check(&mut author, 2, 6, right)), None);
    assert_eq!(granted(&say(&mut author, MS, 2, split(7))), None, "it had its say");
    let (slot, worker) = collected(&check(&mut author, 3, 6, right)).unwrap();
    assert_eq!(worker, node(2));
    author.handle(MS, Input::Collected { slot, worker, safe: true });
    let outputs = drain(&mut author);
    let told = Notice::Outvoted { chunk: 0, workers: vec![node(1)] };
    assert!(outputs.iter().any(|output| matches!(output, Output::Notice(notice) if *notice == told)), "{outputs:?}");
    assert!(outputs.iter().any(|output| matches!(output, Output::Ended { reason: Reason::Done, .. })));
}

#[test]
fn who_was_found_lying_before_is_given_nothing_and_has_no_voice() {
    let liars = vec![node(1), node(0)];
    let mut author = Member::new(Config { distrusted: liars, ..config(0, 0, ROWS) }, Duration::ZERO);
    let told = |output: &Output| matches!(output, Output::Gossip(Message::Ban(ban)) if ban.body.node == node(1));
    let outputs = drain(&mut author);
    assert_eq!(outputs.iter().filter(|output| told(output)).count(), 1, "everyone is told");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Notice(_))), "the person knows");
    assert_eq!(author.ledger().bans().len(), 1, "an author does not ban itself");

    let slots = set(&[(0, 5)]);
    for message in [split(5), results(1, &slots, right)] {
        let rejected = author.view().rejected;
        let outputs = say(&mut author, MS, 1, message);
        assert_eq!(granted(&outputs), None);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Collect { .. })), "its word is worth nothing");
        assert_eq!(author.view().rejected, rejected + 1);
    }
    assert!(granted(&say(&mut author, 2 * MS, 2, split(6))).is_some(), "others are given what there is");

    // Whoever comes later hears of it, too, and gives it nothing.
    let digest = Message::Digest { term: 0, sealed: 0, banned: 0, records: Vec::new() };
    let answers = say(&mut author, 3 * MS, 3, digest);
    let is_ledger = |output: &Output| matches!(output, Output::Send { message: Message::Ledger { bans, .. }, .. } if bans.len() == 1);
    let Some(Output::Send { message, .. }) = answers.into_iter().find(is_ledger) else { panic!("nothing of it") };
    let mut other = member(3, 1, ROWS);
    say(&mut other, MS, 0, message);
    assert_eq!(granted(&say(&mut other, 2 * MS, 1, split(7))), None);
    assert_eq!(other.view().rejected, 1);
}

#[test]
fn so_many_may_be_banned_from_the_start_and_no_more() {
    let key = |n: u16| {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        NodeId(Keypair::from_seed(&seed).public())
    };
    let distrusted = (0..1_000).map(key).collect();
    let author = Member::new(Config { distrusted, ..config(0, 0, ROWS) }, Duration::ZERO);
    assert_eq!(author.ledger().bans().len(), DISTRUSTED);
}

#[test]
fn who_is_outvoted_again_and_again_is_banned() {
    let mut author = author_of(Rows { chunks: 4, copies: 2 });
    let shown = record(1, 2_000, set(&[(0, 4)]), IntervalSet::new(), idle(1));
    say(&mut author, MS, 1, Message::Record(shown));
    say(&mut author, MS, 1, results(1, &set(&[(0, 4)]), wrong));
    let mut outputs = Vec::new();
    for ask in 1..20 {
        for number in [2, 3] {
            if granted(&say(&mut author, MS, number, split(2 * ask))).is_some() {
                let more = check(&mut author, number, 2 * ask, right);
                if let Some((slot, worker)) = collected(&more) {
                    author.handle(MS, Input::Collected { slot, worker, safe: true });
                    outputs.extend(drain(&mut author));
                }
            }
        }
    }
    let ban = outputs.iter().find_map(|output| match output {
        Output::Gossip(Message::Ban(ban)) => Some(ban.clone()),
        _ => None,
    });
    let ban = ban.unwrap();
    assert_eq!(ban.body.node, node(1));
    // Elsewhere too it is as good as gone.
    let mut worker = member(2, 1, Rows { chunks: 4, copies: 2 });
    say(&mut worker, MS, 0, Message::Ban(ban.clone()));
    let before = worker.view().rejected;
    say(&mut worker, MS, 1, split(1));
    assert_eq!(worker.view().rejected, before + 1);
    let forged = Signed::sign(Ban { job: JOB, node: node(3) }, &key(3));
    say(&mut worker, MS, 3, Message::Ban(forged));
    assert_eq!(worker.view().rejected, before + 2);
}

#[test]
fn forged_statements_change_nothing() {
    let mut worker = member(1, 1, ROWS);
    let all = set(&[(0, 100)]);
    let outsider = key(50);
    let mut forged_record = Signed::sign(
        Record { job: JOB, seq: 9, group: 0, held: all.clone(), done: all.clone(), load: idle(1), leaving: None },
        &outsider,
    );
    forged_record.signer = node(2).0;
    let mut forged_seal = Signed::sign(Seal { job: JOB, term: 0, slots: all.clone() }, &outsider);
    let mut forged_close = Signed::sign(Close { job: JOB, reason: Reason::Done }, &outsider);
    let sent = [Message::Seal(forged_seal.clone()), Message::Close(forged_close.clone())];
    forged_seal.signer = key(100).public();
    forged_close.signer = key(100).public();
    let more = [
        Message::Record(forged_record),
        Message::Seal(forged_seal),
        Message::Close(forged_close),
        Message::Counted { slots: all.clone() },
        Message::Refused { slots: all },
    ];
    for (number, message) in sent.into_iter().chain(more).enumerate() {
        let outputs = say(&mut worker, MS, 3, message);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Ended { .. })));
        assert_eq!(worker.view().rejected, number as u64 + 1);
    }
    assert_eq!((worker.view().sealed, worker.view().members.len()), (0, 1));
    let close = Signed::sign(Close { job: JOB, reason: Reason::Cancelled }, &key(100));
    let outputs = say(&mut worker, MS, 3, Message::Close(close));
    assert!(
        matches!(outputs.last(), Some(Output::Ended { reason: Reason::Cancelled, .. })),
        "anybody may pass on the author's word"
    );
    assert_eq!(worker.deadline(), None);
}

#[test]
fn results_under_another_name_are_refused() {
    let mut author = member(0, 0, ROWS);
    drain(&mut author);
    assert!(say(&mut author, MS, 2, results(1, &set(&[(0, 1)]), right)).is_empty());
    let Message::Results(mut stolen) = results(2, &set(&[(0, 1)]), right) else { unreachable!() };
    stolen.receipt.signer = node(1).0;
    assert!(say(&mut author, MS, 1, Message::Results(stolen)).is_empty());
    let Message::Results(mut other) = results(1, &set(&[(0, 1)]), right) else { unreachable!() };
    other.leaves[0] = Leaf::Inline(Bytes::from_static(b"other"));
    assert!(say(&mut author, MS, 1, Message::Results(other)).is_empty());
    assert_eq!(author.view().rejected, 3);
}

#[test]
fn a_hundred_thousand_trivial_slots_are_run_in_few_outputs() {
    let rows = Rows { chunks: 100_000, copies: 1 };
    let mut author = member(0, 2, rows);
    let (mut now, mut runs, mut sealed) = (Duration::ZERO, 0, 0);
    let mut waiting = Vec::new();
    loop {
        let mut collects = Vec::new();
        for output in drain(&mut author) {
            match output {
                Output::Run(slots) => {
                    runs += 1;
                    waiting.extend(slots);
                }
                Output::Collect { slot, worker, .. } => collects.push((slot, worker)),
                Output::Notice(Notice::Sealed { .. }) => sealed += 1,
                Output::Ended { reason, .. } => {
                    assert_eq!((reason, sealed), (Reason::Done, 100_000));
                    assert!(runs < 400, "{runs} hand-overs to the worker");
                    return;
                }
                _ => {}
            }
        }
        for (slot, worker) in collects {
            author.handle(now, Input::Collected { slot, worker, safe: true });
        }
        let results: Vec<_> = waiting.drain(..).map(|slot| (slot, right(slot))).collect();
        let micros = results.len() as u64 * 10;
        now += Duration::from_micros(micros / 2) + Duration::from_micros(1);
        if results.is_empty() {
            now += MS * 10;
        } else {
            author.handle(now, Input::Finished { results, cpu_micros: micros, wall_micros: micros });
        }
        author.tick(now);
    }
}

/// Statements of three members and the author, some of them conflicting.
fn statement() -> impl Strategy<Value = Message> {
    let slots = || (0_u32..40, 0_u32..12).prop_map(|(start, width)| set(&[(start, (start + width).min(40))]));
    prop_oneof![
        (1_u8..4, 1_u64..6, slots(), slots(), 0_u32..9).prop_map(|(owner, seq, held, done, queued)| {
            Message::Record(record(owner, seq, held, done, Load { queued, ..idle(2) }))
        }),
        (0_u64..3, slots())
            .prop_map(|(term, slots)| Message::Seal(Signed::sign(Seal { job: JOB, term, slots }, &key(100)))),
    ]
}

fn merged<'a>(statements: impl IntoIterator<Item = &'a Message>) -> Ledger {
    let mut ledger = Ledger::new(JOB, AuthorId(key(100).public()), Rows { chunks: 40, copies: 1 }, 0);
    for statement in statements {
        match statement {
            Message::Record(record) => drop(ledger.merge_record(record).unwrap()),
            Message::Seal(seal) => drop(ledger.merge_seal(seal).unwrap()),
            _ => unreachable!(),
        }
    }
    ledger
}

/// Anything at all that could be said, by anyone.
fn utterance() -> impl Strategy<Value = (u8, Message)> {
    let slots = || {
        proptest::collection::vec((0_u32..200, 1_u32..60), 0..4).prop_map(|spans| {
            let spans: Vec<_> = spans.into_iter().map(|(start, width)| (start, start + width)).collect();
            set(&spans)
        })
    };
    let load = || {
        (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(threads, slot_micros, queued, running, blocked)| Load { threads, slot_micros, queued, running, blocked },
        )
    };
    let ask = || 999_u64..1_006;
    let said = prop_oneof![
        3 => (1_u8..6, any::<u64>(), slots(), slots(), load(), proptest::option::of(slots())).prop_map(|(owner, seq, held, done, load, leaving)| {
            Message::Record(Signed::sign(Record { job: JOB, seq, group: 0, held, done, load, leaving }, &key(owner)))
        }),
        1 => slots().prop_map(|slots| Message::Seal(Signed::sign(Seal { job: JOB, term: 0, slots }, &key(100)))),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(sealed, seq)| Message::Digest { term: seq % 3, sealed, banned: 0, records: vec![([2; 8], seq)] }),
        3 => (ask(), load()).prop_map(|(ask, load)| Message::Split { ask, taken: None, load }),
        3 => (ask(), slots()).prop_map(|(ask, slots)| Message::Grant { ask, slots }),
        2 => ask().prop_map(|ask| Message::Taken { ask }),
        2 => (ask(), slots()).prop_map(|(ask, slots)| Message::Duplicate { ask, slots }),
        1 => (ask(), load()).prop_map(|(ask, load)| Message::Nothing { ask, load }),
        2 => (1_u8..6, slots()).prop_map(|(worker, slots)| results(worker, &slots, right)),
        1 => slots().prop_map(|slots| Message::Counted { slots }),
        1 => slots().prop_map(|slots| Message::Refused { slots }),
    ];
    (0_u8..6, said)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        statements in proptest::collection::vec(statement(), 0..12),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let one = merged(&statements);
        let mut shuffled = statements.clone();
        shuffled.rotate_left(if statements.is_empty() { 0 } else { order.index(statements.len()) });
        shuffled.sort_by_key(|statement| blake3::hash(&[seed.to_le_bytes().as_slice(), &encode(statement)].concat()).as_bytes()[0]);
        let other = merged(&shuffled);
        let twice = merged(statements.iter().chain(&shuffled));
        for ledger in [&other, &twice] {
            prop_assert_eq!(one.records(), ledger.records());
            prop_assert_eq!(one.sealed(), ledger.sealed());
        }
        // Two halves merged apart and then together are the whole.
        let (left, right) = statements.split_at(statements.len() / 2);
        let (left, right) = (merged(left), merged(right));
        let halves: Vec<Message> = [&right, &left]
            .into_iter()
            .flat_map(|half| {
                let records = half.records().values().cloned().map(Message::Record);
                records.chain(half.seals().iter().cloned().map(Message::Seal)).collect::<Vec<_>>()
            })
            .collect();
        let joined = merged(&halves);
        prop_assert_eq!(one.records(), joined.records());
        prop_assert_eq!(one.sealed(), joined.sealed());
    }

    #[test]
    fn nothing_that_is_said_makes_a_member_panic(
        said in proptest::collection::vec((utterance(), 0_u64..800), 1..60),
        author in any::<bool>(),
        copies in 1_u8..4,
        threads in 0_u16..4,
    ) {
        let rows = Rows { chunks: 60, copies };
        let mut member = member(u8::from(!author), threads, rows);
        let mut now = Duration::ZERO;
        for ((from, message), wait) in said {
            now += MS * wait as u32;
            let outputs = say(&mut member, now, from, message);
            for output in outputs {
                match output {
                    Output::Run(slots) => {
                        prop_assert!(slots.iter().all(|slot| *slot < rows.slots()));
                        for slot in slots.iter().step_by(2) {
                            member.handle(now, Input::Started { slot: *slot });
                        }
                        let results = slots.iter().step_by(3).map(|slot| (*slot, right(*slot))).collect();
                        member.handle(now, Input::Finished { results, cpu_micros: 9, wall_micros: 9 });
                    }
                    Output::Collect { slot, worker, .. } => {
                        member.handle(now, Input::Collected { slot, worker, safe: slot % 4 > 0 });
                    }
                    Output::Send { message, .. } | Output::Gossip(message) => {
                        let bytes = encode(&message);
                        prop_assert_eq!(decode::<Message>(&bytes, MESSAGE_BYTES).unwrap(), message);
                    }
                    _ => {}
                }
            }
            member.tick(now);
        }
    }

    #[test]
    fn bytes_of_any_kind_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..14) {
        let _ = decode::<Message>(&bytes, MESSAGE_BYTES);
        let _ = decode::<Message>(&[&[kind], &bytes[..]].concat(), MESSAGE_BYTES);
    }
}
