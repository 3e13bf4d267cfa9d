//! The outputs that an author has collected: appended to one file as they come, in any order, and counted only when
//! they would survive a crash. They cost some bytes of memory each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use essaim_jobs::{IntervalSet, JobId, NodeId};
use tokio::sync::OwnedSemaphorePermit;

use super::database::Batch;
use super::past::{self, Sum};
use super::places::{Index, Place, State, Workers};
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
    /// Whether it is the failure of a chunk that is given up, in words.
    pub failed: bool,
    /// What it took on the processor, about, microseconds; 0 where that is not known.
    pub cpu_micros: u32,
    /// Whether it is fit for later jobs, too; a failure never is.
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

/// An output that is sealed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The output; why the chunk was given up, in words, where it has failed for good.
    pub bytes: Blob,
    /// Who ran it.
    pub worker: NodeId,
    /// Whether it has failed for good.
    pub failed: bool,
    /// What it took on the processor, about; where that is known: it is not written down.
    pub cpu: Option<Duration>,
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
            for (at, (chunk, len, worker)) in (0..).zip(batch.outputs) {
                if let (Some(place), Some(worker)) =
                    (places.get_mut(chunk as usize), batch.workers.get(worker as usize))
                {
                    let (worker, failed) = (workers.number(*worker), batch.failed.binary_search(&at).is_ok());
                    *place = Place { offset, len, worker, cpu_micros: 0, state: State::Sealed, before, failed };
                }
                offset += u64::from(len);
            }
            end = end.max(offset);
        })?;
        // What was written after that is nobody's.
        file.set_len(end)?;
        let mut index = Index { places, workers, end, next, ..Index::default() };
        index.order = index.all_sealed().map(|(chunk, _)| chunk).collect();
        let dir = PathBuf::new();
        let for_later = store.kin(job)?.is_some();
        Ok(Outputs { dir, file, disk, store, job, for_later, index: Mutex::new(index), changed: Condvar::new() })
    }

    /// The chunks that are sealed.
    #[must_use]
    pub fn sealed(&self) -> IntervalSet {
        self.index().all_sealed().map(|(chunk, _)| chunk).collect()
    }

    /// Those among them that were given up.
    #[must_use]
    pub fn given_up(&self) -> IntervalSet {
        self.index().all_sealed().filter(|(_, place)| place.failed).map(|(chunk, _)| chunk).collect()
    }

    /// Whose the sealed ones are that were run for this job.
    #[must_use]
    pub fn by(&self) -> BTreeMap<NodeId, u32> {
        let index = self.index();
        let mut by = BTreeMap::new();
        for (_, place) in index.all_sealed().filter(|(_, place)| !place.before && !place.failed) {
            *by.entry(index.workers.all[place.worker as usize]).or_default() += 1;
        }
        by
    }

    /// The output of `chunk`, if it is sealed.
    #[must_use]
    pub fn get(&self, chunk: u32) -> Option<Sealed> {
        self.found(&self.index(), chunk)
    }

    fn found(&self, index: &Index, chunk: u32) -> Option<Sealed> {
        let place = index.sealed(chunk)?;
        let micros = Some(place.cpu_micros).filter(|micros| *micros > 0);
        Some(Sealed {
            bytes: Blob::File { file: Arc::clone(&self.file), offset: place.offset, len: u64::from(place.len) },
            worker: index.workers.all[place.worker as usize],
            failed: place.failed,
            cpu: micros.map(|micros| Duration::from_micros(micros.into())),
        })
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
        let mut batch = Batch { offset, outputs: Vec::with_capacity(outputs.len()), ..Batch::default() };
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
            if output.failed {
                batch.failed.push(batch.outputs.len() as u32);
            }
            if output.failed || !output.again {
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
        for (output, (chunk, len, worker)) in outputs.iter().zip(batch.outputs) {
            let worker = index.workers.number(batch.workers[worker as usize]);
            let place = &mut index.places[chunk as usize];
            if place.state != State::Sealed {
                let (state, before) = (State::Safe, false);
                let Output { failed, cpu_micros, .. } = *output;
                *place = Place { offset: at, len, worker, cpu_micros, state, before, failed };
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
        self.index().seal(chunk);
        self.changed.notify_all();
    }

    /// No more will be handed over, nor sealed: those who wait are told.
    pub fn close(&self) {
        self.index().closed = true;
        self.changed.notify_all();
    }

    /// What is missing when they are closed will never come, and what has come counts without it.
    pub fn pass_over(&self) {
        self.index().passed_over = true;
    }

    /// Whether that has been said.
    #[must_use]
    pub fn is_passed_over(&self) -> bool {
        self.index().passed_over
    }

    /// The output of `chunk`, once it is sealed; `None` when it will never be. Blocks until one is known.
    #[must_use]
    pub fn wait(&self, chunk: u32) -> Option<Sealed> {
        let mut index = self.index();
        loop {
            match index.places.get(chunk as usize) {
                Some(place) if place.state == State::Sealed => return self.found(&index, chunk),
                Some(_) if !index.closed => {
                    index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner);
                }
                _ => return None,
            }
        }
    }

    /// The chunk that was sealed as number `nth`, from 0 on, and its output; `None` when no more will be sealed. Those of
    /// an earlier life come first, in their order. Blocks until one is known.
    #[must_use]
    pub fn wait_nth(&self, nth: usize) -> Option<(u32, Sealed)> {
        let mut index = self.index();
        loop {
            match index.order.get(nth) {
                Some(&chunk) => return Some((chunk, self.found(&index, chunk)?)),
                None if !index.closed => {
                    index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner);
                }
                None => return None,
            }
        }
    }

    /// Whether [`Outputs::wait_nth`] would not wait.
    #[must_use]
    pub fn has_nth(&self, nth: usize) -> bool {
        self.index().order.len() > nth
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Short outputs are written together, long ones in parts, so many bytes at a time.
pub(super) const PIECE: usize = 1 << 20;
