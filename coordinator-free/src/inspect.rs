//! What a member can tell of itself to people: how its fellows do and, at the author, how one chunk does. Nothing here
//! changes anything.

use std::time::Duration;

use essaim_jobs::NodeId;

use crate::io::{ChunkView, Holder, MemberView, View};
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::Record;
use crate::sets;

impl Member {
    /// What this member knows.
    #[must_use]
    pub fn view(&self) -> View {
        let sealed = self.ledger.sealed();
        let open = sets::minus(&sets::minus(&self.work.held, &self.work.done), sealed);
        let mut members = vec![MemberView {
            node: self.config.me,
            load: self.load(),
            held: self.work.held.len(),
            done: self.work.done.len(),
            alive: true,
            silent: Duration::ZERO,
            behind: if open.is_empty() { Duration::ZERO } else { self.work.longest_flight(self.now) },
        }];
        for (node, signed) in self.records() {
            let Some(peer) = self.peers.get(node) else { continue };
            let open = sets::minus(&sets::minus(&signed.body.held, &signed.body.done), sealed);
            let since = self.now.saturating_sub(peer.progress);
            members.push(MemberView {
                node: *node,
                load: peer.load,
                held: sets::minus(&signed.body.held, sealed).len(),
                done: sets::minus(&signed.body.done, sealed).len(),
                alive: peer.alive(),
                silent: self.now.saturating_sub(peer.heard),
                behind: if open.is_empty() { Duration::ZERO } else { since },
            });
        }
        let votes = self.author.as_ref().map_or(0, |author| author.len());
        let kept = [self.work.flight.len(), self.work.aside.len(), self.report.len(), self.peers.len(), votes];
        View {
            sealed: sealed.len(),
            slots: u64::from(self.config.rows.slots()),
            rejected: self.rejected,
            kept: kept.iter().sum::<usize>() as u64,
            members,
        }
    }

    /// How one chunk does, as the author knows it.
    ///
    /// # Errors
    /// [`Rejection::Slots`] when the job has no such chunk.
    pub fn chunk(&self, chunk: u32) -> Result<ChunkView, Rejection> {
        let rows = self.config.rows;
        if chunk >= rows.chunks {
            return Err(Rejection::Slots);
        }
        let sealed = self.ledger.sealed();
        let has = |record: &Record| rows.slots_of(chunk).any(|slot| record.held.contains(slot));
        let mut holders = Vec::new();
        if rows.slots_of(chunk).any(|slot| self.work.held.contains(slot)) {
            let flying = rows.slots_of(chunk).filter_map(|slot| self.work.flight.get(&slot)?.started).min();
            holders.push(Holder {
                node: self.config.me,
                done: rows.slots_of(chunk).any(|slot| self.work.done.contains(slot)),
                running: flying.is_some(),
            });
        }
        for (node, signed) in self.records() {
            let record = &signed.body;
            let Some(peer) = self.peers.get(node).filter(|peer| peer.alive() && has(record)) else { continue };
            let open = sets::minus(&sets::minus(&record.held, &record.done), sealed);
            let done = rows.slots_of(chunk).any(|slot| record.done.contains(slot));
            // Only how many it runs is known: where these are all that it has to run, this is one of them.
            let running = !done && open.len() <= u64::from(peer.load.running);
            holders.push(Holder { node: *node, done, running });
        }
        let voices = self.author.as_ref().map_or_else(Vec::new, |author| author.voices(chunk));
        Ok(ChunkView { sealed: rows.slots_of(chunk).all(|slot| sealed.contains(slot)), holders, voices })
    }

    /// The first chunks that a member has to run, `most` of them at most; of this one, those that it runs.
    #[must_use]
    pub fn open_of(&self, node: NodeId, most: usize) -> Vec<u32> {
        let rows = self.config.rows;
        if node == self.config.me {
            let started = self.work.flight.iter().filter(|(_, flight)| flight.started.is_some());
            return started.map(|(slot, _)| rows.chunk(*slot)).take(most).collect();
        }
        let Some(record) = self.record_of(&node) else { return Vec::new() };
        let open = sets::minus(&sets::minus(&record.held, &record.done), self.ledger.sealed());
        open.iter().map(|slot| rows.chunk(slot)).take(most).collect()
    }

    /// The chunks on which some have spoken, and not enough: `most` of them at most, with those who have.
    pub fn half_heard(&self, most: usize) -> Vec<(u32, Vec<NodeId>)> {
        let Some(author) = self.author.as_ref().filter(|author| author.copies() > 1) else { return Vec::new() };
        let heard = author.tallies.keys().map(|chunk| (*chunk, author.voices(*chunk)));
        heard.filter(|(_, voices)| !voices.is_empty() && voices.len() < author.copies()).take(most).collect()
    }
}
