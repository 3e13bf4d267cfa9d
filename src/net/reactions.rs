//! What the loop does about what happens on the network.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::identify;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, InboundRequest, QueryResult};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, mdns, ping};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::behaviour::BehaviourEvent;
use super::client::Dialled;
use super::driver::{Connection, Driver, Held, Peer, Query, Reader};
use super::inbox::Event;
use super::streams::{self, Kind, why};
use super::{Verdict, addr, blobs, direct, limits, spare};

/// How long a new stream of direct messages waits for the reader of the one before to be through.
const TAKE_OVER: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) fn react(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.react_to_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.disconnected(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, peer_id } => {
                tracing::debug!(?peer_id, %error, "a dial failed");
                self.dialled(connection_id, Dialled::Failed(why(&error)));
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listens(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.parts.swarm.remove_external_address(&address);
                self.parts.addresses.send_modify(|all| all.retain(|other| *other != address));
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                let each: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                self.tell(Event::Note(format!("no longer listening on {}: {error}", each.join(", "))));
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!(%send_back_addr, %error, "a connection did not come about");
            }
            _ => {}
        }
    }

    fn react_to_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(streams::Event::Member(peer)) => self.joined(peer),
            BehaviourEvent::Streams(streams::Event::Stranger(peer)) => self.estranged(peer),
            BehaviourEvent::Streams(streams::Event::Inbound(peer, kind, stream)) => {
                // Its protocol is named after the swarm: that is as good as a hello.
                self.joined(peer);
                self.take_up(peer, kind, stream);
            }
            BehaviourEvent::Identify(
                identify::Event::Received { connection_id, peer_id, info, .. }
                | identify::Event::Pushed { connection_id, peer_id, info, .. },
            ) => self.identified(peer_id, connection_id, &info),
            BehaviourEvent::Ping(event) => self.pinged(event),
            BehaviourEvent::Dht(event) => self.dht(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.gossip(&propagation_source, &message_id, message);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                let mut addresses: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
                for (peer, address) in found.into_iter().take(limits::STRANGERS) {
                    addresses.entry(peer).or_default().push(address);
                }
                for (peer, addresses) in addresses {
                    let near = addresses.first().map(|first| addr::worth_dialling(&addresses, first));
                    self.dial(Some(peer), near.unwrap_or_default(), None);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        self.dialled(connection, Dialled::Connected);
        let Some(node) = addr::node_id(&peer) else {
            let _ = self.parts.swarm.disconnect_peer_id(peer);
            return;
        };
        let peer = self.peers.entry(peer).or_insert_with(|| Peer {
            node,
            member: false,
            since: Instant::now(),
            connections: HashMap::new(),
            claimed: Vec::new(),
            agent: String::new(),
            rtt: None,
            streams: Arc::new(Semaphore::new(limits::STREAMS_PER_PEER)),
            serves: Arc::new(Semaphore::new(limits::SERVES_PER_PEER)),
            reader: None,
        });
        let address = endpoint.get_remote_address().clone();
        peer.connections.insert(connection, Connection { address, dialled: endpoint.is_dialer(), missed: 0 });
    }

    fn dialled(&mut self, connection: ConnectionId, outcome: Dialled) {
        if let Some(reply) = self.dials.remove(&connection) {
            let _ = reply.send(outcome);
        }
    }

    fn disconnected(&mut self, id: PeerId, connection: ConnectionId, left: u32) {
        if left > 0 {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.connections.remove(&connection);
            }
            return;
        }
        let Some(peer) = self.peers.remove(&id) else { return };
        if peer.member {
            self.count();
            self.tell(Event::Down(peer.node));
        }
    }

    fn count(&self) {
        self.parts.members.send_replace(self.members().count());
    }

    /// A peer has shown that it is of this swarm.
    fn joined(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.member) else { return };
        peer.member = true;
        let (node, claimed) = (peer.node, peer.claimed.clone());
        self.strangers.retain(|stranger| *stranger != id);
        self.count();
        self.route(id, claimed);
        self.tell(Event::Up(node));
        self.greet(node);
    }

    /// A peer is of another swarm. It is remembered, and the person told, who may have mistyped a name. Who
    /// dialled ends the connection: if the other did, this side might never hear the refusal.
    fn estranged(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id).filter(|peer| !peer.member) else { return };
        let dialled = peer.connections.values().find(|connection| connection.dialled);
        let note = dialled.map(|connection| {
            let (address, name) = (&connection.address, &self.parts.name);
            format!("{id} at {address} is not in the swarm {name}; it is left alone")
        });
        if note.is_some() {
            let _ = self.parts.swarm.disconnect_peer_id(id);
        }
        if self.strangers.contains(&id) {
            return;
        }
        if self.strangers.len() >= limits::STRANGERS {
            self.strangers.pop_front();
        }
        self.strangers.push_back(id);
        if let Some(note) = note {
            self.tell(Event::Note(note));
        }
    }

    fn identified(&mut self, id: PeerId, connection: ConnectionId, info: &identify::Info) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(connection) = peer.connections.get(&connection) else { return };
        let mut worth = addr::worth_dialling(&info.listen_addrs, &connection.address);
        worth.truncate(limits::HINTS_PER_PEER);
        peer.claimed = worth.clone();
        peer.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(limits::AGENT_CHARS).collect();
        if peer.member {
            self.route(id, worth);
        }
    }

    /// Enters a member's addresses into the DHT's table, and among those that are dialled.
    fn route(&mut self, id: PeerId, addresses: Vec<Multiaddr>) {
        let behaviour = self.parts.swarm.behaviour_mut();
        for address in &addresses {
            behaviour.dht.add_address(&id, address.clone());
        }
        if !addresses.is_empty() {
            behaviour.streams.hint(id, addresses);
        }
    }

    fn listens(&mut self, address: Multiaddr) {
        let loopback = addr::ip(&address).is_some_and(|ip| ip.is_loopback());
        // What is told to the DHT goes to everyone; a loopback address means something else to each.
        if self.parts.only_loopback || !loopback {
            self.parts.swarm.add_external_address(address.clone());
        }
        self.parts.addresses.send_modify(|all| {
            if !all.contains(&address) {
                all.push(address);
            }
        });
    }

    fn pinged(&mut self, event: ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else { return };
        let Some(connection) = peer.connections.get_mut(&event.connection) else { return };
        match event.result {
            Ok(rtt) => {
                connection.missed = 0;
                peer.rtt = Some(rtt);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                connection.missed += 1;
                if connection.missed >= limits::PINGS_MISSED {
                    tracing::debug!(peer = %event.peer, %error, "a connection is given up");
                    self.parts.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn gossip(&mut self, passed_on_by: &PeerId, id: &gossipsub::MessageId, message: gossipsub::Message) {
        let topic = self.topics.get(&message.topic).copied();
        let from = message.source.as_ref().and_then(addr::node_id);
        let verdict = match (topic, from) {
            (Some(topic), Some(_)) if message.data.len() <= limits::GOSSIP_BYTES => {
                (self.parts.validate)(&topic, &message.data)
            }
            (None, _) => Verdict::Ignore,
            _ => Verdict::Reject,
        };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        let gossip = &mut self.parts.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, passed_on_by, acceptance);
        if let (Verdict::Accept, Some(topic), Some(from)) = (verdict, topic, from) {
            // Gossip is told again; what must not be lost goes before it.
            if self.held.len() < limits::EVENTS_HELD {
                self.tell(Event::Gossip { topic, from, message: Bytes::from(message.data) });
            }
        }
    }

    fn dht(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                self.routed += 1;
                if self.joining.is_none() {
                    self.joining = self.parts.swarm.behaviour_mut().dht.bootstrap().ok();
                }
            }
            // All our keys are hashes. A peer can speak only for itself: kad has seen to that.
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(mut record) } }
                if record.key.as_ref().len() == 32 =>
            {
                record.addresses.truncate(limits::HINTS_PER_PEER);
                let _ = self.parts.swarm.behaviour_mut().dht.store_mut().add_provider(record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                // The first step is the search for oneself, after which one knows one's neighbours; those that
                // follow look into the far corners.
                if self.joining == Some(id) {
                    self.parts.joined.send_replace(true);
                }
                self.progress(id, &result);
                if step.last {
                    match self.queries.remove(&id) {
                        Some(Query::Providers { found, reply, .. }) => {
                            let _ = reply.send(found);
                        }
                        Some(Query::Locate(reply)) => {
                            let _ = reply.send(());
                        }
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn progress(&mut self, id: kad::QueryId, result: &QueryResult) {
        match (self.queries.get_mut(&id), result) {
            (
                Some(Query::Providers { found, most, .. }),
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
            ) => {
                let room = most.saturating_sub(found.len());
                let new: Vec<PeerId> =
                    providers.iter().filter(|peer| !found.contains(peer)).take(room).copied().collect();
                found.extend(&new);
                let (few, enough) = (*most <= limits::BLOB_PROVIDERS, found.len() >= *most);
                // Their addresses are known only while the query runs, and they will be asked in any case.
                for peer in new {
                    if few || self.peers.len() < limits::CONNECTIONS as usize / 2 {
                        self.dial(Some(peer), Vec::new(), None);
                    }
                }
                if enough && let Some(mut query) = self.parts.swarm.behaviour_mut().dht.query_mut(&id) {
                    query.finish();
                }
            }
            (
                Some(Query::Locate(_)),
                QueryResult::GetClosestPeers(
                    Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }),
                ),
            ) => {
                for peer in peers {
                    self.parts.swarm.behaviour_mut().streams.hint(peer.peer_id, peer.addrs.iter().cloned());
                }
            }
            _ => {}
        }
    }

    fn take_up(&mut self, id: PeerId, kind: Kind, stream: Stream) {
        if kind == Kind::Direct {
            self.held.push_back(Held::Stream(id, stream));
            self.release();
            return;
        }
        let Some(peer) = self.peers.get(&id) else { return };
        // Beyond its share a peer's stream is dropped, which it sees.
        let Ok(share) = peer.streams.clone().try_acquire_owned() else { return };
        if kind == Kind::Pieces {
            let (exchanges, node) = (self.parts.exchanges.clone(), peer.node);
            self.tasks.spawn(async move {
                if let Err(error) = exchanges.answer(node, stream, share).await {
                    tracing::debug!(peer = %id, %error, "a session about a blob did not begin");
                }
            });
            return;
        }
        let (serve, advert, upload) = (self.parts.serve.clone(), self.advert.clone(), self.parts.upload.clone());
        let turns = [peer.serves.clone(), self.serves.clone()];
        self.tasks.spawn(async move {
            let answered: io::Result<()> = match kind {
                Kind::Blob => blobs::answer(stream, serve, turns, upload).await,
                _ => spare::answer(stream, advert).await,
            };
            if let Err(error) = answered {
                tracing::debug!(peer = %id, ?kind, %error, "a question was not answered");
            }
            drop(share);
        });
    }

    /// Reads a stream of direct messages, the only one of its peer: it takes over from one that stood before.
    pub(super) fn read(&mut self, id: PeerId, stream: Stream) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Ok(share) = peer.streams.clone().try_acquire_owned() else { return };
        let (node, inbox, before) = (peer.node, self.parts.inbox.clone(), peer.reader.take());
        peer.reader = Some(Reader(tokio::spawn(async move {
            if let Some(mut before) = before {
                let _ = timeout(TAKE_OVER, &mut before.0).await;
            }
            direct::read(stream, node, inbox).await;
            drop(share);
        })));
    }
}
