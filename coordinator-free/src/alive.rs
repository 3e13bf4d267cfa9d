//! Who is alive: signs of life, silence, members that do not get on, and what looks like a partition.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};

use crate::io::{Notice, Output};
use crate::member::Member;
use crate::message::{Reason, Record};
use crate::sets;

/// Time between two looks for orphans.
pub(crate) const LOOK_GAP: Duration = Duration::from_secs(1);
/// Deaths within this time are one event.
const TOGETHER: Duration = Duration::from_secs(3);
/// So many deaths at least: with lifetimes of minutes, two within seconds are chance.
const TOGETHER_LEAST: usize = 3;
/// From this size of the group on, many deaths at once are taken for a partition.
const GROUP: usize = 4;
/// Members of other groups are remembered for so long.
const STRANGER: Duration = Duration::from_secs(30);
/// A pulse that comes so late says that this node itself was not there.
const SLEPT: Duration = Duration::from_millis(250);
/// A member silent for so long is asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_secs(2);

/// When a member looks after the living and the dead, and what it has seen of late.
#[derive(Clone, Debug)]
pub(crate) struct Alive {
    pub(crate) pulse_at: Duration,
    look_at: Duration,
    /// When fellows were found dead lately.
    pub(crate) deaths: VecDeque<Duration>,
}

impl Alive {
    pub(crate) fn new(now: Duration) -> Alive {
        Alive { pulse_at: now, look_at: now, deaths: VecDeque::new() }
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
        if self.now < self.alive.pulse_at {
            return;
        }
        let slept = self.now.saturating_sub(self.alive.pulse_at);
        if slept >= SLEPT {
            self.excuse(slept);
        }
        self.alive.pulse_at = self.now + self.config.tuning.pulse;
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
            // One of another group is heard of less often; a fellow was asked for a sign of life.
            let fellow = self.is_fellow(node);
            let more = if fellow { Duration::ZERO } else { 2 * self.config.tuning.tell_gap };
            let asked = fellow && self.now < peer.probed + patience;
            peer.alive() && (down || (self.now >= peer.heard + peer.limit + more && !asked))
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
        if self.now >= self.alive.look_at {
            self.alive.look_at = self.now + LOOK_GAP;
            self.deposit();
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
            self.alive.deaths.push_back(now);
        }
        while self.alive.deaths.front().is_some_and(|at| *at + TOGETHER < now) {
            self.alive.deaths.pop_front();
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
    pub(crate) fn partitioned(&self) -> bool {
        let deaths = self.alive.deaths.iter().filter(|at| **at + TOGETHER >= self.now).count();
        let alive = self.peers.iter().filter(|(node, peer)| peer.alive() && self.is_fellow(node)).count();
        let group = alive + 1 + deaths;
        let many = deaths * 100 > group * self.config.tuning.partition_percent as usize;
        group >= GROUP && deaths >= TOGETHER_LEAST && many
    }
}
