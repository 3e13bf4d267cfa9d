//! Inherit from the dead: who is alive, who takes over what nobody holds, and who yields where two hold one.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};

use crate::config::Tuning;
use crate::io::{Notice, Output};
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Message, Reason, Record};
use crate::sets;

/// Time between two looks for orphans.
const LOOK_GAP: Duration = Duration::from_secs(1);
/// Deaths within this time are one event.
const TOGETHER: Duration = Duration::from_secs(3);
/// So many deaths at least: with lifetimes of minutes, two within seconds are chance.
const TOGETHER_LEAST: usize = 3;
/// From this size of the group on, many deaths at once are taken for a partition.
const GROUP: usize = 4;
/// After so long the second heir steps in, where the first has not.
const SECOND_HEIR: Duration = Duration::from_secs(1);
/// Two holders of neighbouring slots settle them in blocks of this many.
const BLOCK: u32 = 64;
/// Members of other groups are remembered for so long.
const STRANGER: Duration = Duration::from_secs(30);
/// A pulse that comes so late says that this node itself was not there.
const SLEPT: Duration = Duration::from_secs(1);
/// A member silent for so long is asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_secs(2);

/// What a member remembers between two looks.
#[derive(Clone, Debug)]
pub(crate) struct Recover {
    pub(crate) pulse_at: Duration,
    look_at: Duration,
    /// What nobody alive held at the last looks, and when they were.
    orphans: VecDeque<(Duration, IntervalSet)>,
    /// Until when what was inherited waits for the author's word, and whether it is to be taken last.
    pub(crate) asked_until: Duration,
    suspect: bool,
    /// When members were found dead lately.
    pub(crate) deaths: VecDeque<Duration>,
}

impl Recover {
    pub(crate) fn new(now: Duration) -> Recover {
        Recover {
            pulse_at: now,
            look_at: now,
            orphans: VecDeque::new(),
            asked_until: now,
            suspect: false,
            deaths: VecDeque::new(),
        }
    }
}

impl Member {
    /// A sign of life.
    pub(crate) fn heard(&mut self, node: NodeId) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&node) {
            if peer.dead.is_some() && !peer.stalled {
                peer.inherited = IntervalSet::new();
            }
            peer.heard = now;
            peer.down = None;
            peer.dead = None;
        }
    }

    /// Looks after the living and the dead, a few times a second.
    pub(crate) fn pulse(&mut self) {
        if self.now < self.recover.pulse_at {
            return;
        }
        let slept = self.now.saturating_sub(self.recover.pulse_at);
        if slept >= SLEPT {
            self.excuse(slept);
        }
        self.recover.pulse_at = self.now + self.config.tuning.pulse;
        self.expire_grants();
        self.work.refresh();
        if cfg!(debug_assertions) {
            self.work.check();
        }
        if self.author_is_gone() {
            return self.end(Reason::Cancelled, None);
        }
        let patience = self.patience();
        let gone = |(node, peer): &(&NodeId, &crate::peers::Peer)| {
            let down = peer.down.is_some_and(|since| self.now >= since + patience);
            // One of another group is heard of less often.
            let more = if self.is_fellow(node) { Duration::ZERO } else { 2 * self.config.tuning.tell_gap };
            peer.alive() && (down || self.now >= peer.heard + peer.limit + more)
        };
        let dead: Vec<NodeId> = self.peers.iter().filter(gone).map(|(node, _)| *node).collect();
        for node in &dead {
            self.dies(*node);
        }
        self.forget_strangers();
        self.probe();
        let stalled = self.find_stalled();
        if stalled || !dead.is_empty() {
            self.inherit();
        }
        if self.now >= self.recover.look_at {
            self.recover.look_at = self.now + LOOK_GAP;
            self.look_after_checks();
            self.look_after_failures();
            if self.ended {
                return;
            }
            self.inherit();
            self.adopt_orphans();
        }
    }

    /// It was this node that was away (stopped, asleep, or its clock has jumped): what others left undone meanwhile
    /// is not their fault.
    fn excuse(&mut self, slept: Duration) {
        let now = self.now;
        for peer in self.peers.values_mut() {
            peer.heard = now.min(peer.heard + slept);
            peer.progress = now.min(peer.progress + slept);
            peer.down = peer.down.map(|since| now.min(since + slept));
        }
        self.excuse_failures(slept);
    }

    /// A job outlives its author's node for a while, and what was run is kept for its return.
    fn author_is_gone(&self) -> bool {
        let author = self.peers.get(&self.config.author_node);
        author.is_some_and(|peer| self.now >= peer.heard.max(self.born) + self.config.tuning.author_silence)
    }

    fn dies(&mut self, node: NodeId) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.dead = Some(now);
        }
        // Of whom it has only heard it does not know for how long they have been dead.
        let met = self.peers.get(&node).is_some_and(|peer| peer.met);
        if met && self.is_fellow(&node) {
            self.recover.deaths.push_back(now);
        }
        while self.recover.deaths.front().is_some_and(|at| *at + TOGETHER < now) {
            self.recover.deaths.pop_front();
        }
        self.grant_failed(node);
        self.skip(node);
        let Some(author) = &self.author else { return };
        let Some(record) = self.record_of(&node) else { return };
        let held = sets::minus(&record.held, self.ledger.sealed());
        let run = held.intersection(&record.done);
        let safe = run.iter().filter(|slot| author.has_vote(node, self.config.rows.chunk(*slot))).count();
        let running = u64::from(record.load.running).min(held.len() - run.len());
        if !held.is_empty() {
            let (held, rerun) = (held.len() - run.len() - running, run.len() - safe as u64 + running);
            self.out.push_back(Output::Notice(Notice::Lost { peer: node, held, rerun }));
        }
        if let Some(author) = &mut self.author {
            // Its fellows inherit from it.
            author.directory.forget(&node);
        }
    }

    /// Forgets members of other groups of which nothing was heard for long.
    fn forget_strangers(&mut self) {
        let (now, author) = (self.now, self.config.author_node);
        let gone = |node: &NodeId, peer: &crate::peers::Peer| {
            now >= peer.heard + STRANGER && *node != author && self.record_of(node).is_none()
        };
        let gone: Vec<NodeId> = self.peers.iter().filter(|(n, p)| gone(n, p)).map(|(node, _)| *node).collect();
        for node in gone {
            self.grant_failed(node);
            self.peers.remove(&node);
        }
    }

    /// Asks those who have been silent for long whether they are still there.
    fn probe(&mut self) {
        let silent = |(node, peer): &(&NodeId, &crate::peers::Peer)| {
            let last = peer.heard.max(peer.probed);
            let due = self.now >= last + PROBE_AFTER.min(peer.limit * 3 / 4);
            peer.alive() && peer.down.is_none() && due && self.is_fellow(node)
        };
        let probed: Vec<NodeId> = self.peers.iter().filter(silent).map(|(node, _)| *node).collect();
        for node in probed {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.probed = self.now;
            }
            let digest = self.digest();
            self.send(node, digest);
        }
    }

    /// Whether a record shows that its owner has got on: something of what it held is run or sealed.
    pub(crate) fn note_progress(&mut self, owner: NodeId, old: &Record) {
        let Some(new) = self.record_of(&owner) else { return };
        let ran = !sets::minus(&new.done, &old.done).is_empty();
        let idle = sets::minus(&sets::minus(&old.held, &old.done), self.ledger.sealed()).is_empty();
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&owner).filter(|_| ran || idle) {
            peer.progress = now;
            peer.stalled = false;
            peer.inherited = IntervalSet::new();
        }
    }

    /// Finds members that are heard, hold slots and do not get on with them; whether there are new ones. The
    /// author is none of them: who holds a slot and has no threads lets others have it.
    fn find_stalled(&mut self) -> bool {
        let (now, own) = (self.now, self.work.longest_flight(self.now));
        let known = |micros: u64| if micros == 0 { u64::from(crate::claim::UNKNOWN_MICROS) } else { micros };
        let mine = u64::from(self.work.slot_micros());
        if own >= self.config.tuning.stall + 2 * Duration::from_micros(known(mine)) {
            // Whose own worker does not get on judges nobody: it may be that all rest.
            self.peers.values_mut().for_each(|peer| peer.progress = now);
            return false;
        }
        let typical = known(mine.max(own.as_micros() as u64));
        let (least, most) = self.config.tuning.stall_slots;
        let (least, most) = (typical * u64::from(least), typical * u64::from(most));
        let sealed = self.ledger.sealed();
        let elsewhere = self.author.as_ref().map(|author| &author.directory.records);
        let mut found = false;
        for (node, peer) in self.peers.iter_mut().filter(|(node, _)| **node != self.config.author_node) {
            let slot = u64::from(peer.load.slot_micros).clamp(least, most);
            let limit = self.config.tuning.stall + 2 * Duration::from_micros(slot);
            if peer.stalled || !peer.alive() || now < peer.progress + limit {
                continue;
            }
            let open = |record: &Record| !sets::minus(&sets::minus(&record.held, &record.done), sealed).is_empty();
            let record = self.ledger.record(node).or_else(|| Some(&elsewhere?.get(node)?.body));
            if record.is_some_and(open) {
                peer.stalled = true;
                found = true;
            } else {
                peer.progress = now;
            }
        }
        found
    }

    /// More members than chance would take have vanished together.
    fn partitioned(&self) -> bool {
        let deaths = self.recover.deaths.iter().filter(|at| **at + TOGETHER >= self.now).count();
        let alive = self.peers.iter().filter(|(node, peer)| peer.alive() && self.is_fellow(node)).count();
        let group = alive + 1 + deaths;
        let many = deaths * 100 > group * self.config.tuning.partition_percent as usize;
        group >= GROUP && deaths >= TOGETHER_LEAST && many
    }

    /// All that fellows hold and whose lease stands, and what this member holds itself.
    fn held_by_the_living(&self) -> IntervalSet {
        let held: Vec<IntervalSet> =
            self.ledger.records().iter().map(|(node, r)| self.standing(node, &r.body)).collect();
        sets::union(held.iter().chain([&self.work.held]))
    }

    /// What a member holds whose leases stand: of one that does not get on what it has run, as it will send that.
    fn standing(&self, node: &NodeId, record: &Record) -> IntervalSet {
        match self.peers.get(node) {
            Some(peer) if peer.holds() => record.held.clone(),
            Some(peer) if peer.alive() => record.held.intersection(&record.done),
            _ => IntervalSet::new(),
        }
    }

    fn holds(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(crate::peers::Peer::holds)
    }

    /// Whether this member is the one to take over from `from`: the lowest hash among those who can run
    /// anything, the author when there is none. After a while the next one too, as the first may not know that
    /// there is something to inherit.
    fn is_heir(&self, from: &NodeId) -> bool {
        let me = self.config.me;
        if self.leaving {
            return false;
        }
        let dead = self.peers.get(from).and_then(|peer| peer.dead);
        let waited = dead.map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        let before = usize::from(waited >= SECOND_HEIR);
        let from = &from.0;
        let others = self.peers.iter().filter(|(node, peer)| {
            let stays = self.ledger.record(node).is_some_and(|record| !record.leaving);
            peer.holds() && peer.down.is_none() && stays && peer.load.threads > 0 && node.0 != *from
        });
        let mut others = others.map(|(node, _)| rendezvous(from, node)).peekable();
        if self.work.threads() == 0 {
            return self.author.is_some() && others.peek().is_none();
        }
        let mine = rendezvous(from, &me);
        others.filter(|hash| *hash < mine).count() <= before
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
            self.sign_record();
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
    fn adopt_orphans(&mut self) {
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
        if self.all_but_done() {
            // Better done twice than nothing done. All tell often now: who does not, is as good as dead.
            let told = directory.flat_map(|directory| directory.told(1, |node| self.holds(node)));
            let told = told.filter(|at| self.now < *at + self.config.tuning.silence.1);
            return told.fold(self.now.saturating_sub(LOOK_GAP), Duration::min);
        }
        let here = self.now.saturating_sub(grace);
        let elsewhere = directory.flat_map(|directory| directory.told(0, |node| self.holds(node)));
        let longest = here.saturating_sub(2 * tell_gap);
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

    /// A leaving member has handed back what it had not started: it is orphaned at once.
    pub(crate) fn inherit_from_leaver(&mut self, node: NodeId, old: &Record) {
        let Some(new) = self.ledger.record(&node).filter(|record| record.leaving) else { return };
        let freed = sets::minus(&sets::minus(&old.held, &new.held), self.ledger.sealed());
        let freed = self.without_checks(&sets::minus(&freed, &self.held_by_the_living()));
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

    /// Asks one random living member what it knows that is not known here; the author, as long as nothing is
    /// known of it.
    pub(crate) fn compare(&mut self) {
        if self.now < self.voice.digest_at {
            return;
        }
        self.voice.digest_at = self.now + self.config.tuning.digest_gap;
        let author = self.config.author_node;
        if self.author.is_none() && self.group.id == crate::groups::FIRST && self.ledger.record(&author).is_none() {
            return self.hello();
        }
        let alive = self.peers.iter().filter(|(node, peer)| peer.alive() && self.is_fellow(node));
        let alive: Vec<NodeId> = alive.map(|(node, _)| *node).collect();
        if alive.is_empty() {
            return;
        }
        let chosen = alive[(self.chance() * alive.len() as f64) as usize];
        let digest = self.digest();
        self.send(chosen, digest);
    }

    /// Shows itself to the author, and asks for the ledger.
    pub(crate) fn hello(&mut self) {
        let (author, record) = (self.config.author_node, self.sign_record());
        self.send(author, Message::Record(record));
        let digest = self.digest();
        self.send(author, digest);
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
