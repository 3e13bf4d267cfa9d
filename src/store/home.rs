//! The node's home: a folder with its keys, its blobs and a lock, so that no two nodes share one.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use essaim_jobs::{JobId, Keypair};

use super::{Store, StoreError, past, saved};

/// How many nodes of one user on one machine get a home of their own without asking for it.
const SLOTS: usize = 64;
/// The database, and the folder of jobs.
const STORE: &str = "store.redb";
const JOBS: &str = "jobs";
const BLOBS: &str = "blobs";

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another node runs in it.
    #[error("another essaim node is running in {0}")]
    InUse(PathBuf),
    /// There is no place for a default home.
    #[error("no home folder is known for this user")]
    NoDefault,
    /// A key file does not hold a key.
    #[error("{0} is not a key of essaim")]
    BadKey(PathBuf),
    /// The operating system refuses.
    #[error("cannot use {path} as a home")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its database cannot be used.
    #[error("cannot use {path} as a home")]
    Store {
        /// The home.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

impl HomeError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            HomeError::InUse(_) => "give this node a home of its own with --home DIR".into(),
            HomeError::NoDefault => "say where with --home DIR or ESSAIM_HOME".into(),
            HomeError::BadKey(path) => format!("move {} away; a new key is then made", path.display()),
            HomeError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "the disk is full: make room, or choose another disk with --home DIR".into()
            }
            HomeError::Store { source, .. } => source.hint().into(),
            HomeError::Io { .. } => "check that the folder can be written, or choose another with --home DIR".into(),
        }
    }
}

/// Bytes that are free for this user on the disk of a folder.
///
/// # Errors
/// The system's: there is no such folder.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(dir)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// A home that this process holds alone.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    store: Arc<Store>,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Home {
    /// Opens the home in `dir`, making it if it is not there.
    ///
    /// # Errors
    /// [`HomeError::InUse`] when another process holds it, [`HomeError::Io`] when it cannot be written.
    pub fn open(dir: &Path) -> Result<Home, HomeError> {
        let io = |path: &Path, source| HomeError::Io { path: path.to_owned(), source };
        fs::create_dir_all(dir).map_err(|e| io(dir, e))?;
        let path = dir.join("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(|e| io(&path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HomeError::InUse(dir.to_owned())),
            Err(TryLockError::Error(e)) => return Err(io(&path, e)),
        }
        let spoilt = |source: StoreError| HomeError::Store { path: dir.to_owned(), source: source.at(dir) };
        let jobs = dir.join(JOBS);
        fs::create_dir_all(&jobs).map_err(|e| io(&jobs, e))?;
        let store = Arc::new(Store::open(&dir.join(STORE)).map_err(spoilt)?);
        let home = Home { dir: dir.to_owned(), store, _lock: lock };
        saved::sweep(&home).and_then(|()| past::sweep(&home.store, dir)).map_err(spoilt)?;
        Ok(home)
    }

    /// Opens the first default home that no other node of this user holds: one machine can run several nodes
    /// without being told how. They are folders `1`, `2`, … in the user's data folder for essaim.
    ///
    /// # Errors
    /// As [`Home::open`], and [`HomeError::NoDefault`].
    pub fn open_default() -> Result<Home, HomeError> {
        let root = Home::root()?;
        for slot in 1..=SLOTS {
            match Home::open(&root.join(slot.to_string())) {
                Err(HomeError::InUse(_)) => {}
                other => return other,
            }
        }
        Err(HomeError::InUse(root))
    }

    /// The first default home of this user, whether it is there or not.
    ///
    /// # Errors
    /// [`HomeError::NoDefault`].
    pub fn first_default() -> Result<PathBuf, HomeError> {
        Home::root().map(|root| root.join("1"))
    }

    /// The default homes of this user that there are, used by a node or not.
    ///
    /// # Errors
    /// [`HomeError::NoDefault`].
    pub fn defaults() -> Result<Vec<PathBuf>, HomeError> {
        let root = Home::root()?;
        Ok((1..=SLOTS).map(|slot| root.join(slot.to_string())).filter(|home| home.is_dir()).collect())
    }

    /// The user's data folder for essaim.
    ///
    /// # Errors
    /// [`HomeError::NoDefault`].
    pub fn root() -> Result<PathBuf, HomeError> {
        use etcetera::BaseStrategy;
        let base = etcetera::choose_base_strategy().map_err(|_| HomeError::NoDefault)?;
        Ok(base.data_dir().join("essaim"))
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its database.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The folder of large blobs of others.
    #[must_use]
    pub fn blobs_dir(&self) -> PathBuf {
        self.dir.join(BLOBS)
    }

    /// The folder of its author's jobs.
    pub(super) fn jobs_dir(&self) -> PathBuf {
        self.dir.join(JOBS)
    }

    /// The folder of one of them.
    pub(super) fn job_dir(&self, job: JobId) -> PathBuf {
        self.jobs_dir().join(job.to_string())
    }

    /// The seed of the key called `name` (`node`, `author`); made from the system's randomness on first use and
    /// readable by its owner only.
    ///
    /// # Errors
    /// [`HomeError::BadKey`] when the file holds something else, [`HomeError::Io`].
    pub fn seed(&self, name: &str) -> Result<[u8; 32], HomeError> {
        let path = self.dir.join(format!("{name}.key"));
        let io = |source| HomeError::Io { path: path.clone(), source };
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| HomeError::BadKey(path.clone())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let seed: [u8; 32] = rand::random();
                // Written whole under another name first: a crash leaves no half key behind.
                let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(io)?;
                file.write_all(&seed).map_err(io)?;
                file.as_file().sync_all().map_err(io)?;
                file.persist(&path).map_err(|e| io(e.error))?;
                Ok(seed)
            }
            Err(e) => Err(io(e)),
        }
    }

    /// The key called `name`, as [`Home::seed`].
    ///
    /// # Errors
    /// As [`Home::seed`].
    pub fn keypair(&self, name: &str) -> Result<Keypair, HomeError> {
        self.seed(name).map(|seed| Keypair::from_seed(&seed))
    }
}
