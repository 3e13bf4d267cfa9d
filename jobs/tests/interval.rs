//! `IntervalSet` against a slow, obvious oracle: a `BTreeSet`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::ops::Range;

use essaim_jobs::{IntervalSet, decode, encode};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Insert(Range<u32>),
    Remove(Range<u32>),
    TakeFront(u64),
    TakeBack(u64),
}

fn span() -> impl Strategy<Value = Range<u32>> {
    (0_u32..200, 0_u32..40).prop_map(|(start, width)| start..start + width)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => span().prop_map(Op::Insert),
        3 => span().prop_map(Op::Remove),
        1 => (0_u64..30).prop_map(Op::TakeFront),
        1 => (0_u64..30).prop_map(Op::TakeBack),
    ]
}

fn set_of(elements: &BTreeSet<u32>) -> IntervalSet {
    elements.iter().copied().collect()
}

fn check(set: &IntervalSet, oracle: &BTreeSet<u32>) {
    assert_eq!(set.len(), oracle.len() as u64);
    assert!(set.iter().eq(oracle.iter().copied()));
    assert_eq!(set.first(), oracle.first().copied());
    assert_eq!(set.end(), oracle.last().map_or(0, |last| last + 1));
    for pair in set.spans().windows(2) {
        assert!(pair[0].end < pair[1].start, "spans overlap or touch: {set:?}");
    }
    for probe in 0..250 {
        assert_eq!(set.contains(probe), oracle.contains(&probe));
    }
}

proptest! {
    #[test]
    fn behaves_as_a_set(ops in prop::collection::vec(op(), 0..40)) {
        let (mut set, mut oracle) = (IntervalSet::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Insert(range) => { set.insert(range.clone()); oracle.extend(range); }
                Op::Remove(range) => { set.remove(range.clone()); oracle.retain(|e| !range.contains(e)); }
                Op::TakeFront(n) => {
                    let taken: BTreeSet<u32> = oracle.iter().copied().take(n as usize).collect();
                    check(&set.take_front(n), &taken);
                    oracle.retain(|e| !taken.contains(e));
                }
                Op::TakeBack(n) => {
                    let taken: BTreeSet<u32> = oracle.iter().rev().copied().take(n as usize).collect();
                    check(&set.take_back(n), &taken);
                    oracle.retain(|e| !taken.contains(e));
                }
            }
            check(&set, &oracle);
        }
        prop_assert_eq!(decode::<IntervalSet>(&encode(&set), 1 << 20).unwrap(), set);
    }

    #[test]
    fn algebra_agrees(a in prop::collection::btree_set(0_u32..120, 0..60), b in prop::collection::btree_set(0_u32..120, 0..60)) {
        let (x, y) = (set_of(&a), set_of(&b));
        check(&x.difference(&y), &a.difference(&b).copied().collect());
        check(&x.intersection(&y), &a.intersection(&b).copied().collect());
        let mut union = x;
        union.union(&y);
        check(&union, &a.union(&b).copied().collect());
    }

    #[test]
    fn any_accepted_bytes_are_a_well_formed_set(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(set) = decode::<IntervalSet>(&bytes, 64) {
            let oracle: u64 = set.spans().iter().map(|s| u64::from(s.end - s.start)).sum();
            prop_assert_eq!(set.len(), oracle);
            prop_assert!(set.spans().iter().all(|s| s.start < s.end));
            prop_assert!(set.spans().windows(2).all(|w| w[0].end < w[1].start));
        }
    }
}

#[test]
fn more_intervals_than_the_bound_are_refused() {
    let most = essaim_jobs::bounds::INTERVALS as u32;
    let fits: IntervalSet = (0..most).map(|i| i * 2).collect();
    let over: IntervalSet = (0..=most).map(|i| i * 2).collect();
    assert_eq!(decode::<IntervalSet>(&encode(&fits), 1 << 20).unwrap(), fits);
    assert!(decode::<IntervalSet>(&encode(&over), 1 << 20).is_err());
}
