//! Every bound of the network, named in one place, each with its reason.

use std::time::Duration;

/// Connections at once, either way: a swarm's group is 32, so this is room for many groups, the DHT and guests.
pub(super) const CONNECTIONS: u32 = 512;
/// Connections to one peer: both sides may dial at once, over TCP and QUIC.
pub(super) const CONNECTIONS_PER_PEER: u32 = 4;
/// Connections that are being set up, in either direction: a handshake costs milliseconds of CPU.
pub(super) const CONNECTIONS_PENDING: u32 = 96;
/// Share of the machine's memory beyond which this process accepts no more connections.
pub(super) const MEMORY_SHARE: f64 = 0.8;
/// A connection that carries nothing is closed after this long. Streams in use keep theirs open.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(120);
/// Between two pings on a connection, and the longest wait for an answer.
pub(super) const PING: Duration = Duration::from_secs(5);
/// Pings in a row that must fail before a connection is given up: one may be lost to a busy machine.
pub(super) const PINGS_MISSED: u8 = 2;
/// Opening a stream, dialling included.
pub(super) const OPEN: Duration = Duration::from_secs(10);
/// Negotiating a stream on a connection that stands.
pub(super) const NEGOTIATE: Duration = Duration::from_secs(8);
/// Streams that wait for one peer to be dialled.
pub(super) const OPENS_WAITING: usize = 64;
/// Streams that a connection has brought and that the node has not yet taken up; more are dropped.
pub(super) const INBOUND_WAITING: usize = 2 * FETCHES;
/// Peers whose addresses are remembered from hints, and addresses of each.
pub(super) const HINTED_PEERS: usize = 4_096;
/// See [`HINTED_PEERS`].
pub(super) const HINTS_PER_PEER: usize = 8;
/// Characters of what a peer says that it is.
pub(super) const AGENT_CHARS: usize = 64;
/// How long a connection may stand whose peer has not shown that it is of this swarm.
pub(super) const PROBATION: Duration = Duration::from_secs(10);
/// Peers of other swarms that are remembered, so as not to be dialled again and again.
pub(super) const STRANGERS: usize = 1_024;

/// Requests of handles that wait for the network's loop.
pub(super) const COMMANDS: usize = 256;
/// Events that wait for the application. Direct messages wait in their streams when it is full.
pub(super) const EVENTS: usize = 1_024;
/// Bytes of direct messages among those events.
pub(super) const EVENT_BYTES: usize = 64 << 20;
/// Events that the loop itself holds when [`EVENTS`] are waiting; then gossip is dropped, and at the double
/// the loop takes nothing more from the network.
pub(super) const EVENTS_HELD: usize = 1_024;

/// Bytes of one direct message: 4 MiB of content and room for what wraps it.
pub const DIRECT_BYTES: usize = (4 << 20) + (64 << 10);
/// Messages to one peer that wait to be written.
pub(super) const OUTBOX_MESSAGES: usize = 1_024;
/// Bytes of them; at least one message must fit.
pub(super) const OUTBOX_BYTES: usize = 2 * DIRECT_BYTES;
/// Peers to whom messages are being sent at once.
pub(super) const OUTBOXES: usize = 4_096;
/// A stream of direct messages is closed when nothing has been sent on it for so long.
pub(super) const OUTBOX_IDLE: Duration = Duration::from_secs(120);
/// A peer that takes or brings not one byte for so long, in the middle of something, is given up.
pub(super) const STALL: Duration = Duration::from_secs(30);
/// Messages and bytes that greet whoever connects. They must fit an empty outbox.
pub const GREETINGS: usize = 64;
/// See [`GREETINGS`].
pub const GREETING_BYTES: usize = DIRECT_BYTES;
/// How long [`super::Handle::shutdown`] waits for what was sent to arrive.
pub(super) const FLUSH: Duration = Duration::from_millis(500);
/// How long it then waits for connections to close in good order.
pub(super) const FAREWELL: Duration = Duration::from_millis(200);

/// Bytes of one gossiped message. Gossip is copied to many: larger things are blobs.
pub const GOSSIP_BYTES: usize = 256 << 10;
/// Topics that this node, or a peer as seen from here, may be subscribed to.
pub const TOPICS: usize = 1_024;
/// Bytes of a topic's name: the swarm's 64, a job's 64 hexadecimal digits, and what joins them.
pub(super) const TOPIC_BYTES: usize = 192;

/// Blobs that are served at once, to all and to one peer; further questions wait their turn.
pub(super) const SERVES: usize = 64;
/// See [`SERVES`].
pub(super) const SERVES_PER_PEER: usize = 16;
/// Streams of one peer that are being read or answered; more are dropped. An honest peer has [`FETCHES`],
/// as many whose end has not come through yet, and a few others.
pub(super) const STREAMS_PER_PEER: usize = 2 * FETCHES + 32;
/// Blobs that are fetched at once.
pub(super) const FETCHES: usize = 64;
/// Streams on which blobs were fetched and more may be, and how long one waits for that: less than [`STALL`], after which
/// the other side closes it.
pub(super) const IDLE_BLOBS: usize = FETCHES;
/// See [`IDLE_BLOBS`].
pub(super) const IDLE_BLOB: Duration = Duration::from_secs(5);
/// KiB of blobs that are being fetched into memory at once: one of the largest. Almost all that are larger than 1 MiB go
/// to files instead.
pub(super) const FETCH_KIB: usize = 256 << 10;
/// Bytes that are read from disk and written to the network in one piece.
pub(super) const PIECE: usize = 256 << 10;

/// Blobs about which sessions are open at once, or were lately.
pub(super) const EXCHANGES: usize = 256;
/// What has happened in the sessions about one blob and waits for its task; then they wait.
pub(super) const HAPPENINGS: usize = 256;
/// Messages about one blob that wait to be written to one peer. They are small, and a peer that reads takes them at
/// once: one that lets so many pile up is left.
pub(super) const SESSION_MESSAGES: usize = 1_024;
/// Pieces, encoded, that wait to be written to one peer; the exchange sends no more to one at once.
pub(super) const SESSION_GIVES: usize = 4;
/// Bytes of a piece in one frame: messages pass between frames.
pub(super) const PART: usize = 32 << 10;
/// How long a piece may be coming before it is said how much of it has.
pub(super) const TELL_BYTES: Duration = Duration::from_millis(50);
/// Sources of one blob that wait to be dialled.
pub(super) const CANDIDATES: usize = 256;
/// Those that are being dialled.
pub(super) const PROPOSALS: usize = 16;
/// What is known of a blob's sessions is kept so long after the last has ended.
pub(super) const LINGER: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody still waits for a blob.
pub(super) const WAITING_LOOK: Duration = Duration::from_secs(1);

/// Bytes of an encoded advert.
pub(super) const ADVERT_BYTES: usize = 256;
/// The deepest level of spare-CPU keys: 16 · 2^20 peers.
pub(super) const LEVELS: u8 = 20;
/// Prefixes of one level that a seeker looks up.
pub(super) const LOOKUPS_PER_LEVEL: u64 = 32;
/// Lookups on the DHT at once, for one seeker.
pub(super) const LOOKUPS_AT_ONCE: usize = 8;
/// Peers that one seeker asks for their adverts.
pub(super) const ASKED: usize = 512;
/// Peers asked at once, and how long each may take.
pub(super) const ASKED_AT_ONCE: usize = 16;
/// See [`ASKED_AT_ONCE`].
pub(super) const ASK: Duration = Duration::from_secs(3);
/// How long a seeker that has just started waits for a first peer, and then for the DHT to be joined.
pub(super) const JOIN: Duration = Duration::from_secs(2);
/// A query on the DHT.
pub(super) const QUERY: Duration = Duration::from_secs(10);
/// Queries on the DHT at once that somebody waits for.
pub(super) const QUERIES: usize = 256;
/// Keys, and providers of each, that this node keeps for the DHT.
pub(super) const PROVIDED_KEYS: usize = 4_096;
/// See [`PROVIDED_KEYS`].
pub(super) const PROVIDERS_PER_KEY: usize = 20;
/// Large blobs that this node says on the DHT that it has: each is told to twenty peers, again every four minutes.
pub const BLOBS_PROVIDED: usize = 32;
/// Nodes that one look at the DHT names for a blob. They are dialled.
pub(super) const BLOB_PROVIDERS: usize = 8;
/// How often what is provided is told anew, and how long it stands without: a worker that is gone is
/// forgotten after that.
pub(super) const PROVIDE: Duration = Duration::from_secs(240);
/// See [`PROVIDE`].
pub(super) const PROVIDED_FOR: Duration = Duration::from_secs(600);
/// How often the node looks whether the swarm has grown or shrunk by a level.
pub(super) const LEVEL_CHECK: Duration = Duration::from_millis(500);

/// Between two looks at the rendezvous folder.
pub(super) const RENDEZVOUS: Duration = Duration::from_secs(2);
/// Files of that folder that are looked at, and bytes of each.
pub(super) const RENDEZVOUS_FILES: usize = 64;
/// See [`RENDEZVOUS_FILES`].
pub(super) const RENDEZVOUS_BYTES: u64 = 4_096;
/// The first and the longest wait before peers named by the person are dialled again.
pub(super) const REDIAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How long the node waits to be listening.
pub(super) const LISTEN: Duration = Duration::from_secs(5);
