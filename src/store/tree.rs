//! Pieces and the hash tree that proves them: BLAKE3's, so a blob's name is its root. What keeps the bytes and the
//! hashes is the caller's.

use std::io::{self, Cursor};

use bao_tree::blake3::Hash;
use bao_tree::io::BaoContentItem;
use bao_tree::io::sync::{DecodeResponseIter, Outboard, ReadAt, encode_ranges_validated};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges, TreeNode};
use coordinator_free::pieces::Layout;
use essaim_jobs::BlobRef;

use crate::blob::{GROUP_BYTES, encoded_most};

/// A pair of hashes and the node that they are the children of.
pub(super) type Pair = (TreeNode, (Hash, Hash));

/// The shape of a blob's tree.
pub(super) fn of(name: BlobRef) -> BaoTree {
    // A chunk of BLAKE3 is 2^10 bytes.
    BaoTree::new(name.len, BlockSize::from_chunk_log(GROUP_BYTES.ilog2() as u8 - 10))
}

pub(super) fn root(name: BlobRef) -> Hash {
    Hash::from_bytes(name.id.0)
}

/// The chunks of a piece. Pieces are whole groups, so nothing of a piece stands in another's.
fn chunks(layout: &Layout, piece: u32) -> ChunkRanges {
    let range = layout.range(piece);
    ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end))
}

/// Encodes a piece, verified on the way: this node must not be taken for a liar because its disk forgets.
pub(super) fn encode(layout: &Layout, piece: u32, data: impl ReadAt, hashes: impl Outboard) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::with_capacity(encoded_most(layout));
    encode_ranges_validated(data, hashes, &chunks(layout, piece), &mut encoded)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(encoded)
}

/// The bytes of a piece and the hashes that came with it; none if they are not of the blob `name`, too few or too many.
pub(super) fn decode(name: BlobRef, layout: &Layout, piece: u32, encoded: &[u8]) -> Option<(Vec<u8>, Vec<Pair>)> {
    let range = layout.range(piece);
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut pairs = Vec::new();
    let mut rest = Cursor::new(encoded);
    for item in DecodeResponseIter::new(root(name), of(name), &mut rest, &chunks(layout, piece)) {
        match item.ok()? {
            BaoContentItem::Parent(parent) => pairs.push((parent.node, parent.pair)),
            BaoContentItem::Leaf(leaf) => bytes.extend_from_slice(&leaf.data),
        }
    }
    let whole = rest.position() == encoded.len() as u64 && bytes.len() as u64 == range.end - range.start;
    whole.then_some((bytes, pairs))
}
