//! How a blob is cut into pieces.

use std::ops::Range;

/// Bytes of a piece of all but the largest blobs. Sixteen of the hash tree's groups of 16 KiB: small enough that a
/// blob of some MiB has pieces for everyone and a taker can pass one on after 20 ms at 100 Mbit/s, large enough that
/// what is said about a piece, and its proof, are a thousandth of it.
pub const PIECE_BYTES: u64 = 256 << 10;
/// Pieces of one blob. Where there would be more, a piece is twice as large, and so on: what a node remembers of a
/// peer stays below a few KiB.
pub const PIECES: u32 = 4_096;
/// Bytes of the largest blob that can be moved in pieces.
pub const BLOB_BYTES: u64 = 4 << 30;
/// Bytes of a piece of the largest blob.
pub const PIECE_BYTES_MOST: u64 = BLOB_BYTES / PIECES as u64;

/// The pieces of a blob: all of one size but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    len: u64,
    piece_bytes: u64,
}

impl Layout {
    /// How a blob of `len` bytes is cut, the same for everyone; none if it is larger than [`BLOB_BYTES`].
    #[must_use]
    pub fn of(len: u64) -> Option<Layout> {
        let mut piece_bytes = PIECE_BYTES;
        while len.div_ceil(piece_bytes) > u64::from(PIECES) {
            piece_bytes *= 2;
        }
        (len <= BLOB_BYTES).then_some(Layout { len, piece_bytes })
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to move.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces there are.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.len.div_ceil(self.piece_bytes) as u32
    }

    /// Where a piece stands in the blob, in bytes; empty for one that there is not.
    #[must_use]
    pub fn range(&self, piece: u32) -> Range<u64> {
        let start = (u64::from(piece) * self.piece_bytes).min(self.len);
        start..(start + self.piece_bytes).min(self.len)
    }

    /// Bytes of a piece.
    #[must_use]
    pub fn bytes(&self, piece: u32) -> u64 {
        let range = self.range(piece);
        range.end - range.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_blob_once_and_are_never_too_many_or_too_large() {
        for len in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 64 << 20, 1 << 30, (1 << 30) + 1, BLOB_BYTES] {
            let layout = Layout::of(len).unwrap();
            assert!(layout.pieces() <= PIECES);
            let mut at = 0;
            for piece in 0..layout.pieces() {
                let range = layout.range(piece);
                assert_eq!(range.start, at);
                assert!(range.start < range.end && layout.bytes(piece) <= PIECE_BYTES_MOST);
                at = range.end;
            }
            assert_eq!(at, len);
            assert_eq!(layout.bytes(layout.pieces()), 0);
            assert_eq!(layout.bytes(u32::MAX), 0);
        }
        assert_eq!(Layout::of(BLOB_BYTES + 1), None);
        assert_eq!(Layout::of(u64::MAX), None);
    }
}
