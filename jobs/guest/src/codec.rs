//! The rules of the crate's first page for who stands outside of the sandbox: a host program, which makes the chunks and
//! reads what came out of them.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{input, output, parts};

/// A value as the bytes of a chunk that a map of this type reads back: text and bytes as they are, nothing for `()` and
/// `None`, JSON for the rest.
///
/// ```
/// use essaim_guest::codec::{decode, encode};
///
/// let chunk = encode(&(3, "bees"))?;
/// assert_eq!(decode::<(u64, String)>(chunk)?, (3, "bees".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The value has no form in JSON.
pub fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    output::print(value, &mut chunk)?;
    Ok(chunk)
}

/// A value as the bytes of a chunk where the program has a split: what that gives, its map reads.
///
/// # Errors
/// The value has no form in postcard.
pub fn encode_part(value: &impl Serialize) -> Result<Vec<u8>, String> {
    parts::encode(value).map_err(|why| why.to_string())
}

/// What a map or a reduce has printed.
///
/// # Errors
/// Says what the type would have taken, where that is something else.
pub fn decode<T: DeserializeOwned>(printed: Vec<u8>) -> Result<T, serde_json::Error> {
    input::decode(printed)
}

/// What a map has left for its program's reduce.
///
/// # Errors
/// Says why it is no value of this type.
pub fn decode_part<T: DeserializeOwned>(part: &[u8]) -> Result<T, String> {
    parts::decode(part)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde_bytes::ByteBuf as Bytes;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Mode {
        Fast,
        Exact(u8),
    }

    #[track_caller]
    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let chunk = encode(&value).expect("a plain value");
        let shown = chunk.escape_ascii().to_string();
        assert_eq!(decode::<T>(chunk).unwrap_or_else(|why| panic!("{shown}: {why}")), value);
    }

    #[test]
    fn a_map_reads_back_what_a_host_has_written() {
        for text in ["", "a\tb\n", " 1 ", "\"a\"", "{\"a\": 1}"] {
            comes_back(text.to_owned());
            comes_back(Bytes::from(text));
            comes_back((text.to_owned(), 1));
            comes_back(vec![text.to_owned()]);
            comes_back(BTreeMap::from([(text.to_owned(), Some(-1))]));
        }
        comes_back(());
        comes_back(Some(7));
        comes_back(None::<u64>);
        comes_back((u64::MAX, i64::MIN, u128::MAX, 0.1, true));
        comes_back(-0.1);
        comes_back(u128::MAX);
        comes_back(true);
        for char in ['é', '"', '\\', '\n', ' '] {
            comes_back(char);
        }
        comes_back(3u64..10);
        comes_back(Mode::Fast);
        comes_back(Mode::Exact(3));
        comes_back(Vec::<u8>::from(*b"abc"));
    }

    #[test]
    fn a_part_is_read_to_its_end() {
        let part = postcard::to_allocvec(&(1u64, "one")).expect("plain values");
        assert_eq!(encode_part(&(1u64, "one")), Ok(part.clone()));
        assert_eq!(decode_part::<(u64, String)>(&part), Ok((1, "one".to_owned())));
        assert_eq!(decode_part::<u64>(&part), Err("4 bytes too many".to_owned()));
        assert!(decode_part::<(u64, String)>(&part[..2]).is_err());
    }
}
