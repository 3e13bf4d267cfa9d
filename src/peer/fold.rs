//! The program's own fold over its outputs, in this process.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::{Manifest, Role};
use essaim_worker::{ChunkSpec, Failure, JobSpec, Program, StopFlag};

use super::Job;
use crate::blob::{Blob, PIECE};
use crate::store::{Inputs, Outputs};

/// A program that folds its outputs, and what it is run with.
#[derive(Debug)]
pub struct Fold {
    /// The program.
    pub program: Program,
    /// Its arguments, environment and data.
    pub spec: JobSpec,
}

/// The outputs of one job, as they are sealed. A run may be several jobs, one after the other.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The job.
    pub manifest: Arc<Manifest>,
    /// What its chunks are given.
    pub inputs: Arc<Inputs>,
    /// What came out of them.
    pub outputs: Arc<Outputs>,
}

impl Leg {
    /// That of a job of one's own.
    #[must_use]
    pub fn of(job: &Job) -> Leg {
        let (manifest, inputs, outputs) =
            (Arc::clone(&job.manifest), Arc::clone(&job.inputs), Arc::clone(&job.outputs));
        Leg { manifest, inputs, outputs }
    }

    /// The number by which people know `chunk`.
    #[must_use]
    pub fn number(&self, chunk: u32) -> u32 {
        self.manifest.first_chunk + chunk
    }
}

impl Fold {
    /// Folds outputs, which come in order, and writes what the program prints. Blocks. Stopping it takes `stop` and, where
    /// it waits for an output, that this is lost; `stop` is set as well when one is.
    ///
    /// # Errors
    /// How it failed; [`Failure::Sink`] when `to` does.
    pub fn run(
        &self,
        outputs: impl Iterator<Item = Result<Blob, Lost>> + Send + 'static,
        to: impl Write + Send + 'static,
        stop: &StopFlag,
    ) -> Result<(), Failure> {
        let stopping = stop.clone();
        // The fold must not take what it has for everything.
        let frames = Frames::new(outputs).map_while(move |piece| piece.map_err(|Lost| stopping.stop()).ok());
        let done = self.program.run_streaming(&self.spec, ChunkSpec::once(Role::Reduce), frames, to, stop);
        done.map(drop).map_err(|(failure, _)| failure)
    }
}

/// An output that will never come, or cannot be read back: what has come is not everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// The outputs of all legs, in order as they are sealed, but for those of chunks that were given up. Blocks.
#[derive(Debug)]
pub struct Ordered<L> {
    legs: L,
    /// The leg that is being read, and its next chunk.
    leg: Option<(Leg, u32)>,
}

impl<L: Iterator<Item = Leg>> Ordered<L> {
    /// Those of these legs.
    pub fn new(legs: L) -> Ordered<L> {
        Ordered { legs, leg: None }
    }
}

impl<L: Iterator<Item = Leg>> Iterator for Ordered<L> {
    type Item = Result<Blob, Lost>;

    fn next(&mut self) -> Option<Result<Blob, Lost>> {
        loop {
            let Some((leg, chunk)) = self.leg.take_if(|(leg, next)| *next < leg.manifest.chunks) else {
                // What it has on the disk may be wanted back.
                self.leg = None;
                self.leg = Some((self.legs.next()?, 0));
                continue;
            };
            let Some(sealed) = leg.outputs.wait(chunk) else { return Some(Err(Lost)) };
            self.leg = Some((leg, chunk + 1));
            if !sealed.failed {
                return Some(Ok(sealed.bytes));
            }
        }
    }
}

/// Outputs as a program reads several: each preceded by its length, a little-endian `u32`. A piece at a time.
#[derive(Debug)]
pub struct Frames<I> {
    outputs: I,
    /// The output that is being read, and how far.
    body: Option<(Blob, u64)>,
}

/// Bytes of the length before each output.
pub const FRAME_BYTES: u64 = 4;

impl<I: Iterator<Item = Result<Blob, Lost>>> Frames<I> {
    /// These outputs.
    pub fn new(outputs: I) -> Frames<I> {
        Frames { outputs, body: None }
    }
}

impl<I: Iterator<Item = Result<Blob, Lost>>> Iterator for Frames<I> {
    type Item = Result<Bytes, Lost>;

    fn next(&mut self) -> Option<Result<Bytes, Lost>> {
        if let Some((output, at)) = self.body.take_if(|(output, at)| *at < output.len()) {
            let Ok(piece) = output.read(at, PIECE) else { return Some(Err(Lost)) };
            self.body = Some((output, at + piece.len() as u64));
            return Some(Ok(piece));
        }
        // What it has on the disk may be wanted back.
        self.body = None;
        let output = match self.outputs.next()? {
            Ok(output) => output,
            Err(Lost) => return Some(Err(Lost)),
        };
        let header = Bytes::copy_from_slice(&(output.len() as u32).to_le_bytes());
        self.body = Some((output, 0));
        Some(Ok(header))
    }
}
