//! Jobs as their authors write them, run as their authors test them.
#![allow(dead_code, reason = "each job has a main, which a test does not run")]

use essaim_guest::testing::{run, run_chunks};

/// All four roles, over a type that text has no form for.
mod paragraphs {
    use std::collections::BTreeSet;

    use essaim_guest::Bytes;

    essaim_guest::main!(split: split, map: words, combine: union, reduce: |parts| union(parts).len());

    fn split(text: Bytes) -> impl IntoIterator<Item = (u64, Option<Bytes>)> {
        let paragraphs: Vec<_> = text.split(|&byte| byte == 0).map(|part| Bytes::from(part.to_vec())).collect();
        paragraphs.into_iter().zip(0..).map(|(part, number)| (number, (!part.is_empty()).then_some(part)))
    }

    fn words((number, part): (u64, Option<Bytes>)) -> BTreeSet<Bytes> {
        assert_eq!(number, u64::from(essaim_guest::chunk()), "chunks are numbered");
        let words = part.iter().flat_map(|part| part.split(|&byte| byte == b'\t'));
        words.map(|word| Bytes::from(word.to_vec())).collect()
    }

    fn union(parts: impl Iterator<Item = BTreeSet<Bytes>>) -> BTreeSet<Bytes> {
        parts.flatten().collect()
    }
}

#[test]
fn what_is_split_is_mapped_combined_and_reduced() {
    assert_eq!(run(&paragraphs::job(), b"a\tb\0\0b\t\xff\n\0c").unwrap(), b"4\n");
    assert_eq!(run(&paragraphs::job(), b"").unwrap(), b"0\n");
    let error = run_chunks(&paragraphs::job(), ["a", "b"]).unwrap_err();
    assert!(error.contains("cuts its input itself"), "{error}");
}

/// Every role can fail, in a type of error of its own.
mod failing {
    use std::fmt::Error;
    use std::num::ParseIntError;

    essaim_guest::main!(split: split, map: parse, combine: small, reduce: even);

    fn split(text: String) -> Result<Vec<String>, &'static str> {
        if text.is_empty() {
            Err("there is nothing to split")
        } else {
            Ok(text.split(' ').map(str::to_owned).collect())
        }
    }

    fn parse(word: String) -> Result<u64, ParseIntError> {
        word.parse()
    }

    fn small(parts: impl Iterator<Item = u64>) -> Result<u64, Error> {
        let sum = parts.sum();
        if sum < 100 { Ok(sum) } else { Err(Error) }
    }

    fn even(parts: impl Iterator<Item = u64>) -> Result<u64, String> {
        let sum: u64 = parts.sum();
        if sum.is_multiple_of(2) { Ok(sum) } else { Err(format!("{sum} is odd")) }
    }
}

#[test]
fn an_error_of_any_role_is_what_is_said() {
    let job = failing::job();
    assert_eq!(run(&job, "1 3 4").unwrap(), b"8\n", "not as {{\"Ok\":8}}");
    assert_eq!(run(&job, "").unwrap_err(), "there is nothing to split");
    assert_eq!(run(&job, "1 x").unwrap_err(), "invalid digit found in string");
    assert_eq!(run(&job, "98 2").unwrap_err(), std::fmt::Error.to_string());
    assert_eq!(run(&job, "1 2").unwrap_err(), "3 is odd");
}

/// A combine that stands for its reduce, and closures that say no types but the chunk's.
mod longest {
    essaim_guest::main!(map: |text: String| text.len(), combine: |parts| parts.max().unwrap_or(0));
}

#[test]
fn a_combine_alone_prints_what_it_makes_of_all() {
    assert_eq!(run_chunks(&longest::job(), ["a", "abc", "ab"]).unwrap(), b"3\n");
    assert_eq!(run_chunks(&longest::job(), [""; 0]).unwrap(), b"0\n");
}

/// Alone, a map prints.
mod shout {
    essaim_guest::main!(map: |text: String| text.to_uppercase());
}

#[test]
fn outputs_that_nobody_folds_are_printed_in_order() {
    assert_eq!(run_chunks(&shout::job(), ["a\n", "b"]).unwrap(), b"A\nB");
}

/// What is combined first matters.
mod difference {
    essaim_guest::main! {
        map: |number: i64| number,
        combine: |mut parts| parts.next().map_or(0, |first| parts.fold(first, |left, part| left - part)),
    }
}

/// What comes out of a combine is not what went in, once more.
mod counted {
    essaim_guest::main!(map: |_: String| 1u64, combine: |parts| parts.count() as u64);
}

#[test]
fn a_combine_that_is_not_associative_is_found() {
    for (job, chunks) in [(difference::job(), ["5", "3", "1"]), (counted::job(), ["a", "b", "c"])] {
        let error = run_chunks(&job, chunks).unwrap_err();
        assert!(error.starts_with("combine is not associative: where the first 1 of 3"), "{error}");
    }
}

/// Two forms that only a format with names can tell apart.
mod untagged {
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Answer {
        Number(u64),
        Word(String),
    }

    essaim_guest::main!(map: |n: u64| if n > 5 { Answer::Word("many".into()) } else { Answer::Number(n) },
        reduce: |answers| answers.count());
}

#[test]
fn an_output_that_does_not_survive_postcard_is_found() {
    let error = run_chunks(&untagged::job(), ["1", "9"]).unwrap_err();
    assert!(error.starts_with("what the map gives for chunk 0 does not survive postcard"), "{error}");
}
