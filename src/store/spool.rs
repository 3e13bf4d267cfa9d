//! The outputs that an author has collected, in one scratch file: they come in any order, are read in chunk
//! order, and cost a few bytes of memory each.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Collected outputs by chunk number. Written by the node, read in order by whoever presents them.
#[derive(Debug)]
pub struct Spool {
    file: File,
    index: Mutex<Index>,
    changed: Condvar,
}

#[derive(Debug)]
struct Index {
    end: u64,
    places: Vec<Place>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    offset: u64,
    len: u64,
    sealed: bool,
}

impl Spool {
    /// An empty spool for `chunks` outputs, in `file`.
    #[must_use]
    pub fn new(file: File, chunks: u32) -> Spool {
        let places = vec![Place::default(); chunks as usize];
        Spool { file, index: Mutex::new(Index { end: 0, places, closed: false }), changed: Condvar::new() }
    }

    /// Keeps the output of `chunk`; a later one replaces an earlier one, until it is sealed.
    ///
    /// # Errors
    /// What the system says when the file cannot grow: a full disk, usually.
    pub fn put(&self, chunk: u32, output: &[u8]) -> io::Result<()> {
        let len = output.len() as u64;
        let offset = {
            let mut index = self.index();
            let offset = index.end;
            index.end += len;
            offset
        };
        self.file.write_all_at(output, offset)?;
        let place = &mut self.index().places[chunk as usize];
        if !place.sealed {
            *place = Place { offset, len, sealed: false };
        }
        Ok(())
    }

    /// The output of `chunk` counts from now on.
    pub fn seal(&self, chunk: u32) {
        self.index().places[chunk as usize].sealed = true;
        self.changed.notify_all();
    }

    /// No more will be sealed: those who wait for it are told.
    pub fn close(&self) {
        self.index().closed = true;
        self.changed.notify_all();
    }

    /// The output of `chunk`, once it is sealed; `None` when it will never be. Blocks until one is known.
    ///
    /// # Errors
    /// What the system says when the file cannot be read.
    pub fn wait(&self, chunk: u32) -> io::Result<Option<Bytes>> {
        let mut index = self.index();
        let place = loop {
            match index.places.get(chunk as usize) {
                None => return Ok(None),
                Some(place) if place.sealed => break *place,
                Some(_) if index.closed => return Ok(None),
                Some(_) => index = self.changed.wait(index).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(index);
        let mut output = vec![0; place.len as usize];
        self.file.read_exact_at(&mut output, place.offset)?;
        Ok(Some(output.into()))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
