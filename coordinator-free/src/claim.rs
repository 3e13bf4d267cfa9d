//! Split, don't ask for one: who asks whom for work, what is given, and how a grant changes hands safely.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};

use crate::config::Config;
use crate::io::Output;
use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Load, Message};
use crate::peers::{clamp, rate};
use crate::sets;
use crate::work::Aside;

/// A slot's time where nobody knows one, microseconds.
pub(crate) const UNKNOWN_MICROS: u32 = 1_000_000;
/// A member must be so much faster than an owner to run its slots as well.
const FASTER: f64 = 1.5;
/// A slot that runs so many times longer than its owner's mean is raced by anyone who is idle.
const OVERDUE: u32 = 3;

/// What a member knows of its own askings.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) rtt: Duration,
    /// Number of the last asking.
    ask: u64,
    /// Who is being asked, by which asking, since when; and whether it is for a race.
    asking: Option<(NodeId, u64, Duration, bool)>,
    /// Not before this time.
    next: Duration,
    /// Askings in a row that were not answered, and times in a row that there was nobody to ask.
    strikes: u32,
    idle: u32,
    /// What was taken over lately: old records of former owners still show it.
    pub(crate) fresh: VecDeque<(Duration, IntervalSet)>,
}

impl Claim {
    pub(crate) fn new(config: &Config) -> Claim {
        Claim {
            rtt: config.tuning.rtt_start,
            ask: config.incarnation,
            asking: None,
            next: Duration::ZERO,
            strikes: 0,
            idle: 0,
            fresh: VecDeque::new(),
        }
    }
}

impl Member {
    /// Four round trips and a bit: how long an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.claim.rtt * 4 + self.config.tuning.patience
    }

    pub(crate) fn claim_deadline(&self) -> Option<Duration> {
        match self.claim.asking {
            Some((_, _, at, _)) => Some(at + self.asking_limit()),
            None => self.hungry_at().map(|at| at.max(self.claim.next)),
        }
    }

    fn asking_limit(&self) -> Duration {
        self.patience() * (1 << self.claim.strikes.min(1))
    }

    /// There may be something to take somewhere.
    pub(crate) fn look_again(&mut self) {
        self.claim.idle = 0;
        self.claim.next = self.claim.next.min(self.now);
    }

    /// There may be something somewhere else: no hurry, as this is heard of again and again.
    pub(crate) fn look_again_soon(&mut self) {
        self.claim.next = self.claim.next.min(self.now + self.config.tuning.idle_gap);
    }

    /// What is left will last less than one and a half round trips.
    pub(crate) fn hungry(&self) -> bool {
        self.hungry_at().is_some_and(|at| at <= self.now)
    }

    /// When that will be so, if it can be foreseen. Who asks long before gets what another could have begun sooner.
    fn hungry_at(&self) -> Option<Duration> {
        let ahead = self.claim.rtt.mul_f64(1.5);
        if self.leaving.is_some() || self.work.threads() == 0 || self.own_time() >= ahead {
            return None;
        }
        let free_at = self.work.free_at(self.now).unwrap_or(self.now);
        Some(if free_at < self.now + ahead { self.now } else { free_at - ahead })
    }

    /// How long this member's own queue will last.
    pub(crate) fn own_time(&self) -> Duration {
        let (startable, micros) = (self.work.startable(), self.work.slot_micros());
        match (startable, micros) {
            (0, _) => Duration::ZERO,
            (_, 0) => Duration::MAX,
            _ => {
                let micros = u64::from(startable) * u64::from(micros);
                Duration::from_micros(micros / u64::from(self.work.threads().max(1)))
            }
        }
    }

    /// Asks somebody, when it is time to.
    pub(crate) fn ask(&mut self) {
        if self.claim.asking.is_some() || self.now < self.claim.next || !self.hungry() {
            return;
        }
        let Some((victim, race)) = self.victim() else {
            self.claim.next = self.now + self.config.tuning.idle_gap * (1 << self.claim.idle.min(3));
            self.claim.idle += 1;
            return;
        };
        self.ask_of(victim, race);
    }

    fn ask_of(&mut self, victim: NodeId, race: bool) {
        self.claim.ask += 1;
        let ask = self.claim.ask;
        self.claim.asking = Some((victim, ask, self.now, race));
        let mut taken = None;
        if let Some(peer) = self.peers.get_mut(&victim) {
            peer.asked = Some((ask, self.now));
            taken = peer.taken;
        }
        self.send(victim, Message::Split { ask, taken, load: self.load() });
    }

    /// Evens out what groups have left, long before one of them runs dry: of two members elsewhere the one with
    /// more is asked, the likelier the more it has. In a group all end together, so that it would starve as one.
    pub(crate) fn even_out(&mut self) {
        let (mine, rtt) = (self.own_time(), self.claim.rtt);
        if self.leaving.is_some() || self.work.threads() == 0 || self.claim.asking.is_some() || mine == Duration::MAX {
            return;
        }
        let there: Vec<(NodeId, Duration)> = self.elsewhere().filter(|(_, left)| !left.is_zero()).collect();
        if there.is_empty() {
            return;
        }
        let mut any = || there[(self.chance() * there.len() as f64) as usize];
        let (one, two) = (any(), any());
        let (victim, left) = if one.1 > two.1 { one } else { two };
        let (mine, left) = (mine.as_secs_f64(), left.as_secs_f64());
        let worth = (4.0 * rtt.as_secs_f64()).max(0.1);
        if left > 1.1 * mine + worth && self.chance() < (left - mine) / mine.max(worth) && self.know(victim) {
            self.ask_of(victim, false);
        }
    }

    /// The member with the most left, give or take chance; failing that, one whose running slots might be
    /// raced (`true`).
    fn victim(&mut self) -> Option<(NodeId, bool)> {
        let mine = self.work.load();
        let least = (self.claim.rtt + self.own_time()).as_secs_f64();
        let idle = self.work.flight.len() < usize::from(mine.threads);
        let (mut best, mut race) = (None::<(f64, NodeId)>, None::<(f64, NodeId)>);
        let candidates: Vec<(NodeId, Load, u32)> = self
            .peers
            .iter()
            .filter(|(node, peer)| {
                let takes_part = self.ledger.record(node).is_some_and(|record| record.leaving.is_none());
                peer.holds() && peer.met && peer.down.is_none() && peer.skip_until <= self.now && takes_part
            })
            .map(|(node, peer)| (*node, peer.load, peer.queued(self.now)))
            .collect();
        for (node, load, queued) in candidates {
            let luck = 0.5 + 0.5 * self.chance();
            let micros = [load.slot_micros, mine.slot_micros, UNKNOWN_MICROS].into_iter().find(|m| *m > 0);
            let micros = f64::from(micros.unwrap_or(UNKNOWN_MICROS));
            if queued > 0 {
                let endless = load.threads == 0 || load.blocked > 0;
                let left = f64::from(queued) * micros * 1e-6 / f64::from(load.threads.max(1));
                let score = if endless { 1e18 } else { left };
                if score > least && best.is_none_or(|(most, _)| score * luck > most) {
                    best = Some((score * luck, node));
                }
            } else if idle && load.running > 0 && race.is_none_or(|(most, _)| micros * luck > most) {
                race = Some((micros * luck, node));
            }
        }
        if best.is_none() {
            // Nobody of the group has anything: somebody elsewhere may.
            self.look_soon();
            let elsewhere: Vec<(NodeId, Duration)> = self.elsewhere().collect();
            for (node, left) in elsewhere {
                let asked_lately =
                    self.peers.get(&node).is_some_and(|peer| peer.skip_until > self.now || !peer.alive());
                let luck = 0.5 + 0.5 * self.chance();
                let score = left.as_secs_f64();
                if !asked_lately && score > least && best.is_none_or(|(most, _)| score * luck > most) {
                    best = Some((score * luck, node));
                }
            }
            if let Some((_, node)) = best {
                self.know(node);
            }
        }
        best.map(|(_, node)| (node, false)).or(race.map(|(_, node)| (node, true)))
    }

    /// Gives an asking up that was not answered in time.
    pub(crate) fn expire_asking(&mut self) {
        let Some((victim, _, at, _)) = self.claim.asking else { return };
        if self.now >= at + self.asking_limit() {
            self.claim.asking = None;
            self.claim.strikes += 1;
            self.skip(victim);
            self.forget_contact(&victim);
        }
    }

    pub(crate) fn skip(&mut self, victim: NodeId) {
        let until = self.now + self.config.tuning.skip;
        if let Some(peer) = self.peers.get_mut(&victim) {
            peer.skip_until = until;
        }
        if self.claim.asking.is_some_and(|(asked, ..)| asked == victim) {
            self.claim.asking = None;
        }
    }

    /// Whether `from` answers what it was asked (late is better than never); closes the asking, and learns
    /// how long a round trip is.
    fn answered(&mut self, from: NodeId, ask: u64) -> Result<(), Rejection> {
        let (now, (low, high)) = (self.now, self.config.tuning.rtt_range);
        let peer = self.peers.get_mut(&from).ok_or(Rejection::Unasked)?;
        let (_, at) = peer.asked.take_if(|(asked, _)| *asked == ask).ok_or(Rejection::Unasked)?;
        let sample = now.saturating_sub(at);
        self.claim.rtt = (self.claim.rtt * 3 / 4 + sample / 4).clamp(low, high);
        self.claim.strikes = 0;
        if let Some((_, _, _, race)) = self.claim.asking.take_if(|(_, asked, ..)| *asked == ask) {
            // Racing is for the idle: there is no hurry to disturb the next one.
            let gap = if race { self.config.tuning.idle_gap } else { Duration::ZERO };
            self.claim.next = now + gap;
        }
        Ok(())
    }

    pub(crate) fn on_grant(&mut self, from: NodeId, ask: u64, slots: &IntervalSet) -> Result<(), Rejection> {
        if slots.end() > self.config.rows.slots() {
            return Err(Rejection::Slots);
        }
        if self.peers.get(&from).is_some_and(|peer| peer.taken == Some(ask)) {
            // Its word that we have it was lost, or this is an echo.
            self.send(from, Message::Taken { ask });
            return Ok(());
        }
        self.answered(from, ask)?;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.taken = Some(ask);
            peer.load.queued = peer.load.queued.saturating_sub(slots.len() as u32);
        }
        self.claim.idle = 0;
        self.send(from, Message::Taken { ask });
        let slots = sets::minus(slots, self.ledger.sealed());
        // To check what this member has run already, unasked, is to say it once more.
        let ran = sets::union([&self.work.done, &self.work.shut()]);
        let known = sets::within(&slots, self.check_rows()).intersection(&ran);
        self.report.say_again(self.now, &sets::union([&known, &sets::siblings(self.config.rows, &known)]));
        self.take_over(&sets::minus(&slots, &known), false);
        if !self.without_checks(&slots).is_empty() {
            // Who gave checks has noted to whom.
            self.lease_taken();
        }
        Ok(())
    }

    /// Owns `slots` from now on.
    pub(crate) fn take_over(&mut self, slots: &IntervalSet, parked: bool) {
        let new = self.work.adopt(slots, parked);
        if !new.is_empty() {
            self.claim.fresh.push_back((self.now + self.config.tuning.fresh, new));
            self.lease_moved();
        }
        if self.leaving.is_some() {
            self.hand_back();
        }
    }

    /// What was taken over lately.
    pub(crate) fn fresh(&self) -> IntervalSet {
        let fresh = self.claim.fresh.iter().filter(|(until, _)| *until > self.now);
        sets::union(fresh.map(|(_, slots)| slots))
    }

    pub(crate) fn on_duplicate(&mut self, from: NodeId, ask: u64, slots: &IntervalSet) -> Result<(), Rejection> {
        if slots.end() > self.config.rows.slots() {
            return Err(Rejection::Slots);
        }
        self.answered(from, ask)?;
        self.skip(from);
        if self.leaving.is_none() {
            let run = self.work.duplicate(self.now, &sets::minus(slots, self.ledger.sealed()));
            if !run.is_empty() {
                self.out.push_back(Output::Run(run));
                self.load_changed();
            }
        }
        Ok(())
    }

    pub(crate) fn on_nothing(&mut self, from: NodeId, ask: u64, load: Load) -> Result<(), Rejection> {
        self.answered(from, ask)?;
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.set_load(now, load);
        }
        self.note_left(from, 0);
        if !self.is_fellow(&from) {
            // There are many elsewhere: one after the other.
            self.claim.next = self.claim.next.max(now + self.config.tuning.idle_gap);
        }
        self.skip(from);
        Ok(())
    }

    pub(crate) fn on_split(&mut self, from: NodeId, ask: u64, taken: Option<u64>, load: Load) -> Result<(), Rejection> {
        if !self.know(from) {
            return Err(Rejection::Full);
        }
        let (now, load) = (self.now, clamp(load));
        if let Some(aside) = self.work.aside.get(&from) {
            if aside.ask == ask {
                let slots = aside.slots.clone();
                self.send(from, Message::Grant { ask, slots });
                return Ok(());
            }
            if taken == Some(aside.ask) {
                self.grant_taken(from);
            } else if aside.ask < ask {
                // It asks anew, so it has given up waiting for what it was granted.
                self.grant_failed(from);
            }
        }
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.answered < ask) else { return Ok(()) };
        peer.answered = ask;
        peer.set_load(now, load);
        let welcome = self.peers.get(&from).is_some_and(crate::peers::Peer::holds);
        if self.leaving.is_none() && load.threads > 0 && welcome {
            let barred = self.barred(from);
            let wanted = self.share(from, &load);
            let (mut slots, stop) = self.work.give(wanted, &barred);
            self.stop(stop);
            let checks = self.give_checks(from, &load, &slots);
            slots.union(&checks);
            if !slots.is_empty() {
                let until = self.now + self.patience();
                self.work.aside.insert(from, Aside { ask, slots: slots.clone(), until });
                self.send(from, Message::Grant { ask, slots });
                self.load_changed();
                return Ok(());
            }
            let slots = self.raced(&load, &barred);
            if !slots.is_empty() {
                self.send(from, Message::Duplicate { ask, slots });
                return Ok(());
            }
        }
        self.send(from, Message::Nothing { ask, load: self.load() });
        if !self.is_fellow(&from) {
            // It has come from elsewhere: it is told who here has something.
            self.on_look(from);
        }
        Ok(())
    }

    /// How many of this member's queued slots an asker should get, so that both end together.
    fn share(&self, asker: NodeId, load: &Load) -> u64 {
        let mine = self.work.load();
        let known = [mine.slot_micros, load.slot_micros, UNKNOWN_MICROS].into_iter().find(|m| *m > 0);
        let assumed = known.unwrap_or(UNKNOWN_MICROS);
        let (here, there) = (rate(&mine, assumed), rate(load, assumed));
        let free = mine.queued - mine.blocked;
        if mine.threads == 0 {
            return self.share_among_idle(asker, load, mine.queued);
        }
        let mut give = (f64::from(free) * there - f64::from(load.queued) * here) / (here + there);
        // With every thread busy here for longer than the way takes, an idle thread there begins sooner.
        let idle = u32::from(load.threads).saturating_sub(load.queued + load.running);
        let wait = f64::from(free) / here;
        let busy = mine.running >= u32::from(mine.threads) && wait > self.claim.rtt.as_secs_f64();
        if busy && there * f64::from(mine.threads) * FASTER >= here * f64::from(load.threads) {
            give = give.max(f64::from(idle.min(free)));
        }
        let free = if give < 0.5 { 0 } else { give.round() as u64 };
        free + self.share_among_idle(asker, load, mine.blocked)
    }

    /// What this member will not run itself is shared by threads among those known to have nothing.
    fn share_among_idle(&self, asker: NodeId, load: &Load, slots: u32) -> u64 {
        let idle = |(node, peer): (&NodeId, &crate::peers::Peer)| {
            let record = self.record_of(node).filter(|record| record.leaving.is_none())?;
            let empty = record.held.is_empty() && record.done.is_empty() && !self.work.aside.contains_key(node);
            (*node != asker && peer.alive() && empty).then_some(u64::from(peer.load.threads))
        };
        let others: u64 = self.peers.iter().filter_map(idle).sum();
        let threads = u64::from(load.threads).max(1);
        (u64::from(slots) * threads).div_ceil(threads + others)
    }

    /// Running slots that the asker is to run as well.
    fn raced(&mut self, load: &Load, barred: &IntervalSet) -> IntervalSet {
        let idle = u32::from(load.threads).saturating_sub(load.queued + load.running);
        let (here, there) = (self.work.slot_micros(), load.slot_micros);
        let faster = here > 0 && there > 0 && f64::from(here) >= FASTER * f64::from(there);
        let overdue = Duration::from_micros(u64::from(here)) * OVERDUE;
        let Some(since) = self.now.checked_sub(overdue).filter(|_| here > 0) else {
            return IntervalSet::new();
        };
        self.work.race(self.now, u64::from(idle), barred, (faster, since, self.config.tuning.duplicators))
    }

    /// Slots that must not be split off for `node`: what it holds or has run, other copies of those chunks, and
    /// checks.
    fn barred(&self, node: NodeId) -> IntervalSet {
        let distrusted = self.author.as_ref().and_then(|author| author.distrusted(&node));
        let none = IntervalSet::new();
        let own = match self.record_of(&node) {
            Some(record) => sets::union([&record.held, &record.done]),
            None => IntervalSet::new(),
        };
        let checks: IntervalSet = self.check_rows().into();
        sets::union([&own, &sets::siblings(self.config.rows, &own), distrusted.unwrap_or(&none), &checks])
    }

    pub(crate) fn on_taken(&mut self, from: NodeId, ask: u64) {
        if self.work.aside.get(&from).is_some_and(|aside| aside.ask == ask) {
            self.grant_taken(from);
        }
    }

    pub(crate) fn grant_taken(&mut self, from: NodeId) {
        if let Some(aside) = self.work.aside.remove(&from) {
            self.work.held = sets::minus(&self.work.held, &aside.slots);
            self.lease_moved();
        }
    }

    pub(crate) fn grant_failed(&mut self, from: NodeId) {
        if let Some(aside) = self.work.aside.remove(&from) {
            self.unassign(&aside.slots);
            self.work.take_back(aside);
            if self.leaving.is_some() {
                self.hand_back();
            }
        }
    }

    /// Takes back what was granted and not acknowledged in time; forgets what is no longer fresh.
    pub(crate) fn expire_grants(&mut self) {
        let late: Vec<NodeId> =
            self.work.aside.iter().filter(|(_, aside)| aside.until <= self.now).map(|(node, _)| *node).collect();
        late.into_iter().for_each(|node| self.grant_failed(node));
        while self.claim.fresh.front().is_some_and(|(until, _)| *until <= self.now) {
            self.claim.fresh.pop_front();
        }
    }
}
