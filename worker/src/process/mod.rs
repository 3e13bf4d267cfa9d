//! Chunks in processes of their own. The node, which holds the keys and talks to strangers, never runs their code: a
//! child process compiles it, others run it, and a child can do nothing else ([`confine`]).
//!
//! A child that runs has one thread and one program, so that ending it, which is how a chunk is stopped that has
//! started, ends nothing else, and so that a program that broke out of WebAssembly would find no other's. The guest
//! has no checks compiled into it and runs at full speed.

mod cache;
mod child;
mod compile;
pub mod confine;
mod frame;
mod seat;
mod socket;
mod supervise;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

pub use child::sandbox;
pub use supervise::Processes;

/// How a sandbox process is started: an executable that hands its further words to [`sandbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The executable.
    pub program: PathBuf,
    /// Its first words.
    pub words: Vec<OsString>,
}

impl Launch {
    /// A command with these further words, which inherits nothing of ours.
    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.words).args(words).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// How chunks are run in processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessConfig {
    /// How one is started.
    pub launch: Launch,
    /// How many chunks run at the same time, at least 1.
    pub cpus: usize,
    /// The most memory that this machine gives one chunk, bytes.
    pub memory_bytes: u64,
    /// The most memory that all chunks may have that run at the same time, bytes: the sum of their jobs' limits.
    pub total_bytes: u64,
    /// Where compiled programs are kept: a folder that only this user may write to.
    pub cache: PathBuf,
    /// How much is kept there, bytes.
    pub cache_bytes: u64,
    /// How long compiling one program may take, on the processor.
    pub compile_within: Duration,
}

impl ProcessConfig {
    /// With what has no better choice: all cores, 4 GiB a chunk and no limit in all, 2 GiB of compiled programs,
    /// 10 minutes to compile.
    #[must_use]
    pub fn new(launch: Launch, cache: PathBuf) -> ProcessConfig {
        ProcessConfig {
            launch,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: 4 << 30,
            total_bytes: u64::MAX,
            cache,
            cache_bytes: 2 << 30,
            compile_within: Duration::from_secs(600),
        }
    }
}
