//! The libp2p behaviours that make up a node, each with its bounds, and the topics of gossip.

use std::time::Duration;

use essaim_jobs::JobId;
use libp2p::gossipsub::{self, IdentTopic, TopicHash};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder, connection_limits, identify, mdns, memory_connection_limits, noise,
    ping, tcp, yamux,
};

use super::{NetError, SwarmName, limits, streams};

/// What gossip is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Jobs that are open, for everyone in the swarm.
    Jobs,
    /// One job, for those who work on it.
    Job(JobId),
}

impl Topic {
    /// The topic's name on the wire, the swarm's in it.
    pub(super) fn name(&self, swarm: &SwarmName) -> IdentTopic {
        IdentTopic::new(match self {
            Topic::Jobs => format!("/essaim/{swarm}/jobs/1"),
            Topic::Job(job) => format!("/essaim/{swarm}/job/1/{job}"),
        })
    }
}

type TopicFilter = gossipsub::MaxCountSubscriptionFilter<gossipsub::CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>;
pub(super) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, TopicFilter>;
pub(super) type Dht = kad::Behaviour<kad::store::MemoryStore>;

/// Everything that runs on every connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // The limits stand first: what they refuse never reaches the others.
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(super) streams: streams::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) dht: Dht,
    pub(super) gossip: Gossip,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// The swarm of a node with this identity, not listening yet.
pub(super) fn swarm(key: Keypair, name: &SwarmName, mdns: bool) -> Result<Swarm<Behaviour>, NetError> {
    let transport = |reason: String| NetError::Transport { reason };
    let me = key.public().to_peer_id();
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits()),
        memory: memory_connection_limits::Behaviour::with_max_percentage(limits::MEMORY_SHARE),
        streams: streams::Behaviour::new(name),
        identify: identify::Behaviour::new(
            identify::Config::new(format!("/essaim/{name}"), key.public())
                .with_agent_version(super::agent())
                .with_push_listen_addr_updates(true)
                // Addresses go through our own filter into the DHT's table instead.
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(limits::PING).with_timeout(limits::PING)),
        dht: dht(me, name),
        gossip: gossip(&key, name).map_err(|reason| transport(reason.to_owned()))?,
        mdns: Toggle::from(if mdns {
            // Without multicast there is no mDNS, which is no reason to stay at home.
            mdns::tokio::Behaviour::new(mdns::Config::default(), me)
                .inspect_err(|error| tracing::warn!(%error, "no discovery on the local network"))
                .ok()
        } else {
            None
        }),
    };
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| transport(error.to_string()))?
        .with_quic()
        .with_behaviour(|_| behaviour)
        .map_err(|error| transport(error.to_string()))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(limits::IDLE_CONNECTION))
        .build();
    Ok(swarm)
}

fn connection_limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::CONNECTIONS_PENDING))
        .with_max_pending_outgoing(Some(limits::CONNECTIONS_PENDING))
        // A quarter is kept for the connections that this node itself wants.
        .with_max_established_incoming(Some(limits::CONNECTIONS / 4 * 3))
        .with_max_established(Some(limits::CONNECTIONS))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER))
}

fn dht(me: PeerId, name: &SwarmName) -> Dht {
    let protocol = StreamProtocol::try_from_owned(format!("/essaim/{name}/kad/1")).expect("it begins with a slash");
    let mut config = kad::Config::new(protocol);
    config
        .set_query_timeout(limits::QUERY)
        .set_provider_record_ttl(Some(limits::PROVIDED_FOR))
        .set_provider_publication_interval(Some(limits::PROVIDE))
        // Nothing of ours is a record with a value: others' are not kept, see the loop.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_caching(kad::Caching::Disabled);
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: limits::PROVIDERS_PER_KEY,
        max_provided_keys: limits::PROVIDED_KEYS,
    };
    let mut dht = kad::Behaviour::with_config(me, kad::store::MemoryStore::with_config(me, store), config);
    // Whoever listens serves: addresses on a LAN or on loopback are as good as any to those who are there.
    dht.set_mode(Some(kad::Mode::Server));
    dht
}

fn gossip(key: &Keypair, name: &SwarmName) -> Result<Gossip, &'static str> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(format!("/essaim/{name}/gossip"))
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(limits::GOSSIP_BYTES + 1_024)
        .flood_publish(true)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_secs(1))
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .duplicate_cache_time(Duration::from_secs(60))
        .build()
        .map_err(|_| "the settings of gossip contradict one another")?;
    let short: fn(&TopicHash) -> bool = |topic| topic.as_str().len() <= limits::TOPIC_BYTES;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::CallbackSubscriptionFilter(short),
        max_subscribed_topics: limits::TOPICS,
        max_subscriptions_per_request: limits::TOPICS,
    };
    let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
    let mut gossip = Gossip::new_with_subscription_filter(signed, config, filter)?;
    gossip.with_peer_score(scores(), gossipsub::PeerScoreThresholds::default()).map_err(|_| "scores set twice")?;
    Ok(gossip)
}

/// Only one thing counts against a peer: messages that were refused as invalid. Everything else that can be
/// scored (speed, punctuality, neighbours on one address) would hit honest peers on busy machines.
fn scores() -> gossipsub::PeerScoreParams {
    gossipsub::PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        ..Default::default()
    }
}

/// As [`scores`], for one topic: the fourth invalid message within a minute or so puts a peer beyond the pale.
pub(super) fn topic_scores() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -5.0,
        invalid_message_deliveries_decay: 0.98,
        ..Default::default()
    }
}

/// How many nodes the swarm has, as far as the DHT's table tells: it knows everyone near to it and, of every
/// distance further off, only a bucketful; so those known near are counted and scaled up by the share of
/// all identities that is as near. In a small swarm that is a plain count.
pub(super) fn estimate(dht: &mut Dht) -> usize {
    let bucketful = kad::K_VALUE.get();
    let mut held = [0; 256];
    for bucket in dht.kbuckets() {
        if let Some(distance) = bucket.range().0.ilog2() {
            held[distance as usize] = bucket.num_entries();
        }
    }
    estimate_from(&held, bucketful)
}

fn estimate_from(held: &[usize; 256], bucketful: usize) -> usize {
    let full = (0..256).rev().take_while(|distance| held[*distance] >= bucketful).count();
    let near: usize = held[..256 - full].iter().sum();
    // Beyond 2^40 there is nothing to tell apart.
    (near + 1).saturating_mul(1 << full.min(40))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of a node in a swarm of `others` others: half of them in the furthest bucket, and so on.
    fn table(mut others: usize) -> [usize; 256] {
        let mut held = [0; 256];
        for bucket in held.iter_mut().rev() {
            let there = others.div_ceil(2);
            *bucket = there.min(20);
            others -= there;
        }
        held
    }

    #[test]
    fn the_size_of_a_swarm_is_counted_when_small_and_scaled_when_large() {
        for size in [1, 2, 20, 30] {
            assert_eq!(estimate_from(&table(size - 1), 20), size);
        }
        for size in [100, 1_000, 65_536, 1_000_000] {
            let estimate = estimate_from(&table(size - 1), 20);
            assert!(size / 2 < estimate && estimate < size * 2, "{estimate} for {size}");
        }
    }

    #[test]
    fn a_swarm_can_be_built_and_scores_are_valid() {
        topic_scores().validate().expect("valid");
        scores().validate().expect("valid");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let name = "test".parse().expect("a name");
        assert!(swarm(Keypair::generate_ed25519(), &name, false).is_ok());
    }

    #[test]
    fn the_longest_topic_fits_its_bound() {
        let name: SwarmName = "x".repeat(64).parse().expect("a name");
        let longest = Topic::Job(JobId([0xff; 32])).name(&name);
        assert!(longest.hash().as_str().len() <= limits::TOPIC_BYTES);
    }
}
