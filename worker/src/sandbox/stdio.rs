//! The three streams of a guest: stdin from bytes or from an iterator of pieces, stdout to a bounded buffer or
//! to a writer, stderr to a buffer that keeps its end only.

use std::io::Write;

use bytes::{Buf, Bytes};

use crate::error::STDERR_BYTES;
use crate::input::{Input, Stretch};
use crate::limits::{Breach, StopFlag};

/// Where stdin comes from.
pub(crate) enum Source {
    /// All at once.
    Bytes(Bytes),
    /// From a file, as the guest asks for it.
    File { stretch: Stretch, at: u64 },
    /// Piece by piece; the iterator may block.
    Pieces { rest: Box<dyn Iterator<Item = Bytes> + Send>, piece: Bytes, stop: StopFlag },
}

impl From<Input> for Source {
    fn from(input: Input) -> Source {
        match input {
            Input::Bytes(bytes) => Source::Bytes(bytes),
            Input::File(stretch) => Source::File { stretch, at: 0 },
        }
    }
}

impl Source {
    /// How many bytes are left, where that is known.
    fn left(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { stretch, at } => stretch.left(*at),
            Source::Pieces { .. } => 0,
        }
    }

    /// As many bytes as there are and as fit; none when there are no more.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Breach> {
        let bytes = match self {
            Source::Bytes(bytes) => bytes,
            Source::File { stretch, at } => {
                let read = stretch.read_at(into, *at).map_err(Breach::Input)?;
                *at += read as u64;
                return Ok(read);
            }
            Source::Pieces { rest, piece, stop } => {
                while piece.is_empty() {
                    let next = rest.next();
                    if stop.is_stopped() {
                        return Err(Breach::Stopped);
                    }
                    match next {
                        Some(next) => *piece = next,
                        None => break,
                    }
                }
                piece
            }
        };
        let read = bytes.len().min(into.len());
        bytes.copy_to_slice(&mut into[..read]);
        Ok(read)
    }
}

/// Where stdout goes.
pub(crate) enum Sink {
    /// To memory, at most `most` bytes.
    Buffer { bytes: Vec<u8>, most: u64 },
    /// To a writer that may block.
    Writer(Box<dyn Write + Send>),
}

impl Sink {
    fn write(&mut self, new: &[u8]) -> Result<(), Breach> {
        match self {
            Sink::Buffer { bytes, most } => {
                if bytes.len() as u64 + new.len() as u64 > *most {
                    return Err(Breach::Output);
                }
                bytes.extend_from_slice(new);
                Ok(())
            }
            Sink::Writer(writer) => writer.write_all(new).map_err(Breach::Sink),
        }
    }
}

/// The end of a stream.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn write(&mut self, new: &[u8]) {
        self.0.extend_from_slice(&new[new.len().saturating_sub(STDERR_BYTES)..]);
        if self.0.len() > 2 * STDERR_BYTES {
            self.0.drain(..self.0.len() - STDERR_BYTES);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0[self.0.len().saturating_sub(STDERR_BYTES)..]).into_owned()
    }
}

/// The three streams of one guest.
pub(crate) struct Stdio {
    stdin: Source,
    stdout: Sink,
    stderr: Tail,
}

impl Stdio {
    pub(crate) fn new(stdin: Source, stdout: Sink) -> Stdio {
        Stdio { stdin, stdout, stderr: Tail::default() }
    }

    /// A read of stdin: how much there was, nothing at its end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Breach> {
        if into.is_empty() { Ok(0) } else { self.stdin.read(into) }
    }

    /// How much stdin still has, where that is known; otherwise nothing.
    pub(crate) fn left(&self) -> u64 {
        self.stdin.left()
    }

    /// A write to stdout.
    pub(super) fn print(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        self.stdout.write(bytes)
    }

    /// A write to stderr.
    pub(super) fn complain(&mut self, bytes: &[u8]) {
        self.stderr.write(bytes);
    }

    /// What was printed to a buffer; empties it. Nothing for a writer, which is flushed.
    pub(crate) fn finish(&mut self) -> Result<Bytes, Breach> {
        match &mut self.stdout {
            Sink::Buffer { bytes, .. } => Ok(Bytes::from(std::mem::take(bytes))),
            Sink::Writer(writer) => writer.flush().map(|()| Bytes::new()).map_err(Breach::Sink),
        }
    }

    /// The end of what was written to stderr.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_end_and_little_more() {
        let mut tail = Tail::default();
        for i in 0..10_000 {
            tail.write(format!("line {i}\n").as_bytes());
            assert!(tail.0.len() <= 2 * STDERR_BYTES);
        }
        let text = tail.text();
        assert_eq!(text.len(), STDERR_BYTES);
        assert!(text.ends_with("line 9998\nline 9999\n"));
        tail.write(&vec![b'x'; 3 * STDERR_BYTES]);
        assert_eq!(tail.text(), "x".repeat(STDERR_BYTES));
    }

    #[test]
    fn the_buffer_takes_its_limit_and_not_a_byte_more() {
        let mut sink = Sink::Buffer { bytes: Vec::new(), most: 5 };
        assert!(sink.write(b"abc").is_ok());
        assert!(matches!(sink.write(b"def"), Err(Breach::Output)));
        assert!(sink.write(b"de").is_ok());
        assert!(sink.write(b"").is_ok());
    }
}
