//! Cuts an input into chunks: whole lines, ranges of integers, parameters, files.
//!
//! Sans-IO: nothing here opens a file or reads a clock. Text is pushed in as it is read and cut
//! points come out; ranges and parameters are cut from what the person wrote. A cut depends on
//! the input and the options alone, never on the swarm, so that two runs on different swarms
//! have the same chunks. Naming, hashing and storing the chunks is left to others.

mod lines;
mod product;
mod range;

use std::num::NonZeroU64;

use crate::bounds;

pub use lines::{LineCutter, default_block};
pub use product::{SEPARATOR, parameter_lists, product};
pub use range::{cut_range, looks_like_range, parse_range, range_input};

/// The most chunks that a job may have.
pub const MOST_CHUNKS: u32 = (bounds::PAGE_CHUNKS * bounds::PAGES) as u32;

/// How many chunks a range of integers is cut into when nobody says.
pub const RANGE_CHUNKS: u32 = 256;

/// Why an input could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A line does not end soon enough for its chunk to stay within the limit.
    #[error(
        "no line ends in the {len} bytes after byte {offset} of the input: \
         the chunk would be over the limit of {most} bytes"
    )]
    LineTooLong {
        /// Where the search for the end of a line began, in bytes from the start of the input.
        offset: u64,
        /// Bytes searched from there: the line is at least this long.
        len: u64,
        /// The most bytes that a chunk may have.
        most: u64,
    },
    /// A file that is to be one chunk is over the limit.
    #[error("{name} has {len} bytes: a chunk has at most {most}")]
    FileTooLarge {
        /// The file, as the person named it.
        name: String,
        /// Its length in bytes.
        len: u64,
        /// The most bytes that a chunk may have.
        most: u64,
    },
    /// The input makes more chunks than a job may have.
    #[error("the input makes {chunks} chunks or more: a job has at most {MOST_CHUNKS}")]
    TooManyChunks {
        /// How many there would be; `u64::MAX` where it is more than that.
        chunks: u64,
    },
    /// A text that should be a range of integers is none.
    #[error("`{text}` is no range of integers: {why}")]
    BadRange {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: RangeFault,
    },
    /// A `:::` with no value after it.
    #[error("list {list} of the parameters (`:::`) is empty")]
    EmptyList {
        /// Which list, counted from 1.
        list: usize,
    },
    /// A TAB in a value, where a TAB parts the values of several lists.
    #[error("a value in list {list} of the parameters (`:::`) has a TAB in it")]
    TabInValue {
        /// Which list, counted from 1.
        list: usize,
    },
}

/// What is wrong with a range of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeFault {
    /// There is no `..` between two numbers.
    #[error("there is no `..` in it")]
    NoDots,
    /// The first end is not a number from 0 to 2^64 − 1.
    #[error("what is before the dots is not a number from 0 to {}", u64::MAX)]
    First,
    /// The second end is not a number from 0 to 2^64 − 1 (2^64 − 2 where it is included).
    #[error("what is after the dots is not a number from 0 to {}", u64::MAX)]
    Second,
    /// The range holds no integer.
    #[error("it is empty")]
    Empty,
}

impl SplitError {
    /// What the person can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::LineTooLong { .. } => "lines are never cut in two; is the input text? \
                 If it is one record, pass it as a file of its own, or break the line"
                .into(),
            Self::FileTooLarge { .. } => "cut the file into smaller ones, or pass it on standard \
                 input, where text is split by lines"
                .into(),
            Self::TooManyChunks { .. } => {
                "give more work to a chunk with a larger --block, or run fewer parameters at once".into()
            }
            Self::BadRange { text, why } => match why {
                RangeFault::Empty => match text.split_once("..") {
                    Some((first, second)) if !second.starts_with('=') => {
                        format!("the second number is not included; did you mean {second}..{first}?")
                    }
                    _ => "write the smaller number first".into(),
                },
                _ => "write it as 0..1_000_000, or 1..=10 to include the 10".into(),
            },
            Self::EmptyList { .. } => {
                "write the values after it, as in `::: 1 2 3`; did a shell pattern match nothing?".into()
            }
            Self::TabInValue { .. } => {
                "the values of several lists are joined by TABs; use one list, or another separator".into()
            }
        }
    }
}

/// Says that `chunks` is not more than a job may have, and gives it back as a chunk count.
///
/// # Errors
/// [`SplitError::TooManyChunks`] where it is more than [`MOST_CHUNKS`].
pub fn check_count(chunks: u64) -> Result<u32, SplitError> {
    u32::try_from(chunks).ok().filter(|&chunks| chunks <= MOST_CHUNKS).ok_or(SplitError::TooManyChunks { chunks })
}

/// Says that a file of `len` bytes may be one chunk, of at most `most` bytes.
///
/// # Errors
/// [`SplitError::FileTooLarge`] where it is longer.
pub fn check_file(name: &str, len: u64, most: u64) -> Result<(), SplitError> {
    if len > most {
        return Err(SplitError::FileTooLarge { name: name.to_owned(), len, most });
    }
    Ok(())
}

/// How many pieces of `block` cover `len`, the last of them perhaps shorter.
fn blocks_in(len: u64, block: NonZeroU64) -> u64 {
    len.div_ceil(block.get())
}
