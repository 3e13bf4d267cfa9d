//! The program's own fold over its outputs, at this node.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use essaim_jobs::Role;
use essaim_worker::{ChunkSpec, JobSpec, Program, StopFlag};

use super::sink::Sink;
use super::{Leg, PIECE, Unwritten, unwritten};
use crate::blob::Blob;
use crate::cli::fail::Fail;

/// The program's own fold over its outputs.
pub struct Fold {
    pub program: Program,
    pub spec: JobSpec,
}

/// Folds the outputs of all legs into `sink`. Chunks that were given up are left out.
pub fn fold(
    legs: impl Iterator<Item = Leg> + Send + 'static,
    fold: Fold,
    sink: Sink,
    stop: &StopFlag,
) -> Result<(), Unwritten> {
    let frames = Frames { legs, leg: None, body: None, stop: stop.clone() };
    let kept = Arc::new(Mutex::new(Kept { sink: Some(sink), refused: None }));
    let writer = Writer(Arc::clone(&kept));
    let done = fold.program.run_streaming(&fold.spec, ChunkSpec::once(Role::Reduce), frames, writer, stop);
    let Kept { sink, refused } = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    match done {
        Ok(_) => sink.map_or(Err(Unwritten::Ended), Sink::finish),
        Err(_) if stop.is_stopped() => Err(Unwritten::Ended),
        Err((essaim_worker::Failure::Sink { .. }, _)) => Err(refused.map_or(Unwritten::Closed, unwritten)),
        Err((failure, _)) => {
            let note = crate::peer::note(&failure);
            let (message, hint) = note.message.rsplit_once("\nhint: ").unwrap_or((&note.message, ""));
            Err(Unwritten::Failed(Fail::new(format!("folding the outputs failed: {message}"), hint)))
        }
    }
}

/// Where a fold writes to, and what the system refused: so a full disk is told from a reader that has gone.
#[derive(Default)]
struct Kept {
    sink: Option<Sink>,
    refused: Option<io::Error>,
}

/// The sink, as the fold writes to it.
struct Writer(Arc<Mutex<Kept>>);

impl Writer {
    fn write_with<T>(&self, write: impl FnOnce(&mut Sink) -> io::Result<T>) -> io::Result<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = kept.sink.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        write(sink).map_err(|error| {
            let kind = error.kind();
            kept.refused = Some(error);
            kind.into()
        })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(|sink| sink.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_with(Sink::flush)
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
