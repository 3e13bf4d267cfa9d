//! What has come out of jobs that are over: their outputs stay until room is needed, for the next job that asks the same.
//!
//! Nothing is written for it while a job runs, but for a hash of each batch of outputs. When the job is forgotten, its
//! file of outputs and its chunk table get a second name in the folder `past`, and its row of the database another one.
//! A new job of the same [`Kin`] compares its table with theirs, page by page, and takes what chunks of the same number
//! and the same input have given.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use essaim_jobs::{BlobRef, JobId, Limits, Manifest, encode};
use serde::{Deserialize, Serialize};

use super::database::Batch;
use super::inputs::PAGES;
use super::outputs::FILE as OUTPUTS;
use super::{Home, Saved, Store, StoreError, free_bytes};

/// Bytes that past jobs have at most, and which part of what is free beside them: they never fill a disk.
const MOST_BYTES: u64 = 4 << 30;
const PART_OF_FREE: u64 = 10;
/// Past jobs that are kept at most.
const MOST_JOBS: usize = 256;
/// Bytes that an output has in the database, about.
const ROW_BYTES: u64 = 16;

/// What the outputs of a job's chunks depend on beside their numbers and inputs: the same in two jobs means that equal
/// chunks give equal outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kin([u8; 32]);

impl Kin {
    /// Of a job whose chunks are run by `engine`.
    #[must_use]
    pub fn of(manifest: &Manifest, engine: &str) -> Kin {
        // All fields are named: who adds one is to say on which side it belongs.
        let Manifest {
            version,
            name: _,
            program,
            role,
            argv,
            values,
            env,
            data,
            chunks: _,
            first_chunk,
            pages: _,
            limits,
            strict,
            copies: _,
            retries: _,
            halt: _,
            folds: _,
            keep_seconds: _,
            author: _,
            created_ms: _,
            nonce: _,
        } = manifest;
        // A program sees how much memory it gets. Time it does not see, and what took too long has no output.
        let Limits { memory_bytes, output_bytes, millis: _, fuel } = limits;
        let all = encode(&(
            (env!("CARGO_PKG_VERSION"), engine, version, strict),
            (program, role, first_chunk, argv, values, env, data),
            (memory_bytes, output_bytes, fuel),
        ));
        Kin(blake3::derive_key("essaim 2026 kin of results v2", &all))
    }
}

/// What vouches for a batch of outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    /// BLAKE3 of all their bytes.
    pub of: [u8; 32],
    /// Those that no other job may take, by their places in the batch, rising.
    pub not: Vec<u32>,
    /// Taken from past jobs: nobody ran them for this one.
    pub before: bool,
}

/// A job that is over, as the database has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Past {
    pub kin: Kin,
    /// How many voices agreed on each output.
    pub copies: u8,
    pub pages: Vec<BlobRef>,
    /// Of its files, and of its rows.
    pub bytes: u64,
    /// The higher the later it was of use.
    pub used: u64,
}

/// The files of a past job.
pub(super) fn files(dir: &Path, job: JobId) -> [PathBuf; 2] {
    [OUTPUTS, PAGES].map(|name| dir.join(format!("{job}.{name}")))
}

/// Keeps what has come out of `job`, which is over, if it may be of use to another; says whether the database has
/// forgotten the job now.
///
/// # Errors
/// The database cannot be read or written.
pub(super) fn keep(home: &Home, job: JobId) -> Result<bool, StoreError> {
    let store = home.store();
    let (Some(kin), Some(row)) = (store.kin(job)?, store.job(job)?) else { return Ok(false) };
    let manifest = &row.manifest.body;
    let mut here = vec![false; manifest.chunks as usize];
    let (mut news, mut bytes) = (0, 0);
    store.outputs(job, |batch, sum| {
        let Some(sum) = sum else { return };
        bytes += ROW_BYTES * batch.outputs.len() as u64;
        let good = batch.outputs.len() - sum.not.len();
        news += if sum.before { 0 } else { good };
        for good in good_ones(&batch, &sum) {
            if let Some(here) = here.get_mut(good.chunk as usize) {
                *here = true;
            }
        }
    })?;
    if news == 0 {
        // All that it has is in others already.
        return Ok(false);
    }
    let dir = home.job_dir(job);
    for name in [OUTPUTS, PAGES] {
        bytes += fs::metadata(dir.join(name)).map_or(0, |about| about.len());
    }
    let data_is_the_same = Saved::of_row(home, job, row.clone()).data_is_as_it_was();
    if !data_is_the_same || !make_room(store, home.dir(), bytes)? {
        return Ok(false);
    }
    let past = past_dir(home.dir());
    if let Err(error) = link(&dir, &past, job) {
        tracing::debug!(%error, "the outputs of a job are not kept");
        remove_files(&past, job);
        return Ok(false);
    }
    let all = store.past()?;
    let used = all.iter().map(|(_, past)| past.used).max().unwrap_or(0) + 1;
    let is_whole = here.iter().all(|here| *here);
    let is_outdone =
        |past: &Past| is_whole && past.kin == kin && past.pages == manifest.pages && past.copies <= manifest.copies;
    let outdone: Vec<JobId> = all.iter().filter(|(_, past)| is_outdone(past)).map(|(job, _)| *job).collect();
    let kept = Past { kin, copies: manifest.copies, pages: manifest.pages.clone(), bytes, used };
    store.retire(job, &kept, &outdone)?;
    outdone.iter().for_each(|job| remove_files(&past, *job));
    Ok(true)
}

/// Gives what stands in the folder of a job a second name among the past ones.
fn link(dir: &Path, past: &Path, job: JobId) -> io::Result<()> {
    fs::create_dir_all(past)?;
    for (name, path) in [OUTPUTS, PAGES].iter().zip(files(past, job)) {
        fs::hard_link(dir.join(name), path)?;
    }
    File::open(past)?.sync_all()
}

/// The folder of past jobs in the home `dir`.
pub(super) fn past_dir(dir: &Path) -> PathBuf {
    dir.join("past")
}

/// What cannot be removed now is when the home is opened again.
fn remove_files(past: &Path, job: JobId) {
    for path in files(past, job) {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "the files of a past job stay until the home is opened again");
        }
    }
}

/// Makes the folder of past jobs fit what the database knows of them, and their sum the bounds.
///
/// # Errors
/// The database or the folder cannot be used.
pub(super) fn sweep(store: &Store, home: &Path) -> Result<(), StoreError> {
    let dir = past_dir(home);
    if !dir.is_dir() {
        return Ok(());
    }
    let mut known = Vec::new();
    for (job, _) in store.past()? {
        known.extend(files(&dir, job));
    }
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if !known.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    make_room(store, home, 0).map(drop)
}

/// Makes room for a past job of so many bytes more; whether there can be.
fn make_room(store: &Store, home: &Path, bytes: u64) -> Result<bool, StoreError> {
    let sum: u64 = store.past()?.iter().map(|(_, past)| past.bytes).sum();
    let most = MOST_BYTES.min((free(home) + sum) / PART_OF_FREE);
    if bytes > most {
        return Ok(false);
    }
    shrink(store, home, most - bytes, MOST_JOBS - 1)?;
    Ok(true)
}

/// Removes past jobs, those that were of no use for longest first, until they are so few and have so many bytes.
pub(super) fn shrink(store: &Store, home: &Path, most: u64, jobs: usize) -> Result<(), StoreError> {
    let mut all = store.past()?;
    let mut sum: u64 = all.iter().map(|(_, past)| past.bytes).sum();
    all.sort_by_key(|(_, past)| past.used);
    let mut go = Vec::new();
    for (at, (job, past)) in all.iter().enumerate() {
        if all.len() - at <= jobs && sum <= most {
            break;
        }
        sum -= past.bytes;
        go.push(*job);
    }
    forget(store, home, &go)
}

fn forget(store: &Store, home: &Path, jobs: &[JobId]) -> Result<(), StoreError> {
    if !jobs.is_empty() {
        store.remove_past(jobs)?;
        jobs.iter().for_each(|job| remove_files(&past_dir(home), *job));
    }
    Ok(())
}

/// Removes all past jobs; whether there were any.
pub(super) fn forget_all(store: &Store, home: &Path) -> Result<bool, StoreError> {
    let jobs: Vec<JobId> = store.past()?.into_iter().map(|(job, _)| job).collect();
    forget(store, home, &jobs)?;
    Ok(!jobs.is_empty())
}

/// Bytes that are free on the disk of `path`; where that is not known, none.
fn free(path: &Path) -> u64 {
    free_bytes(path).unwrap_or(0)
}

/// An output that others may take.
pub(super) struct Good {
    pub chunk: u32,
    /// Where it begins in the file, and its bytes.
    pub offset: u64,
    pub len: u32,
    /// Whose: an index into the batch's workers.
    pub worker: u32,
}

impl Good {
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

pub(super) fn good_ones(batch: &Batch, sum: &Sum) -> impl Iterator<Item = Good> {
    let mut end = batch.offset;
    let all = batch.outputs.iter().map(move |(chunk, len, worker)| {
        end += u64::from(*len);
        Good { chunk: *chunk, offset: end - u64::from(*len), len: *len, worker: *worker }
    });
    all.zip(0_u32..).filter(|(_, place)| sum.not.binary_search(place).is_err()).map(|(good, _)| good)
}
