//! Where the blobs of a job come from: this node's own store, else whoever of the job's peers has them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::debug;

use crate::blob::{Blob, Pieces};
use crate::net::{self, FetchError};
use crate::store::{Blobs, Partial};

/// Tries to fetch one blob while its author is there, and the pause after the first failure; it doubles each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, where the author is away: somebody who has it may come.
const LONGEST: Duration = Duration::from_secs(5);

/// From this size on a blob is moved in pieces, never in memory as a whole, and who has it is found on the DHT.
pub const LARGE_BYTES: u64 = 1 << 20;
/// How often a download looks for others who have some of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A download to which nothing has come for so long has failed, if the author is there.
const NOTHING_FOR: Duration = Duration::from_secs(60);
/// A download to which nothing has come for so long, or that knows of hardly anybody who may have the blob, asks the
/// DHT who has it; again each time after the double, up to the second.
const SEEK: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// Others that are enough, as long as something comes.
const ENOUGH: usize = 2;
/// Sources that a download has not taken note of yet.
const SOURCES: usize = 256;

/// How a [`Lack`] begins that is one of room.
pub const UNKEPT_BLOB: &str = "cannot keep a blob";

/// Why a blob is not here.
#[derive(Debug, thiserror::Error)]
pub enum Lack {
    /// It cannot be had.
    #[error("{0}")]
    Missing(String),
    /// It cannot be kept.
    #[error("{UNKEPT_BLOB}: {0}")]
    Disk(io::Error),
}

impl From<Lack> for String {
    fn from(lack: Lack) -> String {
        lack.to_string()
    }
}

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
    /// Whether others will want the same: large ones are moved in pieces then.
    pub shared: bool,
}

impl Source {
    /// What only one node has, and nobody else will ask for.
    pub fn only(blobs: &Arc<Blobs>, net: &net::Handle, from: NodeId) -> Source {
        let holders = watch::channel(Holders { author: Some(from), others: Vec::new() }).1;
        Source { blobs: Arc::clone(blobs), net: net.clone(), holders, shared: false }
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

    /// The bytes that `name` names, all in memory: for what is known to be small.
    ///
    /// # Errors
    /// As [`Source::find`].
    pub async fn fetch(&self, name: BlobRef) -> Result<Bytes, Lack> {
        let (blob, _held) = self.find(name).await?;
        if let Blob::Memory(bytes) = blob {
            return Ok(bytes);
        }
        let read = tokio::task::spawn_blocking(move || blob.read(0, name.len as usize)).await;
        read.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|e| Lack::Missing(format!("cannot read it: {e}")))
    }

    /// The blob that `name` names: in memory up to 1 MiB, else in a file, whose bytes were those when they were looked at,
    /// and which stays on the disk as long as what comes with it is held. While the author is away it waits for somebody
    /// who has it.
    ///
    /// # Errors
    /// What stood in the way of the last try.
    pub async fn find(&self, name: BlobRef) -> Result<(Blob, Option<Arc<Partial>>), Lack> {
        let mut pause = PAUSE;
        let mut tries = 0;
        loop {
            if let Some(blob) = self.blobs.find(&name.id) {
                return Ok((own(name, blob).await?, None));
            }
            if self.shared && name.len >= LARGE_BYTES {
                let (held, blob) = self.download(name).await?;
                return Ok((blob, Some(held)));
            }
            let holders = self.holders.borrow().clone();
            let mut why = "nobody who has it is there".to_owned();
            for node in holders.of(&name.id) {
                match self.of(node, name).await? {
                    Ok(blob) => return Ok((blob, None)),
                    Err(FetchError::NotThere(_)) if holders.author != Some(node) => {}
                    Err(error) => why = error.to_string(),
                }
            }
            if holders.author.is_some() {
                tries += 1;
                if tries == TRIES {
                    return Err(Lack::Missing(format!("cannot fetch a blob: {why}")));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// The blob as `node` gives it.
    async fn of(&self, node: NodeId, name: BlobRef) -> Result<Result<Blob, FetchError>, Lack> {
        if name.len <= LARGE_BYTES {
            return Ok(self.net.fetch(node, name).await.map(Blob::Memory));
        }
        let file = Arc::new(self.blobs.scratch().map_err(Lack::Disk)?);
        let fetched = self.net.fetch_to(node, name, Arc::clone(&file)).await.map_err(Lack::Disk)?;
        Ok(fetched.map(|()| Blob::File { file, offset: 0, len: name.len }))
    }
}

impl Source {
    /// The blob that `name` names, in a file: a large one comes in pieces, from all who have some of it, and is given on
    /// meanwhile. Where those that are known do not serve, others are looked for on the DHT. It stays on the disk as long as what is returned is held.
    ///
    /// # Errors
    /// What stood in the way, in words: nothing has come for long, or it cannot be kept.
    pub async fn download(&self, name: BlobRef) -> Result<(Arc<Partial>, Blob), Lack> {
        let blobs = Arc::clone(&self.blobs);
        let opened = tokio::task::spawn_blocking(move || blobs.cache().open(name))
            .await
            .map_err(|e| Lack::Missing(e.to_string()))?;
        let partial = opened.map_err(Lack::Disk)?;
        let (sender, sources) = mpsc::channel(SOURCES);
        let download = self.net.download(name, Arc::clone(&partial) as Arc<dyn Pieces>, sources);
        tokio::pin!(download);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let (mut had, mut since) = (0, Instant::now());
        let (began, mut seek) = (Instant::now(), Seek::default());
        while !partial.is_complete() {
            tokio::select! {
                done = &mut download => done.map_err(|error| match error {
                    FetchError::Disk { reason, .. } => Lack::Disk(io::Error::other(reason)),
                    error => Lack::Missing(format!("cannot fetch a blob: {error}")),
                })?,
                _ = look.tick() => {
                    let holders = self.holders.borrow().clone();
                    let holding = holders.of(&name.id);
                    let few = holding.len() < ENOUGH;
                    // Those that had nothing may have some by now; who is being talked to already is not asked twice.
                    for node in holding {
                        let _ = sender.try_send(node);
                    }
                    let has = partial.have().len();
                    if has > had {
                        (had, since) = (has, Instant::now());
                    }
                    if seek.is_due(began.elapsed(), since.elapsed(), few) {
                        self.seek(name, sender.clone());
                    }
                    if holders.author.is_some() && since.elapsed() >= NOTHING_FOR {
                        return Err(Lack::Missing("cannot fetch a blob: nothing comes from anybody".into()));
                    }
                }
            }
        }
        let blob = partial.blob().ok_or_else(|| Lack::Missing("a blob is not all here".into()))?;
        Ok((partial, blob))
    }
}

/// When a download asks the DHT.
#[derive(Debug)]
struct Seek {
    patience: Duration,
    /// Not before this long after its beginning.
    at: Duration,
}

impl Default for Seek {
    fn default() -> Seek {
        Seek { patience: SEEK.0, at: SEEK.0 }
    }
}

impl Seek {
    /// Whether it does so `now`, nothing having come for `idle`, and hardly anybody being known if `few`.
    fn is_due(&mut self, now: Duration, idle: Duration, few: bool) -> bool {
        if now < self.at || !few && idle < SEEK.0 {
            return false;
        }
        self.patience = (self.patience * 2).min(SEEK.1);
        self.at = now + self.patience;
        true
    }
}

impl Source {
    /// Asks the DHT who has a blob, and names them to its download.
    fn seek(&self, name: BlobRef, download: mpsc::Sender<NodeId>) {
        let net = self.net.clone();
        tokio::spawn(async move {
            let found = net.providers(name.id).await;
            debug!(blob = %name.id, found = found.len(), "asked the DHT who has a blob");
            for node in found {
                // It may be through meanwhile.
                let _ = download.try_send(node);
            }
        });
    }
}

/// A blob of this node, small ones in memory; an author's own file may have changed under it.
async fn own(name: BlobRef, blob: Blob) -> Result<Blob, Lack> {
    let look = move || {
        let blob = if name.len <= LARGE_BYTES { Blob::Memory(blob.read(0, name.len as usize)?) } else { blob };
        Ok(blob.is(&name)?.then_some(blob))
    };
    let found: io::Result<_> = tokio::task::spawn_blocking(look).await.unwrap_or_else(|e| Err(io::Error::other(e)));
    let found = found.map_err(|e| Lack::Missing(format!("cannot read an input: {e}")))?;
    found.ok_or_else(|| Lack::Missing("an input file has changed since the job was submitted".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a download asks the DHT that looks every second, and of which `state` tells whether something
    /// comes, and whether it knows of few.
    fn asks(until: u64, state: impl Fn(u64) -> (bool, bool)) -> Vec<u64> {
        let (mut seek, mut came) = (Seek::default(), 0);
        let second = Duration::from_secs;
        let due = |now: &u64| {
            let (comes, few) = state(*now);
            if comes {
                came = *now;
            }
            seek.is_due(second(*now), second(*now - came), few)
        };
        (0..=until).filter(due).collect()
    }

    #[test]
    fn the_dht_is_asked_by_who_is_not_served_and_ever_less_often() {
        assert_eq!(asks(1_000, |_| (true, false)), [0; 0], "who is served well asks nobody");
        assert_eq!(asks(200, |_| (false, false)), [3, 9, 21, 45, 93, 153]);
        assert_eq!(asks(50, |_| (true, true)), [3, 9, 21, 45], "one source may be slow, and may go");
        assert_eq!(asks(130, |now| (now < 100, false)), [102, 108, 120], "then all are gone at once");
        assert_eq!(asks(2, |_| (false, true)), [0; 0], "what is there soon needs nobody else");
    }
}
