//! What may be asked of the network's loop, and the end of the queue on which it is asked.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::NodeId;
use futures::channel::oneshot;
use libp2p::{Multiaddr, PeerId, Stream, kad};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::behaviour::Topic;
use super::spare::Advert;
use super::streams::{Kind, OpenError, Opening};
use super::{PublishError, limits};

/// A node that is connected now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub node: NodeId,
    /// Where it says it can be reached; where it is connected from, until it has said so.
    pub addresses: Vec<Multiaddr>,
    /// The last ping there and back; none until there was one.
    pub rtt: Option<Duration>,
    /// What it says that it is, as [`super::agent`] of another version; nothing until it has said so.
    pub agent: String,
}

/// What became of a dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialled {
    /// There is a connection.
    Connected,
    /// It was not tried: connected or being dialled already, or known to be a stranger.
    Needless,
    /// It failed, for this reason.
    Failed(String),
}

/// The swarm as a seeker of spare CPU begins with it.
#[derive(Debug)]
pub(super) struct View {
    /// Estimated number of nodes.
    pub(super) size: usize,
    /// Peers that are connected, and in a small swarm all that are known.
    pub(super) known: Vec<PeerId>,
}

#[derive(Debug)]
pub(super) enum Command {
    Open(PeerId, Opening),
    Dial(Option<PeerId>, Vec<Multiaddr>, oneshot::Sender<Dialled>),
    Hint(PeerId, Vec<Multiaddr>),
    Subscribe(Topic),
    Unsubscribe(Topic),
    Publish(Topic, Bytes, oneshot::Sender<Result<(), PublishError>>),
    Greetings(Vec<Bytes>),
    Advertise(Advert),
    View(oneshot::Sender<View>),
    /// The large blobs that this node says on the DHT that it has, by their keys.
    Provide(HashSet<kad::RecordKey>),
    /// So many of those who provide a key.
    Providers(kad::RecordKey, usize, oneshot::Sender<HashSet<PeerId>>),
    Locate(PeerId, oneshot::Sender<()>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Shutdown(oneshot::Sender<()>),
}

/// Asks the loop.
#[derive(Clone, Debug)]
pub(super) struct Client(mpsc::Sender<Command>);

pub(super) fn channel() -> (Client, mpsc::Receiver<Command>) {
    let (commands, queue) = mpsc::channel(limits::COMMANDS);
    (Client(commands), queue)
}

impl Client {
    /// `false` when the network is shut down.
    pub(super) async fn tell(&self, command: Command) -> bool {
        self.0.send(command).await.is_ok()
    }

    /// None when the network is shut down, or could not do it.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.ok()?;
        // What is sent while the other side is being dropped may lie there for as long as this handle lives.
        tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = self.0.closed() => None,
        }
    }

    /// Opens a stream to `peer`, dialling it where need be.
    pub(super) async fn open(&self, peer: PeerId, kind: Kind) -> Result<Stream, OpenError> {
        let asked = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(Command::Open(peer, Opening { kind, reply })).await.map_err(|_| OpenError::Closed)?;
            answer.await.unwrap_or(Err(OpenError::Lost))
        };
        timeout(limits::OPEN, asked).await.unwrap_or(Err(OpenError::TimedOut))
    }
}
