//! Real swarms on loopback. Nothing here listens on any other address, and nothing waits for a fixed time:
//! only for what must happen, with a deadline far beyond what it takes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod bounds;
mod figures;
mod finding;
mod moving;
mod pieces;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{BlobId, NodeId};
use tokio::time::{sleep, timeout};

use super::{Config, Event, Events, Handle, Multiaddr, PeerAddr, Verdict, start};
use crate::blob::Blob;

const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Node {
    pub(super) net: Handle,
    pub(super) events: Events,
}

/// A node that is alone, on loopback, with an identity of its own.
pub(super) fn config() -> Config {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let seed = BlobId::of(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()).0;
    Config {
        seed,
        swarm: "test".parse().unwrap(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        peers: Vec::new(),
        mdns: false,
        local_dir: None,
        serve: Arc::new(|_| None),
        serve_pieces: Arc::new(|_| None),
        upload: None,
        validate: Arc::new(|_, message| match message.first() {
            Some(b'!') => Verdict::Reject,
            Some(b'?') => Verdict::Ignore,
            _ => Verdict::Accept,
        }),
    }
}

pub(super) fn serving(blobs: Vec<(BlobId, Blob)>) -> super::Serve {
    let blobs: HashMap<_, _> = blobs.into_iter().collect();
    Arc::new(move |id| blobs.get(&id).cloned())
}

impl Node {
    pub(super) async fn new(config: Config) -> Node {
        let (net, events) = start(config).await.unwrap();
        Node { net, events }
    }

    /// A node that knows `other`.
    pub(super) async fn knowing(other: &Node) -> Node {
        Node::new(Config { peers: vec![other.addr()], ..config() }).await
    }

    /// Two nodes that are connected, and have said so.
    pub(super) async fn pair() -> (Node, Node) {
        let mut one = Node::new(config()).await;
        let mut other = Node::knowing(&one).await;
        one.up(other.id()).await;
        other.up(one.id()).await;
        (one, other)
    }

    pub(super) fn id(&self) -> NodeId {
        self.net.node()
    }

    pub(super) fn multiaddr(&self) -> Multiaddr {
        self.net.addresses().first().unwrap().clone()
    }

    pub(super) fn addr(&self) -> PeerAddr {
        self.multiaddr().to_string().parse().unwrap()
    }

    /// The first event that `wanted` makes something of; those before it are dropped.
    pub(super) async fn until<T>(&mut self, what: &str, wanted: impl FnMut(Event) -> Option<T>) -> T {
        let mut wanted = wanted;
        let seen = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    pub(super) async fn up(&mut self, node: NodeId) {
        self.until("Up", |event| (event == Event::Up(node)).then_some(())).await;
    }

    pub(super) async fn down(&mut self, node: NodeId) {
        self.until("Down", |event| (event == Event::Down(node)).then_some(())).await;
    }

    /// The next direct message; anything else before it is dropped.
    pub(super) async fn direct(&mut self) -> (NodeId, Bytes) {
        self.until("message", |event| match event {
            Event::Direct { from, message } => Some((from, message)),
            _ => None,
        })
        .await
    }
}

/// Asks again and again until the answer is yes.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut asked: impl FnMut() -> F) {
    let happens = async {
        while !asked().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, happens).await.unwrap_or_else(|_| panic!("never: {what}"));
}
