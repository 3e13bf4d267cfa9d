//! Every bound on what a peer may send inside a job's wire forms, named in one place, and the serde
//! helpers that enforce them *while* decoding, so that nothing is allocated beyond them.
//!
//! Use: `#[serde(deserialize_with = "bounds::seq::<_, _, { bounds::ARGV }>")]`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Arguments of a program.
pub const ARGV: usize = 1_024;
/// Bytes of one argument, of an environment variable's name, or of its value.
pub const ARG_BYTES: usize = 8_192;
/// Environment variables of a program.
pub const ENV: usize = 128;
/// Read-only data blobs of a job.
pub const MOUNTS: usize = 16;
/// Bytes of a name for people: a program's, a mount's.
pub const NAME_BYTES: usize = 255;
/// Chunks described by one page of the chunk table.
pub const PAGE_CHUNKS: usize = 4_096;
/// Pages of a chunk table, which bounds a job to 1,048,576 chunks.
pub const PAGES: usize = 256;
/// Bytes of a chunk's input that may stand in the page itself; longer inputs are blobs.
pub const INLINE_INPUT: usize = 256;
/// Bytes of a chunk's output that may travel inside its results message; longer outputs are pulled.
pub const INLINE_OUTPUT: usize = 1_024;
/// Copies of a chunk that a job may ask for.
pub const COPIES: u8 = 8;
/// Seconds for which a job is kept while its author is away: thirty days.
pub const KEEP_SECONDS: u32 = 30 * 24 * 3_600;
/// Bytes of an encoded manifest.
pub const MANIFEST_BYTES: usize = 65_536;
/// Bytes of one blob: a program, a chunk's input, an output, a page.
pub const BLOB_BYTES: u64 = 256 << 20;
/// Intervals in one interval set on the wire.
pub const INTERVALS: usize = 16_384;
/// Results in one results message.
pub const LEAVES: usize = 4_096;
/// Bytes of an engine's tag.
pub const ENGINE_BYTES: usize = 96;
/// Bytes of a failure's description, the tail of stderr included.
pub const FAILURE_BYTES: usize = 6_144;

/// Decodes a sequence of at most `N` elements.
///
/// # Errors
/// A longer sequence is refused before its elements are read.
pub fn seq<'de, D, T, const N: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const N: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Bounded<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let announced = seq.size_hint().unwrap_or(0);
            if announced > N {
                return Err(A::Error::invalid_length(announced, &self));
            }
            // The announced length is only a claim: start small, and let real elements earn their room.
            let mut out = Vec::with_capacity(announced.min(64));
            while let Some(element) = seq.next_element()? {
                if out.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                out.push(element);
            }
            Ok(out)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, N>(PhantomData))
}

/// Decodes text of at most `N` bytes.
///
/// # Errors
/// Longer text is refused before it is copied.
pub fn text<'de, D, const N: usize>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    struct Bounded<const N: usize>;
    impl<const N: usize> Visitor<'_> for Bounded<N> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "text of at most {N} bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            if text.len() > N { Err(E::invalid_length(text.len(), &self)) } else { Ok(text.to_owned()) }
        }
    }
    deserializer.deserialize_str(Bounded::<N>)
}

/// Decodes a byte string of at most `N` bytes.
///
/// # Errors
/// A longer one is refused before it is copied.
pub fn blob<'de, D, const N: usize>(deserializer: D) -> Result<bytes::Bytes, D::Error>
where
    D: Deserializer<'de>,
{
    struct Bounded<const N: usize>;
    impl<const N: usize> Visitor<'_> for Bounded<N> {
        type Value = bytes::Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<bytes::Bytes, E> {
            if bytes.len() > N {
                Err(E::invalid_length(bytes.len(), &self))
            } else {
                Ok(bytes::Bytes::copy_from_slice(bytes))
            }
        }
    }
    deserializer.deserialize_bytes(Bounded::<N>)
}

/// Text of at most `N` bytes, for use as an element of a bounded sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Text<const N: usize>(String);

impl<const N: usize> Text<N> {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is longer than its place allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text of {len} bytes is longer than the {most} bytes allowed here")]
pub struct TooLong {
    /// Bytes of the text.
    pub len: usize,
    /// The most that is allowed.
    pub most: usize,
}

impl<const N: usize> TryFrom<String> for Text<N> {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        if text.len() > N { Err(TooLong { len: text.len(), most: N }) } else { Ok(Text(text)) }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::<D, N>(deserializer).map(Text)
    }
}
