//! How large chunks are to be: a few growing pieces of the input are tried, and what they cost says it.
//!
//! Nothing is run here: [`Aim`] says what to try next, is told what that took, and chooses. All lengths are in units of
//! the input: bytes of a text, integers of a range.

use std::num::NonZeroU64;

use super::MOST_CHUNKS;
use crate::bounds;

/// What trying may cost in all, on the processor, once [`TRIES`] pieces were tried; and whatever comes.
const BUDGET_NANOS: u64 = 40_000_000;
const MOST_NANOS: u64 = 300_000_000;
/// Of a short job it may cost less: such a part of what all of it seems to take, but so much at least.
const BUDGET_PART: f64 = 256.0;
const LEAST_BUDGET_NANOS: u64 = 5_000_000;
/// Pieces that are tried at least, and at most.
const TRIES: usize = 3;
const MOST_TRIES: usize = 40;
/// A piece that cost so much is long enough: the next ones are as long, elsewhere.
const LONG_NANOS: u64 = BUDGET_NANOS / 8;

/// Chunks a thread that even out, at the end, who was given more than others.
const CHUNKS_A_THREAD: f64 = 240.0;
/// Threads to reckon with where fewer are known: more may come.
const LEAST_THREADS: u32 = 8;
/// What a chunk takes at least, so that what it costs beside does not show.
const LEAST_NANOS: f64 = 2e6;
/// What a chunk takes at most, where the program's own beginning is not dear: so much is lost with a peer that goes.
const LARGEST_NANOS: f64 = 2e9;
/// What a chunk takes where nobody knows how much is to come.
const ENDLESS_NANOS: f64 = 2.5e8;
/// What a chunk costs beside its work, at all nodes together, where its input stands in the chunk table, and where it is
/// fetched: by `cargo bench --bench splitting`, on a machine that has no core but those that work.
const INLINE_NANOS: f64 = 100e3;
const FETCHED_NANOS: f64 = 200e3;
/// What a byte of output costs, on its way to the author and in what is made of it there: by the same, where the words of
/// 512 MiB are counted in chunks of 2 and of 16 MiB.
const OUTPUT_NANOS: f64 = 20.0;
/// Pieces that are so many times shorter than the longest do not tell how much comes out of long ones.
const OUTPUT_REACH: u64 = 64;

/// Rounds in which the cost of a unit and of a run's beginning are told apart; and the least that a unit can cost,
/// nanoseconds.
const ROUNDS: usize = 4;
const LEAST_RATE: f64 = 1e-3;

/// Chunks that are aimed at where nothing could be tried.
const BLIND_CHUNKS: u64 = 256;
/// Bytes of such a chunk of text.
const BLIND_BYTES: (u64, u64) = (64 << 10, 1 << 20);
/// The largest chunk of text that is chosen, bytes; and which part of the program's memory it may be, as it may hold it
/// as a whole.
const LARGEST_BYTES: u64 = 16 << 20;
const PART_OF_MEMORY: u64 = 8;

/// What is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How much there is; none where nobody knows.
    total: Option<u64>,
    /// How much of it is here to be tried.
    here: u64,
    /// The longest chunk.
    largest: u64,
    /// The longest chunk whose input stands in the chunk table.
    inline: u64,
    /// Between which lengths a chunk is chosen where nothing could be tried.
    blind: (u64, u64),
}

impl Load {
    /// A text of so many bytes; a chunk may use `memory_bytes`.
    #[must_use]
    pub fn text(total: u64, memory_bytes: u64) -> Load {
        Load { total: Some(total), ..Load::stream(total, memory_bytes) }
    }

    /// A text whose length nobody knows yet, of which so many bytes are here; a chunk may use `memory_bytes`.
    #[must_use]
    pub fn stream(here: u64, memory_bytes: u64) -> Load {
        let largest = LARGEST_BYTES.min(memory_bytes / PART_OF_MEMORY).max(1);
        Load { total: None, here, largest, inline: bounds::INLINE_INPUT as u64, blind: BLIND_BYTES }
    }

    /// A range of so many integers.
    #[must_use]
    pub fn range(total: u64) -> Load {
        Load { total: Some(total), here: total, largest: total.max(1), inline: u64::MAX, blind: (1, u64::MAX) }
    }
}

/// A size, and what a chunk of it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Units a chunk: a power of two.
    pub block: NonZeroU64,
    /// Time on the processor, nanoseconds; none where nobody can say.
    pub nanos: Option<u64>,
    /// Whether trying has shown it.
    pub is_tried: bool,
}

/// A piece that was tried: its units, nanoseconds on the processor, and bytes that came out.
#[derive(Debug, Clone, Copy)]
struct Tried {
    len: u64,
    nanos: u64,
    gave: u64,
}

/// Chooses how large chunks are to be.
#[derive(Debug, Clone)]
pub struct Aim {
    load: Load,
    tried: Vec<Tried>,
    /// Nothing more is to be tried.
    is_over: bool,
    /// One item alone took longer than trying may.
    is_dear: bool,
}

impl Aim {
    /// Nothing is tried yet.
    #[must_use]
    pub fn new(load: Load) -> Aim {
        Aim { load, tried: Vec::new(), is_over: load.here <= 1, is_dear: false }
    }

    /// What to try next: where it begins, and about how many units it has, whole items and at least one; none when it
    /// is known how large chunks are to be. The first piece is one item, and so is the second, unless items are dear:
    /// the first run of a program is slower than others.
    #[must_use]
    pub fn next(&self) -> Option<(u64, u64)> {
        let (here, tries) = (self.load.here, self.tried.len());
        if self.is_over || self.is_enough() {
            return None;
        }
        let len = self.next_len().min(self.load.largest).min(here);
        // Places that follow one another by the golden ratio are spread evenly, however many there are.
        let turn = (tries as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (u128::from(turn) * u128::from(here - len)) >> 64;
        Some((at as u64, len))
    }

    /// Whether trying has cost what it may, or has seen enough of the input.
    fn is_enough(&self) -> bool {
        let tries = self.tried.len();
        let spent: u64 = self.tried.iter().map(|piece| piece.nanos).sum();
        let covered: u64 = self.tried.iter().map(|piece| piece.len).sum();
        let (work, budget) = self.work();
        let is_dear = match self.tried[..] {
            [first] => first.nanos >= MOST_NANOS / 2,
            // Two items cost well more than one: it is they that are dear, not the beginning.
            [first, _] => first.nanos >= BUDGET_NANOS && work >= first.nanos / 2,
            _ => false,
        };
        let is_seen = tries >= TRIES && (work >= budget - budget / 4 || covered >= self.load.here / 2);
        is_dear || is_seen || spent >= MOST_NANOS || tries >= MOST_TRIES
    }

    /// What trying has cost beyond what one item takes each time, and what it may cost, by that.
    fn work(&self) -> (u64, u64) {
        let one = self.one();
        let work = self.tried.iter().map(|piece| piece.nanos.saturating_sub(one)).sum();
        let Some(total) = self.load.total else { return (work, BUDGET_NANOS) };
        let covered: u64 = self.tried.iter().map(|piece| piece.len).sum();
        let all = work as f64 * total as f64 / covered.max(1) as f64;
        // Beside a dear beginning a piece that is too short shows nothing.
        let least = LEAST_BUDGET_NANOS.max(one / 2);
        (work, ((all / BUDGET_PART) as u64).max(least).min(BUDGET_NANOS))
    }

    /// Twice as much as last time, until that takes long enough beyond what one item takes; much more where it was hardly
    /// felt, as beside a program that is slow to begin; less where less is left of what trying may cost.
    fn next_len(&self) -> u64 {
        let (Some(first), Some(&Tried { len, nanos, .. })) = (self.tried.first(), self.tried.last()) else { return 1 };
        if self.tried.len() == 1 {
            return if nanos >= BUDGET_NANOS { len.saturating_add(1) } else { 1 };
        }
        let one = self.one();
        let more = match nanos.saturating_sub(one) {
            beyond if beyond >= LONG_NANOS => len,
            beyond if len > first.len && beyond < one / 4 => len.saturating_mul(16),
            _ => len.saturating_mul(2),
        };
        let beyond: u64 = self.tried.iter().map(|piece| piece.len.saturating_sub(first.len)).sum();
        let (work, budget) = self.work();
        let left = budget.saturating_sub(work) as f64 * beyond as f64 / work as f64;
        if beyond == 0 || work == 0 { more } else { more.min(first.len.saturating_add(left as u64)).max(len / 2) }
    }

    /// What the first item took, or the cheapest piece of the same length.
    fn one(&self) -> u64 {
        let len = self.tried.first().map_or(0, |piece| piece.len);
        let same = self.tried.iter().filter(|piece| piece.len <= len);
        same.map(|piece| piece.nanos).min().unwrap_or(0)
    }

    /// What was asked for had `len` units, took `nanos` on the processor, and gave an output of so many bytes.
    pub fn took(&mut self, len: u64, nanos: u64, gave: u64) {
        self.tried.push(Tried { len: len.max(1), nanos: nanos.max(1), gave });
    }

    /// What was asked for did not come to its end in the time that trying may take.
    pub fn overran(&mut self) {
        self.is_over = true;
        self.is_dear = self.tried.len() < TRIES;
    }

    /// What was asked for cannot be tried: it failed, or there is no such item.
    pub fn failed(&mut self) {
        self.is_over = true;
    }

    /// How large chunks are to be for so many threads, as far as is known.
    #[must_use]
    pub fn chosen(&self, threads: u32) -> Pace {
        if self.is_dear {
            return Pace { block: NonZeroU64::MIN, nanos: None, is_tried: true };
        }
        let Some((rate, begins)) = self.rates() else {
            return Pace { block: self.grid(self.blind()), nanos: None, is_tried: false };
        };
        let inline = self.with_outputs(rate, begins + INLINE_NANOS, threads);
        let is_inline = inline <= self.load.inline as f64;
        let block = if is_inline { inline } else { self.with_outputs(rate, begins + FETCHED_NANOS, threads) };
        let block = self.grid(block);
        let len = block.get().min(self.load.total.unwrap_or(u64::MAX));
        Pace { block, nanos: Some((rate * len as f64 + begins) as u64), is_tried: true }
    }

    /// Nanoseconds that a unit takes, and that a run takes however short its input is: what the cheapest of the short
    /// pieces took beyond the first. Each is found from the other.
    fn rates(&self) -> Option<(f64, f64)> {
        // The first run is slower.
        let warm = if self.tried.len() > TRIES { &self.tried[1..] } else { &self.tried };
        let longest = warm.iter().map(|piece| piece.len).max()?;
        let (len, nanos) = warm.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.len as f64, sum.1 + one.nanos as f64));
        let (mut rate, mut begins) = (nanos / len, 0.0);
        for _ in 0..ROUNDS {
            let short = warm.iter().filter(|piece| piece.len <= longest / 8);
            let beyond = short.map(|piece| (piece.nanos as f64 - rate * piece.len as f64).max(0.0));
            begins = beyond.min_by(f64::total_cmp).unwrap_or(0.0);
            rate = ((nanos - begins * warm.len() as f64) / len).max(LEAST_RATE);
        }
        Some((rate, begins))
    }

    /// As [`Aim::block`], where outputs cost something, too. What comes out of a longer piece may be less than what comes
    /// out of its parts (the words of a text, and how often each is there): then fewer are better. The author alone deals
    /// with them, so all threads wait for what that takes.
    fn with_outputs(&self, rate: f64, beside: f64, threads: u32) -> f64 {
        let block = self.block(rate, beside, threads);
        // Of a stream the first results are waited for.
        let Some((of_one, power)) = self.outputs().filter(|_| self.load.total.is_some()) else { return block };
        let saved = (1.0 - power) * OUTPUT_NANOS * f64::from(threads.max(LEAST_THREADS));
        (0..ROUNDS).fold(block, |len, _| self.block(rate, beside + saved * of_one * len.powf(power), threads))
    }

    /// What comes out of a piece, as `of_one` bytes times its length to a power from 0 to 1: by those of two lengths or
    /// more, of which the line that fits their logarithms best is taken.
    fn outputs(&self) -> Option<(f64, f64)> {
        let longest = self.tried.iter().map(|piece| piece.len).max()?;
        let telling = self.tried.iter().filter(|piece| piece.len >= longest / OUTPUT_REACH && piece.gave > 0);
        let points: Vec<(f64, f64)> =
            telling.map(|piece| ((piece.len as f64).ln(), (piece.gave as f64).ln())).collect();
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
        let spread = mean(&|point| (point.0 - x).powi(2));
        let power = (mean(&|point| (point.0 - x) * (point.1 - y)) / spread).clamp(0.0, 1.0);
        power.is_finite().then(|| ((y - power * x).exp(), power))
    }

    /// Units a chunk where one costs `beside` nanoseconds beside its work: so many chunks that they even out, but not so
    /// short that what they cost beside weighs more than what is waited for at the end (half a chunk: the square root).
    fn block(&self, rate: f64, beside: f64, threads: u32) -> f64 {
        let Some(total) = self.load.total else { return ENDLESS_NANOS.max(50.0 * beside) / rate };
        let a_thread = rate * total as f64 / f64::from(threads.max(LEAST_THREADS));
        let even = a_thread / CHUNKS_A_THREAD;
        let chunk = even.max((2.0 * beside * a_thread).sqrt()).min(LARGEST_NANOS.max(50.0 * beside));
        chunk.max(LEAST_NANOS) / rate
    }

    fn blind(&self) -> f64 {
        let (least, largest) = self.load.blind;
        (self.load.total.unwrap_or(u64::MAX) / BLIND_CHUNKS).clamp(least, largest) as f64
    }

    /// The nearest power of two: two runs that measure a little differently cut alike.
    fn grid(&self, block: f64) -> NonZeroU64 {
        let power = block.max(1.0).log2().round().min(63.0) as u32;
        let largest = 1 << self.load.largest.ilog2();
        // So few that no job has too many chunks.
        let least = self.load.total.unwrap_or(0).div_ceil(u64::from(MOST_CHUNKS)).next_power_of_two();
        NonZeroU64::new((1_u64 << power).min(largest).max(least)).unwrap_or(NonZeroU64::MIN)
    }
}
