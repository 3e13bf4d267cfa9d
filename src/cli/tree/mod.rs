//! Outputs are combined in the swarm before they are folded here: a thread a level reads them in order as they are
//! sealed, makes each few that follow one another the input of one combine chunk, and has the jobs run that these make
//! while more outputs come. What it gives on is in the same order. Whoever follows the run submits these jobs
//! ([`Combining`]), as the thread asks for.
//!
//! Combining is associative, so any output may go on as it is: one that is alone, one that is too large to share a chunk,
//! and all of a run that is too small for it to be worth while.

mod jobs;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc as threads;

use essaim_jobs::bounds;
use tokio::sync::mpsc;

pub use self::jobs::{Combining, Step, failed_at};
use super::fail::Fail;
use super::input::full;
use crate::blob::Blob;
use crate::peer::{FRAME_BYTES, Frames, Leg, Lost, Ordered};
use crate::store::{Draft, FileNumber, Outputs};

/// Outputs that are made one, at most.
const GROUP: usize = 32;
/// What is left of this many is folded here; of more, what was combined is combined once more.
const FEW: u64 = (GROUP * GROUP) as u64;
/// Chunks of one combine job, and bytes of their inputs, about: of more it is several.
const CHUNKS: u64 = 64;
const BYTES: u64 = 256 << 20;
/// Outputs that wait to be read, or for their turn behind those that are combined. They are handles, but what they stand for
/// is on the disk.
const WAITING: usize = 2 * CHUNKS as usize;
/// From so many chunks on, and outputs of so many bytes, one machine is slow to fold them all.
const WORTH_CHUNKS: u64 = 64;
const WORTH_BYTES: u64 = 256 << 20;

/// An output, or what several have become.
#[derive(Clone, Debug)]
pub struct Part {
    blob: Blob,
    /// How often it was combined.
    rank: u8,
}

/// What a level asks of whoever follows the run.
pub enum Ask {
    /// An empty job.
    Draft(threads::SyncSender<Draft>),
    /// That it is run, its chunks being numbered from here on.
    Run(Box<Draft>, u32, threads::SyncSender<Arc<Outputs>>),
    /// Nothing more: it is broken.
    Failed(Fail),
}

/// How the outputs of a run are combined.
#[derive(Debug)]
pub struct Tree {
    levels: u8,
    /// Whether it is to be worth while.
    if_worth: bool,
    /// Bytes of a chunk's input at most. With what an output may have, hardly anything that is combined is too long.
    most_bytes: u64,
    /// The node's home, for words.
    home: PathBuf,
    asks: mpsc::Sender<Ask>,
}

impl Tree {
    /// That of a run of so many chunks; of an unknown number, where none is given.
    fn new(chunks: Option<u32>, if_worth: bool, most_bytes: u64, home: PathBuf, asks: mpsc::Sender<Ask>) -> Tree {
        let most_bytes = most_bytes.min(bounds::BLOB_BYTES);
        Tree { levels: levels(chunks), if_worth, most_bytes, home, asks }
    }

    /// The outputs of all legs in order, combined; an error is the last. Does not block, but what it gives does.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn over(self, legs: impl Iterator<Item = Leg> + Send + 'static) -> io::Result<Combined> {
        let known = Arc::new(AtomicU64::new(0));
        let worth = self.if_worth.then(|| Worth { known: Arc::clone(&known), outputs: 0, bytes: 0, is_so: false });
        let chunks = |leg: &Leg| u64::from(leg.manifest.first_chunk) + u64::from(leg.manifest.chunks);
        let legs = legs.inspect(move |leg| known.store(chunks(leg), Relaxed));
        self.over_outputs(Ordered::new(legs), worth)
    }

    fn over_outputs(
        self,
        outputs: impl Iterator<Item = Result<Blob, Lost>> + Send + 'static,
        worth: Option<Worth>,
    ) -> io::Result<Combined> {
        let mut combined = self.level(0, worth, outputs.map(|blob| Ok(Part { blob: blob?, rank: 0 })))?;
        for rank in 1..self.levels {
            combined = self.level(rank, None, combined)?;
        }
        Ok(combined)
    }

    /// Begins a thread that combines what was combined `rank` times.
    fn level(
        &self,
        rank: u8,
        worth: Option<Worth>,
        parts: impl Iterator<Item = Result<Part, Lost>> + Send + 'static,
    ) -> io::Result<Combined> {
        let (to, items) = threads::sync_channel(WAITING);
        let level = Level {
            rank,
            worth,
            most_bytes: self.most_bytes,
            home: self.home.clone(),
            asks: self.asks.clone(),
            to,
            group: Vec::with_capacity(GROUP),
            group_bytes: 0,
            work: None,
            behind: Vec::new(),
            next_chunk: 0,
            last: None,
        };
        std::thread::Builder::new().name("combine".into()).spawn(move || level.run(parts))?;
        Ok(Combined { items, rank: rank + 1, is_over: false })
    }
}

/// How often outputs are combined until few are left. An input without an end may become long.
fn levels(chunks: Option<u32>) -> u8 {
    let (mut levels, mut left) = (1, u64::from(chunks.unwrap_or(u32::MAX)).div_ceil(GROUP as u64));
    while left > FEW && levels < 2 {
        (levels, left) = (levels + 1, left.div_ceil(GROUP as u64));
    }
    levels
}

/// Judges whether combining is worth while, by the outputs that have come: as long as these are, as many as there are to
/// be. What has come before goes on as it is.
#[derive(Debug)]
struct Worth {
    /// Chunks that there are, as far as is known.
    known: Arc<AtomicU64>,
    outputs: u64,
    bytes: u64,
    is_so: bool,
}

impl Worth {
    fn look(&mut self, output: &Blob) -> bool {
        self.outputs += 1;
        self.bytes += output.len();
        let chunks = self.known.load(Relaxed);
        let bytes = u128::from(self.bytes) * u128::from(chunks) / u128::from(self.outputs);
        // The first ones alone say little.
        let is_known = self.outputs >= GROUP as u64 || self.bytes >= WORTH_BYTES;
        self.is_so |= is_known && chunks >= WORTH_CHUNKS && bytes >= u128::from(WORTH_BYTES);
        self.is_so
    }
}

/// What one level gives on, in order.
enum Item {
    Here(Part),
    /// What this chunk of a combine job will give.
    Of(Arc<Outputs>, u32),
    /// That is all. Without this it is not.
    End,
}

/// What a level gives, as it is there. An error is the last.
#[derive(Debug)]
pub struct Combined {
    items: threads::Receiver<Item>,
    rank: u8,
    is_over: bool,
}

impl Combined {
    /// Without how they have come to be.
    pub fn outputs(self) -> impl Iterator<Item = Result<Blob, Lost>> + Send + 'static {
        self.map(|part| part.map(|part| part.blob))
    }
}

impl Iterator for Combined {
    type Item = Result<Part, Lost>;

    fn next(&mut self) -> Option<Result<Part, Lost>> {
        if self.is_over {
            return None;
        }
        let part = match self.items.recv() {
            Ok(Item::Here(part)) => Ok(part),
            Ok(Item::Of(outputs, chunk)) => match outputs.wait(chunk) {
                Some(sealed) if !sealed.failed => Ok(Part { blob: sealed.bytes, rank: self.rank }),
                _ => Err(Lost),
            },
            Ok(Item::End) => {
                self.is_over = true;
                return None;
            }
            Err(_) => Err(Lost),
        };
        self.is_over = part.is_err();
        Some(part)
    }
}

/// Why a level ends before its outputs do.
enum Halt {
    /// An output will not come, nobody wants what it gives, or nobody runs what it asks for.
    Lost,
    Disk(io::Error),
}

impl From<Lost> for Halt {
    fn from(_: Lost) -> Halt {
        Halt::Lost
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Halt {
        Halt::Disk(error)
    }
}

/// A combine job that is being put together.
struct Work {
    draft: Draft,
    number: FileNumber,
    file: Arc<File>,
    end: u64,
}

/// One level of the tree.
struct Level {
    rank: u8,
    worth: Option<Worth>,
    most_bytes: u64,
    home: PathBuf,
    asks: mpsc::Sender<Ask>,
    to: threads::SyncSender<Item>,
    /// Outputs that are to be one.
    group: Vec<Part>,
    group_bytes: u64,
    work: Option<Work>,
    /// What follows in order: parts as they are, and for each chunk of `work` none.
    behind: Vec<Option<Part>>,
    /// The number of the next job's first chunk.
    next_chunk: u32,
    /// The job that was submitted last, and its chunks.
    last: Option<(Arc<Outputs>, usize)>,
}

impl Level {
    fn run(mut self, parts: impl Iterator<Item = Result<Part, Lost>>) {
        // Whoever reads takes what has come for everything only if it is told so.
        if let Err(Halt::Disk(error)) = self.combine(parts) {
            // Who is gone has no more to do with it.
            let _ = self.asks.blocking_send(Ask::Failed(full(&self.home, &error)));
        }
    }

    fn combine(&mut self, parts: impl Iterator<Item = Result<Part, Lost>>) -> Result<(), Halt> {
        for part in parts {
            let part = part?;
            if part.rank < self.rank || self.worth.as_mut().is_some_and(|worth| !worth.look(&part.blob)) {
                self.close()?;
                self.pass(part)?;
                continue;
            }
            let bytes = FRAME_BYTES + part.blob.len();
            if self.group_bytes + bytes > self.most_bytes {
                self.close()?;
            }
            self.group.push(part);
            self.group_bytes += bytes;
            if self.group.len() == GROUP {
                self.close()?;
            }
        }
        self.close()?;
        self.submit()?;
        self.give(Item::End)
    }

    /// What stands in the group becomes a chunk, if it is several.
    fn close(&mut self) -> Result<(), Halt> {
        self.group_bytes = 0;
        if self.group.len() < 2 {
            return self.group.pop().map_or(Ok(()), |part| self.pass(part));
        }
        let Work { draft, number, file, end } = match &mut self.work {
            Some(work) => work,
            none => none.insert(begin(&self.asks)?),
        };
        let offset = *end;
        for piece in Frames::new(self.group.drain(..).map(|part| Ok(part.blob))) {
            let piece = piece?;
            file.write_all_at(&piece, *end)?;
            *end += piece.len() as u64;
        }
        let input = Blob::File { file: Arc::clone(file), offset, len: *end - offset };
        if input.len() <= bounds::INLINE_INPUT as u64 {
            draft.push_inline(&input.read(0, bounds::INLINE_INPUT)?)?;
        } else {
            draft.push_blob(input.name()?, *number, offset)?;
        }
        self.behind.push(None);
        // While nothing is being combined there is no reason to wait for more.
        let is_idle = self.last.as_ref().is_none_or(|(outputs, chunks)| outputs.has_nth(chunks - 1));
        if is_idle || draft.chunks() >= CHUNKS || draft.bytes() >= BYTES { self.submit() } else { Ok(()) }
    }

    /// A part goes on as it is.
    fn pass(&mut self, part: Part) -> Result<(), Halt> {
        if self.work.is_none() {
            return self.give(Item::Here(part));
        }
        self.behind.push(Some(part));
        if self.behind.len() >= WAITING { self.submit() } else { Ok(()) }
    }

    /// Has the job run, if there is any.
    fn submit(&mut self) -> Result<(), Halt> {
        let Some(Work { draft, file, .. }) = self.work.take() else { return Ok(()) };
        // So that those who follow the jobs need not wait for the disk.
        file.sync_data()?;
        let chunks = draft.chunks() as u32;
        let first = self.next_chunk;
        self.next_chunk = first + chunks;
        let outputs = ask(&self.asks, |reply| Ask::Run(Box::new(draft), first, reply))?;
        self.last = Some((Arc::clone(&outputs), chunks as usize));
        let mut next = 0..chunks;
        for part in std::mem::take(&mut self.behind) {
            let item = match part {
                Some(part) => Item::Here(part),
                None => Item::Of(Arc::clone(&outputs), next.next().ok_or(Halt::Lost)?),
            };
            self.give(item)?;
        }
        Ok(())
    }

    fn give(&self, item: Item) -> Result<(), Halt> {
        self.to.send(item).map_err(|_| Halt::Lost)
    }
}

/// Begins another job.
fn begin(asks: &mpsc::Sender<Ask>) -> Result<Work, Halt> {
    let mut draft = ask(asks, Ask::Draft)?;
    let (number, file) = draft.scratch()?;
    Ok(Work { draft, number, file, end: 0 })
}

/// Asks whoever follows the run, and waits for the answer.
fn ask<T>(asks: &mpsc::Sender<Ask>, what: impl FnOnce(threads::SyncSender<T>) -> Ask) -> Result<T, Halt> {
    let (reply, answer) = threads::sync_channel(1);
    asks.blocking_send(what(reply)).map_err(|_| Halt::Lost)?;
    answer.recv().map_err(|_| Halt::Lost)
}
