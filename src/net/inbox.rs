//! What the network tells the application, in one bounded queue.

use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Topic, limits};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node of this swarm is connected now. Precedes everything else that it says.
    Up(NodeId),
    /// The last connection to it is gone.
    Down(NodeId),
    /// It sent a message to this node alone.
    Direct {
        /// Who.
        from: NodeId,
        /// What, at most [`super::DIRECT_BYTES`].
        message: Bytes,
    },
    /// It published a message that was found valid.
    Gossip {
        /// On what.
        topic: Topic,
        /// Who published it, which is not who passed it on. Proved by signature.
        from: NodeId,
        /// What, at most [`super::GOSSIP_BYTES`].
        message: Bytes,
    },
    /// Messages to it are lost: it cannot be reached, or the connection broke with some unsent.
    Unreachable(NodeId),
    /// Something that a person who wonders about the network would like to know.
    Note(String),
}

/// The application's end of the queue. Dropping it ends the network.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Queued>);

#[derive(Debug)]
pub(super) struct Queued {
    event: Event,
    /// The room that a direct message takes, given back when it is taken out.
    _room: Option<OwnedSemaphorePermit>,
}

impl Events {
    /// The next event, once there is one; none when the network has ended.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await.map(|queued| queued.event)
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok().map(|queued| queued.event)
    }
}

/// The network's end of it.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

pub(super) fn channel() -> (Inbox, Events) {
    let (queue, events) = mpsc::channel(limits::EVENTS);
    (Inbox { queue, room: Arc::new(Semaphore::new(limits::EVENT_BYTES)) }, Events(events))
}

impl Inbox {
    /// Puts `event` in the queue if there is room; otherwise gives it back.
    pub(super) fn offer(&self, event: Event) -> Result<(), Event> {
        self.queue.try_send(Queued { event, _room: None }).map_err(|error| error.into_inner().event)
    }

    /// Waits until there is room for an event, or nobody listens any more.
    pub(super) async fn room(&self) {
        let _ = self.queue.reserve().await;
    }

    /// Waits until nobody listens any more.
    pub(super) async fn deserted(&self) {
        self.queue.closed().await;
    }

    /// Puts `event` in the queue, waiting for room. `false` when nobody listens any more.
    pub(super) async fn put(&self, event: Event) -> bool {
        self.queue.send(Queued { event, _room: None }).await.is_ok()
    }

    /// As [`Inbox::put`], for a direct message, which also waits for room for its bytes.
    pub(super) async fn deliver(&self, from: NodeId, message: Bytes) -> bool {
        let Ok(bytes) = u32::try_from(message.len()) else { return false };
        let Ok(room) = self.room.clone().acquire_many_owned(bytes).await else { return false };
        self.queue.send(Queued { event: Event::Direct { from, message }, _room: Some(room) }).await.is_ok()
    }
}
