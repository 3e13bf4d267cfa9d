//! Frames between a node and its sandbox processes: a length of four bytes (little endian), and so many bytes of
//! postcard. The longest is bounded; a buffer grows as the bytes come, not before.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame: the longest input or output, and what stands around it.
pub(super) const FRAME_BYTES: usize = essaim_jobs::bounds::BLOB_BYTES as usize + (1 << 20);
/// How much is read at once.
const PIECE: usize = 64 << 10;

/// Writes one frame.
pub(super) fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

/// One frame.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > FRAME_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("a frame of {length} bytes")));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Reads frames; what has come of one is kept when the reader runs out of time.
pub(super) struct Reader<R> {
    from: R,
    buffer: Vec<u8>,
    /// How much of the buffer was made use of.
    used: usize,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Reader<R> {
        Reader { from, buffer: Vec::new(), used: 0 }
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.from
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// The next frame.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end, `WouldBlock` or `TimedOut` when the time that the reader was given is over,
    /// `InvalidData` for what is no frame.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        loop {
            if let Some(message) = self.parse()? {
                return Ok(message);
            }
            let had = self.buffer.len();
            self.buffer.resize(had + PIECE, 0);
            let read = self.from.read(&mut self.buffer[had..]);
            self.buffer.truncate(had + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn parse<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let rest = &self.buffer[self.used..];
        let Some((length, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let Some(body) = body.get(..length) else {
            // What was used makes room for what comes.
            self.buffer.drain(..self.used);
            self.used = 0;
            return Ok(None);
        };
        let message = postcard::from_bytes(body).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
        self.used += 4 + length;
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(PIECE);
            self.used = 0;
        }
        Ok(Some(message))
    }
}

/// Whether a reader ran out of time.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out its bytes a few at a time, and runs out of time in between.
    struct Slow(Vec<u8>, bool);

    impl Read for Slow {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = self.0.len().min(3).min(to.len());
            to[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            Ok(n)
        }
    }

    #[test]
    fn frames_come_through_a_reader_that_runs_out_of_time() {
        let mut bytes = Vec::new();
        write(&mut bytes, &vec![7u32; 100]).unwrap();
        write(&mut bytes, &Vec::<u32>::new()).unwrap();
        let mut reader = Reader::new(Slow(bytes, false));
        let mut timeouts = 0;
        let mut next = || loop {
            match reader.next::<Vec<u32>>() {
                Err(error) if is_timeout(&error) => timeouts += 1,
                other => return other,
            }
        };
        assert_eq!(next().unwrap(), vec![7; 100]);
        assert!(next().unwrap().is_empty());
        assert_eq!(next().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(timeouts > 10);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let bytes = u32::MAX.to_le_bytes();
        let error = Reader::new(&bytes[..]).next::<u32>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
