//! How many primes there are in a range.
//!
//! ```text
//! essaim run examples/primes 0..10_000_000
//! ```
//!
//! A segmented sieve of Eratosthenes over odd numbers; each chunk is a part of the range. Try it
//! with no swarm: `echo 0..1000 | cargo run -p primes`.

use std::ops::Range;

essaim_guest::main!(map: count, reduce: |parts| parts.sum::<u64>());

/// Odd numbers sieved at once: as many bytes, so that they stay in the processor's cache.
const SEGMENT: u64 = 1 << 17;

/// The sieve needs all primes up to the root of a range's end: 150 MB for this one.
const MOST: u64 = 10_000_000_000_000_000;

fn count(range: Range<u64>) -> Result<u64, String> {
    if range.end > MOST {
        return Err(format!(
            "{}..{} goes beyond {MOST}, which is as far as this sieve reaches",
            range.start, range.end
        ));
    }
    let base = odd_primes(range.end.isqrt());
    let mut prime = vec![true; SEGMENT as usize];
    let mut count = u64::from(range.contains(&2));
    let mut start = range.start.max(3) | 1;
    while start < range.end {
        let len = (range.end - start).div_ceil(2).min(SEGMENT);
        let segment = &mut prime[..len as usize];
        segment.fill(true);
        for &p in base.iter().take_while(|&&p| p * p < start + 2 * len) {
            let multiple = (p * p).max(start.next_multiple_of(p));
            let odd = if multiple.is_multiple_of(2) { multiple + p } else { multiple };
            for slot in segment.iter_mut().skip(((odd - start) / 2) as usize).step_by(p as usize) {
                *slot = false;
            }
        }
        count += segment.iter().filter(|&&prime| prime).count() as u64;
        start += 2 * len;
    }
    Ok(count)
}

/// The odd primes up to `last`.
fn odd_primes(last: u64) -> Vec<u64> {
    let mut prime = vec![true; last as usize + 1];
    let mut primes = Vec::new();
    for n in (3..=last as usize).step_by(2) {
        if prime[n] {
            primes.push(n as u64);
            prime.iter_mut().skip(n * n).step_by(2 * n).for_each(|slot| *slot = false);
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_tables() {
        for (end, primes) in [(0, 0), (2, 0), (3, 1), (10, 4), (100, 25), (10_000_000, 664_579)] {
            assert_eq!(count(0..end), Ok(primes), "below {end}");
        }
        assert_eq!(count(1_000_000_000_000..1_000_000_100_000), Ok(3_614));
    }

    #[test]
    fn parts_add_up() {
        let is_prime = |n: u64| n > 1 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
        for start in 0..60 {
            for end in start..60 {
                let slow = (start..end).filter(|&n| is_prime(n)).count() as u64;
                assert_eq!(count(start..end), Ok(slow), "{start}..{end}");
            }
        }
    }
}
