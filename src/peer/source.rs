//! Where the blobs of a job come from: this node's own store, else whoever of the job's peers has them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, NodeId};
use tokio::sync::watch;

use crate::blob::Blob;
use crate::net::{self, FetchError};
use crate::store::Blobs;

/// Tries to fetch one blob while its author is there, and the pause after the first failure; it doubles each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, where the author is away: somebody who has it may come.
const LONGEST: Duration = Duration::from_secs(5);

/// Who may have the blobs of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Where the author is, if it is there.
    pub author: Option<NodeId>,
    /// The others who work on the job.
    pub others: Vec<NodeId>,
}

impl Holders {
    /// Whom to ask for a blob, in this order: the author, which has all; then those who would have been asked to keep
    /// it, first.
    pub fn of(&self, id: &BlobId) -> Vec<NodeId> {
        let mut others = self.others.clone();
        others.sort_by_cached_key(|node| rank(id, node));
        self.author.into_iter().chain(others).collect()
    }
}

/// Highest-random-weight hashing: all who know the same nodes agree on who comes first for a blob.
pub fn rank(id: &BlobId, node: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("essaim 2026 keepers v1");
    hasher.update(&id.0).update(&node.0);
    *hasher.finalize().as_bytes()
}

/// Fetches the blobs of one job by name.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where to look first.
    pub blobs: Arc<Blobs>,
    /// How to reach others.
    pub net: net::Handle,
    /// Who may have them.
    pub holders: watch::Receiver<Holders>,
}

impl Source {
    /// A source of which only one node is known.
    pub fn only(blobs: &Arc<Blobs>, net: &net::Handle, from: NodeId) -> Source {
        let holders = watch::channel(Holders { author: Some(from), others: Vec::new() }).1;
        Source { blobs: Arc::clone(blobs), net: net.clone(), holders }
    }

    /// As [`Source::fetch`], without waiting for others than those who are there.
    ///
    /// # Errors
    /// None of them has it.
    pub async fn fetch_now(&self, name: BlobRef) -> Result<Bytes, String> {
        let mut why = "nobody is there".to_owned();
        for node in self.holders.borrow().clone().of(&name.id) {
            match self.net.fetch(node, name).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// The bytes that `name` names. While the author is away it waits for somebody who has them.
    ///
    /// # Errors
    /// What stood in the way of the last try, in words.
    pub async fn fetch(&self, name: BlobRef) -> Result<Bytes, String> {
        let mut pause = PAUSE;
        let mut tries = 0;
        loop {
            if let Some(blob) = self.blobs.find(&name.id) {
                return read(name, blob).await;
            }
            let holders = self.holders.borrow().clone();
            let mut why = "nobody who has it is there".to_owned();
            for node in holders.of(&name.id) {
                match self.net.fetch(node, name).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(FetchError::NotThere(_)) if holders.author != Some(node) => {}
                    Err(error) => why = error.to_string(),
                }
            }
            if holders.author.is_some() {
                tries += 1;
                if tries == TRIES {
                    return Err(format!("cannot fetch a blob: {why}"));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

/// Reads a blob of this node; an author's own file may have changed under it.
async fn read(name: BlobRef, blob: Blob) -> Result<Bytes, String> {
    let bytes = tokio::task::spawn_blocking(move || blob.read(0, name.len as usize))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("cannot read an input: {e}"))?;
    if name.names(&bytes) { Ok(bytes) } else { Err("an input file has changed since the job was submitted".into()) }
}
