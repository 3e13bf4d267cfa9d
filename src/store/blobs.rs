//! The blobs that a node holds and serves, by name.
//!
//! Small ones stand in memory; larger ones are appended to scratch files of some 64 MiB, each gone when the last
//! blob in it is forgotten; these are of this run of the node only. What an author's job takes is served from where it
//! stands ([`Inputs`]).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, JobId};

use super::{Cache, Inputs, Whole};
use crate::blob::{Blob, Pieces};

/// Blobs up to this size are kept in memory: two system calls each would cost more than it saves.
const IN_MEMORY_BYTES: usize = 4 << 10;
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
    /// The scratch file being filled, and where it ends.
    segment: Option<(Arc<File>, u64)>,
}

/// A blob, and how many times it was put here and not yet forgotten.
#[derive(Debug)]
struct Held {
    blob: Blob,
    uses: u32,
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
        let blob = if bytes.len() <= IN_MEMORY_BYTES {
            Blob::Memory(bytes.clone())
        } else {
            let (file, offset) = self.reserve(name.len)?;
            file.write_all_at(bytes, offset)?;
            Blob::File { file, offset, len: name.len }
        };
        self.hold(name.id, blob);
        Ok(name)
    }

    /// Serves what `job` takes, too, until it is told to [`Blobs::leave`] it.
    pub fn serve(&self, job: JobId, inputs: Arc<Inputs>) {
        self.state().jobs.insert(job, inputs);
    }

    /// Serves that no more.
    pub fn leave(&self, job: &JobId) {
        self.state().jobs.remove(job);
    }

    /// A file of its own with these bytes, open for reading, which nobody can find by name.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn file(&self, bytes: &Bytes) -> io::Result<File> {
        let mut named = tempfile::NamedTempFile::new_in(&self.dir)?;
        named.write_all(bytes)?;
        File::open(named.path())
    }

    /// Undoes one [`Blobs::put`].
    pub fn forget(&self, id: &BlobId) {
        let mut state = self.state();
        if let Some(held) = state.known.get_mut(id) {
            held.uses -= 1;
            if held.uses == 0 {
                state.known.remove(id);
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

    fn hold(&self, id: BlobId, blob: Blob) {
        self.state().known.entry(id).or_insert(Held { blob, uses: 0 }).uses += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that change it, so a panic elsewhere has not spoilt it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
