//! Frames, each a length (32 bits, little-endian) and as many bytes of postcard; and what the maps returned, as combine
//! and reduce see it: an iterator over frames that holds one at a time.

use std::fmt;
use std::io::{self, Read, Write};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// What the maps returned, one item a chunk, in the order of the chunks; or what combine has made of some of them that
/// followed one another.
///
/// They are read as they are asked for, so a fold needs memory for one at a time and for what
/// it keeps. An output that cannot be read ends the program with status 2.
pub struct Parts<T> {
    frames: Frames<Box<dyn Read>>,
    types: PhantomData<fn() -> T>,
}

impl<T> Parts<T> {
    /// Those that are framed in a stream.
    pub(crate) fn new(input: Box<dyn Read>) -> Self {
        Self { frames: Frames::new(input), types: PhantomData }
    }
}

impl<T: DeserializeOwned> Iterator for Parts<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.frames.next().unwrap_or_else(|failure| failure.exit())
    }
}

impl<T> fmt::Debug for Parts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("next", &self.frames.next).finish_non_exhaustive()
    }
}

/// Writes one frame.
pub(crate) fn write_frame(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    let len = u32::try_from(bytes.len()).map_err(|_| Failure::Long { bytes: bytes.len() })?;
    out.write_all(&len.to_le_bytes())?;
    Ok(out.write_all(bytes)?)
}

/// A value as it goes into a frame.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    postcard::to_allocvec(value).map_err(|why| Failure::Encode(why.to_string()))
}

/// The same, without a frame around it, to where it is wanted.
pub(crate) fn encode_to(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    postcard::to_io(value, out).map(drop).map_err(|why| Failure::Encode(why.to_string()))
}

/// A value as it came in a frame, or why it is none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(why) => Err(why.to_string()),
    }
}

/// Reads frames, numbered from 0, into a buffer that is used again.
pub(crate) struct Frames<R> {
    input: R,
    frame: Vec<u8>,
    next: u64,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, frame: Vec::new(), next: 0 }
    }

    /// The next frame's value, or `None` where the stream ends between two frames.
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let number = self.next;
        let Some(frame) = self.next_bytes()? else { return Ok(None) };
        decode(frame).map(Some).map_err(|why| Failure::frame::<T>(number, why))
    }

    /// The next frame.
    pub(crate) fn next_bytes(&mut self) -> Result<Option<&[u8]>, Failure> {
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
        Ok(Some(&self.frame))
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
                let mut frame = Vec::new();
                write_frame(&mut frame, &encode(value).expect("plain values")).expect("short");
                frame
            })
            .collect();
        assert_eq!(read(&stream).expect("whole frames"), values);
        let parts = Parts::<(u64, String)>::new(Box::new(io::Cursor::new(stream.clone())));
        assert_eq!(parts.collect::<Vec<_>>(), values);

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
