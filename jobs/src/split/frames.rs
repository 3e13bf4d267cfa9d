//! The program's own cut: what it prints as `split` is frames, each the input of one chunk.

use super::{SplitError, check_count};

/// Bytes of a frame's length.
const HEAD: usize = 4;

/// Reads frames, a length (32 bits, little-endian) and as many bytes each, from pieces of any length. Keeps no bytes of
/// them but a length that a piece has parted.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// The most bytes that a frame may have.
    most: u64,
    /// How many have begun.
    begun: u64,
    head: [u8; HEAD],
    /// How much of the next frame's length is known.
    known: usize,
    /// How much of the frame that has begun is still to come.
    left: u64,
}

/// Some bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// How long the whole frame is.
    pub len: u64,
    /// These bytes.
    pub bytes: &'a [u8],
    /// Whether the frame ends with them.
    pub is_last: bool,
}

impl Frames {
    /// For frames of at most `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> Frames {
        Frames { most, ..Frames::default() }
    }

    /// The next stretch of a frame in `piece`, which is shortened by it; none where more must come first.
    ///
    /// # Errors
    /// [`SplitError::FrameTooLarge`] or [`SplitError::TooManyChunks`], before anything of that frame was returned. The
    /// rest cannot be read then.
    pub fn next<'a>(&mut self, piece: &mut &'a [u8]) -> Result<Option<Stretch<'a>>, SplitError> {
        let begins = self.left == 0;
        if begins {
            let n = (HEAD - self.known).min(piece.len());
            self.head[self.known..self.known + n].copy_from_slice(&piece[..n]);
            self.known += n;
            *piece = &piece[n..];
            if self.known < HEAD {
                return Ok(None);
            }
            let len = self.len();
            if len > self.most {
                return Err(SplitError::FrameTooLarge { frame: self.begun, len, most: self.most });
            }
            self.begun += 1;
            check_count(self.begun)?;
            self.left = len;
        } else if piece.is_empty() {
            return Ok(None);
        }
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let (bytes, rest) = piece.split_at(n);
        *piece = rest;
        self.left -= n as u64;
        let is_last = self.left == 0;
        if is_last {
            self.known = 0;
        }
        Ok(Some(Stretch { len: self.len(), bytes, is_last }))
    }

    /// Ends the frames.
    ///
    /// # Errors
    /// [`SplitError::TornFrame`] where one has begun and not ended.
    pub fn finish(self) -> Result<(), SplitError> {
        match self.left {
            0 if self.known == 0 => Ok(()),
            0 => Err(SplitError::TornFrame { frame: self.begun, missing: (HEAD - self.known) as u64 }),
            missing => Err(SplitError::TornFrame { frame: self.begun - 1, missing }),
        }
    }

    fn len(&self) -> u64 {
        u32::from_le_bytes(self.head).into()
    }
}
