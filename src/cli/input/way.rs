//! Which way of cutting the person asks for; ways that exclude one another are refused.

use std::ffi::OsString;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use essaim_jobs::fill::{fill, has_places};
use essaim_jobs::split::{self, Block, Items, List};

use super::super::Fail;
use super::super::args::Run;
use super::{broken, fail, open};

/// The longest file of values, bytes.
const VALUES_BYTES: u64 = 256 << 20;

/// A way to cut the input.
#[derive(Debug)]
pub enum Way {
    /// Every combination of one value of each list is a chunk.
    Values(Vec<Vec<Vec<u8>>>),
    /// Each file is a chunk.
    PerFile,
    /// These integers, so many a chunk where somebody says.
    Range(Range<u64>, Option<NonZeroU64>),
    /// A text of these items, so many a chunk where somebody says.
    Text(Items, Option<Block>),
    /// Nobody says: what the program's own `split` does, else by lines, or the range that stands in the place of a file.
    Plain {
        /// That range.
        range: Option<Range<u64>>,
        /// Lines.
        items: Items,
    },
}

impl Way {
    /// What `run` asks for. Reads the files of values, and nothing else of the input.
    ///
    /// # Errors
    /// Ways that exclude one another, values that cannot be read or do not fit the arguments.
    pub fn of(run: &Run) -> Result<Way, Fail> {
        let items = run.items()?;
        let sizes = [("--block", run.block.is_some()), ("--lines", run.lines.is_some())];
        let asked: Vec<&str> = sizes
            .into_iter()
            .chain([("--records", run.records.is_some()), ("--delimiter", run.delimiter.is_some())])
            .filter_map(|(name, is_asked)| is_asked.then_some(name))
            .collect();
        if run.block.is_some() && run.lines.is_some() {
            return Err(both("--block", "--lines", "say how large a chunk is in one way"));
        }
        if let Some(words) = &run.parameters {
            let others = [
                (!run.inputs.is_empty(), "an INPUT"),
                (run.range.is_some(), "--range"),
                (run.per_file, "--per-file"),
                (!asked.is_empty(), asked.first().copied().unwrap_or_default()),
            ];
            if let Some((_, other)) = others.into_iter().find(|(is_asked, _)| *is_asked) {
                return Err(both(other, "`:::` parameters", "each value is one chunk: give one or the other"));
            }
            return values(words, &run.args).map(Way::Values);
        }
        if run.per_file {
            return per_file(run, &asked);
        }
        let plain = ranged(&run.inputs)?;
        if let Some(range) = run.range.clone().or_else(|| plain.clone()) {
            if run.range.is_some() && !run.inputs.is_empty() {
                return Err(both("an INPUT", "--range", "the range is the input: give one or the other"));
            }
            if let Some(other) = asked.iter().find(|name| **name != "--block") {
                return Err(both(other, "a range of integers", "--block says how many integers a chunk has"));
            }
            return Ok(match (&run.range, run.block) {
                (None, None) => Way::Plain { range: plain, items },
                _ => Way::Range(range, run.block),
            });
        }
        Ok(match run.block.map(Block::Bytes).or(run.lines.map(Block::Items)) {
            None if asked.is_empty() => Way::Plain { range: None, items },
            block => Way::Text(items, block),
        })
    }

    /// Whether a size may have to be chosen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Way::Plain { .. } | Way::Text(_, None) | Way::Range(_, None))
    }

    /// How many values each chunk has for the places in the arguments; 0 where these have none.
    #[must_use]
    pub fn values(&self, args: &[String]) -> u8 {
        match self {
            Way::Values(lists) if args.iter().any(|arg| has_places(arg)) => lists.len() as u8,
            _ => 0,
        }
    }
}

impl Run {
    /// What a text is made of.
    fn items(&self) -> Result<Items, Fail> {
        match (self.records, &self.delimiter) {
            (Some(_), Some(_)) => {
                Err(both("--records", "--delimiter", "records have one length, or end with something"))
            }
            (Some(bytes), None) => Ok(Items::Fixed(bytes)),
            (None, Some(delimiter)) => Ok(Items::Ending(delimiter.0.clone())),
            (None, None) => Ok(Items::lines()),
        }
    }
}

fn both(one: &str, other: &str, hint: &str) -> Fail {
    Fail::new(format!("there are both {one} and {other}"), hint).with_status(2)
}

fn per_file(run: &Run, asked: &[&str]) -> Result<Way, Fail> {
    let other = if run.range.is_some() { Some("--range") } else { asked.first().copied() };
    if let Some(other) = other {
        return Err(both(other, "--per-file", "with --per-file each file is one chunk, whatever is in it"));
    }
    if let Some(argument) = run.args.iter().find(|argument| has_places(argument)) {
        let message = format!("there are both --per-file and a place for values in the argument `{argument}`");
        let hint = "with --per-file the program gets what is in a file, on its standard input, and not its name; \
                    values for `{}` are given with `:::`";
        return Err(Fail::new(message, hint).with_status(2));
    }
    Ok(Way::PerFile)
}

/// The one input, if it is a range and not a file of that name.
fn ranged(inputs: &[OsString]) -> Result<Option<Range<u64>>, Fail> {
    let text = match inputs {
        [input] if !Path::new(input).exists() => input.to_str().filter(|text| split::looks_like_range(text)),
        _ => None,
    };
    text.map(split::parse_range).transpose().map_err(|error| fail(&error).with_status(2))
}

/// The values of all lists; each combination of them fits into the arguments.
fn values(words: &[OsString], args: &[String]) -> Result<Vec<Vec<Vec<u8>>>, Fail> {
    let wrong = |error| fail(&error).with_status(2);
    let lists = split::parameter_lists(words.iter().map(|word| word.as_encoded_bytes())).map_err(wrong)?;
    if lists.len() > usize::from(u8::MAX) {
        return Err(Fail::new("there are more than 255 lists of values", "put some into one list").with_status(2));
    }
    let lists: Vec<Vec<Vec<u8>>> = lists
        .into_iter()
        .map(|list| match list {
            List::Values(values) => Ok(values.into_iter().map(<[u8]>::to_vec).collect()),
            List::File(name) => lines_of(name),
        })
        .collect::<Result<_, _>>()?;
    if args.iter().any(|arg| has_places(arg)) {
        for input in split::product(&lists).map_err(wrong)? {
            fill(args, lists.len() as u8, &input).map_err(|error| {
                let hint = "`{}` is the value, `{1}` and `{2}` are those of the first and the second list; a program \
                            gets its value on standard input, too";
                Fail::new(error, hint).with_status(2)
            })?;
        }
    }
    Ok(lists)
}

/// The lines of a file, without what ends them; those of standard input for `-`.
fn lines_of(name: &[u8]) -> Result<Vec<Vec<u8>>, Fail> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let name = OsString::from(&shown);
    let mut text = Vec::new();
    let read = match &*shown {
        "-" => io::stdin().lock().take(VALUES_BYTES + 1).read_to_end(&mut text),
        _ => open(&name)?.take(VALUES_BYTES + 1).read_to_end(&mut text),
    };
    if read.map_err(broken(&name))? as u64 > VALUES_BYTES {
        let message = format!("{shown} has more than {VALUES_BYTES} bytes of values");
        return Err(Fail::new(message, "give it as INPUT, with --lines 1 for one chunk a line"));
    }
    if text.is_empty() {
        return Err(Fail::new(format!("there are no values in {shown}"), "write one a line").with_status(2));
    }
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    Ok(text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect())
}
