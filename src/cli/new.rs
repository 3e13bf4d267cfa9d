//! `essaim new`: a folder with a job of one's own, which builds and runs wherever Rust is.
//!
//! The kit is not published, so the command has its sources in itself, and lays them beside the job.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use toml::{Table, Value};

use super::Fail;
use super::args::Global;
use super::say::say;

/// The kit's folder in the job's.
const KIT: &str = "essaim-guest";

/// Sources of the kit, by their names in its `src`.
macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../jobs/guest/src/", $name)))),*]
    };
}

const SOURCES: &[(&str, &str)] = sources![
    "codec.rs",
    "failure.rs",
    "input.rs",
    "job.rs",
    "lib.rs",
    "output.rs",
    "parts.rs",
    "progress.rs",
    "roles.rs",
    "stdin.rs",
    "step.rs",
    "testing.rs",
];
const KIT_MANIFEST: &str = include_str!("../../jobs/guest/Cargo.toml");
const WORKSPACE: &str = include_str!("../../Cargo.toml");

/// Makes the folder `path`, whose last part is the job's name.
///
/// # Errors
/// It is there already, its name is none for a program, or it cannot be written.
pub fn new(global: &Global, path: &Path) -> Result<(), Fail> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check(name, path)?;
    fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| fs::create_dir(path)).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "choose another name, or remove it first",
            _ => "choose a folder that you may write to",
        };
        Fail::new(format!("cannot make the folder {}: {error}", path.display()), hint)
    })?;
    for (file, content) in files(name)? {
        let file = path.join(file);
        let parent = file.parent().unwrap_or(path);
        fs::create_dir_all(parent).and_then(|()| fs::write(&file, content)).map_err(|error| {
            Fail::new(
                format!("cannot write {}: {error}", file.display()),
                "make room on its disk, and remove the folder",
            )
        })?;
    }
    let shown = path.display();
    let words = format!("essaim: {shown} is a job; try it with: essaim run {shown} 0..1000");
    say(global, words, "made", json!({ "folder": path.to_string_lossy() }));
    Ok(())
}

/// Whether cargo takes a program of that name.
fn check(name: &str, path: &Path) -> Result<(), Fail> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    // The other folders of a build, and the libraries that a job has, go by these.
    let taken = [KIT, "test", "core", "std", "alloc", "build", "deps", "examples", "incremental"];
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_fine) && !taken.contains(&name) {
        return Ok(());
    }
    let hint = "a name begins with a letter, and has letters, digits, - and _: essaim new my-job";
    Err(Fail::new(format!("{} is no name for a Rust program", path.display()), hint).with_status(2))
}

/// All files of a job called `name`, by their paths in its folder.
fn files(name: &str) -> Result<Vec<(PathBuf, String)>, Fail> {
    let named = |template: &str| template.replace("{name}", name);
    let kit = standalone(KIT_MANIFEST, WORKSPACE)
        .map_err(|error| Fail::new(format!("the kit has no manifest: {error}"), "this is a fault of essaim's"))?;
    let mut files = vec![
        (PathBuf::from("Cargo.toml"), named(include_str!("new/manifest.toml"))),
        (PathBuf::from(".gitignore"), "/target\n".to_owned()),
        (PathBuf::from("README.md"), named(include_str!("new/readme.md"))),
        (PathBuf::from("src/main.rs"), named(include_str!("new/job.rs"))),
        (Path::new(KIT).join("Cargo.toml"), kit),
    ];
    let source = |(name, source): &(&str, &str)| (Path::new(KIT).join("src").join(name), (*source).to_owned());
    files.extend(SOURCES.iter().map(source));
    Ok(files)
}

/// A manifest of a member of a workspace, with all that it inherits written out.
fn standalone(manifest: &str, workspace: &str) -> Result<String, toml::de::Error> {
    let mut manifest: Table = manifest.parse()?;
    let workspace: Table = workspace.parse()?;
    manifest.remove("lints");
    for section in ["package", "dependencies"] {
        let Some(Value::Table(own)) = manifest.get_mut(section) else { continue };
        for (key, value) in own.iter_mut().filter(|(_, value)| value.get("workspace").is_some()) {
            if let Some(inherited) = workspace["workspace"].get(section).and_then(|section| section.get(key)) {
                *value = inherited.clone();
            }
        }
    }
    Ok(manifest.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_whole_kit_goes_along() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/guest/src");
        let there: BTreeSet<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        let taken: BTreeSet<_> = SOURCES.iter().map(|(name, _)| (*name).into()).collect();
        assert_eq!(taken, there);
    }

    #[test]
    fn its_manifest_inherits_nothing() {
        let kit: Table = standalone(KIT_MANIFEST, WORKSPACE).unwrap().parse().unwrap();
        assert!(!kit.to_string().contains("workspace"), "{kit}");
        assert_eq!(kit["package"]["edition"].as_str(), Some("2024"));
        assert_eq!(kit["dependencies"]["serde"]["version"].as_str(), Some("1"));
        assert!(kit.get("lints").is_none());
    }

    #[test]
    fn names_are_those_that_cargo_takes() {
        for name in ["hello", "my-job_2", "X"] {
            assert!(check(name, Path::new(name)).is_ok(), "{name}");
        }
        for name in ["", "2nd", "-x", "a b", "é", "a.b", "test", "essaim-guest"] {
            assert!(check(name, Path::new(name)).is_err(), "{name}");
        }
    }
}
