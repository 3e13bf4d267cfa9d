//! Say little: this member's own record, and comparing ledgers.

use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId, Signed};

use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{Close, Initials, MEMBERS, Message, Record, Seal, initials};
use crate::sets;

/// Least time between a record and the one that says what was taken since.
const FIRST_GAP: Duration = Duration::from_millis(50);
/// What was said within this time may be on its way still.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Intervals in each set of a record.
const RECORD_SPANS: usize = 8_192;
/// Bytes of one answer to a digest, about; the next digest gets the rest.
const ANSWER_BYTES: usize = 1 << 20;

/// What has changed since this member's record was last gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Nothing,
    Load,
    Lease,
    /// Something was taken over, and its giver counts on others knowing it.
    Taken,
}

/// When this member speaks.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    seq: u64,
    signed: Option<Signed<Record>>,
    change: Change,
    said: Option<Duration>,
    pub(crate) digest_at: Duration,
}

impl Voice {
    pub(crate) fn new(now: Duration, incarnation: u64) -> Voice {
        Voice { seq: incarnation, signed: None, change: Change::Lease, said: None, digest_at: now }
    }
}

impl Member {
    /// Slots have changed hands: others are to know soon.
    pub(crate) fn lease_moved(&mut self) {
        self.voice.change = self.voice.change.max(Change::Lease);
    }

    /// What was granted is known to nobody but this member now: should it die before it has said so, it is lost
    /// until the author finds that it is nobody's.
    pub(crate) fn lease_taken(&mut self) {
        self.voice.change = Change::Taken;
    }

    pub(crate) fn load_changed(&mut self) {
        self.voice.change = self.voice.change.max(Change::Load);
    }

    pub(crate) fn gossip_at(&self) -> Duration {
        let tuning = &self.config.tuning;
        let had_nothing = self.voice.signed.as_ref().is_some_and(|signed| signed.body.held.is_empty());
        let gap = match self.voice.change {
            // Others may be idle, and cannot know yet that there is something to split.
            Change::Lease if had_nothing => FIRST_GAP,
            Change::Taken => FIRST_GAP,
            Change::Nothing => tuning.heartbeat,
            Change::Load => tuning.gossip_gap.1,
            Change::Lease => tuning.gossip_gap.0,
        };
        self.voice.said.map_or(Duration::ZERO, |said| said + gap)
    }

    /// Gossips this member's record, if it is time to.
    pub(crate) fn speak(&mut self) {
        if self.now >= self.gossip_at() {
            self.work.refresh();
            let record = self.sign_record();
            self.voice.said = Some(self.now);
            self.voice.change = Change::Nothing;
            self.say(&Message::Record(record));
        }
    }

    /// This member's record as it was last signed.
    pub(crate) fn record(&mut self) -> Signed<Record> {
        match &self.voice.signed {
            Some(signed) => signed.clone(),
            None => self.sign_record(),
        }
    }

    pub(crate) fn sign_record(&mut self) -> Signed<Record> {
        self.voice.seq = self.voice.seq.saturating_add(1);
        let mut held = self.work.held.clone();
        if held.spans().len() > RECORD_SPANS {
            // Holes that are sealed need not be said: whoever reads this knows, or will.
            let filled = sets::union([&held, self.ledger.sealed()]);
            let spans = filled.spans().iter().filter(|span| sets::meet(&held, &(*span).clone().into()));
            held = sets::last_spans(&sets::collect(spans.cloned().collect()), RECORD_SPANS);
        }
        let record = Record {
            job: self.config.job,
            seq: self.voice.seq,
            group: self.group.id,
            held,
            done: sets::last_spans(&self.work.done, RECORD_SPANS),
            load: self.load(),
            leaving: self.leaving.as_ref().map(|handed_back| sets::last_spans(handed_back, RECORD_SPANS)),
        };
        let signed = Signed::sign(record, &self.config.keypair);
        self.voice.signed = Some(signed.clone());
        signed
    }

    /// What this member's ledger holds.
    pub(crate) fn digest(&mut self) -> Message {
        let mine = self.record();
        let others = self.ledger.records().iter().map(|(node, signed)| (initials(node), signed.body.seq));
        let mut records: Vec<_> = others.take(MEMBERS - 1).collect();
        records.push((initials(&self.config.me), mine.body.seq));
        let banned = self.ledger.bans().len() as u16;
        Message::Digest { term: self.ledger.term(), sealed: self.ledger.sealed().len(), banned, records }
    }

    pub(crate) fn on_digest(&mut self, from: NodeId, sealed: (u64, u64), banned: u16, known: &[(Initials, u64)]) {
        let (now, gap) = (self.now, self.config.tuning.answer_gap);
        // Its answer may be far larger than the question.
        let early = |peer: &mut crate::peers::Peer| {
            let early = peer.compared.is_some_and(|at| now < at + gap);
            peer.compared = peer.compared.filter(|_| early).or(Some(now));
            early
        };
        if self.peers.get_mut(&from).is_some_and(early) {
            return;
        }
        let seals = self.seals_for(from, sealed);
        let known: std::collections::BTreeMap<Initials, u64> = known.iter().copied().collect();
        let version = |node: &NodeId| known.get(&initials(node)).copied();
        let lacks_bans = usize::from(banned) < self.ledger.bans().len();
        let bans = if lacks_bans { self.ledger.bans().values().cloned().collect() } else { Vec::new() };
        let mut room = ANSWER_BYTES;
        let mut fits = |spans: usize| {
            let size = 256 + 8 * spans;
            room.checked_sub(size).map(|left| room = left).is_some()
        };
        let seals: Vec<_> = seals.into_iter().take_while(|seal| fits(seal.body.slots.spans().len())).collect();
        // Who does not list this member may have buried it: only a newer version brings it back.
        let mine = if version(&self.config.me).is_some() { self.record() } else { self.sign_record() };
        let all = [(&self.config.me, &mine)].into_iter().chain(self.ledger.records());
        let fellow = self.is_fellow(&from);
        let theirs = self.record_of(&from).map(|record| record.group);
        // Those of another group tell one another; the author only sees to it that they have met.
        let elsewhere = self.author.iter().flat_map(|author| &author.directory.records);
        let unmet = elsewhere.filter(|(node, signed)| {
            !fellow && **node != from && Some(signed.body.group) == theirs && version(node).is_none()
        });
        // Who lists this member and is no fellow does not know yet that it has moved.
        let me = self.config.me;
        let told = |node: &NodeId| if fellow { *node != from } else { *node == me && version(node).is_some() };
        // What was said a moment ago is on its way there.
        let moment = self.now.saturating_sub(ON_ITS_WAY);
        let old = |node: &NodeId| {
            let said = if *node == me { self.voice.said } else { self.peers.get(node).map(|peer| peer.load_at) };
            said.is_none_or(|at| at <= moment)
        };
        let lacks = |node: &NodeId, seq: u64| version(node).is_none_or(|known| known < seq && (!fellow || old(node)));
        let newer = all.filter(|(node, signed)| told(node) && lacks(node, signed.body.seq));
        let newer = newer.chain(unmet);
        let size = |record: &Record| record.held.spans().len() + record.done.spans().len();
        let records: Vec<_> = newer
            .map(|(_, signed)| signed.clone())
            .take_while(|signed| fits(size(&signed.body)))
            .take(MEMBERS)
            .collect();
        // Answered even when there is nothing new: it is a sign of life.
        self.send(from, Message::Ledger { seals, bans, records });
    }

    /// A connection is open: the author is greeted, and known members compare ledgers.
    pub(crate) fn on_up(&mut self, peer: NodeId) {
        self.meet(peer);
        if peer == self.config.author_node {
            // It may have been away, or have forgotten.
            self.report.again(self.now);
            self.work.forgive();
        }
        if self.author.is_none() && peer == self.config.author_node {
            self.hello();
        } else if self.ledger.record(&peer).is_some() {
            let digest = self.digest();
            self.send(peer, digest);
        }
    }

    /// Takes a record in. It is a sign of its owner's life when it is new: `fresh` when the owner itself has
    /// just said it, otherwise only as long as nothing speaks against it.
    pub(crate) fn on_record(&mut self, record: &Signed<Record>, fresh: bool) -> Result<(), Rejection> {
        let owner = NodeId(record.signer);
        if owner == self.config.me {
            return self.on_own_record(record);
        }
        if record.body.group != self.group.id {
            return self.on_foreign_record(record);
        }
        if self.record_of(&owner).is_some_and(|known| known.seq > record.body.seq) {
            // It has moved since, and who says this has not heard of it.
            return Ok(());
        }
        if fresh && self.author.is_some() && self.place(owner) {
            return Ok(());
        }
        let Some(old) = self.ledger.merge_record(record)? else { return Ok(()) };
        if let Some(author) = &mut self.author {
            author.directory.forget(&owner);
        }
        let first = !self.peers.contains_key(&owner);
        if !self.know(owner) {
            return Ok(());
        }
        self.note_progress(owner, &old);
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&owner) {
            let more = record.body.load.queued > 0 && peer.load.queued == 0;
            peer.set_load(now, record.body.load);
            peer.met |= fresh;
            if fresh || (peer.down.is_none() && peer.dead.is_none()) {
                self.heard(owner);
            }
            if more || first {
                self.look_again();
            }
        }
        if first {
            self.introduce(owner);
        }
        if let Some(aside) = self.work.aside.get(&owner) {
            let body = &record.body;
            let shown = sets::union([&body.held, &body.done, self.ledger.sealed()]);
            if sets::minus(&aside.slots, &shown).is_empty() {
                self.grant_taken(owner);
            }
        }
        self.inherit_from_leaver(owner, &old);
        if self.peers.get(&owner).is_some_and(crate::peers::Peer::holds) {
            self.settle_conflict(owner);
        }
        Ok(())
    }

    /// Two that have come at the same time know only the author, which is all that tells them of each other; what one of them
    /// holds is to be known to the other before they compare.
    fn introduce(&mut self, newcomer: NodeId) {
        if self.author.is_none() && newcomer != self.config.author_node {
            let record = if self.voice.change == Change::Nothing { self.record() } else { self.sign_record() };
            self.send(newcomer, Message::Record(record));
        }
    }

    /// This node's record of an earlier life may be on its way still: this life's must be newer.
    fn on_own_record(&mut self, record: &Signed<Record>) -> Result<(), Rejection> {
        if record.body.seq < self.voice.seq || self.voice.signed.as_ref() == Some(record) {
            return Ok(());
        }
        if record.body.job != self.config.job {
            return Err(Rejection::OtherJob);
        }
        record.verify().map_err(|_| Rejection::Signature)?;
        self.voice.seq = record.body.seq;
        self.lease_moved();
        Ok(())
    }

    pub(crate) fn on_seal(&mut self, seal: &Signed<Seal>) -> Result<(), Rejection> {
        if self.author.is_some() {
            // Its own words come back.
            return Ok(());
        }
        let new = self.ledger.merge_seal(seal)?;
        if !new.is_empty() {
            self.pass_on(seal, &new);
            self.drop_sealed(&new);
        }
        Ok(())
    }

    /// What the author seals it tells those who ran it; they tell their fellows, who may be about to run it.
    fn pass_on(&mut self, seal: &Signed<Seal>, new: &IntervalSet) {
        if self.group.id == crate::groups::FIRST {
            return;
        }
        let holders = self.ledger.records().iter().filter(|(_, signed)| sets::meet(&signed.body.held, new));
        let holders: Vec<NodeId> = holders.map(|(node, _)| *node).collect();
        if holders.iter().all(|node| self.peers.get(node).is_some_and(crate::peers::Peer::alive)) {
            holders.into_iter().for_each(|node| self.send(node, Message::Seal(seal.clone())));
        } else {
            // Anyone may be about to inherit it.
            self.say(&Message::Seal(seal.clone()));
        }
    }

    /// Seals that `from` lacks, who knows of that term, and of so many in it: all, in the author's group; of what it
    /// holds, elsewhere.
    fn seals_for(&mut self, from: NodeId, sealed: (u64, u64)) -> Vec<Signed<Seal>> {
        let known = (self.ledger.term(), self.ledger.sealed().len());
        if self.is_fellow(&from) {
            let lacks = self.group.id == crate::groups::FIRST && sealed < known;
            return if lacks { self.all_seals() } else { Vec::new() };
        }
        let Some(author) = &self.author else { return Vec::new() };
        let Some(record) = self.record_of(&from) else { return Vec::new() };
        let held = sets::union([&record.held, &record.done]).intersection(self.ledger.sealed());
        if held.is_empty() && sealed.0 == known.0 { Vec::new() } else { self.sign(&held, &author.key) }
    }

    pub(crate) fn on_close(&mut self, close: &Signed<Close>) -> Result<(), Rejection> {
        if close.body.job != self.config.job {
            return Err(Rejection::OtherJob);
        }
        if close.signer != self.config.author.0 {
            return Err(Rejection::Signature);
        }
        close.verify().map_err(|_| Rejection::Signature)?;
        if self.author.is_none() {
            self.end(close.body.reason, Some(close.clone()));
        }
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
        let there = self.peers.get(&author).is_some_and(crate::peers::Peer::alive);
        let unknown = self.author.is_none() && self.group.id == crate::groups::FIRST && there;
        if unknown && self.ledger.record(&author).is_none() {
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
