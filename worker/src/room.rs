//! Memory in all: which of the chunks that wait may start, where all that run together may only have so much.
//!
//! Chunks wait in lanes, one for each kind and memory limit. Those of a lane whose limit does not fit beside what runs
//! wait there, and others that need less may pass them. Not for ever: a lane that has had nothing started for
//! [`PATIENCE`], and nothing as large as its own under way that would leave it room, has what falls free kept for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a lane may be passed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What waits, by kind and memory limit.
#[derive(Debug)]
pub(crate) struct Lanes<K, T> {
    /// What all that run together may have, bytes.
    total: u64,
    lanes: Vec<Lane<K, T>>,
    len: usize,
    /// The numbers of the next ones at the end and at the front: those that came before have lower ones.
    last: i64,
    first: i64,
}

/// What waits of one kind and one limit.
#[derive(Debug)]
pub(crate) struct Lane<K, T> {
    pub(crate) kind: K,
    /// What each of its chunks may have, bytes.
    pub(crate) bytes: u64,
    /// When one of it was started last, or the lane began.
    served: Instant,
    items: VecDeque<(i64, T)>,
}

impl<K, T> Default for Lanes<K, T> {
    /// Without a limit in all.
    fn default() -> Lanes<K, T> {
        Lanes { total: u64::MAX, lanes: Vec::new(), len: 0, last: 0, first: -1 }
    }
}

impl<K: Copy + PartialEq, T> Lanes<K, T> {
    pub(crate) fn new(total: u64) -> Lanes<K, T> {
        Lanes { total, ..Lanes::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many there are of one kind.
    pub(crate) fn count(&self, kind: K) -> usize {
        self.lanes.iter().filter(|lane| lane.kind == kind).map(Lane::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, kind: K, bytes: u64, item: T) {
        let number = self.last;
        self.last += 1;
        self.lane(kind, bytes).items.push_back((number, item));
        self.len += 1;
    }

    /// Before all others.
    pub(crate) fn push_front(&mut self, kind: K, bytes: u64, item: T) {
        let number = self.first;
        self.first -= 1;
        self.lane(kind, bytes).items.push_front((number, item));
        self.len += 1;
    }

    fn lane(&mut self, kind: K, bytes: u64) -> &mut Lane<K, T> {
        // One that allows more than there is has all of it.
        let bytes = bytes.min(self.total);
        let at = self.lanes.iter().position(|lane| lane.kind == kind && lane.bytes == bytes).unwrap_or_else(|| {
            self.lanes.push(Lane { kind, bytes, served: Instant::now(), items: VecDeque::new() });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// The lanes from which a chunk may start now, where others that are under way have `others`, and the one who
    /// asks has `own`, beside which it is not to run but after which.
    pub(crate) fn open(
        &self,
        others: impl IntoIterator<Item = u64>,
        own: u64,
        now: Instant,
    ) -> impl Iterator<Item = &Lane<K, T>> {
        let (used, largest) = others
            .into_iter()
            .fold((0_u64, own), |(sum, largest), bytes| (sum.saturating_add(bytes), largest.max(bytes)));
        let waits = |lane: &&Lane<K, T>| {
            !lane.items.is_empty() && lane.bytes > largest && now.saturating_duration_since(lane.served) >= PATIENCE
        };
        let kept = self.lanes.iter().filter(waits).min_by_key(|lane| lane.served);
        self.lanes.iter().filter(move |lane| {
            let kept = kept.filter(|kept| !std::ptr::eq(*kept, *lane)).map_or(0, |kept| kept.bytes);
            let wanted = used.saturating_add(own.max(lane.bytes)).saturating_add(kept);
            !lane.items.is_empty() && wanted <= self.total
        })
    }

    /// Takes the first chunk of a lane; none if there is no such lane.
    pub(crate) fn pop(&mut self, kind: K, bytes: u64, now: Instant) -> Option<T> {
        let at = self.lanes.iter().position(|lane| lane.kind == kind && lane.bytes == bytes)?;
        let (_, item) = self.lanes[at].items.pop_front()?;
        self.lanes[at].served = now;
        self.len -= 1;
        if self.lanes[at].items.is_empty() {
            self.lanes.remove(at);
        }
        Some(item)
    }

    /// As `pop`, if `fits` of the first one.
    pub(crate) fn pop_if(&mut self, kind: K, bytes: u64, now: Instant, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        let lane = self.lanes.iter().find(|lane| lane.kind == kind && lane.bytes == bytes)?;
        lane.items.front().filter(|(_, item)| fits(item))?;
        self.pop(kind, bytes, now)
    }

    /// Takes all of one kind.
    pub(crate) fn remove(&mut self, kind: K) -> Vec<T> {
        let gone: Vec<T> = self.lanes.extract_if(.., |lane| lane.kind == kind).flat_map(Lane::into_items).collect();
        self.len -= gone.len();
        gone
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.items.retain(|(_, item)| keep(item)));
        self.lanes.retain(|lane| !lane.items.is_empty());
        self.len = self.lanes.iter().map(Lane::len).sum();
    }

    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.len = 0;
    }
}

impl<K, T> Lane<K, T> {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// By which the lanes stand in the order in which their first chunks came.
    pub(crate) fn first(&self) -> i64 {
        self.items.front().map_or(i64::MAX, |(number, _)| *number)
    }

    /// By which they stand in the order in which they have waited.
    pub(crate) fn served(&self) -> Instant {
        self.served
    }

    fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Of<'a> = Lanes<u8, &'a str>;

    /// Starts whatever came first of what may start, as often as it can; the answer is what was started.
    fn start<'a>(lanes: &mut Of<'a>, running: &mut Vec<u64>, now: Instant) -> Vec<&'a str> {
        let mut started = Vec::new();
        while let Some((kind, bytes)) = {
            let open = lanes.open(running.iter().copied(), 0, now);
            open.min_by_key(|lane| lane.first()).map(|lane| (lane.kind, lane.bytes))
        } {
            started.extend(lanes.pop(kind, bytes, now));
            running.push(bytes);
        }
        started
    }

    #[test]
    fn no_more_start_than_there_is_memory_for() {
        let mut lanes: Of = Lanes::new(20);
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            lanes.push(1, 8, name);
        }
        let mut running = Vec::new();
        assert_eq!(start(&mut lanes, &mut running, now), ["a", "b"]);
        assert_eq!(lanes.len(), 1);
        // A smaller one passes.
        lanes.push(2, 4, "small");
        assert_eq!(start(&mut lanes, &mut running, now), ["small"]);
        running.remove(0);
        assert_eq!(start(&mut lanes, &mut running, now), ["c"]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn one_that_allows_more_than_there_is_has_all_of_it() {
        let mut lanes: Of = Lanes::new(10);
        let now = Instant::now();
        lanes.push(1, 1_000, "huge");
        lanes.push(1, 1, "small");
        let mut running = Vec::new();
        assert_eq!(start(&mut lanes, &mut running, now), ["huge"]);
        assert_eq!(running, [10]);
        running.clear();
        assert_eq!(start(&mut lanes, &mut running, now), ["small"]);
    }

    #[test]
    fn who_was_passed_for_long_has_what_falls_free() {
        let mut lanes: Of = Lanes::new(10);
        let mut running = vec![3, 3];
        lanes.push(1, 8, "large");
        let now = Instant::now() + PATIENCE / 2;
        lanes.push(2, 3, "first");
        assert_eq!(start(&mut lanes, &mut running, now), ["first"]);
        let now = now + PATIENCE;
        lanes.push(2, 3, "second");
        lanes.push(3, 2, "beside it");
        running = vec![3];
        assert_eq!(start(&mut lanes, &mut running, now), [""; 0], "nothing else begins while there is no room for it");
        running.clear();
        assert_eq!(start(&mut lanes, &mut running, now), ["large", "beside it"]);
        running.clear();
        assert_eq!(start(&mut lanes, &mut running, now), ["second"]);
    }

    #[test]
    fn nothing_is_kept_for_who_has_its_share_under_way() {
        let mut lanes: Of = Lanes::new(10);
        lanes.push(1, 6, "large");
        lanes.push(2, 2, "small");
        // One as large runs: when it ends there is room. Until then the rest is not to lie idle.
        let mut running = vec![6];
        let now = Instant::now() + 2 * PATIENCE;
        assert_eq!(start(&mut lanes, &mut running, now), ["small"]);
    }

    #[test]
    fn what_runs_after_another_in_its_place_takes_no_more_than_the_larger() {
        let mut lanes: Of = Lanes::new(10);
        let now = Instant::now();
        lanes.push(1, 6, "next");
        assert_eq!(lanes.open([4], 6, now).count(), 1);
        assert_eq!(lanes.open([4], 7, now).count(), 0);
        assert_eq!(lanes.open([5], 6, now).count(), 0);
    }

    #[test]
    fn what_is_given_back_comes_first_and_what_is_forgotten_is_gone() {
        let mut lanes: Of = Lanes::default();
        lanes.push(1, 1, "b");
        lanes.push(2, 1, "x");
        lanes.push(1, 2, "c");
        lanes.push_front(1, 2, "a");
        let now = Instant::now();
        let first = lanes.open([], 0, now).min_by_key(|lane| lane.first()).map(|lane| (lane.kind, lane.bytes));
        assert_eq!(first, Some((1, 2)));
        assert_eq!(lanes.pop(1, 2, now), Some("a"));
        assert_eq!(lanes.pop_if(1, 1, now, |name| *name == "c"), None);
        lanes.retain(|name| *name != "c");
        assert_eq!(lanes.len(), 2);
        assert_eq!(lanes.remove(1), ["b"]);
        assert_eq!(lanes.len(), 1);
    }
}
