//! What the pool is told and what it tells: plain data, addressed by numbers, fit to go to another process.

use bytes::Bytes;
use essaim_jobs::Role;
use serde::{Deserialize, Serialize};

use crate::engine::Mode;
use crate::error::{Failure, ProgramError};
use crate::input::Input;
use crate::sandbox::JobSpec;

/// A program's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProgramId {
    /// The hash of its bytes, which the pool takes as given.
    pub hash: [u8; 32],
    /// What is compiled in beside it. A job that limits fuel needs a program that is metered.
    pub mode: Mode,
}

impl ProgramId {
    /// With nothing compiled in.
    #[must_use]
    pub fn plain(hash: [u8; 32]) -> ProgramId {
        ProgramId { hash, mode: Mode::default() }
    }
}

/// What the pool is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Compile a program; answered by `Loaded` or `Refused`.
    Load {
        /// Its name.
        program: ProgramId,
        /// Its binary or text.
        bytes: Input,
    },
    /// Make a job known: what is the same for all its chunks. A later one under the same number replaces it.
    Job {
        /// A number of the caller's choice.
        job: u64,
        /// The program it runs; to be loaded before or after.
        program: ProgramId,
        /// The rest.
        spec: JobSpec,
    },
    /// Run chunks of a job; each is answered by exactly one `Finished` or `Failed`.
    Run {
        /// The job.
        job: u64,
        /// What they are run as.
        role: Role,
        /// Which they are.
        chunks: Vec<Chunk>,
    },
    /// Stop chunks, waiting or running: they fail as `Stopped`, if they did not end before.
    Stop {
        /// Their tickets; those that are not known are passed over.
        tickets: Vec<u64>,
    },
    /// Forget a job. Its chunks that were submitted are still run.
    ForgetJob {
        /// The job.
        job: u64,
    },
    /// Forget a program. Chunks in the queue are still run; those that wait for its compilation fail.
    ForgetProgram {
        /// Its name.
        program: ProgramId,
    },
}

/// One chunk to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// A number of the caller's choice, under which it is reported; unique among those under way.
    pub ticket: u64,
    /// Its number in the job.
    pub chunk: u32,
    /// Its stdin.
    pub input: Input,
}

/// What the pool tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A program is ready. Comes before any report of its chunks.
    Loaded {
        /// Its name.
        program: ProgramId,
    },
    /// A program cannot be run here. It is forgotten, and what waited for it has failed as `NotLoaded`.
    Refused {
        /// Its name.
        program: ProgramId,
        /// Why.
        error: ProgramError,
    },
    /// A chunk is running. Not said of chunks that end before the epoch has turned twice (10 ms each).
    Started {
        /// Its ticket.
        ticket: u64,
    },
    /// How far a running chunk is, as its program says. Said after `Started`, of the program's last word only, and not more
    /// often than the epoch turns (10 ms).
    Progress {
        /// Its ticket.
        ticket: u64,
        /// From 0 to 100.
        percent: u8,
    },
    /// The beginning of a long output, of which the last part comes with `Finished`: parts come one after the other, and
    /// only once the chunk has been run. Where they begin anew, or another end than `Finished` comes, those before are
    /// void.
    Part {
        /// Its ticket.
        ticket: u64,
        /// Where this part begins.
        at: u64,
        /// How long the whole output is.
        len: u64,
        /// The part.
        bytes: Bytes,
    },
    /// A chunk ended well.
    Finished {
        /// Its ticket.
        ticket: u64,
        /// Its stdout, or what is left of it after its parts.
        output: Bytes,
        /// Time on the processor, microseconds.
        cpu_micros: u64,
        /// Time by the wall, microseconds.
        wall_micros: u64,
        /// The fuel that it took, where it is counted.
        fuel: Option<u64>,
    },
    /// A chunk failed.
    Failed {
        /// Its ticket.
        ticket: u64,
        /// How.
        failure: Failure,
        /// Time on the processor, microseconds.
        cpu_micros: u64,
        /// Time by the wall, microseconds.
        wall_micros: u64,
    },
}
