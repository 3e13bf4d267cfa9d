//! What members of a job say to one another, and the signed statements inside it.

use essaim_jobs::{IntervalSet, JobId, NodeId, Results, Signable, Signed, bounds};
use serde::{Deserialize, Serialize};

/// Members of one group that a node keeps in its ledger; more are not let in.
pub const MEMBERS: usize = 256;
/// Members that an author may ban from the start: its word on each goes to every other.
pub const DISTRUSTED: usize = 64;
/// Members of other groups that one message names.
pub const CONTACTS: usize = 16;
/// Bytes of one encoded [`Message`], sent directly or gossiped.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// The first bytes of a node's name: enough to tell the members of one group apart, where taking one for another
/// would do no harm.
pub type Initials = [u8; 8];

/// The [`Initials`] of `node`.
#[must_use]
pub fn initials(node: &NodeId) -> Initials {
    let mut initials = [0; 8];
    initials.copy_from_slice(&node.0[..8]);
    initials
}

/// How much a member can do and has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Threads that run slots now; 0 for a member that only submits.
    pub threads: u16,
    /// Mean time of one slot on one thread, microseconds; 0 while unknown.
    pub slot_micros: u32,
    /// Slots held and not yet started.
    pub queued: u32,
    /// Slots started and not yet finished.
    pub running: u32,
    /// Slots among the queued that this member must not run itself, as it ran their chunks before (another
    /// copy, or a failed attempt): others have to take them.
    pub blocked: u32,
}

/// One member's own page of the ledger: what it leases and what it has run. Only its owner writes it, each
/// time with a higher `seq`; of two the higher wins, so merging is commutative, associative and idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The job.
    pub job: JobId,
    /// Version of this record.
    pub seq: u64,
    /// The group it is in.
    pub group: u64,
    /// The slots it owns: to be run, running, or run and not yet sealed.
    pub held: IntervalSet,
    /// The slots that it has run and that are not sealed, also those that it ran for another owner: their
    /// receipts it has sent or is about to send.
    pub done: IntervalSet,
    /// How it is doing.
    pub load: Load,
    /// What it has handed back, if it is leaving: it takes no more work, and others are to run these slots.
    pub leaving: Option<IntervalSet>,
}

/// A member of another group, by hearsay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who.
    pub node: NodeId,
    /// Its group.
    pub group: u64,
    /// How long what it has queued will last it, milliseconds; the most there is, if it can run nothing itself.
    pub left_ms: u32,
    /// Members of its group, where that is known.
    pub members: u16,
}

/// The author's word that it has these slots' outputs. Merging is union among seals of one term; those of a later term
/// replace those of earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The job.
    pub job: JobId,
    /// How often the author has begun anew without what it had sealed.
    pub term: u64,
    /// The slots; one message may hold only some of all that are sealed.
    pub slots: IntervalSet,
}

/// Why a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Every slot is sealed.
    Done,
    /// Its author took it back.
    Cancelled,
    /// A chunk failed for good.
    Failed,
}

/// The author's word that the job has ended: drop it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The job.
    pub job: JobId,
    /// Why.
    pub reason: Reason,
}

/// The author's word that this member's results were false too often: nothing that it says or holds counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The job.
    pub job: JobId,
    /// The member.
    pub node: NodeId,
}

impl Signable for Record {
    const DOMAIN: &'static str = "essaim 2026 ledger record v1";
}
impl Signable for Seal {
    const DOMAIN: &'static str = "essaim 2026 seal v1";
}
impl Signable for Ban {
    const DOMAIN: &'static str = "essaim 2026 ban v1";
}
impl Signable for Close {
    const DOMAIN: &'static str = "essaim 2026 close v1";
}

/// A message between two members of one job, or from one to all (`Record`, `Seal`, `Ban` and `Close` only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A member's page of the ledger.
    Record(Signed<Record>),
    /// Slots that the author has.
    Seal(Signed<Seal>),
    /// A member whose word counts no more.
    Ban(Signed<Ban>),
    /// The job has ended.
    Close(Signed<Close>),
    /// What the sender's ledger holds, so that the other can answer with what it lacks.
    Digest {
        /// The term of the author that is known.
        term: u64,
        /// Number of slots known to be sealed.
        sealed: u64,
        /// Number of members known to be banned.
        banned: u16,
        /// Owner and version of each record.
        #[serde(deserialize_with = "bounds::seq::<_, _, MEMBERS>")]
        records: Vec<(Initials, u64)>,
    },
    /// What the asker of a digest lacked.
    Ledger {
        /// All that is sealed, as the author signed it.
        #[serde(deserialize_with = "bounds::seq::<_, _, MEMBERS>")]
        seals: Vec<Signed<Seal>>,
        /// All bans.
        #[serde(deserialize_with = "bounds::seq::<_, _, MEMBERS>")]
        bans: Vec<Signed<Ban>>,
        /// Newer records.
        #[serde(deserialize_with = "bounds::seq::<_, _, MEMBERS>")]
        records: Vec<Signed<Record>>,
    },
    /// Give me of what you hold.
    Split {
        /// Names this asking, so that its answer is recognised.
        ask: u64,
        /// The last of the asked one's grants that was taken: [`Message::Taken`] may be lost, or come later.
        taken: Option<u64>,
        /// How the asker is doing.
        load: Load,
    },
    /// These slots are yours, if you acknowledge.
    Grant {
        /// The asking that this answers.
        ask: u64,
        /// The slots.
        slots: IntervalSet,
    },
    /// I have taken what you granted.
    Taken {
        /// The asking.
        ask: u64,
    },
    /// Run these too; I am running them and you are faster.
    Duplicate {
        /// The asking that this answers.
        ask: u64,
        /// The slots.
        slots: IntervalSet,
    },
    /// I have nothing for you.
    Nothing {
        /// The asking that this answers.
        ask: u64,
        /// How the answerer is doing.
        load: Load,
    },
    /// What goes on elsewhere? Answered with [`Message::Contacts`].
    Look,
    /// Members of other groups that the sender knows of, itself among them.
    Contacts {
        /// Who.
        #[serde(deserialize_with = "bounds::seq::<_, _, CONTACTS>")]
        contacts: Vec<Contact>,
    },
    /// From the author to a newcomer: its own group is full, go to this one.
    Place {
        /// The group.
        group: u64,
        /// Who is there.
        #[serde(deserialize_with = "bounds::seq::<_, _, CONTACTS>")]
        contacts: Vec<Contact>,
    },
    /// To the author: what came out.
    Results(Results),
    /// To a fellow, while the author is away: keep these for it, too.
    Deposit(Results),
    /// From the author, where a chunk needs several copies: these receipts have arrived, and wait for their
    /// fellows. They need not be sent again soon.
    Counted {
        /// The slots.
        slots: IntervalSet,
    },
    /// From the author: these results of yours are of no use (they failed, or could not be had). Others run
    /// these slots now: hold them no longer.
    Refused {
        /// The slots.
        slots: IntervalSet,
    },
}
