//! Compiled programs on disk, by program and engine: the least recently used go when there are too many.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::engine;
use crate::message::ProgramId;

/// The ending of a file that is complete, and of one that is being written.
const COMPLETE: &str = "cwasm";
const UNDER_WAY: &str = "part";

/// A folder of compiled programs.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    most: u64,
}

impl Cache {
    /// The folder is made where it is missing; what was left half-written there is removed.
    pub(super) fn open(dir: &Path, most: u64) -> io::Result<Cache> {
        let dir = dir.join(engine::tag().replace('/', "-"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&dir)?;
        let cache = Cache { dir, most };
        for (path, ..) in cache.files(UNDER_WAY)? {
            fs::remove_file(path)?;
        }
        Ok(cache)
    }

    fn path(&self, program: ProgramId, ending: &str) -> PathBuf {
        let hash: String = program.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{hash}-{}.{ending}", program.mode.word()))
    }

    /// The compiled program, if it is here; it is now the most recently used.
    pub(super) fn find(&self, program: ProgramId) -> Option<File> {
        let file = File::open(self.path(program, COMPLETE)).ok()?;
        // What cannot be marked as used merely goes sooner.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// A file to write a compiled program to.
    pub(super) fn begin(&self, program: ProgramId) -> io::Result<File> {
        File::create(self.path(program, UNDER_WAY))
    }

    /// What was begun is complete.
    pub(super) fn keep(&self, program: ProgramId) -> io::Result<File> {
        let (from, to) = (self.path(program, UNDER_WAY), self.path(program, COMPLETE));
        let file = File::open(&from)?;
        file.sync_data()?;
        // The system's own stamps lag behind those that `find` makes.
        file.set_modified(SystemTime::now())?;
        fs::rename(from, to)?;
        self.make_room()?;
        Ok(file)
    }

    /// What was begun came to nothing, or what is here is of no use.
    pub(super) fn remove(&self, program: ProgramId) {
        for ending in [UNDER_WAY, COMPLETE] {
            // It is gone either way.
            let _ = fs::remove_file(self.path(program, ending));
        }
    }

    /// Files with this ending: path, time of the last use, length.
    fn files(&self, ending: &str) -> io::Result<Vec<(PathBuf, SystemTime, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|is| is == ending) {
                let about = fs::metadata(&path)?;
                files.push((path, about.modified()?, about.len()));
            }
        }
        Ok(files)
    }

    /// Removes the least recently used, until the rest is small enough. Whoever has one open keeps it.
    fn make_room(&self) -> io::Result<()> {
        let mut files = self.files(COMPLETE)?;
        files.sort_by_key(|(_, used, _)| *used);
        let mut all: u64 = files.iter().map(|(.., length)| length).sum();
        files.pop();
        for (path, _, length) in files {
            if all <= self.most {
                break;
            }
            fs::remove_file(path)?;
            all -= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    fn id(program: u8) -> ProgramId {
        ProgramId::plain([program; 32])
    }

    fn put(cache: &Cache, program: u8, bytes: usize) {
        cache.begin(id(program)).unwrap().write_all(&vec![program; bytes]).unwrap();
        cache.keep(id(program)).unwrap();
    }

    fn used(cache: &Cache, program: u8, seconds: u64) {
        let file = File::options().write(true).open(cache.path(id(program), COMPLETE)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 250).unwrap();
        put(&cache, 1, 100);
        put(&cache, 2, 100);
        used(&cache, 1, 1_000);
        used(&cache, 2, 2_000);
        // Found, so used.
        let mut open = cache.find(id(1)).unwrap();
        put(&cache, 3, 100);
        assert!(cache.find(id(2)).is_none());
        assert!(cache.find(id(3)).is_some());
        // One that is larger than all that may be kept stays until there is another.
        put(&cache, 4, 1_000);
        assert!(cache.find(id(1)).is_none() && cache.find(id(4)).is_some());
        let mut bytes = Vec::new();
        open.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [1; 100]);
    }

    #[test]
    fn what_is_half_written_is_not_found_and_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 250).unwrap();
        cache.begin(id(1)).unwrap().write_all(b"half").unwrap();
        assert!(cache.find(id(1)).is_none());
        drop(cache);
        let cache = Cache::open(dir.path(), 250).unwrap();
        assert!(cache.files(UNDER_WAY).unwrap().is_empty());
    }
}
