//! Chunks: the table that says what each one's input is, and the slots in which they are run.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::id::BlobRef;

/// The input of one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkInput {
    /// The bytes themselves, at most [`bounds::INLINE_INPUT`].
    Inline(#[serde(deserialize_with = "bounds::blob::<_, { bounds::INLINE_INPUT }>")] Bytes),
    /// The name of the bytes.
    Blob(BlobRef),
}

impl ChunkInput {
    /// The input that `bytes` are: inline when they are short, else the name of a blob that must be kept.
    #[must_use]
    pub fn of(bytes: &Bytes) -> ChunkInput {
        if bytes.len() <= bounds::INLINE_INPUT {
            ChunkInput::Inline(bytes.clone())
        } else {
            ChunkInput::Blob(BlobRef::of(bytes))
        }
    }

    /// Bytes of the input.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            ChunkInput::Inline(bytes) => bytes.len() as u64,
            ChunkInput::Blob(blob) => blob.len,
        }
    }
}

/// A page of the chunk table: the inputs of up to [`bounds::PAGE_CHUNKS`] consecutive chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page(
    /// The inputs, in chunk order.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::PAGE_CHUNKS }>")]
    pub Vec<ChunkInput>,
);

impl Page {
    /// The most bytes that an encoded page can have.
    pub const MAX_BYTES: usize = bounds::PAGE_CHUNKS * (bounds::INLINE_INPUT + 3) + 3;

    /// Cuts a whole table into pages.
    #[must_use]
    pub fn paginate(inputs: Vec<ChunkInput>) -> Vec<Page> {
        let mut inputs = inputs.into_iter().peekable();
        let mut pages = Vec::new();
        while inputs.peek().is_some() {
            pages.push(Page(inputs.by_ref().take(bounds::PAGE_CHUNKS).collect()));
        }
        pages
    }
}

/// A job's *slots*: row 0 holds its chunks in order; each further copy is a further row, rotated so that
/// the copies of one chunk stand far apart. A slot is what is leased, run and sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Chunks in a row.
    pub chunks: u32,
    /// Rows.
    pub copies: u8,
}

impl Rows {
    /// Number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.chunks * u32::from(self.copies)
    }

    /// The chunk that `slot` runs.
    ///
    /// # Panics
    /// When `slot` is not one of this job's.
    #[must_use]
    pub fn chunk(&self, slot: u32) -> u32 {
        assert!(slot < self.slots(), "slot {slot} of {}", self.slots());
        let row = slot / self.chunks;
        let turn = u64::from(row) * u64::from(self.chunks) / u64::from(self.copies);
        ((u64::from(slot % self.chunks) + turn) % u64::from(self.chunks)) as u32
    }

    /// The slots that run `chunk`, one a row.
    pub fn slots_of(&self, chunk: u32) -> impl Iterator<Item = u32> + use<> {
        let Rows { chunks, copies } = *self;
        (0..u32::from(copies)).map(move |row| {
            let turn = u64::from(row) * u64::from(chunks) / u64::from(copies);
            let column = (u64::from(chunk) + u64::from(chunks) - turn) % u64::from(chunks);
            row * chunks + column as u32
        })
    }
}
