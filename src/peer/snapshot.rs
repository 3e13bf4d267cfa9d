//! What there is to look at in a node at one instant, as it tells its owner. All of it is bounded: however many jobs,
//! members and chunks there are, it is a few hundred KiB at most.

use serde::{Deserialize, Serialize};

use super::{Traffic, Why};

/// Ranges of chunks in one snapshot, those of all jobs together; and the fewest that a job has.
pub(super) const CELLS: usize = 2_048;
pub(super) const LEAST_CELLS: usize = 32;
/// Members in one snapshot, those of all jobs together; and the fewest that a job has.
pub(super) const MEMBERS: usize = 512;
pub(super) const LEAST_MEMBERS: usize = 8;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub peer: String,
    /// Cores that it lends at most.
    pub cpus: u16,
    /// Cores that it lends at this moment.
    pub lent: u16,
    /// Why these are fewer.
    pub why: Option<Why>,
    /// Peers connected.
    pub connected: usize,
    /// Chunks run since it started.
    pub chunks_run: u64,
    /// Among them, those that failed.
    pub chunks_failed: u64,
    /// What kept it from the last job that it could not take part in.
    pub trouble: Option<String>,
    /// The jobs that it takes part in.
    pub jobs: Vec<JobSnapshot>,
}

/// A job, as one of its members knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSnapshot {
    /// Its name.
    pub job: String,
    /// Its name for people, fit for a terminal.
    pub name: String,
    /// Whether this node is its author's: nobody knows more of it.
    pub own: bool,
    /// Whether its author is away.
    pub away: bool,
    /// Chunks in all.
    pub chunks: u32,
    /// Chunks sealed.
    pub sealed: u32,
    /// Since when this node takes part in it, seconds.
    pub seconds: u64,
    /// Bytes and messages on the wire for it at this node.
    pub traffic: Traffic,
    /// Who takes part, this node first, then those that hold most.
    pub members: Vec<MemberSnapshot>,
    /// How many more there are.
    pub more: usize,
    /// Its chunks in order, in ranges of the same length.
    pub cells: Vec<CellSnapshot>,
}

/// A member of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemberSnapshot {
    /// Its node.
    pub peer: String,
    /// Whether it is thought to be alive.
    pub alive: bool,
    /// Cores that it lends to the job.
    pub cores: u16,
    /// Chunks that it is running.
    pub running: u32,
    /// Chunks that it holds: to be run, running, or run and not collected.
    pub held: u64,
    /// Chunks that are sealed with what it had run; only their author knows.
    pub sealed: Option<u32>,
    /// Chunks a second that it runs, by its own word; 0 while it does not know.
    pub rate: f64,
}

/// A range of chunks; what is 0 is left out. Each chunk is counted once, for the first that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellSnapshot {
    /// How many chunks these are.
    pub chunks: u32,
    /// Sealed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub sealed: u32,
    /// Failed, and to be tried once more.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failed: u32,
    /// Run, and not sealed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub done: u32,
    /// Running.
    #[serde(default, skip_serializing_if = "is_none")]
    pub running: u32,
    /// To be run by somebody.
    #[serde(default, skip_serializing_if = "is_none")]
    pub held: u32,
    /// Who holds most of them, by its place among the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<usize>,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}
