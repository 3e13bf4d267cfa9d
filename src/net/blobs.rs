//! Blobs over direct streams, one after the other. The question: the blob's name (32 bytes) and the most bytes
//! that are wanted (u64, big-endian). The answer: its length (u64, big-endian; all ones for "not there"), and
//! the bytes. The asker verifies them against the name before anybody sees them. Then the next question may come on
//! the same stream, for opening one costs more than a small blob does.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, NodeId};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::direct::{steady, write_steadily};
use super::streams::{Kind, OpenError};
use super::upload::Upload;
use super::{Serve, addr, limits};

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
    idle: Idle,
}

impl Fetcher {
    pub(super) fn new(client: Client) -> Fetcher {
        let slots = Arc::new(Semaphore::new(limits::FETCHES));
        Fetcher { client, slots, kib: Arc::new(Semaphore::new(limits::FETCH_KIB)), idle: Idle::default() }
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
        let mut stream = self.ask(from, blob).await?;
        // Its length is bounded by what may be fetched at all, and by the room taken for it.
        let mut bytes = vec![0; blob.len as usize];
        steady_exact(&mut stream, &mut bytes).await.map_err(broken(from))?;
        self.idle.keep(from, stream);
        let bytes = Bytes::from(bytes);
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
        // Never closed.
        let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
        let mut stream = match self.ask(from, blob).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        let mut hasher = blake3::Hasher::new();
        while hasher.count() < blob.len {
            let left = blob.len - hasher.count();
            let mut piece = vec![0; left.min(limits::PIECE as u64) as usize];
            if let Err(error) = steady_exact(&mut stream, &mut piece).await {
                return Ok(Err(broken(from)(error)));
            }
            let file = Arc::clone(&file);
            let written = spawn_blocking(move || {
                file.write_all_at(&piece, hasher.count())?;
                hasher.update(&piece);
                Ok::<_, io::Error>(hasher)
            });
            hasher = written.await.map_err(io::Error::other)??;
        }
        self.idle.keep(from, stream);
        Ok(if *hasher.finalize().as_bytes() == blob.id.0 { Ok(()) } else { Err(FetchError::Wrong(from)) })
    }

    /// Asks `from` for a blob; returns the stream when its bytes come next on it.
    async fn ask(&self, from: NodeId, blob: BlobRef) -> Result<Stream, FetchError> {
        while let Some(mut stream) = self.idle.take(from) {
            match question(&mut stream, blob).await {
                // It was closed meanwhile, which says nothing of whether its peer is there.
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
                answer => return self.answered(from, blob, stream, answer),
            }
        }
        let opened = self.client.open(addr::peer_id(from), Kind::Blob).await;
        let mut stream = opened.map_err(|error| match error {
            OpenError::TimedOut => FetchError::TimedOut(from),
            error => FetchError::Gone { node: from, reason: error.to_string() },
        })?;
        let answer = question(&mut stream, blob).await;
        self.answered(from, blob, stream, answer)
    }

    fn answered(
        &self,
        from: NodeId,
        blob: BlobRef,
        stream: Stream,
        len: io::Result<Option<u64>>,
    ) -> Result<Stream, FetchError> {
        match len.map_err(broken(from))? {
            Some(len) if len == blob.len => Ok(stream),
            // What comes now on this stream is of no use.
            Some(_) => Err(FetchError::NotThere(from)),
            None => {
                self.idle.keep(from, stream);
                Err(FetchError::NotThere(from))
            }
        }
    }
}

/// What it means that a stream to `from` breaks.
fn broken(from: NodeId) -> impl Fn(io::Error) -> FetchError {
    move |error| match error.kind() {
        io::ErrorKind::TimedOut => FetchError::TimedOut(from),
        _ => FetchError::Gone { node: from, reason: error.to_string() },
    }
}

/// Streams on which everything has been answered. Each keeps its connection open, so that it is closed soon.
#[derive(Clone, Debug, Default)]
struct Idle(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// To whom, and until when; the newest last.
    streams: VecDeque<(NodeId, Stream, Instant)>,
    /// Whether somebody closes them in time.
    is_watched: bool,
}

impl Idle {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one to `node` that was used last.
    fn take(&self, node: NodeId) -> Option<Stream> {
        let streams = &mut self.waiting().streams;
        let at = streams.iter().rposition(|(to, ..)| *to == node)?;
        streams.remove(at).map(|(_, stream, _)| stream)
    }

    fn keep(&self, node: NodeId, stream: Stream) {
        let mut waiting = self.waiting();
        if waiting.streams.len() >= limits::IDLE_BLOBS {
            waiting.streams.pop_front();
        }
        waiting.streams.push_back((node, stream, Instant::now() + limits::IDLE_BLOB));
        if !std::mem::replace(&mut waiting.is_watched, true) {
            tokio::spawn(self.clone().close());
        }
    }

    /// Closes each in its time, until there is none.
    async fn close(self) {
        while let Some(next) = self.close_old() {
            sleep_until(next).await;
        }
    }

    /// Closes those whose time is over; when to look again, if any are left.
    fn close_old(&self) -> Option<Instant> {
        let mut waiting = self.waiting();
        let now = Instant::now();
        while waiting.streams.front().is_some_and(|(.., until)| *until <= now) {
            waiting.streams.pop_front();
        }
        let next = waiting.streams.front().map(|(.., until)| *until);
        waiting.is_watched = next.is_some();
        next
    }
}

/// Asks for a blob; how long it is, if it comes.
async fn question(stream: &mut Stream, blob: BlobRef) -> io::Result<Option<u64>> {
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
    Ok(Some(u64::from_be_bytes(len)).filter(|len| *len != NOT_THERE))
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

/// Answers the questions on `stream`, each when it has a turn among its peer's and one among everybody's.
pub(super) async fn answer(
    mut stream: Stream,
    serve: Serve,
    turns: [Arc<Semaphore>; 2],
    upload: Upload,
) -> io::Result<()> {
    let mut question = [0; 40];
    loop {
        if steady(stream.read(&mut question[..1])).await? == 0 {
            return steady(stream.close()).await;
        }
        steady(stream.read_exact(&mut question[1..])).await?;
        reply(&mut stream, &question, &serve, &turns, &upload).await?;
        steady(stream.flush()).await?;
    }
}

async fn reply(
    stream: &mut Stream,
    question: &[u8; 40],
    serve: &Serve,
    [own, all]: &[Arc<Semaphore>; 2],
    upload: &Upload,
) -> io::Result<()> {
    let (id, most) = question.split_at(32);
    let id = BlobId(id.try_into().map_err(io::Error::other)?);
    let most = u64::from_be_bytes(most.try_into().map_err(io::Error::other)?);
    // Its own turn first: one that keeps all of those waiting keeps nobody else waiting.
    let _own = own.acquire().await.map_err(io::Error::other)?;
    let _turn = all.acquire().await.map_err(io::Error::other)?;
    let serve = Serve::clone(serve);
    // The store may have to ask the disk. The length goes with the first bytes.
    let found = spawn_blocking(move || {
        let Some(blob) = serve(id).filter(|blob| blob.len() <= most) else { return Ok(None) };
        let begins = blob.read(0, limits::PIECE)?;
        let piece = [&blob.len().to_be_bytes()[..], &begins].concat();
        Ok::<_, io::Error>(Some((blob, begins.len() as u64, Bytes::from(piece))))
    });
    let Some((blob, mut at, mut piece)) = found.await.map_err(io::Error::other)?? else {
        return steady(stream.write_all(&NOT_THERE.to_be_bytes())).await;
    };
    loop {
        for part in piece.chunks(limits::PART) {
            upload.leave(part.len()).await;
            write_steadily(stream, part).await?;
        }
        if at >= blob.len() {
            return Ok(());
        }
        let blob = blob.clone();
        piece = spawn_blocking(move || blob.read(at, limits::PIECE)).await.map_err(io::Error::other)??;
        at += piece.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::blob::Blob;
    use crate::net::Config;
    use crate::net::tests::{Node, config, eventually, serving};

    /// One that has blobs, which are named, and one that fetches.
    async fn pair() -> (Node, Node, Vec<BlobRef>) {
        let blobs: Vec<Bytes> = (0..100_u32).map(|n| Bytes::from(n.to_be_bytes().repeat(100))).collect();
        let names: Vec<BlobRef> = blobs.iter().map(|bytes| BlobRef::of(bytes)).collect();
        let served = names.iter().zip(blobs).map(|(name, bytes)| (name.id, Blob::Memory(bytes))).collect();
        let one = Node::new(Config { serve: serving(served), ..config() }).await;
        let mut other = Node::knowing(&one).await;
        other.up(one.id()).await;
        (one, other, names)
    }

    fn kept(fetcher: &Fetcher) -> usize {
        fetcher.idle.waiting().streams.len()
    }

    #[tokio::test]
    async fn many_blobs_come_on_few_streams_which_are_closed_soon() {
        let (one, other, names) = pair().await;
        let fetcher = &other.net.fetcher;
        for name in &names {
            assert_eq!(fetcher.fetch(one.id(), *name).await.unwrap().len(), 400);
            let absent = BlobRef::of(&name.id.0);
            assert_eq!(fetcher.fetch(one.id(), absent).await, Err(FetchError::NotThere(one.id())));
        }
        assert_eq!(kept(fetcher), 1);
        let fetched = join_all(names.iter().map(|name| fetcher.fetch(one.id(), *name))).await;
        assert!(fetched.into_iter().all(|fetched| fetched.is_ok()));
        assert!((1..=limits::IDLE_BLOBS).contains(&kept(fetcher)));
        eventually("they are closed", || async { kept(fetcher) == 0 }).await;
        assert!(fetcher.fetch(one.id(), names[0]).await.is_ok());
        eventually("and so is the next", || async { kept(fetcher) == 0 }).await;
    }

    #[tokio::test]
    async fn a_stream_that_was_closed_meanwhile_is_not_missed() {
        let (one, other, names) = pair().await;
        let fetcher = &other.net.fetcher;
        for _ in 0..3 {
            let mut closed = fetcher.client.open(addr::peer_id(one.id()), Kind::Blob).await.unwrap();
            closed.close().await.unwrap();
            fetcher.idle.keep(one.id(), closed);
        }
        assert_eq!(fetcher.fetch(one.id(), names[0]).await.unwrap().len(), 400);
        assert_eq!(kept(fetcher), 1);
    }

    #[tokio::test]
    async fn no_more_streams_are_kept_than_may_be() {
        let (one, other, _) = pair().await;
        let fetcher = &other.net.fetcher;
        for _ in 0..limits::IDLE_BLOBS + 3 {
            let stream = fetcher.client.open(addr::peer_id(one.id()), Kind::Blob).await.unwrap();
            fetcher.idle.keep(one.id(), stream);
        }
        assert_eq!(kept(fetcher), limits::IDLE_BLOBS);
    }
}
