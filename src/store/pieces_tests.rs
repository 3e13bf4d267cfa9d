//! Pieces on disk: verified as they come, and again when the files are opened.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Write;

use coordinator_free::pieces::PIECE_BYTES;

use super::*;
use crate::blob::encoded_most;
use crate::store::Whole;

fn bytes(len: u64) -> Bytes {
    (1..=len).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect::<Vec<_>>().into()
}

fn whole(bytes: &Bytes) -> (BlobRef, Whole) {
    let name = BlobRef::of(bytes);
    (name, Whole::new(name, Blob::Memory(bytes.clone())).unwrap())
}

#[test]
fn every_piece_goes_from_a_whole_blob_to_a_partial_one_and_on_to_a_third() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 1, 1_024, 16 << 10, (16 << 10) + 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES - 7] {
        let bytes = bytes(len);
        let (name, whole) = whole(&bytes);
        let [second, third] = ["second", "third"].map(|sub| {
            let dir = dir.path().join(sub);
            std::fs::create_dir_all(&dir).unwrap();
            Partial::open(&dir, name).unwrap()
        });
        let layout = Layout::of(len).unwrap();
        // Backwards: no piece needs another.
        for piece in (0..layout.pieces()).rev() {
            assert!(!second.has(piece) && second.encode(piece).is_err() && second.blob().is_none());
            let encoded = whole.encode(piece).unwrap();
            assert!(encoded.len() <= encoded_most(&layout));
            second.write(piece, &encoded).unwrap();
            third.write(piece, &second.encode(piece).unwrap()).unwrap();
        }
        let blob = third.blob().unwrap();
        assert!(blob.read(0, len as usize).unwrap() == bytes, "{len}");
    }
}

#[test]
fn no_wrong_byte_is_kept_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = bytes(3 * PIECE_BYTES);
    let (name, whole) = whole(&bytes);
    let partial = Partial::open(dir.path(), name).unwrap();
    let right = whole.encode(1).unwrap();
    for at in (0..right.len()).step_by(997).chain([right.len() - 1]) {
        let mut wrong = right.to_vec();
        wrong[at] ^= 1;
        assert!(matches!(partial.write(1, &wrong), Err(PieceError::Wrong(1))), "{at}");
    }
    let longer = [&right[..], &[0]].concat();
    let other = whole.encode(2).unwrap();
    for wrong in [&right[..right.len() - 1], &longer, &other, &[]] {
        assert!(matches!(partial.write(1, wrong), Err(PieceError::Wrong(1))));
    }
    assert!(matches!(partial.write(3, &right), Err(PieceError::Wrong(3))));
    assert!(matches!(partial.write(u32::MAX, &right), Err(PieceError::Wrong(_))));
    assert!(partial.have().is_empty());
    let written = std::fs::read(&partial.paths[0]).unwrap();
    assert!(written.iter().all(|byte| *byte == 0), "something of it was kept");
    partial.write(1, &right).unwrap();
    assert_eq!(partial.have(), IntervalSet::from(1..2));
}

#[test]
fn opened_again_it_claims_what_is_on_disk_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = bytes(8 * PIECE_BYTES + 5);
    let (name, whole) = whole(&bytes);
    let partial = Partial::open(dir.path(), name).unwrap();
    for piece in [0, 3, 4, 7, 8] {
        partial.write(piece, &whole.encode(piece).unwrap()).unwrap();
    }
    drop(partial);
    let partial = Partial::open(dir.path(), name).unwrap();
    assert_eq!(partial.have(), [0, 3, 4, 7, 8].into_iter().collect());
    // What a crash can do: bytes that never reached the disk, hashes that did not, a file cut short.
    partial.data.write_all_at(&[0; 4_096], 3 * PIECE_BYTES + 100_000).unwrap();
    let hashes = std::fs::read(&partial.paths[1]).unwrap();
    drop(partial);
    let path = dir.path().join(format!("{}-{}.part", name.id, name.len));
    let partial = Partial::open(dir.path(), name).unwrap();
    assert_eq!(partial.have(), [0, 4, 7, 8].into_iter().collect());
    drop(partial);
    File::options().write(true).open(&path).unwrap().set_len(4 * PIECE_BYTES).unwrap();
    let partial = Partial::open(dir.path(), name).unwrap();
    assert_eq!(partial.have(), IntervalSet::from(0..1));
    // And it can be brought to its end from there.
    for piece in 0..9 {
        partial.write(piece, &whole.encode(piece).unwrap()).unwrap();
    }
    assert!(partial.blob().unwrap().read(0, bytes.len()).unwrap() == bytes);
    std::fs::write(&partial.paths[1], vec![0; hashes.len()]).unwrap();
    let partial = Partial::open(dir.path(), name).unwrap();
    assert!(partial.have().is_empty(), "bytes that no hash vouches for");
    partial.remove().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_whole_blob_is_what_its_name_says_or_none_and_notices_when_it_changes() {
    let bytes = bytes(2 * PIECE_BYTES);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(&bytes).unwrap();
    let name = BlobRef::of(&bytes);
    let at = |offset| {
        let file = Arc::new(file.reopen().unwrap());
        Whole::new(name, Blob::File { file, offset, len: name.len })
    };
    assert_eq!(at(5).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let short = BlobRef { len: name.len - 1, ..name };
    assert!(Whole::new(short, Blob::Memory(bytes.clone())).is_err());
    let whole = at(6).unwrap();
    whole.encode(1).unwrap();
    file.as_file().write_all_at(b"changed", 6 + PIECE_BYTES).unwrap();
    assert_eq!(whole.encode(1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    whole.encode(0).unwrap();
}
