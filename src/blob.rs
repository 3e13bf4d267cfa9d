//! A blob's bytes, wherever they are kept, whole or in part: shared by the network, which sends them, and the
//! store, which keeps them.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coordinator_free::pieces::Layout;
use essaim_jobs::{BlobId, BlobRef, IntervalSet};

/// Bytes that are read at once where all of a blob is read.
pub const PIECE: usize = 256 << 10;

/// Bytes in memory, or a stretch of a file that is read only when they are needed.
#[derive(Clone, Debug)]
pub enum Blob {
    /// The bytes themselves.
    Memory(Bytes),
    /// `len` bytes of `file`, from `offset` on. The file must not change while this lives.
    File {
        /// The open file; its own position is neither used nor moved on Unix.
        file: Arc<File>,
        /// Where the blob begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
    },
}

impl Blob {
    /// Bytes of the blob.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Blob::Memory(bytes) => bytes.len() as u64,
            Blob::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of its bytes. Reads them all, a piece at a time: call it where blocking is allowed.
    ///
    /// # Errors
    /// As [`Blob::read`].
    pub fn name(&self) -> io::Result<BlobRef> {
        let mut hasher = blake3::Hasher::new();
        while hasher.count() < self.len() {
            hasher.update(&self.read(hasher.count(), PIECE)?);
        }
        Ok(BlobRef { id: BlobId(*hasher.finalize().as_bytes()), len: self.len() })
    }

    /// Whether it is what `name` stands for. Reads it as [`Blob::name`] does.
    ///
    /// # Errors
    /// As [`Blob::read`].
    pub fn is(&self, name: &BlobRef) -> io::Result<bool> {
        Ok(self.len() == name.len && self.name()? == *name)
    }

    /// The `len` bytes from `at` on, fewer where the blob ends earlier. Reads the file, where it is one: call
    /// it where blocking is allowed.
    ///
    /// # Errors
    /// The file's, and [`io::ErrorKind::UnexpectedEof`] when it is shorter than it should be.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let end = at.saturating_add(len as u64).min(self.len());
        let at = at.min(end);
        match self {
            // Both are within the length of bytes in memory, so both fit a usize.
            Blob::Memory(bytes) => Ok(bytes.slice(at as usize..end as usize)),
            Blob::File { file, offset, .. } => {
                let mut piece = vec![0; (end - at) as usize];
                read_exact_at(file, &mut piece, offset.saturating_add(at))?;
                Ok(piece.into())
            }
        }
    }
}

/// Bytes of a leaf of the hash tree by which pieces are verified: BLAKE3's own tree, cut off where it is 16 chunks
/// wide, as bao-tree calls it with a block size of 4. Its inner nodes are 0.4 % of the blob.
pub const GROUP_BYTES: u64 = 16 << 10;

/// The longest encoding of a piece of `layout`: its bytes, the hashes inside it, and those on the way to it from the
/// root, 64 bytes a node.
#[must_use]
pub fn encoded_most(layout: &Layout) -> usize {
    let piece = layout.bytes(0);
    // A blob of at most 2^32 bytes has a tree of at most 18 levels.
    (piece + 64 * (piece / GROUP_BYTES + 32)) as usize
}

/// A blob of which some pieces are here, and more may come. All but `name`, `have` and `has` use the disk and the
/// processor: they are called where blocking is allowed, from several threads at once.
pub trait Pieces: fmt::Debug + Send + Sync {
    /// What the blob is called.
    fn name(&self) -> BlobRef;

    /// The pieces that are here.
    fn have(&self) -> IntervalSet;

    /// Whether this piece is here.
    fn has(&self, piece: u32) -> bool;

    /// A piece that is here as others can verify it: the hashes of the tree that lead to it, and its bytes.
    ///
    /// # Errors
    /// The file's; [`io::ErrorKind::InvalidData`] where its bytes are no longer what they were.
    fn encode(&self, piece: u32) -> io::Result<Bytes>;

    /// Verifies what [`Pieces::encode`] gave elsewhere and keeps it; what is wrong leaves no trace.
    ///
    /// # Errors
    /// [`PieceError`].
    fn write(&self, piece: u32, encoded: &[u8]) -> Result<(), PieceError>;
}

/// Why a piece was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// It is not a piece of this blob.
    #[error("piece {0} is not what the blob's name stands for")]
    Wrong(u32),
    /// It could not be written.
    #[error("piece {0} cannot be kept: {1}")]
    Disk(u32, io::Error),
}

#[cfg(unix)]
fn read_exact_at(file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                into = &mut into[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::io::Write;

    use super::*;

    #[test]
    fn a_stretch_of_a_file_reads_as_the_same_bytes_in_memory() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let in_file = Blob::File { file: Arc::new(file), offset: 16, len: 200 };
        let in_memory = Blob::Memory(Bytes::copy_from_slice(&bytes[16..216]));
        for (at, len) in [(0, 200), (0, 0), (7, 13), (190, 50), (200, 1), (u64::MAX, 9)] {
            assert_eq!(in_file.read(at, len).unwrap(), in_memory.read(at, len).unwrap(), "{at} {len}");
        }
        assert_eq!(in_file.len(), in_memory.len());
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let blob = Blob::File { file: Arc::new(tempfile::tempfile().unwrap()), offset: 0, len: 1 };
        assert_eq!(blob.read(0, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
