//! How many numbers in a range are divisible by 7.
//!
//! ```text
//! essaim run . 0..1000
//! ```

use std::ops::Range;

essaim_guest::main!(map: count, reduce: total);

/// One chunk, on some machine of the swarm: a part of the range.
fn count(range: Range<u64>) -> u64 {
    range.filter(|n| n.is_multiple_of(7)).count() as u64
}

/// What all chunks gave, in their order, on this machine.
fn total(parts: impl Iterator<Item = u64>) -> u64 {
    parts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_counted() {
        assert_eq!(count(0..15), 3);
    }

    #[test]
    fn chunks_add_up() {
        let printed = essaim_guest::testing::run_chunks(&job(), ["0..10", "10..1000"]);
        assert_eq!(printed.unwrap(), b"143\n");
    }
}
