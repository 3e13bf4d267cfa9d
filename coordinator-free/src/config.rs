//! What a member is made of: its identity, its job, and every constant of the algorithm.

use std::time::Duration;

use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, Leaf, NodeId, Rows};

/// What one node brings to one job.
#[derive(Clone, Debug)]
pub struct Config {
    /// The job.
    pub job: JobId,
    /// Its chunks and copies.
    pub rows: Rows,
    /// This node: the public half of `keypair`.
    pub me: NodeId,
    /// This node's key, which signs its records and receipts.
    pub keypair: Keypair,
    /// The node where the author is: results go there.
    pub author_node: NodeId,
    /// The author, whose signature makes a seal or a close valid.
    pub author: AuthorId,
    /// The author's key; `Some` only at the author's node.
    pub author_key: Option<Keypair>,
    /// Engine version, architecture and configuration, for receipts; at most `bounds::ENGINE_BYTES` bytes.
    pub engine: String,
    /// Slots that may run at once; 0 for a member that only submits.
    pub threads: u16,
    /// All randomness of this member comes from here.
    pub seed: [u8; 32],
    /// Version of its first record: grows with every start of the node (a start time in milliseconds will do).
    pub incarnation: u64,
    /// How often a failed chunk is tried again, each time by another peer.
    pub retries: u32,
    /// At the author: how many chunks may be given up before the job has failed.
    pub bears: u32,
    /// What is left of this node's earlier life in this job, from its disk.
    pub resume: Resume,
    /// At the author: nodes that were found lying in other jobs, and are banned in this one from its start; those beyond
    /// [`DISTRUSTED`](crate::message::DISTRUSTED) are not.
    pub distrusted: Vec<NodeId>,
    /// The constants.
    pub tuning: Tuning,
}

/// What a node that was stopped and started again still has of a job.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Whether this node took part before: the author's member then holds nothing at first, as others may hold
    /// anything, and adopts what nobody turns out to hold.
    pub again: bool,
    /// At the author: its term, that is how often it has begun anew without what it had sealed before.
    pub term: u64,
    /// At the author: the slots of all chunks whose outputs it had agreed upon and made safe, in this job or before it.
    pub sealed: IntervalSet,
    /// At the author: how many of these chunks were given up.
    pub given_up: u32,
    /// At a worker: results that it still has, and that may not be sealed.
    pub results: Vec<(u32, Leaf)>,
}

/// Every constant of the algorithm. The defaults are what the simulator was run with.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Round trip assumed before one was measured.
    pub rtt_start: Duration,
    /// Bounds of the measured round trip.
    pub rtt_range: (Duration, Duration),
    /// A peer that had nothing is not asked again for so long.
    pub skip: Duration,
    /// Least time between two askings of a member that finds nothing to do.
    pub idle_gap: Duration,
    /// What is handed to the worker ahead of need, as running time, and the most slots of it.
    pub window: (Duration, u32),
    /// Least time between two gossips of a record, when a lease has moved and otherwise.
    pub gossip_gap: (Duration, Duration),
    /// A record is gossiped at least so often.
    pub heartbeat: Duration,
    /// Time between two comparisons with a random member.
    pub digest_gap: Duration,
    /// Time between two looks at who is alive and what is orphaned.
    pub pulse: Duration,
    /// A member silent for a time drawn from this range is dead.
    pub silence: (Duration, Duration),
    /// Added to 4 round trips: how long an unanswered asking, an unacknowledged grant or a lost connection may
    /// last.
    pub patience: Duration,
    /// A member that is heard and does not get on with what it holds is passed over after so long, and twice
    /// the time that a slot of its may take (at most `stall_slots` times what slots take here).
    pub stall: Duration,
    /// See `stall`: least and most.
    pub stall_slots: (u32, u32),
    /// One member's digests are answered at most so often.
    pub answer_gap: Duration,
    /// A slot that no live member holds for so long is adopted.
    pub orphan_grace: Duration,
    /// A slot taken is not given up for so long because of what may be an old record of its former owner.
    pub fresh: Duration,
    /// More than this part of a group (percent, and at least two) vanishing together is a partition.
    pub partition_percent: u32,
    /// Results are sent at most so often, except at the leading edge.
    pub flush: Duration,
    /// Leaves and bytes that are sent without waiting.
    pub batch: (usize, usize),
    /// Results not sealed are sent again after the first, with doubling delay up to the second; those that the
    /// author has counted after the third.
    pub resend: (Duration, Duration, Duration),
    /// A worker that has not heard of the author for so long gives the job up.
    pub author_silence: Duration,
    /// A chunk that failed where there is nobody else waits for somebody so long.
    pub lone_failure: Duration,
    /// Members of a group: fewer join another, with so many newcomers are sent elsewhere, more fall in two.
    pub group: (usize, usize, usize),
    /// How often a member of another group tells the author how things are.
    pub tell_gap: Duration,
    /// Members that may run one slot besides its owner.
    pub duplicators: u8,
}

impl Tuning {
    /// The constants for a job of this many copies. Further copies are given by the author alone: who is not of its
    /// group hears too late of what there is to check (32 peers in two groups, 10 % liars: 1.29 × ideal, in one 1.06).
    #[must_use]
    pub fn of(rows: Rows) -> Tuning {
        let group = if rows.copies > 1 { (8, 96, 128) } else { Tuning::default().group };
        Tuning { group, ..Tuning::default() }
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        let ms = Duration::from_millis;
        Tuning {
            rtt_start: ms(50),
            rtt_range: (Duration::from_micros(200), ms(5_000)),
            skip: ms(500),
            idle_gap: ms(50),
            window: (ms(20), 4_096),
            gossip_gap: (ms(200), ms(1_250)),
            heartbeat: ms(2_000),
            digest_gap: ms(1_000),
            pulse: ms(250),
            silence: (ms(2_000), ms(3_000)),
            patience: ms(100),
            stall: ms(10_000),
            stall_slots: (5, 20),
            answer_gap: ms(200),
            orphan_grace: ms(4_000),
            fresh: ms(3_000),
            partition_percent: 15,
            flush: ms(200),
            batch: (1_024, 512 << 10),
            resend: (ms(2_000), ms(10_000), ms(60_000)),
            author_silence: ms(60_000),
            lone_failure: ms(60_000),
            group: (8, 24, 36),
            tell_gap: ms(5_000),
            duplicators: 2,
        }
    }
}
