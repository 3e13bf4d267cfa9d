//! Where the outputs of one job stand, and in which order they were sealed: what [`Outputs`](super::Outputs) keeps in
//! memory, some bytes each.

use std::collections::BTreeMap;

use essaim_jobs::NodeId;

use super::outputs::Output;

/// What is known of all outputs.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub places: Vec<Place>,
    /// Who ran something.
    pub workers: Workers,
    /// The chunks that are sealed, in the order in which they were.
    pub order: Vec<u32>,
    /// Where the next one is written, and under which number.
    pub end: u64,
    pub next: u32,
    /// Handed over and not written yet. The core remembers each of them, too, and bounds them.
    pub waiting: Vec<Output>,
    /// No more will be handed over, or sealed.
    pub closed: bool,
    /// What is missing then counts as nothing.
    pub passed_over: bool,
}

/// One output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub offset: u64,
    pub len: u32,
    /// Who ran it.
    pub worker: u32,
    /// What it took on the processor, microseconds; 0 where that is not known.
    pub cpu_micros: u32,
    pub state: State,
    /// Taken from an earlier job.
    pub before: bool,
    /// It is why the chunk was given up.
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Missing,
    Safe,
    Sealed,
}

impl Index {
    /// The place of `chunk`, if it is sealed.
    pub fn sealed(&self, chunk: u32) -> Option<&Place> {
        self.places.get(chunk as usize).filter(|place| place.state == State::Sealed)
    }

    /// All places that are sealed, with their chunks.
    pub fn all_sealed(&self) -> impl Iterator<Item = (u32, &Place)> {
        (0..).zip(&self.places).filter(|(_, place)| place.state == State::Sealed)
    }

    /// It counts from now on.
    pub fn seal(&mut self, chunk: u32) {
        let place = &mut self.places[chunk as usize];
        if place.state != State::Sealed {
            place.state = State::Sealed;
            self.order.push(chunk);
        }
    }
}

/// Numbers for those who ran something.
#[derive(Debug, Default)]
pub(super) struct Workers {
    pub all: Vec<NodeId>,
    numbers: BTreeMap<NodeId, u32>,
}

impl Workers {
    pub fn number(&mut self, worker: NodeId) -> u32 {
        *self.numbers.entry(worker).or_insert_with(|| {
            self.all.push(worker);
            self.all.len() as u32 - 1
        })
    }
}
