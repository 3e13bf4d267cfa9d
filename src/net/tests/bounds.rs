//! What a peer that breaks the rules can do: nothing to anybody else.

use bytes::Bytes;
use essaim_jobs::BlobRef;
use futures::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::streams::Kind;
use crate::net::{DIRECT_BYTES, GREETING_BYTES, GREETINGS, SendError, TooManyGreetings, addr, limits};

#[tokio::test]
async fn a_message_that_announces_too_much_ends_its_stream_and_nothing_else() {
    let (mut one, other) = Node::pair().await;
    let victim = addr::peer_id(one.id());
    for announced in [DIRECT_BYTES + 1, u32::MAX as usize] {
        let mut stream = other.net.client.open(victim, Kind::Direct).await.unwrap();
        stream.write_all(&(announced as u32).to_be_bytes()).await.unwrap();
        // All that was announced, or as much of it as is taken: none of it may arrive as a message.
        let sent = stream.write_all(&vec![9; announced.min(2 * DIRECT_BYTES)]).await;
        let ended = if sent.is_ok() { stream.close().await } else { sent };
        let read = timeout(DEADLINE, stream.read(&mut [0])).await.expect("the stream ends");
        assert!(matches!(read, Ok(0) | Err(_)), "{ended:?} {read:?}");
    }
    let most = Bytes::from(vec![3; DIRECT_BYTES]);
    other.net.send(one.id(), most.clone()).await.unwrap();
    assert!(one.direct().await == (other.id(), most), "the first message is the one that keeps the rules");
}

#[tokio::test]
async fn what_is_too_large_is_refused_where_it_is_sent() {
    let (one, other) = Node::pair().await;
    let message = Bytes::from(vec![0; DIRECT_BYTES + 1]);
    let refused = SendError::TooLarge(message.len());
    assert_eq!(one.net.post(other.id(), message.clone()), Err(refused.clone()));
    assert_eq!(one.net.send(other.id(), message).await, Err(refused));
    let many = vec![Bytes::new(); GREETINGS + 1];
    let large = vec![Bytes::from(vec![0; GREETING_BYTES]), Bytes::from_static(b"x")];
    for greetings in [many, large] {
        assert_eq!(one.net.set_greetings(greetings).await, Err(TooManyGreetings));
    }
}

#[tokio::test]
async fn a_peer_that_asks_on_too_many_streams_loses_the_surplus_alone() {
    let blob = BlobRef::of(b"here");
    let serve = serving(vec![(blob.id, Blob::Memory(Bytes::from_static(b"here")))]);
    let one = Node::new(Config { serve, ..config() }).await;
    let mut other = Node::knowing(&one).await;
    let mut third = Node::knowing(&one).await;
    other.up(one.id()).await;
    third.up(one.id()).await;
    let victim = addr::peer_id(one.id());
    let mut silent = Vec::new();
    for _ in 0..limits::STREAMS_PER_PEER {
        silent.push(other.net.client.open(victim, Kind::Blob).await.unwrap());
    }
    // All its room is taken by questions that it does not put.
    assert!(other.net.fetch(one.id(), blob).await.is_err());
    assert_eq!(third.net.fetch(one.id(), blob).await.unwrap(), "here");
    drop(silent);
    eventually("there is room again", || async { other.net.fetch(one.id(), blob).await.is_ok() }).await;
}

#[tokio::test]
async fn dropping_the_events_ends_the_network() {
    let (mut one, other) = Node::pair().await;
    let Node { net, events } = other;
    drop(events);
    one.down(net.node()).await;
    eventually("its handle is closed", || async { net.peers().await.is_empty() }).await;
}
