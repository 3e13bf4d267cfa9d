//! Builds a folder with a Cargo.toml for `wasm32-wasip1`, and adds that target where it is missing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::Fail;
use super::args::Global;
use super::say::say;

const TARGET: &str = "wasm32-wasip1";

/// Builds the one program in `folder`, and returns its `.wasm`.
///
/// # Errors
/// No Cargo.toml, no cargo, no target, a build that fails, or no single program.
pub async fn build(global: &Global, folder: &Path) -> Result<PathBuf, Fail> {
    if !folder.join("Cargo.toml").is_file() {
        let hint = "PROGRAM is a .wasm or .wat file, or the folder of a Rust program";
        return Err(Fail::new(format!("there is no Cargo.toml in {}", folder.display()), hint));
    }
    add_target(global, folder).await?;
    let words = format!("essaim: building {} for {TARGET}", folder.display());
    say(global, words, "building", json!({ "folder": folder.to_string_lossy() }));
    let mut cargo = Command::new(cargo());
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if global.quiet || global.json {
        cargo.arg("--quiet");
    }
    let built = cargo.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    let built =
        built.map_err(|error| Fail::new(format!("cannot run cargo: {error}"), "install Rust: https://rustup.rs"))?;
    if !built.status.success() {
        return Err(Fail::new(format!("{} does not build", folder.display()), "see what the compiler says above"));
    }
    let programs = programs(&built.stdout, folder);
    match programs.as_slice() {
        [program] => Ok(program.clone()),
        [] => Err(Fail::new(format!("{} builds no program", folder.display()), "it needs a src/main.rs")),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{} builds {} programs", folder.display(), several.len());
            Err(Fail::new(message, format!("say which:\n{}", names.join("\n"))))
        }
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
async fn add_target(global: &Global, folder: &Path) -> Result<(), Fail> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder).output().await;
    let there =
        asked.is_ok_and(|out| out.status.success() && Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
    if there {
        return Ok(());
    }
    say(global, format!("essaim: adding the target {TARGET} with rustup"), "target", json!({ "target": TARGET }));
    let rustup =
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).stdout(Stdio::null()).status();
    match rustup.await {
        Ok(status) if status.success() => Ok(()),
        _ => {
            let hint = format!("run `rustup target add {TARGET}`, or install that target as your Rust was installed");
            Err(Fail::new(format!("Rust cannot compile for {TARGET}, and rustup cannot add it"), hint))
        }
    }
}

/// The cargo that runs us, if one does.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
