//! Blobs over direct streams, one blob a stream. The question: the blob's name (32 bytes) and the most bytes
//! that are wanted (u64, big-endian). The answer: its length (u64, big-endian; all ones for "not there"), and
//! the bytes. The asker verifies them against the name before anybody sees them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, NodeId};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::client::Client;
use super::direct::{steady, write_steadily};
use super::streams::{Kind, OpenError};
use super::upload::Upload;
use super::{Serve, addr, limits};
use crate::blob::Blob;

/// Why a blob was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have it, or it is not as long as it should be.
    #[error("{0} does not have it")]
    NotThere(NodeId),
    /// The peer sent other bytes than the name stands for: it is broken, or lies.
    #[error("{0} sent other bytes than were asked for")]
    Wrong(NodeId),
    /// The peer cannot be reached, or went away.
    #[error("{node} is gone: {reason}")]
    Gone {
        /// Who.
        node: NodeId,
        /// Why, for a person.
        reason: String,
    },
    /// Nothing has come from it for long.
    #[error("nothing comes from {0} any more")]
    TimedOut(NodeId),
    /// None of the sources that were named has it, and no more will be named.
    #[error("none of those who were asked has the blob {0}")]
    NoSource(BlobId),
    /// It is being fetched into another place already.
    #[error("the blob {0} is being fetched already, into another place")]
    Elsewhere(BlobId),
    /// What has come cannot be kept.
    #[error("the blob {id} cannot be kept: {reason}")]
    Disk {
        /// Which.
        id: BlobId,
        /// Why, in the system's words.
        reason: String,
    },
    /// More blobs are being moved than may be at once, or the network is shut down.
    #[error("no more blobs can be fetched now")]
    Busy,
    /// Larger than may be fetched at all.
    #[error("a blob of {0} bytes is larger than may be fetched")]
    TooLarge(u64),
}

const NOT_THERE: u64 = u64::MAX;

/// Fetches blobs, so many at once.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    client: Client,
    slots: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

impl Fetcher {
    pub(super) fn new(client: Client) -> Fetcher {
        let slots = Arc::new(Semaphore::new(limits::FETCHES));
        Fetcher { client, slots, kib: Arc::new(Semaphore::new(limits::FETCH_KIB)) }
    }

    pub(super) async fn fetch(&self, from: NodeId, blob: BlobRef) -> Result<Bytes, FetchError> {
        let too_large = FetchError::TooLarge(blob.len);
        let kib = blob.len.div_ceil(1024);
        if kib > limits::FETCH_KIB as u64 {
            return Err(too_large);
        }
        // Neither semaphore is ever closed.
        let _slot = self.slots.acquire().await.map_err(|_| too_large.clone())?;
        let _room = self.kib.acquire_many(kib as u32).await.map_err(|_| too_large)?;
        let opened = self.client.open(addr::peer_id(from), Kind::Blob).await;
        let mut stream = opened.map_err(|error| match error {
            OpenError::TimedOut => FetchError::TimedOut(from),
            error => FetchError::Gone { node: from, reason: error.to_string() },
        })?;
        let bytes = ask(&mut stream, blob).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => FetchError::TimedOut(from),
            _ => FetchError::Gone { node: from, reason: error.to_string() },
        })?;
        let bytes = Bytes::from(bytes.ok_or(FetchError::NotThere(from))?);
        let right = if bytes.len() <= limits::PIECE {
            blob.names(&bytes)
        } else {
            let bytes = bytes.clone();
            spawn_blocking(move || blob.names(&bytes)).await.unwrap_or(false)
        };
        if right { Ok(bytes) } else { Err(FetchError::Wrong(from)) }
    }

    /// As [`Fetcher::fetch`], into a file, from its beginning: a piece at a time is in memory. What was wrong is there, too.
    pub(super) async fn fetch_to(
        &self,
        from: NodeId,
        blob: BlobRef,
        file: Arc<File>,
    ) -> io::Result<Result<(), FetchError>> {
        let wrong = |error| Ok(Err(error));
        let gone = |reason| FetchError::Gone { node: from, reason };
        // Never closed.
        let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
        let mut stream = match self.client.open(addr::peer_id(from), Kind::Blob).await {
            Ok(stream) => stream,
            Err(OpenError::TimedOut) => return wrong(FetchError::TimedOut(from)),
            Err(error) => return wrong(gone(error.to_string())),
        };
        let of_stream = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => FetchError::TimedOut(from),
            _ => gone(error.to_string()),
        };
        match question(&mut stream, blob).await {
            Ok(true) => {}
            Ok(false) => return wrong(FetchError::NotThere(from)),
            Err(error) => return wrong(of_stream(error)),
        }
        let mut hasher = blake3::Hasher::new();
        while hasher.count() < blob.len {
            let left = blob.len - hasher.count();
            let mut piece = vec![0; left.min(limits::PIECE as u64) as usize];
            if let Err(error) = steady_exact(&mut stream, &mut piece).await {
                return wrong(of_stream(error));
            }
            let file = Arc::clone(&file);
            let written = spawn_blocking(move || {
                file.write_all_at(&piece, hasher.count())?;
                hasher.update(&piece);
                Ok::<_, io::Error>(hasher)
            });
            hasher = written.await.map_err(io::Error::other)??;
        }
        Ok(if *hasher.finalize().as_bytes() == blob.id.0 { Ok(()) } else { Err(FetchError::Wrong(from)) })
    }
}

/// Asks for a blob; whether it comes, with the length that it should have.
async fn question(stream: &mut Stream, blob: BlobRef) -> io::Result<bool> {
    let mut question = [0; 40];
    question[..32].copy_from_slice(&blob.id.0);
    question[32..].copy_from_slice(&blob.len.to_be_bytes());
    steady(async {
        stream.write_all(&question).await?;
        stream.flush().await
    })
    .await?;
    let mut len = [0; 8];
    steady(stream.read_exact(&mut len)).await?;
    Ok(u64::from_be_bytes(len) == blob.len)
}

async fn ask(stream: &mut Stream, blob: BlobRef) -> io::Result<Option<Vec<u8>>> {
    if !question(stream, blob).await? {
        return Ok(None);
    }
    // Its length is bounded by what may be fetched at all, and by the room taken for it.
    let mut bytes = vec![0; blob.len as usize];
    steady_exact(stream, &mut bytes).await?;
    Ok(Some(bytes))
}

/// Fills `bytes`, however long that takes, as long as something comes now and then.
async fn steady_exact(stream: &mut Stream, bytes: &mut [u8]) -> io::Result<()> {
    let mut got = 0;
    while got < bytes.len() {
        match steady(stream.read(&mut bytes[got..])).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => got += n,
        }
    }
    Ok(())
}

/// Answers the question on `stream` when it has a turn among its peer's and one among everybody's.
pub(super) async fn answer(
    mut stream: Stream,
    serve: Serve,
    turns: [Arc<Semaphore>; 2],
    upload: Upload,
) -> io::Result<()> {
    let mut question = [0; 40];
    steady(stream.read_exact(&mut question)).await?;
    let (id, most) = question.split_at(32);
    let id = BlobId(id.try_into().map_err(io::Error::other)?);
    let most = u64::from_be_bytes(most.try_into().map_err(io::Error::other)?);
    // Its own turn first: one that keeps all of those waiting keeps nobody else waiting.
    let [own, all] = turns;
    let _own = own.acquire_owned().await.map_err(io::Error::other)?;
    let _turn = all.acquire_owned().await.map_err(io::Error::other)?;
    // The store may have to ask the disk.
    let found = spawn_blocking(move || serve(id)).await.map_err(io::Error::other)?;
    match found.filter(|blob| blob.len() <= most) {
        Some(blob) => {
            steady(stream.write_all(&blob.len().to_be_bytes())).await?;
            send(&mut stream, blob, &upload).await?;
        }
        None => steady(stream.write_all(&NOT_THERE.to_be_bytes())).await?,
    }
    steady(stream.close()).await
}

async fn send(stream: &mut Stream, blob: Blob, upload: &Upload) -> io::Result<()> {
    let mut at = 0;
    while at < blob.len() {
        let piece = match &blob {
            Blob::Memory(_) => blob.read(at, limits::PIECE)?,
            Blob::File { .. } => {
                let blob = blob.clone();
                spawn_blocking(move || blob.read(at, limits::PIECE)).await.map_err(io::Error::other)??
            }
        };
        for part in piece.chunks(limits::PART) {
            upload.leave(part.len()).await;
            write_steadily(stream, part).await?;
        }
        at += piece.len() as u64;
    }
    Ok(())
}
