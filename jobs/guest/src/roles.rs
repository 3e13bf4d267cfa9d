//! What a program does when it is run: reads its role, then its chunk or the chunks' outputs.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input;
use crate::output::{Printed, print, print_result, stdout};
use crate::parts::Parts;

/// The exit status of a program whose input or output is at fault.
const STATUS: i32 = 2;
/// How much of a chunk is shown where it does not fit, in bytes.
const SHOWN: usize = 60;
/// Bytes fetched into the sandbox at once.
const BUFFER: usize = 64 << 10;

/// The number of the chunk that is being mapped: 0 for the first, and 0 where there is no swarm.
#[must_use]
pub fn chunk() -> u32 {
    env::var("ESSAIM_CHUNK").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Runs `f` on the chunk and prints what it returns.
///
/// The crate's first page has the rules for both. A chunk that does not fit `I` ends the program
/// with status 2.
pub fn map<I: DeserializeOwned, O: Serialize>(f: impl FnOnce(I) -> O) {
    finish(|| {
        if let Role::Reduce = role()? {
            return Err(Failure::NoReduce);
        }
        Ok(print_result(&f(read_chunk()?), stdout())?)
    });
}

/// Runs `f` on every line of the chunk, without its `\n` or `\r\n`, and prints what it returns, a
/// line each.
///
/// Rules as for [`map`], but that text gets a newline too; so `None` and `()` print no line at
/// all. A line that is not UTF-8 ends the program with status 2. It holds one line at a time.
///
/// ```no_run
/// // grep
/// essaim_guest::map_lines(|line| line.contains("essaim").then(|| line.to_owned()));
/// ```
pub fn map_lines<O: Serialize>(f: impl FnMut(&str) -> O) {
    finish(|| {
        if let Role::Reduce = role()? {
            return Err(Failure::NoReduce);
        }
        each_line(io::stdin().lock(), stdout(), f)
    });
}

/// Runs `map` on the chunk, or `reduce` on what the maps returned, as the node asks.
///
/// Use [`main!`](crate::main!), which also tells the node that there is a reduce. What the map
/// returns must survive postcard: no `serde_json::Value`, no untagged enum.
pub fn map_reduce<I, O, R>(map: impl FnOnce(I) -> O, reduce: impl FnOnce(Parts<O>) -> R)
where
    I: DeserializeOwned,
    O: Serialize + DeserializeOwned,
    R: Serialize,
{
    finish(|| match role()? {
        Role::Map => {
            let mut out = postcard::to_io(&map(read_chunk()?), stdout()).map_err(Failure::Encode)?;
            Ok(out.flush()?)
        }
        Role::Reduce => {
            let parts = Parts::framed(BufReader::with_capacity(BUFFER, io::stdin()));
            Ok(print_result(&reduce(parts), stdout())?)
        }
        Role::Both => {
            let output = map(read_chunk()?);
            Ok(print_result(&reduce(Parts::one(output)), stdout())?)
        }
    });
}

/// What the node asks of the program.
enum Role {
    Map,
    Reduce,
    /// No node is there: the program is run by hand.
    Both,
}

fn role() -> Result<Role, Failure> {
    match env::var("ESSAIM_ROLE").as_deref() {
        Err(_) => Ok(Role::Both),
        Ok("map") => Ok(Role::Map),
        Ok("reduce") => Ok(Role::Reduce),
        Ok(other) => Err(Failure::Role(other.to_owned())),
    }
}

fn read_chunk<I: DeserializeOwned>() -> Result<I, Failure> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    decode(bytes)
}

fn decode<I: DeserializeOwned>(bytes: Vec<u8>) -> Result<I, Failure> {
    // The bytes go into the value without a copy, so what may have to be shown is taken first.
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    input::decode(bytes).map_err(|why| Failure::Chunk {
        expected: std::any::type_name::<I>(),
        found: format!("{shown}{more}"),
        why,
    })
}

fn each_line<O: Serialize>(
    mut input: impl BufRead,
    mut out: impl Write,
    mut f: impl FnMut(&str) -> O,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").filter(|_| bytes.ends_with(b"\n")).unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|why| Failure::Line { number, why })?;
        if print(&f(line), &mut out)? != Printed::Nothing {
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

/// Runs the program, and ends it with a message where it fails.
fn finish(run: impl FnOnce() -> Result<(), Failure>) {
    if let Err(failure) = run() {
        failure.exit();
    }
}

/// Why a program ends with status 2.
#[derive(Debug)]
pub(crate) enum Failure {
    Chunk { expected: &'static str, found: String, why: serde_json::Error },
    Line { number: u64, why: std::str::Utf8Error },
    CutOff { frame: u64, why: io::Error },
    Frame { frame: u64, expected: &'static str, why: String },
    Encode(postcard::Error),
    Role(String),
    NoReduce,
    Io(io::Error),
}

impl Failure {
    /// Frame number `frame` holds no `T`.
    pub(crate) fn frame<T>(frame: u64, why: impl fmt::Display) -> Self {
        Self::Frame { frame, expected: std::any::type_name::<T>(), why: why.to_string() }
    }

    /// Says what is wrong and ends the program.
    pub(crate) fn exit(self) -> ! {
        eprintln!("essaim-guest: {self}\nhint: {}", self.hint());
        process::exit(STATUS)
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Chunk { .. } => {
                "what the map takes decides what a chunk may be: lines of text are a String or Bytes, \
                 0..1000 is a Range<u64>, ::: 1 2 3 are numbers"
            }
            Self::Line { .. } => "take the chunk as Bytes, with map, and split it yourself",
            Self::CutOff { .. } | Self::Frame { .. } => "were the chunks mapped by another version of this program?",
            Self::Encode(_) => {
                "between map and reduce go plain types: no serde_json::Value, no untagged or \
                 flattened ones"
            }
            Self::Role(_) => "it is map or reduce; unset it to run the program by hand",
            Self::NoReduce => "write essaim_guest::main!(map: …, reduce: …)",
            Self::Io(_) => "run it again; if it says so again, this is a fault of the node's",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk { expected, found, why } => {
                write!(f, "chunk {} is no {expected}: {why}; it is \"{found}\"", chunk())
            }
            Self::Line { number, why } => {
                write!(f, "line {number} of chunk {} is not UTF-8: {why}", chunk())
            }
            Self::CutOff { frame, why } => {
                write!(f, "output {frame}, which was to be reduced, breaks off: {why}")
            }
            Self::Frame { frame, expected, why } => {
                write!(f, "output {frame}, which was to be reduced, is no {expected}: {why}")
            }
            Self::Encode(why) => write!(f, "the output of chunk {} cannot be encoded: {why}", chunk()),
            Self::Role(role) => write!(f, "ESSAIM_ROLE is `{role}`"),
            Self::NoReduce => f.write_str("there is no reduce in this program"),
            Self::Io(error) => write!(f, "reading or writing failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn lines<O: Serialize>(input: &[u8], f: impl FnMut(&str) -> O) -> Result<String, Failure> {
        let mut out = Vec::new();
        each_line(input, &mut out, f)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_line_in_is_a_line_out() {
        let text = b"a\r\n\nb\r";
        assert_eq!(lines(text, str::to_owned).expect("UTF-8"), "a\n\nb\r\n");
        assert_eq!(lines(text, str::len).expect("UTF-8"), "1\n0\n2\n");
        let kept = lines(text, |line| (!line.is_empty()).then(|| line.to_uppercase()));
        assert_eq!(kept.expect("UTF-8"), "A\nB\r\n");
        assert_eq!(lines(text, |_| ()).expect("UTF-8"), "");
        let failure = lines(b"a\n\xff\n", str::len).expect_err("not UTF-8");
        assert!(matches!(failure, Failure::Line { number: 2, .. }), "{failure}");
    }

    #[test]
    fn a_chunk_that_does_not_fit_is_shown() {
        let failure = decode::<Range<u64>>(vec![b'x'; 100]).expect_err("no range");
        let message = failure.to_string();
        assert!(message.contains("chunk 0 is no core::ops::range::Range<u64>"), "{message}");
        assert!(message.ends_with(&format!("\"{}…\"", "x".repeat(60))), "{message}");
        assert!(failure.hint().contains("Range<u64>"));
    }
}
