//! A copy of the crates that are judged, in the target folder, where mistakes can be planted. It has a target
//! folder of its own, so that what never changes is built once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::plant::Plant;

/// What is copied: the crates, and what their manifests name outside of them.
const FOLDERS: [&str; 3] = ["jobs", "coordinator-free", "benches"];
const FILES: [&str; 3] = ["Cargo.lock", "clippy.toml", "rust-toolchain.toml"];

pub struct Workshop {
    root: PathBuf,
}

/// A command that has ended, or was ended.
pub struct Done {
    pub success: bool,
    /// It had not ended in time.
    pub late: bool,
    pub text: String,
}

impl Workshop {
    /// Makes the copy equal to `source`. Files that have not changed are not touched, or cargo would build them anew.
    pub fn open(source: &Path) -> io::Result<Workshop> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        for folder in FOLDERS {
            mirror(&source.join(folder), &root.join(folder))?;
        }
        for file in FILES {
            write(&root.join(file), &fs::read(source.join(file))?)?;
        }
        let manifest = fs::read_to_string(source.join("Cargo.toml"))?;
        write(&root.join("Cargo.toml"), workspace_of(&manifest).as_bytes())?;
        Ok(Workshop { root })
    }

    /// Plants a mistake; returns the files that it changes, as they were.
    pub fn plant(&self, plant: &Plant) -> Result<Vec<(&'static str, String)>, String> {
        let mut pristine = Vec::new();
        for (file, text) in plant.planted(&self.root)? {
            let error = |error: io::Error| format!("{file}: {error}");
            pristine.push((file, fs::read_to_string(self.root.join(file)).map_err(error)?));
            self.put(file, &text).map_err(error)?;
        }
        Ok(pristine)
    }

    pub fn put(&self, file: &str, text: &str) -> io::Result<()> {
        write(&self.root.join(file), text.as_bytes())
    }

    /// The tests of a crate that are one file each.
    pub fn test_files(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(folder).join("tests"))? {
            let path = entry?.path();
            if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "rs")) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Builds the tests of `args` and returns their programs; `Err` holds what the compiler said.
    pub fn build(&self, args: &[&str]) -> io::Result<Result<Vec<PathBuf>, String>> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--no-run", "--offline", "--color", "never"]).args(args).current_dir(&self.root);
        // A mistake may leave something unused behind.
        cargo.env("CARGO_TARGET_DIR", self.root.join("target")).env("RUSTFLAGS", "-Awarnings");
        let done = self.run(cargo, Duration::from_secs(1_800))?;
        if !done.success {
            return Ok(Err(done.text));
        }
        let program = |line: &str| Some(self.root.join(line.trim().strip_prefix("Executable ")?.split_once(" (")?.1));
        let closed = |path: PathBuf| PathBuf::from(path.to_string_lossy().trim_end_matches(')'));
        Ok(Ok(done.text.lines().filter_map(program).map(closed).collect()))
    }

    /// Runs one of the programs, always with the same dice, and ends it when it takes longer than `limit`.
    pub fn program(&self, program: &Path, folder: &str, args: &[&str], limit: Duration) -> io::Result<Done> {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root.join(folder));
        command.env("PROPTEST_RNG_SEED", "1").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        self.run(command, limit)
    }

    fn run(&self, mut command: Command, limit: Duration) -> io::Result<Done> {
        // Through a file: a pipe that nobody empties would stop it.
        let log = self.root.join("log");
        let file = fs::File::create(&log)?;
        let mut child =
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn().map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
            })?;
        let began = Instant::now();
        let mut late = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if !late && began.elapsed() > limit {
                late = true;
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(Done { success: status.success(), late, text })
    }
}

/// The workspace's manifest with these crates only.
fn workspace_of(manifest: &str) -> String {
    let mut out = String::from(
        "[workspace]\nresolver = \"3\"\nmembers = [\"jobs\", \"coordinator-free\", \"coordinator-free/sim\"]\n",
    );
    let mut kept = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            kept = line.starts_with("[workspace.") || line.starts_with("[profile.");
        }
        if kept {
            out += line;
            out.push('\n');
        }
    }
    out
}

fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        names.insert(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&old, &new)?;
        } else {
            write(&new, &fs::read(old)?)?;
        }
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
    }
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes)
}
