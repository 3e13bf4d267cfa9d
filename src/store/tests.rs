//! The store: what is put is found until it is forgotten, and homes are not shared.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::BlobRef;

use super::Blobs;
use crate::store::{Home, HomeError, Spool};

#[test]
fn a_blob_is_here_until_it_is_forgotten_as_often_as_put() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned());
    for size in [0, 100, 4 << 10, (4 << 10) + 1, 3 << 20] {
        let bytes = Bytes::from(vec![size as u8; size]);
        let name = blobs.put(&bytes).unwrap();
        assert!(name.names(&bytes));
        assert_eq!(blobs.put(&bytes).unwrap(), name);
        blobs.forget(&name.id);
        assert_eq!(blobs.find(&name.id).unwrap().read(0, bytes.len()).unwrap(), bytes);
        blobs.forget(&name.id);
        assert!(blobs.find(&name.id).is_none());
    }
}

#[test]
fn blobs_in_one_scratch_file_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned());
    let all: Vec<Bytes> = (0..50_usize).map(|i| Bytes::from(vec![i as u8; 5_000 + i])).collect();
    let names: Vec<BlobRef> = all.iter().map(|bytes| blobs.put(bytes).unwrap()).collect();
    for (bytes, name) in all.iter().zip(names) {
        assert_eq!(&blobs.find(&name.id).unwrap().read(0, bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn a_linked_blob_is_read_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    std::fs::write(&path, b"0123456789").unwrap();
    let file = Arc::new(std::fs::File::open(&path).unwrap());
    let blobs = Blobs::new(dir.path().to_owned());
    let name = BlobRef::of(b"3456");
    blobs.link(name, &file, 3);
    assert_eq!(blobs.find(&name.id).unwrap().read(0, 4).unwrap(), "3456");
}

#[test]
fn a_spool_gives_back_what_came_in_any_order_once_it_is_sealed() {
    let spool = Spool::new(tempfile::tempfile().unwrap(), 4);
    spool.put(3, b"three").unwrap();
    spool.put(0, b"").unwrap();
    spool.put(3, b"THREE!").unwrap();
    spool.seal(3);
    spool.put(3, b"too late").unwrap();
    spool.seal(0);
    assert_eq!(spool.wait(3).unwrap().unwrap(), "THREE!");
    assert_eq!(spool.wait(0).unwrap().unwrap(), "");
    assert!(spool.wait(4).unwrap().is_none(), "there is no such chunk");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| spool.wait(1).unwrap());
        spool.close();
        assert!(waiting.join().unwrap().is_none(), "chunk 1 was never sealed");
    });
}

#[test]
fn a_home_is_one_nodes_only_and_its_keys_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home");
    let home = Home::open(&path).unwrap();
    assert!(matches!(Home::open(&path), Err(HomeError::InUse(_))));
    let seed = home.seed("node").unwrap();
    assert_ne!(seed, home.seed("author").unwrap());
    drop(home);
    let home = Home::open(&path).unwrap();
    assert_eq!(home.seed("node").unwrap(), seed);
    std::fs::write(path.join("node.key"), b"short").unwrap();
    assert!(matches!(home.seed("node"), Err(HomeError::BadKey(_))));
}
