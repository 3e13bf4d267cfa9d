//! Spare CPU on the DHT: who lends says so under keys that no single peer must bear, and who seeks draws a
//! sample of them and asks each what it has to spare.
//!
//! A key is a level and a prefix of that many bits; a lending node provides those of the hash of its own id.
//! The level is the smallest at which the swarm leaves about 16 nodes a prefix, because a key keeps no more
//! than 20 providers; its two neighbours are provided too, so that nodes whose estimates differ still meet.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use essaim_jobs::{BlobId, NodeId, bounds, decode, encode};
use futures::StreamExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream;
use libp2p::{Multiaddr, PeerId, Stream, kad};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::{Client, Command, PeerInfo};
use super::direct::steady;
use super::streams::Kind;
use super::{addr, limits};

/// What a node has to spare, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// Threads that stand idle now.
    pub cores_spare: u16,
    /// Threads that it lends at most.
    pub cores: u16,
    /// Bytes of memory for chunks.
    pub memory_bytes: u64,
    /// The engine's tag, at most 96 bytes.
    #[serde(deserialize_with = "bounds::text::<_, 96>")]
    pub engine: String,
    /// Chunks a second that it has lately run; 0 when it has not measured any.
    pub rate_hint: u32,
    /// The version of essaim, at most 32 bytes.
    #[serde(deserialize_with = "bounds::text::<_, 32>")]
    pub version: String,
    /// Whether it lends its CPU at all.
    pub lends: bool,
}

/// A node that lends its CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub node: NodeId,
    /// Where it can be reached.
    pub addresses: Vec<Multiaddr>,
    /// What it says.
    pub advert: Advert,
    /// How long it took to say so.
    pub rtt: Duration,
}

/// The smallest level at which `size` nodes leave at most 16 a prefix.
pub(super) fn level(size: usize) -> u8 {
    (0..limits::LEVELS).find(|level| 16 << level >= size).unwrap_or(limits::LEVELS)
}

/// The levels about `level` that are provided and searched.
fn about(level: u8) -> impl Iterator<Item = u8> {
    level.saturating_sub(1)..=(level + 1).min(limits::LEVELS)
}

fn key(level: u8, prefix: u64) -> kad::RecordKey {
    kad::RecordKey::new(&BlobId::of(format!("spare/{level}/{prefix}").as_bytes()).0)
}

/// The keys under which `node` is to be found in a swarm of that level.
pub(super) fn keys_of(node: NodeId, about_level: u8) -> HashSet<kad::RecordKey> {
    let hash = BlobId::of(&node.0).0;
    let head = u64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
    about(about_level).map(|level| key(level, head >> (32 - level))).collect()
}

/// The keys that a seeker looks up: all of a shallow level, some of a deep one, drawn anew each time.
fn keys_to_try(about_level: u8) -> Vec<kad::RecordKey> {
    let random = RandomState::new();
    let keys = about(about_level).flat_map(|level| {
        let prefixes = 1_u64 << level;
        let random = random.clone();
        (0..prefixes.min(limits::LOOKUPS_PER_LEVEL)).map(move |nth| {
            let all = prefixes <= limits::LOOKUPS_PER_LEVEL;
            key(level, if all { nth } else { random.hash_one((level, nth)) % prefixes })
        })
    });
    keys.collect()
}

/// Those who say on the DHT of a swarm of about `size` nodes that they lend, [`limits::ASKED`] at most.
pub(super) async fn providers(client: &Client, size: usize) -> HashSet<PeerId> {
    let lookup = |key| client.ask(|reply| Command::Providers(key, limits::ASKED, reply));
    let lookups = keys_to_try(level(size)).into_iter().map(lookup);
    let mut found = HashSet::new();
    let mut lookups = stream::iter(lookups).buffer_unordered(limits::LOOKUPS_AT_ONCE);
    while let Some(providers) = lookups.next().await {
        let room = limits::ASKED.saturating_sub(found.len());
        found.extend(providers.unwrap_or_default().into_iter().take(room));
    }
    found
}

/// All that can be found who lend their CPU, the quickest to answer first.
pub(super) async fn find(
    client: &Client,
    me: NodeId,
    mut members: watch::Receiver<usize>,
    mut joined: watch::Receiver<bool>,
) -> Vec<Found> {
    let _ = timeout(limits::JOIN, members.wait_for(|members| *members > 0)).await;
    let _ = timeout(limits::JOIN, joined.wait_for(|joined| *joined)).await;
    let Some(view) = client.ask(Command::View).await else { return Vec::new() };
    let mut candidates = providers(client, view.size).await;
    let room = limits::ASKED.saturating_sub(candidates.len());
    candidates.extend(view.known.into_iter().take(room));
    candidates.remove(&addr::peer_id(me));
    let questions = candidates.into_iter().map(|peer| async move {
        let answered = timeout(limits::ASK, ask_somewhere(client, peer)).await.ok()?;
        let (advert, rtt) = answered.inspect_err(|error| tracing::debug!(%peer, %error, "no advert")).ok()?;
        let node = addr::node_id(&peer)?;
        advert.lends.then_some(Found { node, addresses: Vec::new(), advert, rtt })
    });
    let answers = stream::iter(questions).buffer_unordered(limits::ASKED_AT_ONCE);
    let mut found: Vec<Found> = answers.filter_map(|answer| async { answer }).collect().await;
    let connected = client.ask(Command::Peers).await.unwrap_or_default();
    let addresses: HashMap<_, _> =
        connected.into_iter().map(|PeerInfo { node, addresses, .. }| (node, addresses)).collect();
    for found in &mut found {
        found.addresses = addresses.get(&found.node).cloned().unwrap_or_default();
    }
    found.sort_by_key(|found| found.rtt);
    found
}

/// Asks `peer`; where it cannot be reached, asks the DHT where it is and tries once more.
async fn ask_somewhere(client: &Client, peer: PeerId) -> io::Result<(Advert, Duration)> {
    match ask(client, peer).await {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            client.ask(|reply| Command::Locate(peer, reply)).await;
            ask(client, peer).await
        }
        answer => answer,
    }
}

async fn ask(client: &Client, peer: PeerId) -> io::Result<(Advert, Duration)> {
    let opened = client.open(peer, Kind::Advert).await;
    let mut stream = opened.map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?;
    let asked = Instant::now();
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    let mut len = [0; 2];
    stream.read_exact(&mut len).await?;
    let rtt = asked.elapsed();
    let len = usize::from(u16::from_be_bytes(len));
    if len == 0 || len > limits::ADVERT_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    let advert = decode(&bytes, limits::ADVERT_BYTES).map_err(io::Error::other)?;
    Ok((advert, rtt))
}

/// The encoded form of an advert; none if one of its texts is longer than it may be.
pub(super) fn encoded(advert: &Advert) -> Option<Bytes> {
    let bytes = encode(advert);
    decode::<Advert>(&bytes, limits::ADVERT_BYTES).ok().map(|_| bytes.into())
}

/// Answers the question on `stream` with `advert`, or with nothing.
pub(super) async fn answer(mut stream: Stream, advert: Option<Bytes>) -> io::Result<()> {
    let advert = advert.unwrap_or_default();
    steady(async {
        stream.read_exact(&mut [0]).await?;
        // It is no longer than ADVERT_BYTES.
        stream.write_all(&(advert.len() as u16).to_be_bytes()).await?;
        stream.write_all(&advert).await?;
        stream.close().await
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_leave_about_sixteen_a_prefix() {
        let levels = [(0, 0), (1, 0), (16, 0), (17, 1), (32, 1), (33, 2), (4_096, 8), (usize::MAX, limits::LEVELS)];
        for (size, expected) in levels {
            assert_eq!(level(size), expected, "{size}");
        }
    }

    #[test]
    fn a_seeker_whose_estimate_is_off_by_two_levels_still_meets_every_provider() {
        let nodes: Vec<NodeId> = (0..=255).map(|n| NodeId([n; 32])).collect();
        for (theirs, ours) in [(0, 0), (1, 3), (3, 1), (4, 4), (2, 4)] {
            let tried: HashSet<_> = keys_to_try(ours).into_iter().collect();
            for node in &nodes {
                assert!(keys_of(*node, theirs).iter().any(|key| tried.contains(key)), "{theirs} {ours}");
            }
        }
    }

    #[test]
    fn a_seeker_in_a_large_swarm_draws_different_keys_each_time() {
        let (one, other): (HashSet<_>, HashSet<_>) =
            (keys_to_try(12).into_iter().collect(), keys_to_try(12).into_iter().collect());
        assert!(one.len() > 80 && one != other, "{}", one.len());
    }

    #[test]
    fn adverts_that_break_their_bounds_are_not_sent() {
        let advert =
            Advert { engine: "x".repeat(96), version: "y".repeat(32), memory_bytes: u64::MAX, ..Advert::default() };
        assert!(encoded(&advert).is_some());
        assert!(encoded(&Advert { engine: "x".repeat(97), ..advert }).is_none());
    }
}
