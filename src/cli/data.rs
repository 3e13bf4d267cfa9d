//! `--data`: files that the program may read wherever it runs.

use std::path::Path;
use std::sync::Arc;

use essaim_jobs::manifest::check_names;
use essaim_jobs::{BlobRef, Mount, bounds};
use essaim_worker::DataFile;

use super::{Fail, input};
use crate::store::{Draft, Home};

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

/// Opens and names the files, and adds them to the draft; gives them also as a run in this process reads them. Blocks.
///
/// # Errors
/// One cannot be read, or they cannot stand in one folder.
pub fn open(all: &[Named], home: &Home, draft: &mut Draft) -> Result<(Vec<Mount>, Arc<[DataFile]>), Fail> {
    if all.len() > bounds::MOUNTS {
        let message = format!("{} data files, at most {} are allowed", all.len(), bounds::MOUNTS);
        return Err(Fail::new(message, "pack some into one file").with_status(2));
    }
    let opened = all.iter().map(|named| one(named, home, draft)).collect::<Result<Vec<_>, _>>()?;
    let (data, files): (Vec<Mount>, Vec<DataFile>) = opened.into_iter().unzip();
    check_names(data.iter().map(|data| data.name.as_str())).map_err(|name| {
        let hint = "give it another name with --data NAME=FILE, such as model/weights.bin: no `.` or `..`, none twice";
        Fail::new(format!("no data file can be called {name:?} here"), hint).with_status(2)
    })?;
    Ok((data, files.into()))
}

fn one(named: &Named, home: &Home, draft: &mut Draft) -> Result<(Mount, DataFile), Fail> {
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
    let mounted = DataFile::of(name.clone(), file).map_err(input::broken(path.as_os_str()))?;
    let name = name.try_into().map_err(|error| Fail::new(error, "give it a shorter name with --data NAME=FILE"))?;
    Ok((Mount { name, blob }, mounted))
}
