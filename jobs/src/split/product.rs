//! Parameters: `::: a b ::: c d`.

use super::{SplitError, check_count};

/// What begins a list of parameters on the command line.
pub const SEPARATOR: &str = ":::";

/// Parts the words after a command's first `:::` into lists, at each further `:::`.
///
/// # Errors
/// [`SplitError::EmptyList`] where a list has no value.
pub fn parameter_lists<V: AsRef<[u8]>>(words: impl IntoIterator<Item = V>) -> Result<Vec<Vec<V>>, SplitError> {
    let mut lists = vec![Vec::new()];
    for word in words {
        if word.as_ref() == SEPARATOR.as_bytes() {
            lists.push(Vec::new());
        } else if let Some(list) = lists.last_mut() {
            list.push(word);
        }
    }
    match lists.iter().position(Vec::is_empty) {
        Some(empty) => Err(SplitError::EmptyList { list: empty + 1 }),
        None => Ok(lists),
    }
}

/// The chunks' inputs: every combination of one value from each list, the last list varying
/// fastest (GNU parallel's order). With one list an input is the value itself, to the byte; with
/// several, the values joined by TABs. No newline follows. No list makes no chunk.
///
/// # Errors
/// [`SplitError::EmptyList`], [`SplitError::TabInValue`] (only with several lists), or
/// [`SplitError::TooManyChunks`].
pub fn product<V: AsRef<[u8]>>(lists: &[Vec<V>]) -> Result<impl ExactSizeIterator<Item = Vec<u8>>, SplitError> {
    let mut chunks = u64::from(!lists.is_empty());
    for (list, values) in (1..).zip(lists) {
        if values.is_empty() {
            return Err(SplitError::EmptyList { list });
        }
        if lists.len() > 1 && values.iter().any(|value| value.as_ref().contains(&b'\t')) {
            return Err(SplitError::TabInValue { list });
        }
        chunks = chunks.saturating_mul(values.len() as u64);
    }
    Ok((0..check_count(chunks)?).map(|chunk| combination(lists, chunk as usize)))
}

/// Combination number `chunk`, a number written in a mixed radix whose digits are the values.
fn combination<V: AsRef<[u8]>>(lists: &[Vec<V>], mut chunk: usize) -> Vec<u8> {
    let mut values: Vec<&[u8]> = Vec::with_capacity(lists.len());
    for list in lists.iter().rev() {
        values.push(list[chunk % list.len()].as_ref());
        chunk /= list.len();
    }
    values.reverse();
    values.join(&b'\t')
}
