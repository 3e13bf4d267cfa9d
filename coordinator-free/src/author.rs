//! The author's side: collects outputs, counts copies, seals, and tells the person.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{IntervalSet, Keypair, Leaf, NodeId, Results, Rows, Signed};

use crate::failed::Failure;
use crate::groups::Directory;
use crate::io::{Notice, Output};
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Close, Message, Reason, Seal};
use crate::sets;
use crate::tally::{Tally, Verdict};

/// Least time between two seals that are gossiped, but for the last.
const SEAL_GAP: Duration = Duration::from_secs(1);
/// Up to so many intervals, everything that is sealed is said again each time.
const FULL_SEAL_SPANS: usize = 1_024;
/// Intervals in one seal.
const SEAL_SPANS: usize = 8_192;

/// What only the author's member keeps.
#[derive(Debug)]
pub(crate) struct Author {
    pub(crate) key: Keypair,
    rows: Rows,
    pub(crate) tallies: BTreeMap<u32, Tally>,
    /// Slots given to be checked, to whom and when: until they are answered, or the peer is gone.
    pub(crate) checks: BTreeMap<u32, (NodeId, Duration)>,
    /// How often each peer was agreed with, and outvoted.
    pub(crate) standing: BTreeMap<NodeId, (u32, u32)>,
    /// Chunks that failed and are not sealed; how many were given up.
    pub(crate) failures: BTreeMap<u32, Failure>,
    pub(crate) given_up: u32,
    /// Slots whose chunk failed at a member, or whose output could not be had from it.
    distrust: BTreeMap<NodeId, IntervalSet>,
    /// What members of other groups have told.
    pub(crate) directory: Directory,
    /// Sealed and not yet said; what of that members of other groups ran; when seals were last said.
    unsaid: IntervalSet,
    pub(crate) owed: BTreeMap<NodeId, IntervalSet>,
    said: Option<Duration>,
    /// All seals as signed last, and how many slots they hold.
    signed: Option<(u64, Vec<Signed<Seal>>)>,
}

impl Author {
    /// `given_up` of its chunks were so before.
    pub(crate) fn new(key: Keypair, rows: Rows, given_up: u32) -> Author {
        Author {
            key,
            rows,
            tallies: BTreeMap::new(),
            checks: BTreeMap::new(),
            standing: BTreeMap::new(),
            failures: BTreeMap::new(),
            given_up,
            distrust: BTreeMap::new(),
            directory: Directory::default(),
            unsaid: IntervalSet::new(),
            owed: BTreeMap::new(),
            said: None,
            signed: None,
        }
    }

    /// Chunks that failed, and are not sealed.
    pub(crate) fn failed(&self) -> impl Iterator<Item = u32> {
        self.failures.keys().copied()
    }

    /// Things kept one by one.
    pub(crate) fn len(&self) -> usize {
        let voices: usize = self.tallies.values().map(Tally::len).sum();
        voices + self.checks.len() + self.failures.len()
    }

    pub(crate) fn distrusted(&self, node: &NodeId) -> Option<&IntervalSet> {
        self.distrust.get(node)
    }

    /// Whether a result of `node` for this chunk is on its way to be safe.
    pub(crate) fn has_vote(&self, node: NodeId, chunk: u32) -> bool {
        self.tallies.get(&chunk).is_some_and(|tally| tally.has_voice(&node))
    }

    /// Who has said what comes out of a chunk.
    pub(crate) fn voices(&self, chunk: u32) -> Vec<NodeId> {
        self.tallies.get(&chunk).map_or_else(Vec::new, |tally| tally.workers().collect())
    }

    pub(crate) fn copies(&self) -> usize {
        usize::from(self.rows.copies)
    }

    pub(crate) fn distrust(&mut self, worker: NodeId, chunk: u32) {
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
        self.check_results(results)?;
        if self.work.aside.get(&from).is_some_and(|aside| self.answers(&aside.slots, &receipt.slots)) {
            // Who has run it has taken it.
            self.grant_taken(from);
        }
        for (slot, leaf) in results.iter() {
            self.on_result(from, slot, leaf);
            if self.ended {
                return Ok(());
            }
        }
        let mut left = sets::minus(&receipt.slots, self.ledger.sealed());
        self.remind(from, &receipt.slots);
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

    /// Whether these are results of this job, rightly signed.
    pub(crate) fn check_results(&self, results: &Results) -> Result<(), Rejection> {
        let receipt = &results.receipt.body;
        if receipt.job != self.config.job {
            return Err(Rejection::OtherJob);
        }
        if receipt.slots.end() > self.config.rows.slots() {
            return Err(Rejection::Slots);
        }
        results.verify().map_err(|_| Rejection::Signature)
    }

    /// Whether among `results` are chunks of `granted`, be it in another row.
    fn answers(&self, granted: &IntervalSet, results: &IntervalSet) -> bool {
        sets::meet(granted, results) || sets::meet(granted, &sets::siblings(self.config.rows, results))
    }

    /// One slot's result, its signature checked.
    pub(crate) fn on_result(&mut self, worker: NodeId, slot: u32, leaf: &Leaf) {
        if self.ended || self.ledger.sealed().contains(slot) {
            return;
        }
        let chunk = self.config.rows.chunk(slot);
        let Some(author) = self.author.as_mut().filter(|author| !author.gives_up(chunk)) else { return };
        if let Leaf::Failed(note) = leaf {
            return self.on_failure(worker, slot, chunk, note);
        }
        if author.distrusted(&worker).is_some_and(|slots| slots.contains(slot)) || self.ledger.is_banned(&worker) {
            return;
        }
        let (copies, own) = (author.copies(), worker == self.config.me);
        // A run of one's own that tells nothing new has used its slot up, too.
        let mut answered = own;
        for slot in self.config.rows.slots_of(chunk) {
            if author.checks.get(&slot).is_some_and(|(checker, _)| *checker == worker) {
                author.checks.remove(&slot);
                answered = true;
            }
        }
        let tally = author.tallies.entry(chunk).or_default();
        let mut verdict = tally.hear(worker, slot, leaf, own, copies);
        if answered && matches!(verdict, Verdict::Wait) {
            // It had been heard already: one who was counted on less.
            verdict = tally.judge(copies);
        }
        self.follow(chunk, verdict);
    }

    pub(crate) fn on_collected(&mut self, slot: u32, worker: NodeId, safe: bool) {
        if slot >= self.config.rows.slots() {
            return;
        }
        let chunk = self.config.rows.chunk(slot);
        let Some(author) = &mut self.author else { return };
        if author.gives_up(chunk) {
            return self.on_written_off(chunk, worker, safe);
        }
        let copies = author.copies();
        let Some(tally) = author.tallies.get_mut(&chunk) else { return };
        let Some((verdict, gone)) = tally.collected(worker, safe, copies) else { return };
        gone.iter().for_each(|worker| author.distrust(*worker, chunk));
        for worker in gone {
            if worker == self.config.me {
                self.disown(chunk);
            } else {
                self.send(worker, Message::Refused { slots: self.config.rows.slots_of(chunk).collect() });
            }
        }
        self.follow(chunk, verdict);
    }

    /// Does what follows for a chunk from what was said of it.
    pub(crate) fn follow(&mut self, chunk: u32, verdict: Verdict) {
        if self.ended {
            return;
        }
        match verdict {
            Verdict::Wait => {}
            Verdict::Check(voices) => self.call_for(chunk, voices),
            Verdict::Collect(worker, slot, leaf) => {
                self.out.push_back(Output::Collect { slot, chunk, worker, leaf });
            }
            Verdict::Seal { worker, agreed, outvoted } => {
                if let Some(author) = &mut self.author {
                    author.tallies.remove(&chunk);
                }
                self.owe(chunk, agreed.iter().chain(&outvoted));
                self.remember_votes(chunk, &agreed, outvoted);
                self.seal(chunk, Notice::Sealed { chunk, worker });
            }
            Verdict::Hopeless(workers) => self.disagree(chunk, workers),
        }
    }

    /// Those of other groups who had a say on a chunk are to hear that it is sealed.
    fn owe<'a>(&mut self, chunk: u32, workers: impl Iterator<Item = &'a NodeId>) {
        let elsewhere: Vec<NodeId> = workers.filter(|node| !self.is_fellow(node)).copied().collect();
        let Some(author) = &mut self.author else { return };
        for node in elsewhere.into_iter().filter(|node| *node != self.config.me) {
            author.owed.entry(node).or_default().union(&self.config.rows.slots_of(chunk).collect());
        }
    }

    /// It has sent what was sealed before: it has not heard so.
    fn remind(&mut self, worker: NodeId, slots: &IntervalSet) {
        let known = slots.intersection(self.ledger.sealed());
        let fellow = self.is_fellow(&worker);
        if let Some(author) = self.author.as_mut().filter(|_| !fellow && !known.is_empty()) {
            author.owed.entry(worker).or_default().union(&known);
        }
    }

    pub(crate) fn seal(&mut self, chunk: u32, notice: Notice) {
        let slots: IntervalSet = self.config.rows.slots_of(chunk).collect();
        if self.ended {
            return;
        }
        let Some(author) = &mut self.author else { return };
        author.failures.remove(&chunk);
        for slot in slots.iter() {
            author.checks.remove(&slot);
        }
        author.unsaid.union(&slots);
        self.ledger.seal(&slots);
        self.drop_sealed(&slots);
        self.out.push_back(Output::Notice(notice));
        if self.ledger.sealed().len() == u64::from(self.config.rows.slots()) {
            self.close(Reason::Done);
        }
    }

    /// What this node itself made of a chunk is of no use: it is for others.
    pub(crate) fn disown(&mut self, chunk: u32) {
        let slots: IntervalSet = self.config.rows.slots_of(chunk).collect();
        self.report.forget(&slots);
        self.work.refuse(slots.iter());
    }

    pub(crate) fn seal_deadline(&self) -> Option<Duration> {
        let renewed = self.ledger.term() > 0;
        let has_news = |author: &&Author| {
            !(author.unsaid.is_empty() && author.owed.is_empty()) || (renewed && author.said.is_none())
        };
        let author = self.author.as_ref().filter(has_news)?;
        Some(author.said.map_or(Duration::ZERO, |last| last + SEAL_GAP))
    }

    /// Says what has been sealed, if it is time to: all to the own group, to others what they ran.
    pub(crate) fn spread_seals(&mut self) {
        if self.seal_deadline().is_none_or(|at| self.now < at) {
            return;
        }
        let renewed = self.ledger.term() > 0;
        let news = |author: &Author| !author.unsaid.is_empty() || (renewed && author.said.is_none());
        if self.author.as_ref().is_some_and(news) {
            let full = self.ledger.sealed().spans().len() <= FULL_SEAL_SPANS;
            let seals = if full { self.all_seals() } else { self.new_seals() };
            seals.into_iter().for_each(|seal| self.say(&Message::Seal(seal)));
        }
        let owed = self.author.as_mut().map(|author| std::mem::take(&mut author.owed)).unwrap_or_default();
        for (node, slots) in owed {
            let Some(author) = &self.author else { return };
            for seal in self.sign(&slots, &author.key) {
                self.send(node, Message::Seal(seal));
            }
        }
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
        if let Some((_, seals)) = author.signed.as_ref().filter(|(len, _)| *len == sealed.len()) {
            return seals.clone();
        }
        let seals = self.sign(sealed, &author.key);
        let len = sealed.len();
        if let Some(author) = &mut self.author {
            author.signed = Some((len, seals.clone()));
        }
        seals
    }

    pub(crate) fn sign(&self, slots: &IntervalSet, key: &Keypair) -> Vec<Signed<Seal>> {
        let term = self.ledger.term();
        let piece = |spans: &[std::ops::Range<u32>]| {
            let mut slots = IntervalSet::new();
            spans.iter().for_each(|span| slots.insert(span.clone()));
            Signed::sign(Seal { job: self.config.job, term, slots }, key)
        };
        if slots.is_empty() && term > 0 {
            // That nothing is sealed is news where there was an earlier term.
            return vec![piece(&[])];
        }
        slots.spans().chunks(SEAL_SPANS).map(piece).collect()
    }

    /// Ends the job for everyone. Only the author can.
    pub(crate) fn close(&mut self, reason: Reason) {
        if self.ended {
            return;
        }
        if reason == Reason::Done {
            self.all_seals().into_iter().for_each(|seal| self.say(&Message::Seal(seal)));
        }
        let Some(author) = &self.author else { return };
        let close = Signed::sign(Close { job: self.config.job, reason }, &author.key);
        self.out.push_back(Output::Gossip(Message::Close(close.clone())));
        // Gossip may be lost or late, and nobody may be here to say it again.
        let alive: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.alive()).map(|(node, _)| *node).collect();
        alive.into_iter().for_each(|node| self.send(node, Message::Close(close.clone())));
        self.end(reason, Some(close));
    }
}
