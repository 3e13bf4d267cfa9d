//! A text that becomes chunks of a draft as it comes.

use std::path::Path;

use essaim_jobs::split::{Block, Cutter, Items};

use super::super::Fail;
use super::{MOST, fail, full};
use crate::store::{Draft, FileNumber};

/// A text that is being cut into chunks of whole items as it comes. What was pushed stands in a file of the draft.
pub struct Chunker {
    cutter: Cutter,
    file: FileNumber,
    /// What was pushed and not cut yet, and where in the file it begins.
    rest: Vec<u8>,
    begin: u64,
}

impl Chunker {
    /// One of which nothing is known yet.
    pub fn new(file: FileNumber, items: &Items, block: Block) -> Chunker {
        Chunker { cutter: Cutter::new(items, block, MOST), file, rest: Vec::new(), begin: 0 }
    }

    /// Takes the next piece, which stands in the file behind those before it.
    pub fn push(&mut self, piece: &[u8], home: &Path, draft: &mut Draft) -> Result<(), Fail> {
        self.rest.extend_from_slice(piece);
        let cuts = self.cutter.push(piece).map_err(|e| fail(&e))?;
        self.cut(&cuts, home, draft)
    }

    /// Makes a chunk of the whole items that are there, however few, where a chunk is not to have a number of them.
    pub fn close(&mut self, home: &Path, draft: &mut Draft) -> Result<(), Fail> {
        let cut = self.cutter.close(&self.rest);
        self.cut(cut.as_slice(), home, draft)
    }

    /// How much of it is not cut yet.
    pub fn rest(&self) -> usize {
        self.rest.len()
    }

    /// The text goes on elsewhere with these bytes: the beginning of a chunk.
    pub fn into_rest(self) -> Vec<u8> {
        self.rest
    }

    /// That was all of it.
    pub fn end(mut self, home: &Path, draft: &mut Draft) -> Result<(), Fail> {
        let cut = self.cutter.clone().finish();
        self.cut(cut.as_slice(), home, draft)
    }

    fn cut(&mut self, ends: &[u64], home: &Path, draft: &mut Draft) -> Result<(), Fail> {
        let mut taken = 0;
        for end in ends {
            let upto = (end - self.begin) as usize;
            let offset = self.begin + taken as u64;
            draft.push(&self.rest[taken..upto], self.file, offset).map_err(|error| full(home, &error))?;
            taken = upto;
        }
        self.rest.drain(..taken);
        self.begin += taken as u64;
        Ok(())
    }
}
