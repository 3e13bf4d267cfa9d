//! What ends a record: a byte string, found wherever the pieces of the text part it.

use super::SplitError;

/// Looks for a byte string in a text that comes in pieces, from left to right, none overlapping another
/// (Knuth, Morris and Pratt 1977).
#[derive(Debug, Clone)]
pub(super) struct Ending {
    bytes: Box<[u8]>,
    /// How much of the string still matches where its first `i + 1` bytes did and the next one does not.
    back: Box<[usize]>,
    matched: usize,
}

impl Ending {
    /// `bytes` is not empty.
    pub(super) fn new(bytes: &[u8]) -> Ending {
        let mut back = vec![0; bytes.len()];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = back[matched - 1];
            }
            matched += usize::from(bytes[at] == bytes[matched]);
            back[at] = matched;
        }
        Ending { bytes: bytes.into(), back: back.into(), matched: 0 }
    }

    /// The same, at the beginning of a text.
    pub(super) fn anew(&self) -> Ending {
        Ending { matched: 0, ..self.clone() }
    }

    /// Whether it is one byte, so that it is found without having seen what is before it.
    pub(super) fn is_a_byte(&self) -> bool {
        self.bytes.len() == 1
    }

    /// How many bytes of `piece`, which follows what was looked through before, there are until the string has ended.
    pub(super) fn next(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < piece.len() {
            if self.matched == 0 {
                at += piece[at..].iter().position(|byte| *byte == self.bytes[0])?;
            }
            while self.matched > 0 && piece[at] != self.bytes[self.matched] {
                self.matched = self.back[self.matched - 1];
            }
            self.matched += usize::from(piece[at] == self.bytes[self.matched]);
            at += 1;
            if self.matched == self.bytes.len() {
                self.matched = 0;
                return Some(at);
            }
        }
        None
    }
}

/// The bytes that a person means who writes `\n`, `\r`, `\t`, `\0`, `\\` or `\x1e` for what cannot be typed.
///
/// # Errors
/// [`SplitError::BadDelimiter`] where a `\` is followed by something else, or there is nothing.
pub fn unescape(text: &str) -> Result<Vec<u8>, SplitError> {
    let bad = || SplitError::BadDelimiter { text: text.to_owned() };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    let (high, low) = digit().zip(digit()).ok_or_else(bad)?;
                    (high * 16 + low) as u8
                }
                _ => return Err(bad()),
            },
            other => other,
        });
    }
    if bytes.is_empty() { Err(bad()) } else { Ok(bytes) }
}
