//! INPUT: cuts what the person gave into chunks. Files stay where they are; standard input is spooled to the disk.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Seek, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use essaim_jobs::split::{self, LineCutter, SplitError};
use essaim_jobs::{BlobRef, bounds};

use super::Fail;
use super::args::{Global, Run};
use super::say::say;
use crate::store::{Draft, FileNumber, Home};

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// Bytes that one chunk may have.
const MOST: u64 = bounds::BLOB_BYTES;

/// Cuts what `run` names into the chunks of `draft`, and says how, in words; blocks.
///
/// # Errors
/// The input cannot be read, is empty, or cannot be cut; the disk is full.
pub fn cut(global: &Global, run: &Run, home: &Home, draft: &mut Draft) -> Result<String, Fail> {
    let mut cut = Cut { draft, home };
    let how = if let Some(words) = &run.parameters {
        if !run.inputs.is_empty() {
            return Err(
                Fail::new("there are both an INPUT and `:::` parameters", "give one or the other").with_status(2)
            );
        }
        cut.parameters(words)?;
        "one a value"
    } else if let Some(text) = range(&run.inputs) {
        cut.range(text, run.block)?;
        "by range"
    } else if run.per_file {
        cut.per_file(&run.inputs)?;
        "one a file"
    } else {
        cut.lines(global, &run.inputs, run.block)?;
        "by whole lines"
    };
    if draft.chunks() == 0 {
        let hint = "give a text on standard input or as a file, a range such as 0..1000, or `::: VALUES`";
        return Err(Fail::new("the input is empty: there is nothing to run", hint));
    }
    Ok(how.into())
}

fn fail(error: &SplitError) -> Fail {
    Fail::new(error, error.hint())
}

/// The one input, if it is a range and not a file of that name.
fn range(inputs: &[OsString]) -> Option<&str> {
    match inputs {
        [input] if !Path::new(input).exists() => input.to_str().filter(|text| split::looks_like_range(text)),
        _ => None,
    }
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

/// The file `name`, as a file of the job that can be read again: a pipe or a device is copied.
pub(super) fn regular(name: &OsStr, home: &Home, draft: &mut Draft) -> Result<(FileNumber, Arc<File>), Fail> {
    let mut file = open(name)?;
    if !file.metadata().map_err(broken(name))?.is_file() {
        return copy(&mut file, &Path::new(name).display().to_string(), home, draft);
    }
    let file = Arc::new(file);
    let number = draft.file(Path::new(name), Arc::clone(&file)).map_err(broken(name))?;
    Ok((number, file))
}

/// The home's disk does not take what the job needs.
pub(super) fn full(home: &Home, error: &io::Error) -> Fail {
    let hint = "make room, or choose another disk with --home DIR";
    Fail::new(format!("cannot keep the job in {}: {error}", home.dir().display()), hint)
}

fn copy(from: &mut impl Read, shown: &str, home: &Home, draft: &mut Draft) -> Result<(FileNumber, Arc<File>), Fail> {
    let (number, file) = draft.scratch().map_err(|error| full(home, &error))?;
    let mut piece = vec![0; PIECE];
    loop {
        let n = match from.read(&mut piece) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fail::new(format!("cannot read {shown}: {error}"), "check where it comes from")),
        };
        if n == 0 {
            (&*file).rewind().map_err(|error| full(home, &error))?;
            return Ok((number, file));
        }
        (&*file).write_all(&piece[..n]).map_err(|error| full(home, &error))?;
    }
}

/// An input that is being cut.
struct Cut<'a> {
    draft: &'a mut Draft,
    home: &'a Home,
}

impl Cut<'_> {
    fn parameters(&mut self, words: &[OsString]) -> Result<(), Fail> {
        let words = words.iter().map(|word| word.as_encoded_bytes());
        let lists = split::parameter_lists(words).map_err(|e| fail(&e).with_status(2))?;
        for value in split::product(&lists).map_err(|e| fail(&e))? {
            if value.len() > bounds::INLINE_INPUT {
                let message =
                    format!("a value has {} bytes, at most {} are allowed", value.len(), bounds::INLINE_INPUT);
                return Err(Fail::new(message, "put long values into files and use --per-file"));
            }
            self.inline(&value)?;
        }
        Ok(())
    }

    fn range(&mut self, text: &str, block: Option<NonZeroU64>) -> Result<(), Fail> {
        let range = split::parse_range(text).map_err(|e| fail(&e).with_status(2))?;
        let mut pieces = split::cut_range(range, block).map_err(|e| fail(&e))?;
        pieces.try_for_each(|piece| self.inline(&split::range_input(&piece)))
    }

    fn per_file(&mut self, names: &[OsString]) -> Result<(), Fail> {
        split::check_count(names.len() as u64).map_err(|e| fail(&e))?;
        for name in names {
            let (number, file) = regular(name, self.home, self.draft)?;
            let shown = Path::new(name).display().to_string();
            let len = file.metadata().map_err(broken(name))?.len();
            split::check_file(&shown, len, MOST).map_err(|e| fail(&e))?;
            self.draft.name(&Path::new(name).file_name().unwrap_or(name).to_string_lossy());
            let mut content = Vec::new();
            (&*file).take(bounds::INLINE_INPUT as u64 + 1).read_to_end(&mut content).map_err(broken(name))?;
            if content.len() <= bounds::INLINE_INPUT {
                self.inline(&content)?;
                continue;
            }
            let rest = (&*file).take(MOST + 1 - content.len() as u64);
            let blob = BlobRef::of_reader(content.as_slice().chain(rest)).map_err(broken(name))?;
            split::check_file(&shown, blob.len, MOST).map_err(|e| fail(&e))?;
            self.draft.push_blob(blob, number, 0).map_err(|error| full(self.home, &error))?;
        }
        Ok(())
    }

    fn lines(&mut self, global: &Global, inputs: &[OsString], block: Option<NonZeroU64>) -> Result<(), Fail> {
        let stdin = [OsString::from("-")];
        let names = if inputs.is_empty() { &stdin[..] } else { inputs };
        for name in names {
            let (number, file) = if name == "-" { self.spool(global)? } else { regular(name, self.home, self.draft)? };
            self.lines_of(&file, number, name, block)?;
            split::check_count(self.draft.chunks()).map_err(|e| fail(&e))?;
        }
        Ok(())
    }

    /// Standard input, all of it, in a file of the job.
    fn spool(&mut self, global: &Global) -> Result<(FileNumber, Arc<File>), Fail> {
        let mut stdin = io::stdin().lock();
        if stdin.is_terminal() {
            let words = "essaim: reading standard input from the terminal; end it with Ctrl-D";
            say(global, words, "reading", serde_json::json!({ "from": "terminal" }));
        }
        copy(&mut stdin, "standard input", self.home, self.draft)
    }

    /// Cuts one text, reading it once.
    fn lines_of(
        &mut self,
        file: &File,
        number: FileNumber,
        name: &OsStr,
        block: Option<NonZeroU64>,
    ) -> Result<(), Fail> {
        let len = file.metadata().map_err(broken(name))?.len();
        let mut cutter = LineCutter::new(block.unwrap_or_else(|| split::default_block(len)), MOST);
        let mut reader = file;
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
                self.stretch(&rest[taken..upto], number, begin + taken as u64)?;
                taken = upto;
            }
            rest.drain(..taken);
            begin += taken as u64;
        }
        if cutter.finish().is_some() {
            self.stretch(&rest, number, begin)?;
        }
        Ok(())
    }

    fn stretch(&mut self, content: &[u8], file: FileNumber, offset: u64) -> Result<(), Fail> {
        self.draft.push(content, file, offset).map_err(|error| full(self.home, &error))
    }

    fn inline(&mut self, content: &[u8]) -> Result<(), Fail> {
        self.draft.push_inline(content).map_err(|error| full(self.home, &error))
    }
}
