//! The machine itself: what is here, who is there, and what has to be done with each input.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bits::Bits;
use super::session::Session;
use super::{Config, Input, Layout, Message, Output, Reason, Source, Tuning};

/// One node's part in moving one blob. The same inputs at the same times with the same seed give the same outputs.
#[derive(Debug)]
pub struct Exchange {
    pub(super) layout: Layout,
    pub(super) tuning: Tuning,
    pub(super) now: Duration,
    rng: ChaCha8Rng,
    out: VecDeque<Output>,
    pub(super) have: Bits,
    /// At most [`Tuning::sessions`].
    pub(super) sessions: BTreeMap<NodeId, Session>,
    /// Who is not spoken to any more: at most [`Tuning::liars`].
    liars: BTreeSet<NodeId>,
    /// Of each piece, in how many sessions the peer says it has it.
    pub(super) copies: Vec<u16>,
    /// Of each piece, how many sources are being asked for it: all, and those that are not poor.
    pub(super) claims: Vec<(u16, u16)>,
    /// Of each piece, when it was last asked for.
    pub(super) asked_at: Vec<Duration>,
    /// How long a piece takes to come once it is asked for, lately.
    pub(super) take_time: Duration,
    /// How long a piece takes to be sent, lately.
    pub(super) give_time: Duration,
    /// How many were begun.
    pub(super) gives: u64,
    /// What was given to whoever was served last: where a newcomer's account begins.
    pub(super) served: u64,
    /// Whether it spares itself: it had everything at the start.
    pub(super) spares: bool,
    /// Of each piece, when a taker was last told of it by a node that spares itself, and how many gives ago.
    pub(super) offered: Vec<Option<(Duration, u64)>>,
    /// Whether somebody left because it had everything: so there is more than one copy, though no session says so.
    pub(super) passed_on: bool,
    pub(super) taking: bool,
    pulse: Duration,
}

impl Exchange {
    /// An exchange that has no sessions yet.
    #[must_use]
    pub fn new(config: Config) -> Exchange {
        let pieces = config.layout.pieces();
        let mut have = Bits::none(pieces);
        for piece in config.have.iter().take_while(|piece| *piece < pieces) {
            have.insert(piece);
        }
        Exchange {
            layout: config.layout,
            tuning: config.tuning,
            now: Duration::ZERO,
            rng: ChaCha8Rng::from_seed(config.seed),
            out: VecDeque::new(),
            spares: have.len() == pieces,
            have,
            sessions: BTreeMap::new(),
            liars: BTreeSet::new(),
            copies: vec![0; pieces as usize],
            claims: vec![(0, 0); pieces as usize],
            asked_at: vec![Duration::ZERO; pieces as usize],
            take_time: Duration::ZERO,
            give_time: Duration::ZERO,
            gives: 0,
            served: 0,
            offered: vec![None; pieces as usize],
            passed_on: false,
            taking: true,
            pulse: Duration::ZERO,
        }
    }

    /// Tells it what happened. Time never goes back: an earlier `now` counts as the latest there was.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Up(peer) => self.up(peer),
            Input::Down(peer) => self.drop_session(peer),
            Input::Message { from, message } => self.hear(from, message),
            Input::Bytes { from, bytes } => self.bytes(from, bytes),
            Input::Arrived { from, piece, right } => self.arrived(from, piece, right),
            Input::Given { to, piece, sent } => self.given(to, piece, sent),
            Input::Take(take) => self.set_taking(take),
            Input::Tick => {}
        }
        if self.now >= self.pulse && !self.sessions.is_empty() {
            self.pulse = self.now + self.tuning.pulse;
            self.judge();
            self.offer_all();
        }
        self.serve();
        self.spread();
    }

    /// What is to be done next; none when that is all for now.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due if nothing else happens before; none while there is nobody to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let news = |session: &Session| (session.news.len() > 0).then_some(self.tell_at(session));
        let told = self.sessions.values().filter_map(news).min();
        let busy = self.sessions.values().any(|session| !session.asked.is_empty() || !self.is_full(&session.theirs));
        let pulse = (busy || !self.is_complete()).then_some(self.pulse).filter(|_| !self.sessions.is_empty());
        [told, pulse].into_iter().flatten().min()
    }

    /// Whether all pieces are here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_full(&self.have)
    }

    /// The pieces that are here.
    #[must_use]
    pub fn have(&self) -> IntervalSet {
        self.have.intervals()
    }

    /// How many pieces are here.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.have.len()
    }

    /// Whether this piece is here: its bytes need not be looked at again.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        piece < self.layout.pieces() && self.have.contains(piece)
    }

    /// How every peer is doing as a source.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let source = |(node, session): (&NodeId, &Session)| Source {
            node: *node,
            has: session.theirs.len(),
            asked: session.asked.len() as u32,
            rate: session.meter.rate(self.now).unwrap_or(0.0),
            poor: session.poor,
            poor_until: session.poor_until,
        };
        self.sessions.iter().map(source).collect()
    }

    fn up(&mut self, peer: NodeId) {
        self.drop_session(peer);
        if self.liars.contains(&peer) {
            return self.say(Output::Leave { peer, reason: Reason::Wrong });
        }
        if self.sessions.len() >= self.tuning.sessions {
            return self.say(Output::Leave { peer, reason: Reason::Full });
        }
        let mut session = Session::new(self.layout.pieces(), self.now);
        if self.sessions.is_empty() {
            self.pulse = self.now + self.tuning.pulse;
        }
        if !self.spares {
            session.news = self.have.clone();
        }
        self.sessions.insert(peer, session);
        self.offer(peer);
    }

    /// Ends a session on our side, and for good where the peer has done what no honest one does.
    pub(super) fn leave(&mut self, peer: NodeId, reason: Reason) {
        if matches!(reason, Reason::Wrong | Reason::Rude) {
            self.liars.insert(peer);
            if self.liars.len() > self.tuning.liars {
                self.liars.pop_first();
            }
        }
        self.drop_session(peer);
        self.say(Output::Leave { peer, reason });
    }

    fn drop_session(&mut self, peer: NodeId) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        for piece in session.theirs.iter() {
            self.copies[piece as usize] -= 1;
        }
        for piece in &session.asked {
            self.unclaim(*piece, session.poor);
        }
        // What only this one was told of must be told to others.
        for piece in session.told.without(&session.theirs) {
            self.offered[piece as usize] = None;
        }
        self.fill_all();
        self.offer_all();
    }

    fn hear(&mut self, from: NodeId, message: Message) {
        let pieces = self.layout.pieces();
        let in_range = match &message {
            Message::Have(set) => set.end() <= pieces,
            Message::Want(list) | Message::Cancel(list) | Message::Refuse(list) => list.iter().all(|n| *n < pieces),
        };
        if !self.sessions.contains_key(&from) {
            return;
        }
        if !in_range {
            return self.leave(from, Reason::Rude);
        }
        match message {
            Message::Have(set) => self.has_more(from, &set),
            Message::Want(list) => self.wanted(from, &list),
            Message::Cancel(list) => {
                if let Some(session) = self.sessions.get_mut(&from) {
                    session.wants.retain(|piece| !list.contains(piece));
                    list.iter().for_each(|piece| session.wanted.remove(*piece));
                }
            }
            Message::Refuse(list) => self.refused(from, &list),
        }
    }

    fn has_more(&mut self, from: NodeId, set: &IntervalSet) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        for piece in set.iter().filter(|piece| !session.refused.contains(*piece)) {
            if session.theirs.insert(piece) {
                self.copies[piece as usize] += 1;
            }
        }
        let full = session.theirs.len() == self.layout.pieces();
        if full && self.is_complete() {
            self.passed_on = true;
            return self.leave(from, Reason::Needless);
        }
        self.fill(from);
        self.offer(from);
    }

    /// A piece is here now.
    pub(super) fn gained(&mut self, piece: u32) {
        if !self.have.insert(piece) {
            return;
        }
        for session in self.sessions.values_mut() {
            session.news.insert(piece);
        }
        if self.is_complete() {
            // Sessions with others that have everything end when they have heard of it.
            self.say(Output::Complete);
        }
    }

    pub(super) fn is_full(&self, set: &Bits) -> bool {
        set.len() == self.layout.pieces()
    }

    pub(super) fn say(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.say(Output::Send { to, message });
    }

    /// One of those with the least cost, drawn by chance.
    pub(super) fn draw<K: Ord>(&mut self, candidates: impl Iterator<Item = (K, u32)>) -> Option<u32> {
        let mut best: Option<(K, u32, u64)> = None;
        for (cost, piece) in candidates {
            match &mut best {
                Some((least, _, _)) if *least < cost => {}
                Some((least, drawn, of)) if *least == cost => {
                    *of += 1;
                    if self.rng.next_u64().is_multiple_of(*of) {
                        *drawn = piece;
                    }
                }
                _ => best = Some((cost, piece, 1)),
            }
        }
        best.map(|(_, piece, _)| piece)
    }
}
