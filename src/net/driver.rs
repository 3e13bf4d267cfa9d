//! The network's loop: the one task that owns the libp2p swarm. It never waits for the application, for a
//! stream or for the disk; what takes time runs in tasks of its own. What happens on the network is dealt
//! with in `reactions`, what handles ask for here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::NodeId;
use futures::StreamExt;
use futures::channel::oneshot;
use libp2p::gossipsub::{PublishError as GossipError, TopicHash};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Stream, Swarm, kad};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::behaviour::{self, Behaviour, Topic};
use super::client::{Command, Dialled, PeerInfo, View};
use super::direct::Outboxes;
use super::inbox::{Event, Inbox};
use super::pieces::Exchanges;
use super::streams::why;
use super::upload::Upload;
use super::{PublishError, Serve, SwarmName, Validate, limits, spare};

/// What the loop is given when it starts.
pub(super) struct Parts {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) node: NodeId,
    pub(super) name: SwarmName,
    /// Whether loopback is all that this node listens on.
    pub(super) only_loopback: bool,
    pub(super) serve: Serve,
    pub(super) exchanges: Exchanges,
    pub(super) upload: Upload,
    pub(super) validate: Validate,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outboxes: Outboxes,
    pub(super) inbox: Inbox,
    pub(super) addresses: watch::Sender<Vec<Multiaddr>>,
    pub(super) members: watch::Sender<usize>,
    pub(super) joined: watch::Sender<bool>,
}

/// See the module.
pub(super) struct Driver {
    pub(super) parts: Parts,
    /// Everyone who is connected: bounded by the connection limits.
    pub(super) peers: HashMap<PeerId, Peer>,
    /// The peers last found to be of other swarms: at most [`limits::STRANGERS`].
    pub(super) strangers: VecDeque<PeerId>,
    /// Dials whose outcome somebody waits for: bounded by the pending connections.
    pub(super) dials: HashMap<ConnectionId, oneshot::Sender<Dialled>>,
    /// Queries that somebody waits for: at most [`limits::QUERIES`].
    pub(super) queries: HashMap<kad::QueryId, Query>,
    /// The query by which this node first joins the DHT.
    pub(super) joining: Option<kad::QueryId>,
    /// Peers that have ever entered the DHT's table, to know when it has grown.
    pub(super) routed: usize,
    /// What this node is subscribed to: at most [`limits::TOPICS`].
    pub(super) topics: HashMap<TopicHash, Topic>,
    pub(super) advert: Option<Bytes>,
    lends: bool,
    /// The keys of the blobs that this node says it has: at most [`limits::BLOBS_PROVIDED`].
    blobs: HashSet<kad::RecordKey>,
    provided: HashSet<kad::RecordKey>,
    provided_at: usize,
    greetings: Vec<Bytes>,
    /// What does not fit the inbox yet, in order.
    pub(super) held: VecDeque<Held>,
    pub(super) serves: Arc<Semaphore>,
    /// Answers being given: bounded by the streams of each peer.
    pub(super) tasks: JoinSet<()>,
}

/// Someone who is connected.
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) member: bool,
    /// When it connected.
    pub(super) since: Instant,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// Where it says it can be reached.
    pub(super) claimed: Vec<Multiaddr>,
    /// What it says that it is.
    pub(super) agent: String,
    pub(super) rtt: Option<Duration>,
    /// Room for the streams it opens.
    pub(super) streams: Arc<Semaphore>,
    /// Turns for those of them that ask for blobs.
    pub(super) serves: Arc<Semaphore>,
    pub(super) reader: Option<Reader>,
}

/// One of the connections to a peer.
pub(super) struct Connection {
    /// The address at the other end.
    pub(super) address: Multiaddr,
    /// Whether this node dialled it.
    pub(super) dialled: bool,
    /// Pings in a row that were not answered.
    pub(super) missed: u8,
}

/// A task that reads a stream of direct messages; ends with this.
pub(super) struct Reader(pub(super) JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query on the DHT that somebody waits for.
pub(super) enum Query {
    Providers {
        found: HashSet<PeerId>,
        /// With so many it ends.
        most: usize,
        reply: oneshot::Sender<HashSet<PeerId>>,
    },
    Locate(oneshot::Sender<()>),
}

/// What waits for room in the inbox.
pub(super) enum Held {
    Event(Event),
    /// A stream of direct messages, which must not be read before its peer was said to be up.
    Stream(PeerId, Stream),
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Driver {
        Driver {
            parts,
            peers: HashMap::new(),
            strangers: VecDeque::new(),
            dials: HashMap::new(),
            queries: HashMap::new(),
            joining: None,
            routed: 0,
            topics: HashMap::new(),
            advert: None,
            lends: false,
            blobs: HashSet::new(),
            provided: HashSet::new(),
            provided_at: 0,
            greetings: Vec::new(),
            held: VecDeque::new(),
            serves: Arc::new(Semaphore::new(limits::SERVES)),
            tasks: JoinSet::new(),
        }
    }

    /// Runs until the application shuts it down or drops the events.
    pub(super) async fn run(mut self) {
        let mut check = interval(limits::LEVEL_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.release();
            let listening = self.held.len() < 2 * limits::EVENTS_HELD;
            tokio::select! {
                command = self.parts.commands.recv() => match command {
                    Some(Command::Shutdown(done)) => {
                        let _ = timeout(limits::FAREWELL, self.part()).await;
                        drop(self);
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return,
                },
                event = self.parts.swarm.select_next_some(), if listening => self.react(event),
                () = self.parts.inbox.room(), if !self.held.is_empty() => {}
                () = self.parts.inbox.deserted() => return,
                Some(_) = self.tasks.join_next() => {}
                _ = check.tick() => {
                    self.dismiss();
                    self.provide();
                }
            }
        }
    }

    /// Parts from those who have not shown in time that they are of this swarm.
    fn dismiss(&mut self) {
        let late = |peer: &Peer| !peer.member && peer.since.elapsed() > limits::PROBATION;
        let late: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| late(peer)).map(|(id, _)| *id).collect();
        for peer in late {
            let _ = self.parts.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes all connections in good order.
    async fn part(&mut self) {
        let peers: Vec<PeerId> = self.parts.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.parts.swarm.disconnect_peer_id(peer);
        }
        while self.parts.swarm.connected_peers().next().is_some() {
            self.parts.swarm.select_next_some().await;
        }
    }

    fn obey(&mut self, command: Command) {
        let behaviour = self.parts.swarm.behaviour_mut();
        match command {
            Command::Open(peer, opening) => behaviour.streams.open(peer, opening),
            Command::Dial(peer, addresses, reply) => self.dial(peer, addresses, Some(reply)),
            Command::Hint(peer, addresses) => behaviour.streams.hint(peer, addresses),
            Command::Subscribe(topic) => self.subscribe(topic),
            Command::Unsubscribe(topic) => {
                let name = topic.name(&self.parts.name);
                self.topics.remove(&name.hash());
                behaviour.gossip.unsubscribe(&name);
            }
            Command::Publish(topic, message, reply) => {
                let name = topic.name(&self.parts.name);
                let published = behaviour.gossip.publish(name, message);
                let _ = reply.send(match published {
                    Ok(_) | Err(GossipError::Duplicate) => Ok(()),
                    Err(GossipError::NoPeersSubscribedToTopic) => Err(PublishError::NobodyListens),
                    Err(GossipError::AllQueuesFull(_)) => Err(PublishError::Busy),
                    Err(GossipError::MessageTooLarge) => Err(PublishError::TooLarge),
                    Err(error) => Err(PublishError::Failed(error.to_string())),
                });
            }
            Command::Greetings(greetings) => self.greetings = greetings,
            Command::Advertise(advert) => {
                self.lends = advert.lends;
                self.advert = spare::encoded(&advert);
                self.provide();
            }
            Command::View(reply) => {
                let _ = reply.send(self.view());
            }
            Command::Provide(keys) => {
                self.blobs = keys;
                self.provide();
            }
            Command::Providers(key, most, reply) => {
                if self.queries.len() < limits::QUERIES {
                    let id = behaviour.dht.get_providers(key);
                    self.queries.insert(id, Query::Providers { found: HashSet::new(), most, reply });
                }
            }
            Command::Locate(peer, reply) => {
                if self.queries.len() < limits::QUERIES {
                    let id = behaviour.dht.get_closest_peers(peer);
                    self.queries.insert(id, Query::Locate(reply));
                }
            }
            Command::Peers(reply) => {
                let _ = reply.send(self.members().map(|(_, peer)| peer.info()).collect());
            }
            // The loop takes this one itself.
            Command::Shutdown(_) => {}
        }
    }

    /// Dials a peer at these addresses and any others that are known, or whoever is at the first of them.
    pub(super) fn dial(
        &mut self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
        reply: Option<oneshot::Sender<Dialled>>,
    ) {
        let answer = |reply: Option<oneshot::Sender<Dialled>>, dialled| {
            if let Some(reply) = reply {
                let _ = reply.send(dialled);
            }
        };
        let opts: DialOpts = match peer {
            Some(peer) if self.strangers.contains(&peer) => return answer(reply, Dialled::Needless),
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .extend_addresses_through_behaviour()
                .allocate_new_port()
                .build(),
            None => match addresses.into_iter().next() {
                Some(address) => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
                None => return answer(reply, Dialled::Failed("it has no address".to_owned())),
            },
        };
        let id = opts.connection_id();
        match self.parts.swarm.dial(opts) {
            Ok(()) => {
                if let Some(reply) = reply {
                    self.dials.insert(id, reply);
                }
            }
            Err(libp2p::swarm::DialError::DialPeerConditionFalse(_)) => answer(reply, Dialled::Needless),
            Err(error) => answer(reply, Dialled::Failed(why(&error))),
        }
    }

    fn subscribe(&mut self, topic: Topic) {
        if self.topics.len() >= limits::TOPICS {
            self.tell(Event::Note(format!("not more than {} topics can be followed", limits::TOPICS)));
            return;
        }
        let name = topic.name(&self.parts.name);
        let gossip = &mut self.parts.swarm.behaviour_mut().gossip;
        let scored = gossip.set_topic_params(name.clone(), behaviour::topic_scores());
        let subscribed = gossip.subscribe(&name);
        if scored.is_err() || subscribed.is_err() {
            tracing::warn!(?topic, ?scored, ?subscribed, "a topic could not be followed in full");
        }
        self.topics.insert(name.hash(), topic);
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.member)
    }

    fn view(&mut self) -> View {
        let dht = &mut self.parts.swarm.behaviour_mut().dht;
        let size = behaviour::estimate(dht);
        let mut known = Vec::new();
        // Where asking everyone costs no more than asking a sample, nobody should be missed.
        if size <= limits::ASKED / 8 {
            let entries = dht.kbuckets().flat_map(|bucket| {
                let peers: Vec<PeerId> = bucket.iter().map(|entry| *entry.node.key.preimage()).collect();
                peers
            });
            known.extend(entries);
        }
        known.extend(self.members().map(|(peer, _)| *peer));
        View { size, known }
    }

    /// Tells the DHT that this node lends, under the keys of the level at which the swarm is now, and which blobs it
    /// has: again when the level has changed, or when so many more peers are known that others are responsible for
    /// the keys.
    fn provide(&mut self) {
        let dht = &mut self.parts.swarm.behaviour_mut().dht;
        let mut keys = if self.lends {
            spare::keys_of(self.parts.node, spare::level(behaviour::estimate(dht)))
        } else {
            HashSet::new()
        };
        keys.extend(self.blobs.iter().cloned());
        for key in self.provided.difference(&keys) {
            dht.stop_providing(key);
        }
        let grown = self.routed > self.provided_at + self.provided_at / 4;
        for key in keys.iter().filter(|key| grown || !self.provided.contains(*key)) {
            if let Err(error) = dht.start_providing(key.clone()) {
                tracing::debug!(%error, "the DHT is not told of what is here");
            }
        }
        if grown {
            self.provided_at = self.routed;
        }
        self.provided = keys;
    }

    /// Greets a member that has just connected.
    pub(super) fn greet(&mut self, node: NodeId) {
        for greeting in &self.greetings {
            if let Err(error) = self.parts.outboxes.post(node, greeting.clone()) {
                tracing::debug!(%node, %error, "not greeted");
            }
        }
    }

    /// Tells the application, at once or as soon as there is room, in order.
    pub(super) fn tell(&mut self, event: Event) {
        self.held.push_back(Held::Event(event));
        self.release();
    }

    pub(super) fn release(&mut self) {
        while let Some(held) = self.held.pop_front() {
            match held {
                Held::Event(event) => {
                    if let Err(event) = self.parts.inbox.offer(event) {
                        self.held.push_front(Held::Event(event));
                        return;
                    }
                }
                Held::Stream(peer, stream) => self.read(peer, stream),
            }
        }
    }
}

impl Peer {
    fn info(&self) -> PeerInfo {
        let ends = self.connections.values().map(|connection| &connection.address);
        let addresses = if self.claimed.is_empty() { ends.cloned().collect() } else { self.claimed.clone() };
        PeerInfo { node: self.node, addresses, rtt: self.rtt, agent: self.agent.clone() }
    }
}
