//! The blobs that a node holds and serves, by name.
//!
//! Small ones stand in memory; larger ones are appended to scratch files of some 64 MiB, each gone when the last
//! blob in it is forgotten; these are of this run of the node only. What an author's job takes is served from where it
//! stands ([`Inputs`]).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, JobId};

use super::{Cache, Inputs, Whole};
use crate::blob::{Blob, PIECE, Pieces};

/// Blobs up to this size are kept in memory: two system calls each would cost more than it saves.
const IN_MEMORY_BYTES: usize = 4 << 10;
/// As long as they have no more than so many bytes together: an author may be away for days.
const ALL_IN_MEMORY_BYTES: usize = 32 << 20;
/// A scratch file takes blobs until it has reached this size.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The blobs of one node. Cheap to share by reference from any thread.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    cache: Cache,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<BlobId, Held>,
    /// What the jobs of this author take.
    jobs: HashMap<JobId, Arc<Inputs>>,
    /// Bytes of those that are in memory.
    in_memory: usize,
    /// The scratch file being filled, and where it ends.
    segment: Option<(Arc<File>, u64)>,
}

/// A blob, and how many times it was put here and not yet forgotten.
#[derive(Debug)]
struct Held {
    blob: Blob,
    uses: u32,
}

/// A blob that comes in pieces: room for it in a scratch file, and what was written there. What is dropped before it is
/// finished leaves a gap that takes no room on the disk, as far as nothing was written.
#[derive(Debug)]
pub struct Coming {
    file: Arc<File>,
    offset: u64,
    len: u64,
    hasher: blake3::Hasher,
}

impl Coming {
    /// Writes the next piece. One that cannot be written may be tried again.
    ///
    /// # Errors
    /// What the system says when it cannot be written; `InvalidInput` for more than was said to come.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = self.hasher.count();
        if at + bytes.len() as u64 > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all_at(bytes, self.offset + at)?;
        self.hasher.update(bytes);
        Ok(())
    }
}

impl Blobs {
    /// An empty store whose files are made in `dir`, beside a cache of large ones.
    #[must_use]
    pub fn new(dir: PathBuf, cache: Cache) -> Blobs {
        Blobs { dir, cache, state: Mutex::default() }
    }

    /// The large blobs of others.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The blob `name`, to be given piece by piece, if all or some of it is here. Reads it once.
    #[must_use]
    pub fn pieces(&self, name: BlobRef) -> Option<Arc<dyn Pieces>> {
        if let Some(partial) = self.cache.find(name) {
            return Some(partial);
        }
        let blob = self.find(&name.id)?;
        Some(Arc::new(Whole::new(name, blob).ok()?))
    }

    /// The blob called `id`, if it is here.
    #[must_use]
    pub fn find(&self, id: &BlobId) -> Option<Blob> {
        let state = self.state();
        if let Some(held) = state.known.get(id) {
            return Some(held.blob.clone());
        }
        let jobs: Vec<Arc<Inputs>> = state.jobs.values().cloned().collect();
        // They have to ask the disk.
        drop(state);
        jobs.iter().find_map(|inputs| inputs.find(id))
    }

    /// Keeps `bytes` until they are forgotten as often as they were put.
    ///
    /// # Errors
    /// What the system says when a file cannot be written: a full disk, usually.
    pub fn put(&self, bytes: &Bytes) -> io::Result<BlobRef> {
        let name = BlobRef::of(bytes);
        if let Some(held) = self.state().known.get_mut(&name.id) {
            held.uses += 1;
            return Ok(name);
        }
        let in_memory = bytes.len() <= IN_MEMORY_BYTES && self.state().in_memory + bytes.len() <= ALL_IN_MEMORY_BYTES;
        let blob = if in_memory {
            Blob::Memory(bytes.clone())
        } else {
            let (file, offset) = self.reserve(name.len)?;
            if let Err(error) = file.write_all_at(bytes, offset) {
                self.give_back(&file, offset, name.len);
                return Err(error);
            }
            Blob::File { file, offset, len: name.len }
        };
        self.hold(name.id, blob);
        Ok(name)
    }

    /// As [`Blobs::put`], of a blob of another file, of which one piece is in memory at a time.
    ///
    /// # Errors
    /// What the system says when it cannot be read or written.
    pub fn put_copy(&self, blob: &Blob) -> io::Result<BlobRef> {
        let mut coming = self.begin(blob.len())?;
        let mut at = 0;
        while at < blob.len() {
            let written = blob.read(at, PIECE).and_then(|piece| {
                at += piece.len() as u64;
                coming.write(&piece)
            });
            if let Err(error) = written {
                self.abandon(&coming);
                return Err(error);
            }
        }
        Ok(self.finish(coming))
    }

    /// Makes room for a blob of so many bytes that comes in pieces.
    ///
    /// # Errors
    /// What the system says when there is no file to be had.
    pub fn begin(&self, len: u64) -> io::Result<Coming> {
        let (file, offset) = self.reserve(len)?;
        Ok(Coming { file, offset, len, hasher: blake3::Hasher::new() })
    }

    /// Keeps what has come as [`Blobs::put`] does.
    pub fn finish(&self, coming: Coming) -> BlobRef {
        let Coming { file, offset, hasher, .. } = coming;
        let name = BlobRef { id: BlobId(*hasher.finalize().as_bytes()), len: hasher.count() };
        if self.state().known.contains_key(&name.id) {
            self.give_back(&file, offset, name.len);
        }
        self.hold(name.id, Blob::File { file, offset, len: name.len });
        name
    }

    /// Gives back the room of what is not to come any more.
    pub fn abandon(&self, coming: &Coming) {
        self.give_back(&coming.file, coming.offset, coming.len);
    }

    /// A file without a name, for what is needed for a while.
    ///
    /// # Errors
    /// What the system says when there is no file to be had.
    pub fn scratch(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.dir)
    }

    /// Serves what `job` takes, too, until it is told to [`Blobs::leave`] it.
    pub fn serve(&self, job: JobId, inputs: Arc<Inputs>) {
        self.state().jobs.insert(job, inputs);
    }

    /// Serves that no more.
    pub fn leave(&self, job: &JobId) {
        self.state().jobs.remove(job);
    }

    /// Undoes one [`Blobs::put`].
    pub fn forget(&self, id: &BlobId) {
        let mut state = self.state();
        if let Some(held) = state.known.get_mut(id) {
            held.uses -= 1;
            if held.uses == 0
                && let Some(Held { blob: Blob::Memory(bytes), .. }) = state.known.remove(id)
            {
                state.in_memory -= bytes.len();
            }
        }
    }

    /// Room for `len` bytes: a scratch file and an offset in it.
    fn reserve(&self, len: u64) -> io::Result<(Arc<File>, u64)> {
        let mut state = self.state();
        let (file, offset) = match state.segment.take() {
            Some((file, end)) if end < SEGMENT_BYTES => (file, end),
            _ => (Arc::new(tempfile::tempfile_in(&self.dir)?), 0),
        };
        state.segment = Some((Arc::clone(&file), offset + len));
        Ok((file, offset))
    }

    /// Undoes [`Blobs::reserve`], for nothing is to stand there: the room is the next one's, unless others have taken
    /// theirs behind it.
    fn give_back(&self, file: &Arc<File>, offset: u64, len: u64) {
        let mut state = self.state();
        if let Some((segment, end)) = &mut state.segment
            && Arc::ptr_eq(segment, file)
            && *end == offset + len
        {
            *end = offset;
            // What was written of it is of no use to anybody, and takes room where there was none.
            let _ = file.set_len(offset);
        }
    }

    fn hold(&self, id: BlobId, blob: Blob) {
        let mut state = self.state();
        let in_memory = if let Blob::Memory(bytes) = &blob { bytes.len() } else { 0 };
        let held = state.known.entry(id).or_insert(Held { blob, uses: 0 });
        held.uses += 1;
        if held.uses == 1 {
            state.in_memory += in_memory;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that change it, so a panic elsewhere has not spoilt it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
