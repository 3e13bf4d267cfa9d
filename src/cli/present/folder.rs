//! `--results DIR`: a file a chunk. Its name is the chunk's number, so that names sort as the chunks do, and what its input
//! is called: `000007-0.25`, `000012-photo.jpg`. What failed has its words in such a file that ends in `.err`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::label::Labels;
use super::sink::new_beside;
use super::{Leg, PIECE, Unwritten, copy, unreadable, unwritten};
use crate::blob::Blob;
use crate::cli::fail::Fail;
use crate::store::Sealed;

/// What a file's name has at most beside the number, bytes: systems allow 255.
const NAME_BYTES: usize = 200;

/// The folder.
pub struct Folder {
    dir: PathBuf,
    labels: Option<Labels>,
}

impl Folder {
    /// Makes it, if it is not there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(dir: &Path) -> Result<Folder, Fail> {
        let refused = |error: io::Error| {
            let hint = "--results takes a folder that you can write to; it is made if it is not there";
            Fail::new(format!("cannot write into {}: {error}", dir.display()), hint)
        };
        fs::create_dir_all(dir).map_err(refused)?;
        // Better now than when something has come out.
        new_beside(&dir.join("any")).map_err(refused)?;
        Ok(Folder { dir: dir.to_owned(), labels: None })
    }

    /// Writes what has come out of a chunk, unless that stands there already.
    pub fn put(&mut self, leg: &Leg, chunk: u32, sealed: &Sealed) -> Result<(), Unwritten> {
        let name = self.name(leg, chunk);
        let [good, bad] = [self.dir.join(&name), self.dir.join(format!("{name}.err"))];
        let (path, other) = if sealed.failed { (bad, good) } else { (good, bad) };
        match fs::remove_file(other) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unwritten(error)),
            _ => {}
        }
        if stands_in(&path, &sealed.bytes)? {
            return Ok(());
        }
        let mut file = new_beside(&path).map_err(unwritten)?;
        copy(&sealed.bytes, &mut file)?;
        file.persist(path).map(drop).map_err(|refused| unwritten(refused.error))
    }

    fn name(&mut self, leg: &Leg, chunk: u32) -> String {
        let labels = match self.labels.take() {
            Some(labels) if labels.are_of(leg) => labels,
            _ => Labels::new(leg.clone()),
        };
        let labels = self.labels.insert(labels);
        let mut name = format!("{:06}", leg.number(chunk));
        if let Some(label) = labels.of(chunk).plain() {
            let end = (0..=NAME_BYTES.min(label.len())).rev().find(|at| label.is_char_boundary(*at));
            name.push('-');
            name.push_str(&label[..end.unwrap_or(0)]);
        }
        name
    }
}

/// Whether the file has just these bytes already: from a run before.
fn stands_in(path: &Path, bytes: &Blob) -> Result<bool, Unwritten> {
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    if !file.metadata().is_ok_and(|about| about.is_file() && about.len() == bytes.len()) {
        return Ok(false);
    }
    let (mut at, mut there) = (0, Vec::new());
    while at < bytes.len() {
        let piece = bytes.read(at, PIECE).map_err(|e| unreadable(&e))?;
        there.resize(piece.len(), 0);
        if file.read_exact(&mut there).is_err() || there != *piece {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
    Ok(true)
}
