//! Text, cut where lines or other records end.

use std::num::NonZeroU64;

use super::ending::Ending;
use super::{MOST_CHUNKS, SplitError};

/// What a text is made of, and is not cut within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Items {
    /// Records that each end with these bytes, at least one; the last may lack them.
    Ending(Vec<u8>),
    /// Records of so many bytes each; the last may be shorter.
    Fixed(NonZeroU64),
}

impl Items {
    /// Lines of text.
    #[must_use]
    pub fn lines() -> Items {
        Items::Ending(vec![b'\n'])
    }
}

/// How much a chunk has of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// The fewest that make up so many bytes.
    Bytes(NonZeroU64),
    /// So many.
    Items(NonZeroU64),
}

/// Finds where to cut a text into chunks of whole items.
///
/// The last chunk is what remains. The text is pushed in pieces of any length, which make no difference to where it is
/// cut. Of lines by bytes, only what follows a full block is searched. It keeps a few numbers, however long the text.
///
/// ```
/// use std::num::NonZeroU64;
/// use essaim_jobs::split::{Block, Cutter, Items};
///
/// let block = Block::Bytes(NonZeroU64::new(4).expect("not zero"));
/// let mut cutter = Cutter::new(&Items::lines(), block, 100);
/// let mut cuts = cutter.push(b"a\nb\nc\nlong")?;
/// cuts.extend(cutter.push(b"er")?);
/// cuts.extend(cutter.finish());
/// assert_eq!(cuts, [4, 12]);
/// # Ok::<(), essaim_jobs::split::SplitError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cutter {
    ends: Ends,
    block: Block,
    most: u64,
    /// Where the open chunk began.
    start: u64,
    /// How much was pushed.
    end: u64,
    /// How many chunks are closed.
    chunks: u32,
}

/// Where items end.
#[derive(Debug, Clone)]
enum Ends {
    Ending {
        ending: Ending,
        /// How much was looked through.
        at: u64,
        /// How many items of the open chunk have ended.
        items: u64,
    },
    Fixed(u64),
}

impl Cutter {
    /// A cutter for chunks of such a size and never more than `most` bytes. A block over half of `most` is lowered to
    /// that, to leave room for the item that ends the chunk.
    ///
    /// # Panics
    /// When items are to end with nothing.
    #[must_use]
    pub fn new(items: &Items, block: Block, most: u64) -> Cutter {
        let ends = match items {
            Items::Ending(bytes) => {
                assert!(!bytes.is_empty(), "an item ends with something");
                Ends::Ending { ending: Ending::new(bytes), at: 0, items: 0 }
            }
            Items::Fixed(bytes) => Ends::Fixed(bytes.get()),
        };
        let mut cutter = Cutter { ends, block, most, start: 0, end: 0, chunks: 0 };
        cutter.set_block(block);
        cutter
    }

    /// Another size, for the chunk that is open and those that follow. What was pushed already is not cut by it.
    pub fn set_block(&mut self, block: Block) {
        let half = NonZeroU64::new(self.most / 2).unwrap_or(NonZeroU64::MIN);
        self.block = match block {
            Block::Bytes(bytes) => Block::Bytes(bytes.min(half)),
            items @ Block::Items(_) => items,
        };
    }

    /// Takes the next piece of the text and returns the ends of the chunks that it closes, as offsets from the start of
    /// the text: at most one for each block in it, and one more.
    ///
    /// # Errors
    /// [`SplitError::RecordTooLong`] where no item ends before the chunk is over the limit,
    /// [`SplitError::BlockTooLong`] where so many items are over it, [`SplitError::TooManyChunks`] where more text
    /// follows the last chunk that a job may have. The text cannot be cut then; the cutter is of no more use.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u64>, SplitError> {
        let base = self.end;
        self.end += piece.len() as u64;
        let mut cuts = Vec::new();
        while self.start < self.end {
            if self.chunks == MOST_CHUNKS {
                return Err(SplitError::TooManyChunks { chunks: u64::from(MOST_CHUNKS) + 1 });
            }
            let cut = self.next_cut(piece, base);
            let end = cut.unwrap_or(self.end);
            if end - self.start > self.most {
                return Err(self.too_long(end));
            }
            let Some(cut) = cut else { break };
            cuts.push(cut);
            self.start = cut;
            self.chunks += 1;
        }
        Ok(cuts)
    }

    /// Closes the open chunk where its last whole item ends, however short it is then, and returns where that is; none
    /// where it has no whole item, or a chunk is to have a number of them. `open` is what was pushed since the last cut.
    /// What follows is the next chunk's.
    pub fn close(&mut self, open: &[u8]) -> Option<u64> {
        let Block::Bytes(_) = self.block else { return None };
        let whole = match &mut self.ends {
            Ends::Ending { ending, at, items } => {
                // What is shorter than a block may not have been looked through.
                let (mut looker, mut whole) = (ending.anew(), 0);
                while let Some(found) = looker.next(&open[whole..]) {
                    whole += found;
                }
                (*ending, *at, *items) = (looker, self.end, 0);
                whole as u64
            }
            Ends::Fixed(len) => open.len() as u64 / *len * *len,
        };
        self.start += whole;
        (whole > 0).then(|| {
            self.chunks += 1;
            self.start
        })
    }

    /// Ends the text, and returns where the last chunk ends unless that was a cut already or
    /// there was no text.
    #[must_use]
    pub fn finish(self) -> Option<u64> {
        (self.start < self.end).then_some(self.end)
    }

    /// Where the open chunk ends, if that is in `piece`, which begins at `base` and is the last that was pushed.
    fn next_cut(&mut self, piece: &[u8], base: u64) -> Option<u64> {
        let Cutter { ends, block, start, end, most, .. } = self;
        let (ending, at, items) = match ends {
            Ends::Ending { ending, at, items } => (ending, at, items),
            Ends::Fixed(len) => {
                let count = match block {
                    Block::Bytes(bytes) => bytes.get().div_ceil(*len).min((*most / *len).max(1)),
                    Block::Items(count) => count.get(),
                };
                let count = count.max(base.saturating_sub(*start).div_ceil(*len));
                return Some(start.saturating_add(len.saturating_mul(count))).filter(|cut| cut <= end);
            }
        };
        loop {
            if let (Block::Bytes(bytes), true) = (&block, ending.is_a_byte()) {
                // The first end that could close a full block is the block's own last byte.
                *at = (*at).max(*start + bytes.get() - 1);
            }
            let rest = usize::try_from(*at - base).ok().and_then(|skip| piece.get(skip..)).unwrap_or_default();
            let Some(found) = ending.next(rest) else {
                *at = *end;
                return None;
            };
            *at += found as u64;
            *items += 1;
            let is_full = match block {
                Block::Bytes(bytes) => *at - *start >= bytes.get(),
                Block::Items(count) => *items >= count.get(),
            };
            if is_full {
                *items = 0;
                return Some(*at);
            }
        }
    }

    /// The open chunk, which goes on to `end` at least, is over the limit.
    fn too_long(&self, end: u64) -> SplitError {
        let (start, most) = (self.start, self.most);
        match self.block {
            Block::Bytes(bytes) => {
                let offset = match self.ends {
                    Ends::Ending { .. } => start + bytes.get() - 1,
                    Ends::Fixed(_) => start,
                };
                SplitError::RecordTooLong { offset, len: end - offset, most }
            }
            Block::Items(items) => SplitError::BlockTooLong { offset: start, items: items.get(), most },
        }
    }
}
