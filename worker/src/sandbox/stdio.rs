//! The three streams of a guest: stdin from bytes or from an iterator of pieces, stdout to a bounded buffer or
//! to a writer, stderr to a buffer that keeps its end only.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::error::STDERR_BYTES;
use crate::limits::{Breach, StopFlag};

/// The most that one read gives, bytes. It bounds what is copied between two looks at the limits.
const READ_BYTES: usize = 1 << 20;
/// The most that one write takes, bytes.
const WRITE_BYTES: usize = 1 << 16;

/// Where stdin comes from.
pub(crate) enum Source {
    /// All at once.
    Bytes(Bytes),
    /// Piece by piece; the iterator may block.
    Pieces { rest: Box<dyn Iterator<Item = Bytes> + Send>, piece: Bytes, stop: StopFlag },
}

impl Source {
    /// Up to `most` bytes; none when there are no more.
    fn read(&mut self, most: usize) -> Result<Bytes, Breach> {
        let (bytes, rest) = match self {
            Source::Bytes(bytes) => (bytes, None),
            Source::Pieces { rest, piece, stop } => (piece, Some((rest, stop))),
        };
        if let Some((rest, stop)) = rest {
            while bytes.is_empty() {
                // The iterator may wait on a channel in the way that async runtimes forbid inside themselves.
                let next = tokio::task::block_in_place(|| rest.next());
                if stop.is_stopped() {
                    return Err(Breach::Stopped);
                }
                match next {
                    Some(next) => *bytes = next,
                    None => break,
                }
            }
        }
        Ok(bytes.split_to(bytes.len().min(most)))
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
            Sink::Writer(writer) => tokio::task::block_in_place(|| writer.write_all(new)).map_err(Breach::Sink),
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

/// The three streams of one guest. One thread runs a guest, so the locks are never contended.
pub(crate) struct Stdio {
    stdin: Mutex<Source>,
    stdout: Mutex<Sink>,
    stderr: Mutex<Tail>,
}

impl Stdio {
    pub(crate) fn new(stdin: Source, stdout: Sink) -> Arc<Stdio> {
        Arc::new(Stdio { stdin: Mutex::new(stdin), stdout: Mutex::new(stdout), stderr: Mutex::default() })
    }

    /// What was printed to a buffer; empties it. Nothing for a writer, which is flushed.
    pub(crate) fn finish(&self) -> Result<Bytes, Breach> {
        match &mut *lock(&self.stdout) {
            Sink::Buffer { bytes, .. } => Ok(Bytes::from(std::mem::take(bytes))),
            Sink::Writer(writer) => writer.flush().map(|()| Bytes::new()).map_err(Breach::Sink),
        }
    }

    /// The end of what was written to stderr.
    pub(crate) fn stderr(&self) -> String {
        lock(&self.stderr).text()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trap(breach: Breach) -> StreamError {
    StreamError::Trap(wasmtime::Error::new(breach))
}

/// Reads of descriptor 0.
#[derive(Clone)]
pub(super) struct Stdin(pub(super) Arc<Stdio>);
/// Writes to descriptor 1.
#[derive(Clone)]
pub(super) struct Stdout(pub(super) Arc<Stdio>);
/// Writes to descriptor 2.
#[derive(Clone)]
pub(super) struct Stderr(pub(super) Arc<Stdio>);

impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        // `Closed` is what the guest sees as a read of 0 bytes; no bytes without it would be EINTR.
        if size == 0 {
            return Err(StreamError::Closed);
        }
        let bytes = lock(&self.0.stdin).read(size.min(READ_BYTES)).map_err(trap)?;
        if bytes.is_empty() { Err(StreamError::Closed) } else { Ok(bytes) }
    }
}

impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.0.stdout).write(&bytes).map_err(trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.0.stderr).write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl StdinStream for Stdin {
    /// Asked for by later versions of WASI only.
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// What wasmtime-wasi asks of any stream, alike for all three.
macro_rules! always_ready {
    ($($stream:ty),*) => {$(
        #[async_trait]
        impl Pollable for $stream {
            async fn ready(&mut self) {}
        }

        impl IsTerminal for $stream {
            fn is_terminal(&self) -> bool {
                false
            }
        }
    )*};
}
always_ready!(Stdin, Stdout, Stderr);

macro_rules! stdout_stream {
    ($($stream:ty),*) => {$(
        impl StdoutStream for $stream {
            /// Asked for by later versions of WASI only.
            fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
                Box::new(tokio::io::sink())
            }

            fn p2_stream(&self) -> Box<dyn OutputStream> {
                Box::new(self.clone())
            }
        }
    )*};
}
stdout_stream!(Stdout, Stderr);

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
