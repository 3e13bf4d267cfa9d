//! Sets of slots as sorted, disjoint, non-adjacent half-open intervals: a million slots in a few bytes.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::bounds;

/// A set of `u32`s, kept as intervals.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IntervalSet {
    spans: Vec<Range<u32>>,
    len: u64,
}

impl IntervalSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> IntervalSet {
        IntervalSet::default()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The intervals, ascending.
    #[must_use]
    pub fn spans(&self) -> &[Range<u32>] {
        &self.spans
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.spans.iter().cloned().flatten()
    }

    /// Whether `element` is in the set.
    #[must_use]
    pub fn contains(&self, element: u32) -> bool {
        let after = self.spans.partition_point(|span| span.start <= element);
        after > 0 && element < self.spans[after - 1].end
    }

    /// The smallest element.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.spans.first().map(|span| span.start)
    }

    /// One past the largest element; 0 when empty.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.spans.last().map_or(0, |span| span.end)
    }

    /// Adds all of `range`.
    pub fn insert(&mut self, range: Range<u32>) {
        if range.start >= range.end {
            return;
        }
        // Most sets are built in ascending order: the new one stands behind the last, or lengthens it.
        match self.spans.last_mut() {
            Some(last) if range.start < last.start => {}
            Some(last) if range.start <= last.end => {
                self.len += u64::from(range.end.saturating_sub(last.end));
                last.end = last.end.max(range.end);
                return;
            }
            _ => {
                self.len += width(&range);
                return self.spans.push(range);
            }
        }
        // All spans that overlap or touch the new one melt into it.
        let from = self.spans.partition_point(|span| span.end < range.start);
        let to = self.spans.partition_point(|span| span.start <= range.end);
        let mut merged = range;
        for span in &self.spans[from..to] {
            merged.start = merged.start.min(span.start);
            merged.end = merged.end.max(span.end);
            self.len -= width(span);
        }
        self.len += width(&merged);
        if from == to {
            self.spans.insert(from, merged);
        } else {
            self.spans[from] = merged;
            self.spans.drain(from + 1..to);
        }
    }

    /// Takes all of `range` away.
    pub fn remove(&mut self, range: Range<u32>) {
        if range.start >= range.end {
            return;
        }
        let from = self.spans.partition_point(|span| span.end <= range.start);
        let to = self.spans.partition_point(|span| span.start < range.end);
        if from >= to {
            return;
        }
        let left = self.spans[from].start..range.start.max(self.spans[from].start);
        let right = range.end.min(self.spans[to - 1].end)..self.spans[to - 1].end;
        self.len -= self.spans[from..to].iter().map(width).sum::<u64>();
        let kept: Vec<_> = [left, right].into_iter().filter(|span| span.start < span.end).collect();
        self.len += kept.iter().map(width).sum::<u64>();
        self.spans.splice(from..to, kept);
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &IntervalSet) {
        for span in &other.spans {
            self.insert(span.clone());
        }
    }

    /// Takes all of `other` away.
    pub fn subtract(&mut self, other: &IntervalSet) {
        // A few spans in `self` against many in `other` is the common case: visit only those that overlap.
        let (Some(first), end) = (self.first(), self.end()) else { return };
        let from = other.spans.partition_point(|span| span.end <= first);
        for span in other.spans[from..].iter().take_while(|span| span.start < end) {
            self.remove(span.clone());
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &IntervalSet) -> IntervalSet {
        let mut out = IntervalSet::new();
        let (mut a, mut b) = (self.spans.iter().peekable(), other.spans.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            out.insert(x.start.max(y.start)..x.end.min(y.end));
            if x.end <= y.end {
                a.next();
            } else {
                b.next();
            }
        }
        out
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &IntervalSet) -> IntervalSet {
        let mut out = self.clone();
        out.subtract(other);
        out
    }

    /// Takes the `n` smallest elements out (all, when there are fewer) and returns them.
    pub fn take_front(&mut self, n: u64) -> IntervalSet {
        let mut out = IntervalSet::new();
        let mut wanted = n;
        for span in &self.spans {
            let taken = width(span).min(wanted) as u32;
            out.insert(span.start..span.start + taken);
            wanted -= u64::from(taken);
            if wanted == 0 {
                break;
            }
        }
        self.remove(0..out.end());
        out
    }

    /// Takes the `n` largest elements out (all, when there are fewer) and returns them.
    pub fn take_back(&mut self, n: u64) -> IntervalSet {
        let keep = self.len.saturating_sub(n);
        let front = self.take_front(keep);
        std::mem::replace(self, front)
    }
}

fn width(span: &Range<u32>) -> u64 {
    u64::from(span.end - span.start)
}

impl From<Range<u32>> for IntervalSet {
    fn from(range: Range<u32>) -> IntervalSet {
        let mut set = IntervalSet::new();
        set.insert(range);
        set
    }
}

impl FromIterator<u32> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = u32>>(elements: I) -> IntervalSet {
        let mut set = IntervalSet::new();
        for element in elements {
            set.insert(element..element.saturating_add(1));
        }
        set
    }
}

impl fmt::Debug for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.spans).finish()
    }
}

/// On the wire: the gap before each interval and its width, so that the numbers stay small.
impl Serialize for IntervalSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.spans.len()))?;
        let mut last = 0;
        for span in &self.spans {
            seq.serialize_element(&(span.start - last, span.end - span.start))?;
            last = span.end;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for IntervalSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IntervalSet, D::Error> {
        struct Spans;
        impl<'de> Visitor<'de> for Spans {
            type Value = IntervalSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {} ascending intervals", bounds::INTERVALS)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IntervalSet, A::Error> {
                let mut set = IntervalSet::new();
                let mut last = 0_u32;
                while let Some((gap, width)) = seq.next_element::<(u32, u32)>()? {
                    let full = set.spans.len() == bounds::INTERVALS;
                    let touches = gap == 0 && !set.spans.is_empty();
                    let start = last.checked_add(gap);
                    let end = start.and_then(|start| start.checked_add(width));
                    let (Some(start), Some(end), false, 1..) = (start, end, full || touches, width) else {
                        return Err(A::Error::invalid_value(serde::de::Unexpected::Seq, &self));
                    };
                    set.spans.push(start..end);
                    set.len += u64::from(width);
                    last = end;
                }
                Ok(set)
            }
        }
        deserializer.deserialize_seq(Spans)
    }
}
