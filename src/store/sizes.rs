//! How large the chunks of earlier jobs were: the same work is cut alike again, so that it finds what was run before.

use essaim_jobs::{decode, encode};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

/// What was chosen: [`SizeKey`], encoded [`Row`]. Homes of before have no such table.
const SIZES: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("sizes");
/// Choices that are remembered; those go first that were made first.
pub(super) const SIZES_KEPT: usize = 1_024;
/// Bytes of a row.
const ROW_BYTES: usize = 64;

/// What a choice was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeKey([u8; 32]);

impl SizeKey {
    /// An input of so many units that is cut in this way, for work of this name.
    #[must_use]
    pub fn of(work: &[u8], way: &str, total: u64) -> SizeKey {
        SizeKey(blake3::derive_key("essaim 2026 sizes of chunks v1", &encode(&(work, way, total))))
    }
}

/// A [`Size`]; the number is the higher the later it was chosen.
type Row = (Size, u64);

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Units a chunk.
    pub block: u64,
    /// What a chunk costs, nanoseconds, if that is known.
    pub nanos: Option<u64>,
}

impl Store {
    /// What was chosen before.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn size(&self, key: SizeKey) -> Result<Option<Size>, StoreError> {
        let sizes = match self.db.begin_read()?.open_table(SIZES) {
            Ok(sizes) => sizes,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let row: Option<Row> = sizes.get(key.0)?.map(|row| decode(row.value(), ROW_BYTES)).transpose()?;
        Ok(row.map(|(size, _)| size))
    }

    /// Remembers a choice.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn put_size(&self, key: SizeKey, size: Size) -> Result<(), StoreError> {
        self.change(|change| {
            let mut sizes = change.open_table(SIZES)?;
            sizes.remove(key.0)?;
            let mut all = Vec::new();
            for entry in sizes.iter()? {
                let (key, row) = entry?;
                all.push((decode::<Row>(row.value(), ROW_BYTES)?.1, key.value()));
            }
            all.sort_unstable();
            let next = all.last().map_or(0, |(number, _)| number + 1);
            for (_, key) in all.iter().take((all.len() + 1).saturating_sub(SIZES_KEPT)) {
                sizes.remove(key)?;
            }
            sizes.insert(key.0, encode::<Row>(&(size, next)).as_slice())?;
            Ok(())
        })
    }
}
