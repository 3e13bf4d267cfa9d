//! How often each word occurs: `tr -s '[:space:]' '\n' | sort | uniq -c`, over a swarm.
//!
//! ```text
//! essaim run examples/wordcount corpus.txt
//! essaim run examples/wordcount < corpus.txt
//! ```
//!
//! A line a word, `word<TAB>count`, the most frequent first. Words are parted by what C calls
//! space and may be any bytes. Try it with no swarm: `cargo run -p wordcount < corpus.txt`.

use std::cmp::Reverse;
use std::io::Write;

use essaim_guest::Bytes;
use rustc_hash::FxHashMap;

essaim_guest::main!(map: count, combine: merge, reduce: table);

/// C's `isspace`, which unlike `u8::is_ascii_whitespace` has the vertical tab.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn count(text: Bytes) -> Vec<(Bytes, u64)> {
    let mut counts = FxHashMap::<&[u8], u64>::default();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    // In the hasher's order, which is the same everywhere: sorting would double the time.
    counts.into_iter().map(|(word, count)| (Bytes::from(word), count)).collect()
}

/// The same words from several parts: most of them are in all, so that this is hardly longer than one.
fn merge(parts: impl Iterator<Item = Vec<(Bytes, u64)>>) -> Vec<(Bytes, u64)> {
    let mut totals = FxHashMap::<Bytes, u64>::default();
    for (word, count) in parts.flatten() {
        *totals.entry(word).or_default() += count;
    }
    totals.into_iter().collect()
}

fn table(parts: impl Iterator<Item = Vec<(Bytes, u64)>>) -> Bytes {
    let mut totals = merge(parts);
    totals.sort_unstable_by(|(word, count), (other, others)| (Reverse(count), word).cmp(&(Reverse(others), other)));

    let mut table = Vec::new();
    for (word, count) in totals {
        table.extend_from_slice(&word);
        writeln!(table, "\t{count}").expect("a Vec takes all");
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use essaim_guest::testing::run_chunks;

    use super::*;

    #[test]
    fn words_are_what_c_says() {
        let text = b" the\tbee\x0bthe\x0cswarm\r\n\xff\xa0the  bee\n";
        let table = run_chunks(&job(), [text]).expect("bytes");
        assert_eq!(table, b"bee\t2\nthe\t2\nswarm\t1\n\xff\xa0the\t1\n");
    }

    #[test]
    fn chunks_add_up() {
        let lines = [&b"a b a\n"[..], b"", b"b c\n", b"a"];
        let whole = run_chunks(&job(), [lines.concat()]).expect("bytes");
        assert_eq!(run_chunks(&job(), lines).expect("bytes"), whole);
        assert_eq!(whole, b"a\t3\nb\t2\nc\t1\n");
    }
}
