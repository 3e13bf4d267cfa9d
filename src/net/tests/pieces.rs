//! Blobs in pieces, over real sockets. The store keeps them here as it does in a node.

use std::sync::atomic::AtomicUsize;

use coordinator_free::pieces::{Layout, PIECE_BYTES};
use essaim_jobs::{BlobRef, IntervalSet};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;
use crate::blob::{PieceError, Pieces};
use crate::net::streams::Kind;
use crate::net::{FetchError, addr, limits};
use crate::store::{Partial, Whole};

fn bytes(pieces: u64) -> Bytes {
    let words = (0..(pieces * PIECE_BYTES / 8)).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let mut bytes = words.flatten().collect::<Vec<u8>>();
    // The last piece is shorter than the others.
    bytes.truncate(bytes.len() - 12_345);
    bytes.into()
}

/// A whole blob that counts what it gives, and may give other bytes.
#[derive(Debug)]
struct Counted {
    whole: Whole,
    lies: bool,
    given: AtomicUsize,
}

impl Counted {
    fn new(bytes: &Bytes, lies: bool) -> Arc<Counted> {
        let whole = Whole::new(BlobRef::of(bytes), Blob::Memory(bytes.clone())).unwrap();
        Arc::new(Counted { whole, lies, given: AtomicUsize::new(0) })
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

impl Pieces for Counted {
    fn name(&self) -> BlobRef {
        self.whole.name()
    }
    fn have(&self) -> IntervalSet {
        self.whole.have()
    }
    fn has(&self, piece: u32) -> bool {
        self.whole.has(piece)
    }
    fn encode(&self, piece: u32) -> std::io::Result<Bytes> {
        self.given.fetch_add(1, Ordering::Relaxed);
        let mut encoded = self.whole.encode(piece)?.to_vec();
        let middle = encoded.len() / 2;
        encoded[middle] ^= u8::from(self.lies);
        Ok(encoded.into())
    }
    fn write(&self, piece: u32, encoded: &[u8]) -> Result<(), PieceError> {
        self.whole.write(piece, encoded)
    }
}

/// A node that gives what it has, so many bytes a second.
async fn giving(pieces: Arc<dyn Pieces>, upload: Option<u64>) -> Node {
    let serve_pieces = Arc::new(move |_| Some(Arc::clone(&pieces)));
    Node::new(Config { serve_pieces, upload, ..config() }).await
}

/// Tells a node where these are, and names them as sources that will be the only ones.
async fn sources(taker: &Node, from: &[&Node]) -> mpsc::Receiver<NodeId> {
    let (named, sources) = mpsc::channel(from.len().max(1));
    for node in from {
        taker.net.add_address(node.id(), node.net.addresses()).await;
        named.send(node.id()).await.unwrap();
    }
    sources
}

struct Place {
    _dir: tempfile::TempDir,
    pieces: Arc<Partial>,
}

fn place(name: BlobRef) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let pieces = Arc::new(Partial::open(dir.path(), name).unwrap());
    Place { _dir: dir, pieces }
}

fn content(place: &Place) -> Bytes {
    place.pieces.blob().unwrap().read(0, usize::MAX).unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_sources_one_is_killed_one_lies_one_trickles_and_all_bytes_are_right() {
    let bytes = bytes(40);
    let name = BlobRef::of(&bytes);
    let [honest, killed, trickling] = [(); 3].map(|()| Counted::new(&bytes, false));
    let liar = Counted::new(&bytes, true);
    let one = giving(honest.clone(), Some(4_000_000)).await;
    let dying = giving(killed.clone(), Some(4_000_000)).await;
    let slow = giving(trickling.clone(), Some(1_000)).await;
    let false_one = giving(liar.clone(), None).await;
    let taker = Node::new(config()).await;
    let into = place(name);
    let sources = sources(&taker, &[&one, &dying, &slow, &false_one]).await;
    let downloading = tokio::spawn({
        let (net, into) = (taker.net.clone(), into.pieces.clone());
        async move { net.download(name, into, sources).await }
    });
    eventually("all have been asked", || async {
        killed.given() > 2 && trickling.given() > 0 && liar.given() > 0 && into.pieces.have().len() >= 5
    })
    .await;
    assert!(!into.pieces.is_complete(), "it was killed in the middle");
    // Without a farewell: its sockets are closed, as they are by a kill.
    drop(dying);
    within(downloading).await.unwrap().unwrap();
    assert!(content(&into) == bytes);
    // Its first wrong piece was its last, and what it had been asked for with it.
    assert!(liar.given() <= 2, "the liar gave {}", liar.given());
    assert!(trickling.given() <= 2, "the trickling one gave {}", trickling.given());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_part_gives_it_on_while_it_takes_the_rest() {
    let bytes = bytes(16);
    let name = BlobRef::of(&bytes);
    let author = giving(Counted::new(&bytes, false), Some(1_000_000)).await;
    let [middle, last] = [Node::new(config()).await, Node::new(config()).await];
    let [first_place, second_place] = [place(name), place(name)];
    let download = |node: &Node, place: &Place, sources| {
        let (net, into) = (node.net.clone(), place.pieces.clone());
        tokio::spawn(async move { net.download(name, into, sources).await })
    };
    let from_author = sources(&middle, &[&author]).await;
    let to_middle = download(&middle, &first_place, from_author);
    eventually("it has begun", || async { !first_place.pieces.have().is_empty() }).await;
    // The last one knows nobody else.
    let from_middle = sources(&last, &[&middle]).await;
    let to_last = download(&last, &second_place, from_middle);
    eventually("a piece was given on", || async { !second_place.pieces.have().is_empty() }).await;
    assert!(!first_place.pieces.is_complete(), "it was given on before all of it was there");
    for done in [to_middle, to_last] {
        within(done).await.unwrap().unwrap();
    }
    assert!(content(&first_place) == bytes && content(&second_place) == bytes);
}

#[tokio::test]
async fn two_halves_make_a_whole_and_what_was_here_is_not_asked_for_again() {
    let bytes = bytes(8);
    let name = BlobRef::of(&bytes);
    let whole = Counted::new(&bytes, false);
    let halves = [place(name), place(name)];
    for piece in 0..8 {
        halves[piece as usize % 2].pieces.write(piece, &whole.whole.encode(piece).unwrap()).unwrap();
    }
    let one = giving(halves[0].pieces.clone(), None).await;
    let other = giving(halves[1].pieces.clone(), None).await;
    let taker = Node::new(config()).await;
    let into = place(name);
    let both = sources(&taker, &[&one, &other]).await;
    within(taker.net.download(name, into.pieces.clone(), both)).await.unwrap();
    assert!(content(&into) == bytes);
    assert_eq!(halves[0].pieces.have().len(), 4, "who only gives takes nothing");
    // And where half of it is here, the other half is all that is asked for.
    let author = giving(whole.clone(), None).await;
    let resumed = Node::new(config()).await;
    let from_author = sources(&resumed, &[&author]).await;
    within(resumed.net.download(name, halves[0].pieces.clone(), from_author)).await.unwrap();
    assert_eq!(whole.given(), 4);
    assert!(content(&halves[0]) == bytes);
}

#[tokio::test]
async fn where_nobody_has_it_the_asker_is_told() {
    let bytes = bytes(2);
    let name = BlobRef::of(&bytes);
    let node = Node::new(config()).await;
    let taker = Node::new(config()).await;
    let into = place(name);
    let no_source = Err(FetchError::NoSource(name.id));
    for from in [&[][..], &[&node]] {
        let sources = sources(&taker, from).await;
        assert_eq!(within(taker.net.download(name, into.pieces.clone(), sources)).await, no_source);
    }
    let other = Counted::new(&super::pieces::bytes(3), false);
    let node = giving(other, None).await;
    let from_other = sources(&taker, &[&node]).await;
    assert_eq!(within(taker.net.download(name, into.pieces.clone(), from_other)).await, no_source);
    let huge = BlobRef { len: u64::MAX, ..name };
    let (_, sources) = mpsc::channel(1);
    let refused = taker.net.download(huge, into.pieces.clone(), sources).await;
    assert_eq!(refused, Err(FetchError::TooLarge(u64::MAX)));
    // Nothing at all is had at once.
    let nothing = place(BlobRef::of(b""));
    let (_, sources) = mpsc::channel(1);
    within(taker.net.download(BlobRef::of(b""), nothing.pieces.clone(), sources)).await.unwrap();
}

#[tokio::test]
async fn who_breaks_the_rules_of_a_session_ends_it_and_nothing_else() {
    let bytes = bytes(4);
    let name = BlobRef::of(&bytes);
    let author = giving(Counted::new(&bytes, false), None).await;
    let mut hello = name.id.0.to_vec();
    hello.extend_from_slice(&name.len.to_be_bytes());
    let layout = Layout::of(name.len).unwrap();
    let out_of_range = essaim_jobs::encode(&coordinator_free::pieces::Message::Want(vec![layout.pieces()]));
    let framed = |kind: u8, content: &[u8]| [&[kind][..], &(content.len() as u32).to_be_bytes(), content].concat();
    let rude = [
        vec![9, 0, 0, 0, 0],
        vec![0, 0xff, 0xff, 0xff, 0xff],
        vec![1, 0, 0, 0, 4, 0, 0, 0, 0],
        vec![1, 0x7f, 0xff, 0xff, 0xff],
        framed(0, b"no message"),
        framed(0, &out_of_range),
        // Pieces that nobody asked for: one that is wrong, and two that come at once.
        framed(2, &[0; 100]),
        [framed(1, &[0; 100]), framed(1, &[1; 100])].concat(),
    ];
    for frame in rude {
        // Somebody else each time: who has been rude is not spoken to again.
        let other = Node::new(config()).await;
        other.net.add_address(author.id(), author.net.addresses()).await;
        let mut stream = other.net.client.open(addr::peer_id(author.id()), Kind::Pieces).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = [0];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [1]);
        stream.write_all(&frame).await.unwrap();
        stream.flush().await.unwrap();
        let ended = async {
            let mut rest = [0; 1_024];
            while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
        };
        within(ended).await;
    }
    let taker = Node::new(config()).await;
    let into = place(name);
    let from_author = sources(&taker, &[&author]).await;
    within(taker.net.download(name, into.pieces.clone(), from_author)).await.unwrap();
    assert!(content(&into) == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures: 64 MiB to 1, 4 and 16 peers that send 100 Mbit/s each; or TAKERS=16 RATE=1000000"]
async fn figures() {
    let bytes = bytes(256);
    let name = BlobRef::of(&bytes);
    let number = |name| std::env::var(name).ok().and_then(|number: String| number.parse().ok());
    // All nodes share this machine's processor, which may be less than their links together.
    let rate = number("RATE").unwrap_or(12_500_000);
    let takers = number("TAKERS").map_or(vec![1, 4, 16], |takers| vec![takers as usize]);
    for takers in takers {
        let counted = Counted::new(&bytes, false);
        let author = giving(counted.clone(), Some(rate)).await;
        let mut nodes = vec![author];
        for _ in 0..takers {
            nodes.push(Node::new(Config { upload: Some(rate), ..config() }).await);
        }
        let places: Vec<Place> = (0..takers).map(|_| place(name)).collect();
        let start = std::time::Instant::now();
        let mut downloads = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let taker = &nodes[number + 1];
            let others: Vec<&Node> = nodes.iter().take(number + 1).collect();
            let sources = sources(taker, &others).await;
            let (net, into) = (taker.net.clone(), place.pieces.clone());
            downloads.push(tokio::spawn(async move { net.download(name, into, sources).await }));
        }
        for download in downloads {
            timeout(Duration::from_secs(600), download).await.unwrap().unwrap().unwrap();
        }
        let ideal = name.len as f64 / rate as f64;
        let ratio = start.elapsed().as_secs_f64() / ideal;
        let copies = counted.given() as f64 / 256.0;
        eprintln!("{takers} takers: time / (size / rate) {ratio:.3}, the author sent {copies:.3} copies");
        assert!(places.iter().all(|place| content(place) == bytes));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_one_after_another_are_as_many_as_there_are() {
    let all: Vec<Bytes> = (0..limits::EXCHANGES as u64 + 40).map(|n| n.to_le_bytes().to_vec().into()).collect();
    let whole: HashMap<BlobRef, Arc<dyn Pieces>> =
        all.iter().map(|bytes| (BlobRef::of(bytes), Counted::new(bytes, false) as Arc<dyn Pieces>)).collect();
    let serve_pieces = Arc::new(move |name| whole.get(&name).cloned());
    let giver = Node::new(Config { serve_pieces, ..config() }).await;
    let taker = Node::new(config()).await;
    for bytes in &all {
        let into = place(BlobRef::of(bytes));
        let sources = sources(&taker, &[&giver]).await;
        within(taker.net.download(BlobRef::of(bytes), into.pieces.clone(), sources)).await.unwrap();
        assert_eq!(content(&into), *bytes);
    }
}
