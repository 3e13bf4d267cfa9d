//! Puts the outputs of a job on standard output: in order as they come, or folded by the program itself.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use essaim_worker::{Failure, StopFlag};

use super::fail::Fail;
use crate::blob::{Blob, PIECE};
use crate::peer::{Fold, Leg};

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

/// Writes the outputs of all legs in order, or their fold, to standard output as they come. Blocks.
pub fn present(
    legs: impl Iterator<Item = Leg> + Send + 'static,
    fold: Option<Fold>,
    stop: &StopFlag,
) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
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
            drop(stdout);
            let refused = Arc::default();
            let stdout = Stdout { refused: Arc::clone(&refused) };
            match fold.run(legs, stdout, stop) {
                Ok(()) => io::stdout().flush().map_err(unwritten),
                Err(_) if stop.is_stopped() => Err(Unwritten::Ended),
                Err(Failure::Sink { .. }) => {
                    let error = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
                    Err(error.map_or(Unwritten::Closed, unwritten))
                }
                Err(failure) => {
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

/// Standard output, as a fold writes to it: what the system refused is kept, so that a full disk is told from a reader
/// that has gone.
struct Stdout {
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
        self.note(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note(io::stdout().flush())
    }
}
