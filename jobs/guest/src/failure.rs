//! Why a program ends before its time, and how it says so.

use std::fmt::{self, Display};
use std::io;
use std::process;

use crate::job::chunk;

/// The exit status of a program whose author's function returned an error.
const GIVEN_UP: i32 = 1;
/// The exit status of a program whose input or output is at fault.
const MISFIT: i32 = 2;
/// How much of a chunk is shown where it does not fit, in bytes.
const SHOWN: usize = 60;

/// Why a program ends with another status than 0.
#[derive(Debug)]
pub enum Failure {
    /// A function of the author's returned an error: its words.
    Said(String),
    /// What is read is not what the function takes.
    Chunk {
        expected: &'static str,
        found: String,
        why: String,
    },
    /// A chunk is none that the program's split has made.
    Piece {
        expected: &'static str,
        why: String,
    },
    Line {
        number: u64,
        why: std::str::Utf8Error,
    },
    CutOff {
        frame: u64,
        why: io::Error,
    },
    Frame {
        frame: u64,
        expected: &'static str,
        why: String,
    },
    Long {
        bytes: usize,
    },
    Encode(String),
    Role(String),
    NoRole(&'static str),
    Io(io::Error),
}

impl Failure {
    /// An error of the author's function.
    pub(crate) fn said(error: impl Display) -> Self {
        Self::Said(error.to_string())
    }

    /// What [`Failure::Chunk`] shows of it.
    pub(crate) fn shown(bytes: &[u8]) -> String {
        let more = if bytes.len() > SHOWN { "…" } else { "" };
        format!("{}{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
    }

    /// Frame number `frame` holds no `T`.
    pub(crate) fn frame<T>(frame: u64, why: impl Display) -> Self {
        Self::Frame { frame, expected: std::any::type_name::<T>(), why: why.to_string() }
    }

    /// Says what is wrong and ends the program.
    pub(crate) fn exit(&self) -> ! {
        match self {
            Self::Said(error) => {
                eprintln!("error: {error}");
                process::exit(GIVEN_UP)
            }
            _ => {
                eprintln!("essaim-guest: {self}\nhint: {}", self.hint());
                process::exit(MISFIT)
            }
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Said(_) => "this is the program's own error",
            Self::Chunk { .. } => {
                "what the function takes decides what it may be: lines of text are a String or Bytes, \
                 0..1000 is a Range<u64>, ::: 1 2 3 are numbers"
            }
            Self::Piece { .. } => "this program cuts its input itself: its chunks are what its split gives",
            Self::Line { .. } => "take the chunk as Bytes, with map, and split it yourself",
            Self::CutOff { .. } | Self::Frame { .. } => "were the chunks mapped by another version of this program?",
            Self::Long { .. } => "give less for each chunk",
            Self::Encode(_) => {
                "between split, map, combine and reduce go plain types: no serde_json::Value, no untagged \
                 or flattened ones"
            }
            Self::Role(_) => "it is split, map, combine or reduce; unset it to run the program by hand",
            Self::NoRole(_) => "name it in essaim_guest::main!(split: …, map: …, combine: …, reduce: …)",
            Self::Io(_) => "run it again; if it says so again, this is a fault of the node's",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(error) => f.write_str(error),
            Self::Chunk { expected, found, why } => {
                write!(f, "chunk {} is no {expected}: {why}; it is \"{found}\"", chunk())
            }
            Self::Piece { expected, why } => {
                write!(f, "chunk {} is no {expected} that was split off: {why}", chunk())
            }
            Self::Line { number, why } => {
                write!(f, "line {number} of chunk {} is not UTF-8: {why}", chunk())
            }
            Self::CutOff { frame, why } => {
                write!(f, "output {frame}, which was to be folded, breaks off: {why}")
            }
            Self::Frame { frame, expected, why } => {
                write!(f, "output {frame}, which was to be folded, is no {expected}: {why}")
            }
            Self::Long { bytes } => write!(f, "{bytes} bytes are more than one frame holds (4 GiB)"),
            Self::Encode(why) => write!(f, "what chunk {} gives cannot be encoded: {why}", chunk()),
            Self::Role(role) => write!(f, "ESSAIM_ROLE is `{role}`"),
            Self::NoRole(role) => write!(f, "there is no {role} in this program"),
            Self::Io(error) => write!(f, "reading or writing failed: {error}"),
        }
    }
}
