//! Voices on a chunk that is not sealed: whose count, which of them agree, whose output is to be made safe.
//!
//! The first voice may be anyone's, so that nobody need be asked before work begins. Every further one must
//! come from a peer that the author has assigned by chance *after* the first was heard: where workers choose
//! what they check, two that conspire take both copies (Sarmenta 2001).

use std::collections::BTreeMap;

use essaim_jobs::{BlobId, Leaf, NodeId};

/// Voices kept for one chunk beyond the copies that it needs; with as many and no agreement it is hopeless.
pub(crate) const SPARE_VOICES: usize = 8;

#[derive(Clone, Debug)]
struct Voice {
    worker: NodeId,
    slot: u32,
    digest: BlobId,
    /// Kept until an output is safe; `None` once it could not be had.
    leaf: Option<Leaf>,
}

/// What is known of one chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    voices: Vec<Voice>,
    /// Who was asked to check this chunk.
    checkers: Vec<NodeId>,
    /// Whose output is being made safe.
    collecting: Option<NodeId>,
}

/// What follows for a chunk.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Wait,
    /// So many more voices are needed to agree.
    Check(usize),
    /// Enough agree: this output of this worker, of this slot, is to be made safe.
    Collect(NodeId, u32, Leaf),
    /// The output of this one is safe and agreed upon; those others said something else.
    Seal {
        /// Whose output it is.
        worker: NodeId,
        /// Those who said the same, `worker` among them.
        agreed: Vec<NodeId>,
        /// Those who said something else.
        outvoted: Vec<NodeId>,
    },
    /// So many voices, and no agreement.
    Hopeless(Vec<NodeId>),
}

impl Tally {
    /// How many voices are kept.
    pub(crate) fn len(&self) -> usize {
        self.voices.len()
    }

    /// Whose they are.
    pub(crate) fn workers(&self) -> impl Iterator<Item = NodeId> {
        self.voices.iter().map(|voice| voice.worker)
    }

    pub(crate) fn has_voice(&self, worker: &NodeId) -> bool {
        self.voices.iter().any(|voice| voice.worker == *worker)
    }

    /// Whether enough agree, and an output is being made safe.
    pub(crate) fn is_collecting(&self) -> bool {
        self.collecting.is_some()
    }

    pub(crate) fn assign(&mut self, worker: NodeId) {
        if !self.checkers.contains(&worker) {
            self.checkers.push(worker);
        }
    }

    /// Takes a worker's word. `own` when it is the author's own node, which needs no assignment.
    pub(crate) fn hear(&mut self, worker: NodeId, slot: u32, leaf: &Leaf, own: bool, copies: usize) -> Verdict {
        let welcome = self.voices.is_empty() || own || self.checkers.contains(&worker);
        // A worker has one voice, however many copies it has run.
        if !welcome || self.has_voice(&worker) || self.voices.len() >= copies + SPARE_VOICES {
            return Verdict::Wait;
        }
        self.voices.push(Voice { worker, slot, digest: leaf.digest(), leaf: Some(leaf.clone()) });
        self.judge(copies)
    }

    /// The output asked for is safe, or cannot be had from `worker`. `None` when it was not asked for; beside
    /// the verdict, those whose word is worth nothing any more.
    pub(crate) fn collected(&mut self, worker: NodeId, safe: bool, copies: usize) -> Option<(Verdict, Vec<NodeId>)> {
        self.collecting.take_if(|asked| *asked == worker)?;
        let digest = self.voices.iter().find(|voice| voice.worker == worker)?.digest;
        if safe {
            let (agreed, outvoted): (Vec<&Voice>, _) = self.voices.iter().partition(|voice| voice.digest == digest);
            let name = |voices: Vec<&Voice>| voices.iter().map(|voice| voice.worker).collect();
            let verdict = Verdict::Seal { worker, agreed: name(agreed), outvoted: name(outvoted) };
            return Some((verdict, Vec::new()));
        }
        let mine = self.voices.iter_mut().filter(|voice| voice.worker == worker);
        mine.for_each(|voice| voice.leaf = None);
        let same = |voice: &Voice| voice.digest == digest;
        let mut gone = Vec::new();
        if self.voices.iter().filter(|voice| same(voice)).all(|voice| voice.leaf.is_none()) {
            // All who said it cannot show it.
            gone = self.voices.iter().filter(|voice| same(voice)).map(|voice| voice.worker).collect();
            self.voices.retain(|voice| !same(voice));
        }
        Some((self.judge(copies), gone))
    }

    /// Forgets what `worker` said; whether it had said anything, or was asked to.
    pub(crate) fn silence(&mut self, worker: &NodeId) -> bool {
        let before = self.voices.len() + self.checkers.len();
        self.voices.retain(|voice| voice.worker != *worker);
        self.checkers.retain(|checker| checker != worker);
        self.collecting.take_if(|asked| asked == worker);
        before > self.voices.len() + self.checkers.len()
    }

    pub(crate) fn judge(&mut self, copies: usize) -> Verdict {
        if self.collecting.is_some() {
            return Verdict::Wait;
        }
        let mut counts: BTreeMap<&BlobId, usize> = BTreeMap::new();
        self.voices.iter().for_each(|voice| *counts.entry(&voice.digest).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or(0);
        if most < copies {
            let hopeless = self.voices.len() >= copies + SPARE_VOICES;
            let all = || self.workers().collect();
            return if hopeless { Verdict::Hopeless(all()) } else { Verdict::Check(copies - most) };
        }
        let agreed = |voice: &&Voice| counts.get(&voice.digest) == Some(&most);
        let shown = self.voices.iter().filter(agreed).find_map(|voice| Some((voice, voice.leaf.clone()?)));
        let Some((voice, leaf)) = shown else { return Verdict::Wait };
        self.collecting = Some(voice.worker);
        Verdict::Collect(voice.worker, voice.slot, leaf)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn says(what: &'static [u8]) -> Leaf {
        Leaf::Inline(Bytes::from_static(what))
    }

    #[test]
    fn only_the_first_voice_may_be_anyones() {
        let mut tally = Tally::default();
        assert!(matches!(tally.hear(node(1), 0, &says(b"a"), false, 2), Verdict::Check(1)));
        assert!(matches!(tally.hear(node(2), 9, &says(b"a"), false, 2), Verdict::Wait), "nobody asked it");
        assert_eq!(tally.len(), 1);
        tally.assign(node(3));
        let verdict = tally.hear(node(3), 9, &says(b"a"), false, 2);
        assert!(matches!(verdict, Verdict::Collect(worker, 0, _) if worker == node(1)), "{verdict:?}");
        let verdict = tally.collected(node(1), true, 2);
        assert!(matches!(verdict, Some((Verdict::Seal { .. }, _))), "{verdict:?}");
    }

    #[test]
    fn a_third_voice_settles_a_disagreement() {
        let mut tally = Tally::default();
        let _ = tally.hear(node(1), 0, &says(b"lie"), false, 2);
        tally.assign(node(2));
        assert!(matches!(tally.hear(node(2), 9, &says(b"a"), false, 2), Verdict::Check(1)));
        tally.assign(node(3));
        let verdict = tally.hear(node(3), 9, &says(b"a"), false, 2);
        assert!(matches!(verdict, Verdict::Collect(worker, ..) if worker == node(2)), "{verdict:?}");
        let Some((Verdict::Seal { worker, agreed, outvoted }, _)) = tally.collected(node(2), true, 2) else {
            panic!("it is agreed upon and safe");
        };
        assert_eq!((worker, agreed, outvoted), (node(2), vec![node(2), node(3)], vec![node(1)]));
    }

    #[test]
    fn another_who_said_the_same_stands_in_for_one_that_is_gone() {
        let mut tally = Tally::default();
        let _ = tally.hear(node(1), 0, &says(b"a"), false, 2);
        tally.assign(node(2));
        let _ = tally.hear(node(2), 9, &says(b"a"), false, 2);
        let Some((verdict, gone)) = tally.collected(node(1), false, 2) else { panic!("it was asked for") };
        assert!(matches!(verdict, Verdict::Collect(worker, 9, _) if worker == node(2)), "{verdict:?}");
        assert_eq!(gone, []);
        let Some((verdict, gone)) = tally.collected(node(2), false, 2) else { panic!("it was asked for") };
        assert!(matches!(verdict, Verdict::Check(2)), "{verdict:?}");
        assert_eq!(gone, [node(1), node(2)], "what they said is worth nothing without the bytes");
    }

    #[test]
    fn too_many_different_voices_are_hopeless() {
        let mut tally = Tally::default();
        let words: Vec<Leaf> = (0..10_u8).map(|n| Leaf::Inline(Bytes::from(vec![n]))).collect();
        for (number, word) in (0..).zip(&words) {
            tally.assign(node(number));
            let verdict = tally.hear(node(number), 0, word, false, 2);
            assert_eq!(matches!(verdict, Verdict::Hopeless(_)), number == 9, "{number}: {verdict:?}");
        }
    }
}
