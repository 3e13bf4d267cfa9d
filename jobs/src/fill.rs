//! `{}` in a program's arguments: the places into which each chunk puts its own values.
//!
//! The arguments are the same for all chunks of a job; a job whose manifest says how many values a chunk's input has
//! ([`crate::Manifest::values`]) has them filled in where the chunk is run. `{}` is the whole input (several values
//! parted by spaces), `{1}`, `{2}` … one of them. Its standard input is what it is without.

use crate::bounds;

/// Why arguments cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// There is no such value.
    #[error("there is a `{{{place}}}` among the arguments, but there are {values} values")]
    NoValue {
        /// Which value is meant, from 1.
        place: usize,
        /// How many there are.
        values: usize,
    },
    /// An argument can only be text.
    #[error("the value `{value}` is not text (UTF-8), so it cannot be an argument")]
    NotText {
        /// The value, its odd bytes escaped.
        value: String,
    },
    /// An argument would be too long.
    #[error("an argument with its values in it would be longer than {most} bytes", most = bounds::ARG_BYTES)]
    TooLong,
}

/// Whether an argument has a place for values.
#[must_use]
pub fn has_places(argument: &str) -> bool {
    next_place(argument).is_some()
}

/// Puts the values of a chunk into the places of all arguments. `input` is the chunk's, with `values` values in it that
/// TABs part, at most [`bounds::INLINE_INPUT`] bytes; one value is the whole input.
///
/// # Errors
/// [`FillError`].
pub fn fill(arguments: &[String], values: u8, input: &[u8]) -> Result<Vec<String>, FillError> {
    if input.len() > bounds::INLINE_INPUT {
        return Err(FillError::TooLong);
    }
    let whole =
        std::str::from_utf8(input).map_err(|_| FillError::NotText { value: input.escape_ascii().to_string() })?;
    let values: Vec<&str> = if values > 1 { whole.split('\t').collect() } else { vec![whole] };
    arguments.iter().map(|argument| fill_one(argument, &values)).collect()
}

fn fill_one(argument: &str, values: &[&str]) -> Result<String, FillError> {
    let mut filled = String::new();
    let mut rest = argument;
    while let Some((before, place, after)) = next_place(rest) {
        filled.push_str(before);
        match place {
            0 => filled.push_str(&values.join(" ")),
            _ => filled.push_str(values.get(place - 1).ok_or(FillError::NoValue { place, values: values.len() })?),
        }
        if filled.len() > bounds::ARG_BYTES {
            return Err(FillError::TooLong);
        }
        rest = after;
    }
    filled.push_str(rest);
    if filled.len() > bounds::ARG_BYTES { Err(FillError::TooLong) } else { Ok(filled) }
}

/// What stands before the first place, which value is meant (0 for `{}`, all of them), and what stands after.
fn next_place(text: &str) -> Option<(&str, usize, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let (inside, after) = text[at + 1..].split_once('}')?;
        let place = match inside {
            "" => 0,
            _ if inside.bytes().all(|digit| digit.is_ascii_digit()) => {
                inside.parse().ok().filter(|place| *place > 0)?
            }
            _ => return None,
        };
        Some((&text[..at], place, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(argument: &str, values: u8, input: &str) -> Result<String, FillError> {
        fill(&[argument.to_owned()], values, input.as_bytes()).map(|mut all| all.remove(0))
    }

    #[test]
    fn values_come_to_their_places() {
        let cases = [
            ("--seed={}", 1, "7", "--seed=7"),
            ("{}{}", 1, "a\tb", "a\tba\tb"),
            ("{2}-{1}", 2, "a\tb", "b-a"),
            ("{}", 2, "a\tb", "a b"),
            ("{\"a\": {1}}", 2, "x\ty", "{\"a\": x}"),
            ("{0} {x} { } {1", 1, "x", "{0} {x} { } {1"),
            ("é{}é", 1, "ü", "éüé"),
        ];
        for (argument, values, input, out) in cases {
            assert_eq!(filled(argument, values, input).as_deref(), Ok(out), "{argument}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(filled("{3}", 2, "a\tb"), Err(FillError::NoValue { place: 3, values: 2 }));
        assert!(matches!(fill(&["{}".into()], 1, b"\xff"), Err(FillError::NotText { .. })));
        let many = "{}".repeat(100);
        assert_eq!(filled(&many, 1, &"x".repeat(bounds::ARG_BYTES / 100 + 1)), Err(FillError::TooLong));
        assert!(has_places("a{12}") && !has_places("a{}".trim_end_matches('}')));
    }
}
