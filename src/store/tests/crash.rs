//! Power lost at every single write: what had been said to be safe is there, and the store opens.
//!
//! A disk is what was synced, and writes that were not: when the power goes, chance says which of these got through, and
//! how far.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use essaim_jobs::{AuthorId, IntervalSet, JobId, Keypair, NodeId, Signed};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redb::{Database, StorageBackend};

use super::past::manifest;
use crate::store::outputs::Disk;
use crate::store::reuse::Taking;
use crate::store::{Kin, Output, Outputs, Row, Store};

const CHUNKS: u32 = 40;
/// Chunks that are handed over together, in order.
const BATCHES: [u32; 6] = [1, 7, 0, 12, 15, 5];

/// All the disks of one machine: they lose their power together.
#[derive(Debug)]
struct Power {
    /// Writes and syncs until then.
    left: Option<u32>,
    used: u32,
}

impl Power {
    fn take(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        }
        self.used += 1;
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Image(Arc<Mutex<Contents>>, Arc<Mutex<Power>>);

#[derive(Debug, Default)]
struct Contents {
    safe: Vec<u8>,
    /// As the running program sees it.
    now: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

impl Image {
    fn new(power: &Arc<Mutex<Power>>, safe: Vec<u8>) -> Image {
        let contents = Contents { now: safe.clone(), safe, unsynced: Vec::new() };
        Image(Arc::new(Mutex::new(contents)), Arc::clone(power))
    }

    fn put(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
        let end = at as usize + data.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[at as usize..end].copy_from_slice(data);
    }

    fn change(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.1.lock().unwrap().take()?;
        let mut contents = self.0.lock().unwrap();
        Image::put(&mut contents.now, at, data);
        contents.unsynced.push((at, data.to_vec()));
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.1.lock().unwrap().take()?;
        let mut contents = self.0.lock().unwrap();
        let Contents { safe, unsynced, .. } = &mut *contents;
        unsynced.drain(..).for_each(|(at, data)| Image::put(safe, at, &data));
        Ok(())
    }

    /// What is found after the crash.
    fn crashed(&self, rng: &mut SmallRng) -> Vec<u8> {
        let contents = self.0.lock().unwrap();
        let mut left = contents.safe.clone();
        for (at, data) in &contents.unsynced {
            match rng.random_range(0..3) {
                0 => {}
                1 => Image::put(&mut left, *at, data),
                _ => Image::put(&mut left, *at, &data[..rng.random_range(0..=data.len())]),
            }
        }
        left
    }
}

impl StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.0.lock().unwrap();
        let found = contents.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.lock().unwrap().take()?;
        let mut contents = self.0.lock().unwrap();
        // A file's length is kept by the file system, in order with what it holds.
        contents.now.resize(len as usize, 0);
        contents.safe.resize(len as usize, 0);
        contents.unsynced.retain(|(at, data)| at + data.len() as u64 <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(offset, data)
    }
}

impl Disk for Image {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

fn job() -> JobId {
    JobId([3; 32])
}

/// The output of a chunk: none like another, some empty, some longer than what is written at once.
fn content(chunk: u32) -> Vec<u8> {
    let len = if chunk == 13 { (1 << 20) + 1 } else { (chunk as usize * 97) % 700 };
    (0..len).map(|at| (at as u32 + chunk * 31) as u8).collect()
}

/// Opens the store on what is on the disks, a file holding the outputs for reading.
fn open(db: &Image, outputs: &Image) -> (Result<Outputs, crate::store::StoreError>, Arc<File>) {
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.write_all_at(&outputs.0.lock().unwrap().now, 0).unwrap();
    let opened = Database::builder().create_with_backend(db.clone()).map_err(Into::into).and_then(Store::of);
    let opened = opened
        .and_then(|store| Outputs::on(Box::new(outputs.clone()), Arc::clone(&file), Arc::new(store), job(), CHUNKS));
    (opened, file)
}

/// Hands all outputs over that are missing; returns the chunks that were said to be safe.
fn collect(outputs: &Arc<Outputs>) -> Vec<u32> {
    let (sender, told) = std::sync::mpsc::sync_channel(64);
    let keeper = std::thread::spawn({
        let outputs = Arc::clone(outputs);
        move || outputs.keep(|done| sender.send(done).unwrap())
    });
    let sealed = outputs.sealed();
    let mut safe = Vec::new();
    let mut chunks = 0..CHUNKS;
    for batch in BATCHES {
        let chunks: Vec<u32> = chunks.by_ref().take(batch as usize).filter(|chunk| !sealed.contains(*chunk)).collect();
        for chunk in &chunks {
            let worker = NodeId([*chunk as u8 % 3; 32]);
            outputs.put(Output {
                slot: *chunk,
                chunk: *chunk,
                worker,
                bytes: crate::blob::Blob::Memory(content(*chunk).into()),
                again: true,
                failed: false,
                cpu_micros: 0,
                turn: None,
            });
        }
        let mut waiting = chunks.len();
        while waiting > 0 {
            let (names, outcome) = told.recv().unwrap();
            waiting -= names.len();
            if outcome.is_ok() {
                safe.extend(names.iter().map(|(slot, _)| *slot));
            }
        }
    }
    outputs.close();
    keeper.join().unwrap();
    safe
}

/// Runs until the power goes after so many writes, and starts again on what is left; returns how many writes it took
/// with power to the end.
fn run(writes: Option<u32>, seed: u64) -> u32 {
    let power = Arc::new(Mutex::new(Power { left: writes, used: 0 }));
    let (db, outputs) = (Image::new(&power, Vec::new()), Image::new(&power, Vec::new()));
    let mut safe = Vec::new();
    let begun = Database::builder().create_with_backend(db.clone()).map_err(Into::into).and_then(Store::of);
    let has_name = begun.is_ok();
    drop(begun);
    if let (Ok(opened), _) = open(&db, &outputs) {
        safe = collect(&Arc::new(opened));
    }
    let used = power.lock().unwrap().used;
    // A database that was never whole has no name: it is begun anew.
    let left = |image: &Image, rng: &mut SmallRng| if has_name { image.crashed(rng) } else { Vec::new() };

    let mut rng = SmallRng::seed_from_u64(seed);
    let power = Arc::new(Mutex::new(Power { left: None, used: 0 }));
    let (db, outputs) = (Image::new(&power, left(&db, &mut rng)), Image::new(&power, left(&outputs, &mut rng)));
    let (opened, file) = open(&db, &outputs);
    let opened = Arc::new(opened.unwrap_or_else(|error| panic!("after {writes:?} writes, seed {seed}: {error}")));
    let found = opened.sealed();
    for chunk in &safe {
        assert!(found.contains(*chunk), "chunk {chunk} was safe; {writes:?} writes, seed {seed}");
    }
    are_right(&opened, &found, &format!("{writes:?} writes, seed {seed}"));
    // And it goes on.
    let more = collect(&opened);
    assert_eq!(found.len() + more.len() as u64, u64::from(CHUNKS), "{writes:?} writes, seed {seed}");
    drop((opened, file));
    let (again, _file) = open(&db, &outputs);
    assert_eq!(again.unwrap().sealed().len(), u64::from(CHUNKS), "{writes:?} writes, seed {seed}");
    used
}

/// All that was found is what had been kept.
fn are_right(opened: &Outputs, found: &IntervalSet, when: &str) {
    for chunk in found.iter() {
        let blob = opened.wait(chunk).unwrap().bytes;
        let is_right = blob.read(0, blob.len() as usize).is_ok_and(|bytes| bytes == content(chunk));
        assert!(is_right, "chunk {chunk} is spoilt; {when}");
    }
}

#[test]
fn power_may_go_at_any_write() {
    let writes = run(None, 0);
    assert!(writes > 50, "only {writes} writes: what is tested here?");
    for at in 0..=writes {
        for seed in 0..2 {
            run(Some(at), u64::from(at) * 2 + seed);
        }
    }
}

/// A job whose outputs another takes, which loses its power after so many writes; returns how many it took with power to
/// the end.
fn take(writes: Option<u32>, seed: u64) -> u32 {
    let power = Arc::new(Mutex::new(Power { left: None, used: 0 }));
    let (db, outputs, ours) =
        (Image::new(&power, Vec::new()), Image::new(&power, Vec::new()), Image::new(&power, Vec::new()));
    let store = Database::builder().create_with_backend(db.clone()).map_err(Into::into).and_then(Store::of).unwrap();
    let key = Keypair::from_seed(&[1; 32]);
    let manifest = manifest(CHUNKS, Vec::new(), AuthorId(key.public()), 0);
    let kin = Kin::of(&manifest, "engine");
    store.put_job(job(), &Row::new(Signed::sign(manifest, &key)), Some(kin)).unwrap();
    drop(store);
    let (opened, file) = open(&db, &outputs);
    assert_eq!(collect(&Arc::new(opened.unwrap())).len(), CHUNKS as usize);
    file.write_all_at(&outputs.0.lock().unwrap().now, 0).unwrap();

    *power.lock().unwrap() = Power { left: writes, used: 0 };
    let later = JobId([4; 32]);
    let all = [true; CHUNKS as usize];
    let taken = Database::builder().create_with_backend(db.clone()).map_err(Into::into).and_then(Store::of);
    let taken = taken.and_then(|store| {
        let mut taking = Taking::new(&store, later, &ours, CHUNKS);
        taking.take_all(job(), &file, &all)?;
        taking.list()
    });
    let used = power.lock().unwrap().used;

    let mut rng = SmallRng::seed_from_u64(seed);
    let power = Arc::new(Mutex::new(Power { left: None, used: 0 }));
    let (db, ours) = (Image::new(&power, db.crashed(&mut rng)), Image::new(&power, ours.crashed(&mut rng)));
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.write_all_at(&ours.0.lock().unwrap().now, 0).unwrap();
    let store = Database::builder().create_with_backend(db).map_err(Into::into).and_then(Store::of).unwrap();
    let opened = Outputs::on(Box::new(ours), file, Arc::new(store), later, CHUNKS).unwrap();
    let found = opened.sealed();
    assert!(taken.is_err() || found.len() == u64::from(CHUNKS), "{writes:?} writes, seed {seed}");
    are_right(&opened, &found, &format!("{writes:?} writes, seed {seed}"));
    used
}

#[test]
fn power_may_go_while_outputs_of_a_past_job_are_taken() {
    let writes = take(None, 0);
    assert!(writes > 10, "only {writes} writes: what is tested here?");
    for at in 0..=writes {
        for seed in 0..2 {
            take(Some(at), u64::from(at) * 2 + seed);
        }
    }
}
