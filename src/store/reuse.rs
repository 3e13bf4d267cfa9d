//! What a new job takes from past ones: the outputs of chunks that have the same number and the same input in both.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use essaim_jobs::{BlobRef, JobId, NodeId, Page, bounds, decode};

use super::database::Batch;
use super::inputs::PAGES;
use super::outputs::{Disk, FILE as OUTPUTS, PIECE};
use super::past::{Good, Sum, files, good_ones, past_dir};
use super::{Saved, Store, StoreError};

/// Past jobs that a new one is compared with at most, the latest first.
const COMPARED: usize = 16;
/// Outputs and bytes that are listed in one step when they are taken over.
const STEP: (usize, u64) = (1 << 16, 256 << 20);

/// A chunk table, read a page at a time.
struct Table<'a> {
    file: File,
    pages: &'a [BlobRef],
}

impl<'a> Table<'a> {
    fn open(path: &Path, pages: &'a [BlobRef]) -> io::Result<Table<'a>> {
        Ok(Table { file: File::open(path)?, pages })
    }

    /// Page `number`, which begins at `offset`.
    fn page(&self, number: usize, offset: u64) -> io::Result<Page> {
        let name = self.pages[number];
        let mut bytes = vec![0; name.len as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        if !name.names(&bytes) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a chunk table is spoilt"));
        }
        decode(&bytes, Page::MAX_BYTES).map_err(io::Error::other)
    }

    /// Tells of the first `chunks` chunks which have the same input in `other`.
    fn same(&self, other: &Table<'_>, chunks: usize, mut is_same: impl FnMut(usize)) -> io::Result<()> {
        let (mut at, mut others_at) = (0, 0);
        for (number, (ours, theirs)) in self.pages.iter().zip(other.pages).enumerate() {
            let begin = number * bounds::PAGE_CHUNKS;
            if ours == theirs {
                (begin..chunks.min(begin + bounds::PAGE_CHUNKS)).for_each(&mut is_same);
            } else {
                let (page, others) = (self.page(number, at)?.0, other.page(number, others_at)?.0);
                let equal = (begin..chunks).zip(page.iter().zip(&others)).filter(|(_, (ours, theirs))| ours == theirs);
                equal.for_each(|(chunk, _)| is_same(chunk));
            }
            at += ours.len;
            others_at += theirs.len;
        }
        Ok(())
    }
}

/// Outputs of past jobs on their way into a new one, which has none yet: into one file, and then into the database.
pub(super) struct Taking<'a> {
    store: &'a Store,
    job: JobId,
    disk: &'a dyn Disk,
    /// Which chunks have none yet; how many have.
    missing: Vec<bool>,
    taken: u32,
    /// Written and not listed: where it begins and ends, and what it hashes to.
    batch: Batch,
    workers: HashMap<NodeId, u32>,
    end: u64,
    hasher: blake3::Hasher,
    number: u32,
}

impl<'a> Taking<'a> {
    pub(super) fn new(store: &'a Store, job: JobId, disk: &'a dyn Disk, chunks: u32) -> Taking<'a> {
        let batch = Batch::default();
        let (missing, hasher) = (vec![true; chunks as usize], blake3::Hasher::new());
        Taking { store, job, disk, missing, taken: 0, batch, workers: HashMap::new(), end: 0, hasher, number: 0 }
    }

    /// Takes from one batch of a past job, whose outputs are in `file`, what is missing and `wanted`. Nothing of it counts
    /// unless all of it is what it was. Returns whether it is.
    fn take(&mut self, file: &File, batch: &Batch, sum: &Sum, wanted: &[bool]) -> Result<bool, StoreError> {
        let is_wanted = |chunk: u32| {
            let at = chunk as usize;
            wanted.get(at).is_some_and(|wanted| *wanted) && self.missing[at]
        };
        let mut chosen: Vec<Good> = good_ones(batch, sum).filter(|good| is_wanted(good.chunk)).collect();
        if chosen.is_empty() {
            return Ok(true);
        }
        let mut seen = HashSet::new();
        chosen.reverse();
        chosen.retain(|good| seen.insert(good.chunk));
        chosen.reverse();
        let (mut hasher, mut ours, mut end) = (blake3::Hasher::new(), self.hasher.clone(), self.end);
        let all_end = batch.offset + batch.outputs.iter().map(|(_, len, _)| u64::from(*len)).sum::<u64>();
        let (mut piece, mut out) = (Vec::new(), Vec::new());
        let (mut at, mut next) = (batch.offset, 0);
        while at < all_end {
            piece.resize((all_end - at).min(PIECE as u64) as usize, 0);
            if file.read_exact_at(&mut piece, at).is_err() {
                return Ok(false);
            }
            hasher.update(&piece);
            let piece_end = at + piece.len() as u64;
            out.clear();
            next += chosen[next..].iter().take_while(|good| good.end() <= at).count();
            for good in chosen[next..].iter().take_while(|good| good.offset < piece_end) {
                let (from, to) = (good.offset.max(at), good.end().min(piece_end));
                out.extend_from_slice(&piece[(from - at) as usize..(to - at) as usize]);
            }
            ours.update(&out);
            self.disk.write(&out, end)?;
            end += out.len() as u64;
            at = piece_end;
        }
        let is_known = |good: &Good| batch.workers.get(good.worker as usize).is_some();
        if *hasher.finalize().as_bytes() != sum.of || !chosen.iter().all(is_known) {
            return Ok(false);
        }
        for good in chosen {
            let worker = self.worker(batch.workers[good.worker as usize]);
            self.batch.outputs.push((good.chunk, good.len, worker));
            self.missing[good.chunk as usize] = false;
        }
        (self.hasher, self.end) = (ours, end);
        if self.batch.outputs.len() >= STEP.0 || self.end - self.batch.offset >= STEP.1 {
            self.list()?;
        }
        Ok(true)
    }

    /// The number of a worker in the batch that is being written.
    fn worker(&mut self, worker: NodeId) -> u32 {
        let workers = &mut self.batch.workers;
        *self.workers.entry(worker).or_insert_with(|| {
            workers.push(worker);
            workers.len() as u32 - 1
        })
    }

    /// Makes what was taken the new job's.
    pub(super) fn list(&mut self) -> Result<(), StoreError> {
        if self.batch.outputs.is_empty() {
            return Ok(());
        }
        self.disk.sync()?;
        let sum = Sum { of: *self.hasher.finalize().as_bytes(), not: Vec::new(), before: true };
        self.store.put_outputs(self.job, self.number, &self.batch, Some(&sum))?;
        self.taken += self.batch.outputs.len() as u32;
        self.number += 1;
        self.batch = Batch { offset: self.end, ..Batch::default() };
        self.workers.clear();
        self.hasher.reset();
        Ok(())
    }

    /// Takes what is `wanted` of all that `job` has in `file`. What is spoilt is as if it were not there.
    pub(super) fn take_all(&mut self, job: JobId, file: &File, wanted: &[bool]) -> Result<(), StoreError> {
        let store = self.store;
        // A chunk may stand there twice: the last one counts.
        store.outputs_back(job, |batch, sum| {
            if !self.take(file, &batch, &sum, wanted)? {
                tracing::warn!(job = %job.short(), "outputs of a past job are spoilt");
            }
            Ok(())
        })
    }
}

/// Looks for what has come out of past jobs of the same kin, and makes it what has come out of this new one: of how many
/// chunks.
///
/// # Errors
/// The database cannot be used. What else is wrong is as if nothing had been found.
pub(super) fn reuse(home: &Path, saved: &Saved, store: &Store) -> Result<u32, StoreError> {
    let (manifest, id) = (&saved.row().manifest.body, saved.id());
    let Some(kin) = store.kin(id)? else { return Ok(0) };
    let past = past_dir(home);
    let mut alike = store.past()?;
    let newest = alike.iter().map(|(_, past)| past.used).max().unwrap_or(0);
    alike.retain(|(_, past)| past.kin == kin && past.copies >= manifest.copies);
    alike.sort_by_key(|(_, past)| std::cmp::Reverse(past.used));
    alike.truncate(COMPARED);
    if alike.is_empty() {
        return Ok(0);
    }
    let file = Arc::new(File::create(saved.dir().join(OUTPUTS))?);
    let table = Table::open(&saved.dir().join(PAGES), &manifest.pages)?;
    let mut taking = Taking::new(store, id, &file, manifest.chunks);
    let mut of_use = Vec::new();
    for (job, about) in &alike {
        let before = taking.missing.iter().filter(|missing| **missing).count();
        if before == 0 {
            break;
        }
        let [outputs, pages] = files(&past, *job);
        let mut wanted = vec![false; manifest.chunks as usize];
        let opened = Table::open(&pages, &about.pages).and_then(|theirs| {
            table.same(&theirs, wanted.len(), |chunk| wanted[chunk] = true)?;
            File::open(&outputs)
        });
        match opened {
            Ok(outputs) => taking.take_all(*job, &outputs, &wanted)?,
            Err(error) => tracing::warn!(job = %job.short(), %error, "a past job cannot be read"),
        }
        if taking.missing.iter().filter(|missing| **missing).count() < before {
            of_use.push(*job);
        }
    }
    taking.list()?;
    if !of_use.is_empty() {
        store.touch_past(&of_use, newest + 1)?;
    }
    Ok(taking.taken)
}
