//! What the maps returned, as the reduce sees it: an iterator that holds one chunk's at a time.

use std::fmt;
use std::io::{self, Read};

use serde::de::DeserializeOwned;

use crate::roles::Failure;

/// What the maps returned, one item a chunk, in the order of the chunks.
///
/// They are read as they are asked for, so a reduce needs memory for one at a time and for what
/// it keeps. An output that cannot be read ends the program with status 2.
pub struct Parts<T>(Source<T>);

enum Source<T> {
    /// The program is run by hand: its one output never left it.
    One(Option<T>),
    /// Frames, each a length (32 bits, little-endian) and as many bytes of postcard.
    Frames(Frames<Box<dyn Read>>),
}

impl<T> Parts<T> {
    /// The one output of a program that is run by hand.
    pub(crate) fn one(output: T) -> Self {
        Self(Source::One(Some(output)))
    }

    /// Outputs framed in a stream.
    pub(crate) fn framed(input: impl Read + 'static) -> Self {
        Self(Source::Frames(Frames::new(Box::new(input))))
    }
}

impl<T: DeserializeOwned> Iterator for Parts<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::One(output) => output.take(),
            Source::Frames(frames) => frames.next().unwrap_or_else(|failure| failure.exit()),
        }
    }
}

impl<T> fmt::Debug for Parts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = match &self.0 {
            Source::One(_) => 0,
            Source::Frames(frames) => frames.next,
        };
        f.debug_struct("Parts").field("next", &next).finish_non_exhaustive()
    }
}

/// Reads frames, numbered from 0, into a buffer that is used again.
struct Frames<R> {
    input: R,
    frame: Vec<u8>,
    next: u64,
}

impl<R: Read> Frames<R> {
    fn new(input: R) -> Self {
        Self { input, frame: Vec::new(), next: 0 }
    }

    /// The next frame's value, or `None` where the stream ends between two frames.
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let number = self.next;
        let cut_off = |why: io::Error| Failure::CutOff { frame: number, why };
        let mut len = [0; 4];
        // A stream may end before a frame, not within one.
        match self.input.read(&mut len[..1]).map_err(cut_off)? {
            0 => return Ok(None),
            _ => self.input.read_exact(&mut len[1..]).map_err(cut_off)?,
        }
        let len = u32::from_le_bytes(len);
        self.frame.clear();
        // Room is made as bytes arrive, so that a length alone cannot ask for memory.
        let read = self.input.by_ref().take(len.into()).read_to_end(&mut self.frame).map_err(cut_off)?;
        if read as u64 != u64::from(len) {
            return Err(cut_off(io::ErrorKind::UnexpectedEof.into()));
        }
        self.next += 1;
        value(&self.frame).map(Some).map_err(|why| Failure::frame::<T>(number, why))
    }
}

/// The value that is all of `part`.
///
/// # Errors
/// Says why it is no such value.
pub(crate) fn value<T: DeserializeOwned>(part: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(part) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(why) => Err(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: u32, bytes: &[u8]) -> Vec<u8> {
        [&len.to_le_bytes(), bytes].concat()
    }

    fn read(stream: &[u8]) -> Result<Vec<(u64, String)>, Failure> {
        let mut frames = Frames::new(stream);
        std::iter::from_fn(|| frames.next().transpose()).collect()
    }

    #[test]
    fn frames_come_in_order_and_lazily() {
        let values = [(1u64, "one".to_owned()), (300, String::new())];
        let stream: Vec<u8> = values
            .iter()
            .flat_map(|value| {
                let bytes = postcard::to_allocvec(value).expect("plain values");
                frame(bytes.len().try_into().expect("short"), &bytes)
            })
            .collect();
        assert_eq!(read(&stream).expect("whole frames"), values);
        assert_eq!(Parts::framed(io::Cursor::new(stream.clone())).collect::<Vec<(u64, String)>>(), values);
        assert_eq!(Parts::one(7).collect::<Vec<_>>(), [7]);

        // Cut anywhere but between two frames, it breaks off in the right one.
        for end in 1..stream.len() {
            match read(&stream[..end]) {
                Ok(values) => assert_eq!((values.len(), end), (1, 9)),
                Err(Failure::CutOff { frame, .. }) => {
                    assert_eq!(frame, u64::from(end > 9), "{end}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_frame_of_something_else_is_named() {
        let good = frame(3, &[1, 1, b'x']);
        for bad in [frame(1, &[1]), frame(4, &[1, 1, b'x', 0]), frame(3, &[1, 1, 0xff])] {
            let failure = read(&[good.clone(), bad].concat()).expect_err("not a pair");
            assert!(matches!(failure, Failure::Frame { frame: 1, .. }), "{failure}");
            assert!(failure.to_string().contains("(u64, alloc::string::String)"), "{failure}");
        }
        let failure = read(&frame(u32::MAX, b"few")).expect_err("a length that lies");
        assert!(matches!(failure, Failure::CutOff { frame: 0, .. }), "{failure}");
    }
}
