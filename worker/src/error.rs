//! What can go wrong, by name: an engine that cannot be made, a program that is refused, a chunk that fails.
//! All of it travels (serde) and all of it is bounded: [`TEXT_BYTES`] a message, [`STDERR_BYTES`] of stderr.

use serde::{Deserialize, Serialize};

/// The longest message kept from an engine, a parser or a trap, bytes.
pub const TEXT_BYTES: usize = 1024;
/// How much of the end of a program's stderr is kept, bytes.
pub const STDERR_BYTES: usize = 4096;

/// No engine could be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EngineError {
    /// The WebAssembly engine refused its configuration, both with pooled and with plain memory.
    #[error("cannot start the WebAssembly engine: {message}")]
    Config {
        /// What it said.
        message: String,
    },
    /// Compiled programs cannot be kept.
    #[error("cannot keep compiled programs in {message}")]
    Cache {
        /// Where, and what is in the way.
        message: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start a worker thread: {message}")]
    Thread {
        /// What it said.
        message: String,
    },
}

impl EngineError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            EngineError::Config { .. } => {
                "an engine reserves much address space (not memory): look for a low `ulimit -v` or vm.max_map_count"
            }
            EngineError::Cache { .. } => "make room there, or name another folder with --home",
            EngineError::Thread { .. } => "too many threads here: look for a low `ulimit -u`, or use fewer --cpus",
        }
    }
}

/// A program that cannot be run, whatever its input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProgramError {
    /// Neither a WebAssembly binary nor its text.
    #[error("not a WebAssembly program: {bytes} bytes that start with {start:?}")]
    NotWasm {
        /// The file's length.
        bytes: u64,
        /// Its first bytes, printably.
        start: String,
    },
    /// WebAssembly text that does not parse.
    #[error("the WebAssembly text does not parse: {message}")]
    Wat {
        /// What the parser said, with line and column.
        message: String,
    },
    /// A program that is too long to be taken.
    #[error("the program is {bytes} bytes, more than the {most} that are allowed")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest allowed.
        most: u64,
    },
    /// A component (WASI 0.2 or later), which is not run yet.
    #[error("the program is a WebAssembly component, which essaim does not run yet")]
    Component,
    /// Something is imported that is not offered.
    #[error("the program imports the {kind} `{module}::{name}`, which essaim does not offer")]
    MissingImport {
        /// The import's module.
        module: String,
        /// The import's name in it.
        name: String,
        /// function, memory, global, table or tag.
        kind: String,
    },
    /// Not a command: a library, or an entry point of another type.
    #[error("the program has no `_start` function without parameters and results")]
    NoStart,
    /// It does not validate or compile, or imports something of another type than what is offered.
    #[error("the program does not compile: {message}")]
    Compile {
        /// What the compiler said.
        message: String,
    },
    /// This machine cannot compile it, whatever it is: a full disk, no process to be had.
    #[error("{message}")]
    Host {
        /// What was in the way.
        message: String,
    },
    /// This worker holds too many programs already.
    #[error("{most} programs are loaded already")]
    TooMany {
        /// The most that are held at a time.
        most: u64,
    },
}

impl ProgramError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ProgramError::NotWasm { .. } => {
                "give a .wasm or .wat file; for Rust: `cargo build --release --target wasm32-wasip1`"
            }
            ProgramError::Wat { .. } => "check it with `wat2wasm` or `wasm-tools parse`",
            ProgramError::TooLarge { .. } => "strip it: `wasm-tools strip` or `wasm-opt -Oz`",
            ProgramError::Component => "compile for wasm32-wasip1 instead of wasm32-wasip2",
            ProgramError::MissingImport { module, .. } if module == "wasi_unstable" => {
                "that is WASI before its preview 1: compile with a newer toolchain for wasm32-wasip1"
            }
            ProgramError::MissingImport { .. } => {
                "only the functions of `wasi_snapshot_preview1` are offered (no threads, no sockets, nothing of a \
                 browser): compile for wasm32-wasip1"
            }
            ProgramError::NoStart => "build a program with a `main`, not a library (in Rust a `bin`, not a `cdylib`)",
            ProgramError::Compile { .. } => {
                "threads, 64-bit memory, several memories, exceptions and garbage collection are not offered"
            }
            ProgramError::Host { .. } => "look at this machine's disk, memory and limits (`ulimit -a`)",
            ProgramError::TooMany { .. } => "wait until other jobs are done",
        }
    }
}

/// How a chunk failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The program did what WebAssembly forbids, or gave up (a panic ends in `unreachable`).
    #[error("the program trapped: {message}")]
    Trap {
        /// The trap and the innermost functions.
        message: String,
        /// The end of its stderr.
        stderr: String,
    },
    /// It ended with a status other than 0.
    #[error("the program ended with exit status {code}")]
    Exit {
        /// The status.
        code: i32,
        /// The end of its stderr.
        stderr: String,
    },
    /// It ran longer than the job allows.
    #[error("the chunk ran longer than its limit of {millis} ms")]
    TimedOut {
        /// The limit, milliseconds.
        millis: u64,
        /// The end of its stderr.
        stderr: String,
    },
    /// It computed more than the job allows.
    #[error("the chunk needed more than its limit of {fuel} units of fuel")]
    OutOfFuel {
        /// The limit.
        fuel: u64,
        /// The end of its stderr.
        stderr: String,
    },
    /// It was refused memory beyond the job's limit, and failed.
    #[error("the program needed more than its limit of {bytes} bytes of memory")]
    OutOfMemory {
        /// The limit, bytes.
        bytes: u64,
        /// The end of its stderr.
        stderr: String,
    },
    /// This machine would not give memory that the job allows.
    #[error("this machine has not the memory that the chunk needs (it gives a chunk at most {bytes} bytes)")]
    HostMemory {
        /// The most that this machine gives one chunk, bytes.
        bytes: u64,
    },
    /// It printed more than the job allows.
    #[error("the program printed more than its limit of {bytes} bytes")]
    OutputTooLarge {
        /// The limit, bytes.
        bytes: u64,
        /// The end of its stderr.
        stderr: String,
    },
    /// It recursed too deeply.
    #[error("the program recursed too deeply (stack overflow)")]
    StackOverflow {
        /// The end of its stderr.
        stderr: String,
    },
    /// It was told to stop.
    #[error("the chunk was stopped")]
    Stopped,
    /// Nobody takes what it writes: the sink of a streaming run failed.
    #[error("the output could not be written: {message}")]
    Sink {
        /// What the sink said.
        message: String,
    },
    /// A chunk of a job or of a program that was not given first.
    #[error("the worker does not have the program of this chunk")]
    NotLoaded,
    /// The worker's queue is full.
    #[error("the worker has {most} chunks in its queue already")]
    QueueFull {
        /// The most that it holds.
        most: u64,
    },
    /// The chunk's values do not fit into the places in the job's arguments.
    #[error("the arguments cannot be filled in: {message}")]
    Arguments {
        /// What is wrong with them.
        message: String,
    },
    /// A fault of this worker, or of this machine.
    #[error("the worker failed: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl Failure {
    /// Whether the same chunk would fail in the same way on every machine. If not, it is worth another try.
    #[must_use]
    pub fn is_deterministic(&self) -> bool {
        match self {
            Failure::Trap { .. }
            | Failure::Exit { .. }
            | Failure::OutOfFuel { .. }
            | Failure::OutOfMemory { .. }
            | Failure::OutputTooLarge { .. }
            | Failure::StackOverflow { .. }
            | Failure::Arguments { .. } => true,
            Failure::TimedOut { .. }
            | Failure::HostMemory { .. }
            | Failure::Stopped
            | Failure::Sink { .. }
            | Failure::NotLoaded
            | Failure::QueueFull { .. }
            | Failure::Internal { .. } => false,
        }
    }

    /// The end of what the program wrote to stderr, at most [`STDERR_BYTES`] before lossy decoding.
    #[must_use]
    pub fn stderr(&self) -> &str {
        match self {
            Failure::Trap { stderr, .. }
            | Failure::Exit { stderr, .. }
            | Failure::TimedOut { stderr, .. }
            | Failure::OutOfFuel { stderr, .. }
            | Failure::OutOfMemory { stderr, .. }
            | Failure::OutputTooLarge { stderr, .. }
            | Failure::StackOverflow { stderr } => stderr,
            _ => "",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Failure::Trap { .. } | Failure::Exit { .. } if self.stderr().is_empty() => {
                "it wrote nothing to stderr: run it alone on this chunk's input to see why"
            }
            Failure::Trap { .. } | Failure::Exit { .. } => "see what it wrote to stderr",
            Failure::TimedOut { .. } => "cut smaller chunks (--block) or allow more time (--timeout)",
            Failure::OutOfFuel { .. } => "cut smaller chunks (--block) or allow more fuel (--fuel)",
            Failure::OutOfMemory { .. } => "cut smaller chunks (--block) or allow more memory (--memory)",
            Failure::HostMemory { .. } => "let a machine with more memory run it",
            Failure::OutputTooLarge { .. } => "cut smaller chunks (--block) or allow more output (--output)",
            Failure::StackOverflow { .. } => "recurse less: use a loop, or a stack of your own on the heap",
            Failure::Stopped => "nothing is wrong: another peer was first, or the job was cancelled",
            Failure::Sink { .. } => "see why what reads the output went away",
            Failure::NotLoaded => "load the program first, and see whether it was refused",
            Failure::QueueFull { .. } => "submit more slowly",
            Failure::Arguments { .. } => "see the `{}` in the arguments, and the values after `:::`",
            Failure::Internal { .. } => "another machine may run it; if it happens again, please report it",
        }
    }
}

/// Cuts a message to [`TEXT_BYTES`], at a character's edge.
pub(crate) fn bounded(text: impl ToString) -> String {
    let mut text = text.to_string();
    if text.len() > TEXT_BYTES {
        let end = (0..=TEXT_BYTES - 3).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_at_a_character() {
        assert_eq!(bounded("short"), "short");
        let long = bounded("é".repeat(TEXT_BYTES));
        assert!(long.len() <= TEXT_BYTES && long.ends_with("é…"), "{} bytes", long.len());
    }
}
