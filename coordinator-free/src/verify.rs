//! Copies: who checks whose work, and what becomes of those who are outvoted. The author's part.
//!
//! Slots of the first row are leased from member to member, and the first voice on a chunk may be anyone's. A
//! slot of a further row is opened when that voice has been heard, given by the author alone to a peer of its
//! own choice, and stays there: it is neither split, nor raced, nor inherited.

use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId, Signed};

use crate::io::{Notice, Output};
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Ban, DISTRUSTED, Load, Message};
use crate::sets;
use crate::tally::Verdict;

/// A check is not asked for again sooner than this, however short the slots are.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);
/// Of checks that are late so many are opened again at once as are run in this time, microseconds: asking takes longer.
const AT_ONCE: u32 = 2_000;
/// Who takes so many times as long for a slot is much slower.
const MUCH_SLOWER: u32 = 4;
/// Intervals of checks in one grant.
const CHECK_SPANS: usize = 1_024;
/// A peer outvoted so often, and more than once in so many agreements, is banned.
const STRIKES: (u32, u32) = (3, 4);

impl Member {
    /// The slots that are checks: all rows but the first.
    pub(crate) fn check_rows(&self) -> std::ops::Range<u32> {
        self.config.rows.chunks..self.config.rows.slots()
    }

    /// `voices` more are needed on a chunk: opens as many slots as are not open or out already; the first row's,
    /// for anyone, when nobody's word stands.
    pub(crate) fn call_for(&mut self, chunk: u32, voices: usize) {
        let (rows, me) = (self.config.rows, self.config.me);
        let Some(author) = &self.author else { return };
        let Some(tally) = author.tallies.get(&chunk) else { return };
        let (heard, mine) = (tally.len(), tally.has_voice(&me));
        let mut open: Vec<u32> = rows.slots_of(chunk).collect();
        if heard > 0 {
            let out = |slot: &u32| author.checks.contains_key(slot) || self.to_be_run(*slot);
            open.remove(0);
            let pending = open.iter().filter(|slot| out(slot)).count();
            open.retain(|slot| !out(slot));
            open.truncate(voices.saturating_sub(pending));
        } else {
            open.truncate(1);
            if self.to_be_run(open[0]) {
                return;
            }
        }
        if mine {
            // One voice a peer: it must not run another copy.
            self.work.refuse(rows.slots_of(chunk));
        }
        for slot in open {
            self.work.reopen(slot);
            self.claim.fresh.push_back((self.now + self.config.tuning.fresh, (slot..slot + 1).into()));
        }
        self.lease_moved();
    }

    fn to_be_run(&self, slot: u32) -> bool {
        self.work.held.contains(slot) && !self.work.done.contains(slot)
    }

    /// Slots to be checked by whoever is asked next.
    pub(crate) fn open_checks(&self) -> u64 {
        if self.author.is_none() || self.config.rows.copies < 2 { 0 } else { self.work.queued_checks() }
    }

    /// The checks that an asker gets `beside` what it gets to run first: so few at a time that all end together, from a place that it cannot know.
    pub(crate) fn give_checks(&mut self, to: NodeId, load: &Load, beside: &IntervalSet) -> IntervalSet {
        let mut given = IntervalSet::new();
        if self.author.is_none() || self.config.rows.copies < 2 || self.ledger.is_banned(&to) {
            return given;
        }
        if self.open_checks() == 0 {
            self.reopen_overdue(to, load);
        }
        let open = self.work.checks_in_queue();
        if open.is_empty() {
            return given;
        }
        let threads = |load: &Load| u64::from(load.threads);
        let all: u64 = self.peers.values().filter(|peer| peer.holds()).map(|peer| threads(&peer.load)).sum();
        let share = (open.len() * threads(load)).div_ceil(2 * all.max(threads(load)).max(1));
        // Of short ones so many that it need not ask for each.
        let window = self.config.tuning.window.0.as_micros() as u64 * threads(load);
        let wanted = share.max(window.checked_div(u64::from(load.slot_micros)).unwrap_or(0));
        let start = (self.chance() * open.len() as f64) as usize;
        let (now, rows) = (self.now, self.config.rows);
        let Some(author) = &mut self.author else { return given };
        let slots: Vec<u32> = open.iter().collect();
        for slot in slots[start..].iter().chain(&slots[..start]).copied() {
            if given.len() >= wanted || given.spans().len() >= CHECK_SPANS {
                break;
            }
            let chunk = rows.chunk(slot);
            let barred = author.distrusted(&to).is_some_and(|slots| slots.contains(slot));
            let sibling = rows.slots_of(chunk).any(|other| given.contains(other) || beside.contains(other));
            let Some(tally) = author.tallies.get_mut(&chunk).filter(|tally| !tally.has_voice(&to)) else { continue };
            if !barred && !sibling {
                tally.assign(to);
                author.checks.insert(slot, (to, now));
                given.insert(slot..slot + 1);
            }
        }
        self.work.set_aside(&given);
        given
    }

    /// With nothing open, and an idle peer asking: the checks that have been out for longest are opened again. Few at a
    /// time, for whoever has them may be about to run them; but of those that a much slower peer has, as many as are
    /// run here while it runs one.
    fn reopen_overdue(&mut self, asker: NodeId, load: &Load) {
        let busy = (load.queued + load.running) as usize;
        let meanwhile = |micros: u32| {
            let each = micros.checked_div(load.slot_micros).unwrap_or(0).saturating_add(1);
            u32::from(load.threads).saturating_mul(each) as usize
        };
        let few = meanwhile(AT_ONCE).saturating_sub(busy);
        let many = |checker: &NodeId| {
            let micros = self.peers.get(checker).map_or(0, |peer| peer.load.slot_micros);
            let slower = micros / MUCH_SLOWER > load.slot_micros;
            if slower { meanwhile(micros).saturating_sub(busy).max(few) } else { few }
        };
        let patience = CHECK_PATIENCE + 2 * Duration::from_micros(u64::from(load.slot_micros));
        let Some(author) = &self.author else { return };
        let rows = self.config.rows;
        let may = |slot: &u32| author.tallies.get(&rows.chunk(*slot)).is_some_and(|tally| !tally.has_voice(&asker));
        let late = |(slot, (checker, at)): &(&u32, &(NodeId, Duration))| {
            *checker != asker && self.now >= *at + patience && may(slot)
        };
        let late = author.checks.iter().filter(late).map(|(slot, (checker, at))| (*at, *slot, many(checker)));
        let mut late: Vec<(Duration, u32, usize)> = late.collect();
        late.sort_unstable();
        let again = late.into_iter().enumerate().filter(|(rank, (.., most))| rank < most);
        let again: Vec<u32> = again.map(|(_, (_, slot, _))| slot).collect();
        again.into_iter().for_each(|slot| self.open_again(slot));
    }

    /// The idle do not ask where they know that nothing is open: what they could check is shown to them.
    fn offer_overdue(&mut self) {
        let idle = |peer: &crate::peers::Peer| peer.holds() && peer.load.queued + peer.load.running == 0;
        let idle: Vec<(NodeId, Load)> =
            self.peers.iter().filter(|(_, peer)| idle(peer)).map(|(node, peer)| (*node, peer.load)).collect();
        for (node, load) in idle {
            if self.open_checks() > 0 {
                return;
            }
            self.reopen_overdue(node, &load);
            self.lease_moved();
        }
    }

    /// A grant came to nothing: the checks in it are open again.
    pub(crate) fn unassign(&mut self, slots: &IntervalSet) {
        let checks = sets::within(slots, self.check_rows());
        if let Some(author) = &mut self.author {
            for slot in checks.iter() {
                author.checks.remove(&slot);
            }
        }
    }

    fn open_again(&mut self, slot: u32) {
        if let Some(author) = &mut self.author {
            author.checks.remove(&slot);
            if author.tallies.contains_key(&self.config.rows.chunk(slot)) {
                self.work.reopen(slot);
            }
        }
    }

    /// Opens again the checks of those who are gone, or do not have them.
    pub(crate) fn look_after_checks(&mut self) {
        let Some(author) = &self.author else { return };
        let lost = |(slot, (checker, at)): &(&u32, &(NodeId, Duration))| {
            if self.work.held.contains(**slot) {
                return false;
            }
            let has = |record: &crate::message::Record| record.held.contains(**slot) || record.done.contains(**slot);
            let known = self.record_of(checker).is_some_and(has);
            let heard_by = if self.is_fellow(checker) { Duration::ZERO } else { 2 * self.config.tuning.tell_gap };
            let settled = self.now >= *at + self.config.tuning.fresh + heard_by;
            !self.peers.get(checker).is_some_and(crate::peers::Peer::holds) || (settled && !known)
        };
        let lost: Vec<u32> = author.checks.iter().filter(lost).map(|(slot, _)| *slot).collect();
        lost.into_iter().for_each(|slot| self.open_again(slot));
        if !self.author.as_ref().is_none_or(|author| author.checks.is_empty()) {
            self.offer_overdue();
        }
    }

    /// A chunk was agreed upon: who was right, and who was not.
    pub(crate) fn remember_votes(&mut self, chunk: u32, agreed: &[NodeId], outvoted: Vec<NodeId>) {
        let Some(author) = self.author.as_mut().filter(|author| author.copies() > 1) else { return };
        agreed.iter().for_each(|node| author.standing.entry(*node).or_default().0 += 1);
        let mut bad = Vec::new();
        for node in &outvoted {
            let (right, wrong) = author.standing.entry(*node).or_default();
            *wrong += 1;
            if *wrong >= STRIKES.0 && wrong.saturating_mul(STRIKES.1) > *right && *node != self.config.me {
                bad.push(*node);
            }
        }
        if !outvoted.is_empty() {
            self.out.push_back(Output::Notice(Notice::Outvoted { chunk, workers: outvoted }));
        }
        bad.into_iter().for_each(|node| self.ban(node));
    }

    /// Those that were found lying before are banned from the start.
    pub(crate) fn ban_known(&mut self) {
        let known = std::mem::take(&mut self.config.distrusted);
        let me = self.config.me;
        for node in known.into_iter().filter(|node| *node != me).take(DISTRUSTED) {
            self.say_banned(node);
        }
    }

    /// Whether that is news; it is told to everyone then.
    fn say_banned(&mut self, node: NodeId) -> bool {
        let Some(author) = &self.author else { return false };
        let ban = Signed::sign(Ban { job: self.config.job, node }, &author.key);
        let is_news = self.ledger.merge_ban(&ban) == Ok(true);
        if is_news {
            self.out.push_back(Output::Gossip(Message::Ban(ban)));
        }
        is_news
    }

    /// What `node` says and holds counts no more, here and at everyone else.
    fn ban(&mut self, node: NodeId) {
        if !self.say_banned(node) {
            return;
        }
        self.out.push_back(Output::Notice(Notice::Banned { peer: node }));
        let Some(author) = &mut self.author else { return };
        let copies = author.copies();
        let mut verdicts: Vec<(u32, Verdict)> = Vec::new();
        for (chunk, tally) in &mut author.tallies {
            if tally.silence(&node) {
                verdicts.push((*chunk, tally.judge(copies)));
            }
        }
        author.checks.retain(|_, (checker, _)| *checker != node);
        self.expel(node);
        for (chunk, verdict) in verdicts {
            self.follow(chunk, verdict);
        }
    }

    pub(crate) fn on_ban(&mut self, ban: &Signed<Ban>) -> Result<(), Rejection> {
        if self.ledger.merge_ban(ban)? {
            self.expel(ban.body.node);
        }
        Ok(())
    }

    /// A banned member is as good as dead, whatever it says.
    fn expel(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.banned = true;
        }
        self.grant_failed(node);
        self.skip(node);
        self.inherit();
    }

    /// `slots` but for the checks among them, which only the author gives away.
    pub(crate) fn without_checks(&self, slots: &IntervalSet) -> IntervalSet {
        if self.config.rows.copies < 2 { slots.clone() } else { sets::within(slots, 0..self.config.rows.chunks) }
    }
}
