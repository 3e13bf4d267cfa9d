//! The program's own `split`: it reads the whole input, and what it prints is frames, each the input of one chunk.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use essaim_jobs::split::{self, Frames, Stretch};
use essaim_jobs::{Role, bounds};
use essaim_worker::{ChunkSpec, Failure, StopFlag};

use super::super::Fail;
use super::size::{How, STACK_BYTES};
use super::{Cutting, MOST, PIECE, fail, full, open};
use crate::blob::Blob;
use crate::peer::{note, parted};
use crate::store::FileNumber;

/// Pieces of what it prints that wait to be written down.
const WAITING: usize = 16;

/// Where the long frames are written to.
struct Scratch {
    number: FileNumber,
    file: Arc<File>,
    end: u64,
}

impl Cutting<'_> {
    /// One chunk a frame of what the program prints as `split`. A range is given to it as text, as a chunk would be.
    pub(super) fn own(&mut self, inputs: &[OsString], range: Option<Range<u64>>) -> Result<How, Fail> {
        let pieces = match range {
            Some(range) => Pieces::new(vec![Box::new(io::Cursor::new(split::range_input(&range)))]),
            None => Pieces::of(inputs)?,
        };
        let (program, spec) = (self.trial.program.compiled()?, &self.trial.spec);
        let (stop, broken) = (pieces.stop.clone(), Arc::clone(&pieces.broken));
        let (prints, printed) = sync_channel(WAITING);
        let (kept, ran) = thread::scope(|scope| {
            let run = || {
                let once = ChunkSpec::once(Role::Split);
                program.run_streaming(spec, once, pieces, Printer(prints), &stop)
            };
            let runs = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
            let runs = runs.map_err(|e| Fail::new(format!("cannot start a thread: {e}"), "raise `ulimit -u`"))?;
            let kept = self.keep_frames(printed);
            if kept.is_err() {
                stop.stop();
            }
            Ok::<_, Fail>((kept, runs.join()))
        })?;
        if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(Fail::new(format!("cannot read the input: {error}"), "check that it can be read to its end"));
        }
        match ran {
            // That is what became of it when its frames were refused.
            Ok(Ok(_) | Err((Failure::Stopped | Failure::Sink { .. }, _))) => kept?,
            Ok(Err((failure, _))) => return Err(failed(&failure)),
            Err(_) => return Err(Fail::new("the program's own `split` broke off", "please report it")),
        }
        Ok(How::given("by the program itself"))
    }

    /// Adds a chunk for each frame, as it comes.
    fn keep_frames(&mut self, printed: Receiver<Bytes>) -> Result<(), Fail> {
        let (number, file) = self.draft.scratch().map_err(|error| full(self.home.dir(), &error))?;
        let mut scratch = Scratch { number, file, end: 0 };
        let mut frames = Frames::new(MOST);
        let mut short = Vec::new();
        for piece in printed {
            let mut piece = &piece[..];
            while let Some(stretch) = frames.next(&mut piece).map_err(|e| fail(&e))? {
                self.keep(stretch, &mut short, &mut scratch)?;
            }
        }
        frames.finish().map_err(|e| fail(&e))
    }

    fn keep(&mut self, stretch: Stretch<'_>, short: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), Fail> {
        let Stretch { len, bytes, is_last } = stretch;
        if len <= bounds::INLINE_INPUT as u64 {
            short.extend_from_slice(bytes);
            return if is_last { self.inline(&std::mem::take(short)) } else { Ok(()) };
        }
        let mut keep = || {
            (&*scratch.file).write_all(bytes)?;
            scratch.end += bytes.len() as u64;
            if is_last {
                let offset = scratch.end - len;
                let name = Blob::File { file: Arc::clone(&scratch.file), offset, len }.name()?;
                self.draft.push_blob(name, scratch.number, offset)?;
            }
            Ok(())
        };
        let kept: io::Result<()> = keep();
        kept.map_err(|error| full(self.home.dir(), &error))
    }
}

fn failed(failure: &Failure) -> Fail {
    let note = note(failure);
    let (message, hint) = parted(&note.message);
    Fail::new(format!("the program's own `split` failed: {message}"), hint)
}

/// All inputs, one after the other, a piece at a time.
struct Pieces {
    now: Option<Box<dyn Read + Send>>,
    /// Those that are still to come, the next one last.
    rest: Vec<Box<dyn Read + Send>>,
    /// Stops who reads them where the rest will not come, as it must not take what it has for everything.
    stop: StopFlag,
    /// Why it will not come.
    broken: Arc<Mutex<Option<io::Error>>>,
}

impl Pieces {
    /// Files, or standard input.
    fn of(inputs: &[OsString]) -> Result<Pieces, Fail> {
        let stdin = [OsString::from("-")];
        let names = if inputs.is_empty() { &stdin[..] } else { inputs };
        let mut rest: Vec<Box<dyn Read + Send>> = Vec::new();
        for name in names.iter().rev() {
            rest.push(if name == "-" { Box::new(io::stdin()) } else { Box::new(open(name)?) });
        }
        Ok(Pieces::new(rest))
    }

    fn new(mut rest: Vec<Box<dyn Read + Send>>) -> Pieces {
        Pieces { now: rest.pop(), rest, stop: StopFlag::default(), broken: Arc::default() }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.now.as_mut()?.read(&mut piece) {
                Ok(0) => self.now = self.rest.pop(),
                Ok(n) => {
                    piece.truncate(n);
                    return Some(piece.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.stop.stop();
                    return None;
                }
            }
        }
    }
}

/// What the program prints, on its way to who keeps it.
struct Printer(SyncSender<Bytes>);

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        self.0.send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
