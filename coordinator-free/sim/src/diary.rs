//! What ran where, when, and how it ended: written down as it happens, judged afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an output.
    Finished,
    /// Nobody wanted it any more.
    Stopped,
    /// Its node crashed.
    Crashed,
}

/// One run of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Where.
    pub node: usize,
    /// What.
    pub slot: u32,
    /// Since when.
    pub began: Duration,
    /// Until when.
    pub ended: Duration,
    /// And how it ended.
    pub end: End,
}

/// All runs of a world, and whose output was taken for each chunk.
#[derive(Clone, Default)]
pub struct Diary {
    /// In the order in which they ended.
    pub runs: Vec<Run>,
    /// By chunk, the node.
    pub sealed: BTreeMap<u32, usize>,
}

impl fmt::Debug for Diary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs, {} chunks sealed", self.runs.len(), self.sealed.len())
    }
}
