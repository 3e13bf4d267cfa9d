//! A job that is being put together: what it takes is written to a folder as it comes, so that a large input costs
//! no memory; when all is there, the folder becomes the job's, in one step.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use essaim_jobs::{BlobRef, ChunkInput, Page, bounds, encode};
use tempfile::TempDir;

use super::Home;
use super::inputs::{Files, Place};
use super::saved::{self, Row, Saved};
use super::{Kin, StoreError, inputs};

/// Which of a job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNumber(pub(super) u32);

/// A job that nobody else knows of yet. Dropping it removes what was written.
#[derive(Debug)]
pub struct Draft {
    dir: TempDir,
    pages: BufWriter<File>,
    page: Vec<ChunkInput>,
    page_refs: Vec<BlobRef>,
    places: Vec<Place>,
    files: Files,
    scratches: u32,
    /// What the chunks are called, each ended by a zero.
    names: Vec<u8>,
    chunks: u64,
    bytes: u64,
}

impl Draft {
    /// An empty one in this home.
    ///
    /// # Errors
    /// The system's, when nothing can be written there.
    pub fn new(home: &Home) -> io::Result<Draft> {
        let dir = tempfile::Builder::new().prefix(saved::DRAFT).tempdir_in(home.jobs_dir())?;
        Ok(Draft {
            pages: BufWriter::new(File::create_new(dir.path().join(inputs::PAGES))?),
            files: Files::new(dir.path().to_owned()),
            dir,
            page: Vec::new(),
            page_refs: Vec::new(),
            places: Vec::new(),
            scratches: 0,
            names: Vec::new(),
            chunks: 0,
            bytes: 0,
        })
    }

    /// Chunks so far.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Bytes of their inputs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A new file in the job's folder, for what cannot be read again where it came from.
    ///
    /// # Errors
    /// The system's.
    pub fn scratch(&mut self) -> io::Result<(FileNumber, Arc<File>)> {
        let name = PathBuf::from(format!("input-{}", self.scratches));
        self.scratches += 1;
        let path = self.dir.path().join(&name);
        let file = Arc::new(File::options().read(true).write(true).create_new(true).open(path)?);
        Ok((self.files.add(name, Arc::clone(&file)), file))
    }

    /// A file of the author's own, which is read where it stands and must not change while the job lives.
    ///
    /// # Errors
    /// The current folder is gone.
    pub fn file(&mut self, path: &Path, file: Arc<File>) -> io::Result<FileNumber> {
        Ok(self.files.add(std::path::absolute(path)?, file))
    }

    /// `blob`, which is data for all chunks, is all that stands in `file`.
    pub fn data(&mut self, blob: BlobRef, file: FileNumber) {
        self.places.push(Place { blob, file, offset: 0 });
    }

    /// The next chunk is called so. Where one has a name, all have.
    pub fn name(&mut self, name: &str) {
        self.names.extend(name.bytes().filter(|byte| *byte != 0).chain([0]));
    }

    /// One chunk more, whose input is `content`; it stands at `offset` of `file`. A short one is copied.
    ///
    /// # Errors
    /// The system's, when the disk is full.
    pub fn push(&mut self, content: &[u8], file: FileNumber, offset: u64) -> io::Result<()> {
        if content.len() <= bounds::INLINE_INPUT {
            return self.push_inline(content);
        }
        self.push_blob(BlobRef::of(content), file, offset)
    }

    /// As [`Draft::push`], of a longer input whose name is known.
    ///
    /// # Errors
    /// The system's, when the disk is full.
    pub fn push_blob(&mut self, blob: BlobRef, file: FileNumber, offset: u64) -> io::Result<()> {
        self.places.push(Place { blob, file, offset });
        self.add(ChunkInput::Blob(blob))
    }

    /// One chunk more, whose input is at most [`bounds::INLINE_INPUT`] bytes.
    ///
    /// # Errors
    /// The system's, when the disk is full.
    pub fn push_inline(&mut self, content: &[u8]) -> io::Result<()> {
        debug_assert!(content.len() <= bounds::INLINE_INPUT, "a longer input stands in a file");
        self.add(ChunkInput::Inline(content.to_vec().into()))
    }

    fn add(&mut self, input: ChunkInput) -> io::Result<()> {
        self.chunks += 1;
        self.bytes += input.bytes();
        self.page.push(input);
        if self.page.len() == bounds::PAGE_CHUNKS { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        let page = encode(&Page(std::mem::take(&mut self.page)));
        self.page_refs.push(BlobRef::of(&page));
        self.pages.write_all(&page)
    }

    /// The pages of the chunk table. No chunk may be added after this.
    ///
    /// # Errors
    /// The system's, when the disk is full.
    pub fn pages(&mut self) -> io::Result<Vec<BlobRef>> {
        if !self.page.is_empty() {
            self.end_page()?;
        }
        Ok(self.page_refs.clone())
    }

    /// Makes it a job of this home, with this program: when it returns the job survives any crash.
    ///
    /// With a `kin`, what comes out of it is for later jobs as well.
    ///
    /// # Errors
    /// The disk is full, or the home's database cannot be used.
    pub fn save(self, home: &Home, row: Row, program: &[u8], kin: Option<Kin>) -> Result<Saved, StoreError> {
        self.write(home, row, program, kin).map_err(|error| error.at(home.dir()))
    }

    fn write(mut self, home: &Home, row: Row, program: &[u8], kin: Option<Kin>) -> Result<Saved, StoreError> {
        let job = row.manifest.body.id();
        let row = Row { files: self.files.paths(), ..row };
        fs::write(self.dir.path().join(inputs::PROGRAM), program)?;
        self.places.sort_unstable_by_key(|place| place.blob.id);
        inputs::write_places(&self.dir.path().join(inputs::PLACES), &self.places)?;
        if !self.names.is_empty() {
            fs::write(self.dir.path().join(inputs::NAMES), &self.names)?;
        }
        self.pages.flush()?;
        for entry in fs::read_dir(self.dir.path())? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(self.dir.path())?.sync_all()?;
        let dir = home.job_dir(job);
        fs::rename(self.dir.keep(), &dir)?;
        File::open(home.jobs_dir())?.sync_all()?;
        home.store().put_job(job, &row, kin)?;
        Ok(Saved::of(home, row, dir, self.files))
    }
}
