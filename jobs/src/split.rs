//! Cuts an input into chunks: whole lines or other records, ranges of integers, parameters, files, the program's own
//! frames; and chooses how large they are ([`Aim`]).
//!
//! Sans-IO: nothing here opens a file or reads a clock. Text is pushed in as it is read and cut
//! points come out; ranges and parameters are cut from what the person wrote. A cut depends on
//! the input, the options and the block alone. Naming, hashing and storing the chunks is left to others.

mod aim;
mod cutter;
mod ending;
mod error;
mod frames;
mod product;
mod range;

use crate::bounds;

pub use aim::{Aim, Load, Pace};
pub use cutter::{Block, Cutter, Items};
pub use ending::unescape;
pub use error::{RangeFault, SplitError};
pub use frames::{Frames, Stretch};
pub use product::{List, begins_list, parameter_lists, product};
pub use range::{cut_range, looks_like_range, parse_range, range_input};

/// The most chunks that a job may have.
pub const MOST_CHUNKS: u32 = (bounds::PAGE_CHUNKS * bounds::PAGES) as u32;

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
