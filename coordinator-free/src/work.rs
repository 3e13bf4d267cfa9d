//! This member's own slots: what it holds, what the worker has, what has been run. Plain bookkeeping; who asks
//! whom is decided in `claim`.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{IntervalSet, NodeId, Rows};

use crate::config::Tuning;
use crate::message::Load;
use crate::sets;

/// Intervals in one grant, at most.
const GRANT_SPANS: usize = 4_096;
/// Finished slots after which an old measurement counts half.
const HALF_LIFE: f64 = 64.0;

/// A slot that the worker has.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    /// When the worker got it.
    handed: Duration,
    /// When it began to run; `None` while it waits.
    pub(crate) started: Option<Duration>,
    /// Whether this member owns it, or runs it as well for its owner.
    pub(crate) owned: bool,
    /// Others that were asked to run it too, and when the last was.
    pub(crate) duplicates: (u8, Duration),
}

/// Slots granted, and not yet acknowledged: kept, but neither run nor granted again.
#[derive(Clone, Debug)]
pub(crate) struct Aside {
    pub(crate) ask: u64,
    pub(crate) slots: IntervalSet,
    pub(crate) until: Duration,
}

/// This member's slots.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    rows: Rows,
    threads: u16,
    /// All it owns: the queue, what is parked or aside, in flight, and run but not sealed.
    pub(crate) held: IntervalSet,
    /// To be run from the front, given away from the tail.
    queue: IntervalSet,
    /// To be run when nothing else is left.
    parked: IntervalSet,
    /// What was granted and not acknowledged, by asker.
    pub(crate) aside: BTreeMap<NodeId, Aside>,
    /// What the worker has.
    pub(crate) flight: BTreeMap<u32, Flight>,
    /// Run and not sealed, owned or not.
    pub(crate) done: IntervalSet,
    /// All slots of the chunks that failed here: for others to try.
    failed: IntervalSet,
    running: u32,
    waiting_owned: u32,
    blocked: u32,
    /// Whether `blocked` must be counted anew.
    stale: bool,
    /// Decaying sum of wall microseconds, and of slots.
    pace: (f64, f64),
    window: (Duration, u32),
}

impl Work {
    pub(crate) fn new(rows: Rows, threads: u16, tuning: &Tuning) -> Work {
        Work {
            rows,
            threads,
            held: IntervalSet::new(),
            queue: IntervalSet::new(),
            parked: IntervalSet::new(),
            aside: BTreeMap::new(),
            flight: BTreeMap::new(),
            done: IntervalSet::new(),
            failed: IntervalSet::new(),
            running: 0,
            waiting_owned: 0,
            blocked: 0,
            stale: false,
            pace: (0.0, 0.0),
            window: tuning.window,
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            threads: self.threads,
            slot_micros: self.slot_micros(),
            queued: self.queued(),
            running: self.running,
            // Counted lately, not now: never more than there are.
            blocked: self.blocked.min(self.queued()),
        }
    }

    pub(crate) fn threads(&self) -> u16 {
        self.threads
    }

    pub(crate) fn set_threads(&mut self, threads: u16) {
        self.threads = threads;
    }

    /// Owned slots that have not been started and are not promised to anyone, but for checks.
    pub(crate) fn queued(&self) -> u32 {
        let checks = if self.rows.copies < 2 { 0 } else { self.queued_checks() as u32 + self.waiting_checks() };
        self.queue.len() as u32 + self.waiting_owned - checks
    }

    fn waiting_checks(&self) -> u32 {
        self.flight.range(self.checks()).filter(|(_, flight)| flight.owned && flight.started.is_none()).count() as u32
    }

    /// Slots that this member can still start itself without asking anyone.
    pub(crate) fn startable(&self) -> u32 {
        let waiting = self.flight.len() as u32 - self.running;
        (self.queue.len() as u32).saturating_sub(self.blocked) + waiting
    }

    fn checks(&self) -> std::ops::Range<u32> {
        self.rows.chunks..self.rows.slots()
    }

    /// What is queued and checks another's work: all rows but the first.
    pub(crate) fn checks_in_queue(&self) -> IntervalSet {
        if self.rows.copies < 2 { IntervalSet::new() } else { sets::within(&self.queue, self.checks()) }
    }

    pub(crate) fn queued_checks(&self) -> u64 {
        self.checks_in_queue().len()
    }

    /// Takes `slots` out of the queue: they are about to be granted.
    pub(crate) fn set_aside(&mut self, slots: &IntervalSet) {
        self.queue = sets::minus(&self.queue, slots);
        self.stale = true;
    }

    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Mean time of a slot, microseconds; 0 while unknown.
    pub(crate) fn slot_micros(&self) -> u32 {
        if self.pace.1 > 0.0 { ((self.pace.0 / self.pace.1) as u32).max(1) } else { 0 }
    }

    pub(crate) fn measure(&mut self, slots: usize, wall_micros: u64) {
        let keep = 0.5_f64.powf(slots as f64 / HALF_LIFE);
        self.pace = (self.pace.0 * keep + wall_micros as f64, self.pace.1 * keep + slots as f64);
    }

    /// Owns `slots` from now on, to be run; those that it owned, runs or has run already are left as they are.
    /// Returns what is new.
    pub(crate) fn adopt(&mut self, slots: &IntervalSet, parked: bool) -> IntervalSet {
        let new = sets::minus(slots, &self.held);
        self.held = sets::union([&self.held, &new]);
        let mut idle = sets::minus(&new, &self.done);
        for (slot, flight) in self.flight.iter_mut().filter(|(_, flight)| !flight.owned) {
            if new.contains(*slot) {
                idle.remove(*slot..*slot + 1);
                flight.owned = true;
                self.waiting_owned += u32::from(flight.started.is_none());
            }
        }
        let place = if parked { &mut self.parked } else { &mut self.queue };
        *place = sets::union([&*place, &idle]);
        self.stale = true;
        new
    }

    /// Slots that must be run again although they were run here: back into the queue, for others.
    pub(crate) fn reopen(&mut self, slot: u32) {
        let range = slot..slot + 1;
        self.done.remove(range.clone());
        let busy = self.flight.contains_key(&slot) || self.parked.contains(slot);
        if !self.held.contains(slot) {
            self.adopt(&range.into(), false);
        } else if !busy && !self.aside.values().any(|aside| aside.slots.contains(slot)) {
            self.queue.insert(range);
        }
        self.stale = true;
    }

    /// Puts what is parked into the queue.
    pub(crate) fn unpark(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        self.queue = sets::union([&self.queue, &parked]);
        self.stale = true;
    }

    /// Keeps `slots` from being run here, as their chunk failed here or this member's word on it is not taken.
    pub(crate) fn refuse(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            self.failed.insert(slot..slot + 1);
        }
        self.stale = true;
    }

    /// What failed here may be run here again, unless its failure is still on its way: whoever was told of it has forgotten.
    pub(crate) fn forgive(&mut self) {
        let done = sets::union([&self.done, &sets::siblings(self.rows, &self.done)]);
        self.failed = self.failed.intersection(&done);
        self.stale = true;
    }

    /// The slots to hand to the worker now.
    pub(crate) fn refill(&mut self, now: Duration) -> Vec<u32> {
        let window = self.window_slots();
        let free = window.saturating_sub(self.flight.len() as u32);
        if self.threads == 0 || self.queue.is_empty() || free < (window / 4).max(1) {
            return Vec::new();
        }
        let slots = if self.may_be_blocked() {
            let shut = self.shut();
            let slots = self.pick(sets::minus(&self.queue, &shut), u64::from(free), false);
            self.queue = sets::minus(&self.queue, &slots);
            slots
        } else {
            self.queue.take_front(u64::from(free))
        };
        for slot in slots.iter() {
            let flight = Flight { handed: now, started: None, owned: true, duplicates: (0, Duration::ZERO) };
            self.flight.insert(slot, flight);
        }
        self.waiting_owned += slots.len() as u32;
        self.stale = true;
        self.refresh();
        slots.iter().collect()
    }

    /// Takes in slots that their owner asks this member to run as well; returns those to hand to the worker.
    pub(crate) fn duplicate(&mut self, now: Duration, slots: &IntervalSet) -> Vec<u32> {
        let shut = self.shut();
        let wanted = sets::minus(&sets::minus(&sets::minus(slots, &shut), &self.held), &self.done);
        let most = u64::from(self.window_slots());
        let taken: Vec<u32> =
            self.pick(wanted, most, false).iter().filter(|slot| !self.flight.contains_key(slot)).collect();
        for slot in &taken {
            let flight = Flight { handed: now, started: None, owned: false, duplicates: (0, Duration::ZERO) };
            self.flight.insert(*slot, flight);
        }
        taken
    }

    /// When the first of its threads will be free, if all are busy and slots take what they took lately. Costs as much
    /// as there are slots in flight.
    pub(crate) fn free_at(&self, now: Duration) -> Option<Duration> {
        let micros = Some(self.slot_micros()).filter(|_| self.running >= u32::from(self.threads))?;
        let first = self.flight.values().filter_map(|flight| flight.started).min()?;
        Some((first + Duration::from_micros(micros.into())).max(now))
    }

    /// How long the worker has had the slot that it has had for longest.
    pub(crate) fn longest_flight(&self, now: Duration) -> Duration {
        let first = self.flight.values().map(|flight| flight.handed).min();
        first.map_or(Duration::ZERO, |first| now.saturating_sub(first))
    }

    pub(crate) fn started(&mut self, now: Duration, slot: u32) {
        let Some(flight) = self.flight.get_mut(&slot) else { return };
        if flight.started.is_none() {
            flight.started = Some(now);
            self.running += 1;
            self.waiting_owned -= u32::from(flight.owned);
        }
    }

    /// The worker has run `slot`; whether this is news.
    pub(crate) fn finished(&mut self, slot: u32, failed: bool) -> bool {
        self.drop_flight(slot);
        let range = slot..slot + 1;
        if self.done.contains(slot) {
            return false;
        }
        // It may have been granted away or parked in the meantime: what is run need not be run again here.
        self.queue.remove(range.clone());
        self.parked.remove(range.clone());
        self.done.insert(range);
        if failed {
            self.refuse(self.rows.slots_of(self.rows.chunk(slot)));
        }
        true
    }

    /// These slots are sealed: nothing of them is needed any more. Returns those that the worker has.
    pub(crate) fn sealed(&mut self, slots: &IntervalSet) -> Vec<u32> {
        for set in [&mut self.held, &mut self.queue, &mut self.parked, &mut self.done, &mut self.failed] {
            drop_from(set, slots);
        }
        self.aside.values_mut().for_each(|aside| drop_from(&mut aside.slots, slots));
        self.aside.retain(|_, aside| !aside.slots.is_empty());
        let mut stop = Vec::new();
        for span in slots.spans() {
            stop.extend(self.flight.range(span.clone()).map(|(slot, _)| *slot));
        }
        stop.iter().for_each(|slot| self.drop_flight(*slot));
        self.stale = true;
        stop
    }

    /// Takes up to `wanted` slots that have not been started and are not `forbidden` out of the queue's tail;
    /// beside them those that the worker has to give back. They stay held.
    pub(crate) fn give(&mut self, wanted: u64, forbidden: &IntervalSet) -> (IntervalSet, Vec<u32>) {
        let mut given = IntervalSet::new();
        if wanted == 0 {
            return (given, Vec::new());
        }
        self.refresh();
        if self.blocked > 0 {
            // First those that can only be run by others.
            let blocked = self.queue.intersection(&self.shut());
            given = self.pick(sets::minus(&blocked, forbidden), wanted, true);
        }
        if given.len() < wanted {
            let taken = sets::union([forbidden, &given, &sets::siblings(self.rows, &given)]);
            let rest = self.pick(sets::minus(&self.queue, &taken), wanted - given.len(), true);
            given = sets::union([&given, &rest]);
        }
        let given = sets::last_spans(&given, GRANT_SPANS);
        self.queue = sets::minus(&self.queue, &given);
        let (mut given, mut stop) = (given, Vec::new());
        if given.len() < wanted && self.waiting_owned > 0 {
            let mut taken = sets::union([forbidden, &sets::siblings(self.rows, &given)]);
            for (slot, flight) in self.flight.iter().rev() {
                if given.len() == wanted || given.spans().len() == GRANT_SPANS {
                    break;
                }
                if flight.owned && flight.started.is_none() && !taken.contains(*slot) {
                    given.insert(*slot..*slot + 1);
                    self.rows.slots_of(self.rows.chunk(*slot)).for_each(|s| taken.insert(s..s + 1));
                    stop.push(*slot);
                }
            }
            stop.iter().for_each(|slot| self.drop_flight(*slot));
        }
        self.stale = true;
        (given, stop)
    }

    /// Back into the queue: a grant that came to nothing.
    pub(crate) fn take_back(&mut self, aside: Aside) {
        let back = sets::minus(&aside.slots.intersection(&self.held), &self.done);
        self.queue = sets::union([&self.queue, &back]);
        self.stale = true;
    }

    /// Gives up owning those of `slots` that have not been started; returns them, and those that the worker
    /// has to give back.
    pub(crate) fn give_up(&mut self, slots: &IntervalSet) -> (IntervalSet, Vec<u32>) {
        let mut gone = sets::union([&self.queue, &self.parked]).intersection(slots);
        let mut stop = Vec::new();
        for span in slots.spans() {
            let waiting = self.flight.range(span.clone()).filter(|(_, flight)| flight.started.is_none());
            stop.extend(waiting.map(|(slot, _)| *slot));
        }
        for slot in &stop {
            gone.insert(*slot..*slot + 1);
            self.drop_flight(*slot);
        }
        for set in [&mut self.held, &mut self.queue, &mut self.parked] {
            *set = sets::minus(set, &gone);
        }
        self.stale = true;
        (gone, stop)
    }

    /// The slots that can be given up: owned and not started.
    pub(crate) fn unstarted(&self) -> IntervalSet {
        let waiting = self.flight.iter().filter(|(_, flight)| flight.owned && flight.started.is_none());
        sets::union([&self.queue, &self.parked, &waiting.map(|(slot, _)| *slot).collect()])
    }

    /// Slots to be run by others as well: the longest running first, those that run since before `since` or,
    /// when the asker is `faster`, any. Each by at most `most` others; an old invitation is forgotten.
    pub(crate) fn race(
        &mut self,
        now: Duration,
        wanted: u64,
        forbidden: &IntervalSet,
        (faster, since, most): (bool, Duration, u8),
    ) -> IntervalSet {
        let stale = Duration::from_secs(5) + 4 * Duration::from_micros(u64::from(self.slot_micros()));
        let mut running: Vec<(Duration, u32)> = Vec::new();
        for (slot, flight) in &mut self.flight {
            let Some(started) = flight.started.filter(|_| flight.owned) else { continue };
            if flight.duplicates.1 + stale < now {
                flight.duplicates.0 = 0;
            }
            let slow = faster || started <= since;
            if slow && flight.duplicates.0 < most && !forbidden.contains(*slot) {
                running.push((started, *slot));
            }
        }
        running.sort_unstable();
        let mut out = IntervalSet::new();
        for (_, slot) in running.into_iter().take(usize::try_from(wanted).unwrap_or(usize::MAX)) {
            if let Some(flight) = self.flight.get_mut(&slot) {
                flight.duplicates = (flight.duplicates.0 + 1, now);
            }
            out.insert(slot..slot + 1);
        }
        out
    }

    /// All that this member knows of its slots adds up.
    pub(crate) fn check(&self) {
        let waiting = self.flight.values().filter(|f| f.owned && f.started.is_none()).count();
        let running = self.flight.values().filter(|f| f.started.is_some()).count();
        assert_eq!((waiting, running), (self.waiting_owned as usize, self.running as usize), "flight counts");
        let owned = self.flight.iter().filter(|(_, f)| f.owned).map(|(slot, _)| *slot).collect();
        let aside = sets::union(self.aside.values().map(|aside| &aside.slots));
        let known = sets::union([&self.queue, &self.parked, &aside, &owned, &self.done]);
        let lost = sets::minus(&self.held, &known);
        assert!(lost.is_empty(), "held and nowhere: {lost:?}");
        let strange = sets::minus(&sets::union([&self.queue, &self.parked, &aside, &owned]), &self.held);
        assert!(strange.is_empty(), "kept and not held: {strange:?}");
        assert!(!sets::meet(&self.queue, &aside), "aside and in the queue");
        let mut chunks: Vec<u32> = self.flight.keys().map(|slot| self.rows.chunk(*slot)).collect();
        chunks.sort_unstable();
        assert!(chunks.windows(2).all(|two| two[0] != two[1]), "two copies of one chunk in flight");
    }

    /// Slots that the worker is given at most.
    fn window_slots(&self) -> u32 {
        let threads = u32::from(self.threads);
        let ahead = match self.slot_micros() {
            0 => 0,
            micros => self.window.0.as_micros() as u64 * u64::from(threads) / u64::from(micros),
        };
        (threads * 2 + ahead.min(u64::from(self.window.1)) as u32).min(self.window.1.max(threads))
    }

    fn may_be_blocked(&self) -> bool {
        self.rows.copies > 1 || !self.failed.is_empty()
    }

    /// The slots that must not be run here, as another copy of their chunk is or was.
    pub(crate) fn shut(&self) -> IntervalSet {
        let flight: IntervalSet = self.flight.keys().copied().collect();
        sets::union([&sets::siblings(self.rows, &sets::union([&flight, &self.done])), &self.failed])
    }

    /// Counts anew what must be run by others. Costs as much as there are intervals and slots in flight.
    pub(crate) fn refresh(&mut self) {
        if std::mem::take(&mut self.stale) {
            let blocked = self.may_be_blocked().then(|| self.queue.intersection(&self.shut()).len());
            self.blocked = blocked.unwrap_or(0) as u32;
        }
    }

    /// Up to `wanted` of `from`, no two of one chunk, from its front or from its tail.
    fn pick(&self, mut from: IntervalSet, wanted: u64, tail: bool) -> IntervalSet {
        if self.rows.copies < 2 {
            return if tail { from.take_back(wanted) } else { from.take_front(wanted) };
        }
        let mut out = IntervalSet::new();
        for at in 0..self.rows.copies {
            let row = if tail { self.rows.copies - 1 - at } else { at };
            let mut part = sets::within(&from, sets::row(self.rows, row));
            let left = wanted - out.len();
            let taken = if tail { part.take_back(left) } else { part.take_front(left) };
            from = sets::minus(&from, &sets::siblings(self.rows, &taken));
            out = sets::union([&out, &taken]);
        }
        out
    }

    fn drop_flight(&mut self, slot: u32) {
        if let Some(flight) = self.flight.remove(&slot) {
            match flight.started {
                Some(_) => self.running -= 1,
                None => self.waiting_owned -= u32::from(flight.owned),
            }
        }
    }
}

/// Takes `slots` out of `set`; cheap when either has few intervals.
fn drop_from(set: &mut IntervalSet, slots: &IntervalSet) {
    if slots.spans().len() <= 8 {
        set.subtract(slots);
    } else {
        *set = sets::minus(set, slots);
    }
}
