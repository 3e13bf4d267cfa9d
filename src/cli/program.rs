//! PROGRAM: a `.wasm`, a `.wat`, or a folder that is built to one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use essaim_worker::{Engine, Outline, Program};
use serde_json::json;

use super::Fail;
use super::args::Global;
use super::say::say;
use crate::build::{self, Step, TARGET};

/// A program that has been found to be one.
#[derive(Debug)]
pub struct Checked {
    /// Its name for people, by [`build::name`].
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// WebAssembly.
    pub bytes: Bytes,
    /// What it says of itself.
    pub outline: Outline,
    engine: Engine,
    compiled: OnceLock<Program>,
}

impl Checked {
    /// Compiled for this process, when first asked for: that takes a second for each megabyte or so.
    ///
    /// # Errors
    /// It does not compile.
    pub fn compiled(&self) -> Result<&Program, Fail> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let shown = self.path.display();
        let compiled = self.engine.load(&self.bytes).map_err(|e| Fail::new(format!("{shown}: {e}"), e.hint()))?;
        Ok(self.compiled.get_or_init(|| compiled))
    }
}

/// The file that `path` stands for: itself, or what its folder builds.
///
/// # Errors
/// There is no such thing, or it does not build.
pub async fn find(global: &Global, path: &Path) -> Result<PathBuf, Fail> {
    match fs::metadata(path) {
        Err(error) => {
            let hint = "PROGRAM is a .wasm, .wat or .py file, or a folder with a Cargo.toml";
            Err(Fail::new(format!("no program at {}: {error}", path.display()), hint))
        }
        Ok(found) if found.is_dir() => build(global, path).await,
        Ok(_) => Ok(path.to_owned()),
    }
}

/// Builds `folder`, and says what takes a while.
async fn build(global: &Global, folder: &Path) -> Result<PathBuf, Fail> {
    let tell = |step| match step {
        Step::AddTarget => {
            say(
                global,
                format!("essaim: adding the target {TARGET} with rustup"),
                "target",
                json!({ "target": TARGET }),
            );
        }
        Step::Compile => {
            let words = format!("essaim: building {} for {TARGET}", folder.display());
            say(global, words, "building", json!({ "folder": folder.to_string_lossy() }));
        }
    };
    build::build(folder, global.quiet || global.json, tell).await.map_err(|e| Fail::of(&e, e.hint()))
}

/// Reads the program in the file `path`.
///
/// # Errors
/// It cannot be read, or is not a program that essaim runs.
pub fn check(engine: Engine, path: PathBuf) -> Result<Checked, Fail> {
    let bytes = fs::read(&path)
        .map_err(|error| Fail::new(format!("cannot read {}: {error}", path.display()), "check its permissions"))?;
    let outline =
        engine.check(&bytes).map_err(|error| Fail::new(format!("{}: {error}", path.display()), error.hint()))?;
    Ok(Checked { name: build::name(&path), path, bytes: bytes.into(), outline, engine, compiled: OnceLock::new() })
}
