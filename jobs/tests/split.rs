//! Splitting loses nothing, repeats nothing, and cuts where it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU64;
use std::ops::Range;

use essaim_jobs::split::{
    Block, Cutter, Frames, Items, List, MOST_CHUNKS, RangeFault, SplitError, check_count, check_file, cut_range,
    looks_like_range, parameter_lists, parse_range, product, range_input, unescape,
};
use proptest::prelude::*;

fn block(bytes: u64) -> NonZeroU64 {
    NonZeroU64::new(bytes).unwrap()
}

/// Cuts `text`, pushed in pieces that end at `pieces`.
fn cuts_of(items: &Items, block: Block, text: &[u8], pieces: &[usize], most: u64) -> Result<Vec<u64>, SplitError> {
    let mut cutter = Cutter::new(items, block, most);
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

/// The same, of lines by bytes.
fn cuts(text: &[u8], pieces: &[usize], size: u64, most: u64) -> Result<Vec<u64>, SplitError> {
    cuts_of(&Items::lines(), Block::Bytes(block(size)), text, pieces, most)
}

/// The items of `text`, by the definition; the last may not be whole.
fn items_of<'a>(items: &Items, text: &'a [u8]) -> Vec<&'a [u8]> {
    let Items::Ending(end) = items else {
        let Items::Fixed(bytes) = items else { unreachable!() };
        return text.chunks(usize::try_from(bytes.get()).unwrap()).collect();
    };
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(end.len()).position(|window| window == end) {
        let (item, after) = rest.split_at(at + end.len());
        found.push(item);
        rest = after;
    }
    found.extend((!rest.is_empty()).then_some(rest));
    found
}

/// Where chunks end, by the definition: the shortest run of whole items that is a block or more.
fn slow_cuts(items: &Items, size: Block, text: &[u8]) -> Vec<u64> {
    let (mut cuts, mut len, mut count, mut at) = (Vec::new(), 0, 0, 0);
    for item in items_of(items, text) {
        len += item.len() as u64;
        count += 1;
        at += item.len() as u64;
        let is_full = match size {
            Block::Bytes(bytes) => len >= bytes.get(),
            Block::Items(items) => count >= items.get(),
        };
        if is_full {
            cuts.push(at);
            (len, count) = (0, 0);
        }
    }
    if len > 0 {
        cuts.push(at);
    }
    cuts
}

/// Items that end with a byte, with bytes that may overlap themselves, or are of one length.
fn kinds_of_items() -> impl Strategy<Value = Items> {
    prop_oneof![
        Just(Items::lines()),
        prop::collection::vec(prop_oneof![Just(b'a'), Just(b'\n')], 1..5).prop_map(Items::Ending),
        (1u64..20).prop_map(|bytes| Items::Fixed(block(bytes))),
    ]
}

fn sizes() -> impl Strategy<Value = Block> {
    (1u64..40, any::<bool>()).prop_map(|(n, bytes)| if bytes { Block::Bytes(block(n)) } else { Block::Items(block(n)) })
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
    fn cuts_agree_with_the_definition(
        items in kinds_of_items(), size in sizes(), text in text(), pieces in sorted_pieces(),
    ) {
        let cuts = cuts_of(&items, size, &text, &pieces, u64::MAX).unwrap();
        prop_assert_eq!(&cuts, &slow_cuts(&items, size, &text));

        let mut ends = vec![0];
        for item in items_of(&items, &text) {
            ends.push(ends.last().unwrap() + item.len() as u64);
        }
        prop_assert!(cuts.iter().all(|cut| ends.contains(cut)), "an item is cut in two");
        prop_assert_eq!(cuts.last().copied().unwrap_or(0), text.len() as u64, "all of it is in chunks");
        prop_assert!(cuts.iter().is_sorted_by(|one, other| one < other), "no chunk is empty");
    }

    #[test]
    fn a_block_that_changes_on_the_way_loses_nothing(
        items in kinds_of_items(), text in text(), pieces in sorted_pieces(), sizes in prop::collection::vec(sizes(), 13),
    ) {
        let mut cutter = Cutter::new(&items, sizes[0], u64::MAX);
        let (mut cuts, mut at) = (Vec::new(), 0);
        for (&end, &size) in pieces.iter().chain([&text.len()]).zip(&sizes) {
            let end = end.clamp(at, text.len());
            cutter.set_block(size);
            let new = cutter.push(&text[at..end]).unwrap();
            prop_assert!(new.iter().all(|&cut| cut >= at as u64), "what was pushed before is not cut any more");
            cuts.extend(new);
            at = end;
        }
        cuts.extend(cutter.finish());
        let mut ends = vec![0];
        for item in items_of(&items, &text) {
            ends.push(ends.last().unwrap() + item.len() as u64);
        }
        prop_assert!(cuts.iter().all(|cut| ends.contains(cut)), "an item is cut in two");
        prop_assert!(cuts.iter().is_sorted_by(|one, other| one < other));
        prop_assert_eq!(cuts.last().copied().unwrap_or(0), text.len() as u64);
    }

    #[test]
    fn frames_come_back_however_they_are_parted(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12), pieces in sorted_pieces(),
        missing in 0usize..4,
    ) {
        let mut stream: Vec<u8> = Vec::new();
        for body in &bodies {
            stream.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
            stream.extend(body);
        }
        stream.truncate(stream.len() - missing.min(stream.len()));
        let (mut frames, mut found, mut open) = (Frames::new(40), Vec::new(), Vec::new());
        let mut at = 0;
        for &end in pieces.iter().chain([&stream.len()]) {
            let end = end.clamp(at, stream.len());
            let mut piece = &stream[at..end];
            while let Some(stretch) = frames.next(&mut piece).unwrap() {
                open.extend_from_slice(stretch.bytes);
                if stretch.is_last {
                    prop_assert_eq!(stretch.len, open.len() as u64);
                    found.push(std::mem::take(&mut open));
                }
            }
            prop_assert!(piece.is_empty());
            at = end;
        }
        let is_whole = found == bodies;
        prop_assert_eq!(frames.finish().is_ok(), is_whole);
        prop_assert!(bodies.starts_with(&found) && (is_whole || missing > 0));
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
            Err(SplitError::RecordTooLong { offset, most: limit, .. }) => {
                prop_assert_eq!(limit, most);
                let refused = matches!(whole, Err(SplitError::RecordTooLong { offset: at, .. }) if at == offset);
                prop_assert!(refused);
                // It is the line's fault: it is longer than the half that the block leaves.
                let line = text[usize::try_from(offset).unwrap()..].split(|&byte| byte == b'\n').next();
                prop_assert!(line.unwrap().len() as u64 + 1 >= most / 2);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn a_range_is_covered_exactly(start: u64, len in prop_oneof![1u64..2_000, any::<u64>()], size in 1u64..) {
        let range = start..start.saturating_add(len);
        match cut_range(range.clone(), block(size)) {
            Ok(parts) => {
                let mut at = range.start;
                let count = parts.len();
                for (number, part) in (1..).zip(parts) {
                    prop_assert_eq!(part.start, at);
                    prop_assert!(part.start < part.end);
                    prop_assert!(number == count || part.end - part.start == size);
                    at = part.end;
                }
                prop_assert_eq!(at, range.end);
            }
            Err(SplitError::TooManyChunks { chunks }) => {
                prop_assert_eq!(chunks, (range.end - range.start).div_ceil(size));
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
    assert_eq!(error, SplitError::RecordTooLong { offset: 9, len: 198, most: 100 });
    assert!(error.to_string().contains("byte 9") && error.to_string().contains("100"), "{error}");
    assert!(error.hint().contains("line"));
    // A block over half of the limit is lowered, so that short lines always fit.
    assert_eq!(cuts(b"aaa\nbbb\nccc\n", &[], 1_000, 8), Ok(vec![4, 8, 12]));
    // No newline needed when the text ends in time.
    assert_eq!(cuts(&[b'x'; 100], &[50], 10, 100), Ok(vec![100]));
}

#[test]
fn items_over_the_limit_say_where() {
    let fixed = Items::Fixed(block(30));
    let too_long = SplitError::RecordTooLong { offset: 0, len: 20, most: 10 };
    assert_eq!(cuts_of(&fixed, Block::Bytes(block(1)), &[0; 20], &[], 10), Err(too_long));
    let too_many = SplitError::BlockTooLong { offset: 7, items: 3, most: 10 };
    assert_eq!(cuts_of(&Items::lines(), Block::Items(block(3)), b"aa\nb\nc\naaaaaaaaaa\n", &[], 10), Err(too_many));
    // Records of one length fill a block that they just fit into.
    assert_eq!(cuts_of(&Items::Fixed(block(4)), Block::Bytes(block(6)), &[0; 18], &[7], 12), Ok(vec![8, 16, 18]));
}

#[test]
fn delimiters_are_written_as_they_can_be_typed() {
    assert_eq!(unescape(r"\n\r\t\0\\\x1eé;"), Ok(b"\n\r\t\0\\\x1e\xc3\xa9;".to_vec()));
    for bad in ["", r"\", r"\q", r"\x", r"\x1", r"\xg1"] {
        let error = unescape(bad).unwrap_err();
        assert_eq!(error, SplitError::BadDelimiter { text: bad.to_owned() });
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_it_comes() {
    let mut frames = Frames::new(9);
    let error = frames.next(&mut &[10, 0, 0, 0][..]).unwrap_err();
    assert_eq!(error, SplitError::FrameTooLarge { frame: 0, len: 10, most: 9 });
}

#[test]
fn parameters_are_lists_and_products() {
    let lists = parameter_lists([":::", "a", "b", "::::", "f", "g", ":::", "c"]).unwrap();
    let values = |values: &[&'static str]| List::Values(values.to_vec());
    assert_eq!(lists, [values(&["a", "b"]), List::File("f"), List::File("g"), values(&["c"])]);
    let lists = parameter_lists([":::", "a", "b", ":::", "c", "d"]).unwrap();
    assert_eq!(lists, [values(&["a", "b"]), values(&["c", "d"])]);
    let all: Vec<_> = product(&[vec!["a", "b"], vec!["c", "d"]]).unwrap().collect();
    assert_eq!(all, [b"a\tc", b"a\td", b"b\tc", b"b\td"]);

    let one: Vec<_> = product(&[vec![b"x y\t\xff".as_slice()]]).unwrap().collect();
    assert_eq!(one, [b"x y\t\xff"], "one list: the value to the byte");

    assert_eq!(parameter_lists([":::", "a", "::::"]), Err(SplitError::EmptyList { list: 2 }));
    assert_eq!(parameter_lists([":::"]), Err(SplitError::EmptyList { list: 1 }));
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
    assert_eq!(cut_range(0..over, block(1)).err(), Some(too_many.clone()));
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
