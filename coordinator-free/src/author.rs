//! The author's side: collects outputs, counts copies, seals, and tells the person.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{BlobId, FailureNote, IntervalSet, Keypair, Leaf, NodeId, Results, Rows, Signed};

use crate::io::{Notice, Output};
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Close, Message, Reason, Seal};
use crate::sets;

/// Least time between two seals that are gossiped, but for the last.
const SEAL_GAP: Duration = Duration::from_secs(1);
/// Up to so many intervals, everything that is sealed is said again each time.
const FULL_SEAL_SPANS: usize = 1_024;
/// Intervals in one seal.
const SEAL_SPANS: usize = 8_192;
/// Results kept for one chunk, beyond the copies that it needs.
const SPARE_VOTES: usize = 4;

#[derive(Clone, Debug)]
struct Vote {
    worker: NodeId,
    slot: u32,
    digest: BlobId,
    /// Kept until one such output is safe.
    leaf: Option<Leaf>,
}

/// What is known of one chunk that is not sealed.
#[derive(Clone, Debug, Default)]
struct Tally {
    votes: Vec<Vote>,
    /// Whose output is being made safe.
    collecting: Option<NodeId>,
    /// Whose output is safe.
    safe: Option<NodeId>,
}

/// What follows for a chunk from a vote, or from its output being safe.
enum Verdict {
    Wait,
    Collect(Box<Output>),
    Seal(NodeId),
    Disagree(Vec<NodeId>),
}

/// What only the author's member keeps.
#[derive(Debug)]
pub(crate) struct Author {
    key: Keypair,
    rows: Rows,
    tallies: BTreeMap<u32, Tally>,
    /// Where a chunk failed.
    failures: BTreeMap<u32, Vec<NodeId>>,
    /// Slots whose chunk failed at a member, or whose output could not be had from it.
    distrust: BTreeMap<NodeId, IntervalSet>,
    /// Sealed and not yet gossiped; when seals were last.
    unsaid: IntervalSet,
    said: Option<Duration>,
    /// All seals as signed last, and how many slots they hold.
    signed: (u64, Vec<Signed<Seal>>),
}

impl Author {
    pub(crate) fn new(key: Keypair, rows: Rows) -> Author {
        Author {
            key,
            rows,
            tallies: BTreeMap::new(),
            failures: BTreeMap::new(),
            distrust: BTreeMap::new(),
            unsaid: IntervalSet::new(),
            said: None,
            signed: (0, Vec::new()),
        }
    }

    /// Votes kept.
    pub(crate) fn len(&self) -> usize {
        self.tallies.values().map(|tally| tally.votes.len()).sum::<usize>() + self.failures.len()
    }

    pub(crate) fn distrusted(&self, node: &NodeId) -> Option<&IntervalSet> {
        self.distrust.get(node)
    }

    /// Whether a result of `node` for this chunk is on its way to be safe.
    pub(crate) fn has_vote(&self, node: NodeId, chunk: u32) -> bool {
        self.tallies.get(&chunk).is_some_and(|tally| tally.votes.iter().any(|vote| vote.worker == node))
    }

    fn vote(&mut self, slot: u32, chunk: u32, worker: NodeId, leaf: &Leaf) -> Verdict {
        let copies = usize::from(self.rows.copies);
        if self.distrust.get(&worker).is_some_and(|slots| slots.contains(slot)) {
            return Verdict::Wait;
        }
        let tally = self.tallies.entry(chunk).or_default();
        // A worker has one voice, however many copies it has run.
        if tally.votes.iter().any(|vote| vote.worker == worker) || tally.votes.len() >= copies + SPARE_VOTES {
            return Verdict::Wait;
        }
        let leaf_kept = tally.safe.is_none().then(|| leaf.clone());
        tally.votes.push(Vote { worker, slot, digest: leaf.digest(), leaf: leaf_kept });
        self.judge(chunk)
    }

    fn collected(&mut self, chunk: u32, worker: NodeId, safe: bool) -> Option<Verdict> {
        let tally = self.tallies.get_mut(&chunk)?;
        tally.collecting.take_if(|asked| *asked == worker)?;
        if safe {
            tally.safe = Some(worker);
            tally.votes.iter_mut().for_each(|vote| vote.leaf = None);
        } else {
            tally.votes.retain(|vote| vote.worker != worker);
            self.distrust(worker, chunk);
        }
        Some(self.judge(chunk))
    }

    fn judge(&mut self, chunk: u32) -> Verdict {
        let copies = usize::from(self.rows.copies);
        let Some(tally) = self.tallies.get_mut(&chunk) else { return Verdict::Wait };
        let Some(first) = tally.votes.first() else {
            self.tallies.remove(&chunk);
            return Verdict::Wait;
        };
        let workers = || tally.votes.iter().map(|vote| vote.worker).collect();
        if copies > 1 && tally.votes.iter().any(|vote| vote.digest != first.digest) {
            return Verdict::Disagree(workers());
        }
        match (tally.safe, tally.collecting, &first.leaf) {
            (Some(worker), ..) if tally.votes.len() >= copies => {
                self.tallies.remove(&chunk);
                self.failures.remove(&chunk);
                Verdict::Seal(worker)
            }
            (None, None, Some(leaf)) => {
                let (slot, worker, leaf) = (first.slot, first.worker, leaf.clone());
                tally.collecting = Some(worker);
                Verdict::Collect(Box::new(Output::Collect { slot, chunk, worker, leaf }))
            }
            _ => Verdict::Wait,
        }
    }

    fn distrust(&mut self, worker: NodeId, chunk: u32) {
        let slots = self.distrust.entry(worker).or_default();
        self.rows.slots_of(chunk).for_each(|slot| slots.insert(slot..slot + 1));
    }
}

impl Member {
    pub(crate) fn on_results(&mut self, from: NodeId, results: &Results) -> Result<(), Rejection> {
        let receipt = &results.receipt.body;
        if self.author.is_none() || results.worker() != from {
            return Err(Rejection::Unasked);
        }
        if receipt.job != self.config.job {
            return Err(Rejection::OtherJob);
        }
        if receipt.slots.end() > self.config.rows.slots() {
            return Err(Rejection::Slots);
        }
        results.verify().map_err(|_| Rejection::Signature)?;
        for (slot, leaf) in results.iter() {
            self.on_result(from, slot, leaf);
            if self.ended {
                return Ok(());
            }
        }
        let mut left = sets::minus(&receipt.slots, self.ledger.sealed());
        if let Some(distrusted) = self.author.as_ref().and_then(|author| author.distrusted(&from)) {
            let slots = left.intersection(distrusted);
            left = sets::minus(&left, &slots);
            if !slots.is_empty() {
                self.send(from, Message::Refused { slots });
            }
        }
        if self.config.rows.copies > 1 && !left.is_empty() {
            self.send(from, Message::Counted { slots: left });
        }
        Ok(())
    }

    /// One slot's result, its signature checked.
    pub(crate) fn on_result(&mut self, worker: NodeId, slot: u32, leaf: &Leaf) {
        if self.ended || self.ledger.sealed().contains(slot) {
            return;
        }
        let chunk = self.config.rows.chunk(slot);
        let Some(author) = &mut self.author else { return };
        if let Leaf::Failed(note) = leaf {
            return self.on_failure(worker, slot, chunk, note);
        }
        let verdict = author.vote(slot, chunk, worker, leaf);
        self.carry_out(chunk, verdict);
    }

    pub(crate) fn on_collected(&mut self, slot: u32, worker: NodeId, safe: bool) {
        if slot >= self.config.rows.slots() {
            return;
        }
        let chunk = self.config.rows.chunk(slot);
        let Some(verdict) = self.author.as_mut().and_then(|author| author.collected(chunk, worker, safe)) else {
            return;
        };
        // Another worker's output of the same chunk may do instead, unless every voice is needed.
        let missed = !safe && (matches!(verdict, Verdict::Wait) || self.config.rows.copies > 1);
        self.carry_out(chunk, verdict);
        if missed && !self.ended {
            self.send(worker, Message::Refused { slots: (slot..slot + 1).into() });
            self.reissue(slot, worker);
        }
    }

    fn carry_out(&mut self, chunk: u32, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Collect(output) => self.out.push_back(*output),
            Verdict::Seal(worker) => self.seal(chunk, worker),
            Verdict::Disagree(workers) => {
                self.out.push_back(Output::Notice(Notice::Disagreement { chunk, workers }));
                self.close(Reason::Failed);
            }
        }
    }

    fn seal(&mut self, chunk: u32, worker: NodeId) {
        let slots: IntervalSet = self.config.rows.slots_of(chunk).collect();
        let Some(author) = &mut self.author else { return };
        author.unsaid.union(&slots);
        self.ledger.seal(&slots);
        self.drop_sealed(&slots);
        self.out.push_back(Output::Notice(Notice::Sealed { chunk, worker }));
        if self.ledger.sealed().len() == u64::from(self.config.rows.slots()) {
            self.close(Reason::Done);
        }
    }

    /// A chunk has failed somewhere: elsewhere once more, or the job has failed.
    fn on_failure(&mut self, worker: NodeId, slot: u32, chunk: u32, note: &FailureNote) {
        let Some(author) = &mut self.author else { return };
        let failed_at = author.failures.entry(chunk).or_default();
        let outvoted = self.config.rows.copies == 1 && author.tallies.contains_key(&chunk);
        if failed_at.contains(&worker) || outvoted {
            return;
        }
        failed_at.push(worker);
        let failed_at = failed_at.clone();
        author.distrust(worker, chunk);
        let lends = |node: &NodeId| {
            let takes_part = self.ledger.record(node).is_some_and(|record| !record.leaving);
            takes_part && self.peers.get(node).is_some_and(|peer| peer.alive() && peer.load.threads > 0)
        };
        let here = self.work.threads() > 0 && !failed_at.contains(&self.config.me);
        let elsewhere = here || self.peers.keys().any(|node| lends(node) && !failed_at.contains(node));
        let retried = elsewhere && failed_at.len() as u64 <= u64::from(self.config.retries);
        self.out.push_back(Output::Notice(Notice::Failed { chunk, worker, note: note.clone(), retried }));
        if retried {
            self.reissue(slot, worker);
        } else {
            self.close(Reason::Failed);
        }
    }

    /// Takes a slot back from a worker whose result is of no use: for anyone else.
    fn reissue(&mut self, slot: u32, worker: NodeId) {
        if worker == self.config.me {
            self.work.refuse(self.config.rows.slots_of(self.config.rows.chunk(slot)));
            self.report.forget(&(slot..slot + 1).into());
        }
        self.work.reopen(slot);
        self.claim.fresh.push_back((self.now + self.config.tuning.fresh, (slot..slot + 1).into()));
        self.lease_moved();
    }

    pub(crate) fn seal_deadline(&self) -> Option<Duration> {
        let author = self.author.as_ref().filter(|author| !author.unsaid.is_empty())?;
        Some(author.said.map_or(Duration::ZERO, |last| last + SEAL_GAP))
    }

    /// Gossips what has been sealed, if it is time to.
    pub(crate) fn spread_seals(&mut self) {
        if self.seal_deadline().is_none_or(|at| self.now < at) {
            return;
        }
        let full = self.ledger.sealed().spans().len() <= FULL_SEAL_SPANS;
        let seals = if full { self.all_seals() } else { self.new_seals() };
        seals.into_iter().for_each(|seal| self.out.push_back(Output::Gossip(Message::Seal(seal))));
        if let Some(author) = &mut self.author {
            author.unsaid = IntervalSet::new();
            author.said = Some(self.now);
        }
    }

    fn new_seals(&self) -> Vec<Signed<Seal>> {
        let Some(author) = &self.author else { return Vec::new() };
        self.sign(&author.unsaid, &author.key)
    }

    /// All that is sealed, signed by the author: anew at the author, as it was heard elsewhere.
    pub(crate) fn all_seals(&mut self) -> Vec<Signed<Seal>> {
        let sealed = self.ledger.sealed();
        let Some(author) = &self.author else { return self.ledger.seals().to_vec() };
        if author.signed.0 == sealed.len() {
            return author.signed.1.clone();
        }
        let seals = self.sign(sealed, &author.key);
        let len = sealed.len();
        if let Some(author) = &mut self.author {
            author.signed = (len, seals.clone());
        }
        seals
    }

    fn sign(&self, slots: &IntervalSet, key: &Keypair) -> Vec<Signed<Seal>> {
        let piece = |spans: &[std::ops::Range<u32>]| {
            let mut slots = IntervalSet::new();
            spans.iter().for_each(|span| slots.insert(span.clone()));
            Signed::sign(Seal { job: self.config.job, slots }, key)
        };
        slots.spans().chunks(SEAL_SPANS).map(piece).collect()
    }

    /// Ends the job for everyone. Only the author can.
    pub(crate) fn close(&mut self, reason: Reason) {
        if self.ended {
            return;
        }
        if reason == Reason::Done {
            self.all_seals().into_iter().for_each(|seal| self.out.push_back(Output::Gossip(Message::Seal(seal))));
        }
        let Some(author) = &self.author else { return };
        let close = Signed::sign(Close { job: self.config.job, reason }, &author.key);
        self.out.push_back(Output::Gossip(Message::Close(close.clone())));
        // Gossip may be lost or late, and nobody may be here to say it again.
        let alive: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.alive()).map(|(node, _)| *node).collect();
        alive.into_iter().for_each(|node| self.send(node, Message::Close(close.clone())));
        self.end(reason);
    }
}
