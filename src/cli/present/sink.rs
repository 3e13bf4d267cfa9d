//! One place to which bytes go: standard output, or a file that has its name only when all is there.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use tempfile::{Builder, NamedTempFile};

use super::{Unwritten, unwritten};
use crate::cli::fail::Fail;

/// What a new file may be used for, before the person's umask.
const MODE: u32 = 0o666;

/// Where bytes go.
#[derive(Debug)]
pub enum Sink {
    /// Beside a bar, perhaps.
    Stdout(Option<ProgressBar>),
    /// A new file beside the one that it will replace.
    New(NamedTempFile, PathBuf),
    /// Something that cannot be replaced: a pipe or a device.
    Stream(File),
}

impl Sink {
    /// The file `path`, as it will be.
    ///
    /// # Errors
    /// It is a folder, or nothing can be written beside it.
    pub fn file(path: &Path) -> Result<Sink, Fail> {
        let shown = path.display();
        let refused = |error: io::Error| {
            Fail::new(format!("cannot write {shown}: {error}"), "-o FILE is to be in a folder that you can write to")
        };
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => {
                let hint = "-o takes the name of a file; --results DIR writes a file a chunk into a folder";
                Err(Fail::new(format!("{shown} is a folder"), hint).with_status(2))
            }
            Ok(about) if !about.is_file() => File::options().write(true).open(path).map(Sink::Stream).map_err(refused),
            Ok(about) => {
                // Behind a link, too.
                let path = path.canonicalize().map_err(refused)?;
                Ok(Sink::New(beside(&path, about.permissions()).map_err(refused)?, path))
            }
            Err(_) => Ok(Sink::New(beside(path, Permissions::from_mode(MODE)).map_err(refused)?, path.to_owned())),
        }
    }

    /// The same, where it is standard output with a bar.
    pub fn beside(self, bar: ProgressBar) -> Sink {
        match self {
            Sink::Stdout(_) => Sink::Stdout(Some(bar)),
            other => other,
        }
    }

    /// All has been written: it is there now.
    ///
    /// # Errors
    /// As of writing.
    pub fn finish(mut self) -> Result<(), Unwritten> {
        self.flush().map_err(unwritten)?;
        if let Sink::New(file, path) = self {
            file.as_file().sync_all().map_err(unwritten)?;
            file.persist(path).map_err(|refused| unwritten(refused.error))?;
        }
        Ok(())
    }
}

/// A new file in the folder of `path`, which goes away unless it gets that name.
pub fn beside(path: &Path, mode: Permissions) -> io::Result<NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Builder::new().prefix(".essaim-").permissions(mode).tempfile_in(dir)
}

/// As [`beside`], with the usual permissions.
pub fn new_beside(path: &Path) -> io::Result<NamedTempFile> {
    beside(path, Permissions::from_mode(MODE))
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(Some(bar)) if io::stdout().is_terminal() => bar.suspend(|| io::stdout().write(bytes)),
            Sink::Stdout(_) => io::stdout().write(bytes),
            Sink::New(file, _) => file.write(bytes),
            Sink::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout(_) => io::stdout().flush(),
            Sink::New(file, _) => file.flush(),
            Sink::Stream(file) => file.flush(),
        }
    }
}
