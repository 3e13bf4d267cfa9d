//! How fast it is, for whoever asks: `cargo test -p essaim --lib figures -- --ignored --nocapture`.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use essaim_jobs::BlobRef;
use futures::{StreamExt, stream};

use super::*;

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("{what}: median {median:.2?}, worst {worst:.2?} of {}", times.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and proves nothing"]
async fn figures() {
    let mut meetings = Vec::new();
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = || Config { local_dir: Some(folder.path().to_owned()), ..config() };
        let mut one = Node::new(in_folder()).await;
        eventually("its file is there", || async { folder.path().join("test").exists() }).await;
        let began = Instant::now();
        let mut other = Node::new(in_folder()).await;
        let (first, second) = (one.id(), other.id());
        tokio::join!(one.up(second), other.up(first));
        meetings.push(began.elapsed());
    }
    told("start to up on both sides, in a folder", &mut meetings);

    let mut chain = vec![Node::new(config()).await];
    for _ in 1..20 {
        let node = Node::knowing(chain.last().unwrap()).await;
        node.net.advertise(crate::net::Advert { lends: true, ..Default::default() }).await;
        chain.push(node);
    }
    eventually("the swarm has settled", || async { chain[0].net.spare_providers().await.len() == 19 }).await;
    let mut finds = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let seeker = Node::knowing(&chain[0]).await;
        eprintln!("a new node finds {}", seeker.net.find_spare().await.len());
        finds.push(began.elapsed());
    }
    told("start to all 19 that lend found, each asked", &mut finds);
    drop(chain);

    let (mut one, mut other) = Node::pair().await;
    let (net, back, first, second) = (one.net.clone(), other.net.clone(), one.id(), other.id());
    let mut trips = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        net.send(second, Bytes::from_static(&[0; 200])).await.unwrap();
        other.direct().await;
        back.send(first, Bytes::from_static(&[0; 200])).await.unwrap();
        one.direct().await;
        trips.push(began.elapsed());
    }
    told("there and back, 200 bytes", &mut trips);
    let began = Instant::now();
    let count = 100_000;
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            net.send(second, Bytes::from_static(&[0; 200])).await.unwrap();
        }
    });
    for _ in 0..count {
        other.direct().await;
    }
    sending.await.unwrap();
    eprintln!("one way, 200 bytes: {:.0} messages/s", f64::from(count) / began.elapsed().as_secs_f64());

    let blobs: Vec<Bytes> = (0..256_u32).map(|n| Bytes::from(vec![n as u8; 1 << 20])).collect();
    let took = moving(blobs.into_iter().map(Blob::Memory).collect()).await;
    eprintln!("256 blobs of 1 MiB, 8 at a time: {:.0} MiB/s", 256.0 / took.as_secs_f64());

    let file = Arc::new(tempfile::tempfile().unwrap());
    let bytes: Vec<u8> = (0..8_192_u32).flat_map(|n| n.to_be_bytes().repeat(1_024)).collect();
    file.write_all_at(&bytes, 0).unwrap();
    let part = |n: u64| Blob::File { file: Arc::clone(&file), offset: n * 4_096, len: 4_096 };
    let took = moving((0..8_192).map(part).collect()).await;
    eprintln!("8,192 blobs of 4 KiB, 8 at a time: {:.0} us each", took.as_secs_f64() * 1e6 / 8_192.0);
}

/// How long it takes to fetch them from another node, 8 at a time.
async fn moving(blobs: Vec<Blob>) -> Duration {
    let names: Vec<BlobRef> = blobs.iter().map(|blob| blob.name().unwrap()).collect();
    let served = names.iter().map(|name| name.id).zip(blobs).collect();
    let one = Node::new(Config { serve: serving(served), ..config() }).await;
    let mut other = Node::knowing(&one).await;
    other.up(one.id()).await;
    let began = Instant::now();
    let fetched = stream::iter(names).map(|name| other.net.fetch(one.id(), name)).buffer_unordered(8);
    assert!(fetched.all(|fetched| async move { fetched.is_ok() }).await);
    began.elapsed()
}
