//! Messages, blobs and gossip.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::BlobRef;

use super::*;
use crate::net::{FetchError, PublishError, SendError, Topic};

fn numbered(n: u32) -> Bytes {
    // Of many lengths, the longest of several stream windows.
    let mut message = vec![n as u8; if n.is_multiple_of(250) { 3 << 20 } else { (n as usize * 37) % 5_000 }];
    message.extend_from_slice(&n.to_be_bytes());
    message.into()
}

#[tokio::test]
async fn a_thousand_messages_each_way_arrive_in_order() {
    let (mut one, mut other) = Node::pair().await;
    let (ids, nets) = ([one.id(), other.id()], [one.net.clone(), other.net.clone()]);
    let send = |net: Handle, to| async move {
        for n in 0..1_000 {
            net.send(to, numbered(n)).await.unwrap();
        }
    };
    let [one_net, other_net] = nets;
    let sending = tokio::spawn(async move { tokio::join!(send(one_net, ids[1]), send(other_net, ids[0])) });
    for (node, from) in [(&mut one, ids[1]), (&mut other, ids[0])] {
        for n in 0..1_000 {
            assert!(node.direct().await == (from, numbered(n)), "{n}");
        }
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn messages_wait_while_the_other_side_is_slow_and_none_is_lost() {
    let (one, mut other) = Node::pair().await;
    let mut sent = 0;
    // Nobody reads yet: first the stream fills, then the outbox.
    eventually("the outbox is full", || {
        let mut refused = false;
        while !refused {
            match one.net.post(other.id(), numbered(sent)) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert_eq!(error, SendError::Full(other.id()));
                    refused = true;
                }
            }
        }
        async move { sent as usize > crate::net::limits::EVENTS }
    })
    .await;
    for n in 0..sent {
        assert!(other.direct().await.1 == numbered(n), "{n}");
    }
}

#[tokio::test]
async fn greetings_reach_whoever_connects_before_anything_else() {
    let mut one = Node::new(config()).await;
    one.net.set_greetings(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]).await.unwrap();
    let mut other = Node::knowing(&one).await;
    one.up(other.id()).await;
    one.net.send(other.id(), Bytes::from_static(b"c")).await.unwrap();
    for expected in [b"a", b"b", b"c"] {
        assert_eq!(other.direct().await.1.as_ref(), expected);
    }
}

#[tokio::test]
async fn blobs_come_whole_from_memory_and_from_files_or_not_at_all() {
    let bytes: Bytes = (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let blob = BlobRef::of(&bytes);
    let part = BlobRef::of(&bytes[5..1_000_005]);
    let lie = BlobRef::of(b"truth");
    let absent = BlobRef::of(b"absent");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let served = serving(vec![
        (blob.id, Blob::Memory(bytes.clone())),
        (part.id, Blob::File { file: Arc::new(file), offset: 5, len: 1_000_000 }),
        (lie.id, Blob::Memory(Bytes::from_static(b"false"))),
        (BlobRef::of(b"").id, Blob::Memory(Bytes::new())),
    ]);
    let one = Node::new(Config { serve: served, ..config() }).await;
    let other = Node::knowing(&one).await;
    let from = one.id();
    other.net.add_address(from, one.net.addresses()).await;
    let fetch = |blob| other.net.fetch(from, blob);
    assert!(fetch(blob).await.unwrap() == bytes);
    assert!(fetch(part).await.unwrap() == bytes[5..1_000_005]);
    assert_eq!(fetch(BlobRef::of(b"")).await.unwrap(), Bytes::new());
    assert_eq!(fetch(lie).await, Err(FetchError::Wrong(from)));
    assert_eq!(fetch(absent).await, Err(FetchError::NotThere(from)));
    // A length that is not the blob's is not believed, whichever way it is wrong.
    for len in [blob.len - 1, blob.len + 1] {
        assert_eq!(fetch(BlobRef { id: blob.id, len }).await, Err(FetchError::NotThere(from)));
    }
    let huge = BlobRef { id: blob.id, len: u64::MAX };
    assert_eq!(fetch(huge).await, Err(FetchError::TooLarge(u64::MAX)));
    // More at once than are served or fetched at once.
    let many = (0..100).map(|_| fetch(part));
    for fetched in futures::future::join_all(many).await {
        assert_eq!(fetched.unwrap().len(), 1_000_000);
    }
    let nobody = NodeId([7; 32]);
    assert!(matches!(other.net.fetch(nobody, blob).await, Err(FetchError::Gone { .. })));
}

#[tokio::test]
async fn gossip_is_passed_on_only_when_it_is_valid() {
    // In a row: what reaches the third has been passed on by the second.
    let (mut one, two) = Node::pair().await;
    let mut three = Node::knowing(&two).await;
    three.up(two.id()).await;
    for node in [&one, &two, &three] {
        node.net.subscribe(Topic::Jobs).await;
    }
    let publish = |net: Handle, message: &'static [u8]| async move {
        net.publish(Topic::Jobs, Bytes::from_static(message)).await
    };
    eventually("somebody listens", || async {
        publish(three.net.clone(), b"first").await != Err(PublishError::NobodyListens)
    })
    .await;
    let heard = |event| match event {
        Event::Gossip { topic: Topic::Jobs, from, message } if message != "first" => Some((from, message)),
        _ => None,
    };
    eventually("somebody listens", || async {
        publish(one.net.clone(), b"first").await != Err(PublishError::NobodyListens)
    })
    .await;
    for message in [b"!bad", b"?odd", b"good"] {
        publish(one.net.clone(), message).await.unwrap();
    }
    assert_eq!(three.until("gossip", heard).await, (one.id(), Bytes::from_static(b"good")));
    publish(three.net.clone(), b"back").await.unwrap();
    assert_eq!(one.until("gossip", heard).await, (three.id(), Bytes::from_static(b"back")));
    let large = Bytes::from(vec![b'x'; crate::net::GOSSIP_BYTES + 1]);
    assert_eq!(one.net.publish(Topic::Jobs, large.clone()).await, Err(PublishError::TooLarge));
    one.net.publish(Topic::Jobs, large.slice(1..)).await.unwrap();
    assert_eq!(three.until("gossip", heard).await.1.len(), crate::net::GOSSIP_BYTES);
}

#[tokio::test]
async fn a_node_that_dies_is_down_at_once_and_cannot_be_sent_to() {
    let (mut one, other) = Node::pair().await;
    let dead = other.id();
    one.net.send(dead, Bytes::from_static(b"x")).await.unwrap();
    // Without a farewell: its sockets are closed, as they are by a kill.
    drop(other);
    one.down(dead).await;
    eventually("it is unreachable", || async {
        matches!(one.net.send(dead, Bytes::from_static(b"y")).await, Err(SendError::Unreachable { node, .. }) if node == dead)
    })
    .await;
    one.net.post(dead, Bytes::from_static(b"z")).unwrap();
    one.until("Unreachable", |event| (event == Event::Unreachable(dead)).then_some(())).await;
}

#[tokio::test]
async fn what_was_sent_arrives_before_the_sender_is_gone() {
    let (one, mut other) = Node::pair().await;
    let gone = one.id();
    for n in 0..100 {
        one.net.post(other.id(), numbered(n)).unwrap();
    }
    let net = one.net.clone();
    one.net.shutdown().await;
    let mut expected = 0;
    let arrived = other.until("Down", |event| match event {
        Event::Direct { message, .. } => {
            assert!(message == numbered(expected), "{expected}");
            expected += 1;
            None
        }
        Event::Down(node) => Some(node),
        _ => None,
    });
    assert_eq!(arrived.await, gone);
    assert_eq!(expected, 100);
    assert_eq!(net.post(other.id(), Bytes::new()), Err(SendError::Closed));
    assert_eq!(net.publish(Topic::Jobs, Bytes::new()).await, Err(PublishError::Closed));
}

#[tokio::test]
async fn quic_alone_will_do() {
    let quic = || Config { listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()], ..config() };
    let one = Node::new(quic()).await;
    let mut other = Node::new(Config { peers: vec![one.addr()], ..quic() }).await;
    other.up(one.id()).await;
    one.net.send(other.id(), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(other.direct().await, (one.id(), Bytes::from_static(b"x")));
}
