//! The core's edge: what goes in, what comes out. No clock, socket, thread or file is behind either.

use std::time::Duration;

use essaim_jobs::{FailureNote, IntervalSet, Leaf, NodeId, Signed};

use crate::message::{Close, Message, Reason};

/// What a member is told.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "it is moved once and never stored: a box would cost more")]
pub enum Input {
    /// A message; the transport vouches for `from` when it came directly. For gossip, `from` is whoever
    /// passed it on: what counts is the signature inside.
    Message {
        /// The sender.
        from: NodeId,
        /// What it said.
        message: Message,
    },
    /// The worker has begun this slot.
    Started {
        /// The slot.
        slot: u32,
    },
    /// The worker has finished these slots.
    Finished {
        /// Each slot with what came out, in any order.
        results: Vec<(u32, Leaf)>,
        /// CPU time of all of them together, microseconds.
        cpu_micros: u64,
        /// Wall time of all of them added up, microseconds: what a thread was busy for.
        wall_micros: u64,
    },
    /// Author only: the output asked for with [`Output::Collect`] is safe, or cannot be had from that worker.
    Collected {
        /// The slot.
        slot: u32,
        /// Whose output.
        worker: NodeId,
        /// Whether it is safe.
        safe: bool,
    },
    /// The result asked for with [`Output::Keep`] is here.
    Kept {
        /// The slot.
        slot: u32,
        /// The result.
        leaf: Leaf,
    },
    /// A connection to this peer is open.
    Up(NodeId),
    /// The last connection to this peer has closed, or it cannot be reached.
    Down(NodeId),
    /// From now on this many slots may run at once.
    Threads(u16),
    /// The author is at this node now: it has come back elsewhere. Its word vouches for it, which the caller has checked.
    Author(NodeId),
    /// Author only: the person takes the job back.
    Cancel,
    /// This node leaves the job: it takes no more, hands back what it has not started, and ends (with
    /// [`Reason::Done`]: done here) when all that it has run is sealed. The author's member stays, and only
    /// lends no more threads.
    Leave,
}

/// What a member wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send to one peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Send to every member of the job.
    Gossip(Message),
    /// Hand these slots to the worker, in this order; each comes back as `Finished` unless stopped.
    Run(Vec<u32>),
    /// These slots, handed to the worker before, are not wanted any more; they need not come back.
    Stop(Vec<u32>),
    /// Author only: make this output safe, then say [`Input::Collected`]. A chunk that is given up has its failure for an
    /// output.
    Collect {
        /// The slot.
        slot: u32,
        /// The chunk it runs.
        chunk: u32,
        /// Who ran it and, if it is a blob, has it.
        worker: NodeId,
        /// The output.
        leaf: Leaf,
    },
    /// Keep this result of another's for the author, too, then say [`Input::Kept`].
    Keep {
        /// The slot.
        slot: u32,
        /// Who ran it and, if it is a blob, has it.
        worker: NodeId,
        /// The output: `Inline` or `Blob`, never `Failed`.
        leaf: Leaf,
    },
    /// The author has these slots' outputs: they need not be kept here any more.
    Release(IntervalSet),
    /// Author only: something that the person should hear of.
    Notice(Notice),
    /// The job has ended here; nothing more will come out.
    Ended {
        /// Why.
        reason: Reason,
        /// The author's word on it, where this member has heard it: the answer to whoever still speaks of the job.
        word: Option<Signed<Close>>,
    },
}

/// What the author's person should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This chunk is sealed: its output counts.
    Sealed {
        /// The chunk.
        chunk: u32,
        /// Whose output is taken.
        worker: NodeId,
    },
    /// This chunk has failed for good and is sealed so: the job goes on without it.
    GivenUp {
        /// The chunk.
        chunk: u32,
        /// The peer at which it failed last.
        worker: NodeId,
        /// What happened there.
        note: FailureNote,
    },
    /// A chunk failed at a peer.
    Failed {
        /// The chunk.
        chunk: u32,
        /// The peer.
        worker: NodeId,
        /// What happened.
        note: FailureNote,
        /// Whether it is tried again; when not, the job has failed.
        retried: bool,
    },
    /// As many peers as may be asked say different things about one chunk: the job has failed.
    Disagreement {
        /// The chunk.
        chunk: u32,
        /// The peers, in the order in which they were heard.
        workers: Vec<NodeId>,
    },
    /// A chunk is agreed upon, and these peers had said something else.
    Outvoted {
        /// The chunk.
        chunk: u32,
        /// The peers.
        workers: Vec<NodeId>,
    },
    /// A peer was outvoted too often: nothing that it says counts any more.
    Banned {
        /// The peer.
        peer: NodeId,
    },
    /// A peer that held slots is gone; the others take them over.
    Lost {
        /// The peer.
        peer: NodeId,
        /// Slots that it held and had not run.
        held: u64,
        /// Slots that it had run (or was known to be running) and whose outputs are lost: work done again.
        rerun: u64,
    },
}

/// What can be seen of a member's ledger, for people and for checkers.
#[derive(Clone, Debug)]
pub struct View {
    /// Slots sealed.
    pub sealed: u64,
    /// Slots in all.
    pub slots: u64,
    /// Messages, or parts of them, that were refused since the start because they broke a rule.
    pub rejected: u64,
    /// Things remembered one by one (slots in flight, results kept, votes, grants not acknowledged, members):
    /// what a checker bounds.
    pub kept: u64,
    /// The members known, this one first.
    pub members: Vec<MemberView>,
}

/// One member as another sees it.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Who.
    pub node: NodeId,
    /// How it is doing, by its own word.
    pub load: crate::message::Load,
    /// Slots it holds that are not sealed.
    pub held: u64,
    /// Slots it has run that are not sealed.
    pub done: u64,
    /// Whether it is thought to be alive.
    pub alive: bool,
    /// Time since it was last heard.
    pub silent: Duration,
    /// Time since it last got on with what it has to run; zero where that is nothing.
    pub behind: Duration,
}

/// One chunk, as its author sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkView {
    /// Whether its output is here, and agreed upon.
    pub sealed: bool,
    /// Who has it to run, or has run it, and is thought to be alive.
    pub holders: Vec<Holder>,
    /// Who has said what comes out of it.
    pub voices: Vec<NodeId>,
}

/// Who has a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub node: NodeId,
    /// Whether it has run it.
    pub done: bool,
    /// Whether it is certainly running it.
    pub running: bool,
}
