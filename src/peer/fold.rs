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
    /// Folds the outputs of all legs, in order as they come, but for those of chunks that were given up, and writes what
    /// the program prints. Blocks. Stopping it takes
    /// `stop` and, where it waits for an output, that these are closed; `stop` is set as well when one will never come.
    ///
    /// # Errors
    /// How it failed; [`Failure::Sink`] when `to` does.
    pub fn run(
        &self,
        legs: impl Iterator<Item = Leg> + Send + 'static,
        to: impl Write + Send + 'static,
        stop: &StopFlag,
    ) -> Result<(), Failure> {
        let frames = Frames { legs, leg: None, body: None, stop: stop.clone() };
        let done = self.program.run_streaming(&self.spec, ChunkSpec::once(Role::Reduce), frames, to, stop);
        done.map(drop).map_err(|(failure, _)| failure)
    }
}

/// The outputs as a fold reads them: each preceded by its length, a little-endian `u32`.
struct Frames<L> {
    legs: L,
    /// The leg that is being read, and its next chunk.
    leg: Option<(Leg, u32)>,
    /// The output that is being read, and how far.
    body: Option<(Blob, u64)>,
    stop: StopFlag,
}

impl<L: Iterator<Item = Leg>> Iterator for Frames<L> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some((output, at)) = self.body.take_if(|(output, at)| *at < output.len()) {
            let Ok(piece) = output.read(at, PIECE) else { return self.give_up() };
            self.body = Some((output, at + piece.len() as u64));
            return Some(piece);
        }
        let output = loop {
            let Some((leg, chunk)) = self.leg.take_if(|(leg, next)| *next < leg.manifest.chunks) else {
                // What it has on the disk may be wanted back.
                (self.leg, self.body) = (None, None);
                self.leg = Some((self.legs.next()?, 0));
                continue;
            };
            let Some(sealed) = leg.outputs.wait(chunk) else { return self.give_up() };
            self.leg = Some((leg, chunk + 1));
            if !sealed.failed {
                break sealed.bytes;
            }
        };
        let header = Bytes::copy_from_slice(&(output.len() as u32).to_le_bytes());
        self.body = Some((output, 0));
        Some(header)
    }
}

impl<L> Frames<L> {
    /// The rest will not come. The fold must not take what it has for everything.
    fn give_up(&mut self) -> Option<Bytes> {
        self.stop.stop();
        None
    }
}
