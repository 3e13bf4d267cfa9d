//! Streams between nodes: a libp2p behaviour that opens a stream of one of our protocols to a peer, hands up
//! those that peers open, and tells members of this swarm from strangers.
//!
//! It is our own rather than `libp2p-stream` because that one silently drops every inbound stream beyond the
//! first that waits, keeps an entry for each connection there ever was, and can leave an opener waiting for
//! ever. Every connection begins with a *hello*: a stream of a protocol named after the swarm, opened and
//! closed. Who negotiates it is a member, who refuses it a stranger; the loop parts from those who do neither.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::oneshot;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

use super::SwarmName;
use super::limits;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shows membership; carries nothing.
    Hello,
    /// Direct messages, one way.
    Direct,
    /// One question for a blob, and its answer.
    Blob,
    /// One question for an advert, and its answer.
    Advert,
    /// A session about the pieces of one blob, both ways.
    Pieces,
}

const KINDS: [Kind; 5] = [Kind::Hello, Kind::Direct, Kind::Blob, Kind::Advert, Kind::Pieces];

#[derive(Debug)]
struct Protocols([StreamProtocol; KINDS.len()]);

impl Protocols {
    fn name(&self, kind: Kind) -> StreamProtocol {
        self.0[kind as usize].clone()
    }
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it does not speak this protocol")]
    NotSpoken,
    #[error("the connection was lost")]
    Lost,
    #[error("it did not answer in time")]
    TimedOut,
    #[error("too many streams wait for it")]
    TooMany,
    #[error("the network is shut down")]
    Closed,
}

/// A stream that somebody waits for.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) kind: Kind,
    pub(super) reply: oneshot::Sender<Result<Stream, OpenError>>,
}

/// What the behaviour tells the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer of this swarm.
    Member(PeerId),
    /// One that is not of this swarm.
    Stranger(PeerId),
    /// A peer has opened a stream.
    Inbound(PeerId, Kind, Stream),
}

/// See the module.
pub(super) struct Behaviour {
    protocols: Arc<Protocols>,
    /// Bounded by the connection limits.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// While they are dialled: bounded by the pending connections, and [`limits::OPENS_WAITING`] each.
    waiting: HashMap<PeerId, Vec<Opening>>,
    hints: Hints,
    actions: VecDeque<ToSwarm<Event, Opening>>,
}

impl Behaviour {
    pub(super) fn new(swarm: &SwarmName) -> Behaviour {
        let name = |kind: &str| {
            StreamProtocol::try_from_owned(format!("/essaim/{swarm}/{kind}/1")).expect("it begins with a slash")
        };
        Behaviour {
            protocols: Arc::new(Protocols([
                name("hello"),
                name("direct"),
                name("blob"),
                name("advert"),
                name("pieces"),
            ])),
            connections: HashMap::new(),
            waiting: HashMap::new(),
            hints: Hints::default(),
            actions: VecDeque::new(),
        }
    }

    /// Opens a stream to `peer`, dialling it first where need be.
    pub(super) fn open(&mut self, peer: PeerId, opening: Opening) {
        // The youngest connection is the likeliest to be alive.
        if let Some(connection) = self.connections.get(&peer).and_then(|all| all.last()) {
            self.actions.push_back(notify(peer, *connection, opening));
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|opening| !opening.reply.is_canceled());
        if waiting.len() >= limits::OPENS_WAITING {
            let _ = opening.reply.send(Err(OpenError::TooMany));
            return;
        }
        waiting.push(opening);
        self.actions.push_back(ToSwarm::Dial {
            opts: DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                // Two peers that dial each other from their listening ports at once would meet in the
                // middle, with neither of them the listener.
                .allocate_new_port()
                .build(),
        });
    }

    /// Remembers where `peer` may be found.
    pub(super) fn hint(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        self.hints.add(peer, addresses);
    }

    fn handler(&self) -> Handler {
        Handler { protocols: self.protocols.clone(), openings: VecDeque::from([None]), events: VecDeque::new() }
    }
}

fn notify(peer_id: PeerId, connection: ConnectionId, event: Opening) -> ToSwarm<Event, Opening> {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.hints.of(&peer)).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(up) => {
                self.connections.entry(up.peer_id).or_default().push(up.connection_id);
                for opening in self.waiting.remove(&up.peer_id).unwrap_or_default() {
                    self.actions.push_back(notify(up.peer_id, up.connection_id, opening));
                }
            }
            FromSwarm::ConnectionClosed(down) => {
                if let Some(all) = self.connections.get_mut(&down.peer_id) {
                    all.retain(|connection| *connection != down.connection_id);
                    if all.is_empty() {
                        self.connections.remove(&down.peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(failure) => {
                // This one means that another dial is under way, or that one has succeeded.
                if matches!(failure.error, DialError::DialPeerConditionFalse(_)) {
                    return;
                }
                let Some(peer) = failure.peer_id else { return };
                for opening in self.waiting.remove(&peer).unwrap_or_default() {
                    let _ = opening.reply.send(Err(OpenError::Unreachable(why(failure.error))));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.actions.push_back(ToSwarm::GenerateEvent(match event {
            ToBehaviour::Member => Event::Member(peer),
            ToBehaviour::Stranger => Event::Stranger(peer),
            ToBehaviour::Inbound(kind, stream) => Event::Inbound(peer, kind, stream),
        }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Why a dial failed, short enough for a person.
pub(super) fn why(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::LocalPeerId { .. } => "it is this node itself".to_owned(),
        DialError::WrongPeerId { obtained, address } => format!("{obtained} answers at {address}"),
        DialError::Transport(tried) => {
            let each: Vec<String> = tried.iter().take(3).map(|(addr, error)| format!("{addr}: {error}")).collect();
            each.join("; ")
        }
        other => other.to_string(),
    }
}

/// Our end of one connection.
pub(super) struct Handler {
    protocols: Arc<Protocols>,
    /// Streams to be opened; `None` is the hello.
    openings: VecDeque<Option<Opening>>,
    events: VecDeque<ToBehaviour>,
}

#[derive(Debug)]
pub(super) enum ToBehaviour {
    Member,
    Stranger,
    Inbound(Kind, Stream),
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Opening;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = Inbound;
    type OutboundProtocol = Outbound;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Option<Opening>;

    fn listen_protocol(&self) -> SubstreamProtocol<Inbound> {
        SubstreamProtocol::new(Inbound(self.protocols.clone()), ()).with_timeout(limits::NEGOTIATE)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Outbound, Option<Opening>, ToBehaviour>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        let Some(opening) = self.openings.pop_front() else { return Poll::Pending };
        let kind = opening.as_ref().map_or(Kind::Hello, |opening| opening.kind);
        let protocol = SubstreamProtocol::new(Outbound(self.protocols.name(kind)), opening);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: protocol.with_timeout(limits::NEGOTIATE),
        })
    }

    fn on_behaviour_event(&mut self, opening: Opening) {
        self.openings.push_back(Some(opening));
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Inbound, Outbound, (), Option<Opening>>) {
        match event {
            // A hello has said all it says by being negotiated.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (Kind::Hello, _), .. }) => {}
            // Beyond the bound a stream is dropped, which its opener sees.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (kind, stream), .. })
                if self.events.len() < limits::INBOUND_WAITING =>
            {
                self.events.push_back(ToBehaviour::Inbound(kind, stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => match info {
                Some(opening) => {
                    let _ = opening.reply.send(Ok(protocol));
                }
                None => self.events.push_back(ToBehaviour::Member),
            },
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSpoken,
                    StreamUpgradeError::Io(_) => OpenError::Lost,
                };
                match info {
                    Some(opening) => {
                        let _ = opening.reply.send(Err(error));
                    }
                    None if error == OpenError::NotSpoken => self.events.push_back(ToBehaviour::Stranger),
                    None => {}
                }
            }
            _ => {}
        }
    }
}

/// Accepts any of our protocols.
pub(super) struct Inbound(Arc<Protocols>);

impl UpgradeInfo for Inbound {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, { KINDS.len() }>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Inbound {
    type Output = (Kind, Stream);
    type Error = Infallible;
    type Future = Ready<Result<(Kind, Stream), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, info: StreamProtocol) -> Self::Future {
        let kind = KINDS.into_iter().find(|kind| self.0.0[*kind as usize] == info);
        ready(Ok((kind.unwrap_or(Kind::Hello), stream)))
    }
}

/// Asks for one of them.
pub(super) struct Outbound(StreamProtocol);

impl UpgradeInfo for Outbound {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl OutboundUpgrade<Stream> for Outbound {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// Where peers may be found, as far as anybody said: the newest addresses of the peers last heard of.
#[derive(Default)]
struct Hints {
    known: HashMap<PeerId, VecDeque<Multiaddr>>,
    /// Peers in the order in which they were first heard of, to know whom to forget.
    order: VecDeque<PeerId>,
}

impl Hints {
    fn add(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        if !self.known.contains_key(&peer) {
            if self.order.len() >= limits::HINTED_PEERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(peer);
        }
        let known = self.known.entry(peer).or_default();
        for address in addresses.into_iter().take(limits::HINTS_PER_PEER) {
            known.retain(|other| *other != address);
            known.push_front(address);
        }
        known.truncate(limits::HINTS_PER_PEER);
    }

    fn of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.known.get(peer).map(|known| known.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(n: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{n}").parse().expect("a multiaddr")
    }

    #[test]
    fn hints_are_bounded_both_ways_and_newest_come_first() {
        let mut hints = Hints::default();
        let first = PeerId::random();
        for n in 1..=2 * limits::HINTS_PER_PEER {
            hints.add(first, [port(n)]);
        }
        let newest: Vec<_> = (limits::HINTS_PER_PEER + 1..=2 * limits::HINTS_PER_PEER).rev().map(port).collect();
        assert_eq!(hints.of(&first), newest);
        for _ in 0..limits::HINTED_PEERS {
            hints.add(PeerId::random(), [port(1)]);
        }
        assert_eq!(hints.of(&first), []);
        assert_eq!(hints.known.len(), limits::HINTED_PEERS);
        assert_eq!(hints.order.len(), limits::HINTED_PEERS);
    }
}
