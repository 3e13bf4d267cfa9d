//! The manifest: a job's immutable description. `JobId` is the hash of its canonical encoding.

use serde::{Deserialize, Serialize};

use crate::bounds::{self, Text};
use crate::chunk::Rows;
use crate::halt::Halt;
use crate::id::{AuthorId, BlobRef, JobId};
use crate::role::Role;
use crate::sign::{Signable, Signed};
use crate::wire::encode;

/// The version of the manifest's form that this code writes and reads.
pub const VERSION: u16 = 2;

/// One argument, or one side of an environment variable.
pub type Arg = Text<{ bounds::ARG_BYTES }>;
/// A name for people.
pub type Name = Text<{ bounds::NAME_BYTES }>;

/// What one chunk may use; each breach is a named failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Standard output, bytes.
    pub output_bytes: u64,
    /// Running time, milliseconds by the wall of the machine that runs it.
    pub millis: u64,
    /// Exact amount of computation, in instructions of WebAssembly (most cost 1), the same on every machine. Where it is
    /// limited, code to count it is compiled in, which makes the program slower.
    pub fuel: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 512 << 20, output_bytes: 64 << 20, millis: 60_000, fuel: None }
    }
}

/// A blob that the program may read as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The file's path in the guest's root folder, as `model/weights.bin`; see [`check_names`].
    pub name: Name,
    /// Its content.
    pub blob: BlobRef,
}

/// A job's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u16,
    /// The program's name, for people only.
    pub name: Name,
    /// The WebAssembly program.
    pub program: BlobRef,
    /// What its chunks are run as: [`Role::Map`], or [`Role::Combine`] where each is a row of another job's outputs.
    pub role: Role,
    /// Arguments, the program's own name not included.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::ARGV }>")]
    pub argv: Vec<Arg>,
    /// How many values each chunk's input has for the places in its arguments ([`crate::fill`]); 0 where these are meant
    /// as they stand.
    pub values: u8,
    /// Environment variables.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::ENV }>")]
    pub env: Vec<(Arg, Arg)>,
    /// Read-only data.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::MOUNTS }>")]
    pub data: Vec<Mount>,
    /// Number of chunks, 1 to `PAGES` × `PAGE_CHUNKS`.
    pub chunks: u32,
    /// The number under which the program sees the first of them: not 0 where the job goes on with the input of another.
    pub first_chunk: u32,
    /// The chunk table: encoded [`crate::Page`]s of `PAGE_CHUNKS` chunks each, the last one may be shorter.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::PAGES }>")]
    pub pages: Vec<BlobRef>,
    /// What a chunk may use.
    pub limits: Limits,
    /// Every NaN has the same bits, whatever the machine: compiled in, which makes floating-point code several times
    /// slower. Without, it is the one thing in which two architectures may differ.
    pub strict: bool,
    /// How many different peers run each chunk, 1 to [`bounds::COPIES`].
    pub copies: u8,
    /// For the author: how often a chunk that failed is tried again.
    pub retries: u32,
    /// For the author: what becomes of the job when chunks have failed for good.
    pub halt: Halt,
    /// For the author: whether the program folds the outputs.
    pub folds: bool,
    /// How long the job's peers keep it while its author is away, seconds, at most [`bounds::KEEP_SECONDS`].
    pub keep_seconds: u32,
    /// Who submits.
    pub author: AuthorId,
    /// When, milliseconds since 1970 by the author's clock; for people only.
    pub created_ms: u64,
    /// Makes two submissions of the same work two jobs.
    pub nonce: u64,
}

/// What is wrong with a manifest that decodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Made by another version of essaim.
    #[error("manifest version {0}, this essaim reads version {VERSION}")]
    Version(u16),
    /// Signed by another key than its author's.
    #[error("the manifest is not signed by its author")]
    NotTheAuthor,
    /// A field's value is outside its bounds.
    #[error("the manifest's {0} is out of bounds")]
    OutOfBounds(&'static str),
}

impl Manifest {
    /// The job's name: the hash of the canonical manifest.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId(*blake3::hash(&encode(self)).as_bytes())
    }

    /// The job's slots: its chunks, `copies` times.
    #[must_use]
    pub fn rows(&self) -> Rows {
        Rows { chunks: self.chunks, copies: self.copies }
    }

    /// Checks what decoding alone cannot: that the fields fit one another and their bounds.
    ///
    /// # Errors
    /// The first [`ManifestError`] found.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.version != VERSION {
            return Err(ManifestError::Version(self.version));
        }
        let pages = (self.chunks as usize).div_ceil(bounds::PAGE_CHUNKS);
        let fits = [
            ("number of chunks", self.chunks > 0 && pages <= bounds::PAGES),
            ("first chunk's number", self.first_chunk.checked_add(self.chunks).is_some()),
            ("number of pages", self.pages.len() == pages),
            ("role", matches!(self.role, Role::Map | Role::Combine)),
            ("copies", (1..=bounds::COPIES).contains(&self.copies)),
            ("blob length", self.blobs().all(|blob| blob.len <= bounds::BLOB_BYTES)),
            ("data names", check_names(self.data.iter().map(|mount| mount.name.as_str())).is_ok()),
            ("time it is kept", self.keep_seconds <= bounds::KEEP_SECONDS),
            ("memory limit", self.limits.memory_bytes <= 4 << 30),
            ("output limit", self.limits.output_bytes <= bounds::BLOB_BYTES),
            ("time limit", (1..=7 * 24 * 3_600_000).contains(&self.limits.millis)),
        ];
        match fits.iter().find(|(_, fits)| !fits) {
            Some((field, _)) => Err(ManifestError::OutOfBounds(field)),
            None => Ok(()),
        }
    }

    fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        self.pages.iter().chain([&self.program]).chain(self.data.iter().map(|mount| &mount.blob))
    }
}

/// Whether a list of files can stand in one root folder: each name is a path of plain parts, none twice, none a folder
/// of another's.
///
/// # Errors
/// The name that cannot.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']);
    for (at, name) in names.iter().enumerate() {
        let twice = names[..at].contains(name);
        let folder = names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
        if twice || folder || !name.split('/').all(plain) {
            return Err((*name).to_owned());
        }
    }
    Ok(())
}

impl Signable for Manifest {
    const DOMAIN: &'static str = "essaim 2026 manifest v1";
}

impl Signed<Manifest> {
    /// Checks the signature, the signer and the manifest.
    ///
    /// # Errors
    /// [`ManifestError`] for the first thing that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        self.body.check()?;
        if self.signer != self.body.author.0 || self.verify().is_err() {
            return Err(ManifestError::NotTheAuthor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_stand_together_are_refused() {
        let check = |names: &[&str]| check_names(names.iter().copied());
        assert!(check(&["a", "b/c", "b/d", "bc"]).is_ok());
        for bad in [&["a", "a"][..], &["b", "b/c"], &[""], &["/a"], &["a/"], &["../a"], &["a/./b"], &["a\0"]] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
