//! INPUT: cuts what the person gave into chunks. Files stay where they are; standard input is spooled to the disk.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::split::{self, LineCutter, SplitError};
use essaim_jobs::{BlobRef, ChunkInput, bounds};

use super::Fail;
use super::args::{Global, Run};
use super::say::say;
use crate::store::Home;

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// Bytes that one chunk may have.
const MOST: u64 = bounds::BLOB_BYTES;

/// An input, cut.
#[derive(Debug, Default)]
pub struct Cut {
    /// The chunks.
    pub inputs: Vec<ChunkInput>,
    /// Where the larger ones stand.
    pub places: Vec<(BlobRef, Arc<File>, u64)>,
    /// Bytes in all.
    pub bytes: u64,
    /// How it was cut, in words.
    pub how: String,
}

/// Cuts what `run` names; blocks.
///
/// # Errors
/// The input cannot be read, is empty, or cannot be cut.
pub fn cut(global: &Global, run: &Run, home: &Home) -> Result<Cut, Fail> {
    let cut = if let Some(words) = &run.parameters {
        if !run.inputs.is_empty() {
            return Err(
                Fail::new("there are both an INPUT and `:::` parameters", "give one or the other").with_status(2)
            );
        }
        parameters(words)?
    } else if let Some(text) = range(&run.inputs) {
        ranges(text, run.block)?
    } else if run.per_file {
        per_file(&run.inputs)?
    } else {
        lines(global, run, home)?
    };
    if cut.inputs.is_empty() {
        let hint = "give a text on standard input or as a file, a range such as 0..1000, or `::: VALUES`";
        return Err(Fail::new("the input is empty: there is nothing to run", hint));
    }
    Ok(cut)
}

fn fail(error: &SplitError) -> Fail {
    Fail::new(error, error.hint())
}

fn parameters(words: &[OsString]) -> Result<Cut, Fail> {
    let words = words.iter().map(|word| word.as_encoded_bytes());
    let lists = split::parameter_lists(words).map_err(|e| fail(&e).with_status(2))?;
    let mut cut = Cut { how: "one a value".into(), ..Cut::default() };
    for value in split::product(&lists).map_err(|e| fail(&e))? {
        if value.len() > bounds::INLINE_INPUT {
            let message = format!("a value has {} bytes, at most {} are allowed", value.len(), bounds::INLINE_INPUT);
            return Err(Fail::new(message, "put long values into files and use --per-file"));
        }
        cut.bytes += value.len() as u64;
        cut.inputs.push(ChunkInput::Inline(value.into()));
    }
    Ok(cut)
}

/// The one input, if it is a range and not a file of that name.
fn range(inputs: &[OsString]) -> Option<&str> {
    match inputs {
        [input] if !Path::new(input).exists() => input.to_str().filter(|text| split::looks_like_range(text)),
        _ => None,
    }
}

fn ranges(text: &str, block: Option<NonZeroU64>) -> Result<Cut, Fail> {
    let range = split::parse_range(text).map_err(|e| fail(&e).with_status(2))?;
    let pieces = split::cut_range(range, block).map_err(|e| fail(&e))?;
    let inputs: Vec<_> = pieces.map(|piece| ChunkInput::Inline(split::range_input(&piece).into())).collect();
    let bytes = inputs.iter().map(ChunkInput::bytes).sum();
    Ok(Cut { inputs, bytes, how: "by range".into(), ..Cut::default() })
}

pub(super) fn open(name: &OsStr) -> Result<File, Fail> {
    let shown = Path::new(name).display();
    let file = File::open(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fail::new(
            format!("there is no file {shown}"),
            "INPUT is a file, `-` for standard input, or a range such as 0..1000; the program's own arguments go after `--`",
        ),
        _ => Fail::new(format!("cannot read {shown}: {error}"), "check its permissions"),
    })?;
    match file.metadata() {
        Ok(found) if found.is_dir() => {
            Err(Fail::new(format!("{shown} is a folder"), format!("name the files in it: {shown}/*")))
        }
        _ => Ok(file),
    }
}

pub(super) fn broken(name: &OsStr) -> impl Fn(io::Error) -> Fail {
    let shown = Path::new(name).display().to_string();
    move |error| Fail::new(format!("cannot read {shown}: {error}"), "check that it can be read to its end")
}

fn per_file(names: &[OsString]) -> Result<Cut, Fail> {
    let mut cut = Cut { how: "one a file".into(), ..Cut::default() };
    for name in names {
        let mut file = open(name)?;
        let shown = Path::new(name).display().to_string();
        let len = file.metadata().map_err(broken(name))?.len();
        split::check_file(&shown, len, MOST).map_err(|e| fail(&e))?;
        let mut content = Vec::with_capacity(len as usize);
        (&mut file).take(MOST + 1).read_to_end(&mut content).map_err(broken(name))?;
        split::check_file(&shown, content.len() as u64, MOST).map_err(|e| fail(&e))?;
        cut.add(content.into(), &Arc::new(file), 0);
    }
    split::check_count(cut.inputs.len() as u64).map_err(|e| fail(&e))?;
    Ok(cut)
}

fn lines(global: &Global, run: &Run, home: &Home) -> Result<Cut, Fail> {
    let stdin = [OsString::from("-")];
    let names = if run.inputs.is_empty() { &stdin[..] } else { &run.inputs };
    let mut cut = Cut::default();
    for name in names {
        let file = if name == "-" { spool(global, home)? } else { regular(open(name)?, name, home)? };
        lines_of(&Arc::new(file), name, run.block, &mut cut)?;
        split::check_count(cut.inputs.len() as u64).map_err(|e| fail(&e))?;
    }
    cut.how = "by whole lines".into();
    Ok(cut)
}

/// Standard input, all of it, in a file of ours.
fn spool(global: &Global, home: &Home) -> Result<File, Fail> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        let words = "essaim: reading standard input from the terminal; end it with Ctrl-D";
        say(global, words, "reading", serde_json::json!({ "from": "terminal" }));
    }
    copy(&mut stdin, home, "standard input")
}

/// A pipe or a device cannot be read again where it stands: it is copied.
pub(super) fn regular(mut file: File, name: &OsStr, home: &Home) -> Result<File, Fail> {
    if file.metadata().map_err(broken(name))?.is_file() {
        return Ok(file);
    }
    copy(&mut file, home, &Path::new(name).display().to_string())
}

fn copy(from: &mut impl Read, home: &Home, shown: &str) -> Result<File, Fail> {
    let mut file = home.scratch().map_err(|e| Fail::of(&e, e.hint()))?;
    let full = |error: io::Error| {
        let hint = "make room, or choose another disk with --home DIR";
        Fail::new(format!("cannot keep {shown} in {}: {error}", home.dir().display()), hint)
    };
    let mut piece = vec![0; PIECE];
    loop {
        let n = match from.read(&mut piece) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fail::new(format!("cannot read {shown}: {error}"), "check where it comes from")),
        };
        if n == 0 {
            file.rewind().map_err(full)?;
            return Ok(file);
        }
        file.write_all(&piece[..n]).map_err(full)?;
    }
}

/// Cuts one text, reading it once.
fn lines_of(file: &Arc<File>, name: &OsStr, block: Option<NonZeroU64>, cut: &mut Cut) -> Result<(), Fail> {
    let len = file.metadata().map_err(broken(name))?.len();
    let mut cutter = LineCutter::new(block.unwrap_or_else(|| split::default_block(len)), MOST);
    let mut reader: &File = file;
    let mut piece = vec![0; PIECE];
    // What was read and not cut yet, and where in the file it begins.
    let (mut rest, mut begin) = (Vec::<u8>::new(), 0_u64);
    loop {
        let n = reader.read(&mut piece).map_err(broken(name))?;
        if n == 0 {
            break;
        }
        rest.extend_from_slice(&piece[..n]);
        let mut taken = 0;
        for end in cutter.push(&piece[..n]).map_err(|e| fail(&e))? {
            let upto = (end - begin) as usize;
            cut.add(Bytes::copy_from_slice(&rest[taken..upto]), file, begin + taken as u64);
            taken = upto;
        }
        rest.drain(..taken);
        begin += taken as u64;
    }
    if cutter.finish().is_some() {
        cut.add(rest.into(), file, begin);
    }
    Ok(())
}

impl Cut {
    fn add(&mut self, content: Bytes, file: &Arc<File>, offset: u64) {
        let input = ChunkInput::of(&content);
        if let ChunkInput::Blob(name) = input {
            self.places.push((name, Arc::clone(file), offset));
        }
        self.bytes += content.len() as u64;
        self.inputs.push(input);
    }
}
