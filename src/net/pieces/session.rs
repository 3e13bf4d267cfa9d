//! A session of two peers about one blob, on one stream. It begins with the blob's name (32 bytes) and length (u64,
//! big-endian), answered by a byte: 1, or the end of the stream where there is nothing to talk about. From then on
//! both sides send frames: a byte for what it is, a length (u32, big-endian), and that many bytes: a message of the
//! exchange, or a part of a piece, which begins with the piece's number (u32, big-endian). The parts of a piece follow
//! each other, with messages between them; the last is marked.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coordinator_free::pieces::{Input, Layout, MESSAGE_BYTES, Message};
use essaim_jobs::{BlobId, BlobRef, NodeId, decode, encode};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use libp2p::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::exchange::Happening;
use crate::blob::{PieceError, Pieces, encoded_most};
use crate::net::direct::steady;
use crate::net::limits;
use crate::net::upload::Upload;

const MESSAGE: u8 = 0;
const PART: u8 = 1;
const LAST: u8 = 2;

/// Proposes to talk about a blob. An error where the peer has nothing to say.
pub(super) async fn propose(stream: &mut Stream, name: BlobRef) -> io::Result<()> {
    let mut question = [0; 40];
    question[..32].copy_from_slice(&name.id.0);
    question[32..].copy_from_slice(&name.len.to_be_bytes());
    steady(async {
        stream.write_all(&question).await?;
        stream.flush().await
    })
    .await?;
    let mut answer = [0];
    steady(stream.read_exact(&mut answer)).await?;
    if answer == [1] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What a peer proposes to talk about.
pub(super) async fn proposed(stream: &mut Stream) -> io::Result<BlobRef> {
    let mut question = [0; 40];
    steady(stream.read_exact(&mut question)).await?;
    let (id, len) = question.split_at(32);
    let id = BlobId(id.try_into().map_err(io::Error::other)?);
    Ok(BlobRef { id, len: u64::from_be_bytes(len.try_into().map_err(io::Error::other)?) })
}

/// What a session is about, and whom it tells.
#[derive(Clone)]
pub(super) struct About {
    pub(super) peer: NodeId,
    /// Tells it from earlier sessions with the same peer.
    pub(super) number: u64,
    pub(super) layout: Layout,
    pub(super) pieces: Arc<dyn Pieces>,
    pub(super) upload: Upload,
    pub(super) happenings: mpsc::Sender<Happening>,
}

/// The ends of a session's queues. It ends when this is dropped.
pub(super) struct Session {
    pub(super) number: u64,
    /// Whether this node opened it.
    pub(super) ours: bool,
    /// Pieces that have come, and whether it is slow or silent now: for those who want to know what goes on.
    pub(super) taken: u32,
    pub(super) poor: bool,
    pub(super) messages: mpsc::Sender<Message>,
    /// Pieces to be sent, encoded: never more than the exchange sends to one peer at once.
    pub(super) gives: mpsc::Sender<(u32, Bytes)>,
    tasks: [JoinHandle<()>; 2],
    /// Its place among the streams of its peer.
    _share: Option<OwnedSemaphorePermit>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Session {
    pub(super) fn start(stream: Stream, about: About, ours: bool, share: Option<OwnedSemaphorePermit>) -> Session {
        let (reading, writing) = stream.split();
        let (messages, to_say) = mpsc::channel(limits::SESSION_MESSAGES);
        let (gives, to_give) = mpsc::channel(limits::SESSION_GIVES);
        let (reader, writer) = (about.clone(), about.clone());
        let tasks = [
            tokio::spawn(async move { reader.end(reader.read(reading).await).await }),
            tokio::spawn(async move { writer.end(writer.write(writing, !ours, to_say, to_give).await).await }),
        ];
        Session { number: about.number, ours, taken: 0, poor: false, messages, gives, tasks, _share: share }
    }
}

impl About {
    async fn tell(&self, input: Input) -> io::Result<()> {
        let told = self.happenings.send(Happening::Input(self.number, input)).await;
        told.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn end(&self, ended: io::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a session about a blob broke");
        }
        let _ = self.happenings.send(Happening::Closed(self.peer, self.number)).await;
    }

    async fn read(&self, stream: ReadHalf<Stream>) -> io::Result<()> {
        let mut stream = BufReader::with_capacity(limits::PART, stream);
        let mut coming: Option<(u32, Vec<u8>)> = None;
        loop {
            let mut head = [0; 5];
            // Nobody need say anything, for as long as it likes.
            if stream.read(&mut head[..1]).await? == 0 {
                return Ok(());
            }
            steady(stream.read_exact(&mut head[1..])).await?;
            let [kind, len @ ..] = head;
            let len = u32::from_be_bytes(len) as usize;
            match kind {
                MESSAGE if len <= MESSAGE_BYTES => {
                    let mut bytes = vec![0; len];
                    steady(stream.read_exact(&mut bytes)).await?;
                    let message: Message = decode(&bytes, MESSAGE_BYTES).map_err(invalid)?;
                    self.tell(Input::Message { from: self.peer, message }).await?;
                }
                PART | LAST if (5..=4 + limits::PART).contains(&len) => {
                    let mut number = [0; 4];
                    steady(stream.read_exact(&mut number)).await?;
                    let number = u32::from_be_bytes(number);
                    let (piece, bytes) = coming.get_or_insert_with(|| (number, Vec::new()));
                    if *piece != number || bytes.len() + len - 4 > encoded_most(&self.layout) {
                        return Err(invalid("a part of a piece that is not coming"));
                    }
                    self.part(&mut stream, bytes, len - 4).await?;
                    if let Some((piece, bytes)) = coming.take_if(|_| kind == LAST) {
                        self.keep(piece, bytes).await?;
                    }
                }
                _ => return Err(invalid("a frame of a kind or length that there is not")),
            }
        }
    }

    /// Reads a part as it comes: a slow peer is one that goes on giving. What came is told now and then, as it comes in
    /// thousands of small reads a second.
    async fn part(&self, stream: &mut BufReader<ReadHalf<Stream>>, bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
        let end = bytes.len() + len;
        let (mut at, mut told) = (bytes.len(), (bytes.len(), Instant::now()));
        bytes.resize(end, 0);
        while at < end {
            match steady(stream.read(&mut bytes[at..])).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n,
            }
            if at == end || told.1.elapsed() >= limits::TELL_BYTES {
                self.tell(Input::Bytes { from: self.peer, bytes: (at - told.0) as u64 }).await?;
                told = (at, Instant::now());
            }
        }
        Ok(())
    }

    /// Verifies a piece and keeps it.
    async fn keep(&self, piece: u32, bytes: Vec<u8>) -> io::Result<()> {
        let pieces = Arc::clone(&self.pieces);
        let kept = spawn_blocking(move || pieces.write(piece, &bytes)).await.map_err(io::Error::other)?;
        match kept {
            Ok(()) => self.tell(Input::Arrived { from: self.peer, piece, right: true }).await,
            Err(PieceError::Wrong(_)) => self.tell(Input::Arrived { from: self.peer, piece, right: false }).await,
            Err(error @ PieceError::Disk(..)) => {
                let _ = self.happenings.send(Happening::Disk(error.to_string())).await;
                Ok(())
            }
        }
    }

    async fn write(
        &self,
        mut stream: WriteHalf<Stream>,
        accept: bool,
        mut messages: mpsc::Receiver<Message>,
        mut gives: mpsc::Receiver<(u32, Bytes)>,
    ) -> io::Result<()> {
        if accept {
            steady(stream.write_all(&[1])).await?;
            steady(stream.flush()).await?;
        }
        loop {
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) => say(&mut stream, &message).await?,
                    None => return steady(stream.close()).await,
                },
                Some((piece, bytes)) = gives.recv() => {
                    let parts = bytes.len().div_ceil(limits::PART);
                    for (at, part) in bytes.chunks(limits::PART).enumerate() {
                        let mut leave = std::pin::pin!(self.upload.leave(part.len()));
                        loop {
                            tokio::select! {
                                biased;
                                Some(message) = messages.recv() => say(&mut stream, &message).await?,
                                () = &mut leave => break,
                            }
                        }
                        let kind = if at + 1 == parts { LAST } else { PART };
                        frame(&mut stream, kind, &[&piece.to_be_bytes(), part]).await?;
                    }
                    self.tell(Input::Given { to: self.peer, piece, sent: true }).await?;
                }
            }
        }
    }
}

async fn say(stream: &mut WriteHalf<Stream>, message: &Message) -> io::Result<()> {
    frame(stream, MESSAGE, &[&encode(message)]).await
}

/// Writes a frame, however slowly, so long as some of it goes.
async fn frame(stream: &mut WriteHalf<Stream>, kind: u8, content: &[&[u8]]) -> io::Result<()> {
    let len: usize = content.iter().map(|bytes| bytes.len()).sum();
    let mut bytes = Vec::with_capacity(5 + len);
    bytes.push(kind);
    // All content is bounded by what a message or a part may be.
    bytes.extend_from_slice(&(len as u32).to_be_bytes());
    content.iter().for_each(|content| bytes.extend_from_slice(content));
    let mut at = 0;
    while at < bytes.len() {
        match steady(stream.write(&bytes[at..])).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => at += n,
        }
    }
    steady(stream.flush()).await
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
