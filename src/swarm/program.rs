//! A program that a host program has run: a file, bytes, or a Rust folder that is built first.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use essaim_worker::Engine;

use super::Error;
use crate::build;

/// Where a program is.
#[derive(Clone, Debug)]
pub enum Source {
    /// A .wasm or .wat file, or the folder of a Rust program.
    Path(PathBuf),
    /// WebAssembly, binary or text.
    Bytes(Bytes),
}

/// Texts are paths.
macro_rules! from_path {
    ($($path:ty),*) => {
        $(impl From<$path> for Source {
            fn from(path: $path) -> Source {
                Source::Path(path.into())
            }
        })*
    };
}
from_path!(&str, String, &Path, PathBuf);

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Source {
        Source::Bytes(bytes.into())
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Source {
        Source::Bytes(bytes)
    }
}

/// As `include_bytes!` gives them.
impl<const N: usize> From<&'static [u8; N]> for Source {
    fn from(bytes: &'static [u8; N]) -> Source {
        Source::Bytes(Bytes::from_static(bytes))
    }
}

/// A program that has been found to be one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) name: String,
    pub(super) bytes: Bytes,
    /// For its reduce.
    pub(super) compiled: essaim_worker::Program,
}

impl Program {
    /// Its name for people: the file's, without the ending.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has a reduce of its own.
    #[must_use]
    pub fn reduces(&self) -> bool {
        self.compiled.roles().reduce
    }

    /// Whether it cuts inputs itself, so that its chunks are in a form of its own.
    pub(super) fn has_split(&self) -> bool {
        self.compiled.roles().split
    }

    /// Whether its outputs are for itself, in the kit's own form, and not for people.
    pub(super) fn gives_parts(&self) -> bool {
        let roles = self.compiled.roles();
        roles.reduce || roles.combine
    }

    /// Reads or builds it, and compiles it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Build`], [`Error::Program`].
    pub(super) async fn load(engine: Engine, source: Source) -> Result<Program, Error> {
        let (name, bytes) = match source {
            Source::Bytes(bytes) => ("program".to_owned(), bytes),
            Source::Path(path) => {
                let path = if path.is_dir() { build::build(&path, true, |_| {}).await? } else { path };
                let name = build::name(&path);
                let bytes = tokio::fs::read(&path).await.map_err(|source| Error::Read { path, source })?;
                (name, bytes.into())
            }
        };
        let compiling = tokio::task::spawn_blocking({
            let bytes = bytes.clone();
            move || engine.load(&bytes)
        });
        match compiling.await {
            Ok(Ok(compiled)) => Ok(Program { name, bytes, compiled }),
            Ok(Err(source)) => Err(Error::Program { name, source }),
            // The runtime ends.
            Err(_) => Err(Error::Gone),
        }
    }
}
