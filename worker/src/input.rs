//! What a chunk reads on its standard input, or a program is compiled from: bytes, or a stretch of a file. A file costs
//! no memory, neither in the node nor in a sandbox process, which is handed it open.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::sandbox::Handle;

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// Bytes, wherever they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(Stretch),
}

/// A stretch of a file that does not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The open file; it does not go along where this is sent as bytes, but by other means.
    #[serde(skip)]
    pub(crate) file: Handle,
    offset: u64,
    len: u64,
    /// Whatever is to live as long as this is needed.
    #[serde(skip)]
    held: Held,
}

/// See [`Stretch::held`]. Makes no difference to what is read.
#[derive(Clone, Default)]
struct Held(Option<Arc<dyn Any + Send + Sync>>);

impl PartialEq for Held {
    fn eq(&self, _: &Held) -> bool {
        true
    }
}

impl Eq for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "nothing held" })
    }
}

impl Stretch {
    /// `len` bytes of `file` from `offset` on; `held` is dropped when nobody needs them any more.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, len: u64, held: Option<Arc<dyn Any + Send + Sync>>) -> Stretch {
        Stretch { file: Handle(Some(file)), offset, len, held: Held(held) }
    }

    /// How many bytes there are from `at` on.
    pub(crate) fn left(&self, at: u64) -> u64 {
        self.len.saturating_sub(at)
    }

    /// Reads from `at` on, counted from where the stretch begins; no bytes at its end.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::UnexpectedEof`] where the file has become shorter.
    pub(crate) fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.left(at)).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut into[..wanted], self.offset + at)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

impl Input {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Input::Bytes(bytes) => bytes.len() as u64,
            Input::File(stretch) => stretch.len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stretch, where it is one of a file.
    pub(crate) fn stretch(&self) -> Option<&Stretch> {
        match self {
            Input::Bytes(_) => None,
            Input::File(stretch) => Some(stretch),
        }
    }

    /// Writes all of it.
    pub(crate) fn write_to(&self, mut to: impl Write) -> io::Result<()> {
        match self {
            Input::Bytes(bytes) => to.write_all(bytes),
            Input::File(stretch) => io::copy(&mut Reader { stretch, at: 0 }, &mut to).map(drop),
        }
    }

    /// All of it in memory.
    pub(crate) fn bytes(&self) -> io::Result<Bytes> {
        match self {
            Input::Bytes(bytes) => Ok(bytes.clone()),
            Input::File(_) => {
                let mut bytes = Vec::new();
                self.write_to(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for Input {
    fn from(bytes: T) -> Input {
        Input::Bytes(bytes.into())
    }
}

struct Reader<'a> {
    stretch: &'a Stretch,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(PIECE);
        let read = self.stretch.read_at(&mut into[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_read_to_its_end_and_no_further_and_one_that_has_become_shorter_is_no_input() {
        let file = tempfile::tempfile().unwrap();
        let mut to = &file;
        to.write_all(b"before, the input, after").unwrap();
        let file = Arc::new(file);
        let input = Input::File(Stretch::new(Arc::clone(&file), 8, 9, None));
        assert_eq!(input.bytes().unwrap(), "the input");
        file.set_len(12).unwrap();
        assert_eq!(input.bytes().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
