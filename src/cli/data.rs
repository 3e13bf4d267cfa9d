//! `--data`: files that the program may read wherever it runs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use essaim_jobs::manifest::check_names;
use essaim_jobs::{BlobRef, Mount, bounds};
use essaim_worker::DataFile;

use super::{Fail, input};
use crate::blob::Blob;
use crate::store::{Draft, Home};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// One `--data`: FILE, or NAME=FILE.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name for the program; none for the file's own.
    name: Option<String>,
    file: String,
}

impl Named {
    /// The file `file`, by its own name.
    pub fn own(file: &str) -> Named {
        Named { name: None, file: file.to_owned() }
    }
}

/// Parses one `--data`.
pub fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() && !Path::new(text).exists() => {
            Ok(Named { name: Some(name.to_owned()), file: file.to_owned() })
        }
        Some(_) if !Path::new(text).exists() => Err("write it as FILE or NAME=FILE".to_owned()),
        _ => Ok(Named::own(text)),
    }
}

/// Files that the program may read, opened and named.
#[derive(Debug, Default)]
pub struct Data {
    /// What they are called.
    pub mounts: Vec<Mount>,
    /// The same as a run in this process reads them.
    pub mounted: Vec<DataFile>,
    /// Where they are, and their contents.
    files: Vec<(PathBuf, Arc<File>, BlobRef)>,
}

impl Data {
    /// Adds them to another draft of the same run; blocks.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add_to(&self, draft: &mut Draft) -> io::Result<()> {
        for (path, file, blob) in &self.files {
            let number = if path.is_file() {
                draft.file(path, Arc::clone(file))?
            } else {
                // A pipe was copied, and cannot be read again.
                let (number, copy) = draft.scratch()?;
                let whole = Blob::File { file: Arc::clone(file), offset: 0, len: blob.len };
                let mut at = 0;
                while at < blob.len {
                    let piece = whole.read(at, PIECE)?;
                    copy.write_all_at(&piece, at)?;
                    at += piece.len() as u64;
                }
                number
            };
            draft.data(*blob, number);
        }
        Ok(())
    }
}

/// Opens and names the files, and adds them to the draft; blocks.
///
/// # Errors
/// One cannot be read, or they cannot stand in one folder.
pub fn open(all: &[Named], home: &Home, draft: &mut Draft) -> Result<Data, Fail> {
    if all.len() > bounds::MOUNTS {
        let message = format!("{} data files, at most {} are allowed", all.len(), bounds::MOUNTS);
        return Err(Fail::new(message, "pack some into one file").with_status(2));
    }
    let mut data = Data::default();
    for named in all {
        one(named, home, draft, &mut data)?;
    }
    check_names(data.mounts.iter().map(|data| data.name.as_str())).map_err(|name| {
        let hint = "give it another name with --data NAME=FILE, such as model/weights.bin: no `.` or `..`, none twice";
        Fail::new(format!("no data file can be called {name:?} here"), hint).with_status(2)
    })?;
    Ok(data)
}

fn one(named: &Named, home: &Home, draft: &mut Draft, data: &mut Data) -> Result<(), Fail> {
    let path = Path::new(&named.file);
    let own_name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (number, file) = input::regular(path.as_os_str(), home, draft)?;
    let blob = BlobRef::of_reader(&*file).map_err(input::broken(path.as_os_str()))?;
    if blob.len > bounds::BLOB_BYTES {
        let message =
            format!("{} has {} bytes, a data file has at most {}", path.display(), blob.len, bounds::BLOB_BYTES);
        return Err(Fail::new(message, "cut it into several files"));
    }
    draft.data(blob, number);
    let name = named.name.clone().unwrap_or_else(own_name);
    let mounted = DataFile::of(name.clone(), Arc::clone(&file)).map_err(input::broken(path.as_os_str()))?;
    let name = name.try_into().map_err(|error| Fail::new(error, "give it a shorter name with --data NAME=FILE"))?;
    data.mounts.push(Mount { name, blob });
    data.mounted.push(mounted);
    data.files.push((path.to_owned(), file, blob));
    Ok(())
}
