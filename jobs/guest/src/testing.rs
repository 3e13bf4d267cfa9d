//! A whole job in a test, without a swarm: what a swarm would print, and what it would trip over.
//!
//! [`main!`](crate::main!) makes a function `job()` beside `main`. In the tests of a job, then:
//!
//! ```
//! use std::ops::Range;
//!
//! essaim_guest::main!(map: count, combine: total, reduce: total);
//!
//! fn count(range: Range<u64>) -> u64 {
//!     range.filter(|n| n % 7 == 0).count() as u64
//! }
//!
//! fn total(parts: impl Iterator<Item = u64>) -> u64 {
//!     parts.sum()
//! }
//!
//! // #[test]
//! let printed = essaim_guest::testing::run_chunks(&job(), ["0..10", "10..20", "20..30"]);
//! assert_eq!(printed.unwrap(), b"5\n");
//! ```
//!
//! Beside running it, both functions look for two mistakes that only a swarm would show:
//!
//! - What the map gives must come out of postcard as it went in, where it is folded.
//! - `combine` must be associative, as nobody knows which outputs it meets where: whatever is combined first, the same
//!   must be printed. A sum of `f64` is not: rounding depends on the order.

use crate::failure::Failure;
use crate::job::{Job, framed, run as run_role};

/// So many ways to combine are tried: halves that part after each of so many outputs.
const WAYS: usize = 64;

/// Runs all of a job: the input is split, where the job has a split, or is one chunk. Gives what would be printed.
///
/// # Errors
/// What the job would say where it fails, or what is wrong with it.
pub fn run(job: &Job, input: impl AsRef<[u8]>) -> Result<Vec<u8>, String> {
    let chunks = job.chunks(input.as_ref().to_vec());
    chunks.and_then(|chunks| judge(job, chunks)).map_err(|failure| failure.to_string())
}

/// The same over chunks, as a node would have cut them. It is for jobs without a split.
///
/// # Errors
/// As [`run()`]; or the job has a split.
pub fn run_chunks<C: AsRef<[u8]>>(job: &Job, chunks: impl IntoIterator<Item = C>) -> Result<Vec<u8>, String> {
    if job.split.is_some() {
        return Err("this job cuts its input itself: give the whole to testing::run".to_owned());
    }
    let chunks = chunks.into_iter().map(|chunk| chunk.as_ref().to_vec()).collect();
    judge(job, chunks).map_err(|failure| failure.to_string())
}

/// Maps and folds chunks, and looks for what a swarm would trip over.
fn judge(job: &Job, chunks: Vec<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let outputs = chunks.into_iter().zip(0..).map(|(chunk, number)| job.output(number, chunk));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let Some(reduce) = &job.reduce else { return Ok(outputs.concat()) };
    for (output, number) in outputs.iter().zip(0u32..) {
        let check = job.check.map_or(Ok(()), |check| check(output));
        check.map_err(|why| {
            Failure::said(format_args!("what the map gives for chunk {number} does not survive postcard: {why}"))
        })?;
    }
    let printed = run_role(reduce, framed(&outputs)?)?;
    let Some(combine) = &job.combine else { return Ok(printed) };
    let combined = |outputs: &[Vec<u8>]| run_role(combine, framed(outputs)?);
    for at in 1..outputs.len().min(WAYS) {
        let (left, right) = outputs.split_at(at);
        let halves = [combined(left)?, combined(right)?];
        for way in [&halves[..], &[combined(&halves)?]] {
            if run_role(reduce, framed(way)?)? != printed {
                return Err(Failure::said(format_args!(
                    "combine is not associative: where the first {at} of {} outputs are combined, and the rest, \
                     another result is printed",
                    outputs.len()
                )));
            }
        }
    }
    Ok(printed)
}
