//! The jobs of a home's author, as they stand on its disk: each has a row in the database and a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use essaim_jobs::{JobId, Manifest, Role, Signed};
use serde::{Deserialize, Serialize};

use super::inputs::{Files, Inputs, PROGRAM};
use super::{Home, Kin, Outputs, Store, StoreError, past, reuse};
use crate::blob::Blob;

/// How the folder of a job begins that is not one yet.
pub(super) const DRAFT: &str = ".draft-";

/// What the database knows of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub manifest: Signed<Manifest>,
    /// How often its author has begun anew without what it had sealed.
    pub term: u64,
    /// Whether what it takes is at its peers only: it was submitted from another home.
    pub remote: bool,
    /// The seed of its author's key, where that is not the home's own.
    pub key: Option<[u8; 32]>,
    /// The files in which its inputs stand: whole paths, or names in the job's folder.
    pub files: Vec<PathBuf>,
}

impl Row {
    /// A job that begins here.
    #[must_use]
    pub fn new(manifest: Signed<Manifest>) -> Row {
        Row { manifest, term: 0, remote: false, key: None, files: Vec::new() }
    }
}

/// Removes the folders of no job: those that were never finished, and those that were given up. Combine jobs, which are of
/// use only to the run that submitted them, are given up with it.
pub(super) fn sweep(home: &Home) -> Result<(), StoreError> {
    let (jobs, orphans): (Vec<_>, Vec<_>) =
        home.store().jobs()?.into_iter().partition(|(_, row)| row.manifest.body.role != Role::Combine);
    orphans.iter().try_for_each(|(job, _)| home.store().remove_job(*job))?;
    let names: Vec<String> = jobs.iter().map(|(job, _)| job.to_string()).collect();
    for entry in fs::read_dir(home.jobs_dir())? {
        let entry = entry?;
        if !names.iter().any(|name| entry.file_name() == name.as_str()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A job on the disk.
#[derive(Debug)]
pub struct Saved {
    row: Row,
    id: JobId,
    dir: PathBuf,
    home: PathBuf,
    store: Arc<Store>,
    files: Files,
}

impl Saved {
    pub(super) fn of(home: &Home, row: Row, dir: PathBuf, files: Files) -> Saved {
        let (id, files, store) = (row.manifest.body.id(), files.moved(dir.clone()), Arc::clone(home.store()));
        Saved { row, id, dir, home: home.dir().to_owned(), store, files }
    }

    /// The job that the database has this row of.
    pub(super) fn of_row(home: &Home, job: JobId, row: Row) -> Saved {
        let dir = home.job_dir(job);
        let files = Files::of(dir.clone(), row.files.clone());
        Saved::of(home, row, dir, files)
    }

    /// All that there are in `home`.
    ///
    /// # Errors
    /// The home's database cannot be read.
    pub fn all(home: &Home) -> Result<Vec<Saved>, StoreError> {
        let rows = home.store().jobs()?;
        Ok(rows.into_iter().map(|(job, row)| Saved::of_row(home, job, row)).collect())
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What is known of it.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Its program, open for reading.
    ///
    /// # Errors
    /// The system's.
    pub fn program(&self) -> io::Result<File> {
        File::open(self.dir.join(PROGRAM))
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its kin, if later jobs may take what comes out of it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn kin(&self) -> Result<Option<Kin>, StoreError> {
        self.store.kin(self.id)
    }

    /// Takes what has come out of earlier jobs for chunks that are the same in this one, which is new: how many these are.
    /// The job is whole whatever this returns.
    ///
    /// # Errors
    /// The database cannot be used, or the disk is full.
    pub fn reuse(&self) -> Result<u32, StoreError> {
        reuse::reuse(&self.home, self, &self.store).map_err(|error| error.at(&self.home))
    }

    /// Whether the files that its program may read are what they were: those are read where they stand.
    pub(super) fn data_is_as_it_was(self) -> bool {
        let manifest = &self.row.manifest.body;
        let submitted = UNIX_EPOCH + Duration::from_millis(manifest.created_ms);
        let Ok(inputs) = Inputs::open(&self.dir, manifest, self.files) else { return false };
        manifest.data.iter().all(|data| {
            let Some(blob) = inputs.find(&data.blob.id) else { return false };
            let Blob::File { file, .. } = &blob else { return false };
            let untouched = file.metadata().and_then(|about| about.modified()).is_ok_and(|at| at < submitted);
            // Between the hash and the job it may have changed as well.
            untouched && blob.name().ok() == Some(data.blob)
        })
    }

    /// How many of its outputs are safe.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn collected(&self) -> Result<u64, StoreError> {
        let mut outputs = 0;
        self.store.outputs(self.id, |batch, _| outputs += batch.outputs.len() as u64)?;
        Ok(outputs.min(self.row.manifest.body.chunks.into()))
    }

    /// What has come out of it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn outputs(&self) -> Result<Outputs, StoreError> {
        Outputs::open(&self.dir, Arc::clone(&self.store), self.id, self.row.manifest.body.chunks)
    }

    /// Opens what it takes, and what has come out of it.
    ///
    /// # Errors
    /// The database cannot be read, or a file of it is gone.
    pub fn open(self) -> Result<(Row, Inputs, Outputs), StoreError> {
        let outputs = self.outputs()?;
        let inputs = Inputs::open(&self.dir, &self.row.manifest.body, self.files)?;
        Ok((self.row, inputs, outputs))
    }

    /// Forgets it, and removes all that belongs to it, but for outputs that later jobs may take.
    ///
    /// # Errors
    /// The database cannot be written; where only a file cannot be removed, it is tried again later.
    pub fn remove(home: &Home, job: JobId) -> Result<(), StoreError> {
        let is_kept = past::keep(home, job).unwrap_or_else(|error| {
            tracing::warn!(%error, "what has come out of a job is not kept for later ones");
            false
        });
        if !is_kept {
            home.store().remove_job(job)?;
        }
        match fs::remove_dir_all(home.job_dir(job)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "the files of a job stay until the home is opened again");
            }
            _ => {}
        }
        Ok(())
    }
}
