//! One node's state machine for one job: what goes in, what comes out, and the wiring in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use essaim_jobs::{IntervalSet, Leaf, NodeId, Signed, bounds};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::alive::Alive;
use crate::author::Author;
use crate::claim::Claim;
use crate::config::Config;
use crate::deposit::Deposits;
use crate::gossip::Voice;
use crate::groups::Group;
use crate::io::{Input, Output};
use crate::ledger::{Ledger, Rejection};
use crate::message::{Close, Load, MEMBERS, Message, Reason, Record};
use crate::peers::Peer;
use crate::recover::Recover;
use crate::report::Reporter;
use crate::work::Work;

/// Members that the author keeps in mind, of all groups.
const ROSTER: usize = 65_536;

/// One node's part in one job.
///
/// Feed it with [`Member::handle`], and with [`Member::tick`] when [`Member::deadline`] has come; after each,
/// carry out all that [`Member::poll`] returns. It never reads a clock and never blocks; the same inputs at the
/// same times with the same seed give the same outputs, to the byte.
#[derive(Debug)]
pub struct Member {
    pub(crate) config: Config,
    pub(crate) now: Duration,
    pub(crate) born: Duration,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) out: VecDeque<Output>,
    pub(crate) ledger: Ledger,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) work: Work,
    pub(crate) report: Reporter,
    pub(crate) claim: Claim,
    pub(crate) voice: Voice,
    pub(crate) alive: Alive,
    pub(crate) recover: Recover,
    pub(crate) group: Group,
    pub(crate) deposits: Deposits,
    pub(crate) author: Option<Author>,
    /// What it has handed back, if it is leaving.
    pub(crate) leaving: Option<IntervalSet>,
    pub(crate) ended: bool,
    pub(crate) rejected: u64,
    /// Connected, and not known as members yet; at most `MEMBERS`.
    pub(crate) strangers: BTreeSet<NodeId>,
}

impl Member {
    /// A member that begins at `now`, a time on any monotonic scale that all later times are on too. The
    /// author's member holds every slot; any other one says hello to the author's node.
    ///
    /// # Panics
    /// When the configuration contradicts itself: `me` is not the key's public half, the author's key is not
    /// the author's, it is there elsewhere than at the author's node, or the engine's tag is too long.
    #[must_use]
    pub fn new(config: Config, now: Duration) -> Member {
        assert_eq!(config.me.0, config.keypair.public(), "the node is its key");
        assert_eq!(config.author_key.is_some(), config.me == config.author_node, "the author is at its node");
        assert!(config.engine.len() <= bounds::ENGINE_BYTES, "the engine's tag is too long for a receipt");
        let author = config.author_key.clone().map(|key| {
            assert_eq!(key.public(), config.author.0, "the author is its key");
            Author::new(key, config.rows, config.resume.given_up)
        });
        let mut member = Member {
            now,
            born: now,
            rng: ChaCha8Rng::from_seed(config.seed),
            out: VecDeque::new(),
            ledger: Ledger::new(config.job, config.author, config.rows, config.resume.term),
            peers: BTreeMap::new(),
            work: Work::new(config.rows, config.threads, &config.tuning),
            report: Reporter::new(config.job, config.engine.clone(), &config.tuning),
            claim: Claim::new(&config),
            voice: Voice::new(now, config.incarnation),
            alive: Alive::new(now),
            recover: Recover::new(now),
            group: Group::new(now),
            deposits: Deposits::default(),
            author,
            leaving: None,
            ended: false,
            rejected: 0,
            strangers: BTreeSet::new(),
            config,
        };
        member.ban_known();
        if member.author.is_some() {
            let sealed = std::mem::take(&mut member.config.resume.sealed);
            if !member.config.resume.again {
                let first_row = (0..member.config.rows.chunks).into();
                member.work.adopt(&crate::sets::minus(&first_row, &sealed), false);
            }
            member.ledger.seal(&sealed);
        } else {
            let author_node = member.config.author_node;
            member.know(author_node);
        }
        for (slot, leaf) in std::mem::take(&mut member.config.resume.results) {
            if slot < member.config.rows.slots() && member.work.finished(slot, matches!(leaf, Leaf::Failed(_))) {
                member.report.pass_on(slot, leaf);
            }
        }
        member.lease_moved();
        if member.author.is_some() && member.ledger.sealed().len() == u64::from(member.config.rows.slots()) {
            // It had come to its end, and may not have said so.
            member.close(Reason::Done);
        }
        member.settle();
        member
    }

    /// Takes one input in. `now` must not go back; where it does, it is taken to stand still.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        if self.ended {
            return;
        }
        match input {
            Input::Message { from, message } => {
                if let Err(_rejection) = self.on_message(from, message) {
                    self.rejected += 1;
                }
            }
            // Nothing follows from it, and it comes once a slot.
            Input::Started { slot } => return self.work.started(self.now, slot),
            Input::Finished { results, cpu_micros, wall_micros } => {
                self.on_finished(results, cpu_micros, wall_micros);
            }
            Input::Collected { slot, worker, safe } => self.on_collected(slot, worker, safe),
            Input::Up(peer) => self.on_up(peer),
            Input::Down(peer) => {
                let now = self.now;
                self.strangers.remove(&peer);
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.down.get_or_insert(now);
                }
            }
            Input::Threads(threads) => {
                self.work.set_threads(threads);
                self.lease_moved();
            }
            Input::Kept { slot, leaf } => self.on_kept(slot, leaf),
            Input::Author(node) => self.author_moves(node),
            Input::Cancel => self.close(Reason::Cancelled),
            Input::Leave => self.leave(),
        }
        self.settle();
    }

    /// The next output, in the order in which they are to be carried out.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Member::tick`] is to be called; `None` once the job has ended here.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let urgent = self.work.startable() == 0;
        [self.claim_deadline(), self.report.deadline(urgent), self.seal_deadline()]
            .into_iter()
            .flatten()
            .chain([self.gossip_at(), self.voice.digest_at, self.alive.pulse_at, self.group.look_at])
            .min()
    }

    /// Does what is due. Calling it early or late does no harm.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.ended {
            return;
        }
        self.expire_asking();
        self.pulse();
        if self.ended {
            return;
        }
        self.compare();
        self.look_around();
        self.settle();
    }

    /// The records of all others that it knows of.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&NodeId, &Signed<Record>)> {
        let elsewhere = self.author.iter().flat_map(|author| &author.directory.records);
        self.ledger.records().iter().chain(elsewhere)
    }

    /// At the author: how often each node was with those who agreed, and how often it was outvoted; since this member was
    /// made, and of those that were asked with others.
    pub fn votes(&self) -> impl Iterator<Item = (NodeId, u32, u32)> {
        let standing = self.author.iter().flat_map(|author| &author.standing);
        standing.map(|(node, (agreed, outvoted))| (*node, *agreed, *outvoted))
    }

    /// The slots known to be sealed, for checkers.
    #[must_use]
    pub fn sealed(&self) -> &IntervalSet {
        self.ledger.sealed()
    }

    /// Its replica of the ledger, for checkers.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The group that it is in, for checkers.
    #[must_use]
    pub fn group(&self) -> u64 {
        self.group.id
    }

    /// The slots that it holds, for checkers.
    #[must_use]
    pub fn held(&self) -> &IntervalSet {
        &self.work.held
    }

    fn on_message(&mut self, from: NodeId, message: Message) -> Result<(), Rejection> {
        if from == self.config.me {
            return Err(Rejection::Unasked);
        }
        if self.ledger.is_banned(&from) {
            return Err(Rejection::Banned);
        }
        let now = self.now;
        if !matches!(message, Message::Results(_) | Message::Deposit(_))
            && self.peers.get_mut(&from).is_some_and(|p| !p.may_speak(now))
        {
            return Err(Rejection::Flood);
        }
        self.meet(from);
        match message {
            Message::Record(record) => self.on_record(&record, true),
            Message::Seal(seal) => self.on_seal(&seal),
            Message::Close(close) => self.on_close(&close),
            Message::Ban(ban) => self.on_ban(&ban),
            Message::Digest { term, sealed, banned, records } => {
                self.on_digest(from, (term, sealed), banned, &records);
                Ok(())
            }
            Message::Ledger { seals, bans, records } => {
                seals.iter().try_for_each(|seal| self.on_seal(seal))?;
                bans.iter().try_for_each(|ban| self.on_ban(ban))?;
                if from == self.config.author_node {
                    self.recover.asked_until = self.now;
                }
                records.iter().try_for_each(|record| self.on_record(record, NodeId(record.signer) == from))
            }
            Message::Split { ask, taken, load } => self.on_split(from, ask, taken, load),
            Message::Grant { ask, slots } => self.on_grant(from, ask, &slots),
            Message::Taken { ask } => {
                self.on_taken(from, ask);
                Ok(())
            }
            Message::Duplicate { ask, slots } => self.on_duplicate(from, ask, &slots),
            Message::Nothing { ask, load } => self.on_nothing(from, ask, load),
            Message::Look => {
                self.on_look(from);
                Ok(())
            }
            Message::Contacts { contacts } => {
                self.on_contacts(&contacts);
                Ok(())
            }
            Message::Place { group, contacts } => self.on_place(from, group, &contacts),
            Message::Results(results) => self.on_results(from, &results),
            Message::Deposit(results) => self.on_deposit(from, &results),
            Message::Counted { slots } => {
                if from != self.config.author_node {
                    return Err(Rejection::Unasked);
                }
                self.report.counted(self.now, &slots);
                Ok(())
            }
            Message::Refused { slots } => self.on_refused(from, &slots),
        }
    }

    fn on_finished(&mut self, results: Vec<(u32, Leaf)>, cpu_micros: u64, wall_micros: u64) {
        let count = results.len().max(1);
        self.work.measure(count, wall_micros);
        for (slot, leaf) in results {
            if slot >= self.config.rows.slots() || self.ledger.sealed().contains(slot) {
                continue;
            }
            if self.work.finished(slot, matches!(leaf, Leaf::Failed(_))) {
                self.report.add(slot, leaf, cpu_micros / count as u64);
            }
        }
        self.load_changed();
    }

    /// What may follow from any input: run, ask, report, gossip, end. Each part is cheap when it has nothing
    /// to do.
    pub(crate) fn settle(&mut self) {
        if self.ended {
            return;
        }
        if self.leaving.is_none() {
            self.begin_inherited();
            let run = self.work.refill(self.now);
            if !run.is_empty() {
                self.out.push_back(Output::Run(run));
            }
            self.ask();
        }
        let urgent = self.work.startable() == 0;
        for results in self.report.due(self.now, urgent, &self.config.keypair) {
            if self.author.is_some() {
                let me = self.config.me;
                results.iter().for_each(|(slot, leaf)| self.on_result(me, slot, leaf));
            } else {
                self.send(self.config.author_node, Message::Results(results));
            }
        }
        self.speak();
        self.spread_seals();
        if self.leaving.is_some() && self.work.flight.is_empty() && self.work.aside.is_empty() && self.report.len() == 0
        {
            self.end(Reason::Done, None);
        }
    }

    /// The author has come back at another node: that is shown what is here.
    fn author_moves(&mut self, node: NodeId) {
        if self.author.is_some() || node == self.config.me || node == self.config.author_node {
            return;
        }
        self.config.author_node = node;
        self.know(node);
        self.report.again(self.now);
        self.work.forgive();
        self.hello();
    }

    /// Leaves the job: what is not started is for others. The author stays, and only lends no more threads.
    fn leave(&mut self) {
        if self.author.is_some() {
            self.work.set_threads(0);
        } else {
            self.leaving.get_or_insert_default();
            self.hand_back();
        }
        self.lease_moved();
    }

    /// Drops what is not started, where a leaving member has got some.
    pub(crate) fn hand_back(&mut self) {
        let (gone, stop) = self.work.give_up(&self.work.unstarted());
        self.stop(stop);
        if let Some(handed_back) = &mut self.leaving {
            handed_back.union(&gone);
        }
    }

    pub(crate) fn end(&mut self, reason: Reason, word: Option<Signed<Close>>) {
        let all: IntervalSet = (0..self.config.rows.slots()).into();
        let stop = self.work.sealed(&all);
        self.stop(stop);
        self.release(&all);
        self.out.push_back(Output::Ended { reason, word });
        self.ended = true;
    }

    /// These slots are sealed: drops all that is kept of them here.
    pub(crate) fn drop_sealed(&mut self, slots: &IntervalSet) {
        let stop = self.work.sealed(slots);
        self.stop(stop);
        self.release(slots);
        self.load_changed();
    }

    fn release(&mut self, slots: &IntervalSet) {
        let released = self.report.drop_sealed(slots);
        if !released.is_empty() {
            self.out.push_back(Output::Release(released));
        }
    }

    pub(crate) fn stop(&mut self, slots: Vec<u32>) {
        if !slots.is_empty() {
            self.out.push_back(Output::Stop(slots));
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.out.push_back(Output::Send { to, message });
    }

    /// How this member is doing; what the author has to be checked counts as to be run by others.
    pub(crate) fn load(&self) -> Load {
        let (load, checks) = (self.work.load(), self.open_checks() as u32);
        Load { queued: load.queued + checks, blocked: load.blocked + checks, ..load }
    }

    /// Remembers `node` as somebody; false where there is no room for more.
    pub(crate) fn know(&mut self, node: NodeId) -> bool {
        if self.peers.contains_key(&node) {
            return true;
        }
        let most = if self.author.is_some() { ROSTER } else { MEMBERS };
        if node == self.config.me || self.peers.len() >= most {
            return false;
        }
        let (low, high) = self.config.tuning.silence;
        let limit = low + (high - low).mul_f64(self.chance());
        let mut peer = Peer::new(self.now, limit);
        peer.met = self.strangers.remove(&node);
        peer.banned = self.ledger.is_banned(&node);
        self.peers.insert(node, peer);
        true
    }

    /// A sign of life of `node` itself.
    pub(crate) fn meet(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.met = true;
        } else if self.strangers.len() < MEMBERS {
            self.strangers.insert(node);
        }
        self.heard(node);
    }

    /// A number from 0 up to 1.
    pub(crate) fn chance(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
