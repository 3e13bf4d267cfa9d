//! Builds a folder with a Cargo.toml for `wasm32-wasip1`, and adds that target where it is missing.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use essaim_jobs::bounds;
use serde_json::Value;
use tokio::process::Command;

/// What programs are compiled for.
pub const TARGET: &str = "wasm32-wasip1";

/// What takes a while, and is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The standard library for the target is fetched.
    AddTarget,
    /// The folder is compiled.
    Compile,
}

/// Why a folder gives no program.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It is not a Rust program's.
    #[error("there is no Cargo.toml in {0}")]
    NoManifest(PathBuf),
    /// cargo does not start.
    #[error("cannot run cargo: {0}")]
    NoCargo(io::Error),
    /// There is no standard library to compile for.
    #[error("Rust cannot compile for {TARGET}, and rustup cannot add it")]
    NoTarget,
    /// The compiler refuses it; it has said why on stderr.
    #[error("{0} does not build")]
    Fails(PathBuf),
    /// It is a library.
    #[error("{0} builds no program")]
    NoProgram(PathBuf),
    /// It is not clear which is meant.
    #[error("{folder} builds {} programs", programs.len())]
    Several {
        /// The folder.
        folder: PathBuf,
        /// What it has built.
        programs: Vec<PathBuf>,
    },
}

impl BuildError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            BuildError::NoManifest(_) => "PROGRAM is a .wasm, .wat or .py file, or the folder of a Rust program".into(),
            BuildError::NoCargo(_) => "install Rust: https://rustup.rs".into(),
            BuildError::NoTarget => {
                format!("run `rustup target add {TARGET}`, or install that target as your Rust was installed")
            }
            BuildError::Fails(_) => "see what the compiler says above".into(),
            BuildError::NoProgram(_) => "it needs a src/main.rs".into(),
            BuildError::Several { programs, .. } => {
                let names: Vec<_> = programs.iter().map(|path| path.display().to_string()).collect();
                format!("say which:\n{}", names.join("\n"))
            }
        }
    }
}

/// Builds the one program in `folder`, and returns its `.wasm`; `tell` hears of what takes a while. The compiler speaks on
/// stderr, with `quiet` of nothing but errors.
///
/// # Errors
/// [`BuildError`].
pub async fn build(folder: &Path, quiet: bool, tell: impl Fn(Step)) -> Result<PathBuf, BuildError> {
    if !folder.join("Cargo.toml").is_file() {
        return Err(BuildError::NoManifest(folder.to_owned()));
    }
    add_target(folder, &tell).await?;
    tell(Step::Compile);
    let mut cargo = Command::new(cargo());
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if quiet {
        cargo.arg("--quiet");
    }
    let built = cargo.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    let built = built.map_err(BuildError::NoCargo)?;
    if !built.status.success() {
        return Err(BuildError::Fails(folder.to_owned()));
    }
    let programs = programs(&built.stdout, folder);
    match programs.as_slice() {
        [program] => Ok(program.clone()),
        [] => Err(BuildError::NoProgram(folder.to_owned())),
        _ => Err(BuildError::Several { folder: folder.to_owned(), programs }),
    }
}

/// The programs among what cargo says that it has built, of the package in `folder` only.
fn programs(messages: &[u8], folder: &Path) -> Vec<PathBuf> {
    let here = folder.join("Cargo.toml").canonicalize().ok();
    let lines = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let ours = lines.filter(|message| message["manifest_path"].as_str().map(PathBuf::from) == here);
    ours.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect()
}

/// Makes sure that the compiler has a standard library for the target.
async fn add_target(folder: &Path, tell: impl Fn(Step)) -> Result<(), BuildError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder).output().await;
    let there =
        asked.is_ok_and(|out| out.status.success() && Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
    if there {
        return Ok(());
    }
    tell(Step::AddTarget);
    let rustup =
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).stdout(Stdio::null()).status();
    match rustup.await {
        Ok(status) if status.success() => Ok(()),
        _ => Err(BuildError::NoTarget),
    }
}

/// The cargo that runs us, if one does.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What the program in the file `path` is called: as the file, without the ending.
#[must_use]
pub fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().take(bounds::NAME_BYTES / 4).collect()
}
