//! The shapes of the tree, over a swarm that is a loop: what it combines is strings, one behind the other.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{AuthorId, BlobRef, ChunkInput, Keypair, Limits, Manifest, NodeId, Page, Role, Signed, decode};
use tempfile::TempDir;

use super::*;
use crate::store::{Home, Inputs, Output, Row};

/// More than any group of these tests.
const ROOM: u64 = 1 << 20;

/// A swarm that runs what the tree asks for.
struct Swarm {
    dir: TempDir,
    home: Home,
    /// For each job the number of its first chunk, and for each chunk how many outputs it combined.
    jobs: Vec<(u32, Vec<usize>)>,
    /// What is sealed when nothing more is asked for, the last job first.
    late: Option<Vec<(Arc<Outputs>, u32)>>,
}

/// A job of this home.
fn job(home: &Home, mut draft: Draft, role: Role) -> (Arc<Manifest>, Arc<Inputs>, Arc<Outputs>) {
    let author = Keypair::from_seed(&[7; 32]);
    let chunks = draft.chunks() as u32;
    let manifest = Manifest {
        version: VERSION,
        name: "test".to_owned().try_into().unwrap(),
        program: BlobRef::of(b"program"),
        role,
        argv: Vec::new(),
        values: 0,
        env: Vec::new(),
        data: Vec::new(),
        chunks,
        first_chunk: 0,
        pages: draft.pages().unwrap(),
        limits: Limits::default(),
        strict: false,
        copies: 1,
        retries: 0,
        halt: essaim_jobs::Halt::Never,
        folds: true,
        keep_seconds: 0,
        author: AuthorId(author.public()),
        created_ms: 0,
        nonce: rand::random(),
    };
    let saved = draft.save(home, Row::new(Signed::sign(manifest, &author)), b"program", None).unwrap();
    let (row, inputs, outputs) = saved.open().unwrap();
    (Arc::new(row.manifest.body), Arc::new(inputs), Arc::new(outputs))
}

fn give(outputs: &Outputs, chunk: u32, bytes: Vec<u8>, failed: bool) {
    let (worker, bytes) = (NodeId([1; 32]), Blob::Memory(bytes.into()));
    let output = Output { slot: chunk, chunk, worker, bytes, failed, cpu_micros: 0, again: false, turn: None };
    outputs.take(&[output]).unwrap();
}

fn frames(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((len, rest)) = stream.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        frames.push(frame.to_vec());
        stream = rest;
    }
    assert!(stream.is_empty());
    frames
}

fn all(blob: &Blob) -> Vec<u8> {
    blob.read(0, blob.len() as usize).unwrap().to_vec()
}

impl Swarm {
    fn new() -> Swarm {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home")).unwrap();
        Swarm { dir, home, jobs: Vec::new(), late: None }
    }

    /// Does what is asked.
    fn answer(&mut self, what: Ask) {
        match what {
            Ask::Draft(reply) => reply.send(Draft::new(&self.home).unwrap()).unwrap(),
            Ask::Run(draft, first, reply) => {
                let (manifest, inputs, outputs) = job(&self.home, *draft, Role::Combine);
                let mut chunks = Vec::new();
                let pages = manifest.pages.iter().map(|page| all(&inputs.find(&page.id).unwrap()));
                for input in pages.flat_map(|page| decode::<Page>(&page, Page::MAX_BYTES).unwrap().0) {
                    let parts = frames(&match input {
                        ChunkInput::Inline(bytes) => bytes.to_vec(),
                        ChunkInput::Blob(name) => {
                            let blob = inputs.find(&name.id).unwrap();
                            assert!(blob.is(&name).unwrap());
                            all(&blob)
                        }
                    });
                    give(&outputs, chunks.len() as u32, parts.concat(), false);
                    chunks.push(parts.len());
                }
                match &mut self.late {
                    Some(late) => late.push((Arc::clone(&outputs), manifest.chunks)),
                    None => (0..manifest.chunks).for_each(|chunk| outputs.seal(chunk)),
                }
                self.jobs.push((first, chunks));
                // Who asked may have gone.
                let _ = reply.send(outputs);
            }
            Ask::Failed(fail) => panic!("{fail}"),
        }
    }

    /// What comes of `outputs`; none where some are lost.
    fn combine(
        &mut self,
        levels: u8,
        most_bytes: u64,
        worth: Option<Worth>,
        outputs: Vec<Result<Vec<u8>, Lost>>,
    ) -> Option<Vec<Vec<u8>>> {
        let (asks, mut asked) = mpsc::channel(1);
        let tree = Tree { levels, if_worth: false, most_bytes, home: self.dir.path().to_owned(), asks };
        let outputs = outputs.into_iter().map(|output| output.map(|bytes| Blob::Memory(Bytes::from(bytes))));
        let combined = tree.over_outputs(outputs, worth).unwrap();
        let reader = std::thread::spawn(move || {
            combined.outputs().map(|output| output.map(|blob| all(&blob))).collect::<Result<Vec<_>, _>>()
        });
        while let Some(what) = asked.blocking_recv() {
            self.answer(what);
        }
        for (outputs, chunks) in self.late.take().unwrap_or_default().iter().rev() {
            (0..*chunks).rev().for_each(|chunk| outputs.seal(chunk));
        }
        reader.join().unwrap().ok()
    }
}

/// So many outputs, each in brackets.
fn outputs(count: usize) -> Vec<Result<Vec<u8>, Lost>> {
    (0..count).map(|n| Ok(format!("[{n}]").into_bytes())).collect()
}

fn concat(outputs: &[Result<Vec<u8>, Lost>]) -> Vec<u8> {
    outputs.iter().flatten().flatten().copied().collect()
}

/// How many outputs each chunk has combined, by number.
fn groups(swarm: &Swarm) -> Vec<usize> {
    let mut next = 0;
    for (first, chunks) in &swarm.jobs {
        assert_eq!((*first, chunks.len() as u64 <= CHUNKS), (next, true), "numbers go on");
        next += chunks.len() as u32;
    }
    swarm.jobs.iter().flat_map(|(_, chunks)| chunks.clone()).collect()
}

#[test]
fn each_32_outputs_that_follow_one_another_become_one() {
    for (count, shape, left) in [
        (0, vec![], 0),
        (1, vec![], 1),
        (2, vec![2], 1),
        (31, vec![31], 1),
        (32, vec![32], 1),
        (33, vec![32], 2),
        (34, vec![32, 2], 2),
        (1025, vec![32; 32], 33),
    ] {
        let mut swarm = Swarm::new();
        let all = outputs(count);
        let expected = concat(&all);
        let combined = swarm.combine(1, ROOM, None, all).unwrap();
        assert_eq!(combined.concat(), expected, "{count}: in order, and all");
        assert_eq!((groups(&swarm), combined.len()), (shape, left), "{count}");
    }
}

#[test]
fn what_was_combined_is_combined_again_where_there_is_much() {
    assert_eq!(
        [Some(1), Some(1024), Some(32 * 1024), Some(32 * 1024 + 1), Some(1 << 20), None].map(levels),
        [1, 1, 1, 2, 2, 2]
    );
    let mut swarm = Swarm::new();
    let all = outputs(32 * 32 * 2 + 33);
    let expected = concat(&all);
    let combined = swarm.combine(2, ROOM, None, all).unwrap();
    assert_eq!(combined.concat(), expected);
    // Two of 1,024; what is left of the first level, and the one that was alone there.
    assert_eq!(combined.len(), 4);
    let all: Vec<usize> = swarm.jobs.iter().flat_map(|(_, chunks)| chunks.clone()).collect();
    assert_eq!((all.len(), all.iter().filter(|group| **group == 32).count()), (65 + 2, 65 + 2));
}

#[test]
fn order_is_that_of_the_outputs_whatever_is_ready_first() {
    let mut swarm = Swarm { late: Some(Vec::new()), ..Swarm::new() };
    let all = outputs(10 * GROUP + 5);
    let expected = concat(&all);
    assert_eq!(swarm.combine(1, ROOM, None, all).unwrap().concat(), expected);
    // The first goes at once; the others wait together while it runs.
    let jobs: Vec<usize> = swarm.jobs.iter().map(|(_, chunks)| chunks.len()).collect();
    assert_eq!(jobs, [1, 10]);
}

#[test]
fn a_chunk_takes_no_more_than_its_output_may_be() {
    // A frame has four bytes beside its output.
    let sizes = [10, 20, 96, 97, 200, 6, 6, 40, 40, 8, 99, 5, 5];
    let all: Vec<_> = sizes.iter().zip(b'a'..).map(|(size, byte)| Ok(vec![byte; *size])).collect();
    let expected = concat(&all);
    // Run at once; and where one runs, the others stand in one job with what passes between them.
    for late in [None, Some(Vec::new())] {
        let mut swarm = Swarm { late, ..Swarm::new() };
        let combined = swarm.combine(1, 100, None, all.clone()).unwrap();
        assert_eq!(combined.concat(), expected);
        assert_eq!(groups(&swarm), [2, 3, 2, 2]);
        assert_eq!(combined.iter().map(Vec::len).collect::<Vec<_>>(), [30, 96, 97, 200, 52, 48, 99, 10]);
    }
}

#[test]
fn long_inputs_stand_in_the_file_and_short_ones_in_the_table() {
    let mut swarm = Swarm::new();
    let all: Vec<_> = (0..200_u32).map(|n| Ok(vec![n as u8; if n < 64 { 1 } else { 3_000 + n as usize }])).collect();
    let expected = concat(&all);
    assert_eq!(swarm.combine(1, ROOM, None, all).unwrap().concat(), expected);
    assert_eq!(groups(&swarm), [32, 32, 32, 32, 32, 32, 8]);
}

#[test]
fn what_is_not_everything_does_not_look_like_it() {
    for count in [0, 1, 40, 100] {
        let mut all = outputs(count);
        all.push(Err(Lost));
        assert_eq!(Swarm::new().combine(1, ROOM, None, all.clone()), None, "{count}");
        assert_eq!(Swarm::new().combine(2, ROOM, None, all), None, "{count}");
    }
    // Nobody runs what it asks for.
    let (asks, asked) = mpsc::channel(1);
    let tree = Tree { levels: 1, if_worth: false, most_bytes: ROOM, home: PathBuf::new(), asks };
    drop(asked);
    let blobs = outputs(40).into_iter().map(|output| output.map(|bytes| Blob::Memory(bytes.into())));
    let combined: Vec<_> = tree.over_outputs(blobs, None).unwrap().outputs().collect();
    assert!(matches!(&combined[..], [Err(Lost)]));
}

#[test]
fn a_combine_job_that_does_not_end_well_loses_its_outputs() {
    let swarm = Swarm::new();
    for failed in [false, true] {
        let mut draft = Draft::new(&swarm.home).unwrap();
        draft.push_inline(b"a").unwrap();
        let (_, _, of) = job(&swarm.home, draft, Role::Combine);
        if failed {
            give(&of, 0, b"exit status 3".to_vec(), true);
            of.seal(0);
        }
        of.close();
        let (to, items) = threads::sync_channel(2);
        to.send(Item::Of(of, 0)).unwrap();
        to.send(Item::End).unwrap();
        let combined: Vec<_> = Combined { items, rank: 1, is_over: false }.outputs().collect();
        assert!(matches!(&combined[..], [Err(Lost)]), "{failed}");
    }
}

#[test]
fn outputs_are_combined_only_where_that_is_worth_while() {
    let look = |chunks: u64, outputs: usize, bytes: u64| {
        let mut worth = Worth { known: Arc::new(AtomicU64::new(chunks)), outputs: 0, bytes: 0, is_so: false };
        let file = Arc::new(tempfile::tempfile().unwrap());
        let output = Blob::File { file, offset: 0, len: bytes };
        (0..outputs).position(|_| worth.look(&output))
    };
    assert_eq!(look(63, 63, 64 << 20), None, "few chunks");
    assert_eq!(look(64, 64, (4 << 20) - 1), None, "small outputs");
    assert_eq!(look(64, 64, 4 << 20), Some(31), "the first ones say so");
    assert_eq!(look(64, 64, 100 << 20), Some(2), "these are enough by themselves");
    assert_eq!(look(1 << 20, 1_000, 256), Some(31));

    let mut swarm = Swarm::new();
    let all = outputs(100);
    let expected = concat(&all);
    let worth = Worth { known: Arc::new(AtomicU64::new(WORTH_BYTES)), outputs: 0, bytes: 0, is_so: false };
    let combined = swarm.combine(2, ROOM, Some(worth), all).unwrap();
    assert_eq!((combined.concat(), combined.len()), (expected, 31 + 1), "those that came before go on as they are");
    let mut groups: Vec<usize> = swarm.jobs.into_iter().flat_map(|(_, chunks)| chunks).collect();
    groups.sort_unstable();
    assert_eq!(groups, [3, 5, 32, 32], "the three of the first level, at the second");
}

#[test]
fn outputs_come_in_order_without_those_that_were_given_up() {
    let swarm = Swarm::new();
    let leg = |count: u32, missing: u32| {
        let mut draft = Draft::new(&swarm.home).unwrap();
        (0..count).for_each(|_| draft.push_inline(b"x").unwrap());
        let (manifest, inputs, outputs) = job(&swarm.home, draft, Role::Map);
        for chunk in (0..count).rev().filter(|chunk| *chunk != missing) {
            give(&outputs, chunk, vec![chunk as u8], chunk % 7 == 3);
            outputs.seal(chunk);
        }
        outputs.close();
        Leg { manifest, inputs, outputs }
    };
    let read = |legs: Vec<Leg>| Ordered::new(legs.into_iter()).map(|blob| blob.map(|blob| all(&blob)[0])).collect();
    let good = |count: u8| (0..count).filter(|chunk| chunk % 7 != 3);
    let whole: Result<Vec<u8>, Lost> = read(vec![leg(40, 99), leg(10, 99)]);
    assert_eq!(whole, Ok(good(40).chain(good(10)).collect()));
    let broken: Result<Vec<u8>, Lost> = read(vec![leg(40, 39), leg(10, 99)]);
    assert_eq!(broken, Err(Lost));
}

#[test]
fn a_combine_job_is_not_found_again_after_a_crash() {
    let Swarm { dir, home, .. } = Swarm::new();
    for role in [Role::Combine, Role::Map] {
        let mut draft = Draft::new(&home).unwrap();
        draft.push_inline(b"a").unwrap();
        job(&home, draft, role);
    }
    drop(home);
    let home = Home::open(&dir.path().join("home")).unwrap();
    let left = crate::store::Saved::all(&home).unwrap();
    assert_eq!(left.iter().map(|saved| saved.row().manifest.body.role).collect::<Vec<_>>(), [Role::Map]);
    assert_eq!(std::fs::read_dir(dir.path().join("home/jobs")).unwrap().count(), 1);
}
