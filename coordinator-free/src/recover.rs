//! Inherit from the dead: who takes over what nobody holds, and who yields where two hold one.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};

use crate::alive::LOOK_GAP;
use crate::config::Tuning;
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::Record;
use crate::sets;

/// After so long the second heir steps in, where the first has not.
const SECOND_HEIR: Duration = Duration::from_secs(1);
/// Two holders of neighbouring slots settle them in blocks of this many.
const BLOCK: u32 = 64;

/// What a member remembers between two looks.
#[derive(Clone, Debug)]
pub(crate) struct Recover {
    /// What nobody alive held at the last looks, and when they were.
    orphans: VecDeque<(Duration, IntervalSet)>,
    /// Until when what was inherited waits for the author's word, and whether it is to be taken last.
    pub(crate) asked_until: Duration,
    pub(crate) suspect: bool,
}

impl Recover {
    pub(crate) fn new(now: Duration) -> Recover {
        Recover { orphans: VecDeque::new(), asked_until: now, suspect: false }
    }
}

impl Member {
    /// All that fellows hold and whose lease stands, and what this member holds itself.
    fn held_by_the_living(&self) -> IntervalSet {
        let held: Vec<IntervalSet> =
            self.ledger.records().iter().map(|(node, r)| self.standing(node, &r.body)).collect();
        sets::union(held.iter().chain([&self.work.held]))
    }

    /// What a member holds whose leases stand: of one that does not get on what it has run, as it will send that. What
    /// has failed there and came back to it does not count at the author: it cannot run that, and may not get rid of it.
    fn standing(&self, node: &NodeId, record: &Record) -> IntervalSet {
        let held = match self.peers.get(node) {
            Some(peer) if peer.holds() => record.held.clone(),
            Some(peer) if peer.alive() => record.held.intersection(&record.done),
            _ => IntervalSet::new(),
        };
        let distrusted = self.author.as_ref().and_then(|author| author.distrusted(node));
        match distrusted {
            Some(distrusted) => sets::minus(&held, distrusted),
            None => held,
        }
    }

    pub(crate) fn holds(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(crate::peers::Peer::holds)
    }

    /// Whether this member is the one to take over from `from`: the lowest hash among those who can run
    /// anything, the author when there is none. After a while the next one too, as the first may not know that
    /// there is something to inherit.
    fn is_heir(&self, from: &NodeId) -> bool {
        let me = self.config.me;
        if self.leaving.is_some() {
            return false;
        }
        let dead = self.peers.get(from).and_then(|peer| peer.dead);
        let waited = dead.map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        let before = usize::from(waited >= SECOND_HEIR);
        let mut others = self.heirs(from).map(|node| rendezvous(&from.0, node)).peekable();
        if self.work.threads() == 0 {
            return self.author.is_some() && others.peek().is_none();
        }
        let mine = rendezvous(&from.0, &me);
        others.filter(|hash| *hash < mine).count() <= before
    }

    /// Those who may take over from `from`, but for this member.
    fn heirs(&self, from: &NodeId) -> impl Iterator<Item = &NodeId> {
        let may = move |node: &NodeId, peer: &crate::peers::Peer| {
            let stays = self.ledger.record(node).is_some_and(|record| record.leaving.is_none());
            peer.holds() && peer.down.is_none() && stays && peer.load.threads > 0 && node != from
        };
        self.peers.iter().filter(move |(node, peer)| may(node, peer)).map(|(node, _)| node)
    }

    /// The one that would take over from this member.
    pub(crate) fn next_heir(&self) -> Option<NodeId> {
        let me = self.config.me;
        self.heirs(&me).min_by_key(|node| rendezvous(&me.0, node)).copied()
    }

    /// Takes over from the dead what is this member's to take.
    pub(crate) fn inherit(&mut self) {
        let left: Vec<(NodeId, IntervalSet)> = self
            .ledger
            .records()
            .iter()
            .filter(|(node, _)| !self.holds(node))
            .map(|(node, signed)| (*node, sets::minus(&signed.body.held, self.ledger.sealed())))
            .map(|(node, left)| (node, self.without_checks(&left)))
            .collect();
        let (held, suspect) = (self.held_by_the_living(), self.partitioned());
        let (now, tuning) = (self.now, &self.config.tuning);
        let again = tuning.orphan_grace + 2 * tuning.tell_gap;
        let mut inherited = false;
        for (node, left) in left {
            let mut left = sets::minus(&left, &held);
            // What comes up again is not to be run again, unless it does so for long.
            if let Some(peer) = self.peers.get(&node).filter(|peer| now < peer.inherited_at + again) {
                left = sets::minus(&left, &peer.inherited);
            }
            if left.is_empty() {
                if self.peers.get(&node).is_some_and(|peer| peer.dead.is_some()) {
                    self.ledger.bury(&node, self.now);
                }
            } else if self.is_heir(&node) {
                self.take_over(&left, true);
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.inherited.union(&left);
                    peer.inherited_at = now;
                }
                inherited = true;
            }
        }
        self.recover.suspect |= inherited && suspect;
        if inherited && self.author.is_none() {
            // Some of it may be sealed, which only the author and the dead knew.
            self.recover.asked_until = self.now + self.patience();
            self.hello();
        }
    }

    /// What was inherited waits for the author's word on what of it is sealed, and is taken last where its owners may
    /// live beyond a partition. Even so: better done twice than nothing done.
    pub(crate) fn begin_inherited(&mut self) {
        let last = self.recover.suspect && self.work.startable() > 0;
        if self.work.has_parked() && self.now >= self.recover.asked_until && !last {
            self.work.unpark();
            self.recover.suspect = false;
            self.lease_moved();
        }
    }

    /// Takes over what no living member has held for a while, wherever it went. Only the author knows what is
    /// held in all groups.
    pub(crate) fn adopt_orphans(&mut self) {
        if self.author.is_none() {
            return;
        }
        let elsewhere = self.author.iter().flat_map(|author| &author.directory.records);
        let elsewhere: Vec<IntervalSet> = elsewhere.map(|(node, r)| self.standing(node, &r.body)).collect();
        let elsewhere = sets::union(&elsewhere);
        let claimed = sets::union([self.ledger.sealed(), &self.held_by_the_living(), &elsewhere]);
        let orphans = sets::minus(&(0..self.config.rows.chunks).into(), &claimed);
        let since = self.settled_since();
        // Only the last look before that matters, and all later ones.
        while self.recover.orphans.get(1).is_some_and(|(at, _)| *at <= since) {
            self.recover.orphans.pop_front();
        }
        let enough = self.recover.orphans.front().is_some_and(|(at, _)| *at <= since);
        let ripe = self.recover.orphans.iter().fold(orphans.clone(), |ripe, (_, seen)| ripe.intersection(seen));
        self.recover.orphans.push_back((self.now, orphans));
        // What the dead held is among it, where their heirs did not know of it.
        if enough && !ripe.is_empty() {
            self.take_over(&ripe, false);
        }
    }

    /// What has been nobody's since this time has not just changed hands: all have said twice since what they hold, or
    /// have been silent for so long that what they hold does not count.
    fn settled_since(&self) -> Duration {
        let Tuning { orphan_grace: grace, tell_gap, .. } = self.config.tuning;
        let directory = self.author.iter().map(|author| &author.directory);
        let here = self.now.saturating_sub(grace);
        let longest = here.saturating_sub(2 * tell_gap);
        if self.all_but_done() {
            // Better done twice than nothing done. But who works on, may have been given what others had.
            let heard =
                |peer: &crate::peers::Peer| peer.holds() && self.now < peer.heard + self.config.tuning.silence.1;
            let counts = |node: &NodeId| self.peers.get(node).is_some_and(heard);
            let told = directory.flat_map(|directory| directory.told(1, counts));
            return told.fold(self.now.saturating_sub(LOOK_GAP), Duration::min).max(longest);
        }
        let elsewhere = directory.flat_map(|directory| directory.told(0, |node| self.holds(node)));
        elsewhere.fold(here, Duration::min).max(longest)
    }

    /// Whether nobody has anything left to be split.
    fn all_but_done(&self) -> bool {
        let lately = |peer: &&crate::peers::Peer| peer.holds() && self.now < peer.heard + self.config.tuning.silence.1;
        let loads = self.peers.values().filter(lately).map(|peer| &peer.load);
        let (queued, threads) = loads.fold((0, 0), |(queued, threads), load| {
            (queued + u64::from(load.queued), threads + u64::from(load.threads))
        });
        queued <= threads
    }

    /// What a leaving member hands back is orphaned at once. What else it no longer holds it has given to others, who
    /// may be of another group and unknown here.
    pub(crate) fn inherit_from_leaver(&mut self, node: NodeId, old: &Record) {
        let new = self.ledger.record(&node).and_then(|record| record.leaving.as_ref());
        // Who has just come does not know what of it others have inherited since.
        let Some(handed_back) = new.filter(|_| old.seq > 0) else { return };
        let held = self.held_by_the_living();
        let freed = sets::minus(handed_back, &sets::union(old.leaving.iter().chain([self.ledger.sealed(), &held])));
        let freed = self.without_checks(&freed);
        if !freed.is_empty() && self.is_heir(&node) {
            self.take_over(&freed, false);
        }
    }

    /// Another living member says that it holds slots that this one holds too: one of the two yields what it
    /// has not started.
    pub(crate) fn settle_conflict(&mut self, other: NodeId) {
        let Some(theirs) = self.ledger.record(&other).filter(|record| sets::meet(&record.held, &self.work.held)) else {
            return;
        };
        let (held, done) = (theirs.held.clone(), theirs.done.clone());
        let mut ignored = self.fresh();
        if let Some(distrusted) = self.author.as_ref().and_then(|author| author.distrusted(&other)) {
            ignored.union(distrusted);
        }
        let both = self.without_checks(&sets::minus(&held, &ignored));
        let both = both.intersection(&self.work.unstarted());
        let mut lost = both.intersection(&done);
        for span in sets::minus(&both, &done).spans() {
            let mut start = span.start;
            while start < span.end {
                let end = span.end.min((start / BLOCK + 1) * BLOCK);
                let place = place_of(start / BLOCK);
                if rendezvous(&place, &other) < rendezvous(&place, &self.config.me) {
                    lost.insert(start..end);
                }
                start = end;
            }
        }
        if !lost.is_empty() {
            let (_, stop) = self.work.give_up(&lost);
            self.stop(stop);
            self.lease_moved();
        }
    }

    /// The author has no use for what came out here: others are to run these slots.
    pub(crate) fn on_refused(&mut self, from: NodeId, slots: &IntervalSet) -> Result<(), Rejection> {
        if from != self.config.author_node {
            return Err(Rejection::Unasked);
        }
        let wanted = slots.intersection(&self.work.done);
        self.report.forget(&wanted);
        self.work.held = sets::minus(&self.work.held, &wanted);
        // Not done either: should one come back (a grant may be on its way), it is to be passed on, not kept.
        self.work.done = sets::minus(&self.work.done, &wanted);
        self.work.refuse(wanted.iter());
        self.lease_moved();
        Ok(())
    }
}

/// Highest-random-weight hashing: all who know the same members agree on who has the lowest value.
fn rendezvous(place: &[u8; 32], node: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("essaim 2026 rendezvous v1");
    hasher.update(place).update(&node.0);
    *hasher.finalize().as_bytes()
}

/// The place on which two holders of a block of slots are compared.
fn place_of(block: u32) -> [u8; 32] {
    let mut place = [0; 32];
    place[..4].copy_from_slice(&block.to_le_bytes());
    place
}
