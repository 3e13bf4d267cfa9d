//! Splitting loses nothing, repeats nothing, and cuts where it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU64;
use std::ops::Range;

use essaim_jobs::split::{
    LineCutter, MOST_CHUNKS, RangeFault, SplitError, check_count, check_file, cut_range, default_block,
    looks_like_range, parameter_lists, parse_range, product, range_input,
};
use proptest::prelude::*;

fn block(bytes: u64) -> NonZeroU64 {
    NonZeroU64::new(bytes).unwrap()
}

/// Cuts `text`, pushed in pieces that end at `pieces`.
fn cuts(text: &[u8], pieces: &[usize], size: u64, most: u64) -> Result<Vec<u64>, SplitError> {
    let mut cutter = LineCutter::new(block(size), most);
    let mut cuts = Vec::new();
    let mut at = 0;
    for &end in pieces.iter().chain([&text.len()]) {
        let end = end.clamp(at, text.len());
        cuts.extend(cutter.push(&text[at..end])?);
        at = end;
    }
    cuts.extend(cutter.finish());
    Ok(cuts)
}

/// The same by the definition: the shortest run of whole lines that is a block or more.
fn slow_cuts(text: &[u8], size: u64) -> Vec<u64> {
    let mut cuts = Vec::new();
    let mut len = 0;
    let mut at = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        len += line.len() as u64;
        at += line.len() as u64;
        if len >= size && line.ends_with(b"\n") {
            cuts.push(at);
            len = 0;
        }
    }
    if len > 0 {
        cuts.push(at);
    }
    cuts
}

/// Bytes with newlines in plenty.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>(), Just(b'a')], 0..300)
}

fn sorted_pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0usize..300, 0..12).prop_map(|mut pieces| {
        pieces.sort_unstable();
        pieces
    })
}

proptest! {
    #[test]
    fn lines_agree_with_the_definition(text in text(), pieces in sorted_pieces(), size in 1u64..80) {
        let cuts = cuts(&text, &pieces, size, u64::MAX).unwrap();
        prop_assert_eq!(&cuts, &slow_cuts(&text, size));

        let mut start = 0;
        let mut joined = Vec::new();
        for (number, &end) in (1..).zip(&cuts) {
            let chunk = &text[start..usize::try_from(end).unwrap()];
            joined.extend_from_slice(chunk);
            if number < cuts.len() {
                prop_assert_eq!(chunk.last(), Some(&b'\n'));
                prop_assert!(chunk.len() as u64 >= size);
            }
            prop_assert!(!chunk.is_empty());
            start += chunk.len();
        }
        prop_assert_eq!(joined, text);
    }

    #[test]
    fn no_chunk_is_over_the_limit(
        text in text(), pieces in sorted_pieces(), size in 1u64..80, most in 1u64..80,
    ) {
        let whole = cuts(&text, &[], size, most);
        match cuts(&text, &pieces, size, most) {
            Ok(cuts) => {
                let starts = [0].into_iter().chain(cuts.iter().copied());
                prop_assert!(starts.zip(&cuts).all(|(start, end)| end - start <= most));
                prop_assert_eq!(Ok(cuts), whole);
            }
            Err(SplitError::LineTooLong { offset, most: limit, .. }) => {
                prop_assert_eq!(limit, most);
                let refused = matches!(whole, Err(SplitError::LineTooLong { offset: at, .. }) if at == offset);
                prop_assert!(refused);
                // It is the line's fault: it is longer than the half that the block leaves.
                let line = text[usize::try_from(offset).unwrap()..].split(|&byte| byte == b'\n').next();
                prop_assert!(line.unwrap().len() as u64 + 1 >= most / 2);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn a_range_is_covered_exactly(
        start: u64, len in prop_oneof![1u64..2_000, any::<u64>()], size in prop::option::of(1u64..),
    ) {
        let range = start..start.saturating_add(len);
        match cut_range(range.clone(), size.map(block)) {
            Ok(parts) => {
                let count = parts.len();
                let lens: Vec<u64> = parts.clone().map(|part| part.end - part.start).collect();
                prop_assert_eq!(lens.len(), count);
                let mut at = range.start;
                for part in parts {
                    prop_assert_eq!(part.start, at);
                    prop_assert!(part.start < part.end);
                    at = part.end;
                }
                prop_assert_eq!(at, range.end);
                if let (None, Some(least), Some(most)) = (size, lens.iter().min(), lens.iter().max()) {
                    prop_assert!(most - least <= 1);
                    prop_assert_eq!(count as u64, (range.end - range.start).min(256));
                }
                if let Some((_, full)) = lens.split_last() {
                    prop_assert!(size.is_none_or(|size| full.iter().all(|&len| len == size)));
                }
            }
            Err(SplitError::TooManyChunks { chunks }) => {
                prop_assert_eq!(chunks, (range.end - range.start).div_ceil(size.unwrap()));
                prop_assert!(chunks > u64::from(MOST_CHUNKS));
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn a_range_reads_back(start in 0..u64::MAX, len in 1u64..1_000_000) {
        let range = start..start.saturating_add(len);
        let text = String::from_utf8(range_input(&range)).unwrap();
        prop_assert_eq!(parse_range(&text), Ok(range));
    }

    #[test]
    fn a_product_has_every_combination_once(sizes in prop::collection::vec(1usize..6, 1..5)) {
        let lists: Vec<Vec<String>> = (0..).zip(&sizes)
            .map(|(list, &size): (usize, _)| (0..size).map(|value| format!("{list}{value}")).collect())
            .collect();
        let all: Vec<Vec<u8>> = product(&lists).unwrap().collect();
        prop_assert_eq!(all.len(), sizes.iter().product::<usize>());
        // Values of a list ascend, so the order is that of the words.
        prop_assert!(all.is_sorted());
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        prop_assert_eq!(distinct.len(), all.len());
    }
}

#[test]
fn ranges_are_read() {
    let good: [(&str, Range<u64>); 6] = [
        ("0..10", 0..10),
        ("0..1_000_000", 0..1_000_000),
        ("1..=10", 1..11),
        (" 7..8\n", 7..8),
        ("007..0_9", 7..9),
        ("0..18446744073709551615", 0..u64::MAX),
    ];
    for (text, range) in good {
        assert_eq!(parse_range(text), Ok(range), "{text}");
    }
    let bad = [
        ("", RangeFault::NoDots),
        ("10", RangeFault::NoDots),
        ("..10", RangeFault::First),
        ("-1..10", RangeFault::First),
        ("+1..10", RangeFault::First),
        ("_1..10", RangeFault::First),
        ("1__0..20", RangeFault::First),
        ("0..", RangeFault::Second),
        ("0..=", RangeFault::Second),
        ("0...9", RangeFault::Second),
        ("0..1e6", RangeFault::Second),
        ("0..18446744073709551616", RangeFault::Second),
        ("0..=18446744073709551615", RangeFault::Second),
        ("5..5", RangeFault::Empty),
        ("9..=8", RangeFault::Empty),
    ];
    for (text, fault) in bad {
        match parse_range(text) {
            Err(error @ SplitError::BadRange { why, .. }) => {
                assert_eq!(why, fault, "{text}");
                assert!(!error.hint().is_empty());
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let backwards = parse_range("9..2").unwrap_err();
    assert!(backwards.hint().contains("2..9"), "{}", backwards.hint());
    assert!(looks_like_range("0..=3") && looks_like_range("1..x"));
    assert!(!looks_like_range("../corpus.txt") && !looks_like_range("1.5"));
}

#[test]
fn a_line_too_long_says_where() {
    let text = [b"short\n".as_slice(), &[b'x'; 200], b"\n"].concat();
    let error = cuts(&text, &[10, 20], 10, 100).unwrap_err();
    assert_eq!(error, SplitError::LineTooLong { offset: 9, len: 198, most: 100 });
    assert!(error.to_string().contains("byte 9") && error.to_string().contains("100"), "{error}");
    assert!(error.hint().contains("line"));
    // A block over half of the limit is lowered, so that short lines always fit.
    assert_eq!(cuts(b"aaa\nbbb\nccc\n", &[], 1_000, 8), Ok(vec![4, 8, 12]));
    // No newline needed when the text ends in time.
    assert_eq!(cuts(&[b'x'; 100], &[50], 10, 100), Ok(vec![100]));
}

#[test]
fn blocks_are_chosen_by_the_input_alone() {
    let kib = 1 << 10;
    for (total, bytes) in
        [(0, 64 * kib), (16 << 20, 64 * kib), (64 << 20, 256 * kib), (256 << 20, 1024 * kib), (u64::MAX, 1024 * kib)]
    {
        assert_eq!(default_block(total).get(), bytes, "{total}");
    }
}

#[test]
fn parameters_are_lists_and_products() {
    let lists = parameter_lists(["a", "b", ":::", "c", "d"]).unwrap();
    assert_eq!(lists, [["a", "b"], ["c", "d"]]);
    let all: Vec<_> = product(&lists).unwrap().collect();
    assert_eq!(all, [b"a\tc", b"a\td", b"b\tc", b"b\td"]);

    let one: Vec<_> = product(&[vec![b"x y\t\xff".as_slice()]]).unwrap().collect();
    assert_eq!(one, [b"x y\t\xff"], "one list: the value to the byte");

    assert_eq!(parameter_lists(["a", ":::"]), Err(SplitError::EmptyList { list: 2 }));
    assert_eq!(parameter_lists::<&str>([]), Err(SplitError::EmptyList { list: 1 }));
    let tab = product(&[vec!["a"], vec!["b\tc"]]).err();
    assert_eq!(tab, Some(SplitError::TabInValue { list: 2 }));
    assert_eq!(product::<&str>(&[]).unwrap().len(), 0);
}

#[test]
fn a_job_has_a_bounded_number_of_chunks() {
    assert_eq!(check_count(u64::from(MOST_CHUNKS)), Ok(MOST_CHUNKS));
    let over = u64::from(MOST_CHUNKS) + 1;
    let too_many = SplitError::TooManyChunks { chunks: over };
    assert_eq!(check_count(over), Err(too_many.clone()));

    let lines = vec![b'\n'; usize::try_from(over).unwrap()];
    assert_eq!(cuts(&lines[1..], &[], 1, 100).unwrap().len() as u64, over - 1);
    assert_eq!(cuts(&lines, &[5_000], 1, 100), Err(too_many.clone()));
    assert_eq!(cut_range(0..over, Some(block(1))).err(), Some(too_many.clone()));
    let wide = vec![vec!["x"; 2_048]; 6];
    assert_eq!(product(&wide).err(), Some(SplitError::TooManyChunks { chunks: u64::MAX }));
    assert!(too_many.hint().contains("--block"));
}

#[test]
fn a_file_is_a_chunk_if_it_fits() {
    assert_eq!(check_file("a.bin", 10, 10), Ok(()));
    let error = check_file("a.bin", 11, 10).unwrap_err();
    assert_eq!(error.to_string(), "a.bin has 11 bytes: a chunk has at most 10");
}
