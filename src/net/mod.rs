//! Everything libp2p: finds the peers of one swarm, moves bytes between them, and keeps the bounds.
//!
//! It knows nothing of jobs beyond their names, nor of the store or the person, nor of the core but for the exchange
//! of pieces, which it drives. [`start()`] gives a
//! [`Handle`], with which everything is asked for, and the [`Events`] that happen. Between them stands one
//! task that owns the swarm (`driver`, `reactions`); whatever takes time has tasks of its own: a writer and
//! a reader of direct messages for each peer (`direct`), answers to questions (`blobs`, `spare`), one for each blob
//! that is moved in pieces (`pieces`), and those that look for peers (`rendezvous`). The DHT knows who lends (`spare`) and
//! who has a large blob (`providers`). All bounds stand in `limits`.

mod addr;
mod behaviour;
mod blobs;
mod client;
mod direct;
mod driver;
mod inbox;
mod limits;
mod pieces;
mod providers;
mod reactions;
mod rendezvous;
mod spare;
mod start;
mod streams;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::{BlobId, BlobRef, NodeId};
use libp2p::multiaddr::Protocol;
use tokio::sync::{mpsc, watch};

pub use addr::{AddrError, PeerAddr, SwarmName, parse_listen};
pub use behaviour::Topic;
pub use blobs::FetchError;
pub use client::PeerInfo;
pub use direct::SendError;
pub use inbox::{Event, Events};
pub use libp2p::Multiaddr;
pub use limits::{BLOBS_PROVIDED, DIRECT_BYTES, GOSSIP_BYTES, GREETING_BYTES, GREETINGS, TOPICS};
pub use spare::{Advert, Found};
pub use start::{NetError, start};

use crate::blob::{Blob, Pieces};
use client::{Client, Command};

/// What this node says that it is to all who connect: its version, and that of the manifests that it reads.
#[must_use]
pub fn agent() -> String {
    format!("essaim/{} manifest/{}", env!("CARGO_PKG_VERSION"), essaim_jobs::manifest::VERSION)
}

/// Answers questions for blobs. Called where blocking is allowed, from several threads at once.
pub type Serve = Arc<dyn Fn(BlobId) -> Option<Blob> + Send + Sync>;

/// Answers questions for blobs that can be had in pieces: whole ones and those of which only a part is here. Called
/// where blocking is allowed. Those that [`Handle::download`] is fetching are given on without it.
pub type ServePieces = Arc<dyn Fn(BlobRef) -> Option<Arc<dyn Pieces>> + Send + Sync>;

/// Judges a gossiped message before it is passed on. Called in the network's loop: it must be quick.
pub type Validate = Arc<dyn Fn(&Topic, &[u8]) -> Verdict + Send + Sync>;

/// What becomes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is told to the application, and passed on.
    Accept,
    /// It is dropped, and counts against who passed it on: no honest peer would have.
    Reject,
    /// It is dropped.
    Ignore,
}

/// What a node is on the network.
#[derive(Clone)]
pub struct Config {
    /// The ed25519 secret that is the node's identity.
    pub seed: [u8; 32],
    /// The swarm to be in.
    pub swarm: SwarmName,
    /// Where to listen; nothing means TCP and QUIC on all interfaces, on ports that are free.
    pub listen: Vec<Multiaddr>,
    /// Peers to be dialled at the start, and again whenever this node is alone.
    pub peers: Vec<PeerAddr>,
    /// Whether to find peers on the local network by multicast.
    pub mdns: bool,
    /// A folder in which the nodes of this machine find one another, each swarm in a folder of its own.
    pub local_dir: Option<PathBuf>,
    /// What this node has to give.
    pub serve: Serve,
    /// What of it can be had in pieces.
    pub serve_pieces: ServePieces,
    /// Bytes of blobs that this node sends a second, to all together; unlimited where there is none.
    pub upload: Option<u64>,
    /// What this node believes.
    pub validate: Validate,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("swarm", &self.swarm)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("mdns", &self.mdns)
            .field("local_dir", &self.local_dir)
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Longer than [`GOSSIP_BYTES`].
    #[error("the message is longer than the {GOSSIP_BYTES} bytes that may be published")]
    TooLarge,
    /// No peer that is connected follows the topic. It was told to nobody.
    #[error("nobody listens")]
    NobodyListens,
    /// More was published than the peers can take. It was told to nobody.
    #[error("too much is being published")]
    Busy,
    /// It could not be signed or sent.
    #[error("it could not be published: {0}")]
    Failed(String),
    /// The network is shut down.
    #[error("the network is shut down")]
    Closed,
}

/// More greetings than may be sent to whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("greetings are at most {GREETINGS}, of {GREETING_BYTES} bytes together")]
pub struct TooManyGreetings;

/// The network, as the rest of the node sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    node: NodeId,
    client: Client,
    outboxes: direct::Outboxes,
    fetcher: blobs::Fetcher,
    exchanges: pieces::Exchanges,
    addresses: watch::Receiver<Vec<Multiaddr>>,
    members: watch::Receiver<usize>,
    joined: watch::Receiver<bool>,
}

impl Handle {
    /// Who this node is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it listens, its identity included.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let me = Protocol::P2p(addr::peer_id(self.node));
        self.addresses.borrow().iter().map(|address| address.clone().with(me.clone())).collect()
    }

    /// Sends a message to one node, dialling it where need be, and returns once it is connected and the
    /// message has its place in the queue: so it waits while the other side is slow. Messages to one node
    /// arrive in the order in which they were accepted. Those that are lost later are told of by
    /// [`Event::Unreachable`] or, where the connection took them with it, [`Event::Down`].
    ///
    /// # Errors
    /// [`SendError`], except [`SendError::Full`] for one slow node.
    pub async fn send(&self, to: NodeId, message: Bytes) -> Result<(), SendError> {
        self.outboxes.send(to, message).await
    }

    /// As [`Handle::send`], without waiting: for a loop that must not. It dials behind the scenes; if that
    /// fails, [`Event::Unreachable`] says so.
    ///
    /// # Errors
    /// [`SendError`]; [`SendError::Full`] when no more can wait for this node.
    pub fn post(&self, to: NodeId, message: Bytes) -> Result<(), SendError> {
        self.outboxes.post(to, message)
    }

    /// Follows a topic. At most [`TOPICS`]; beyond, [`Event::Note`] says so.
    pub async fn subscribe(&self, topic: Topic) {
        self.client.tell(Command::Subscribe(topic)).await;
    }

    /// Follows it no longer.
    pub async fn unsubscribe(&self, topic: Topic) {
        self.client.tell(Command::Unsubscribe(topic)).await;
    }

    /// Publishes a message to all who follow a topic; one need not follow it oneself.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&self, topic: Topic, message: Bytes) -> Result<(), PublishError> {
        if message.len() > GOSSIP_BYTES {
            return Err(PublishError::TooLarge);
        }
        let published = self.client.ask(|reply| Command::Publish(topic, message, reply)).await;
        published.unwrap_or(Err(PublishError::Closed))
    }

    /// Sets what is sent, as direct messages, to every node that connects from now on.
    ///
    /// # Errors
    /// [`TooManyGreetings`].
    pub async fn set_greetings(&self, greetings: Vec<Bytes>) -> Result<(), TooManyGreetings> {
        if greetings.len() > GREETINGS || greetings.iter().map(Bytes::len).sum::<usize>() > GREETING_BYTES {
            return Err(TooManyGreetings);
        }
        self.client.tell(Command::Greetings(greetings)).await;
        Ok(())
    }

    /// Fetches a blob from one node, and verifies it.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, from: NodeId, blob: BlobRef) -> Result<Bytes, FetchError> {
        self.fetcher.fetch(from, blob).await
    }

    /// As [`Handle::fetch`], into `file`, from its beginning, without having all of it in memory. Where it fails, anything
    /// may stand there.
    ///
    /// # Errors
    /// The file's; inside, why it does not come.
    pub async fn fetch_to(&self, from: NodeId, blob: BlobRef, file: Arc<File>) -> io::Result<Result<(), FetchError>> {
        self.fetcher.fetch_to(from, blob, file).await
    }

    /// Fetches a blob in pieces, from all of `sources` at once and from whoever else opens a session about it, and
    /// gives on what it has to all of them meanwhile, and for a while after. Sources may be named at any time, and
    /// again when they were lost; they need not have all of it, nor any of it yet. Waits as long as more may be
    /// named; dropping it stops the taking.
    ///
    /// # Errors
    /// [`FetchError::NoSource`] when `sources` is closed and no session is left, [`FetchError::Disk`],
    /// [`FetchError::Elsewhere`], [`FetchError::TooLarge`], [`FetchError::Busy`].
    pub async fn download(
        &self,
        blob: BlobRef,
        into: Arc<dyn Pieces>,
        sources: mpsc::Receiver<NodeId>,
    ) -> Result<(), FetchError> {
        self.exchanges.download(blob, into, sources).await
    }

    /// Says on the DHT that this node has all of these blobs, of [`BLOBS_PROVIDED`] of them at most, and of no others
    /// any more: what was said before is not renewed, and those who keep it forget it within ten minutes.
    pub async fn provide(&self, blobs: impl IntoIterator<Item = BlobId>) {
        let keys = blobs.into_iter().take(BLOBS_PROVIDED).map(|blob| providers::key(&blob)).collect();
        self.client.tell(Command::Provide(keys)).await;
    }

    /// Others that say on the DHT that they have all of a blob, some where there are many. They are being dialled.
    pub async fn providers(&self, blob: BlobId) -> HashSet<NodeId> {
        providers::find(&self.client, self.node, &blob).await
    }

    /// Sets what this node answers to those who seek spare CPU and, if it lends, tells the DHT.
    pub async fn advertise(&self, advert: Advert) {
        self.client.tell(Command::Advertise(advert)).await;
    }

    /// Finds nodes that lend their CPU: all of a small swarm, a random sample of a large one, those that
    /// answer fastest first. Takes milliseconds, and seconds where some of them are gone.
    pub async fn find_spare(&self) -> Vec<Found> {
        spare::find(&self.client, self.node, self.members.clone(), self.joined.clone()).await
    }

    /// The nodes that say on the DHT that they lend, without asking any of them.
    pub async fn spare_providers(&self) -> HashSet<NodeId> {
        let Some(view) = self.client.ask(Command::View).await else { return HashSet::new() };
        let found = spare::providers(&self.client, view.size).await;
        found.iter().filter_map(addr::node_id).collect()
    }

    /// Remembers where a node may be found, as somebody said.
    pub async fn add_address(&self, node: NodeId, addresses: Vec<Multiaddr>) {
        let addresses = addresses.into_iter().map(|address| addr::split_peer(address).0).collect();
        self.client.tell(Command::Hint(addr::peer_id(node), addresses)).await;
    }

    /// The nodes of this swarm that are connected now.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.client.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Ends the network: what was sent is given half a second to arrive, then all connections are closed.
    /// All other handles are closed too.
    pub async fn shutdown(self) {
        self.exchanges.close();
        self.outboxes.close(limits::FLUSH).await;
        self.client.ask(Command::Shutdown).await;
    }
}
