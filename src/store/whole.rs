//! A blob that is all here, given piece by piece from where it stands: the author's own file, usually.

use std::io::{self, Read};

use bao_tree::io::outboard::PostOrderMemOutboard;
use bao_tree::io::sync::{ReadAt, outboard_post_order};
use bytes::Bytes;
use coordinator_free::pieces::Layout;
use essaim_jobs::{BlobRef, IntervalSet};

use super::tree;
use crate::blob::{Blob, PieceError, Pieces};

/// Bytes that are read at once while the tree is computed.
const READ_BYTES: usize = 256 << 10;

/// See the module. Holds the hashes of the tree in memory, 0.4 % of the blob.
#[derive(Debug)]
pub struct Whole {
    name: BlobRef,
    layout: Layout,
    blob: Blob,
    hashes: PostOrderMemOutboard,
}

impl Whole {
    /// Reads `blob` once, to make sure that it is what `name` stands for, and to compute the tree.
    ///
    /// # Errors
    /// The file's; [`io::ErrorKind::InvalidData`] if it is another blob, or too large to be moved in pieces.
    pub fn new(name: BlobRef, blob: Blob) -> io::Result<Whole> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, "its bytes are not those that its name stands for");
        let layout = Layout::of(name.len).filter(|_| blob.len() == name.len).ok_or_else(other)?;
        let tree = tree::of(name);
        let mut data = Vec::with_capacity(tree.outboard_size() as usize);
        let reader = io::BufReader::with_capacity(READ_BYTES, Reader { blob: &blob, at: 0 });
        let root = outboard_post_order(reader, tree, &mut data)?;
        if root != tree::root(name) {
            return Err(other());
        }
        Ok(Whole { name, layout, blob, hashes: PostOrderMemOutboard { root, tree, data } })
    }
}

impl Pieces for Whole {
    fn name(&self) -> BlobRef {
        self.name
    }

    fn have(&self) -> IntervalSet {
        (0..self.layout.pieces()).into()
    }

    fn has(&self, piece: u32) -> bool {
        piece < self.layout.pieces()
    }

    fn encode(&self, piece: u32) -> io::Result<Bytes> {
        tree::encode(&self.layout, piece, At(&self.blob), &self.hashes).map(Bytes::from)
    }

    fn write(&self, _: u32, _: &[u8]) -> Result<(), PieceError> {
        // It is all here.
        Ok(())
    }
}

/// Reads a blob from its beginning.
struct Reader<'a> {
    blob: &'a Blob,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.blob.read(self.at, into.len())?;
        into[..piece.len()].copy_from_slice(&piece);
        self.at += piece.len() as u64;
        Ok(piece.len())
    }
}

/// Reads a blob anywhere.
struct At<'a>(&'a Blob);

impl ReadAt for At<'_> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.read(at, into.len())?;
        into[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}
