//! Telling: whom to say what is here. A taker is told of every piece at once, by all but those who had everything
//! from the start. They spare themselves, as in BitTorrent's super-seeding (BEP 16): each piece is told to one taker
//! first, and to others, rarest first, only when all have been told to somebody. Nothing is ever withheld from a taker
//! that asks for all it was told of, so that a lone one, or those who cannot reach each other, lose nothing by it.

use std::time::Duration;

use essaim_jobs::NodeId;

use super::session::Session;
use super::{Exchange, Message};

impl Exchange {
    /// When a session is told its news. Soonest by who spares itself, as its takers know of little else; later where
    /// it has all of that itself, and it only helps it to guess which pieces are rare.
    pub(super) fn tell_at(&self, session: &Session) -> Duration {
        let needless = session.news.is_within(&session.theirs) && !self.is_complete();
        let gap = match () {
            () if self.spares => self.tuning.offer_gap,
            () if needless => self.tuning.tell_gap.1,
            () => self.tuning.tell_gap.0,
        };
        session.told_at.map_or(Duration::ZERO, |at| at + gap)
    }

    /// Says the news to all to whom they may be said now.
    pub(super) fn spread(&mut self) {
        let due = |(peer, session): (&NodeId, &Session)| {
            (session.news.len() > 0 && self.tell_at(session) <= self.now).then_some(*peer)
        };
        let peers: Vec<NodeId> = self.sessions.iter().filter_map(due).collect();
        for peer in peers {
            let Some(session) = self.sessions.get_mut(&peer) else { continue };
            let news = session.news.intervals();
            session.told.add(&session.news);
            session.news.clear();
            session.told_at = Some(self.now);
            self.send(peer, Message::Have(news));
        }
    }

    pub(super) fn offer_all(&mut self) {
        if self.spares {
            let peers: Vec<NodeId> = self.sessions.keys().copied().collect();
            for peer in peers {
                self.offer(peer);
            }
        }
    }

    /// Tells a taker of as many pieces more as it may soon ask for.
    pub(super) fn offer(&mut self, peer: NodeId) {
        while let Some(piece) = self.next_offer(peer) {
            self.offered[piece as usize] = Some((self.now, self.gives));
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.news.insert(piece);
            }
        }
    }

    fn next_offer(&mut self, peer: NodeId) -> Option<u32> {
        let session = self.sessions.get(&peer).filter(|session| self.spares && !self.is_full(&session.theirs))?;
        let asking = session.wanted.without(&session.theirs).count();
        let told = session.told.without(&session.theirs).chain(session.news.without(&session.theirs));
        let spare = told.filter(|piece| !session.wanted.contains(*piece)).count();
        if spare >= asking.max(self.tuning.offers) {
            return None;
        }
        // A taker has its time for what it was told of: while any are served, as many turns as are fair. One that
        // takes too long for that, or does not ask, must not keep a piece from all others.
        let (patience, turns) = self.tuning.offer_patience;
        let turns = turns * self.sessions.len() as u64;
        let served = self.quick_gives() > 0;
        let fresh = |(at, gives): (Duration, u64)| {
            self.now.saturating_sub(at) < patience || (served && self.gives - gives < turns)
        };
        let mut candidates = Vec::new();
        for piece in self.have.without(&session.told) {
            if session.theirs.contains(piece) || session.news.contains(piece) {
                continue;
            }
            let copies = self.copies[piece as usize];
            match self.offered[piece as usize] {
                // Somebody is getting it.
                Some(at) if copies == 0 && !self.passed_on && fresh(at) => {}
                Some(_) if copies == 0 && !self.passed_on => candidates.push(((1, 0), piece)),
                Some(_) => candidates.push(((2, copies), piece)),
                None => candidates.push(((0, copies), piece)),
            }
        }
        self.draw(candidates.into_iter())
    }
}
