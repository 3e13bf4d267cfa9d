//! Parameters: `::: a b :::: FILE`.

use super::{SplitError, check_count};

/// What begins a list of values on the command line, and what begins files of values.
const VALUES: &[u8] = b":::";
const FILES: &[u8] = b"::::";

/// Where the values of a list come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List<V> {
    /// They are written down.
    Values(Vec<V>),
    /// They are the lines of this file.
    File(V),
}

/// Whether a word of the command line begins a list of parameters.
#[must_use]
pub fn begins_list(word: &[u8]) -> bool {
    word == VALUES || word == FILES
}

/// Parts the words of a command from its first `:::` or `::::` on into lists. After `::::` each file is one.
///
/// # Errors
/// [`SplitError::EmptyList`] where nothing follows one of them.
pub fn parameter_lists<V: AsRef<[u8]>>(words: impl IntoIterator<Item = V>) -> Result<Vec<List<V>>, SplitError> {
    let mut lists = Vec::new();
    let mut of_files = false;
    // Whether something has followed the last separator.
    let mut has_some = true;
    for word in words {
        if begins_list(word.as_ref()) {
            if !has_some {
                return Err(SplitError::EmptyList { list: lists.len() + 1 });
            }
            (of_files, has_some) = (word.as_ref() == FILES, false);
            continue;
        }
        match lists.last_mut() {
            _ if of_files => lists.push(List::File(word)),
            Some(List::Values(values)) if has_some => values.push(word),
            _ => lists.push(List::Values(vec![word])),
        }
        has_some = true;
    }
    if has_some { Ok(lists) } else { Err(SplitError::EmptyList { list: lists.len() + 1 }) }
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
