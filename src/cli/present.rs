//! Puts the outputs of a job on standard output: in order as they come, or folded by the program itself.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use essaim_jobs::Role;
use essaim_worker::{ChunkSpec, JobSpec, Program, StopFlag};
use indicatif::ProgressBar;

use super::fail::Fail;
use crate::blob::Blob;
use crate::store::Outputs;

/// Bytes of an output that are in memory at once.
const PIECE: usize = 256 << 10;

/// The program's own fold over its outputs.
pub struct Fold {
    pub program: Program,
    pub spec: JobSpec,
}

/// The outputs of one job, as they are sealed. A run may be several jobs, one after the other.
#[derive(Clone, Debug)]
pub struct Leg {
    pub outputs: Arc<Outputs>,
    pub chunks: u32,
}

/// Why the output did not get to its end.
pub enum Unwritten {
    /// The job has no more outputs: it says itself why.
    Ended,
    /// Nobody reads any more.
    Closed,
    /// There is no room where it is written to.
    Full(String),
    /// Something is wrong here.
    Failed(Fail),
}

/// Writes the outputs of all legs in order, or their fold, to standard output as they come, beside a bar. Blocks.
pub fn present(
    legs: impl Iterator<Item = Leg> + Send + 'static,
    fold: Option<Fold>,
    stop: &StopFlag,
    bar: ProgressBar,
) -> Result<(), Unwritten> {
    let mut stdout = Beside(bar);
    match fold {
        None => {
            for Leg { outputs, chunks } in legs {
                for chunk in 0..chunks {
                    copy(&outputs.wait(chunk).ok_or(Unwritten::Ended)?, &mut stdout)?;
                }
            }
            stdout.flush().map_err(unwritten)
        }
        Some(fold) => {
            let frames = Frames { legs, leg: None, body: None, stop: stop.clone() };
            let refused = Arc::default();
            let stdout = Stdout { out: stdout, refused: Arc::clone(&refused) };
            let done = fold.program.run_streaming(&fold.spec, ChunkSpec::once(Role::Reduce), frames, stdout, stop);
            match done {
                Ok(_) => io::stdout().flush().map_err(unwritten),
                Err(_) if stop.is_stopped() => Err(Unwritten::Ended),
                Err((essaim_worker::Failure::Sink { .. }, _)) => {
                    let error = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
                    Err(error.map_or(Unwritten::Closed, unwritten))
                }
                Err((failure, _)) => {
                    let note = crate::peer::note(&failure);
                    let (message, hint) = note.message.rsplit_once("\nhint: ").unwrap_or((&note.message, ""));
                    Err(Unwritten::Failed(Fail::new(format!("folding the outputs failed: {message}"), hint)))
                }
            }
        }
    }
}

/// Writes one output, a piece at a time.
pub fn copy(output: &Blob, to: &mut impl Write) -> Result<(), Unwritten> {
    let mut at = 0;
    while at < output.len() {
        let piece = output.read(at, PIECE).map_err(|e| unreadable(&e))?;
        to.write_all(&piece).map_err(unwritten)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> Unwritten {
    Unwritten::Failed(Fail::new(format!("cannot read an output back: {error}"), "check the disk of the node's home"))
}

fn unwritten(error: io::Error) -> Unwritten {
    match error.kind() {
        ErrorKind::BrokenPipe => Unwritten::Closed,
        ErrorKind::StorageFull => Unwritten::Full("cannot write the output: the disk is full".into()),
        _ => Unwritten::Failed(Fail::new(format!("cannot write the output: {error}"), "see where it is written to")),
    }
}

/// Standard output; where that is a terminal, a bar that may be there gives way.
struct Beside(ProgressBar);

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout();
        if stdout.is_terminal() { self.0.suspend(|| stdout.write(bytes)) } else { stdout.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Standard output, as a fold writes to it: what the system refused is kept, so that a full disk is told from a reader
/// that has gone.
struct Stdout {
    out: Beside,
    refused: Arc<Mutex<Option<io::Error>>>,
}

impl Stdout {
    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            kind.into()
        })
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.note(done)
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
        let (leg, chunk) = loop {
            match self.leg.take_if(|(leg, next)| *next < leg.chunks) {
                Some(next) => break next,
                None => self.leg = Some((self.legs.next()?, 0)),
            }
        };
        let Some(output) = leg.outputs.wait(chunk) else { return self.give_up() };
        self.leg = Some((leg, chunk + 1));
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
