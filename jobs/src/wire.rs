//! Canonical wire forms: postcard, nothing left over, nothing larger than its bound.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes from a peer were not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than this form may have.
    #[error("{len} bytes where at most {most} are allowed")]
    TooLarge {
        /// Bytes that came.
        len: usize,
        /// The bound.
        most: usize,
    },
    /// The bytes are not of this form, or a field breaks its bound.
    #[error("malformed: {0}")]
    Malformed(postcard::Error),
    /// Bytes are left over after the form has ended.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// The same value has a shorter or other encoding, so these bytes are not its canonical ones.
    #[error("not in canonical form")]
    NotCanonical,
}

/// Encodes `value` in its canonical form.
///
/// # Panics
/// Never for the wire forms of this workspace: they contain nothing that postcard cannot express.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("wire forms hold only what postcard can express")
}

/// Decodes a value of at most `most` bytes from all of `bytes`.
///
/// # Errors
/// [`WireError`], when the bytes are too many, malformed, or more than one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<T, WireError> {
    if bytes.len() > most {
        return Err(WireError::TooLarge { len: bytes.len(), most });
    }
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(WireError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(WireError::Trailing(rest.len())) }
}

/// As [`decode`], and refuses any encoding but the canonical one: for what is named by the hash of its bytes.
///
/// # Errors
/// As [`decode`], and [`WireError::NotCanonical`].
pub fn decode_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8], most: usize) -> Result<T, WireError> {
    let value = decode(bytes, most)?;
    if encode(&value) == bytes { Ok(value) } else { Err(WireError::NotCanonical) }
}
