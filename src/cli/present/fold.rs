//! The program's own fold over its outputs, at this node.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use essaim_worker::{Failure, StopFlag};

use super::sink::Sink;
use super::{Unwritten, unwritten};
use crate::blob::Blob;
use crate::cli::fail::Fail;
use crate::peer::{Fold, Lost};

/// Folds outputs into `sink`.
pub fn fold(
    outputs: impl Iterator<Item = Result<Blob, Lost>> + Send + 'static,
    fold: Fold,
    sink: Sink,
    stop: &StopFlag,
) -> Result<(), Unwritten> {
    let kept = Arc::new(Mutex::new(Kept { sink: Some(sink), refused: None }));
    let writer = Writer(Arc::clone(&kept));
    let done = fold.run(outputs, writer, stop);
    let Kept { sink, refused } = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    match done {
        Ok(()) => sink.map_or(Err(Unwritten::Ended), Sink::finish),
        Err(_) if stop.is_stopped() => Err(Unwritten::Ended),
        Err(Failure::Sink { .. }) => Err(refused.map_or(Unwritten::Closed, unwritten)),
        Err(failure) => {
            let note = crate::peer::note(&failure);
            let (message, hint) = crate::peer::parted(&note.message);
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
