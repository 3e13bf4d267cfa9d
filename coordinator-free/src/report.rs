//! A worker's results on their way to the author: kept until sealed, sent in batches, sent again when in doubt.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{IntervalSet, JobId, Keypair, Leaf, Receipt, Results, Signed};

use crate::config::Tuning;

#[derive(Clone, Debug)]
struct Kept {
    leaf: Leaf,
    cpu_micros: u32,
    /// Another ran it, with an engine that is not known here.
    passed_on: bool,
}

#[derive(Clone, Debug)]
struct Batch {
    slots: IntervalSet,
    attempt: u32,
}

/// The results of one member.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    job: JobId,
    engine: String,
    flush: Duration,
    batch: (usize, usize),
    resend: (Duration, Duration, Duration),
    leaves: BTreeMap<u32, Kept>,
    /// Not sent yet, and their bytes.
    pending: IntervalSet,
    pending_bytes: usize,
    flushed: Option<Duration>,
    /// Sent and, for all that is known, not sealed; by when they are sent again, numbered to be distinct.
    sent: BTreeMap<(Duration, u64), Batch>,
    number: u64,
}

impl Reporter {
    pub(crate) fn new(job: JobId, engine: String, tuning: &Tuning) -> Reporter {
        Reporter {
            job,
            engine,
            flush: tuning.flush,
            batch: tuning.batch,
            resend: tuning.resend,
            leaves: BTreeMap::new(),
            pending: IntervalSet::new(),
            pending_bytes: 0,
            flushed: None,
            sent: BTreeMap::new(),
            number: 0,
        }
    }

    /// Results kept.
    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    pub(crate) fn add(&mut self, slot: u32, leaf: Leaf, cpu_micros: u64) {
        let cpu_micros = u32::try_from(cpu_micros).unwrap_or(u32::MAX);
        self.keep(slot, Kept { leaf, cpu_micros, passed_on: false });
    }

    /// As [`Reporter::add`], of what another has run, or this node in an earlier life.
    pub(crate) fn pass_on(&mut self, slot: u32, leaf: Leaf) {
        self.keep(slot, Kept { leaf, cpu_micros: 0, passed_on: true });
    }

    fn keep(&mut self, slot: u32, kept: Kept) {
        self.pending_bytes += bytes(&kept.leaf);
        self.pending.insert(slot..slot + 1);
        self.leaves.insert(slot, kept);
    }

    /// The author has these: they are dropped; returns those that were kept here.
    pub(crate) fn drop_sealed(&mut self, slots: &IntervalSet) -> IntervalSet {
        let mut gone = IntervalSet::new();
        for span in slots.spans() {
            for (slot, _) in self.leaves.range(span.clone()) {
                gone.insert(*slot..*slot + 1);
            }
        }
        self.forget(&gone);
        gone
    }

    /// These are not wanted: drops them unsent.
    pub(crate) fn forget(&mut self, slots: &IntervalSet) {
        for slot in slots.iter() {
            if let Some(kept) = self.leaves.remove(&slot).filter(|_| self.pending.contains(slot)) {
                self.pending_bytes -= bytes(&kept.leaf);
                self.pending.remove(slot..slot + 1);
            }
        }
    }

    /// Sends all that is not known to be sealed once more, as the author may not have it.
    pub(crate) fn again(&mut self, now: Duration) {
        let left: IntervalSet = self.leaves.keys().copied().filter(|slot| !self.pending.contains(*slot)).collect();
        self.sent.clear();
        self.remember(now, left, 0);
    }

    /// Sends those of `slots` that are kept once more.
    pub(crate) fn say_again(&mut self, now: Duration, slots: &IntervalSet) {
        let kept: IntervalSet = slots.iter().filter(|slot| self.leaves.contains_key(slot)).collect();
        self.remember(now, kept, 0);
    }

    /// The author has counted these, and waits for other copies.
    pub(crate) fn counted(&mut self, now: Duration, slots: &IntervalSet) {
        for batch in self.sent.values_mut() {
            batch.slots.subtract(slots);
        }
        self.sent.retain(|_, batch| !batch.slots.is_empty());
        let mut slots = slots.clone();
        slots.subtract(&self.pending);
        let kept: IntervalSet = slots.iter().filter(|slot| self.leaves.contains_key(slot)).collect();
        self.remember(now + self.resend.2, kept, 0);
    }

    /// When [`Reporter::due`] may have something.
    pub(crate) fn deadline(&self, urgent: bool) -> Option<Duration> {
        let fresh = (!self.pending.is_empty()).then(|| self.flush_at(urgent));
        let again = self.sent.keys().next().map(|(at, _)| *at);
        fresh.into_iter().chain(again).min()
    }

    /// The messages that are due now; `urgent` when the worker has nothing more to do.
    pub(crate) fn due(&mut self, now: Duration, urgent: bool, keypair: &Keypair) -> Vec<Results> {
        let mut out = Vec::new();
        if !self.pending.is_empty() && now >= self.flush_at(urgent) {
            self.flushed = Some(now);
            self.pending_bytes = 0;
            let pending = std::mem::take(&mut self.pending);
            self.send(now, pending, 0, keypair, &mut out);
        }
        while let Some(entry) = self.sent.first_entry().filter(|entry| entry.key().0 <= now) {
            let Batch { slots, attempt } = entry.remove();
            let left: IntervalSet = slots.iter().filter(|slot| self.leaves.contains_key(slot)).collect();
            self.send(now, left, attempt + 1, keypair, &mut out);
        }
        out
    }

    fn flush_at(&self, urgent: bool) -> Duration {
        let full = self.pending.len() >= self.batch.0 as u64 || self.pending_bytes >= self.batch.1;
        match self.flushed {
            Some(last) if !urgent && !full => last + self.flush,
            _ => Duration::ZERO,
        }
    }

    /// Sends `slots`, and again after a while.
    fn send(&mut self, now: Duration, slots: IntervalSet, attempt: u32, key: &Keypair, out: &mut Vec<Results>) {
        let delay = self.resend.0.saturating_mul(1 << attempt.min(8)).min(self.resend.1);
        for results in self.pack(&slots, key) {
            self.remember(now + delay, results.receipt.body.slots.clone(), attempt);
            out.push(results);
        }
    }

    /// Those of `slots` that did not fail, to be kept by another, too.
    pub(crate) fn copies(&self, slots: &IntervalSet, key: &Keypair) -> Vec<Results> {
        let good = |slot: &u32| self.leaves.get(slot).is_some_and(|kept| !matches!(kept.leaf, Leaf::Failed(_)));
        self.pack(&slots.iter().filter(good).collect(), key)
    }

    /// Cuts those of `slots` that are kept into messages within the bounds.
    fn pack(&self, slots: &IntervalSet, key: &Keypair) -> Vec<Results> {
        let mut out = Vec::new();
        let mut left = slots.iter().peekable();
        while left.peek().is_some() {
            let (mut slots, mut leaves) = (IntervalSet::new(), Vec::new());
            let (mut size, mut cpu_micros) = (0, 0);
            let mut passed_on = None;
            while let Some(slot) = left.peek().copied() {
                let Some(kept) = self.leaves.get(&slot) else { break };
                if *passed_on.get_or_insert(kept.passed_on) != kept.passed_on {
                    break;
                }
                if leaves.len() == self.batch.0 || (size > 0 && size + bytes(&kept.leaf) > self.batch.1) {
                    break;
                }
                left.next();
                slots.insert(slot..slot + 1);
                size += bytes(&kept.leaf);
                cpu_micros += u64::from(kept.cpu_micros);
                leaves.push(kept.leaf.clone());
            }
            if leaves.is_empty() {
                left.next();
                continue;
            }
            let root = Receipt::root(&leaves);
            let engine = if passed_on == Some(true) { String::new() } else { self.engine.clone() };
            let receipt = Receipt { job: self.job, slots, root, engine, cpu_micros };
            out.push(Results { receipt: Signed::sign(receipt, key), leaves });
        }
        out
    }

    fn remember(&mut self, at: Duration, slots: IntervalSet, attempt: u32) {
        if !slots.is_empty() {
            self.number += 1;
            self.sent.insert((at, self.number), Batch { slots, attempt });
        }
    }
}

/// Bytes of a leaf in a message, about.
fn bytes(leaf: &Leaf) -> usize {
    64 + match leaf {
        Leaf::Inline(bytes) => bytes.len(),
        Leaf::Blob(_) => 0,
        Leaf::Failed(note) => note.message.len(),
    }
}
