//! What can go wrong for a host program, by name, and what its person can do about it.

use std::io;
use std::path::PathBuf;

use coordinator_free::io::Notice;
use essaim_jobs::split::SplitError;
use essaim_jobs::{FailureNote, JobId, NodeId, bounds};
use essaim_worker::ProgramError;

use crate::build::BuildError;
use crate::net::AddrError;
use crate::peer::{StartError, SubmitError};
use crate::store::StoreError;

/// Why a host program does not get what it wants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that names no swarm, or no address.
    #[error(transparent)]
    Address(#[from] AddrError),
    /// The node does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Cores were to be lent to anyone, or sandbox processes were asked for, and this program has none.
    #[error("this program cannot be its own sandbox")]
    NoSandbox,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The program's folder does not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The program cannot be run.
    #[error("{name}: {source}")]
    Program {
        /// Its name.
        name: String,
        /// Why.
        source: ProgramError,
    },
    /// The program has no reduce of its own.
    #[error("{0} does not reduce its outputs")]
    NoReduce(String),
    /// There are no inputs, so there is nothing to be reduced.
    #[error("there are no inputs to be reduced")]
    NoInputs,
    /// An input cannot be given to a program.
    #[error("input {chunk} cannot be a chunk: {why}")]
    Input {
        /// Its number, from 0.
        chunk: usize,
        /// Why.
        why: String,
    },
    /// There are more inputs than a job may have chunks.
    #[error(transparent)]
    TooMany(#[from] SplitError),
    /// A name under which the program cannot read a file.
    #[error("no data file can be called {0:?} here")]
    DataName(String),
    /// A data file is too long.
    #[error("{path} has {bytes} bytes, a data file has at most {max}", max = bounds::BLOB_BYTES)]
    DataTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The job is not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The disk of the home does not take what the job needs, or does not give it back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk failed for good.
    #[error("chunk {chunk} failed at peer {}: {message}", peer.short())]
    Chunk {
        /// Its number, from 0.
        chunk: u32,
        /// Where it was run last.
        peer: NodeId,
        /// What happened there, the end of the program's stderr included.
        message: String,
        /// What that peer advises.
        hint: String,
    },
    /// As many peers as may be asked say different things about one chunk.
    #[error("no two of {} peers agree on the output of chunk {chunk}", peers.len())]
    Disagreement {
        /// Its number, from 0.
        chunk: u32,
        /// The peers, in the order in which they were heard.
        peers: Vec<NodeId>,
    },
    /// What a chunk gave is not of the type that was asked for.
    #[error("the output of chunk {chunk} is no {expected}: {why}")]
    Decode {
        /// Its number, from 0.
        chunk: u32,
        /// The type.
        expected: &'static str,
        /// Why.
        why: String,
    },
    /// The reduce failed.
    #[error("reducing the outputs failed: {message}")]
    Reduce {
        /// What happened, the end of the program's stderr included.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// What the reduce gave is not of the type that was asked for.
    #[error("what the reduce gives is no {expected}: {why}")]
    DecodeReduced {
        /// The type.
        expected: &'static str,
        /// Why.
        why: String,
    },
    /// This machine has no room for what comes out. The job stands on its disk.
    #[error("{message}")]
    Full {
        /// The job.
        job: JobId,
        /// Which disk.
        message: String,
    },
    /// Somebody else who has the author's key goes on with the job.
    #[error("job {} is followed elsewhere now", .0.short())]
    Elsewhere(JobId),
    /// Somebody else who has the author's key has ended the job.
    #[error("the job was cancelled")]
    Cancelled,
    /// The job failed, and nobody has said why.
    #[error("the job failed")]
    Failed,
    /// The swarm was left, or its node is gone.
    #[error("this program has left the swarm")]
    Gone,
}

impl Error {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let fixed = match self {
            Error::Address(e) => e.hint(),
            Error::Start(e) => return e.hint(),
            Error::NoSandbox => "call essaim::sandbox::init() as the first line of main, before any thread or runtime",
            Error::Read { .. } => "check that it is there and can be read",
            Error::Build(e) => return e.hint(),
            Error::Program { source, .. } => source.hint(),
            Error::NoReduce(_) => "write essaim_guest::main!(map: …, reduce: …) in it, or take the outputs one by one",
            Error::NoInputs => "give it one input at least",
            Error::Input { .. } => "an input is text, bytes, or what serde makes JSON of, of 256 MiB at most",
            Error::TooMany(e) => return e.hint().to_string(),
            Error::DataName(_) => "names are such as model/weights.bin: no `.` or `..`, none twice, 255 bytes at most",
            Error::DataTooLarge { .. } => "cut it into several files",
            Error::Submit(e) => return e.hint(),
            Error::Store(e) => e.hint(),
            Error::Chunk { hint, .. } | Error::Reduce { hint, .. } => hint,
            Error::Disagreement { .. } => {
                "does the program depend on anything but its input? Else run it again with other peers"
            }
            Error::Decode { .. } | Error::DecodeReduced { .. } => {
                "ask for the type that the program's function returns, or for a String to see what it prints"
            }
            Error::Full { job, .. } => {
                return format!("make room, then `essaim attach {}` goes on: nothing is lost", job.short());
            }
            Error::Elsewhere(job) => return format!("there `essaim results {}` prints its outputs", job.short()),
            Error::Cancelled | Error::Failed => "run it again",
            Error::Gone => "join again; to leave only when all is done, await the outputs before `shutdown`",
        };
        fixed.to_owned()
    }

    /// What a notice says of the end of a job, if it is about that.
    pub(super) fn of_notice(notice: Notice) -> Option<Error> {
        match notice {
            Notice::Failed { chunk, worker, note, retried: false } => {
                let (message, hint) = parts(&note);
                Some(Error::Chunk { chunk, peer: worker, message, hint })
            }
            Notice::Disagreement { chunk, workers } => Some(Error::Disagreement { chunk, peers: workers }),
            _ => None,
        }
    }

    /// A reduce that has failed so.
    pub(super) fn of_reduce(note: &FailureNote) -> Error {
        let (message, hint) = parts(note);
        Error::Reduce { message, hint }
    }
}

/// What happened, and what to do about it.
fn parts(note: &FailureNote) -> (String, String) {
    let (message, hint) = crate::peer::parted(&note.message);
    (message.to_owned(), hint.to_owned())
}
