//! The inputs of a job, written to the disk one after the other as chunks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use essaim_guest::codec::{encode, encode_part};
use essaim_jobs::{bounds, split};
use serde::Serialize;

use super::Error;
use crate::peer::Peer;
use crate::store::{Draft, FileNumber, StoreError};

/// Writes them all, as parts where the program has a split of its own. Blocks for as long as the disk does.
///
/// # Errors
/// [`Error::Input`], [`Error::TooMany`], [`Error::Store`].
pub fn write<I: Serialize>(peer: &Peer, are_parts: bool, inputs: impl IntoIterator<Item = I>) -> Result<Draft, Error> {
    let mut draft = peer.draft().map_err(StoreError::from)?;
    let mut long = None;
    for (chunk, input) in inputs.into_iter().enumerate() {
        let refused = |why: String| Error::Input { chunk, why };
        let content = if are_parts { encode_part(&input) } else { encode(&input).map_err(|error| error.to_string()) };
        let content = content.map_err(refused)?;
        if content.len() as u64 > bounds::BLOB_BYTES {
            return Err(refused(format!("it has {} bytes, at most {} are allowed", content.len(), bounds::BLOB_BYTES)));
        }
        push(&mut draft, &content, &mut long).map_err(StoreError::from)?;
        split::check_count(draft.chunks())?;
    }
    Ok(draft)
}

/// Where longer inputs stand, and where the next one is written.
struct Long {
    number: FileNumber,
    file: Arc<File>,
    end: u64,
}

/// One chunk more.
fn push(draft: &mut Draft, content: &[u8], long: &mut Option<Long>) -> std::io::Result<()> {
    if content.len() <= bounds::INLINE_INPUT {
        return draft.push_inline(content);
    }
    let long = match long {
        Some(long) => long,
        None => {
            let (number, file) = draft.scratch()?;
            long.insert(Long { number, file, end: 0 })
        }
    };
    long.file.write_all_at(content, long.end)?;
    draft.push(content, long.number, long.end)?;
    long.end += content.len() as u64;
    Ok(())
}
