//! Direct messages: frames of a length (u32, big-endian) and that many bytes, on one long-lived stream a
//! direction. A writer task for each peer keeps the order and pushes back; a reader task for each stream
//! that a peer opens does the same towards the application.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::NodeId;
use futures::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf};
use libp2p::{PeerId, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::client::Client;
use super::inbox::{Event, Inbox};
use super::streams::Kind;
use super::{addr, limits};

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Longer than [`limits::DIRECT_BYTES`].
    #[error("a message of {0} bytes is longer than the {max} that may be sent", max = limits::DIRECT_BYTES)]
    TooLarge(usize),
    /// As many messages as may wait for this node do wait: it, or the way to it, is slow.
    #[error("too much waits to be sent to {0}")]
    Full(NodeId),
    /// It cannot be delivered.
    #[error("{node} cannot be reached: {reason}")]
    Unreachable {
        /// To whom.
        node: NodeId,
        /// Why, for a person.
        reason: String,
    },
    /// The network is shut down.
    #[error("the network is shut down")]
    Closed,
}

/// How far the stream of an outbox is.
#[derive(Clone, Debug)]
enum Stage {
    Opening,
    Open,
    Failed(String),
}

#[derive(Clone, Debug)]
struct Outbox {
    queue: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The outboxes of all peers to whom something is being sent.
#[derive(Clone, Debug)]
pub(super) struct Outboxes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    client: Client,
    inbox: Inbox,
}

#[derive(Debug)]
struct State {
    /// At most [`limits::OUTBOXES`].
    boxes: HashMap<PeerId, Outbox>,
    /// Held by every writer, so that it is known when they are all through; none once closed.
    running: Option<mpsc::Sender<()>>,
    ended: Option<mpsc::Receiver<()>>,
}

impl Outboxes {
    pub(super) fn new(client: Client, inbox: Inbox) -> Outboxes {
        let (running, ended) = mpsc::channel(1);
        let state = State { boxes: HashMap::new(), running: Some(running), ended: Some(ended) };
        Outboxes(Arc::new(Shared { state: Mutex::new(state), client, inbox }))
    }

    /// Queues a message and returns at once.
    pub(super) fn post(&self, to: NodeId, message: Bytes) -> Result<(), SendError> {
        let size = size(&message)?;
        loop {
            let outbox = self.outbox(to)?;
            let full = |_| SendError::Full(to);
            let room = outbox.room.clone().try_acquire_many_owned(size).map_err(full)?;
            match outbox.queue.try_send(Frame { bytes: message.clone(), _room: room }) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(SendError::Full(to)),
                // Its writer has just ended; it has taken itself off the map before, so the next is a new one.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }

    /// Queues a message once the peer is connected and there is room.
    pub(super) async fn send(&self, to: NodeId, message: Bytes) -> Result<(), SendError> {
        let size = size(&message)?;
        loop {
            let mut outbox = self.outbox(to)?;
            let reason = match outbox.stage.wait_for(|stage| !matches!(stage, Stage::Opening)).await.as_deref() {
                Ok(Stage::Failed(reason)) => Some(reason.clone()),
                Ok(_) => None,
                Err(_) => continue,
            };
            if let Some(reason) = reason {
                return Err(SendError::Unreachable { node: to, reason });
            }
            let Ok(room) = outbox.room.clone().acquire_many_owned(size).await else { continue };
            if outbox.queue.send(Frame { bytes: message.clone(), _room: room }).await.is_ok() {
                return Ok(());
            }
        }
    }

    /// Writes out what is queued, and waits at most `limit` for it to have arrived.
    pub(super) async fn close(&self, limit: Duration) {
        let ended = {
            let mut state = self.0.lock();
            state.boxes.clear();
            state.running = None;
            state.ended.take()
        };
        if let Some(mut ended) = ended {
            let _ = timeout(limit, ended.recv()).await;
        }
    }

    fn outbox(&self, to: NodeId) -> Result<Outbox, SendError> {
        let peer = addr::peer_id(to);
        let mut state = self.0.lock();
        let running = state.running.clone().ok_or(SendError::Closed)?;
        if let Some(outbox) = state.boxes.get(&peer) {
            return Ok(outbox.clone());
        }
        if state.boxes.len() >= limits::OUTBOXES {
            return Err(SendError::Full(to));
        }
        let (queue, frames) = mpsc::channel(limits::OUTBOX_MESSAGES);
        let (told, stage) = watch::channel(Stage::Opening);
        let outbox = Outbox { queue, room: Arc::new(Semaphore::new(limits::OUTBOX_BYTES)), stage };
        state.boxes.insert(peer, outbox.clone());
        let writer = Writer { shared: self.0.clone(), node: to, peer, frames, told };
        tokio::spawn(async move {
            writer.run().await;
            drop(running);
        });
        Ok(outbox)
    }
}

fn size(message: &Bytes) -> Result<u32, SendError> {
    let fits = u32::try_from(message.len()).ok().filter(|_| message.len() <= limits::DIRECT_BYTES);
    fits.ok_or(SendError::TooLarge(message.len()))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that writes what is queued for one peer.
struct Writer {
    shared: Arc<Shared>,
    node: NodeId,
    peer: PeerId,
    frames: mpsc::Receiver<Frame>,
    told: watch::Sender<Stage>,
}

impl Writer {
    async fn run(mut self) {
        let reason = match self.shared.client.open(self.peer, Kind::Direct).await {
            Ok(stream) => {
                self.told.send_replace(Stage::Open);
                self.write(stream).await.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        self.retire(reason).await;
    }

    /// Ends well when nothing was queued for long, or when the outbox was closed and all has arrived.
    async fn write(&mut self, stream: Stream) -> io::Result<()> {
        let (mut back, out) = stream.split();
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let mut byte = [0];
        loop {
            let frame = tokio::select! {
                frame = self.frames.recv() => frame,
                // Nothing is ever said on this side: it can only end, with the connection or by the reader's wish.
                _ = back.read(&mut byte) => return Err(io::ErrorKind::ConnectionReset.into()),
                () = tokio::time::sleep(limits::OUTBOX_IDLE) => {
                    // What was queued this very moment is still written; then there is an end.
                    self.unlist();
                    continue;
                }
            };
            let Some(frame) = frame else { return arrived(out, back).await };
            put(&mut out, frame).await?;
            while let Ok(frame) = self.frames.try_recv() {
                put(&mut out, frame).await?;
            }
            steady(out.flush()).await?;
        }
    }

    /// Takes the outbox off the map and closes it, in this order: whoever finds it closed looks for another.
    fn unlist(&mut self) {
        let mut state = self.shared.lock();
        let ours = |outbox: &Outbox| outbox.stage.same_channel(&self.told.subscribe());
        if state.boxes.get(&self.peer).is_some_and(ours) {
            state.boxes.remove(&self.peer);
        }
        drop(state);
        self.frames.close();
    }

    /// Ends the outbox, and tells that messages were lost, if any were.
    async fn retire(mut self, reason: Option<String>) {
        self.unlist();
        let mut lost = reason.is_some();
        while self.frames.recv().await.is_some() {
            lost = true;
        }
        if let Some(reason) = reason {
            tracing::debug!(node = %self.node, reason, "direct messages end");
            self.told.send_replace(Stage::Failed(reason));
        }
        if lost {
            self.shared.inbox.put(Event::Unreachable(self.node)).await;
        }
    }
}

async fn put(out: &mut BufWriter<WriteHalf<Stream>>, frame: Frame) -> io::Result<()> {
    // It was measured when it was queued.
    write_steadily(out, &(frame.bytes.len() as u32).to_be_bytes()).await?;
    write_steadily(out, &frame.bytes).await
}

/// Writes all `bytes`, however slowly, so long as some of them go.
pub(super) async fn write_steadily(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(16 << 10) {
        steady(out.write_all(piece)).await?;
    }
    Ok(())
}

/// Ends the stream and waits until the reader has ended it too, which it does once it has read everything.
async fn arrived(mut out: BufWriter<WriteHalf<Stream>>, mut back: ReadHalf<Stream>) -> io::Result<()> {
    steady(async {
        out.close().await?;
        back.read(&mut [0]).await.map(|_| ())
    })
    .await
}

/// Bounds how long `work` may stand still.
pub(super) async fn steady<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limits::STALL, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads the messages of one stream until it ends, or breaks a rule, or nobody listens.
pub(super) async fn read(stream: Stream, from: NodeId, inbox: Inbox) {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    loop {
        match frame(&mut stream).await {
            Ok(Some(message)) => {
                if !inbox.deliver(from, message).await {
                    return;
                }
            }
            Ok(None) => {
                // The writer may be waiting for this as a sign that everything has come.
                let _ = steady(stream.close()).await;
                return;
            }
            Err(error) => {
                tracing::debug!(%from, %error, "a stream of direct messages broke");
                return;
            }
        }
    }
}

async fn frame(stream: &mut BufReader<Stream>) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    // A stream may be silent between messages as long as it likes, and end there.
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    steady(stream.read_exact(&mut length[1..])).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limits::DIRECT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than allowed"));
    }
    // Memory is taken as bytes come, not as they are announced.
    let mut bytes = Vec::with_capacity(length.min(64 << 10));
    while bytes.len() < length {
        let start = bytes.len();
        bytes.resize(length.min(start + (64 << 10)), 0);
        steady(stream.read_exact(&mut bytes[start..])).await?;
    }
    Ok(Some(bytes.into()))
}
