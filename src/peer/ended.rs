//! How jobs of ours have ended: written down when they do, so that it can be told later.

use std::sync::Arc;

use coordinator_free::message::Reason;
use essaim_jobs::{JobId, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use super::Peer;
use super::cause::{Cause, Finding};
use super::hive::Command;
use super::job::AuthorSide;
use super::since_1970;
use crate::store::{End, Home, Store, StoreError};

/// A job that has ended, or was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its whole name.
    pub job: String,
    /// Its name for people.
    pub name: String,
    /// Its chunks, and how many of them had come out.
    pub chunks: u32,
    /// See `chunks`.
    pub sealed: u32,
    /// When, milliseconds since 1970.
    pub ended_ms: u64,
    /// How, and why so.
    pub findings: Vec<Finding>,
}

impl Ended {
    /// How a job ends now.
    pub(super) fn now(author: &AuthorSide, reason: Option<Reason>, me: NodeId) -> Ended {
        let manifest = &author.manifest.body;
        Ended {
            job: manifest.id().to_string(),
            name: manifest.name.as_str().to_owned(),
            chunks: manifest.chunks,
            sealed: author.sealed,
            ended_ms: since_1970().as_millis() as u64,
            findings: author.heard.of_end(reason, me, Instant::now()),
        }
    }

    /// Why it has ended.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.findings.first().map_or(Cause::Detached, |finding| finding.cause)
    }
}

/// Writes it down. Where the disk is full it may not be known later how a job has ended, which is no reason to stop.
pub(super) async fn write(store: &Arc<Store>, job: JobId, ended: &Ended) {
    let Ok(told) = serde_json::to_vec(ended) else { return };
    let end = End { job, ended_ms: ended.ended_ms, told };
    let store = Arc::clone(store);
    let written = tokio::task::spawn_blocking(move || store.put_end(&end)).await;
    if let Ok(Err(error)) = written {
        warn!(%error, "how a job has ended is not written down");
    }
}

/// Forgets how it was left: it goes on.
pub(super) async fn forget(store: &Arc<Store>, job: JobId) {
    let store = Arc::clone(store);
    let forgotten = tokio::task::spawn_blocking(move || store.remove_end(job)).await;
    if let Ok(Err(error)) = forgotten {
        warn!(%error, "how a job was left is not forgotten");
    }
}

/// How the last jobs of a home's author have ended, the latest first.
///
/// # Errors
/// Its database cannot be read.
pub fn ended(home: &Home) -> Result<Vec<Ended>, StoreError> {
    // What a later version has written may be of another form.
    Ok(home.store().ends()?.iter().filter_map(|end| serde_json::from_slice(&end.told).ok()).collect())
}

impl Peer {
    /// What stands in the way of a job of one's own that is open here, or of one of its chunks, the nearest cause first;
    /// none: there is no such job or chunk.
    pub async fn explain(&self, job: JobId, chunk: Option<u32>) -> Option<Vec<Finding>> {
        let (reply, told) = tokio::sync::oneshot::channel();
        self.commands.send(Command::Explain(job, chunk, reply)).await.ok()?;
        told.await.ok().flatten()
    }

    /// How the last jobs have ended that were submitted from this node's home, the latest first.
    ///
    /// # Errors
    /// Its database cannot be read.
    pub fn ended(&self) -> Result<Vec<Ended>, StoreError> {
        ended(&self.home)
    }
}
