//! The database of a home: what must survive any crash, but for the bytes themselves, which are files beside it.
//!
//! Every change is one transaction: it is on the disk, whole, when the call returns, or it never was.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use essaim_jobs::{JobId, NodeId, WireError, decode, encode};
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableHandle, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::past::{Kin, Past, Sum};
use super::saved::Row;

/// The form of everything in a home.
pub const VERSION: u64 = 1;
/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes of one row: a manifest, and the paths of its files.
const ROW_BYTES: usize = 256 << 20;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// This author's jobs: job, encoded [`Row`].
const JOBS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("jobs");
/// Outputs that are safe: job and number of the batch, encoded [`Batch`].
const OUTPUTS: TableDefinition<([u8; 32], u32), &[u8]> = TableDefinition::new("outputs");
/// Failures among the outputs of a batch: the same key, encoded places. Few batches have any.
const FAILURES: TableDefinition<([u8; 32], u32), &[u8]> = TableDefinition::new("failures");
/// What vouches for a batch of a job whose outputs others may take: the same key, encoded [`Sum`].
const SUMS: TableDefinition<([u8; 32], u32), &[u8]> = TableDefinition::new("sums");
/// Jobs whose outputs others may take: job, its [`Kin`]; also of past ones.
const KINS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("kins");
/// Jobs that are over, whose outputs are still here: job, encoded [`Past`].
const PAST: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("past");

/// What this home has seen of other nodes: node, encoded [`Repute`]. Homes of before have no such table.
const PEERS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("peers");
/// Nodes that are remembered; those go first that were not seen for longest.
pub const PEERS_KEPT: usize = 4_096;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Made by another version of essaim.
    #[error("this home has the form {0}, this essaim reads form {VERSION}")]
    Version(u64),
    /// The system refuses, or what is there is spoilt.
    #[error("the home's database cannot be used: {0}")]
    Database(Box<redb::Error>),
    /// The system refuses a file beside it.
    #[error("a file of the home cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// There is no room left on the disk of this folder.
    #[error("the disk of {0} is full")]
    Full(PathBuf),
    /// A row is not what it should be.
    #[error("the home's database is spoilt: {0}")]
    Spoilt(#[from] WireError),
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                StoreError::Database(Box::new(error.into()))
            }
        })*
    };
}
from_redb!(CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError);

impl StoreError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Version(_) => "use the essaim that made it, or another home with --home DIR",
            _ if self.is_full() => "make room, or choose another disk with --home DIR",
            StoreError::Database(_) | StoreError::Io(_) | StoreError::Full(_) => {
                "check that its folder can be written, or choose another home with --home DIR"
            }
            StoreError::Spoilt(_) => "move store.redb in that folder away; the jobs in it are lost then",
        }
    }

    /// The same, saying where there is no room if that is what is wrong: a person may have several disks.
    pub(super) fn at(self, dir: &Path) -> StoreError {
        if self.is_full() { StoreError::Full(dir.to_owned()) } else { self }
    }

    /// Whether there is no room left on the disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let error = match self {
            StoreError::Io(error) => Some(error),
            StoreError::Database(error) => match &**error {
                redb::Error::Io(error) => Some(error),
                _ => None,
            },
            StoreError::Full(_) => return true,
            _ => None,
        };
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    }
}

/// Outputs that have become safe together: they stand one after the other in the job's file of outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Where the first one begins.
    pub offset: u64,
    /// Chunk, bytes of its output, and whose it is: an index into `workers`.
    pub outputs: Vec<(u32, u32, u32)>,
    /// Who ran them.
    pub workers: Vec<NodeId>,
    /// Which of `outputs` are failures of chunks that were given up, by their places, rising: in a table of their own.
    #[serde(skip)]
    pub failed: Vec<u32>,
}

/// What a home has seen of a node that has run chunks for its jobs which others ran, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repute {
    /// Its results that agreed with those of enough others.
    pub agreed: u64,
    /// Its results that enough others spoke against.
    pub outvoted: u64,
    /// When it was banned from a job last, milliseconds since 1970.
    pub banned_ms: Option<u64>,
    /// When it was last seen in any of these ways, milliseconds since 1970.
    pub seen_ms: u64,
}

/// The database of one home.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Database,
}

impl Store {
    /// Opens the database in the file `path`, making it if it is not there; goes back to the last change that was whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let open = |path| Store::of(Builder::new().set_cache_size(CACHE_BYTES).create(path)?);
        if path.exists() {
            return open(path);
        }
        // Half a database cannot be opened: it has its name only when it is whole.
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let store = open(&new)?;
        fs::rename(&new, path)?;
        Ok(store)
    }

    pub(super) fn of(db: Database) -> Result<Store, StoreError> {
        let store = Store { db };
        let found = match store.db.begin_read()?.open_table(META) {
            Ok(meta) => meta.get("version")?.map(|version| version.value()),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let has_all = store.db.begin_read()?.list_tables()?.any(|table| table.name() == FAILURES.name());
        match found {
            // Tables of a home that is older than they are come with its first use.
            Some(VERSION) if has_all => {}
            Some(VERSION) | None => store.change(|change| {
                change.open_table(META)?.insert("version", VERSION)?;
                change.open_table(JOBS)?;
                change.open_table(OUTPUTS)?;
                change.open_table(FAILURES)?;
                change.open_table(SUMS)?;
                change.open_table(KINS)?;
                change.open_table(PAST)?;
                Ok(())
            })?,
            Some(other) => return Err(StoreError::Version(other)),
        }
        Ok(store)
    }

    /// One transaction, safe when this returns.
    pub(super) fn change<T>(
        &self,
        of: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut change = self.db.begin_write()?;
        change.set_durability(Durability::Immediate)?;
        // What strangers sent must not be able to stand in for a whole transaction.
        change.set_two_phase_commit(true);
        let out = of(&change)?;
        change.commit()?;
        Ok(out)
    }

    /// What stands in the database now.
    pub(super) fn read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.db.begin_read()?)
    }

    /// This author's jobs, by name.
    pub(super) fn jobs(&self) -> Result<Vec<(JobId, Row)>, StoreError> {
        self.rows(JOBS)
    }

    /// All that stands in a table with a row a job.
    fn rows<T: DeserializeOwned>(
        &self,
        table: TableDefinition<[u8; 32], &[u8]>,
    ) -> Result<Vec<(JobId, T)>, StoreError> {
        let table = self.db.begin_read()?.open_table(table)?;
        table
            .iter()?
            .map(|entry| {
                let (job, row) = entry?;
                Ok((JobId(job.value()), decode(row.value(), ROW_BYTES)?))
            })
            .collect()
    }

    /// One of them.
    pub(super) fn job(&self, job: JobId) -> Result<Option<Row>, StoreError> {
        let jobs = self.db.begin_read()?.open_table(JOBS)?;
        Ok(jobs.get(job.0)?.map(|row| decode(row.value(), ROW_BYTES)).transpose()?)
    }

    /// Adds a job; with its kin, if others may take what comes out of it.
    pub(super) fn put_job(&self, job: JobId, row: &Row, kin: Option<Kin>) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(JOBS)?.insert(job.0, encode(row).as_slice())?;
            if let Some(kin) = kin {
                change.open_table(KINS)?.insert(job.0, encode(&kin).as_slice())?;
            }
            Ok(())
        })
    }

    /// The kin of a job whose outputs others may take.
    pub(super) fn kin(&self, job: JobId) -> Result<Option<Kin>, StoreError> {
        let kins = self.db.begin_read()?.open_table(KINS)?;
        Ok(kins.get(job.0)?.map(|kin| decode(kin.value(), ROW_BYTES)).transpose()?)
    }

    /// What this home has seen of other nodes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn peers(&self) -> Result<Vec<(NodeId, Repute)>, StoreError> {
        let peers = match self.db.begin_read()?.open_table(PEERS) {
            Ok(peers) => peers,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let entries = peers.iter()?.map(|entry| {
            let (node, repute) = entry?;
            Ok((NodeId(node.value()), decode(repute.value(), ROW_BYTES)?))
        });
        entries.collect()
    }

    /// Adds what was seen of nodes to what is known: counts are added up, the later times stay. Beyond [`PEERS_KEPT`] those
    /// are forgotten that were not seen for longest.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn saw(&self, seen: &[(NodeId, Repute)]) -> Result<(), StoreError> {
        self.change(|change| {
            let mut peers = change.open_table(PEERS)?;
            for (node, new) in seen {
                let known: Option<Repute> =
                    peers.get(node.0)?.map(|known| decode(known.value(), ROW_BYTES)).transpose()?;
                let known = known.unwrap_or_default();
                let sum = Repute {
                    agreed: known.agreed.saturating_add(new.agreed),
                    outvoted: known.outvoted.saturating_add(new.outvoted),
                    banned_ms: known.banned_ms.max(new.banned_ms),
                    seen_ms: known.seen_ms.max(new.seen_ms),
                };
                peers.insert(node.0, encode(&sum).as_slice())?;
            }
            let mut all = Vec::new();
            if peers.len()? > PEERS_KEPT as u64 {
                for entry in peers.iter()? {
                    let (node, repute) = entry?;
                    all.push((decode::<Repute>(repute.value(), ROW_BYTES)?.seen_ms, node.value()));
                }
            }
            all.sort_unstable();
            for (_, node) in all.iter().take(all.len().saturating_sub(PEERS_KEPT)) {
                peers.remove(node)?;
            }
            Ok(())
        })
    }

    /// Forgets what was seen of a node; whether anything was.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forgive(&self, node: NodeId) -> Result<bool, StoreError> {
        self.change(|change| Ok(change.open_table(PEERS)?.remove(node.0)?.is_some()))
    }

    /// Forgets a job and its outputs.
    pub(super) fn remove_job(&self, job: JobId) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(JOBS)?.remove(job.0)?;
            remove_outputs(change, job)
        })
    }

    /// Makes a job one that is over; forgets `others`, which it outdoes.
    pub(super) fn retire(&self, job: JobId, past: &Past, others: &[JobId]) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(JOBS)?.remove(job.0)?;
            change.open_table(PAST)?.insert(job.0, encode(past).as_slice())?;
            remove_past(change, others)
        })
    }

    /// The jobs that are over, and whose outputs are here.
    pub(super) fn past(&self) -> Result<Vec<(JobId, Past)>, StoreError> {
        self.rows(PAST)
    }

    /// Forgets some of them, and their outputs.
    pub(super) fn remove_past(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        self.change(|change| remove_past(change, jobs))
    }

    /// Some of them were of use.
    pub(super) fn touch_past(&self, jobs: &[JobId], used: u64) -> Result<(), StoreError> {
        self.change(|change| {
            let mut table = change.open_table(PAST)?;
            for job in jobs {
                let past = table.get(job.0)?.map(|past| decode::<Past>(past.value(), ROW_BYTES)).transpose()?;
                if let Some(past) = past {
                    table.insert(job.0, encode(&Past { used, ..past }).as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// Outputs of `job` have become safe; with what vouches for them, if others may take some of them.
    pub(super) fn put_outputs(
        &self,
        job: JobId,
        number: u32,
        batch: &Batch,
        sum: Option<&Sum>,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(OUTPUTS)?.insert((job.0, number), encode(batch).as_slice())?;
            if !batch.failed.is_empty() {
                change.open_table(FAILURES)?.insert((job.0, number), encode(&batch.failed).as_slice())?;
            }
            if let Some(sum) = sum {
                change.open_table(SUMS)?.insert((job.0, number), encode(sum).as_slice())?;
            }
            Ok(())
        })
    }

    /// All outputs of `job` that are safe, in the order in which they became so.
    pub(super) fn outputs(&self, job: JobId, mut each: impl FnMut(Batch, Option<Sum>)) -> Result<u32, StoreError> {
        let read = self.db.begin_read()?;
        let (outputs, sums, failures) = (read.open_table(OUTPUTS)?, read.open_table(SUMS)?, read.open_table(FAILURES)?);
        let mut next = 0;
        for entry in outputs.range((job.0, 0)..=(job.0, u32::MAX))? {
            let (key, batch) = entry?;
            let sum = sums.get(key.value())?.map(|sum| decode(sum.value(), ROW_BYTES)).transpose()?;
            let failed = failures.get(key.value())?.map(|failed| decode(failed.value(), ROW_BYTES)).transpose()?;
            let batch: Batch = decode(batch.value(), ROW_BYTES)?;
            each(Batch { failed: failed.unwrap_or_default(), ..batch }, sum);
            next = key.value().1 + 1;
        }
        Ok(next)
    }

    /// Those that others may take, the latest first.
    pub(super) fn outputs_back(
        &self,
        job: JobId,
        mut each: impl FnMut(Batch, Sum) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let read = self.db.begin_read()?;
        let (outputs, sums) = (read.open_table(OUTPUTS)?, read.open_table(SUMS)?);
        for entry in sums.range((job.0, 0)..=(job.0, u32::MAX))?.rev() {
            let (key, sum) = entry?;
            if let Some(batch) = outputs.get(key.value())? {
                each(decode(batch.value(), ROW_BYTES)?, decode(sum.value(), ROW_BYTES)?)?;
            }
        }
        Ok(())
    }
}

fn remove_past(change: &WriteTransaction, jobs: &[JobId]) -> Result<(), StoreError> {
    for job in jobs {
        change.open_table(PAST)?.remove(job.0)?;
        remove_outputs(change, *job)?;
    }
    Ok(())
}

/// All that is known of what has come out of a job.
fn remove_outputs(change: &WriteTransaction, job: JobId) -> Result<(), StoreError> {
    change.open_table(KINS)?.remove(job.0)?;
    let all = (job.0, 0)..=(job.0, u32::MAX);
    change.open_table(OUTPUTS)?.retain_in(all.clone(), |_, _| false)?;
    change.open_table(FAILURES)?.retain_in(all.clone(), |_, _| false)?;
    change.open_table(SUMS)?.retain_in(all, |_, _| false)?;
    Ok(())
}
