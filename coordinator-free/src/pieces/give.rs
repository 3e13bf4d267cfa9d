//! Giving: whom to serve next, and with what.

use essaim_jobs::NodeId;

use super::{Exchange, Message, Output, Reason, WANTS};

impl Exchange {
    pub(super) fn wanted(&mut self, from: NodeId, list: &[u32]) {
        let Some(session) = self.sessions.get_mut(&from) else { return };
        // Who comes, or comes back, is owed nothing for the time when it did not ask.
        if session.wants.is_empty() && session.giving.is_empty() {
            session.given = session.given.max(self.served);
        }
        let mut refused = Vec::new();
        for piece in list {
            if session.is_after(*piece) {
                continue;
            }
            if self.have.contains(*piece) && session.wants.len() < WANTS {
                session.wants.push_back(*piece);
                session.wanted.insert(*piece);
            } else {
                refused.push(*piece);
            }
        }
        if refused.len() > WANTS {
            return self.leave(from, Reason::Rude);
        }
        if !refused.is_empty() {
            self.send(from, Message::Refuse(refused));
        }
        self.offer(from);
    }

    /// Begins to send as much as may be sent at once, always to the asker who has been given least. What takes much
    /// longer than is usual does not count: its asker reads slowly, or not at all, and must keep nobody else waiting.
    pub(super) fn serve(&mut self) {
        let (all, each) = self.tuning.giving;
        let mut room = all.saturating_sub(self.quick_gives());
        while room > 0 {
            let ready = |peer: &&NodeId| {
                let session = &self.sessions[*peer];
                !session.wants.is_empty() && session.giving.len() < each
            };
            let next = self.sessions.keys().filter(ready).min_by_key(|peer| self.sessions[*peer].given).copied();
            let Some(session) = next.and_then(|peer| self.sessions.get_mut(&peer)) else { return };
            let (Some(to), Some(piece)) = (next, session.wants.pop_front()) else { return };
            self.served = session.given;
            session.given += self.layout.bytes(piece);
            session.giving.push((piece, self.now));
            self.gives += 1;
            room -= 1;
            self.say(Output::Give { to, piece });
        }
    }

    /// Pieces that are being sent, but for those that take much longer than is usual.
    pub(super) fn quick_gives(&self) -> usize {
        let (least, times) = self.tuning.slow_give;
        let usual = least.max(self.give_time * times);
        let giving = self.sessions.values().flat_map(|session| &session.giving);
        giving.filter(|(_, since)| self.now.saturating_sub(*since) < usual).count()
    }

    pub(super) fn given(&mut self, to: NodeId, piece: u32, sent: bool) {
        let Some(session) = self.sessions.get_mut(&to) else { return };
        let Some(at) = session.giving.iter().position(|(giving, _)| *giving == piece) else { return };
        let (_, since) = session.giving.remove(at);
        if sent {
            let took = self.now.saturating_sub(since);
            self.give_time = (self.give_time * 7 + took) / 8;
        } else {
            self.send(to, Message::Refuse(vec![piece]));
        }
    }
}
