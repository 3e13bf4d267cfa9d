//! Two members of one job, what is said to them, and how long they take over it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_free::message::{Record, Seal, initials};
use coordinator_free::{Config, Input, Load, Member, Message, Output, Resume, Tuning};
use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, Leaf, NodeId, Receipt, Results, Rows, Signed};

/// Chunks in a batch that is timed.
pub const MANY: usize = 8;

/// What is timed: its name, whether at the author or at the worker, by what the time is divided, and what goes in.
pub type Probe = (&'static str, bool, usize, fn(&mut Pair) -> Vec<Input>);

pub const PROBES: [Probe; 11] = [
    ("author, results of 1 chunk, ns", true, 1, |pair| pair.results_input(1)),
    ("author, results of many, ns a chunk", true, MANY, |pair| pair.results_input(MANY)),
    ("author, record, ns", true, 1, Pair::record_input),
    ("author, tick, ns", true, 1, |_| Vec::new()),
    ("worker, finished 1 chunk, ns", false, 1, Pair::finished_input),
    ("worker, split and its receipt, ns", false, 1, Pair::split_input),
    ("worker, seal of many, ns a chunk", false, MANY, |pair| pair.seal_input(MANY)),
    ("worker, record, ns", false, 1, Pair::record_input),
    ("worker, tick, ns", false, 1, |_| Vec::new()),
    // Last, as they take time: digests in short order are not answered.
    ("author, digest, ns", true, 1, Pair::digest_input),
    ("worker, digest, ns", false, 1, Pair::digest_input),
];

/// Two members of one job, and a third that only speaks.
pub struct Pair {
    pub now: Duration,
    author_key: Keypair,
    keys: [Keypair; 3],
    pub author: Member,
    pub worker: Member,
    /// Version of the third's record, and number of its askings.
    seq: u64,
    /// Chunks that are not done.
    pub left: std::vec::IntoIter<u32>,
}

const JOB: JobId = JobId([7; 32]);

impl Pair {
    /// A job of which the worker holds everything.
    pub fn new(chunks: u32) -> Pair {
        let rows = Rows { chunks, copies: 1 };
        let key = |number: u8| Keypair::from_seed(&[number; 32]);
        let (keys, author_key) = ([1, 2, 3].map(key), key(9));
        let config = |number: usize| Config {
            job: JOB,
            rows,
            me: NodeId(keys[number].public()),
            keypair: keys[number].clone(),
            author_node: NodeId(keys[0].public()),
            author: AuthorId(author_key.public()),
            author_key: (number == 0).then(|| author_key.clone()),
            engine: "bench".into(),
            threads: number as u16,
            seed: [number as u8; 32],
            incarnation: 1,
            retries: 1,
            bears: 0,
            resume: Resume::default(),
            distrusted: Vec::new(),
            tuning: Tuning::default(),
        };
        let (author, worker) = (Member::new(config(0), Duration::ZERO), Member::new(config(1), Duration::ZERO));
        let mut pair =
            Pair { now: Duration::ZERO, author_key, keys, author, worker, seq: 0, left: Vec::new().into_iter() };
        for _ in 0..200 {
            pair.now += Duration::from_millis(5);
            let now = pair.now;
            pair.author.tick(now);
            pair.worker.tick(now);
            let ids = [pair.id(0), pair.id(1)];
            let outputs: Vec<Output> = std::iter::from_fn(|| pair.author.poll()).collect();
            outputs.into_iter().filter_map(message).for_each(|message| {
                pair.worker.handle(now, Input::Message { from: ids[0], message });
            });
            let outputs: Vec<Output> = std::iter::from_fn(|| pair.worker.poll()).collect();
            outputs.into_iter().filter_map(message).for_each(|message| {
                pair.author.handle(now, Input::Message { from: ids[1], message });
            });
        }
        assert_eq!(pair.worker.view().members[0].held, u64::from(chunks), "the worker holds everything");
        pair
    }

    pub fn id(&self, number: usize) -> NodeId {
        NodeId(self.keys[number].public())
    }

    pub fn step(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    pub fn results(&self, chunks: &[u32]) -> Message {
        let slots: IntervalSet = chunks.iter().copied().collect();
        let leaves = vec![Leaf::Inline(Bytes::from_static(b"a result")); chunks.len()];
        let root = Receipt::root(&leaves);
        let receipt = Receipt { job: JOB, slots, root, engine: "bench".into(), cpu_micros: 1 };
        Message::Results(Results { receipt: Signed::sign(receipt, &self.keys[1]), leaves })
    }

    pub fn seal(&self, chunks: &[u32]) -> Message {
        let slots = chunks.iter().copied().collect();
        Message::Seal(Signed::sign(Seal { job: JOB, term: 0, slots }, &self.author_key))
    }

    /// The third's word, which holds nothing; `queued` it says that it has.
    fn load(&self, queued: u32) -> Load {
        Load { threads: 1, slot_micros: 1_000, queued, running: 1, blocked: 0 }
    }

    fn record(&mut self) -> Message {
        self.seq += 1;
        let held = IntervalSet::new();
        let record = Record {
            job: JOB,
            seq: self.seq,
            group: 0,
            held: held.clone(),
            done: held,
            load: self.load(0),
            leaving: None,
        };
        Message::Record(Signed::sign(record, &self.keys[2]))
    }
}

fn message(output: Output) -> Option<Message> {
    match output {
        Output::Send { message, .. } | Output::Gossip(message) => Some(message),
        _ => None,
    }
}

pub fn drain(member: &mut Member, now: Duration) {
    while let Some(output) = member.poll() {
        if let Output::Collect { slot, worker, .. } = output {
            member.handle(now, Input::Collected { slot, worker, safe: true });
        }
    }
}

/// How long it takes what goes in and all that follows; no input at all is a tick.
pub fn clock(pair: &mut Pair, author: bool, inputs: fn(&mut Pair) -> Vec<Input>) -> Duration {
    let inputs = inputs(pair);
    let now = pair.step();
    let member = if author { &mut pair.author } else { &mut pair.worker };
    let rejected = member.view().rejected;
    let took = if inputs.is_empty() {
        pair.now = now.max(member.deadline().unwrap());
        let start = Instant::now();
        member.tick(pair.now);
        drain(member, now);
        start.elapsed()
    } else {
        let start = Instant::now();
        for input in inputs {
            member.handle(now, input);
            drain(member, now);
        }
        start.elapsed()
    };
    assert_eq!(member.view().rejected, rejected, "what is timed is taken in, not refused");
    took
}

impl Pair {
    fn take(&mut self, count: usize) -> Vec<u32> {
        let chunks: Vec<u32> = self.left.by_ref().take(count).collect();
        assert_eq!(chunks.len(), count, "enough chunks are left to be timed");
        chunks
    }

    fn results_input(&mut self, count: usize) -> Vec<Input> {
        let chunks = self.take(count);
        vec![Input::Message { from: self.id(1), message: self.results(&chunks) }]
    }

    fn seal_input(&mut self, count: usize) -> Vec<Input> {
        let chunks = self.take(count);
        vec![Input::Message { from: self.id(0), message: self.seal(&chunks) }]
    }

    fn finished_input(&mut self) -> Vec<Input> {
        let results = vec![(self.take(1)[0], Leaf::Inline(Bytes::from_static(b"a result")))];
        vec![Input::Finished { results, cpu_micros: 1_000, wall_micros: 1_000 }]
    }

    fn record_input(&mut self) -> Vec<Input> {
        vec![Input::Message { from: self.id(2), message: self.record() }]
    }

    /// The third knows all records; what is to be said to it is that there is nothing.
    fn digest_input(&mut self) -> Vec<Input> {
        self.now += Tuning::default().answer_gap;
        let records = (0..3).map(|number| (initials(&self.id(number)), u64::MAX)).collect();
        vec![Input::Message {
            from: self.id(2),
            message: Message::Digest { term: 0, sealed: u64::MAX, banned: 0, records },
        }]
    }

    /// The third has a little less to do than the worker, so it gets a few chunks.
    fn split_input(&mut self) -> Vec<Input> {
        self.seq += 1;
        let queued = self.worker.view().members[0].load.queued;
        let (ask, load) = (self.seq, self.load(queued.saturating_sub(16)));
        let from = self.id(2);
        [Message::Split { ask, taken: None, load }, Message::Taken { ask }]
            .map(|message| Input::Message { from, message })
            .into()
    }
}
