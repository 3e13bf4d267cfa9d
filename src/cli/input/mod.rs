//! INPUT: cuts what the person gave into chunks. Files stay where they are; standard input is spooled to the disk, all of
//! it or what comes first.

mod chunker;
mod own;
mod size;
mod text;
mod values;
mod way;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use essaim_jobs::bounds;
use essaim_jobs::split::SplitError;

use super::Fail;
use super::args::{Global, Run};
use super::stream::Reader;
use crate::store::{Draft, FileNumber, Home};

pub use chunker::Chunker;
pub use size::{How, Threads, Trial};
pub use way::Way;

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// Bytes that one chunk may have.
const MOST: u64 = bounds::BLOB_BYTES;

/// An input that has been cut.
pub struct Cut {
    /// How.
    pub how: How,
    /// Where more of it comes from, and what it is made of.
    pub more: Option<Reader>,
}

impl From<How> for Cut {
    fn from(how: How) -> Cut {
        Cut { how, more: None }
    }
}

/// Cuts what `run` names in that way into the chunks of `draft`; blocks. Of a standard input without an end in sight, the
/// beginning.
///
/// # Errors
/// The input cannot be read, is empty, or cannot be cut; the disk is full; the program's own `split` failed.
pub fn cut(
    global: &Global,
    run: &Run,
    way: Way,
    trial: &Trial<'_>,
    home: &Home,
    draft: &mut Draft,
) -> Result<Cut, Fail> {
    let mut cut = Cutting { global, trial, home, draft };
    let done = match way {
        Way::Values(lists) => cut.values(&lists)?.into(),
        Way::PerFile => cut.per_file(&run.inputs)?.into(),
        Way::Plain { range, .. } if trial.program.outline.roles.split => cut.own(&run.inputs, range)?.into(),
        Way::Range(range, block) => cut.range(range, block)?.into(),
        Way::Plain { range: Some(range), .. } => cut.range(range, None)?.into(),
        Way::Plain { items, .. } => cut.text(run, &items, None)?,
        Way::Text(items, block) => cut.text(run, &items, block)?,
    };
    if cut.draft.chunks() == 0 {
        let hint = "give a text on standard input or as a file, a range such as 0..1000, or `::: VALUES`";
        return Err(Fail::new("the input is empty: there is nothing to run", hint));
    }
    Ok(done)
}

fn fail(error: &SplitError) -> Fail {
    Fail::new(error, error.hint())
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
pub(super) fn full(home: &Path, error: &io::Error) -> Fail {
    let hint = "make room, or choose another disk with --home DIR";
    Fail::new(format!("cannot keep the job in {}: {error}", home.display()), hint)
}

fn copy(from: &mut impl Read, shown: &str, home: &Home, draft: &mut Draft) -> Result<(FileNumber, Arc<File>), Fail> {
    let (number, file) = draft.scratch().map_err(|error| full(home.dir(), &error))?;
    let mut piece = vec![0; PIECE];
    loop {
        let n = match from.read(&mut piece) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Fail::new(format!("cannot read {shown}: {error}"), "check where it comes from")),
        };
        if n == 0 {
            (&*file).rewind().map_err(|error| full(home.dir(), &error))?;
            return Ok((number, file));
        }
        (&*file).write_all(&piece[..n]).map_err(|error| full(home.dir(), &error))?;
    }
}

/// An input that is being cut.
struct Cutting<'a> {
    global: &'a Global,
    trial: &'a Trial<'a>,
    home: &'a Home,
    draft: &'a mut Draft,
}

impl Cutting<'_> {
    fn inline(&mut self, content: &[u8]) -> Result<(), Fail> {
        self.draft.push_inline(content).map_err(|error| full(self.home.dir(), &error))
    }
}
