//! What must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_free::{Member, Notice, Reason};
use essaim_jobs::{IntervalSet, Leaf, Rows};

use crate::world::leaf_of;

/// The judges of one run; the first violation stands.
pub struct Checks {
    rows: Rows,
    pub violation: Option<String>,
    /// Who really ran what.
    ran: BTreeMap<u32, BTreeSet<usize>>,
    sealed: BTreeSet<u32>,
    /// All slots of sealed chunks.
    slots: IntervalSet,
    gave_up: bool,
}

impl Checks {
    pub fn new(rows: Rows) -> Checks {
        Checks {
            rows,
            violation: None,
            ran: BTreeMap::new(),
            sealed: BTreeSet::new(),
            slots: IntervalSet::new(),
            gave_up: false,
        }
    }

    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub fn ran(&mut self, node: usize, slot: u32, chunk: u32) {
        if slot >= self.rows.slots() {
            self.fail(format!("node {node} ran slot {slot}, which is none"));
        }
        self.ran.entry(chunk).or_default().insert(node);
    }

    pub fn collect(&mut self, chunk: u32, worker: usize, leaf: &Leaf) {
        if leaf.digest() != leaf_of(chunk, false).digest() {
            self.fail(format!("chunk {chunk}: a wrong output of node {worker} is to be collected"));
        }
    }

    pub fn notice(&mut self, notice: &Notice, worker: Option<usize>) {
        match notice {
            Notice::Sealed { chunk, .. } => {
                let none = BTreeSet::new();
                let ran = self.ran.get(chunk).unwrap_or(&none);
                let (enough, really) =
                    (ran.len() >= usize::from(self.rows.copies), worker.is_some_and(|worker| ran.contains(&worker)));
                if !really {
                    self.fail(format!("chunk {chunk} is sealed for a worker that never ran it"));
                }
                if !enough {
                    self.fail(format!("chunk {chunk} is sealed, but not run by enough different peers"));
                }
                if !self.sealed.insert(*chunk) {
                    self.fail(format!("chunk {chunk} is sealed twice"));
                }
                self.rows.slots_of(*chunk).for_each(|slot| self.slots.insert(slot..slot + 1));
            }
            Notice::Failed { retried: false, .. } => self.gave_up = true,
            Notice::Disagreement { chunk, .. } => {
                self.fail(format!("chunk {chunk}: disagreement among honest peers"));
            }
            Notice::Failed { .. } | Notice::Lost { .. } => {}
        }
    }

    /// No replica believes sealed what the author has not sealed, and none keeps more than it may.
    pub fn replica(&mut self, number: usize, member: &Member) {
        let beyond = member.sealed().difference(&self.slots);
        if !beyond.is_empty() {
            self.fail(format!("node {number} has {beyond:?} sealed, the author has not"));
        }
        self.bounded(member);
    }

    /// What a member keeps one by one is bounded by the job and the group.
    fn bounded(&mut self, member: &Member) {
        let view = member.view();
        let node = view.members[0].node;
        let most = 4_096 + 8 * view.slots + 4 * 256;
        if view.kept > most {
            self.fail(format!("{node:?} keeps {} things, at most {most} are allowed", view.kept));
        }
        if view.members.len() > 256 + 1 {
            self.fail(format!("{node:?} keeps {} members", view.members.len()));
        }
    }

    pub fn end(&mut self, reason: Reason, may_fail: bool) {
        match reason {
            Reason::Done if self.sealed.len() == self.rows.chunks as usize => {}
            Reason::Done => {
                self.fail(format!("done with {} of {} chunks sealed", self.sealed.len(), self.rows.chunks));
            }
            Reason::Failed if may_fail && self.gave_up => {}
            other => self.fail(format!("the job ended: {other:?}")),
        }
    }
}
