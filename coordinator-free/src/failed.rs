//! Chunks that fail: tried again elsewhere, and then given up, or the end of the job. The author's part.
//!
//! What has failed for good is *given up*: the failure is written down where the output would be, and the chunk is sealed
//! like any other, so that nobody runs it again. When more fail than the job bears, it has failed.

use std::time::Duration;

use essaim_jobs::{FailureNote, Leaf, NodeId};

use crate::author::Author;
use crate::io::{Notice, Output};
use crate::member::Member;
use crate::message::Reason;
use crate::tally::Tally;

/// A chunk that failed, and is not sealed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Where.
    at: Vec<NodeId>,
    /// What was said of it last.
    note: FailureNote,
    /// Since when there is nobody else to try it.
    alone: Option<Duration>,
    /// Whose failure is being written down, once it is given up.
    given_up: Option<NodeId>,
}

impl Failure {
    fn new(note: &FailureNote) -> Failure {
        Failure { at: Vec::new(), note: note.clone(), alone: None, given_up: None }
    }
}

impl Author {
    /// Whether this chunk is being given up: nothing that is said of it counts any more.
    pub(crate) fn gives_up(&self, chunk: u32) -> bool {
        self.failures.get(&chunk).is_some_and(|failure| failure.given_up.is_some())
    }
}

impl Member {
    /// A chunk has failed somewhere: it is tried elsewhere, or has failed for good.
    pub(crate) fn on_failure(&mut self, worker: NodeId, slot: u32, chunk: u32, note: &FailureNote) {
        let Some(author) = &mut self.author else { return };
        let outvoted = self.config.rows.copies == 1 && author.tallies.get(&chunk).is_some_and(|tally| tally.len() > 0);
        let failure = author.failures.entry(chunk).or_insert_with(|| Failure::new(note));
        if failure.at.contains(&worker) || outvoted {
            return;
        }
        failure.at.push(worker);
        failure.note = note.clone();
        let spent = failure.at.len() as u64 > u64::from(self.config.retries);
        author.distrust(worker, chunk);
        // Where nobody else has ever been heard of nobody is waited for.
        let nobody = self.peers.is_empty() && !self.config.resume.again;
        let hopeless = (note.deterministic || nobody) && !self.may_be_retried(chunk);
        if spent || hopeless {
            return self.fail(chunk);
        }
        self.out.push_back(Output::Notice(Notice::Failed { chunk, worker, note: note.clone(), retried: true }));
        if worker == self.config.me {
            self.disown(chunk);
        }
        let Some(author) = &mut self.author else { return };
        author.checks.remove(&slot);
        let copies = author.copies();
        let verdict = author.tallies.entry(chunk).or_default().judge(copies);
        self.follow(chunk, verdict);
    }

    /// Whether somebody is there at whom this chunk has not failed.
    fn may_be_retried(&self, chunk: u32) -> bool {
        let Some(failure) = self.author.as_ref().and_then(|author| author.failures.get(&chunk)) else { return true };
        let lends = |node: &NodeId| {
            let takes_part = self.record_of(node).is_some_and(|record| record.leaving.is_none());
            takes_part && self.peers.get(node).is_some_and(|peer| peer.holds() && peer.load.threads > 0)
        };
        let here = self.work.threads() > 0 && !failure.at.contains(&self.config.me);
        here || self.peers.keys().any(|node| lends(node) && !failure.at.contains(node))
    }

    /// A chunk that failed where there is nobody else waits for somebody for a while.
    pub(crate) fn look_after_failures(&mut self) {
        let failed = self.author.iter().flat_map(|author| &author.failures);
        let failed = failed.filter(|(_, failure)| failure.given_up.is_none());
        let chunks: Vec<(u32, bool)> = failed.map(|(chunk, _)| (*chunk, self.may_be_retried(*chunk))).collect();
        let (now, patience) = (self.now, self.config.tuning.lone_failure);
        for (chunk, retried) in chunks {
            let failure = self.author.as_mut().and_then(|author| author.failures.get_mut(&chunk));
            let Some(failure) = failure else { continue };
            failure.alone = failure.alone.or(Some(now)).filter(|_| !retried);
            if failure.alone.is_some_and(|since| now >= since + patience) {
                self.fail(chunk);
            }
            if self.ended {
                return;
            }
        }
    }

    /// It was this node that was away: nobody could be seen to come.
    pub(crate) fn excuse_failures(&mut self, slept: Duration) {
        let failures = self.author.iter_mut().flat_map(|author| author.failures.values_mut());
        failures.for_each(|failure| failure.alone = failure.alone.map(|since| since + slept));
    }

    /// A chunk has failed for good, and with it the job, if it bears no more of them.
    fn fail(&mut self, chunk: u32) {
        let failure = self.author.as_ref().and_then(|author| author.failures.get(&chunk));
        let Some((worker, note)) = failure.and_then(|failure| Some((*failure.at.last()?, failure.note.clone()))) else {
            return;
        };
        let tally = self.author.as_ref().and_then(|author| author.tallies.get(&chunk));
        if tally.is_some_and(Tally::is_collecting) {
            // Enough others agree on what comes out of it.
            return;
        }
        if self.bears_one_more() {
            return self.give_up(chunk, worker, &note);
        }
        self.out.push_back(Output::Notice(Notice::Failed { chunk, worker, note, retried: false }));
        self.close(Reason::Failed);
    }

    /// As many peers as may be asked say different things about a chunk.
    pub(crate) fn disagree(&mut self, chunk: u32, workers: Vec<NodeId>) {
        let last = workers.last().copied();
        self.out.push_back(Output::Notice(Notice::Disagreement { chunk, workers }));
        match last {
            Some(worker) if self.bears_one_more() => {
                let message = "no two peers agree on its output".to_owned();
                self.give_up(chunk, worker, &FailureNote { deterministic: false, message });
            }
            _ => self.close(Reason::Failed),
        }
    }

    fn bears_one_more(&self) -> bool {
        self.author.as_ref().is_some_and(|author| author.given_up < self.config.bears)
    }

    /// What `worker` said last is all that will ever come out of this chunk.
    fn give_up(&mut self, chunk: u32, worker: NodeId, note: &FailureNote) {
        let Some(author) = &mut self.author else { return };
        author.given_up += 1;
        author.tallies.remove(&chunk);
        let failure = author.failures.entry(chunk).or_insert_with(|| Failure::new(note));
        failure.given_up = Some(worker);
        failure.note = note.clone();
        self.write_off(chunk, worker, note.clone());
    }

    fn write_off(&mut self, chunk: u32, worker: NodeId, note: FailureNote) {
        // The first row's slots are the chunks.
        self.out.push_back(Output::Collect { slot: chunk, chunk, worker, leaf: Leaf::Failed(note) });
    }

    /// The failure of a chunk that is given up would survive a crash, or has to be written down once more.
    pub(crate) fn on_written_off(&mut self, chunk: u32, worker: NodeId, safe: bool) {
        let failure = self.author.as_ref().and_then(|author| author.failures.get(&chunk));
        let Some(failure) = failure.filter(|failure| failure.given_up == Some(worker)) else { return };
        let note = failure.note.clone();
        if safe {
            self.seal(chunk, Notice::GivenUp { chunk, worker, note });
        } else {
            self.write_off(chunk, worker, note);
        }
    }
}
