//! How the last jobs of a home's author have ended: what can still be told of a job when nothing else of it is here.

use essaim_jobs::JobId;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Store, StoreError};

/// Job, when it ended (milliseconds since 1970), and what is told of it. Homes of before have no such table.
const ENDS: TableDefinition<[u8; 32], (u64, &[u8])> = TableDefinition::new("ends");
/// Jobs of which that is kept; those go first that ended first.
const KEPT: u64 = 64;
/// Bytes of what is told of one.
pub const END_BYTES: usize = 64 << 10;

/// How a job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which.
    pub job: JobId,
    /// When, milliseconds since 1970.
    pub ended_ms: u64,
    /// What is told of it, at most `END_BYTES`; in the form of whoever wrote it.
    pub told: Vec<u8>,
}

impl Store {
    /// Remembers how a job has ended; what is longer than `END_BYTES` is not.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn put_end(&self, end: &End) -> Result<(), StoreError> {
        if end.told.len() > END_BYTES {
            return Ok(());
        }
        self.change(|change| {
            let mut ends = change.open_table(ENDS)?;
            ends.insert(end.job.0, (end.ended_ms, end.told.as_slice()))?;
            if ends.len()? > KEPT {
                let mut all = Vec::new();
                for entry in ends.iter()? {
                    let (job, end) = entry?;
                    all.push((end.value().0, job.value()));
                }
                all.sort_unstable();
                for (_, job) in all.iter().rev().skip(KEPT as usize) {
                    ends.remove(job)?;
                }
            }
            Ok(())
        })
    }

    /// The job goes on: how it was left is of no interest any more.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn remove_end(&self, job: JobId) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(ENDS)?.remove(job.0)?;
            Ok(())
        })
    }

    /// How the last jobs have ended, the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ends(&self) -> Result<Vec<End>, StoreError> {
        let ends = match self.read()?.open_table(ENDS) {
            Ok(ends) => ends,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        for entry in ends.iter()? {
            let (job, end) = entry?;
            let (ended_ms, told) = end.value();
            found.push(End { job: JobId(job.value()), ended_ms, told: told.to_owned() });
        }
        found.sort_by_key(|end| std::cmp::Reverse(end.ended_ms));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn end(n: u8, ended_ms: u64) -> End {
        End { job: JobId([n; 32]), ended_ms, told: vec![n; 100] }
    }

    #[test]
    fn the_last_ends_are_kept_and_no_more() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store.redb");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.ends().unwrap(), []);
        for n in 0..100 {
            store.put_end(&end(n, 1_000 - u64::from(n))).unwrap();
        }
        let kept: Vec<u8> = store.ends().unwrap().iter().map(|end| end.job.0[0]).collect();
        assert_eq!(kept, (0..64).collect::<Vec<u8>>(), "those that ended last, whenever they were written down");
        store.put_end(&end(7, 2_000)).unwrap();
        store.remove_end(JobId([0; 32])).unwrap();
        store.put_end(&End { told: vec![0; END_BYTES + 1], ..end(8, 3_000) }).unwrap();
        drop(store);
        let ends = Store::open(&path).unwrap().ends().unwrap();
        assert_eq!((ends.len(), &ends[0]), (63, &end(7, 2_000)));
    }
}
