//! Judges: what must never happen, looked at whenever something does, and a count of what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_free::pieces::{Exchange, Input, MESSAGE_BYTES, Message, Reason, WANTS};
use essaim_jobs::encode;

use crate::node::{Manner, Node};

#[derive(Debug, Default)]
pub struct Judge {
    /// What went wrong, by name, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    pub messages: u64,
    pub bytes: u64,
    /// Who has left whom for good.
    banned: BTreeSet<(usize, usize)>,
    /// Wrong pieces that came, and of whom.
    pub wrong: BTreeMap<(usize, usize), u64>,
    had: u32,
    looks: u64,
}

impl Judge {
    pub fn count(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    pub fn before(&mut self, exchange: &Exchange, _: &Input) {
        self.had = exchange.count();
    }

    /// Whatever it was told, it does a bounded amount of it.
    pub fn after(&mut self, exchange: &Exchange, outputs: usize) {
        assert!(exchange.count() >= self.had, "a piece was lost");
        self.looks += 1;
        if outputs > 16 || self.looks.is_multiple_of(16) {
            let sources = exchange.sources();
            assert!(outputs <= 16 + 8 * sources.len(), "{outputs} outputs at once");
            assert!(sources.iter().all(|source| source.asked <= 32), "too much is asked at once");
        }
    }

    pub fn said(&mut self, from: usize, to: usize, message: &Message) {
        let bytes = encode(message).len();
        assert!(bytes <= MESSAGE_BYTES);
        self.messages += 1;
        self.bytes += bytes as u64;
        match message {
            Message::Have(set) => assert!(!set.is_empty(), "nothing was said"),
            Message::Want(list) => {
                assert!((1..=WANTS).contains(&list.len()));
                assert!(!self.banned.contains(&(from, to)), "{from} asks {to}, which sent it wrong bytes");
            }
            Message::Cancel(list) | Message::Refuse(list) => assert!((1..=WANTS).contains(&list.len())),
        }
    }

    /// Nobody honest is left for good, and who is was dishonest indeed.
    pub fn left(&mut self, at: usize, peer: usize, reason: Reason, manner: Manner) {
        match reason {
            Reason::Wrong => {
                assert_eq!(manner, Manner::Liar, "{at} takes {peer} for a liar");
                self.banned.insert((at, peer));
                self.count("liar left");
            }
            Reason::Rude => panic!("{at} finds {peer} rude"),
            Reason::Full | Reason::Needless => {}
        }
    }

    pub fn arrives(&mut self, at: usize, from: usize, wrong: bool) {
        if wrong {
            self.count("wrong piece");
            *self.wrong.entry((at, from)).or_default() += 1;
        }
    }

    /// A wrong piece is not taken, and its sender is left.
    pub fn arrived(&self, node: &Node, from: usize, piece: u32, wrong: bool) {
        if wrong {
            assert!(node.exchange.count() == self.had, "a wrong piece {piece} was taken");
            assert!(!node.sessions.contains_key(&from), "{from} sent wrong bytes and is still spoken to");
        } else {
            assert!(node.exchange.has(piece) || !node.alive);
        }
    }

    /// Whether one of the two has left the other for good.
    pub fn parted(&self, one: usize, other: usize) -> bool {
        self.banned.contains(&(one, other)) || self.banned.contains(&(other, one))
    }

    /// A node that starts again knows nobody.
    pub fn forget(&mut self, node: usize) {
        self.banned.retain(|(at, _)| *at != node);
    }
}
