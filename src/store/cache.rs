//! Large blobs of others, in files: those that are coming, those that are here, and those that were needed once. When
//! there is no room for another, those go that were not used for longest; never one that is in use.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use essaim_jobs::BlobRef;

use super::Partial;

/// The large blobs of one home.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    most_bytes: u64,
    open: Mutex<HashMap<BlobRef, Weak<Partial>>>,
}

/// A blob on the disk that nobody uses.
struct Idle {
    paths: Vec<PathBuf>,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// Those in the folder `dir`, which is made if it is not there, of at most so many bytes together.
    ///
    /// # Errors
    /// The system's.
    pub fn new(dir: &Path, most_bytes: u64) -> io::Result<Cache> {
        fs::create_dir_all(dir)?;
        Ok(Cache { dir: dir.to_owned(), most_bytes, open: Mutex::default() })
    }

    /// Bytes that they may have together.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// The blob `name`, as far as it is here; it stays as long as somebody holds it. Reads what is here of it.
    ///
    /// # Errors
    /// The system's, and [`ErrorKind::StorageFull`] when those that are in use leave no room for it.
    pub fn open(&self, name: BlobRef) -> io::Result<Arc<Partial>> {
        let mut open = self.lock();
        if let Some(partial) = open.get(&name).and_then(Weak::upgrade) {
            return Ok(partial);
        }
        open.retain(|_, partial| partial.strong_count() > 0);
        let in_use: Vec<String> = open.keys().chain([&name]).map(Partial::stem).collect();
        let room = self.most_bytes.saturating_sub(open.keys().map(|name| name.len).sum::<u64>());
        let room = room.checked_sub(name.len).ok_or_else(|| {
            let (len, most) = (name.len, self.most_bytes);
            io::Error::new(ErrorKind::StorageFull, format!("{len} bytes more than the {most} that blobs may have"))
        })?;
        self.evict(&in_use, room)?;
        let partial = Arc::new(Partial::open(&self.dir, name)?);
        // As access times are often not kept, a use is written down.
        let _ = File::options()
            .append(true)
            .open(&partial.paths()[0])
            .and_then(|file| file.set_modified(SystemTime::now()));
        open.insert(name, Arc::downgrade(&partial));
        Ok(partial)
    }

    /// The blob `name`, if some of it is here, on the disk or in use.
    #[must_use]
    pub fn find(&self, name: BlobRef) -> Option<Arc<Partial>> {
        let there = self.lock().get(&name).is_some_and(|partial| partial.strong_count() > 0)
            || self.dir.join(format!("{}.part", Partial::stem(&name))).exists();
        there.then(|| self.open(name).ok()).flatten()
    }

    /// Removes what was not used for longest, until the rest fits.
    fn evict(&self, in_use: &[String], most: u64) -> io::Result<()> {
        let mut found: HashMap<String, Idle> = HashMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if in_use.contains(&stem) {
                continue;
            }
            let about = entry.metadata()?;
            let idle = found.entry(stem).or_insert(Idle { paths: Vec::new(), bytes: 0, used: SystemTime::UNIX_EPOCH });
            idle.bytes += about.len();
            idle.used = idle.used.max(about.modified()?);
            idle.paths.push(path);
        }
        let mut found: Vec<Idle> = found.into_values().collect();
        found.sort_by_key(|idle| std::cmp::Reverse(idle.used));
        let mut bytes: u64 = found.iter().map(|idle| idle.bytes).sum();
        while bytes > most {
            let Some(oldest) = found.pop() else { break };
            bytes -= oldest.bytes;
            oldest.paths.iter().try_for_each(fs::remove_file)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobRef, Weak<Partial>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
