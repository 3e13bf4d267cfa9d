//! What later jobs take from earlier ones: all that is the same, nothing that is not, and nothing that is spoilt.

use std::path::PathBuf;

use essaim_jobs::Halt;
use essaim_jobs::manifest::Mount;

use super::*;
use crate::blob::Blob;
use crate::store::past;
use crate::store::{Kin, Sealed};

const ENGINE: &str = "engine-1/arch/1";
const CHUNKS: u32 = 9_000;

struct Place {
    dir: tempfile::TempDir,
    home: Home,
    nonce: std::cell::Cell<u64>,
}

/// What one job of these tests gives: some short, some empty, one longer than what is read at once.
fn content(chunk: u32) -> Vec<u8> {
    let len = if chunk == 13 { (2 << 20) + 1 } else { (chunk as usize * 97) % 300 };
    (0..len).map(|at| (at as u32 + chunk * 31) as u8).collect()
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        Place { dir, home, nonce: 0.into() }
    }

    fn again(self) -> Place {
        let Place { dir, home, nonce } = self;
        drop(home);
        let home = Home::open(&dir.path().join("home")).unwrap();
        Place { dir, home, nonce }
    }

    /// A manifest of these inputs, changed by `change`, and its draft.
    fn submit(&self, chunks: u32, input: impl Fn(u32) -> u32, change: impl FnOnce(&mut Manifest)) -> Saved {
        let mut draft = Draft::new(&self.home).unwrap();
        (0..chunks).for_each(|chunk| draft.push_inline(&input(chunk).to_be_bytes()).unwrap());
        let author = self.home.keypair("author").unwrap();
        self.nonce.set(self.nonce.get() + 1);
        let mut manifest = manifest(chunks, draft.pages().unwrap(), AuthorId(author.public()), self.nonce.get());
        change(&mut manifest);
        manifest.check().unwrap();
        let kin = Kin::of(&manifest, ENGINE);
        draft.save(&self.home, Row::new(Signed::sign(manifest, &author)), b"program", Some(kin)).unwrap()
    }

    fn plain(&self) -> Saved {
        self.submit(CHUNKS, |chunk| chunk, |_| {})
    }

    /// Runs those chunks, and forgets the job.
    fn run(&self, job: Saved, chunks: impl Iterator<Item = u32>) {
        let id = job.id();
        let outputs = Arc::new(job.outputs().unwrap());
        keep_all(&outputs, chunks, |_| true);
        Saved::remove(&self.home, id).unwrap();
    }

    /// How many chunks it takes from others; looks whether these have what they should have.
    fn reuses(&self, job: &Saved) -> u32 {
        let reused = job.reuse().unwrap();
        let outputs = job.outputs().unwrap();
        assert_eq!(outputs.sealed().len(), u64::from(reused));
        assert!(outputs.by().is_empty(), "nobody ran them for this job");
        for chunk in outputs.sealed().iter() {
            let Sealed { bytes: blob, worker, .. } = outputs.get(chunk).unwrap();
            assert!(blob.read(0, blob.len() as usize).unwrap() == content(chunk), "chunk {chunk} is another's");
            assert_eq!(worker, NodeId([chunk as u8 % 5; 32]));
        }
        reused
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let Ok(all) = std::fs::read_dir(self.dir.path().join("home/past")) else { return Vec::new() };
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }
}

pub(super) fn manifest(chunks: u32, pages: Vec<BlobRef>, author: AuthorId, nonce: u64) -> Manifest {
    Manifest {
        version: VERSION,
        name: "test".to_owned().try_into().unwrap(),
        program: BlobRef::of(b"program"),
        role: Role::Map,
        argv: Vec::new(),
        values: 0,
        env: Vec::new(),
        data: Vec::new(),
        chunks,
        first_chunk: 0,
        pages,
        limits: Limits::default(),
        strict: false,
        copies: 1,
        retries: 3,
        halt: Halt::default(),
        folds: false,
        keep_seconds: 0,
        author,
        created_ms: 0,
        nonce,
    }
}

fn keep_all(outputs: &Arc<Outputs>, chunks: impl Iterator<Item = u32>, again: impl Fn(u32) -> bool) {
    let (keeper, told) = keeping(outputs);
    let chunks: Vec<u32> = chunks.collect();
    // Several batches, in no order.
    for part in chunks.chunks(1_000).rev() {
        for chunk in part {
            let worker = NodeId([*chunk as u8 % 5; 32]);
            let bytes = Blob::Memory(content(*chunk).into());
            outputs.put(Output {
                slot: *chunk,
                chunk: *chunk,
                worker,
                bytes,
                failed: false,
                cpu_micros: 0,
                again: again(*chunk),
                turn: None,
            });
        }
        let mut left = part.len();
        while left > 0 {
            let (names, outcome) = told.recv().unwrap();
            outcome.unwrap();
            left -= names.len();
        }
    }
    outputs.close();
    keeper.join().unwrap();
}

#[test]
fn the_same_job_again_takes_all_and_leaves_nothing_twice() {
    let place = Place::new();
    place.run(place.plain(), 0..CHUNKS);
    assert_eq!(place.files(".outputs").len(), 1);
    assert!(std::fs::read_dir(place.home.jobs_dir()).unwrap().next().is_none());
    let place = place.again();
    for _ in 0..2 {
        let again = place.plain();
        assert_eq!(place.reuses(&again), CHUNKS);
        Saved::remove(&place.home, again.id()).unwrap();
    }
    assert_eq!(place.files(".outputs").len(), 1);
    assert_eq!(place.home.store().past().unwrap().len(), 1);
}

#[test]
fn only_chunks_of_the_same_number_and_input_are_taken() {
    let place = Place::new();
    place.run(place.plain(), 0..CHUNKS);
    let one_differs = place.submit(CHUNKS, |chunk| if chunk == 5_000 { 77 } else { chunk }, |_| {});
    assert_eq!(place.reuses(&one_differs), CHUNKS - 1);
    assert!(!one_differs.outputs().unwrap().sealed().contains(5_000));
    assert_eq!(place.reuses(&place.submit(CHUNKS, |chunk| chunk + 1, |_| {})), 0, "a chunk sees its number");
    assert_eq!(place.reuses(&place.submit(100, |chunk| chunk, |_| {})), 100);
    assert_eq!(place.reuses(&place.submit(CHUNKS + 100, |chunk| chunk, |_| {})), CHUNKS);
}

#[test]
fn a_job_that_differs_in_what_its_chunks_see_takes_nothing() {
    let place = Place::new();
    place.run(place.submit(10, |chunk| chunk, |_| {}), 0..10);
    let takes = |change: &dyn Fn(&mut Manifest)| place.reuses(&place.submit(10, |chunk| chunk, change));
    let text = |text: &str| text.to_owned().try_into().unwrap();
    let data =
        |name: &str, bytes: &[u8]| vec![Mount { name: name.to_owned().try_into().unwrap(), blob: BlobRef::of(bytes) }];
    assert_eq!(takes(&|manifest| manifest.program = BlobRef::of(b"another")), 0);
    assert_eq!(takes(&|manifest| manifest.argv = vec![text("-v")]), 0);
    assert_eq!(takes(&|manifest| manifest.env = vec![(text("A"), text("b"))]), 0);
    assert_eq!(takes(&|manifest| manifest.data = data("a", b"x")), 0);
    assert_eq!(takes(&|manifest| manifest.role = Role::Combine), 0);
    assert_eq!(takes(&|manifest| manifest.first_chunk = 1), 0);
    assert_eq!(takes(&|manifest| manifest.strict = true), 0);
    assert_eq!(takes(&|manifest| manifest.limits.memory_bytes -= 1), 0);
    assert_eq!(takes(&|manifest| manifest.limits.output_bytes -= 1), 0);
    assert_eq!(takes(&|manifest| manifest.limits.fuel = Some(1)), 0);
    assert_eq!(takes(&|manifest| manifest.copies = 2), 0, "only one has said it");
    // What a chunk does not see.
    assert_eq!(takes(&|manifest| manifest.limits.millis += 1), 10);
    assert_eq!(takes(&|manifest| manifest.retries += 1), 10);
    assert_eq!(takes(&|manifest| manifest.halt = Halt::Never), 10);
    assert_eq!(takes(&|manifest| manifest.folds = true), 10);
    assert_eq!(takes(&|manifest| manifest.created_ms += 1), 10);
    assert_eq!(takes(&|manifest| manifest.name = "another".to_owned().try_into().unwrap()), 10);

    let kin = |manifest: &Manifest, engine| Kin::of(manifest, engine);
    let plain = manifest(1, Vec::new(), AuthorId([0; 32]), 0);
    assert_ne!(kin(&plain, ENGINE), kin(&plain, "engine-2/arch/1"));
    // Nothing that is said in one field can be mistaken for another.
    let (mut one, mut two) = (plain.clone(), plain.clone());
    (one.argv, two.argv) = (vec![text("ab")], vec![text("a"), text("b")]);
    assert_ne!(kin(&one, ENGINE), kin(&two, ENGINE));
    (one.data, two.data) = (data("a", b"x"), data("b", b"x"));
    assert_ne!(kin(&Manifest { argv: Vec::new(), ..one }, ENGINE), kin(&Manifest { argv: Vec::new(), ..two }, ENGINE));
}

#[test]
fn what_failed_is_nothing_for_later_jobs() {
    let place = Place::new();
    let job = place.submit(10, |chunk| chunk, |_| {});
    let outputs = Arc::new(job.outputs().unwrap());
    let (keeper, told) = keeping(&outputs);
    let of = |chunk: u32| Output {
        failed: chunk == 4,
        bytes: Blob::Memory(content(chunk).into()),
        ..output(chunk, chunk as u8 % 5, b"")
    };
    for chunk in 0..10 {
        outputs.put(of(chunk));
        told.recv().unwrap().1.unwrap();
    }
    outputs.close();
    keeper.join().unwrap();
    Saved::remove(&place.home, job.id()).unwrap();
    let next = place.submit(10, |chunk| chunk, |_| {});
    assert_eq!(place.reuses(&next), 9);
    assert!(!next.outputs().unwrap().sealed().contains(4));
}

#[test]
fn more_voices_serve_a_job_that_asks_for_fewer() {
    let place = Place::new();
    let of = |copies| place.submit(10, |chunk| chunk, move |manifest| manifest.copies = copies);
    place.run(of(1), 0..10);
    assert_eq!(place.reuses(&of(2)), 0);
    place.run(of(3), 0..10);
    assert_eq!(place.home.store().past().unwrap().len(), 1, "what one said is outdone by what three say");
    assert_eq!((place.reuses(&of(1)), place.reuses(&of(3)), place.reuses(&of(4))), (10, 10, 0));
}

#[test]
fn a_job_that_did_not_come_to_its_end_gives_what_it_has_and_several_are_put_together() {
    let place = Place::new();
    place.run(place.plain(), (0..CHUNKS).step_by(3));
    let next = place.plain();
    assert_eq!(place.reuses(&next), 3_000);
    place.run(next, (0..CHUNKS).filter(|chunk| chunk % 3 == 1));
    let last = place.plain();
    assert_eq!(place.reuses(&last), 6_000);
    let outputs = last.outputs().unwrap().sealed();
    assert!((0..CHUNKS).all(|chunk| outputs.contains(chunk) == (chunk % 3 < 2)));
}

#[test]
fn what_is_not_for_later_is_not_taken() {
    let place = Place::new();
    let job = place.submit(20, |chunk| chunk, |_| {});
    keep_all(&Arc::new(job.outputs().unwrap()), 0..20, |chunk| chunk % 4 != 0);
    Saved::remove(&place.home, job.id()).unwrap();
    let again = place.submit(20, |chunk| chunk, |_| {});
    assert_eq!(place.reuses(&again), 15);
    assert!(again.outputs().unwrap().sealed().iter().all(|chunk| chunk % 4 != 0));

    // Nor anything of a job without kin.
    let (job, _) = saved(&place.home, place.dir.path());
    let id = job.id();
    keep_all(&Arc::new(job.outputs().unwrap()), 0..20, |_| true);
    let before = place.files("").len();
    Saved::remove(&place.home, id).unwrap();
    assert_eq!(place.files("").len(), before);
}

#[test]
fn what_is_spoilt_or_gone_is_run_again() {
    for spoil in 0..4 {
        let place = Place::new();
        place.run(place.plain(), 0..CHUNKS);
        let (outputs, pages) = (place.files(".outputs").remove(0), place.files(".pages").remove(0));
        let mut bytes = std::fs::read(&outputs).unwrap();
        match spoil {
            0 => {
                // One bit: the batch that it stands in is not believed, the others are.
                bytes[4_000] ^= 1;
                std::fs::write(&outputs, bytes).unwrap();
                let reused = place.reuses(&place.plain());
                assert!((1..CHUNKS).contains(&reused), "{reused} of {CHUNKS}");
            }
            1 => {
                std::fs::write(&outputs, &bytes[..bytes.len() / 2]).unwrap();
                let reused = place.reuses(&place.plain());
                assert!((1..CHUNKS).contains(&reused), "{reused} of {CHUNKS}");
            }
            2 => {
                std::fs::remove_file(&outputs).unwrap();
                assert_eq!(place.reuses(&place.plain()), 0);
            }
            _ => {
                let mut bytes = std::fs::read(&pages).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&pages, bytes).unwrap();
                let one_differs = place.submit(CHUNKS, |chunk| if chunk == 8_999 { 77 } else { chunk }, |_| {});
                assert_eq!(place.reuses(&one_differs), 0);
            }
        }
    }
}

#[test]
fn what_was_of_no_use_for_longest_makes_room() {
    let place = Place::new();
    let of = |number: u32| place.submit(10, move |chunk| number * 100 + chunk, |_| {});
    (0..4).for_each(|number| place.run(of(number), 0..10));
    let past = || place.home.store().past().unwrap();
    let each = past()[0].1.bytes;
    assert!(past().iter().all(|(_, past)| past.bytes == each));
    // The first is of use once more.
    assert_eq!(place.reuses(&of(0)), 10);
    let shrink = |most, jobs| past::shrink(place.home.store(), place.home.dir(), most, jobs).unwrap();
    let here = || (0..4).map(|number| place.reuses(&of(number)) == 10).collect::<Vec<_>>();
    shrink(u64::MAX, 3);
    assert_eq!(place.files("").len(), 6, "two files each");
    shrink(2 * each, 3);
    assert_eq!(here(), [true, false, false, true]);
    assert_eq!(place.files("").len(), 4);
    let jobs: Vec<_> = past().iter().map(|(job, _)| *job).collect();
    shrink(each - 1, 3);
    assert!(past().is_empty() && place.files("").is_empty());
    for job in jobs {
        let store = place.home.store();
        store.outputs(job, |batch, _| panic!("rows of what is gone: {batch:?}")).unwrap();
        assert_eq!(store.kin(job).unwrap(), None);
    }
}

#[test]
fn what_a_crash_leaves_behind_goes_when_the_home_is_opened() {
    let place = Place::new();
    place.run(place.plain(), 0..CHUNKS);
    let stray = place.dir.path().join("home/past/stray.outputs");
    std::fs::write(&stray, b"linked, and not in the database").unwrap();
    let place = place.again();
    assert!(!stray.exists());
    assert_eq!(place.reuses(&place.plain()), CHUNKS);
}

#[test]
fn a_full_disk_has_room_by_what_is_past() {
    let place = Place::new();
    place.run(place.plain(), 0..CHUNKS);
    assert!(past::forget_all(place.home.store(), place.home.dir()).unwrap());
    assert!(!past::forget_all(place.home.store(), place.home.dir()).unwrap());
    assert!(place.files("").is_empty());
    assert_eq!(place.reuses(&place.plain()), 0);
}

#[test]
fn outputs_of_a_job_whose_data_changed_meanwhile_are_not_kept() {
    let place = Place::new();
    let path = place.dir.path().join("data");
    for (written, kept) in [("before", true), ("after", false), ("other", false)] {
        std::fs::write(&path, "before").unwrap();
        let mut draft = Draft::new(&place.home).unwrap();
        draft.push_inline(written.as_bytes()).unwrap();
        let blob = BlobRef::of(b"before");
        let file = draft.file(&path, Arc::new(File::open(&path).unwrap())).unwrap();
        draft.data(blob, file);
        let author = place.home.keypair("author").unwrap();
        let mut manifest = manifest(1, draft.pages().unwrap(), AuthorId(author.public()), 0);
        manifest.data = vec![Mount { name: "data".to_owned().try_into().unwrap(), blob }];
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        manifest.created_ms = since.as_millis() as u64 + 60_000;
        let kin = Kin::of(&manifest, ENGINE);
        let row = Row::new(Signed::sign(manifest, &author));
        let job = draft.save(&place.home, row, b"program", Some(kin)).unwrap();
        let (id, before) = (job.id(), place.files(".outputs").len());
        keep_all(&Arc::new(job.outputs().unwrap()), 0..1, |_| true);
        match written {
            "before" => {}
            "after" => std::fs::write(&path, "after!").unwrap(),
            // It is what it was by now; what it was meanwhile nobody knows.
            _ => {
                let later = std::time::SystemTime::now() + std::time::Duration::from_secs(120);
                File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
            }
        }
        Saved::remove(&place.home, id).unwrap();
        assert_eq!(place.files(".outputs").len() > before, kept, "{written}");
    }
}
