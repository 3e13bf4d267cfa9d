//! Runs the chunks of a job: the WebAssembly engine, the sandbox a program sees, its limits, and a pool of
//! threads that works through a queue of chunks.
//!
//! The pool is spoken to in plain messages, a [`Request`] in and [`Report`]s out, addressed by numbers, so that
//! it can stand in another process. It knows nothing of peers, of the network or of the ledger.

#![warn(missing_docs)]

mod engine;
mod error;
mod gauge;
mod input;
mod limits;
mod message;
mod meter;
mod outline;
mod pool;
#[cfg(unix)]
pub mod process;
mod program;
mod room;
mod sandbox;
mod workers;

pub use engine::{Engine, EngineConfig, Interrupt, Mode, TURN, kind, tag};
pub use error::{EngineError, Failure, ProgramError, STDERR_BYTES, TEXT_BYTES};
pub use essaim_jobs::Role;
pub use input::{Input, Stretch};
pub use limits::StopFlag;
pub use message::{Chunk, ProgramId, Report, Request};
pub use outline::Outline;
pub use pool::Pool;
pub use program::{Outcome, PROGRAM_BYTES, Program};
pub use sandbox::{ChunkSpec, DataFile, Handle, JobSpec};
pub use workers::{Sandbox, Workers};
