//! The wire forms: what is encoded comes back, and no bytes whatever make decoding panic or take more memory
//! than its bound allows.
#![allow(unsafe_code, reason = "a counting allocator is what measures the bound")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;

use bytes::Bytes;
use essaim_jobs::bounds::{self, Text};
use essaim_jobs::manifest::VERSION;
use essaim_jobs::wire::decode_canonical;
use essaim_jobs::{
    AuthorId, BlobId, BlobRef, ChunkInput, FailureNote, Halt, IntervalSet, JobId, Keypair, Leaf, Limits, Manifest,
    ManifestError, Mount, Page, Receipt, Results, Role, Rows, Signed, WireError, decode, encode,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards to the system allocator and counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get() + layout.size();
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peak bytes that this thread allocates while `work` runs.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LIVE.set(0);
    PEAK.set(0);
    let out = work();
    (out, PEAK.get())
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=most).prop_map(Bytes::from)
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (any::<[u8; 32]>(), 0..=bounds::BLOB_BYTES).prop_map(|(id, len)| BlobRef { id: BlobId(id), len })
}

fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
    "[ -~é漢]{0,20}".prop_map(|text| Text::try_from(text).unwrap())
}

fn input() -> impl Strategy<Value = ChunkInput> {
    prop_oneof![bytes(bounds::INLINE_INPUT).prop_map(ChunkInput::Inline), blob().prop_map(ChunkInput::Blob)]
}

fn leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        bytes(bounds::INLINE_OUTPUT).prop_map(Leaf::Inline),
        blob().prop_map(Leaf::Blob),
        (any::<bool>(), "[ -~]{0,60}")
            .prop_map(|(deterministic, message)| Leaf::Failed(FailureNote { deterministic, message })),
    ]
}

fn key() -> Keypair {
    Keypair::from_seed(&[7; 32])
}

prop_compose! {
    fn manifest()(
        name in text(), program in blob(), argv in prop::collection::vec(text(), 0..4),
        env in prop::collection::vec((text(), text()), 0..3), data in prop::collection::vec(blob(), 0..3),
        chunks in 1_u32..10_000, page in blob(), copies in 1..=bounds::COPIES, millis in 1_u64..100_000, fuel: Option<u64>, strict: bool, nonce: u64,
        retries in 0..u32::MAX / 2, folds: bool, keep_seconds in 0..bounds::KEEP_SECONDS,
    ) -> Manifest {
        Manifest {
            version: VERSION, name, program, role: if strict { Role::Combine } else { Role::Map }, argv, values: copies - 1, env,
            data: (0_u8..).zip(data).map(|(number, blob)| Mount { name: format!("data/{number}").try_into().unwrap(), blob }).collect(),
            chunks, first_chunk: retries, pages: vec![page; (chunks as usize).div_ceil(bounds::PAGE_CHUNKS)],
            limits: Limits { millis, fuel, ..Limits::default() }, strict, copies, retries, halt: [Halt::Now(retries), Halt::Soon(retries), Halt::Never][retries as usize % 3], folds, keep_seconds,
            author: AuthorId(key().public()), created_ms: nonce / 2, nonce,
        }
    }
}

prop_compose! {
    fn results()(leaves in prop::collection::vec(leaf(), 0..20), gap in 1_u32..5, job: [u8; 32], cpu_micros: u64) -> Results {
        let slots = (0..leaves.len() as u32).map(|i| i * gap).collect();
        let receipt = Receipt { job: JobId(job), slots, root: Receipt::root(&leaves), engine: "e".into(), cpu_micros };
        Results { receipt: Signed::sign(receipt, &key()), leaves }
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = encode(value);
    assert_eq!(&decode_canonical::<T>(&bytes, bytes.len()).unwrap(), value);
    assert_eq!(
        decode::<T>(&bytes, bytes.len() - 1).unwrap_err(),
        WireError::TooLarge { len: bytes.len(), most: bytes.len() - 1 }
    );
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decode::<T>(&longer, longer.len()).unwrap_err(), WireError::Trailing(1));
}

/// Decoding needs at most this many bytes beside a small constant for each byte that came.
fn bounded<T: DeserializeOwned>(bytes: &[u8], most: usize) {
    let (_, peak) = peak(|| decode::<T>(bytes, most).is_ok());
    // An element costs a byte at least on the wire and `size_of` in memory; 160 covers the largest, doubled by growth.
    assert!(peak <= 16_384 + bytes.len() * 320, "{} bytes made {peak} bytes of memory", bytes.len());
}

proptest! {
    #[test]
    fn manifests_come_back_and_check(manifest in manifest()) {
        round_trip(&manifest);
        let signed = Signed::sign(manifest.clone(), &key());
        round_trip(&signed);
        prop_assert_eq!(signed.check(), Ok(()));
        let mut other = signed;
        other.body.nonce ^= 1;
        prop_assert_eq!(other.check(), Err(ManifestError::NotTheAuthor));
        prop_assert_ne!(other.body.id(), manifest.id());
    }

    #[test]
    fn pages_come_back(inputs in prop::collection::vec(input(), 0..50)) {
        let pages = Page::paginate(inputs.clone());
        pages.iter().for_each(round_trip);
        let back: Vec<_> = pages.into_iter().flat_map(|page| page.0).collect();
        prop_assert_eq!(back, inputs);
    }

    #[test]
    fn results_come_back_and_any_change_is_noticed(results in results(), at: prop::sample::Index) {
        round_trip(&results);
        prop_assert_eq!(results.verify(), Ok(()));
        let mut wrong = results.clone();
        wrong.receipt.body.cpu_micros ^= 1;
        prop_assert!(wrong.verify().is_err());
        if !results.leaves.is_empty() {
            let mut wrong = results;
            let at = at.index(wrong.leaves.len());
            wrong.leaves[at] = Leaf::Inline(Bytes::from_static(b"a lie that no case draws"));
            prop_assert!(wrong.verify().is_err());
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic_or_hoard(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        bounded::<Signed<Manifest>>(&bytes, bounds::MANIFEST_BYTES);
        bounded::<Page>(&bytes, Page::MAX_BYTES);
        bounded::<Results>(&bytes, 1 << 20);
        bounded::<IntervalSet>(&bytes, 1 << 20);
    }

    #[test]
    fn nor_does_a_damaged_real_message(results in results(), manifest in manifest(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&results);
        let i = at.index(bytes.len());
        bytes[i] = byte;
        bounded::<Results>(&bytes, 1 << 20);
        let mut bytes = encode(&Signed::sign(manifest, &key()));
        let i = at.index(bytes.len());
        bytes[i] = byte;
        bounded::<Signed<Manifest>>(&bytes, bounds::MANIFEST_BYTES);
    }

    #[test]
    fn every_chunk_has_one_slot_in_each_row(chunks in 1_u32..300, copies in 1..=bounds::COPIES) {
        let rows = Rows { chunks, copies };
        let mut slots: Vec<u32> = Vec::new();
        for chunk in 0..chunks {
            for slot in rows.slots_of(chunk) {
                prop_assert_eq!(rows.chunk(slot), chunk);
                slots.push(slot);
            }
        }
        slots.sort_unstable();
        prop_assert_eq!(slots, (0..rows.slots()).collect::<Vec<_>>());
    }
}

#[test]
fn a_length_that_is_only_claimed_allocates_nothing() {
    // A page that announces 4,096 chunks, and then nothing; and one that announces 2^32 of them.
    for claim in [vec![0x80, 0x20], vec![0xff, 0xff, 0xff, 0xff, 0x0f]] {
        let (ok, peak) = peak(|| decode::<Page>(&claim, 64).is_ok());
        assert!(!ok && peak < 16_384, "{peak} bytes for {claim:?}");
    }
}

#[test]
fn a_signature_is_of_one_kind_only() {
    #[derive(Serialize, Clone)]
    struct Twin(Receipt);
    impl essaim_jobs::Signable for Twin {
        const DOMAIN: &'static str = "essaim test twin of a receipt";
    }
    let receipt =
        Receipt { job: JobId([1; 32]), slots: IntervalSet::new(), root: [0; 32], engine: "e".into(), cpu_micros: 0 };
    let twin = Signed::sign(Twin(receipt.clone()), &key());
    assert_eq!(encode(&twin.body), encode(&receipt), "the same bytes are signed");
    let bytes = encode(&twin);
    let forged: Signed<Receipt> = decode(&bytes, bytes.len()).unwrap();
    assert!(twin.verify().is_ok());
    assert!(forged.verify().is_err());
}

#[test]
fn lists_and_texts_beyond_their_bounds_are_refused() {
    let page = Page(vec![ChunkInput::Inline(Bytes::new()); bounds::PAGE_CHUNKS + 1]);
    assert!(decode::<Page>(&encode(&page), usize::MAX).is_err());
    let long = Page(vec![ChunkInput::Inline(Bytes::from(vec![0; bounds::INLINE_INPUT + 1]))]);
    assert!(decode::<Page>(&encode(&long), usize::MAX).is_err());
    assert!(Text::<3>::try_from("four".to_owned()).is_err());
    assert!(decode::<Text<3>>(&encode(&"four"), 64).is_err());
    let leaf = Leaf::Inline(Bytes::from(vec![0; bounds::INLINE_OUTPUT + 1]));
    assert!(decode::<Leaf>(&encode(&leaf), usize::MAX).is_err());
}

#[test]
fn a_manifest_out_of_bounds_says_which_field() {
    let good = Manifest {
        version: VERSION,
        name: Text::try_from("n".to_owned()).unwrap(),
        program: BlobRef { id: BlobId([0; 32]), len: 1 },
        role: Role::Map,
        argv: vec![],
        values: 0,
        env: vec![],
        data: vec![],
        chunks: 1,
        first_chunk: 0,
        pages: vec![BlobRef { id: BlobId([0; 32]), len: 1 }],
        limits: Limits::default(),
        strict: false,
        copies: 1,
        retries: 0,
        halt: Halt::default(),
        folds: false,
        keep_seconds: 0,
        author: AuthorId(key().public()),
        created_ms: 0,
        nonce: 0,
    };
    assert_eq!(good.check(), Ok(()));
    type Spoil = fn(&mut Manifest);
    let cases: [(&str, Spoil); 10] = [
        ("number of chunks", |m| m.chunks = 0),
        ("first chunk's number", |m| m.first_chunk = u32::MAX),
        ("number of pages", |m| m.chunks = 5_000),
        ("role", |m| m.role = Role::Reduce),
        ("copies", |m| m.copies = 0),
        ("copies", |m| m.copies = bounds::COPIES + 1),
        ("blob length", |m| m.program.len = bounds::BLOB_BYTES + 1),
        ("data names", |m| {
            m.data = vec![Mount { name: Text::try_from("../up".to_owned()).unwrap(), blob: m.program }];
        }),
        ("memory limit", |m| m.limits.memory_bytes = (4 << 30) + 1),
        ("time limit", |m| m.limits.millis = 0),
    ];
    for (field, spoil) in cases {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(bad.check(), Err(ManifestError::OutOfBounds(field)));
    }
}
