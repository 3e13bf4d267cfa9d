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
    /// Chunks that are sealed in the author's present term, and all slots of them.
    sealed: BTreeSet<u32>,
    slots: IntervalSet,
    /// All slots of what was sealed in each earlier term.
    former: Vec<IntervalSet>,
    /// Whose output of a chunk the author has made safe, where it is the right one.
    safe: BTreeSet<(u32, usize)>,
    /// Chunks whose failure it has written down; those that are given up.
    written_off: BTreeSet<u32>,
    given_up: BTreeSet<u32>,
    /// What each replica had sealed when it was last looked at.
    seen: BTreeMap<usize, (u64, IntervalSet)>,
    /// Outputs dropped by a node before they were sealed: it must be ending.
    dropped: Option<(usize, IntervalSet)>,
}

impl Checks {
    pub fn new(rows: Rows) -> Checks {
        Checks {
            rows,
            violation: None,
            ran: BTreeMap::new(),
            sealed: BTreeSet::new(),
            slots: IntervalSet::new(),
            former: Vec::new(),
            safe: BTreeSet::new(),
            written_off: BTreeSet::new(),
            given_up: BTreeSet::new(),
            seen: BTreeMap::new(),
            dropped: None,
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

    /// The author has an output on its disk.
    pub fn safe(&mut self, chunk: u32, worker: usize, leaf: &Leaf) {
        if matches!(leaf, Leaf::Failed(_)) {
            self.written_off.insert(chunk);
        } else if leaf.digest() == leaf_of(chunk, false).digest() {
            self.safe.insert((chunk, worker));
        }
    }

    /// A node drops outputs.
    pub fn released(&mut self, node: usize, slots: &IntervalSet) {
        // Who has not heard of a new term may hear of seals of an earlier one.
        let mut early = slots.difference(&self.slots);
        self.former.iter().for_each(|former| early = early.difference(former));
        if !early.is_empty() {
            self.dropped.get_or_insert_with(|| (node, IntervalSet::new())).1.union(&early);
        }
    }

    /// The job has ended for a node: now it may drop what it likes.
    pub fn ends(&mut self, node: usize) {
        self.dropped.take_if(|(who, _)| *who == node);
    }

    /// The author's term.
    pub fn term(&self) -> u64 {
        self.former.len() as u64
    }

    /// The author begins anew, without what it had sealed.
    pub fn new_term(&mut self) {
        self.former.push(std::mem::take(&mut self.slots));
        self.sealed.clear();
        self.safe.clear();
        self.written_off.clear();
        self.given_up.clear();
    }

    /// Chunks that are given up in the author's present term.
    pub fn given_up(&self) -> u32 {
        self.given_up.len() as u32
    }

    /// All slots of sealed chunks.
    pub fn sealed_slots(&self) -> &IntervalSet {
        &self.slots
    }

    /// A node begins anew.
    pub fn begins(&mut self, node: usize) {
        self.seen.remove(&node);
    }

    /// All that a node wanted has been carried out.
    pub fn settled(&mut self) {
        let Some((node, slots)) = self.dropped.take() else { return };
        // The author's member lets go of its own outputs in the same breath in which it seals them.
        let slots = slots.difference(&self.slots);
        if !slots.is_empty() {
            self.fail(format!("node {node} drops its outputs of {slots:?}, which are not sealed"));
        }
    }

    pub fn notice(&mut self, notice: &Notice, worker: Option<usize>, honest: bool) {
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
                if worker.is_none_or(|worker| !self.safe.contains(&(*chunk, worker))) {
                    self.fail(format!("chunk {chunk} is sealed, but no right output of that worker is safe"));
                }
                self.seal(*chunk);
            }
            Notice::GivenUp { chunk, .. } => {
                if !self.written_off.contains(chunk) {
                    self.fail(format!("chunk {chunk} is given up, and would be run again after a crash"));
                }
                self.given_up.insert(*chunk);
                self.seal(*chunk);
            }
            Notice::Disagreement { chunk, .. } if honest => {
                self.fail(format!("chunk {chunk}: disagreement among honest peers"));
            }
            Notice::Disagreement { .. } | Notice::Failed { .. } | Notice::Lost { .. } => {}
            // Whether they are said of the guilty is judged where it is known who is.
            Notice::Outvoted { .. } | Notice::Banned { .. } => {}
        }
    }

    fn seal(&mut self, chunk: u32) {
        if !self.sealed.insert(chunk) {
            self.fail(format!("chunk {chunk} is sealed twice"));
        }
        self.rows.slots_of(chunk).for_each(|slot| self.slots.insert(slot..slot + 1));
    }

    /// No replica believes sealed what the author has not sealed, and none keeps more than it may.
    pub fn replica(&mut self, number: usize, member: &Member) {
        let term = member.ledger().term();
        let Some(slots) = self.former.iter().chain([&self.slots]).nth(term as usize) else {
            return self.fail(format!("node {number} knows of term {term}, which has not come"));
        };
        let beyond = member.sealed().difference(slots);
        if !beyond.is_empty() {
            self.fail(format!("node {number} has {beyond:?} sealed, the author has not"));
        }
        if number == 0 && !self.slots.difference(member.sealed()).is_empty() {
            self.fail("the author has forgotten what it has sealed".into());
        }
        match self.seen.insert(number, (term, member.sealed().clone())) {
            Some((later, _)) if later > term => {
                self.fail(format!("node {number} is back in term {term}, it knew of {later}"));
            }
            Some((same, seen)) if same == term && !seen.difference(member.sealed()).is_empty() => {
                let lost = seen.difference(member.sealed());
                self.fail(format!("node {number} has forgotten that {lost:?} are sealed"));
            }
            _ => {}
        }
        self.bounded(number, member);
    }

    /// What a member keeps one by one is bounded by the job and the group.
    fn bounded(&mut self, number: usize, member: &Member) {
        let view = member.view();
        let node = view.members[0].node;
        let most = 4_096 + 8 * view.slots + 4 * if number == 0 { 65_536 } else { 256 };
        if view.kept > most {
            self.fail(format!("{node:?} keeps {} things, at most {most} are allowed", view.kept));
        }
        // The author knows of everyone, others of their group.
        if view.members.len() > if number == 0 { 65_536 } else { 256 } + 1 {
            self.fail(format!("{node:?} keeps {} members", view.members.len()));
        }
    }

    pub fn end(&mut self, reason: Reason) {
        match reason {
            Reason::Done if self.sealed.len() == self.rows.chunks as usize => {}
            Reason::Done => {
                self.fail(format!("done with {} of {} chunks sealed", self.sealed.len(), self.rows.chunks));
            }
            other => self.fail(format!("the job ended: {other:?}")),
        }
    }
}
