//! A set of pieces as bits: intervals travel, bits are what every choice runs over.

use essaim_jobs::IntervalSet;

/// A set of pieces of one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: u32,
}

impl Bits {
    /// None of `pieces` pieces.
    pub(super) fn none(pieces: u32) -> Bits {
        Bits { words: vec![0; pieces.div_ceil(64) as usize], len: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn contains(&self, piece: u32) -> bool {
        self.words[piece as usize / 64] >> (piece % 64) & 1 == 1
    }

    /// Whether it was not there before.
    pub(super) fn insert(&mut self, piece: u32) -> bool {
        let new = !self.contains(piece);
        self.words[piece as usize / 64] |= 1 << (piece % 64);
        self.len += u32::from(new);
        new
    }

    pub(super) fn remove(&mut self, piece: u32) {
        self.len -= u32::from(self.contains(piece));
        self.words[piece as usize / 64] &= !(1 << (piece % 64));
    }

    /// The pieces, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        ones(self.words.iter().copied())
    }

    /// Those that are not in `other`, ascending.
    pub(super) fn without<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = u32> + 'a {
        ones(self.words.iter().zip(&other.words).map(|(a, b)| a & !b))
    }

    /// Whether `other` has all of it.
    pub(super) fn is_within(&self, other: &Bits) -> bool {
        self.without(other).next().is_none()
    }

    pub(super) fn add(&mut self, other: &Bits) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.len = self.words.iter().map(|word| word.count_ones()).sum();
    }

    pub(super) fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    pub(super) fn intervals(&self) -> IntervalSet {
        self.iter().collect()
    }
}

fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.enumerate().flat_map(|(at, word)| {
        let next = |left: &u64| Some(left & (left - 1)).filter(|left| *left != 0);
        let first = Some(word).filter(|word| *word != 0);
        std::iter::successors(first, next).map(move |left| at as u32 * 64 + left.trailing_zeros())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_a_set(steps in prop::collection::vec((any::<bool>(), 0_u32..200), 0..200), others: [u32; 9]) {
            let (mut bits, mut set) = (Bits::none(200), BTreeSet::new());
            for (put, piece) in steps {
                if put {
                    prop_assert_eq!(bits.insert(piece), set.insert(piece));
                } else {
                    bits.remove(piece);
                    set.remove(&piece);
                }
            }
            let (mut other, others) = (Bits::none(200), others.iter().map(|n| n % 200).collect::<BTreeSet<_>>());
            others.iter().for_each(|piece| { other.insert(*piece); });
            prop_assert_eq!(bits.len() as usize, set.len());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            prop_assert!(bits.without(&other).eq(set.difference(&others).copied()));
            bits.add(&other);
            prop_assert!(bits.iter().eq(set.union(&others).copied()));
            prop_assert_eq!(bits.len() as usize, set.union(&others).count());
        }
    }
}
