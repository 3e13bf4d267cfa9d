//! When chunks that have failed for good end their job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What becomes of a job of which chunks have failed for good, in the words of GNU parallel's `--halt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Halt {
    /// `now,fail=N`: it ends with the N-th.
    Now(u32),
    /// `soon,fail=N`: it ends with the N-th, and all that has come out by then counts.
    Soon(u32),
    /// `never`: it goes on with all others.
    Never,
}

impl Default for Halt {
    fn default() -> Halt {
        Halt::Now(1)
    }
}

impl Halt {
    /// How many chunks may fail for good while the job goes on.
    #[must_use]
    pub fn bears(self) -> u32 {
        match self {
            Halt::Now(fail) | Halt::Soon(fail) => fail.saturating_sub(1),
            Halt::Never => u32::MAX,
        }
    }
}

/// The text is none of the words for a [`Halt`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say when to halt")]
pub struct HaltError(String);

impl HaltError {
    /// What a person can write.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "write `now,fail=N`, `soon,fail=N` (with N from 1 on), or `never`"
    }
}

impl FromStr for Halt {
    type Err = HaltError;

    fn from_str(text: &str) -> Result<Halt, HaltError> {
        let fail = |text: &str| text.strip_prefix("fail=")?.parse().ok().filter(|fail| *fail > 0);
        let halt = match text.split_once(',') {
            None if text == "never" => Some(Halt::Never),
            Some(("now", rest)) => fail(rest).map(Halt::Now),
            Some(("soon", rest)) => fail(rest).map(Halt::Soon),
            _ => None,
        };
        halt.ok_or_else(|| HaltError(text.to_owned()))
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Now(fail) => write!(f, "now,fail={fail}"),
            Halt::Soon(fail) => write!(f, "soon,fail={fail}"),
            Halt::Never => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_gnu_parallel_that_make_sense_here_are_understood() {
        for (text, bears) in [("now,fail=1", 0), ("soon,fail=3", 2), ("never", u32::MAX)] {
            let halt: Halt = text.parse().unwrap();
            assert_eq!((halt.to_string().as_str(), halt.bears()), (text, bears));
        }
        for text in ["", "now", "now,fail=0", "now,fail=10%", "soon,success=1", "never,fail=1", "later,fail=1", "2"] {
            assert!(text.parse::<Halt>().is_err(), "{text:?}");
        }
    }
}
