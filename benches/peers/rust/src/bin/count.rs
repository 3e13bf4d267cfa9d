//! W4 for essaim: the total of words in a text, and its ten most frequent ones.

use essaim_guest::Bytes;
use rustc_hash::FxHashMap;

essaim_guest::main!(map: count, combine: merge, reduce: top);

fn count(text: Bytes) -> Vec<(Bytes, u64)> {
    peers::count(&text).into_iter().map(|(word, count)| (Bytes::from(word), count)).collect()
}

fn merge(parts: impl Iterator<Item = Vec<(Bytes, u64)>>) -> Vec<(Bytes, u64)> {
    let mut totals = FxHashMap::<Bytes, u64>::default();
    for (word, count) in parts.flatten() {
        *totals.entry(word).or_default() += count;
    }
    totals.into_iter().collect()
}

fn top(parts: impl Iterator<Item = Vec<(Bytes, u64)>>) -> String {
    peers::top(merge(parts).iter().map(|(word, count)| (&word[..], *count)))
}
