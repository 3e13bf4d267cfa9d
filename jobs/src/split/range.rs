//! Ranges of integers.

use std::num::NonZeroU64;
use std::ops::Range;

use super::{RangeFault, SplitError, check_count};

/// Whether a text is meant as a range of integers, rather than as the name of a file: it begins
/// with a digit and has `..` in it.
#[must_use]
pub fn looks_like_range(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.contains("..")
}

/// Reads `A..B` (B not included) or `A..=B` (B included), integers from 0 with `_` allowed
/// between the digits.
///
/// # Errors
/// [`SplitError::BadRange`] where it is none, holds no integer, or goes beyond 64 bits.
pub fn parse_range(text: &str) -> Result<Range<u64>, SplitError> {
    parse(text.trim()).map_err(|why| SplitError::BadRange { text: text.trim().to_owned(), why })
}

fn parse(text: &str) -> Result<Range<u64>, RangeFault> {
    let (first, second) = text.split_once("..").ok_or(RangeFault::NoDots)?;
    let start = integer(first).ok_or(RangeFault::First)?;
    let end = match second.strip_prefix('=') {
        Some(last) => integer(last).and_then(|last| last.checked_add(1)),
        None => integer(second),
    }
    .ok_or(RangeFault::Second)?;
    if start >= end {
        return Err(RangeFault::Empty);
    }
    Ok(start..end)
}

/// Digits with single `_` between them; no sign, which `u64::from_str` would take.
fn integer(text: &str) -> Option<u64> {
    let mut digits = String::with_capacity(text.len());
    for group in text.split('_') {
        if group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.push_str(group);
    }
    digits.parse().ok()
}

/// Cuts a range into sub-ranges of `block` integers, in order and without gap; the last is what remains. An empty range
/// makes none.
///
/// # Errors
/// [`SplitError::TooManyChunks`].
pub fn cut_range(
    range: Range<u64>,
    block: NonZeroU64,
) -> Result<impl ExactSizeIterator<Item = Range<u64>> + Clone, SplitError> {
    let Range { start, end } = range;
    let chunks = check_count(end.saturating_sub(start).div_ceil(block.get()))?;
    let cut = move |chunk: u32| start.saturating_add(block.get().saturating_mul(chunk.into())).min(end);
    Ok((0..chunks).map(move |chunk| cut(chunk)..cut(chunk + 1)))
}

/// The input of the chunk that works on `range`: the text `a..b`, with no newline.
#[must_use]
pub fn range_input(range: &Range<u64>) -> Vec<u8> {
    format!("{}..{}", range.start, range.end).into_bytes()
}
