//! Members among those who mean harm: what is said under another's name, in the wrong place, too long or too often.

#![allow(clippy::unwrap_used, reason = "tests stop where something is off")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use coordinator_free::message::{Ban, Close, MEMBERS, MESSAGE_BYTES, Record, Seal};
use coordinator_free::{Config, Input, Load, Member, Message, Output, Reason, Resume, Tuning};
use essaim_jobs::{
    AuthorId, FailureNote, IntervalSet, JobId, Keypair, Leaf, Manifest, NodeId, Receipt, Results, Rows, Signable,
    Signed, bounds, decode, encode,
};

const JOB: JobId = JobId([7; 32]);
const MS: Duration = Duration::from_millis(1);
const ROWS: Rows = Rows { chunks: 100, copies: 2 };

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).public())
}

/// Node 0 is the author's, and its author's key is number 100.
fn member(number: u8) -> Member {
    let config = Config {
        job: JOB,
        rows: ROWS,
        me: node(number),
        keypair: key(number),
        author_node: node(0),
        author: AuthorId(key(100).public()),
        author_key: (number == 0).then(|| key(100)),
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

fn say(member: &mut Member, now: Duration, from: u8, message: Message) -> Vec<Output> {
    member.handle(now, Input::Message { from: node(from), message });
    std::iter::from_fn(|| member.poll()).collect()
}

fn record(seq: u64) -> Record {
    let held = IntervalSet::new();
    Record { job: JOB, seq, group: 0, held: held.clone(), done: held, load: Load::default(), leaving: None }
}

/// The statement with another's name under it.
fn as_if<T>(mut signed: Signed<T>, signer: &Keypair) -> Signed<T> {
    signed.signer = signer.public();
    signed
}

#[test]
fn no_statement_passes_for_another() {
    let domains = [Record::DOMAIN, Seal::DOMAIN, Ban::DOMAIN, Close::DOMAIN, Receipt::DOMAIN, Manifest::DOMAIN];
    assert_eq!(domains.iter().collect::<BTreeSet<_>>().len(), domains.len(), "{domains:?}");
    // Something that the author has signed as a seal, and that is, byte for byte, the word that the job is done.
    #[derive(serde::Serialize)]
    struct Twin(JobId, u8);
    impl Signable for Twin {
        const DOMAIN: &'static str = Seal::DOMAIN;
    }
    let close: Signed<Close> = decode(&encode(&Signed::sign(Twin(JOB, 0), &key(100))), MESSAGE_BYTES).unwrap();
    assert_eq!(close.body, Close { job: JOB, reason: Reason::Done });
    let mut worker = member(1);
    let outputs = say(&mut worker, MS, 2, Message::Close(close));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Ended { .. })), "{outputs:?}");
    assert_eq!(worker.view().rejected, 1);
}

#[test]
fn nobody_is_banned_under_a_false_name() {
    let mut worker = member(1);
    let ban = || Signed::sign(Ban { job: JOB, node: node(2) }, &key(3));
    for forged in [ban(), as_if(ban(), &key(100))] {
        say(&mut worker, MS, 3, Message::Ban(forged));
    }
    assert_eq!(worker.view().rejected, 2);
    say(&mut worker, MS, 2, Message::Taken { ask: 1 });
    assert_eq!(worker.view().rejected, 2, "it is heard");
}

#[test]
fn nobody_else_says_how_far_a_member_has_counted() {
    let mut worker = member(1);
    let forged = as_if(Signed::sign(record(u64::MAX), &key(3)), &key(1));
    say(&mut worker, MS, 3, Message::Record(forged));
    assert_eq!(worker.view().rejected, 1);
    worker.tick(MS * 5_000);
    let said = std::iter::from_fn(|| worker.poll()).find_map(|output| match output {
        Output::Send { message: Message::Record(record), .. } => Some(record.body.seq),
        _ => None,
    });
    assert!(said.unwrap() < 2_000, "{said:?}");
}

#[test]
fn a_flood_is_cut_off_and_forgiven() {
    let mut worker = member(1);
    say(&mut worker, MS, 2, Message::Record(Signed::sign(record(1), &key(2))));
    for _ in 0..10_000 {
        say(&mut worker, MS, 2, Message::Taken { ask: 1 });
    }
    let refused = worker.view().rejected;
    assert!(refused > 5_000, "{refused} of 10,000 messages at once were refused");
    say(&mut worker, MS, 3, Message::Record(Signed::sign(record(1), &key(3))));
    assert_eq!(worker.view().rejected, refused, "others are heard");
    say(&mut worker, MS * 2_000, 2, Message::Taken { ask: 1 });
    assert_eq!(worker.view().rejected, refused, "and so is who has calmed down");
}

#[test]
fn one_digest_after_the_other_is_answered_now_and_then() {
    let mut worker = member(1);
    say(&mut worker, MS, 2, Message::Record(Signed::sign(record(1), &key(2))));
    let digest = || Message::Digest { term: 0, sealed: 0, banned: 0, records: Vec::new() };
    let mut answers = 0;
    for ms in 1..=1_000 {
        let outputs = say(&mut worker, MS * ms, 2, digest());
        answers += outputs.iter().filter(|o| matches!(o, Output::Send { message: Message::Ledger { .. }, .. })).count();
    }
    assert!((1..=6).contains(&answers), "{answers} answers to 1,000 digests in a second");
}

#[test]
fn who_lacks_bans_is_told_them() {
    let mut worker = member(1);
    say(&mut worker, MS, 0, Message::Ban(Signed::sign(Ban { job: JOB, node: node(3) }, &key(100))));
    say(&mut worker, MS, 2, Message::Record(Signed::sign(record(1), &key(2))));
    let outputs = say(&mut worker, MS, 2, Message::Digest { term: 0, sealed: 0, banned: 0, records: Vec::new() });
    let ledger = outputs.into_iter().find_map(|output| match output {
        Output::Send { message: message @ Message::Ledger { .. }, .. } => Some(message),
        _ => None,
    });
    let mut other = member(2);
    say(&mut other, MS, 1, ledger.unwrap());
    say(&mut other, MS, 3, Message::Taken { ask: 1 });
    assert_eq!(other.view().rejected, 1, "node 3 is banned here too");
}

/// Neither more members than a group has, nor words without end.
#[test]
fn what_is_beyond_its_bound_does_not_decode() {
    fn judge<T: serde::Serialize + serde::de::DeserializeOwned + Debug>(what: &str, fits: &T, beyond: &T) {
        assert!(decode::<T>(&encode(fits), MESSAGE_BYTES).is_ok(), "{what}: as much as may be");
        assert!(decode::<T>(&encode(beyond), MESSAGE_BYTES).is_err(), "{what}: one more");
    }
    let digest = |n| Message::Digest { term: 0, sealed: 0, banned: 0, records: vec![([1; 8], 1); n] };
    judge("records of a digest", &digest(MEMBERS), &digest(MEMBERS + 1));
    let (seal, ban) = (Seal { job: JOB, term: 0, slots: IntervalSet::new() }, Ban { job: JOB, node: node(1) });
    let (seal, ban) = (Signed::sign(seal, &key(100)), Signed::sign(ban, &key(100)));
    let own = Signed::sign(record(1), &key(1));
    let ledger = |seals: usize, bans: usize, records: usize| Message::Ledger {
        seals: vec![seal.clone(); seals],
        bans: vec![ban.clone(); bans],
        records: vec![own.clone(); records],
    };
    judge("seals of a ledger", &ledger(MEMBERS, 0, 0), &ledger(MEMBERS + 1, 0, 0));
    judge("bans of a ledger", &ledger(0, MEMBERS, 0), &ledger(0, MEMBERS + 1, 0));
    judge("records of a ledger", &ledger(0, 0, MEMBERS), &ledger(0, 0, MEMBERS + 1));
    let results = |leaves: usize, engine: usize| {
        let slots = (0..leaves as u32).into();
        let receipt = Receipt { job: JOB, slots, root: [0; 32], engine: "e".repeat(engine), cpu_micros: 0 };
        let leaves = vec![Leaf::Inline(bytes::Bytes::new()); leaves];
        Message::Results(Results { receipt: Signed::sign(receipt, &key(1)), leaves })
    };
    judge("leaves", &results(bounds::LEAVES, 0), &results(bounds::LEAVES + 1, 0));
    judge("an engine", &results(0, bounds::ENGINE_BYTES), &results(0, bounds::ENGINE_BYTES + 1));
    let failed = |n| Leaf::Failed(FailureNote { deterministic: true, message: "f".repeat(n) });
    judge("a failure", &failed(bounds::FAILURE_BYTES), &failed(bounds::FAILURE_BYTES + 1));
}
