//! Interval sets of slots: what [`essaim_jobs::IntervalSet`] does not offer. All linear in the number of
//! intervals, whatever a peer sends.

use std::ops::Range;

use essaim_jobs::{IntervalSet, Rows};

/// What is in `a` and not in `b`.
pub(crate) fn minus(a: &IntervalSet, b: &IntervalSet) -> IntervalSet {
    let (Some(first), holes) = (a.first(), b.spans()) else { return IntervalSet::new() };
    let mut out = IntervalSet::new();
    let mut from = holes.partition_point(|hole| hole.end <= first);
    for span in a.spans() {
        let mut start = span.start;
        while from < holes.len() && holes[from].start < span.end {
            out.insert(start..holes[from].start.max(start));
            start = start.max(holes[from].end);
            if holes[from].end > span.end {
                break;
            }
            from += 1;
        }
        out.insert(start..span.end);
    }
    out
}

/// All that is in any of `sets`.
pub(crate) fn union<'a>(sets: impl IntoIterator<Item = &'a IntervalSet>) -> IntervalSet {
    collect(sets.into_iter().flat_map(IntervalSet::spans).cloned().collect())
}

/// Whether `a` and `b` have an element in common.
pub(crate) fn meet(a: &IntervalSet, b: &IntervalSet) -> bool {
    let (few, many) = if a.spans().len() < b.spans().len() { (a, b) } else { (b, a) };
    few.spans().iter().any(|span| {
        let at = many.spans().partition_point(|other| other.end <= span.start);
        many.spans().get(at).is_some_and(|other| other.start < span.end)
    })
}

/// The part of `set` within `range`.
pub(crate) fn within(set: &IntervalSet, range: Range<u32>) -> IntervalSet {
    let from = set.spans().partition_point(|span| span.end <= range.start);
    let spans = set.spans()[from..].iter().take_while(|span| span.start < range.end);
    collect(spans.map(|span| span.start.max(range.start)..span.end.min(range.end)).collect())
}

/// At most `most` intervals of `set`: the last ones.
pub(crate) fn last_spans(set: &IntervalSet, most: usize) -> IntervalSet {
    let from = set.spans().len().saturating_sub(most);
    collect(set.spans()[from..].to_vec())
}

/// The slots of one row.
pub(crate) fn row(rows: Rows, row: u8) -> Range<u32> {
    let start = u32::from(row) * rows.chunks;
    start..start + rows.chunks
}

/// The chunks that the slots of `set` run: a set of the first row, in which they stand in order.
pub(crate) fn chunks(rows: Rows, set: &IntervalSet) -> IntervalSet {
    within(&union([set, &siblings(rows, set)]), row(rows, 0))
}

/// The slots that run the same chunks as those of `set`, in the other rows.
pub(crate) fn siblings(rows: Rows, set: &IntervalSet) -> IntervalSet {
    if rows.copies < 2 || rows.chunks == 0 {
        return IntervalSet::new();
    }
    let mut spans = Vec::new();
    for from in 0..rows.copies {
        for part in within(set, row(rows, from)).spans() {
            let (first, width) = (rows.chunk(part.start), part.end - part.start);
            for to in (0..rows.copies).filter(|to| *to != from) {
                let Range { start, end } = row(rows, to);
                // Rows are rotated: a run of chunks is a run of columns, which may wrap round.
                let turn = rows.chunk(start);
                let column = if first >= turn { first - turn } else { first + rows.chunks - turn };
                let straight = width.min(rows.chunks - column);
                spans.push(start + column..start + column + straight);
                spans.push(start..end.min(start + width - straight));
            }
        }
    }
    collect(spans)
}

/// The set of all that is in any of `spans`.
pub(crate) fn collect(mut spans: Vec<Range<u32>>) -> IntervalSet {
    // A stable sort is linear in runs that are sorted, as these are.
    spans.sort_by_key(|span| span.start);
    let mut out = IntervalSet::new();
    // Ascending, so that each is appended to the end.
    for span in spans {
        out.insert(span);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn slow(set: &IntervalSet) -> BTreeSet<u32> {
        set.iter().collect()
    }

    fn sets() -> impl Strategy<Value = (IntervalSet, IntervalSet)> {
        let set = || proptest::collection::vec((0_u32..60, 0_u32..9), 0..12);
        (set(), set()).prop_map(|(a, b)| {
            let build = |spans: Vec<(u32, u32)>| {
                collect(spans.into_iter().map(|(start, width)| start..start + width).collect())
            };
            (build(a), build(b))
        })
    }

    proptest! {
        #[test]
        fn as_the_slow_ones_say((a, b) in sets(), low in 0_u32..70, width in 0_u32..30) {
            let (x, y) = (slow(&a), slow(&b));
            prop_assert_eq!(slow(&minus(&a, &b)), &x - &y);
            prop_assert_eq!(slow(&union([&a, &b])), &x | &y);
            prop_assert_eq!(meet(&a, &b), !(&x & &y).is_empty());
            let part = within(&a, low..low + width);
            prop_assert_eq!(slow(&part), x.range(low..low + width).copied().collect());
        }

        #[test]
        fn siblings_run_the_same_chunks((a, _) in sets(), copies in 1_u8..5, chunks in 1_u32..70) {
            let rows = Rows { chunks, copies };
            let a = within(&a, 0..rows.slots());
            let expected: BTreeSet<u32> = a
                .iter()
                .flat_map(|slot| rows.slots_of(rows.chunk(slot)).filter(move |other| *other != slot))
                .collect();
            prop_assert_eq!(slow(&siblings(rows, &a)), expected);
            prop_assert_eq!(slow(&super::chunks(rows, &a)), a.iter().map(|slot| rows.chunk(slot)).collect());
        }
    }
}
