//! The store: what is put is found until it is forgotten, and homes are not shared.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{AuthorId, BlobRef, ChunkInput, Limits, Manifest, NodeId, Page, Role, Signed, decode};

mod crash;
mod past;

use super::sizes::SIZES_KEPT;
use super::{
    Blobs, Cache, Done, Draft, Home, HomeError, Output, Outputs, PEERS_KEPT, Repute, Row, Saved, Size, SizeKey, Store,
};

#[test]
fn a_blob_is_here_until_it_is_forgotten_as_often_as_put() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned(), Cache::new(&dir.path().join("blobs"), 0).unwrap());
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
    let blobs = Blobs::new(dir.path().to_owned(), Cache::new(&dir.path().join("blobs"), 0).unwrap());
    let all: Vec<Bytes> = (0..50_usize).map(|i| Bytes::from(vec![i as u8; 5_000 + i])).collect();
    let names: Vec<BlobRef> = all.iter().map(|bytes| blobs.put(bytes).unwrap()).collect();
    for (bytes, name) in all.iter().zip(names) {
        assert_eq!(&blobs.find(&name.id).unwrap().read(0, bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn a_blob_that_comes_in_pieces_is_the_one_that_was_put_whole() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned(), Cache::new(&dir.path().join("blobs"), 0).unwrap());
    let bytes = Bytes::from((0..700_000_u32).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<u8>>());
    let mut coming = blobs.begin(bytes.len() as u64).unwrap();
    let between = blobs.put(&bytes.slice(5..9_000)).unwrap();
    bytes.chunks(30_001).for_each(|piece| coming.write(piece).unwrap());
    assert!(coming.write(b"more").is_err(), "not what was said to come");
    let name = blobs.finish(coming);
    assert_eq!(name, BlobRef::of(&bytes));
    let found = blobs.find(&name.id).unwrap();
    assert!(found.is(&name).unwrap() && !found.is(&between).unwrap());
    blobs.forget(&name.id);
    // Read from elsewhere, and beside what is there.
    assert_eq!(blobs.put_copy(&found).unwrap(), name);
    assert_eq!(blobs.find(&name.id).unwrap().read(0, bytes.len()).unwrap(), bytes);
    assert_eq!(blobs.find(&between.id).unwrap().read(0, 9_000).unwrap(), bytes.slice(5..9_000));
}

#[test]
fn what_is_given_up_takes_no_room() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned(), Cache::new(&dir.path().join("blobs"), 0).unwrap());
    let file = |name: &BlobRef| match blobs.find(&name.id).unwrap() {
        crate::blob::Blob::File { file, offset, .. } => (file, offset),
        crate::blob::Blob::Memory(_) => panic!("it is in memory"),
    };
    let (first, second) = (Bytes::from(vec![1; 10_000]), Bytes::from(vec![2; 10_000]));
    let before = blobs.put(&first).unwrap();
    for _ in 0..3 {
        let mut coming = blobs.begin(40 << 20).unwrap();
        coming.write(&[7; 1 << 20]).unwrap();
        blobs.abandon(&coming);
    }
    let after = blobs.put(&second).unwrap();
    let ((_, at), (segment, next)) = (file(&before), file(&after));
    assert_eq!(next, at + 10_000);
    assert!(segment.metadata().unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(blobs.find(&before.id).unwrap().read(0, 10_000).unwrap(), first);
}

#[test]
fn small_blobs_are_in_memory_as_long_as_they_are_not_many() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(dir.path().to_owned(), Cache::new(&dir.path().join("blobs"), 0).unwrap());
    let put = |n: u32| blobs.put(&Bytes::from(n.to_le_bytes().repeat(1_024))).unwrap();
    let in_memory = |name: &BlobRef| matches!(blobs.find(&name.id).unwrap(), crate::blob::Blob::Memory(_));
    let names: Vec<BlobRef> = (0..8_193).map(put).collect();
    assert_eq!(names.iter().filter(|name| in_memory(name)).count(), 8_192, "32 MiB of 4 KiB each");
    blobs.forget(&names[0].id);
    assert!(in_memory(&put(9_000)), "there is room again");
}

fn node(n: u16) -> NodeId {
    let mut id = [9; 32];
    id[..2].copy_from_slice(&n.to_le_bytes());
    NodeId(id)
}

#[test]
fn what_was_seen_of_peers_adds_up_and_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let banned = Repute { agreed: 1, outvoted: 3, banned_ms: Some(70), seen_ms: 70 };
    {
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.store().peers().unwrap(), []);
        home.store()
            .saw(&[(node(1), banned), (node(2), Repute { agreed: 5, seen_ms: 60, ..Repute::default() })])
            .unwrap();
        home.store().saw(&[(node(1), Repute { agreed: 2, seen_ms: 65, ..Repute::default() })]).unwrap();
    }
    let home = Home::open(dir.path()).unwrap();
    let sum = Repute { agreed: 3, ..banned };
    let of =
        |n| home.store().peers().unwrap().into_iter().find(|(other, _)| *other == node(n)).map(|(_, repute)| repute);
    assert_eq!(of(1), Some(sum));
    assert_eq!(of(2).unwrap().agreed, 5);
    assert!(home.store().forgive(node(1)).unwrap());
    assert!(!home.store().forgive(node(1)).unwrap());
    assert_eq!((of(1), of(2).is_some()), (None, true));
}

#[test]
fn of_many_peers_those_are_forgotten_that_were_not_seen_for_longest() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    // The one that is seen again is the oldest by name.
    let seen = |n: u16, ms: u64| (node(n), Repute { seen_ms: ms, ..Repute::default() });
    let all: Vec<_> = (0..PEERS_KEPT as u16).map(|n| seen(n, 10 + u64::from(n))).collect();
    home.store().saw(&all).unwrap();
    home.store().saw(&[seen(0, 9_000)]).unwrap();
    home.store().saw(&[seen(5_000, 9_001), seen(5_001, 9_002)]).unwrap();
    let left: Vec<NodeId> = home.store().peers().unwrap().into_iter().map(|(node, _)| node).collect();
    assert_eq!(left.len(), PEERS_KEPT);
    assert!([0, 3, 5_000, 5_001].iter().all(|n| left.contains(&node(*n))));
    assert!(![1, 2].iter().any(|n| left.contains(&node(*n))));
}

/// A job of 5,000 chunks over a text, some of them short; where the text stands, and the whole of it.
fn saved(home: &Home, dir: &Path) -> (Saved, Vec<Vec<u8>>) {
    let inputs: Vec<Vec<u8>> = (0..5_000_u32).map(|n| vec![n as u8; (n % 700) as usize]).collect();
    let path = dir.join("text");
    std::fs::write(&path, inputs.concat()).unwrap();
    let mut draft = Draft::new(home).unwrap();
    let number = draft.file(&path, Arc::new(File::open(&path).unwrap())).unwrap();
    let mut at = 0;
    for input in &inputs {
        draft.push(input, number, at).unwrap();
        at += input.len() as u64;
    }
    let author = home.keypair("author").unwrap();
    let manifest = past::manifest(inputs.len() as u32, draft.pages().unwrap(), AuthorId(author.public()), 7);
    manifest.check().unwrap();
    let row = Row::new(Signed::sign(manifest, &author));
    (draft.save(home, row, b"program", None).unwrap(), inputs)
}

#[test]
fn a_job_finds_all_that_it_takes_also_when_the_home_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("home")).unwrap();
    let (job, inputs) = saved(&home, dir.path());
    let check = |job: Saved| {
        let (row, found, outputs) = job.open().unwrap();
        assert!(outputs.sealed().is_empty());
        let whole = |name: BlobRef| found.find(&name.id).unwrap().read(0, name.len as usize).unwrap();
        assert_eq!(whole(row.manifest.body.program), "program");
        let mut listed = Vec::new();
        for page in &row.manifest.body.pages {
            let page: Page = decode(&whole(*page), Page::MAX_BYTES).unwrap();
            listed.extend(page.0.into_iter().map(|input| match input {
                ChunkInput::Inline(bytes) => bytes.to_vec(),
                ChunkInput::Blob(name) => whole(name).to_vec(),
            }));
        }
        assert_eq!(listed, inputs);
        assert!(found.find(&BlobRef::of(b"something else").id).is_none());
    };
    let id = job.id();
    check(job);
    drop(home);

    let home = Home::open(&dir.path().join("home")).unwrap();
    let [job] = <[Saved; 1]>::try_from(Saved::all(&home).unwrap()).unwrap();
    assert_eq!((job.id(), job.row().manifest.body.retries), (id, 3));
    check(job);
    Saved::remove(&home, id).unwrap();
    assert!(Saved::all(&home).unwrap().is_empty());
    assert!(std::fs::read_dir(dir.path().join("home/jobs")).unwrap().next().is_none());
}

#[test]
fn a_job_that_was_never_finished_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let mut draft = Draft::new(&home).unwrap();
    draft.scratch().unwrap();
    let is_empty = || std::fs::read_dir(dir.path().join("jobs")).unwrap().next().is_none();
    assert!(!is_empty());
    drop(draft);
    assert!(is_empty());
    // As a crash leaves it.
    std::mem::forget(Draft::new(&home).unwrap());
    drop(home);
    assert!(!is_empty());
    Home::open(dir.path()).unwrap();
    assert!(is_empty());
}

/// Keeps outputs on a thread until they are closed; what became of each is told in order.
fn keeping(outputs: &Arc<Outputs>) -> (std::thread::JoinHandle<()>, std::sync::mpsc::Receiver<Done>) {
    let (sender, told) = std::sync::mpsc::sync_channel(64);
    let outputs = Arc::clone(outputs);
    (std::thread::spawn(move || outputs.keep(|done| sender.send(done).unwrap())), told)
}

fn output(chunk: u32, worker: u8, bytes: &'static [u8]) -> Output {
    Output {
        slot: chunk,
        chunk,
        worker: NodeId([worker; 32]),
        bytes: crate::blob::Blob::Memory(bytes.into()),
        failed: false,
        cpu_micros: 0,
        again: true,
        turn: None,
    }
}

#[test]
fn outputs_come_in_any_order_count_once_sealed_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("home")).unwrap();
    let (job, _) = saved(&home, dir.path());
    let outputs = Arc::new(job.open().unwrap().2);
    let (keeper, told) = keeping(&outputs);
    let put = |output| {
        outputs.put(output);
        let (names, outcome) = told.recv().unwrap();
        outcome.unwrap();
        names
    };
    let read = |outputs: &Outputs, chunk| {
        let blob = outputs.wait(chunk).unwrap().bytes;
        blob.read(0, blob.len() as usize).unwrap()
    };
    assert_eq!(put(output(3, 1, b"three")), [(3, NodeId([1; 32]))]);
    put(output(0, 1, b""));
    put(output(3, 2, b"THREE!"));
    outputs.seal(3);
    outputs.put(output(3, 1, b"too late"));
    put(output(4, 2, b"safe, not sealed"));
    outputs.seal(0);
    assert_eq!(read(&outputs, 3), "THREE!");
    assert_eq!(read(&outputs, 0), "");
    assert!(outputs.wait(5_000).is_none(), "there is no such chunk");
    let as_sealed = |outputs: &Outputs| (0..2).map(|nth| outputs.wait_nth(nth).unwrap().0).collect::<Vec<_>>();
    outputs.seal(3);
    assert_eq!(as_sealed(&outputs), [3, 0], "each once, the first that was sealed first");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| outputs.wait(1).is_none() && outputs.wait_nth(2).is_none());
        outputs.close();
        assert!(waiting.join().unwrap(), "chunk 1 was never sealed");
    });
    keeper.join().unwrap();
    drop((outputs, home));

    let home = Home::open(&dir.path().join("home")).unwrap();
    let [job] = <[Saved; 1]>::try_from(Saved::all(&home).unwrap()).unwrap();
    let outputs = job.open().unwrap().2;
    assert_eq!(outputs.sealed().iter().collect::<Vec<_>>(), [0, 3, 4]);
    assert_eq!(as_sealed(&outputs), [0, 3]);
    assert_eq!(read(&outputs, 3), "THREE!");
    assert_eq!(read(&outputs, 4), "safe, not sealed");
    assert_eq!(outputs.by(), BTreeMap::from([(NodeId([1; 32]), 1), (NodeId([2; 32]), 2)]));
}

#[test]
fn outputs_are_told_in_the_order_in_which_they_are_sealed_and_failures_stay_failures() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("home")).unwrap();
    let (job, _) = saved(&home, dir.path());
    let outputs = Arc::new(job.open().unwrap().2);
    let (keeper, told) = keeping(&outputs);
    for output in [output(2, 1, b"two"), Output { failed: true, cpu_micros: 7, ..output(1, 2, b"it fell") }] {
        outputs.put(output);
        told.recv().unwrap().1.unwrap();
    }
    assert!(!outputs.has_nth(0), "safe is not sealed");
    outputs.seal(2);
    outputs.seal(1);
    outputs.seal(2);
    let order = |outputs: &Outputs| {
        let sealed = (0..2).map(|nth| outputs.wait_nth(nth).unwrap());
        sealed.map(|(chunk, sealed)| (chunk, sealed.failed)).collect::<Vec<_>>()
    };
    assert_eq!(order(&outputs), [(2, false), (1, true)]);
    let failed = outputs.get(1).unwrap();
    assert_eq!((failed.worker, failed.cpu), (NodeId([2; 32]), Some(std::time::Duration::from_micros(7))));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| outputs.wait_nth(2).is_none());
        outputs.close();
        assert!(waiting.join().unwrap(), "there is no third one");
    });
    keeper.join().unwrap();
    drop((outputs, home));

    let home = Home::open(&dir.path().join("home")).unwrap();
    let [job] = <[Saved; 1]>::try_from(Saved::all(&home).unwrap()).unwrap();
    let outputs = job.open().unwrap().2;
    assert_eq!(order(&outputs), [(1, true), (2, false)], "what was before comes in its own order");
    assert_eq!((outputs.given_up().iter().collect::<Vec<_>>(), outputs.sealed().len()), (vec![1], 2));
    let failed = outputs.get(1).unwrap();
    assert_eq!((failed.bytes.read(0, 100).unwrap().as_ref(), failed.cpu), (&b"it fell"[..], None));
    assert_eq!(outputs.by(), BTreeMap::from([(NodeId([1; 32]), 1)]), "who failed has not run it");
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

#[test]
fn large_blobs_that_were_not_used_for_longest_make_room_and_those_in_use_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), 2_500_000).unwrap();
    let name = |byte: u8| BlobRef { len: 1_000_000, ..BlobRef::of(&[byte]) };
    let here = |byte| cache.find(name(byte)).is_some();
    let in_use = cache.open(name(1)).unwrap();
    drop(cache.open(name(2)).unwrap());
    assert!(here(1) && here(2) && !here(3));
    drop(cache.open(name(3)).unwrap());
    assert!(here(1) && here(3), "the one in use stays, and so does the newest");
    assert!(!here(2), "it was not used for longest");
    let other = cache.open(name(3)).unwrap();
    let error = cache.open(name(4)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(here(1) && here(3));
    drop((in_use, other));
    cache.open(name(4)).unwrap();
    // What is here is found again by another process.
    let again = Cache::new(dir.path(), 2_500_000).unwrap();
    assert!(again.find(name(4)).is_some());
}

#[test]
fn sizes_are_remembered_for_the_same_work_and_the_oldest_go_first() {
    let memory = redb::backends::InMemoryBackend::new();
    let store = Store::of(redb::Builder::new().create_with_backend(memory).unwrap()).unwrap();
    let key = |total| SizeKey::of(b"work", "lines", total);
    let size = |block| Size { block, nanos: Some(5) };
    assert_eq!(store.size(key(1)).unwrap(), None);
    for (total, block) in [(1, 8), (2, 16), (1, 32)] {
        store.put_size(key(total), size(block)).unwrap();
    }
    assert_eq!(store.size(key(1)).unwrap(), Some(size(32)));
    for other in [SizeKey::of(b"other", "lines", 1), SizeKey::of(b"work", "records", 1), key(3)] {
        assert_eq!(store.size(other).unwrap(), None);
    }
    for total in 3..=SIZES_KEPT as u64 + 1 {
        store.put_size(key(total), size(total)).unwrap();
    }
    assert_eq!(store.size(key(2)).unwrap(), None, "chosen before all others that are left");
    assert_eq!(store.size(key(1)).unwrap(), Some(size(32)));
    assert_eq!(store.size(key(3)).unwrap(), Some(size(3)));
}
