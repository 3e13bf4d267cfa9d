//! What a world is made from: who takes part, how the links are, what goes wrong when. All of it is data.

use std::time::Duration;

use essaim_jobs::Rows;

use crate::event::Fault;
use crate::net::{Rng, Weather};

/// What a node is up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nature {
    /// Does what its member says.
    Honest,
    /// A part of the chunks fails here.
    Flaky(f64),
    /// For a part of the chunks, what it says came out did not: its own wrong bytes.
    Liar(f64),
    /// Takes what it is granted and looks busy, but runs nothing and gives nothing away.
    Hog,
    /// No member at all, but a key that signs records that claim everything.
    Grabber,
    /// No member at all, but a key that sends valid and useless messages, so many a second.
    Spammer(u32),
}

/// One node's nature.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Slots that it runs at once.
    pub threads: u16,
    /// Times slower than the norm.
    pub slowness: f64,
    /// What it is up to.
    pub nature: Nature,
    /// What its clock shows at the start, and how much faster it runs.
    pub clock: (Duration, f64),
}

impl Peer {
    /// An honest one.
    #[must_use]
    pub fn new(threads: u16, slowness: f64) -> Peer {
        Peer { threads, slowness, nature: Nature::Honest, clock: (Duration::ZERO, 1.0) }
    }
}

/// All that a seed determines, but for chance along the way.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The kinds of fault that were drawn.
    pub kinds: Vec<&'static str>,
    /// Whether none of them is a reason to do work twice.
    pub mild: bool,
    /// Chunks and copies.
    pub rows: Rows,
    /// Node 0 is the author's.
    pub peers: Vec<Peer>,
    /// How the links are at first.
    pub weather: Weather,
    /// Mean seconds of a slot on a node of slowness 1, and whether costs are exponential.
    pub mean: f64,
    /// See `mean`.
    pub exponential: bool,
    /// Seconds of each chunk instead, where they are drawn elsewhere.
    pub costs: Option<Vec<f64>>,
    /// Which part of the chunks fails wherever it is run: the author goes on without them.
    pub doomed: f64,
    /// Outputs are blobs that the author fetches.
    pub blobs: bool,
    /// What goes wrong when, in that order.
    pub faults: Vec<(Duration, Fault)>,
    /// No fault after this time; where `costs` are given, the time by which the job must be done.
    pub heal: Duration,
    /// Members of a group: least, good, most.
    pub group: (usize, usize, usize),
    /// How long all work rests after that, so that replicas can be compared while nothing new happens.
    pub rest: Duration,
}

impl Scenario {
    /// Whether this chunk fails wherever it is run.
    #[must_use]
    pub fn is_doomed(&self, chunk: u32) -> bool {
        Rng::of(u64::from(chunk), "doomed").chance(self.doomed)
    }

    /// Seconds of work that all together do in a second, at first.
    #[must_use]
    pub fn power(&self) -> f64 {
        self.peers.iter().map(|peer| f64::from(peer.threads) / peer.slowness).sum()
    }

    /// The first of those that may do anything: the ones before are honest and stay, so that every copy of a
    /// chunk can be run by somebody.
    #[must_use]
    pub fn staying(&self) -> usize {
        1 + usize::from(self.rows.copies)
    }

    /// One of those that may do anything, and has not been made anything yet.
    pub fn victim(&self, rng: &mut Rng) -> Option<usize> {
        let honest = |node: &usize| self.peers[*node].nature == Nature::Honest;
        let victims: Vec<usize> = (self.staying()..self.peers.len()).filter(honest).collect();
        (!victims.is_empty()).then(|| victims[rng.below(victims.len() as u64) as usize])
    }

    /// Any worker.
    pub fn worker(&self, rng: &mut Rng) -> usize {
        1 + rng.below(self.peers.len() as u64 - 1) as usize
    }

    /// A time at which there is still something to be done.
    pub fn early(&self, rng: &mut Rng) -> Duration {
        self.heal.mul_f64(rng.unit() * 0.9)
    }

    /// A time from then on, before all is healed.
    pub fn later(&self, rng: &mut Rng, at: Duration) -> Duration {
        at + (self.heal - at).mul_f64(rng.unit())
    }

    /// Plans a fault.
    pub fn fault(&mut self, at: Duration, fault: Fault) {
        self.faults.push((at, fault));
    }
}
