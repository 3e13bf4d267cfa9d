//! The jobs of a home's author, as they stand on its disk: each has a row in the database and a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use essaim_jobs::{JobId, Manifest, Signed};
use serde::{Deserialize, Serialize};

use super::inputs::{Files, Inputs, PROGRAM};
use super::{Home, Outputs, Store, StoreError};

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

/// Removes the folders of no job: those that were never finished, and those that were given up.
pub(super) fn sweep(home: &Home) -> Result<(), StoreError> {
    let jobs = home.store().jobs()?;
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
    store: Arc<Store>,
    files: Files,
}

impl Saved {
    pub(super) fn of(home: &Home, row: Row, dir: PathBuf, files: Files) -> Saved {
        Saved { id: row.manifest.body.id(), row, files: files.moved(dir.clone()), dir, store: Arc::clone(home.store()) }
    }

    /// All that there are in `home`.
    ///
    /// # Errors
    /// The home's database cannot be read.
    pub fn all(home: &Home) -> Result<Vec<Saved>, StoreError> {
        let rows = home.store().jobs()?;
        let of = |(job, row): (JobId, Row)| {
            let dir = home.job_dir(job);
            let files = Files::of(dir.clone(), row.files.clone());
            Saved::of(home, row, dir, files)
        };
        Ok(rows.into_iter().map(of).collect())
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

    /// How many of its outputs are safe.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn collected(&self) -> Result<u64, StoreError> {
        let mut outputs = 0;
        self.store.outputs(self.id, |batch| outputs += batch.outputs.len() as u64)?;
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

    /// Forgets it, and removes all that belongs to it.
    ///
    /// # Errors
    /// The database cannot be written; where only a file cannot be removed, it is tried again later.
    pub fn remove(home: &Home, job: JobId) -> Result<(), StoreError> {
        home.store().remove_job(job)?;
        match fs::remove_dir_all(home.job_dir(job)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "the files of a job stay until the home is opened again");
            }
            _ => {}
        }
        Ok(())
    }
}
