//! The edge of an exchange: what goes in, what comes out.

use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};

use super::{Layout, Message, Tuning};

/// What one node brings to one blob.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the blob is cut.
    pub layout: Layout,
    /// The pieces that are here already; others are left out.
    pub have: IntervalSet,
    /// All randomness comes from here.
    pub seed: [u8; 32],
    /// The constants.
    pub tuning: Tuning,
}

/// What an exchange is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A session with this peer is open: both may speak. One that is open already begins anew.
    Up(NodeId),
    /// It is closed, by the peer or by the network.
    Down(NodeId),
    /// The peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Some bytes of a piece have come.
    Bytes {
        /// From whom.
        from: NodeId,
        /// How many since this was last said.
        bytes: u64,
    },
    /// A piece has come whole. It has been verified and, where it was right and not here yet, made safe.
    Arrived {
        /// From whom.
        from: NodeId,
        /// Which.
        piece: u32,
        /// Whether its bytes are what the blob's name stands for.
        right: bool,
    },
    /// What was asked for with [`Output::Give`] has left, or cannot be read here any more.
    Given {
        /// To whom.
        to: NodeId,
        /// Which.
        piece: u32,
        /// Whether it could be read.
        sent: bool,
    },
    /// Whether pieces are wanted, as they are at the start. What is here is given in any case.
    Take(bool),
    /// Time has passed: the [`super::Exchange::deadline`], usually.
    Tick,
}

/// What an exchange wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to a peer. Messages to one peer keep their order.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Send the bytes of a piece to a peer, and say [`Input::Given`] when they have left, in any order among the
    /// messages. At most a few are asked for at once.
    Give {
        /// To whom.
        to: NodeId,
        /// Which.
        piece: u32,
    },
    /// Close the session with a peer: [`Input::Down`] is not waited for.
    Leave {
        /// Which.
        peer: NodeId,
        /// Why.
        reason: Reason,
    },
    /// All pieces are here. Said once; not said where they were at the start.
    Complete,
}

/// Why a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It sent wrong bytes. It is not spoken to about this blob again.
    Wrong,
    /// It named pieces that there are not, or sent pieces that it was not asked for, or wanted too much: an honest
    /// peer would not. It is not spoken to about this blob again.
    Rude,
    /// There are as many sessions as there may be.
    Full,
    /// Both have everything.
    Needless,
}

/// How a peer is doing as a source: for people, and for judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Who.
    pub node: NodeId,
    /// Pieces that it says it has.
    pub has: u32,
    /// Pieces that it is being asked for.
    pub asked: u32,
    /// Bytes a second, as measured while it was being asked.
    pub rate: f64,
    /// Whether it is only asked for what nobody better has: it is silent, or far slower than others.
    pub poor: bool,
    /// Until when it is not tried again; zero if it may be.
    pub poor_until: Duration,
}
