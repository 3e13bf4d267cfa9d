//! What a job of this author takes, found by name: its program, its chunk table, its inputs and its data. Nothing of it
//! is held in memory: where the inputs stand is in a sorted file, and they are read where they stand.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use essaim_jobs::{BlobId, BlobRef, Manifest};

use super::draft::FileNumber;
use crate::blob::Blob;

pub(super) const PROGRAM: &str = "program";
pub(super) const PAGES: &str = "pages";
pub(super) const PLACES: &str = "places";
/// Names of chunks, each ended by a zero; only where chunks are files.
pub(super) const NAMES: &str = "names";

/// Files that are open at the same time.
const OPEN: usize = 128;
/// Bytes of an encoded [`Place`]: the name, the length, the file's number, the offset.
const PLACE: usize = 32 + 8 + 4 + 8;

/// Where a blob stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub blob: BlobRef,
    pub file: FileNumber,
    pub offset: u64,
}

impl Place {
    fn encode(&self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        bytes[..32].copy_from_slice(&self.blob.id.0);
        bytes[32..40].copy_from_slice(&self.blob.len.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.file.0.to_be_bytes());
        bytes[44..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; PLACE]) -> Place {
        let number = |at: usize, len: usize| bytes[at..at + len].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        let blob = BlobRef { id: BlobId(id), len: number(32, 8) };
        Place { blob, file: FileNumber(number(40, 4) as u32), offset: number(44, 8) }
    }
}

/// Writes `places`, sorted by name, to a new file.
pub(super) fn write_places(path: &Path, places: &[Place]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create_new(path)?);
    places.iter().try_for_each(|place| out.write_all(&place.encode()))?;
    out.flush()
}

/// The files in which inputs stand, some of them open.
#[derive(Debug)]
pub(super) struct Files {
    /// Against which the paths are to be read.
    dir: PathBuf,
    paths: Vec<PathBuf>,
    open: HashMap<u32, Arc<File>>,
}

impl Files {
    pub fn new(dir: PathBuf) -> Files {
        Files { dir, paths: Vec::new(), open: HashMap::new() }
    }

    pub fn of(dir: PathBuf, paths: Vec<PathBuf>) -> Files {
        Files { dir, paths, open: HashMap::new() }
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    pub fn moved(self, dir: PathBuf) -> Files {
        Files { dir, ..self }
    }

    pub fn add(&mut self, path: PathBuf, file: Arc<File>) -> FileNumber {
        let number = self.paths.len() as u32;
        self.paths.push(path);
        if self.open.len() < OPEN {
            self.open.insert(number, file);
        }
        FileNumber(number)
    }

    fn get(&mut self, number: FileNumber) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(&number.0) {
            return Ok(Arc::clone(file));
        }
        let path = self.paths.get(number.0 as usize).ok_or(io::ErrorKind::NotFound)?;
        let file = Arc::new(File::open(self.dir.join(path))?);
        if self.open.len() >= OPEN {
            // Any will do: inputs are mostly read once.
            let some = self.open.keys().next().copied();
            some.and_then(|number| self.open.remove(&number));
        }
        self.open.insert(number.0, Arc::clone(&file));
        Ok(file)
    }
}

/// The inputs of one job, served from where they stand.
#[derive(Debug)]
pub struct Inputs {
    program: (BlobRef, Arc<File>),
    /// The pages of the table, and where each begins.
    pages: Vec<(BlobRef, u64)>,
    table: Arc<File>,
    places: File,
    count: u64,
    files: Mutex<Files>,
    names: PathBuf,
}

impl Inputs {
    pub(super) fn open(dir: &Path, manifest: &Manifest, files: Files) -> io::Result<Inputs> {
        let mut at = 0;
        let mut page = |page: &BlobRef| {
            at += page.len;
            (*page, at - page.len)
        };
        let places = File::open(dir.join(PLACES))?;
        let table = Arc::new(File::open(dir.join(PAGES))?);
        Ok(Inputs {
            program: (manifest.program, Arc::new(File::open(dir.join(PROGRAM))?)),
            // Where its peers have them, the file is empty.
            pages: if table.metadata()?.len() > 0 {
                manifest.pages.iter().map(&mut page).collect()
            } else {
                Vec::new()
            },
            table,
            count: places.metadata()?.len() / PLACE as u64,
            places,
            names: dir.join(NAMES),
            files: Mutex::new(files),
        })
    }

    /// The blob called `id`, if it belongs to this job and can still be read.
    #[must_use]
    pub fn find(&self, id: &BlobId) -> Option<Blob> {
        if self.program.0.id == *id {
            return Some(Blob::File { file: Arc::clone(&self.program.1), offset: 0, len: self.program.0.len });
        }
        if let Some((page, offset)) = self.pages.iter().find(|(page, _)| page.id == *id) {
            return Some(Blob::File { file: Arc::clone(&self.table), offset: *offset, len: page.len });
        }
        let place = self.place(id).ok()??;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.get(place.file).ok()?;
        Some(Blob::File { file, offset: place.offset, len: place.blob.len })
    }

    /// The names of the chunks, in order, where each is a file; else none. As many as there were words on the command line.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = fs::read(&self.names).unwrap_or_default();
        names
            .split_inclusive(|byte| *byte == 0)
            .map(|name| String::from_utf8_lossy(&name[..name.len() - 1]).into())
            .collect()
    }

    /// Looks `id` up in the sorted file.
    fn place(&self, id: &BlobId) -> io::Result<Option<Place>> {
        let (mut low, mut high) = (0, self.count);
        let mut bytes = [0; PLACE];
        while low < high {
            let middle = low + (high - low) / 2;
            self.places.read_exact_at(&mut bytes, middle * PLACE as u64)?;
            let place = Place::decode(&bytes);
            match place.blob.id.cmp(id) {
                std::cmp::Ordering::Equal => return Ok(Some(place)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}
