//! What a node must have of a job before its first chunk: the program, and the files that it may read.

use std::any::Any;
use std::sync::Arc;

use essaim_jobs::{Manifest, Mount, bounds};
use essaim_worker::{DataFile, Input, JobSpec, Mode, PROGRAM_BYTES, ProgramId, Stretch};

use super::SubmitError;
use super::source::{Lack, Source};
use crate::blob::Blob;
use crate::store::{Inputs, Partial, StoreError};

/// A job's program and data.
#[derive(Clone, Debug)]
pub struct Provisions {
    pub program: Input,
    pub data: Arc<[DataFile]>,
    /// Those of them that stand in this node's cache, which stay there as long as this is held.
    pub held: Vec<Arc<Partial>>,
}

impl Provisions {
    /// Fetches them; the data to files of their own, one after the other.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn fetch(source: &Source, manifest: &Manifest) -> Result<Provisions, Lack> {
        let missing = |why: String| Lack::Missing(why);
        let mut held = Vec::new();
        let mut data = Vec::with_capacity(manifest.data.len());
        for mount in &manifest.data {
            if mount.blob.len > bounds::BLOB_BYTES {
                return Err(missing(format!("its data has a file of {} bytes", mount.blob.len)));
            }
            let (partial, blob) = source.download(mount.blob).await?;
            let Blob::File { file, .. } = blob else { return Err(missing("its data is not in a file".into())) };
            let file = DataFile::of(mount.name.as_str().to_owned(), file);
            data.push(file.map_err(|error| missing(format!("cannot read its data: {}", error.kind())))?);
            held.push(partial);
        }
        if manifest.program.len > PROGRAM_BYTES {
            return Err(missing(format!("its program has {} bytes", manifest.program.len)));
        }
        // Last, so that one that is in memory does not wait there for the others.
        let program = match source.find(manifest.program).await? {
            (Blob::Memory(bytes), _) => bytes.into(),
            (Blob::File { file, offset, len }, partial) => {
                held.extend(partial.clone());
                let partial = partial.map(|partial| partial as Arc<dyn Any + Send + Sync>);
                Input::File(Stretch::new(file, offset, len, partial))
            }
        };
        Ok(Provisions { program, data: data.into(), held })
    }
}

/// The files that the author's own job mounts, from where they stand; `checked` when they may have changed since it was
/// submitted.
///
/// # Errors
/// [`SubmitError::Changed`], [`SubmitError::Store`].
pub fn mounted(inputs: &Inputs, manifest: &Manifest, checked: bool) -> Result<Arc<[DataFile]>, SubmitError> {
    let mount = |Mount { name, blob }: &Mount| {
        let changed = || SubmitError::Changed(name.as_str().to_owned());
        let Some(found) = inputs.find(&blob.id) else { return Err(changed()) };
        let Blob::File { file, .. } = &found else { return Err(changed()) };
        let is_as_long = || file.metadata().is_ok_and(|about| about.len() == blob.len);
        if checked && !(is_as_long() && found.name().ok() == Some(*blob)) {
            return Err(changed());
        }
        let file = Arc::clone(file);
        Ok(DataFile::of(name.as_str().to_owned(), file).map_err(StoreError::from)?)
    };
    manifest.data.iter().map(mount).collect()
}

/// The program of a job, as the pool knows it.
pub fn program_of(manifest: &Manifest) -> ProgramId {
    let mode = Mode { metered: manifest.limits.fuel.is_some(), strict: manifest.strict };
    ProgramId { hash: manifest.program.id.0, mode }
}

/// What the pool must know of a job.
pub fn spec(manifest: &Manifest, data: Arc<[DataFile]>) -> JobSpec {
    JobSpec {
        argv: manifest.argv.iter().map(|arg| arg.as_str().to_owned()).collect(),
        values: manifest.values,
        env: manifest.env.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())).collect(),
        data,
        // A chunk's output depends on the program and its input alone: the same job run again draws the same.
        seed: manifest.program.id.0,
        limits: manifest.limits,
    }
}
