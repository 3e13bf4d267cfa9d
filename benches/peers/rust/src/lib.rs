//! What is computed everywhere, in Rust: natively for rayon, as WebAssembly for essaim. `work.c` is the same in C.

use rustc_hash::FxHashMap;

/// A xorshift64 that began at `item + 1`, after so many steps. Never inlined, so that no caller's constants make it
/// another loop.
#[inline(never)]
pub fn spin(item: u64, steps: u64) -> u64 {
    let mut x = item + 1;
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

/// What an item returns: a spin of so many steps, or with none `item & 255`.
pub fn item(item: u64, steps: u64) -> u64 {
    if steps == 0 { item & 255 } else { spin(item, steps) }
}

/// How often each word occurs.
pub fn count(text: &[u8]) -> FxHashMap<&[u8], u64> {
    let mut counts = FxHashMap::default();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// The total, and the ten most frequent words.
pub fn top<'a>(counts: impl Iterator<Item = (&'a [u8], u64)>) -> String {
    let mut words: Vec<(&[u8], u64)> = counts.collect();
    let total: u64 = words.iter().map(|(_, count)| count).sum();
    words.sort_unstable_by(|(word, count), (other, others)| others.cmp(count).then(word.cmp(other)));
    let mut lines = format!("total {total}\n");
    for (word, count) in words.iter().take(10) {
        lines.push_str(&format!("{} {count}\n", String::from_utf8_lossy(word)));
    }
    lines
}
