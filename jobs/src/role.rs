//! What a program can be run as, and how it says so.

use serde::{Deserialize, Serialize};

/// The custom section of a module in which a program says what it can be run as beside [`Role::Map`]: the words of its
/// roles, parted by spaces or commas.
pub const SECTION: &str = "essaim";

/// What a run of a program is for; the program reads it as `ESSAIM_ROLE`.
///
/// Several outputs or inputs in one stream are *frames*: each a length (32 bits, little-endian) and as many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// One chunk's input to its output.
    Map,
    /// All outputs, in frames and in order, to what is printed. Once, at the author's node.
    Reduce,
    /// The whole input to frames, each the input of one chunk. Once, at the author's node.
    Split,
    /// Frames of some outputs that follow one another to one that stands for them all, of the same form: so it must be
    /// associative. Anywhere, and several times one after the other.
    Combine,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Map => "map",
            Role::Reduce => "reduce",
            Role::Split => "split",
            Role::Combine => "combine",
        }
    }
}

/// The roles of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// It folds all outputs.
    pub reduce: bool,
    /// It cuts the input itself.
    pub split: bool,
    /// It makes one output of several.
    pub combine: bool,
}

impl Roles {
    /// What the payload of a module's section [`SECTION`] says. Words that are not known are passed over.
    #[must_use]
    pub fn declared(payload: &[u8]) -> Roles {
        let has = |role: Role| {
            let mut words = payload.split(|byte| !byte.is_ascii_alphanumeric());
            words.any(|word| word == role.as_str().as_bytes())
        };
        Roles { reduce: has(Role::Reduce), split: has(Role::Split), combine: has(Role::Combine) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_whole_words() {
        let all = Roles { reduce: true, split: true, combine: true };
        assert_eq!(Roles::declared(b"split map combine reduce"), all);
        assert_eq!(Roles::declared(b"reduce"), Roles { reduce: true, ..Roles::default() });
        assert_eq!(Roles::declared(b"map,combine\n"), Roles { combine: true, ..Roles::default() });
        assert_eq!(Roles::declared(b"reduces splitter \xff"), Roles::default());
    }
}
