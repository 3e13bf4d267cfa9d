//! What happens in a world, what goes wrong in it, and the order of it all.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Deliver {
        from: usize,
        to: usize,
        bytes: Bytes,
    },
    /// The worker of a node ends a slot; `run` tells it from an earlier, aborted run.
    Finish {
        node: usize,
        slot: u32,
        run: u64,
    },
    /// An output has been fetched, or could not be.
    Collected {
        slot: u32,
        worker: usize,
        leaf: essaim_jobs::Leaf,
        /// Which life of the author asked for it.
        life: u64,
    },
    Wake {
        node: usize,
    },
    Down {
        at: usize,
        peer: usize,
    },
    Up {
        at: usize,
        peer: usize,
    },
    /// What another ran has been fetched by one that is to keep it, too, or could not be.
    Kept {
        node: usize,
        life: u64,
        slot: u32,
        worker: usize,
        leaf: essaim_jobs::Leaf,
    },
    /// A node hears that the author has come back elsewhere.
    Moved {
        at: usize,
    },
    Fault(Fault),
    /// An attacker does its worst once more.
    Attack {
        node: usize,
    },
    /// The judges look at all that is left of the job.
    Look,
    /// Work goes on after a rest.
    Thaw,
}

/// What goes wrong, and is planned when the world is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// This node starts, or starts again.
    Join(usize),
    /// The process is gone; whether its outputs are still on its disk should it come back.
    Crash {
        /// Whose.
        node: usize,
        /// See above.
        disk: bool,
    },
    /// From now on a node runs so many slots at once.
    Threads(usize, u16),
    /// A node takes its leave.
    Leave(usize),
    /// From now on slots take so many times as long as on a node of slowness 1.
    Slowness(usize, f64),
    /// Its clock jumps by so many milliseconds.
    Jump(usize, i64),
    /// Messages stop to arrive.
    Cut(Cut),
    /// The cut of this number is no more.
    Mend(usize),
    /// Somebody who is no member says things that nobody may believe.
    Forge,
    /// From now on nothing goes wrong any more.
    Heal,
}

/// Messages that do not arrive, whatever the weather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// By which it is mended.
    pub number: usize,
    /// As what it is counted.
    pub name: &'static str,
    /// Those that are not heard.
    pub from: BTreeSet<usize>,
    /// Those that do not hear them.
    pub to: BTreeSet<usize>,
    /// Whether answers do not arrive either.
    pub both: bool,
    /// Whether connections over it close after a while, or just fall silent.
    pub noticed: bool,
}

impl Cut {
    /// Whether a message from one node to another does not arrive.
    #[must_use]
    pub fn blocks(&self, from: usize, to: usize) -> bool {
        let way = |from, to| self.from.contains(from) && self.to.contains(to);
        way(&from, &to) || (self.both && way(&to, &from))
    }
}

/// An event to come. Of two at one time the one that was planned first comes first.
#[derive(Debug)]
struct Planned {
    time: Duration,
    number: u64,
    event: Event,
}

impl Ord for Planned {
    /// The soonest is the greatest: the heap gives that first.
    fn cmp(&self, other: &Planned) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.number == other.number
    }
}
impl Eq for Planned {}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BinaryHeap<Planned>,
    number: u64,
}

impl Queue {
    pub fn at(&mut self, time: Duration, event: Event) {
        self.number += 1;
        self.events.push(Planned { time, number: self.number, event });
    }

    pub fn pop(&mut self) -> Option<(Duration, Event)> {
        self.events.pop().map(|Planned { time, event, .. }| (time, event))
    }
}
