//! What can be wrong with an input, or with how it is to be cut.

use super::MOST_CHUNKS;

/// Why an input could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A line or record does not end soon enough for its chunk to stay within the limit.
    #[error(
        "no line or record ends in the {len} bytes after byte {offset} of the input: \
         the chunk would be over the limit of {most} bytes"
    )]
    RecordTooLong {
        /// Where the search for its end began, in bytes from the start of the input.
        offset: u64,
        /// Bytes searched from there: it is at least this long.
        len: u64,
        /// The most bytes that a chunk may have.
        most: u64,
    },
    /// So many lines or records as were asked for do not fit in a chunk.
    #[error("{items} lines or records from byte {offset} of the input on are over the limit of {most} bytes a chunk")]
    BlockTooLong {
        /// Where the chunk begins, in bytes from the start of the input.
        offset: u64,
        /// How many it was to have.
        items: u64,
        /// The most bytes that a chunk may have.
        most: u64,
    },
    /// A delimiter that is empty, or has an escape that is not known.
    #[error("`{text}` is no delimiter")]
    BadDelimiter {
        /// What was written.
        text: String,
    },
    /// What the program's own `split` prints names a chunk that is too long.
    #[error("frame {frame} of the program's `split` has {len} bytes: a chunk has at most {most}")]
    FrameTooLarge {
        /// Which frame, counted from 0: the number that its chunk would have.
        frame: u64,
        /// Its length, as the program says.
        len: u64,
        /// The most bytes that a chunk may have.
        most: u64,
    },
    /// What the program's own `split` prints ends within a frame.
    #[error("the output of the program's `split` ends within frame {frame}: {missing} bytes are missing")]
    TornFrame {
        /// Which frame, counted from 0.
        frame: u64,
        /// How many bytes should still have come.
        missing: u64,
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
            Self::RecordTooLong { .. } => "lines and records are never cut in two; is the input text? Say how its \
                 records end with --delimiter, or how long they are with --records"
                .into(),
            Self::BlockTooLong { .. } => "ask for fewer with --lines".into(),
            Self::BadDelimiter { .. } => {
                "write the bytes that end a record, with \\n, \\r, \\t, \\0, \\x1e for what cannot be typed and \\\\ for \\"
                    .into()
            }
            Self::FrameTooLarge { .. } | Self::TornFrame { .. } => {
                "a frame is its length (32 bits, little-endian) and as many bytes, one a chunk; print nothing else there"
                    .into()
            }
            Self::FileTooLarge { .. } => "cut the file into smaller ones, or pass it on standard \
                 input, where text is split by lines"
                .into(),
            Self::TooManyChunks { .. } => {
                "give more work to a chunk with a larger --block or --lines, or run fewer parameters at once".into()
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
