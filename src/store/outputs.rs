//! The outputs that an author has collected: appended to one file as they come, in any order, and counted only when
//! they would survive a crash. They cost some bytes of memory each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use essaim_jobs::{IntervalSet, JobId, NodeId};
use tokio::sync::OwnedSemaphorePermit;

use super::database::Batch;
use super::past::{self, Sum};
use super::{Store, StoreError};
use crate::blob::Blob;

pub(super) const FILE: &str = "outputs";

/// An output that was handed over to be kept.
#[derive(Debug)]
pub struct Output {
    /// The slot that gave it: of no concern here.
    pub slot: u32,
    /// Whose.
    pub chunk: u32,
    /// Who ran it.
    pub worker: NodeId,
    /// The output itself.
    pub bytes: Blob,
    /// Whether it is fit for later jobs, too.
    pub again: bool,
    /// Given back when it is safe: bounds how many are on their way.
    pub turn: Option<OwnedSemaphorePermit>,
}

/// What became of outputs that were handed over: slot and worker of each, and whether they are safe.
pub type Done = (Vec<(u32, NodeId)>, Result<(), StoreError>);

/// A file that is written to; in a test it can lose its power.
pub(super) trait Disk: std::fmt::Debug + Send + Sync {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when all that was written would survive a crash.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for Arc<File> {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Collected outputs by chunk number.
#[derive(Debug)]
pub struct Outputs {
    /// Where they are, for people.
    dir: PathBuf,
    /// For reading.
    file: Arc<File>,
    /// The same, for writing.
    disk: Box<dyn Disk>,
    store: Arc<Store>,
    job: JobId,
    /// Whether later jobs may take what they need.
    for_later: bool,
    index: Mutex<Index>,
    changed: Condvar,
}

#[derive(Debug)]
struct Index {
    places: Vec<Place>,
    /// The sealed ones, in the order in which they were sealed.
    order: Vec<u32>,
    /// Who ran something.
    workers: Workers,
    /// Where the next one is written, and under which number.
    end: u64,
    next: u32,
    /// Handed over and not written yet. The core remembers each of them, too, and bounds them.
    waiting: Vec<Output>,
    /// No more will be handed over, or sealed.
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    offset: u64,
    len: u32,
    /// Who ran it.
    worker: u32,
    state: State,
    /// Taken from an earlier job.
    before: bool,
}

/// Numbers for those who ran something.
#[derive(Debug, Default)]
struct Workers {
    all: Vec<NodeId>,
    numbers: BTreeMap<NodeId, u32>,
}

impl Workers {
    fn number(&mut self, worker: NodeId) -> u32 {
        *self.numbers.entry(worker).or_insert_with(|| {
            self.all.push(worker);
            self.all.len() as u32 - 1
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Missing,
    Safe,
    Sealed,
}

impl Outputs {
    /// Opens those of `job`, which has so many chunks, in its folder. What had become safe counts as sealed.
    ///
    /// # Errors
    /// The database or the file cannot be used.
    pub(super) fn open(dir: &Path, store: Arc<Store>, job: JobId, chunks: u32) -> Result<Outputs, StoreError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))?;
        let file = Arc::new(file);
        let outputs = Outputs::on(Box::new(Arc::clone(&file)), file, store, job, chunks)?;
        Ok(Outputs { dir: dir.parent().unwrap_or(dir).to_owned(), ..outputs })
    }

    /// As [`Outputs::open`], with what is written going to `disk`.
    pub(super) fn on(
        disk: Box<dyn Disk>,
        file: Arc<File>,
        store: Arc<Store>,
        job: JobId,
        chunks: u32,
    ) -> Result<Outputs, StoreError> {
        let mut places = vec![Place::default(); chunks as usize];
        let mut end = 0;
        let mut workers = Workers::default();
        let next = store.outputs(job, |batch, sum| {
            let before = sum.is_some_and(|sum| sum.before);
            let mut offset = batch.offset;
            for (chunk, len, worker) in batch.outputs {
                if let (Some(place), Some(worker)) =
                    (places.get_mut(chunk as usize), batch.workers.get(worker as usize))
                {
                    *place = Place { offset, len, worker: workers.number(*worker), state: State::Sealed, before };
                }
                offset += u64::from(len);
            }
            end = end.max(offset);
        })?;
        // What was written after that is nobody's.
        file.set_len(end)?;
        let is_sealed = |(chunk, place): (usize, &Place)| (place.state == State::Sealed).then_some(chunk as u32);
        let order = places.iter().enumerate().filter_map(is_sealed).collect();
        let index = Index { places, order, workers, end, next, waiting: Vec::new(), closed: false };
        let dir = PathBuf::new();
        let for_later = store.kin(job)?.is_some();
        Ok(Outputs { dir, file, disk, store, job, for_later, index: Mutex::new(index), changed: Condvar::new() })
    }

    /// The chunks that are sealed.
    #[must_use]
    pub fn sealed(&self) -> IntervalSet {
        let index = self.index();
        let sealed = index.places.iter().enumerate().filter(|(_, place)| place.state == State::Sealed);
        sealed.map(|(chunk, _)| chunk as u32).collect()
    }

    /// Whose the sealed ones are that were run for this job.
    #[must_use]
    pub fn by(&self) -> BTreeMap<NodeId, u32> {
        let index = self.index();
        let mut by = BTreeMap::new();
        for place in index.places.iter().filter(|place| place.state == State::Sealed && !place.before) {
            *by.entry(index.workers.all[place.worker as usize]).or_default() += 1;
        }
        by
    }

    /// The output of `chunk` and who ran it, if it is sealed.
    #[must_use]
    pub fn get(&self, chunk: u32) -> Option<(Blob, NodeId)> {
        let index = self.index();
        let place = index.places.get(chunk as usize).filter(|place| place.state == State::Sealed)?;
        Some((self.blob(place), index.workers.all[place.worker as usize]))
    }

    fn blob(&self, place: &Place) -> Blob {
        Blob::File { file: Arc::clone(&self.file), offset: place.offset, len: u64::from(place.len) }
    }

    /// Makes outputs safe that were sealed elsewhere; they count here when it is opened again. Blocks.
    ///
    /// # Errors
    /// The disk is full, or the database cannot be used.
    pub fn take(&self, outputs: &[Output]) -> Result<(), StoreError> {
        let (offset, number) = {
            let index = self.index();
            (index.end, index.next)
        };
        let known = |output: &&Output| (output.chunk as usize) < self.index().places.len();
        if let Some(output) = outputs.iter().find(|output| !known(output)) {
            return Err(StoreError::Io(io::Error::other(format!("there is no chunk {}", output.chunk))));
        }
        self.write(offset, number, outputs)
    }

    /// Hands an output over. Returns at once; the keeper says what became of it.
    pub fn put(&self, output: Output) {
        self.index().waiting.push(output);
        self.changed.notify_all();
    }

    /// What it means that the system refuses to keep an output beside this file.
    #[must_use]
    pub fn refused(&self, error: io::Error) -> StoreError {
        StoreError::Io(error).at(&self.dir)
    }

    /// Makes what is handed over safe, many at a time, until the outputs are closed; tells `done` of each. Blocks: it is
    /// for a thread of its own.
    pub fn keep(&self, mut done: impl FnMut(Done)) {
        loop {
            let mut index = self.index();
            while index.waiting.is_empty() && !index.closed {
                index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner);
            }
            if index.waiting.is_empty() {
                return;
            }
            let mut outputs = std::mem::take(&mut index.waiting);
            // What is sealed stays as it is.
            outputs.retain(|output| index.places[output.chunk as usize].state != State::Sealed);
            let (offset, number) = (index.end, index.next);
            drop(index);
            if outputs.is_empty() {
                continue;
            }
            let mut outcome = self.write(offset, number, &outputs);
            if matches!(&outcome, Err(error) if error.is_full()) && self.gives_up_the_past() {
                outcome = self.write(offset, number, &outputs);
            }
            let outcome = outcome.map_err(|error| error.at(&self.dir));
            let names = outputs.into_iter().map(|output| (output.slot, output.worker)).collect();
            done((names, outcome));
        }
    }

    /// Makes room by what is kept of jobs that are over; whether there was anything.
    fn gives_up_the_past(&self) -> bool {
        self.dir.parent().is_some_and(|home| past::forget_all(&self.store, home).unwrap_or(false))
    }

    fn write(&self, offset: u64, number: u32, outputs: &[Output]) -> Result<(), StoreError> {
        let mut batch = Batch { offset, outputs: Vec::with_capacity(outputs.len()), workers: Vec::new() };
        let mut workers = BTreeMap::new();
        let mut hasher = blake3::Hasher::new();
        let mut not = Vec::new();
        let mut piece = Vec::new();
        let mut at = offset;
        for output in outputs {
            let worker = *workers.entry(output.worker).or_insert_with(|| {
                batch.workers.push(output.worker);
                batch.workers.len() as u32 - 1
            });
            if !output.again {
                not.push(batch.outputs.len() as u32);
            }
            let len = output.bytes.len();
            batch.outputs.push((output.chunk, len as u32, worker));
            if piece.len() as u64 + len > PIECE as u64 {
                self.append(&piece, &mut at, &mut hasher)?;
                piece.clear();
            }
            if len > PIECE as u64 {
                let mut from = 0;
                while from < len {
                    let part = output.bytes.read(from, PIECE)?;
                    self.append(&part, &mut at, &mut hasher)?;
                    from += part.len() as u64;
                }
            } else {
                piece.extend_from_slice(&output.bytes.read(0, PIECE)?);
            }
        }
        self.append(&piece, &mut at, &mut hasher)?;
        self.disk.sync()?;
        let is_of_use = self.for_later && not.len() < outputs.len();
        let sum = is_of_use.then(|| Sum { of: *hasher.finalize().as_bytes(), not, before: false });
        self.store.put_outputs(self.job, number, &batch, sum.as_ref())?;
        let mut index = self.index();
        let mut at = offset;
        for (chunk, len, worker) in batch.outputs {
            let worker = index.workers.number(batch.workers[worker as usize]);
            let place = &mut index.places[chunk as usize];
            if place.state != State::Sealed {
                *place = Place { offset: at, len, worker, state: State::Safe, before: false };
            }
            at += u64::from(len);
        }
        index.end = at;
        index.next = number + 1;
        Ok(())
    }

    fn append(&self, bytes: &[u8], at: &mut u64, hasher: &mut blake3::Hasher) -> io::Result<()> {
        self.disk.write(bytes, *at)?;
        *at += bytes.len() as u64;
        if self.for_later {
            hasher.update(bytes);
        }
        Ok(())
    }

    /// The output of `chunk` counts from now on.
    pub fn seal(&self, chunk: u32) {
        let mut index = self.index();
        let place = &mut index.places[chunk as usize];
        if place.state != State::Sealed {
            place.state = State::Sealed;
            index.order.push(chunk);
        }
        drop(index);
        self.changed.notify_all();
    }

    /// No more will be handed over, nor sealed: those who wait are told.
    pub fn close(&self) {
        self.index().closed = true;
        self.changed.notify_all();
    }

    /// The output of `chunk`, once it is sealed; `None` when it will never be. Blocks until one is known.
    #[must_use]
    pub fn wait(&self, chunk: u32) -> Option<Blob> {
        let mut index = self.index();
        loop {
            match index.places.get(chunk as usize) {
                Some(place) if place.state == State::Sealed => return Some(self.blob(place)),
                Some(_) if !index.closed => {
                    index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner);
                }
                _ => return None,
            }
        }
    }

    /// The output that is sealed as number `nth`, counted from 0, and its chunk, once it is; `None` when fewer will ever
    /// be. Those that were sealed when this was opened come first. Blocks until one is known.
    #[must_use]
    pub fn wait_nth(&self, nth: u32) -> Option<(u32, Blob)> {
        let mut index = self.index();
        loop {
            match index.order.get(nth as usize) {
                Some(chunk) => return Some((*chunk, self.blob(&index.places[*chunk as usize]))),
                None if index.closed || nth as usize >= index.places.len() => return None,
                None => index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Short outputs are written together, long ones in parts, so many bytes at a time.
pub(super) const PIECE: usize = 1 << 20;
