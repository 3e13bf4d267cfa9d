//! The replicated ledger of one job: a page a member, and what is sealed. Merging is commutative, associative
//! and idempotent, whatever the order, loss or repetition of messages.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{AuthorId, IntervalSet, JobId, NodeId, Rows, Signed, encode};

use crate::message::{Ban, MEMBERS, Record, Seal};
use crate::sets;

/// Seals kept to be passed on; one that covers others replaces them.
const SEALS: usize = 64;

/// Why something that a peer sent was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is about another job.
    #[error("it is about another job")]
    OtherJob,
    /// Its signature is wrong, or its signer may not say this.
    #[error("its signature is wrong, or its signer may not say this")]
    Signature,
    /// It names slots that the job does not have.
    #[error("it names slots that the job does not have")]
    Slots,
    /// It answers nothing that was asked, or comes from somebody who has no business to send it.
    #[error("nobody asked for it")]
    Unasked,
    /// It comes from a member that is banned.
    #[error("its sender is banned")]
    Banned,
    /// Its sender says more than anyone has to say.
    #[error("its sender says too much")]
    Flood,
    /// The job has as many members as this node can keep in mind.
    #[error("the job has as many members as can be kept in mind")]
    Full,
}

/// One job's ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    job: JobId,
    author: AuthorId,
    slots: u32,
    records: BTreeMap<NodeId, Signed<Record>>,
    /// The author's term, and what is sealed in it.
    term: u64,
    sealed: IntervalSet,
    seals: Vec<Signed<Seal>>,
    bans: BTreeMap<NodeId, Signed<Ban>>,
    /// Those whose pages were forgotten, up to which version: the dead that have been inherited from, and when
    /// that was, and those who moved to another group.
    buried: BTreeMap<NodeId, (u64, Option<Duration>)>,
}

impl Ledger {
    /// An empty ledger, of that term of the author at least.
    #[must_use]
    pub fn new(job: JobId, author: AuthorId, rows: Rows, term: u64) -> Ledger {
        Ledger {
            job,
            author,
            slots: rows.slots(),
            records: BTreeMap::new(),
            term,
            sealed: IntervalSet::new(),
            seals: Vec::new(),
            bans: BTreeMap::new(),
            buried: BTreeMap::new(),
        }
    }

    /// The pages, by their owners.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<NodeId, Signed<Record>> {
        &self.records
    }

    /// The page of `node`.
    #[must_use]
    pub fn record(&self, node: &NodeId) -> Option<&Record> {
        self.records.get(node).map(|signed| &signed.body)
    }

    /// The term of the author that is known.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The slots that are sealed.
    #[must_use]
    pub fn sealed(&self) -> &IntervalSet {
        &self.sealed
    }

    /// The seals that together say so, as far as they are kept.
    #[must_use]
    pub fn seals(&self) -> &[Signed<Seal>] {
        &self.seals
    }

    /// The members that are banned, with the author's word on each.
    #[must_use]
    pub fn bans(&self) -> &BTreeMap<NodeId, Signed<Ban>> {
        &self.bans
    }

    pub(crate) fn is_banned(&self, node: &NodeId) -> bool {
        self.bans.contains_key(node)
    }

    /// Takes a ban in; whether it is news.
    ///
    /// # Errors
    /// [`Rejection`] when it is not a valid ban by this job's author, or there is no room.
    pub fn merge_ban(&mut self, new: &Signed<Ban>) -> Result<bool, Rejection> {
        if new.body.job != self.job {
            return Err(Rejection::OtherJob);
        }
        if new.signer != self.author.0 {
            return Err(Rejection::Signature);
        }
        if self.is_banned(&new.body.node) {
            return Ok(false);
        }
        if self.bans.len() >= MEMBERS {
            return Err(Rejection::Full);
        }
        new.verify().map_err(|_| Rejection::Signature)?;
        self.bans.insert(new.body.node, new.clone());
        Ok(true)
    }

    /// Takes a record in when it is newer than what is known; returns the record that it replaces (an empty
    /// one when there was none), and `None` when it is not newer.
    ///
    /// # Errors
    /// [`Rejection`] when it is not a valid record of its signer for this job, or there is no room.
    pub fn merge_record(&mut self, new: &Signed<Record>) -> Result<Option<Record>, Rejection> {
        let owner = NodeId(new.signer);
        let known = self.records.get(&owner);
        if new.body.job != self.job {
            return Err(Rejection::OtherJob);
        }
        if known.is_some_and(|known| known.body.seq > new.body.seq || known.body == new.body) {
            return Ok(None);
        }
        if self.buried.get(&owner).is_some_and(|(seq, _)| *seq >= new.body.seq) {
            return Ok(None);
        }
        if known.is_none() && self.records.len() >= MEMBERS {
            return Err(Rejection::Full);
        }
        self.check_record(new)?;
        self.buried.remove(&owner);
        // An owner that says two things under one version is broken or lying: all must still agree on one.
        let stands = |known: &Signed<Record>| known.body.seq == new.body.seq && encode(&known.body) < encode(&new.body);
        if known.is_some_and(stands) {
            return Ok(None);
        }
        let old = self.records.insert(owner, new.clone());
        Ok(Some(old.map_or_else(|| Record::empty(self.job), |signed| signed.body)))
    }

    /// Whether it is a valid record of its signer for this job.
    pub(crate) fn check_record(&self, record: &Signed<Record>) -> Result<(), Rejection> {
        if record.body.job != self.job {
            return Err(Rejection::OtherJob);
        }
        let body = &record.body;
        if [Some(&body.held), Some(&body.done), body.leaving.as_ref()]
            .iter()
            .flatten()
            .any(|set| set.end() > self.slots)
        {
            return Err(Rejection::Slots);
        }
        record.verify().map_err(|_| Rejection::Signature)
    }

    /// All that a dead member held is others': its page is forgotten, lest somebody who does not know what became
    /// of those slots inherits them once more. Should it live, it will say something newer.
    pub(crate) fn bury(&mut self, node: &NodeId, now: Duration) {
        if let Some(record) = self.records.remove(node) {
            self.shut_out(*node, record.body.seq, Some(now));
        }
    }

    /// From version `seq` on it is of another group: its page is forgotten, and others may still tell of older ones.
    pub(crate) fn moved(&mut self, node: &NodeId, seq: u64) {
        self.records.remove(node);
        self.shut_out(*node, seq.saturating_sub(1), None);
    }

    fn shut_out(&mut self, node: NodeId, seq: u64, dead: Option<Duration>) {
        if self.buried.len() >= MEMBERS && !self.buried.contains_key(&node) {
            self.buried.pop_first();
        }
        self.buried.insert(node, (seq, dead));
    }

    /// The dead that were buried since.
    pub(crate) fn buried_since(&self, since: Duration) -> impl Iterator<Item = &NodeId> {
        let lately = move |at: &Option<Duration>| at.is_some_and(|at| at >= since);
        self.buried.iter().filter(move |(_, (_, at))| lately(at)).map(|(node, _)| node)
    }

    /// Forgets the page of one that is of the group no more; whether there was one.
    pub(crate) fn remove_record(&mut self, node: &NodeId) -> bool {
        self.records.remove(node).is_some()
    }

    /// Takes a seal in; returns the slots that were not known to be sealed.
    ///
    /// # Errors
    /// [`Rejection`] when it is not a valid seal of this job's author.
    pub fn merge_seal(&mut self, new: &Signed<Seal>) -> Result<IntervalSet, Rejection> {
        if new.body.job != self.job {
            return Err(Rejection::OtherJob);
        }
        if new.body.slots.end() > self.slots {
            return Err(Rejection::Slots);
        }
        let fresh = sets::minus(&new.body.slots, &self.sealed);
        if new.body.term < self.term || (fresh.is_empty() && new.body.term == self.term) {
            return Ok(IntervalSet::new());
        }
        if new.signer != self.author.0 {
            return Err(Rejection::Signature);
        }
        new.verify().map_err(|_| Rejection::Signature)?;
        if new.body.term > self.term {
            // The author has lost what it had: that is nobody's now, and it will find so.
            self.term = new.body.term;
            self.sealed = IntervalSet::new();
            self.seals.clear();
        }
        self.sealed = sets::union([&self.sealed, &new.body.slots]);
        self.seals.retain(|old| !sets::minus(&old.body.slots, &new.body.slots).is_empty());
        if self.seals.len() == SEALS {
            self.seals.remove(0);
        }
        self.seals.push(new.clone());
        Ok(fresh)
    }

    /// The author's own word: these slots are sealed. What is passed on is signed elsewhere.
    pub(crate) fn seal(&mut self, slots: &IntervalSet) {
        if slots.spans().len() < 16 {
            self.sealed.union(slots);
        } else {
            self.sealed = sets::union([&self.sealed, slots]);
        }
    }
}

impl Record {
    /// The record of a member of which nothing is known.
    #[must_use]
    pub fn empty(job: JobId) -> Record {
        Record {
            job,
            seq: 0,
            group: 0,
            held: IntervalSet::new(),
            done: IntervalSet::new(),
            load: crate::message::Load::default(),
            leaving: None,
        }
    }
}
