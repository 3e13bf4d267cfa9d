//! Taking: which piece to ask of whom, when to ask somebody else too, and whom to ask no more.

use std::time::Duration;

use essaim_jobs::NodeId;

use super::bits::Bits;
use super::session::Session;
use super::{Exchange, Message, Reason};

impl Exchange {
    /// Asks every source for as much as it can do with: the good ones first.
    pub(super) fn fill_all(&mut self) {
        for poor in [false, true] {
            let peers: Vec<NodeId> =
                self.sessions.iter().filter(|(_, session)| session.poor == poor).map(|(peer, _)| *peer).collect();
            for peer in peers {
                self.fill(peer);
            }
        }
    }

    /// Asks one source for as much as it can do with.
    pub(super) fn fill(&mut self, peer: NodeId) {
        if self.is_complete() || !self.taking {
            return;
        }
        let mut wanted = Vec::new();
        while let Some(piece) = self.next_from(peer) {
            let now = self.now;
            let Some(session) = self.sessions.get_mut(&peer) else { break };
            if session.asked.is_empty() {
                session.first_asked = Some(now);
                session.silent_since = now;
                session.meter.start(now);
            }
            session.asked.push_back(piece);
            let claims = &mut self.claims[piece as usize];
            claims.0 += 1;
            claims.1 += u16::from(!session.poor);
            self.asked_at[piece as usize] = now;
            wanted.push(piece);
        }
        if !wanted.is_empty() {
            self.send(peer, Message::Want(wanted));
        }
    }

    pub(super) fn set_taking(&mut self, take: bool) {
        self.taking = take;
        if take {
            return self.fill_all();
        }
        let asked = |session: &Session| session.asked.iter().copied().collect::<Vec<_>>();
        let pieces: Vec<u32> = self.sessions.values().flat_map(asked).collect();
        for piece in pieces {
            self.recall(piece);
        }
    }

    fn next_from(&mut self, peer: NodeId) -> Option<u32> {
        let session = self.sessions.get(&peer)?;
        if session.asked.len() >= self.window(session) {
            return None;
        }
        let picked = if session.poor { self.last_resort(peer) } else { self.rarest(peer) };
        picked.or_else(|| self.race(peer))
    }

    /// How many pieces a source may be asked for at once: what it gives in the time in which it answers, and some
    /// more; of one that disappointed, only one.
    fn window(&self, session: &Session) -> usize {
        let (least, most) = self.tuning.window;
        if session.failures > 0 {
            return 1;
        }
        let Some(rate) = session.meter.rate(self.now) else { return least as usize };
        let ahead = session.answers_in.unwrap_or_default() + self.tuning.ahead;
        let pieces = rate * ahead.as_secs_f64() / self.layout.bytes(0) as f64;
        (pieces as u32).saturating_add(1).clamp(least, most) as usize
    }

    /// The rarest piece that nobody is asked for, or else nobody good.
    fn rarest(&mut self, peer: NodeId) -> Option<u32> {
        let open = |exchange: &Exchange, piece: u32| exchange.claims[piece as usize].1 == 0;
        let candidates = self.lacking(peer, open);
        let cost = |piece: u32| (self.claims[piece as usize].0 > 0, self.copies[piece as usize]);
        let costed: Vec<_> = candidates.into_iter().map(|piece| (cost(piece), piece)).collect();
        self.draw(costed.into_iter())
    }

    /// Of a poor source only what no good one has.
    fn last_resort(&mut self, peer: NodeId) -> Option<u32> {
        let mut elsewhere = Bits::none(self.layout.pieces());
        for session in self.sessions.values().filter(|session| !session.poor) {
            elsewhere.add(&session.theirs);
        }
        let candidates = self.lacking(peer, |_, piece| !elsewhere.contains(piece));
        let cost = |piece: u32| (self.claims[piece as usize].0, self.copies[piece as usize]);
        let costed: Vec<_> = candidates.into_iter().map(|piece| (cost(piece), piece)).collect();
        self.draw(costed.into_iter())
    }

    /// What a peer has, we lack, it was not asked for, and is `open`.
    fn lacking(&self, peer: NodeId, open: impl Fn(&Exchange, u32) -> bool) -> Vec<u32> {
        let Some(session) = self.sessions.get(&peer) else { return Vec::new() };
        let missing = session.theirs.without(&self.have);
        missing.filter(|piece| open(self, *piece) && !session.asked.contains(piece)).collect()
    }

    /// The piece that would otherwise come last, if this source is likely to bring it much sooner: at the end, when
    /// every piece is being asked for.
    fn race(&mut self, peer: NodeId) -> Option<u32> {
        let is_open = |piece: u32| !self.have.contains(piece) && self.claims[piece as usize].0 == 0;
        if (0..self.layout.pieces()).any(is_open) {
            return None;
        }
        let (times, by) = self.tuning.race;
        let session = self.sessions.get(&peer).filter(|session| !session.poor)?;
        let here = self.expected(session, session.asked.len() + 1)? + session.answers_in.unwrap_or_default();
        let racers = self.tuning.racers as u16;
        let mut latest: Option<(Duration, u32)> = None;
        for session in self.sessions.iter().filter(|(other, _)| **other != peer).map(|(_, session)| session) {
            for (at, piece) in session.asked.iter().enumerate() {
                if self.claims[*piece as usize].1 >= racers || !self.could_give(peer, *piece) {
                    continue;
                }
                // With several at it, the soonest counts.
                let there = self.soonest(*piece).or_else(|| self.expected(session, at + 1));
                let there = there.unwrap_or(Duration::MAX);
                if there > here.mul_f64(times) + by && latest.is_none_or(|(worst, _)| there > worst) {
                    latest = Some((there, *piece));
                }
            }
        }
        latest.map(|(_, piece)| piece)
    }

    fn could_give(&self, peer: NodeId, piece: u32) -> bool {
        let could = |session: &Session| session.theirs.contains(piece) && !session.asked.contains(&piece);
        self.sessions.get(&peer).is_some_and(could)
    }

    fn soonest(&self, piece: u32) -> Option<Duration> {
        let of = |session: &Session| {
            let at = session.asked.iter().position(|asked| *asked == piece)?;
            self.expected(session, at + 1)
        };
        self.sessions.values().filter_map(of).min()
    }

    /// How long a source will take for the first so many of its pieces, as it has done so far.
    fn expected(&self, session: &Session, pieces: usize) -> Option<Duration> {
        let rate = session.meter.rate(self.now)?;
        let bytes = (self.layout.bytes(0) * pieces as u64).saturating_sub(session.partial);
        Some(Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX))
    }

    pub(super) fn bytes(&mut self, from: NodeId, bytes: u64) {
        let (now, fade) = (self.now, self.tuning.meter);
        let Some(session) = self.sessions.get_mut(&from) else { return };
        session.silent_since = now;
        session.partial = session.partial.saturating_add(bytes);
        session.meter.add(now, bytes, fade);
        if let Some(asked) = session.first_asked.take() {
            let took = now.saturating_sub(asked);
            session.answers_in = Some(session.answers_in.map_or(took, |least| least.min(took)));
        }
    }

    pub(super) fn arrived(&mut self, from: NodeId, piece: u32, right: bool) {
        let (now, fade) = (self.now, self.tuning.meter);
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if !right || piece >= self.layout.pieces() {
            return self.leave(from, Reason::Wrong);
        }
        let asked = session.asked.iter().position(|asked| *asked == piece);
        match asked {
            Some(at) => drop(session.asked.remove(at)),
            None if session.recalled > 0 => session.recalled -= 1,
            // Nobody asked: it spends our link for us.
            None => return self.leave(from, Reason::Rude),
        }
        session.partial = 0;
        session.first_asked = None;
        if session.asked.is_empty() {
            session.meter.stop(now, fade);
        }
        let was_poor = session.poor;
        if asked.is_some() {
            let took = now.saturating_sub(self.asked_at[piece as usize]);
            self.take_time = (self.take_time * 7 + took) / 8;
            self.unclaim(piece, was_poor);
            self.redeem(from);
        }
        self.gained(piece);
        let freed = self.recall(piece);
        self.fill(from);
        for peer in freed {
            self.fill(peer);
        }
    }

    /// Takes a piece back from all who were asked for it, and says who they were.
    fn recall(&mut self, piece: u32) -> Vec<NodeId> {
        let (now, fade) = (self.now, self.tuning.meter);
        let mut freed = Vec::new();
        for (peer, session) in &mut self.sessions {
            let Some(at) = session.asked.iter().position(|asked| *asked == piece) else { continue };
            session.asked.remove(at);
            session.recalled = (session.recalled + 1).min(self.tuning.window.1);
            if session.asked.is_empty() {
                session.meter.stop(now, fade);
                session.first_asked = None;
            }
            freed.push((*peer, session.poor));
        }
        for (peer, poor) in &freed {
            self.unclaim(piece, *poor);
            self.send(*peer, Message::Cancel(vec![piece]));
        }
        freed.into_iter().map(|(peer, _)| peer).collect()
    }

    pub(super) fn refused(&mut self, from: NodeId, list: &[u32]) {
        let (now, fade) = (self.now, self.tuning.meter);
        let Some(session) = self.sessions.get_mut(&from) else { return };
        let mut freed = Vec::new();
        for piece in list {
            if session.theirs.contains(*piece) {
                session.theirs.remove(*piece);
                self.copies[*piece as usize] -= 1;
            }
            session.refused.insert(*piece);
            if let Some(at) = session.asked.iter().position(|asked| asked == piece) {
                session.asked.remove(at);
                freed.push(*piece);
            }
        }
        if session.asked.is_empty() {
            session.meter.stop(now, fade);
        }
        let poor = session.poor;
        for piece in freed {
            self.unclaim(piece, poor);
        }
        self.fill_all();
    }

    pub(super) fn unclaim(&mut self, piece: u32, poor: bool) {
        let claims = &mut self.claims[piece as usize];
        claims.0 -= 1;
        claims.1 -= u16::from(!poor);
    }

    /// Finds who is silent or slow, and gives others their chance once more.
    pub(super) fn judge(&mut self) {
        if self.is_complete() {
            return;
        }
        let fastest = self.sessions.values().filter_map(|session| session.meter.rate(self.now)).fold(0.0, f64::max);
        let peers: Vec<NodeId> = self.sessions.keys().copied().collect();
        for peer in peers {
            let Some(session) = self.sessions.get(&peer) else { continue };
            if session.poor {
                if self.now >= session.poor_until {
                    self.set_poor(peer, false);
                }
            } else if !session.asked.is_empty() && (self.is_silent(session) || self.is_slow(session, fastest)) {
                self.set_poor(peer, true);
            }
        }
        self.fill_all();
    }

    fn is_silent(&self, session: &Session) -> bool {
        let (least, times) = self.tuning.silence;
        let patience = least.max(self.take_time * times) + 2 * session.answers_in.unwrap_or_default();
        self.now.saturating_sub(session.silent_since) > patience
    }

    fn is_slow(&self, session: &Session, fastest: f64) -> bool {
        let (measured, times) = self.tuning.slow;
        let rate = session.meter.rate(self.now).unwrap_or(0.0);
        session.meter.measured(self.now) >= measured && rate * times < fastest
    }

    /// A poor source that brings a piece, and not slowly, is a good one again.
    fn redeem(&mut self, peer: NodeId) {
        let fastest = self.sessions.values().filter_map(|session| session.meter.rate(self.now)).fold(0.0, f64::max);
        let Some(session) = self.sessions.get(&peer) else { return };
        if !self.is_slow(session, fastest) {
            self.set_poor(peer, false);
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.failures = 0;
            }
        }
    }

    fn set_poor(&mut self, peer: NodeId, poor: bool) {
        let (now, (first, most)) = (self.now, self.tuning.retry);
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.poor != poor) else { return };
        session.poor = poor;
        session.silent_since = now;
        if poor {
            session.poor_until = now + (first * 2_u32.saturating_pow(session.failures)).min(most);
            session.failures = (session.failures + 1).min(16);
        }
        for piece in &session.asked {
            let claims = &mut self.claims[*piece as usize];
            claims.1 = if poor { claims.1 - 1 } else { claims.1 + 1 };
        }
    }
}
