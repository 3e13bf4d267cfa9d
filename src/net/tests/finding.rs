//! Finding peers, and those that have CPU to spare.

use std::collections::HashSet;
use std::net::{TcpListener, UdpSocket};

use libp2p::kad;

use super::*;
use crate::net::client::Command;
use crate::net::{Advert, NetError, limits, providers};

fn advert(cores: u16) -> Advert {
    Advert { cores_spare: cores, cores, engine: "test".to_owned(), lends: true, ..Advert::default() }
}

/// Twenty nodes of which each knew only the one before; and one more, who knows the last and seeks the rest.
async fn chain_of_twenty() {
    let mut chain: Vec<Node> = Vec::new();
    for n in 0..20 {
        let peers = chain.last().map(Node::addr).into_iter().collect();
        let mut node = Node::new(Config { peers, ..config() }).await;
        node.net.advertise(advert(n + 1)).await;
        if let Some(before) = chain.last() {
            node.up(before.id()).await;
        }
        chain.push(node);
    }
    let everyone: HashMap<NodeId, u16> = chain.iter().zip(1..).map(|(node, cores)| (node.id(), cores)).collect();
    let seeker = Node::knowing(chain.last().unwrap()).await;
    // The chain is a second old: on a busy machine its members may not all have met yet.
    eventually("everyone is found", || async {
        let found = seeker.net.find_spare().await;
        for found in &found {
            assert_eq!(found.advert, advert(everyone[&found.node]));
            assert!(!found.addresses.is_empty());
        }
        found.len() == 20
    })
    .await;
    // It has asked those it knows, too; what the DHT says must be as complete once all have told it.
    eventually("the DHT names everyone", || async {
        let providers = seeker.net.spare_providers().await;
        everyone.keys().all(|node| providers.contains(node))
    })
    .await;
    // One that no longer lends is no longer found.
    chain[7].net.advertise(Advert { lends: false, ..advert(8) }).await;
    eventually("it is not found, and all others are", || async {
        let found = seeker.net.find_spare().await;
        assert!(found.iter().all(|found| found.node != chain[7].id()));
        found.len() == 19
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spare_cpu_is_found_through_one_address() {
    chain_of_twenty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: the one above, ten times"]
async fn spare_cpu_is_found_every_time() {
    for _ in 0..10 {
        chain_of_twenty().await;
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_yet_is_met_when_it_comes() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let peers = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    let mut early = Node::new(Config { peers, ..config() }).await;
    let note = early.until("Note", |event| if let Event::Note(note) = event { Some(note) } else { None }).await;
    assert!(note.contains("cannot reach 127.0.0.1") && note.contains("tried again"), "{note}");
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let mut late = Node::new(Config { listen: listen.clone(), ..config() }).await;
    early.up(late.id()).await;
    late.up(early.id()).await;
    // And again, when it has been away.
    let (gone, seed) = (late.id(), [9; 32]);
    late.net.shutdown().await;
    early.down(gone).await;
    let again = Node::new(Config { listen, seed, ..config() }).await;
    early.up(again.id()).await;
}

#[tokio::test]
async fn nodes_of_different_swarms_never_meet() {
    let mut one = Node::new(config()).await;
    let peers = vec![one.addr()];
    let mut other = Node::new(Config { swarm: "elsewhere".parse().unwrap(), peers, ..config() }).await;
    let mut third = Node::knowing(&one).await;
    let note = other.until("Note", |event| match event {
        Event::Up(_) => panic!("they met"),
        Event::Note(note) => Some(note),
        _ => None,
    });
    let note = note.await;
    assert!(note.contains("is not in the swarm elsewhere"), "{note}");
    // Those who belong together meet all the same, and only they.
    third.up(one.id()).await;
    let met = || async { one.net.peers().await.iter().map(|peer| peer.node).collect::<Vec<_>>() };
    eventually("they have met", || async { met().await == [third.id()] }).await;
    assert_eq!(other.net.peers().await, []);
    while let Some(event) = one.events.try_recv() {
        assert_ne!(event, Event::Up(other.id()));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let node = Node::new(config()).await;
    let (own, _) = crate::net::addr::split_peer(node.multiaddr());
    let taken = [
        format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port()),
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.local_addr().unwrap().port()),
        own.to_string(),
    ];
    for text in taken {
        let addr: Multiaddr = text.parse().unwrap();
        let refused = start(Config { listen: vec![addr.clone()], ..config() }).await.map(|_| ());
        assert_eq!(refused, Err(NetError::PortTaken { addr }));
    }
    for text in ["/ip4/192.0.2.1/tcp/0", "/dns4/localhost/tcp/0", "/ip4/127.0.0.1/udp/0"] {
        let addr: Multiaddr = text.parse().unwrap();
        let refused = start(Config { listen: vec![addr.clone()], ..config() }).await.map(|_| ());
        assert!(matches!(&refused, Err(NetError::CannotListen { addr: at, .. }) if *at == addr), "{text}: {refused:?}");
    }
}

#[tokio::test]
async fn nodes_of_one_machine_meet_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let local_dir = Some(folder.path().join("deep").join("er"));
    let in_folder = || Config { local_dir: local_dir.clone(), ..config() };
    let mut one = Node::new(in_folder()).await;
    let mut other = Node::new(in_folder()).await;
    one.up(other.id()).await;
    other.up(one.id()).await;

    let swarm = local_dir.clone().unwrap().join("test");
    let files = || std::fs::read_dir(&swarm).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files().len(), 2);
    // A node that was killed leaves its file; whoever cannot dial it takes it away. Files that are none of
    // this are left alone.
    let dead = crate::net::addr::peer_id(NodeId([1; 32]));
    let stale = swarm.join(format!("{dead}.addrs"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&stale, format!("/ip4/127.0.0.1/tcp/{port}\n")).unwrap();
    let odd = [swarm.join("odd.addrs"), swarm.join(format!("{dead}.txt"))];
    for odd in &odd {
        std::fs::write(odd, "x").unwrap();
    }
    let mut third = Node::new(in_folder()).await;
    let mut missing = vec![one.id(), other.id()];
    third
        .until("both", |event| {
            missing.retain(|node| event != Event::Up(*node));
            missing.is_empty().then_some(())
        })
        .await;
    eventually("the stale file is gone", || async { !stale.exists() }).await;
    assert!(odd.iter().all(|odd| odd.exists()));

    one.net.shutdown().await;
    eventually("its own file is gone", || async { files().len() == 2 + odd.len() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_blob_is_found_on_the_dht_until_it_says_so_no_more() {
    let (blob, other) = (BlobId::of(b"one"), BlobId::of(b"another"));
    let middle = Node::new(config()).await;
    let mut holder = Node::knowing(&middle).await;
    holder.up(middle.id()).await;
    holder.net.provide([blob, other]).await;
    let taker = Node::knowing(&middle).await;
    eventually("it is found", || async { taker.net.providers(blob).await == HashSet::from([holder.id()]) }).await;
    assert_eq!(taker.net.providers(BlobId::of(b"a third")).await, HashSet::new());
    assert_eq!(holder.net.providers(blob).await, HashSet::new(), "nobody looks for oneself");
    // Under its name itself there is nothing to be found: who knows the key does not know the name.
    let by_name = taker.net.client.ask(|reply| Command::Providers(kad::RecordKey::new(&blob.0), 8, reply)).await;
    assert_eq!(by_name, Some(HashSet::new()));

    holder.net.provide([other]).await;
    // Those who have kept the record are gone; who comes now is told what still holds.
    middle.net.shutdown().await;
    taker.net.shutdown().await;
    let late = Node::knowing(&holder).await;
    eventually("the other is found", || async { !late.net.providers(other).await.is_empty() }).await;
    assert_eq!(late.net.providers(blob).await, HashSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_have_a_blob_a_few_are_named_and_no_node_says_too_much() {
    let blob = BlobId::of(b"everybody's");
    let first = Node::new(config()).await;
    let mut holders = Vec::new();
    for _ in 0..12 {
        let mut holder = Node::knowing(&first).await;
        holder.up(first.id()).await;
        holder.net.provide([blob]).await;
        holders.push(holder);
    }
    let taker = Node::knowing(&first).await;
    let asked = |most| taker.net.client.ask(move |reply| Command::Providers(providers::key(&blob), most, reply));
    eventually("all are on the DHT", || async { asked(20).await.is_some_and(|found| found.len() == 12) }).await;
    for most in 1..limits::BLOB_PROVIDERS {
        assert_eq!(asked(most).await.map(|found| found.len()), Some(most));
    }
    assert_eq!(taker.net.providers(blob).await.len(), limits::BLOB_PROVIDERS);
    let all: Vec<BlobId> = (0..2 * limits::BLOBS_PROVIDED as u64).map(|n| BlobId::of(&n.to_be_bytes())).collect();
    first.net.provide(all.iter().copied()).await;
    let (within, beyond) = (all[limits::BLOBS_PROVIDED - 1], all[limits::BLOBS_PROVIDED]);
    eventually("the last within the bound is found", || async { !taker.net.providers(within).await.is_empty() }).await;
    assert_eq!(taker.net.providers(beyond).await, HashSet::new());
}
