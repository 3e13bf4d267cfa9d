//! Work as it is submitted, and why it is not taken.

use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::bounds::{self, TooLong};
use essaim_jobs::{Halt, Limits, ManifestError, Mount, Role};

use crate::store::{Draft, HomeError, StoreError};

/// Work to be submitted.
#[derive(Debug)]
pub struct Submission {
    /// A name for people.
    pub name: String,
    /// The WebAssembly program.
    pub program: Bytes,
    /// What its chunks are run as.
    pub role: Role,
    /// The number under which the program sees the first of its chunks.
    pub first_chunk: u32,
    /// Its arguments.
    pub argv: Vec<String>,
    /// How many values each chunk's input has for the places in its arguments; 0: they have none.
    pub values: u8,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// The chunks' inputs, in order, at least one; and the files of `data`.
    pub draft: Draft,
    /// Files that the program may read.
    pub data: Vec<Mount>,
    /// What a chunk may use.
    pub limits: Limits,
    /// Whether every NaN is to have the same bits.
    pub strict: bool,
    /// How many different peers run each chunk.
    pub copies: u8,
    /// How often a chunk that failed is tried again.
    pub retries: u32,
    /// What becomes of the job when chunks have failed for good.
    pub halt: Halt,
    /// Whether the program folds its outputs.
    pub folds: bool,
    /// How long its peers keep it while its author is away.
    pub keep: Duration,
    /// Whether to go on with a job of this home that stands on its disk and is the same: of the same chunks, inputs and
    /// copies.
    pub resume: bool,
    /// Whether chunks that were run before, by an earlier job of this home, are not run again, and what comes out of this
    /// one is kept for later ones.
    pub reuse: bool,
}

/// Why work was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A name or an argument is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The manifest would break its bounds.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The arguments and the environment together are too long.
    #[error("the job's description is {0} bytes, at most {max} are allowed", max = bounds::MANIFEST_BYTES)]
    TooLarge(usize),
    /// The home's disk does not take what the job needs, or does not give it back.
    #[error("cannot keep the job")]
    Store(#[from] StoreError),
    /// The author of the job is somebody else.
    #[error("the job is another author's")]
    NotTheAuthor,
    /// Nobody in the swarm has told of such a job.
    #[error("nobody here knows of a job {0}")]
    Unknown(String),
    /// Its peers do not give what it takes.
    #[error("cannot get the job from its peers: {0}")]
    Unreachable(String),
    /// A file has changed since the job was submitted, so that its name does not fit it any more.
    #[error("the data file `{0}` has changed since the job was submitted")]
    Changed(String),
    /// The home does not give the author's key.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Gone,
}

impl SubmitError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            SubmitError::TooLong(_) | SubmitError::Manifest(_) | SubmitError::TooLarge(_) => {
                "shorten the arguments or put them into the input; limits are listed by `essaim help run`".into()
            }
            SubmitError::Store(e) => e.hint().into(),
            SubmitError::NotTheAuthor => {
                "only the key of its author will do: --key with the file author.key of the home it was submitted from".into()
            },
            SubmitError::Unknown(_) => {
                "`essaim jobs` lists those of this machine; others are told of by the peers that work on them: name one \
                 with --peer ADDR"
                    .into()
            }
            SubmitError::Unreachable(_) => "are its peers there? `essaim peers` lists who is".into(),
            SubmitError::Changed(_) => "put it back as it was, or cancel the job and run it again".into(),
            SubmitError::Home(e) => e.hint(),
            SubmitError::Gone => "start it again".into(),
        }
    }
}
