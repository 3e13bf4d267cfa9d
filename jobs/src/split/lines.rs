//! Text, cut at line ends.

use std::num::NonZeroU64;

use super::{MOST_CHUNKS, SplitError};

/// The smallest chunk of text that is chosen when nobody says, in bytes.
const LEAST_BLOCK: u64 = 64 << 10;
/// The largest, in bytes.
const LARGEST_BLOCK: u64 = 1 << 20;
/// How many chunks are aimed at between the two.
const CHUNKS_AIMED_AT: u64 = 256;

/// How many bytes a chunk of a text of `total_bytes` should have: 64 KiB to 1 MiB, 256 chunks
/// where that lies between. It depends on the input alone, so that every swarm cuts alike.
#[must_use]
pub fn default_block(total_bytes: u64) -> NonZeroU64 {
    let block = (total_bytes / CHUNKS_AIMED_AT).clamp(LEAST_BLOCK, LARGEST_BLOCK);
    NonZeroU64::new(block).unwrap_or(NonZeroU64::MIN)
}

/// Finds where to cut a text into chunks of whole lines.
///
/// A chunk is the fewest whole lines that make up a block; the last chunk is what remains, with
/// or without a newline at its end. The text is pushed in pieces of any length, and only what
/// follows a full block is searched for a newline. It keeps five numbers, however long the text.
///
/// ```
/// use std::num::NonZeroU64;
/// use essaim_jobs::split::LineCutter;
///
/// let mut cutter = LineCutter::new(NonZeroU64::new(4).expect("not zero"), 100);
/// let mut cuts = cutter.push(b"a\nb\nc\nlong")?;
/// cuts.extend(cutter.push(b"er")?);
/// cuts.extend(cutter.finish());
/// assert_eq!(cuts, [4, 12]);
/// # Ok::<(), essaim_jobs::split::SplitError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LineCutter {
    block: u64,
    most: u64,
    /// Where the open chunk began.
    start: u64,
    /// How much was pushed.
    end: u64,
    /// How many chunks are closed.
    chunks: u32,
}

impl LineCutter {
    /// A cutter for chunks of about `block` bytes and never more than `most`. A `block` over half
    /// of `most` is lowered to that, to leave room for the line that ends the chunk.
    #[must_use]
    pub fn new(block: NonZeroU64, most: u64) -> Self {
        let block = block.get().min((most / 2).max(1));
        Self { block, most, start: 0, end: 0, chunks: 0 }
    }

    /// Takes the next piece of the text and returns the ends of the chunks that it closes, as
    /// offsets from the start of the text: at most one for each block in it, and one more.
    ///
    /// # Errors
    /// [`SplitError::LineTooLong`] where no line ends before the chunk is over the limit,
    /// [`SplitError::TooManyChunks`] where more text follows the last chunk that a job may have.
    /// The text cannot be cut then; the cutter is of no more use.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u64>, SplitError> {
        let base = self.end;
        self.end += piece.len() as u64;
        let mut cuts = Vec::new();
        while self.start < self.end {
            if self.chunks == MOST_CHUNKS {
                return Err(SplitError::TooManyChunks { chunks: u64::from(MOST_CHUNKS) + 1 });
            }
            // The first newline that could close a full block is the block's own last byte.
            let from = (self.start + self.block - 1).max(base);
            let newline = usize::try_from(from - base)
                .ok()
                .and_then(|skip| piece.get(skip..))
                .and_then(|rest| rest.iter().position(|&byte| byte == b'\n'));
            let cut = newline.map(|at| from + at as u64 + 1);
            let end = cut.unwrap_or(self.end);
            if end - self.start > self.most {
                let offset = self.start + self.block - 1;
                return Err(SplitError::LineTooLong { offset, len: end - offset, most: self.most });
            }
            let Some(cut) = cut else { break };
            cuts.push(cut);
            self.start = cut;
            self.chunks += 1;
        }
        Ok(cuts)
    }

    /// Closes the open chunk where its last whole line ends, however short it is then, and returns where that is; none
    /// where it has no whole line. `open` is what was pushed since the last cut. What follows is the next chunk's.
    pub fn close(&mut self, open: &[u8]) -> Option<u64> {
        let whole = open.iter().rposition(|&byte| byte == b'\n')? as u64 + 1;
        self.start += whole;
        self.chunks += 1;
        Some(self.start)
    }

    /// Ends the text, and returns where the last chunk ends unless that was a cut already or
    /// there was no text.
    #[must_use]
    pub fn finish(self) -> Option<u64> {
        (self.start < self.end).then_some(self.end)
    }
}
