//! Where the programs of others run: in processes of their own, which are this executable once more.
//!
//! The command `essaim` is such an executable by itself. A host program, which has the library, becomes one with
//! [`init`] as the first line of its `main`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use essaim_worker::process::{Launch, ProcessConfig, sandbox};
use essaim_worker::{Engine, EngineConfig, EngineError, Sandbox};

use crate::peer::Terms;
use crate::store::Home;

/// The word by which this executable knows that it is to be a sandbox process; not for people.
const WORD: &str = "sandbox-process";

/// Whether this executable knows the word.
static READY: AtomicBool = AtomicBool::new(false);

/// What contains a program, beside WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Processes that can open, reach and start nothing
    Process,
    /// Nothing: it runs in essaim's own process
    None,
}

/// Makes this executable one that can be its own sandbox; the first thing that `main` does. In a sandbox process it
/// does not return.
///
/// ```no_run
/// essaim::sandbox::init();
/// // Only now a runtime, which starts threads: `#[tokio::main]` would be too early.
/// let runtime = tokio::runtime::Runtime::new()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// When the process has other threads already: what a sandbox process gives up, they would keep.
pub fn init() {
    assert!(is_single(), "essaim::sandbox::init() is to be the first line of main, before any thread or runtime");
    become_one();
    READY.store(true, Ordering::Relaxed);
}

/// Is a sandbox process, if that is what this process was started for, and does not return then.
pub(crate) fn become_one() {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == WORD) {
        let status = sandbox(words);
        std::process::exit(i32::from(status != ExitCode::SUCCESS));
    }
}

/// Whether [`init`] has been called.
pub(crate) fn is_ready() -> bool {
    READY.load(Ordering::Relaxed)
}

/// Whether this is the only thread, where the system tells.
fn is_single() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |threads| threads.count() == 1)
}

/// What runs programs at a node that lends its machine on such terms.
///
/// # Errors
/// The engine does not start.
pub(crate) fn of(kind: Kind, home: &Home, terms: &Terms) -> Result<Sandbox, EngineError> {
    let threads = usize::from(terms.cpus).max(1);
    let total_bytes = terms.memory_bytes;
    match kind {
        Kind::None => {
            let engine = Engine::new(EngineConfig { threads, total_bytes, ..EngineConfig::default() });
            Ok(Sandbox::Threads(engine?, threads))
        }
        Kind::Process => Ok(Sandbox::Processes(ProcessConfig {
            cpus: threads,
            total_bytes,
            ..ProcessConfig::new(launch(), home.dir().join("compiled"))
        })),
    }
}

/// How a sandbox process is started.
pub fn launch() -> Launch {
    Launch { program: this_executable(), words: vec![OsString::from(WORD)] }
}

/// On Linux by a name that stays this one's when the file is replaced by a newer one.
fn this_executable() -> PathBuf {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { own } else { std::env::current_exe().unwrap_or_else(|_| PathBuf::from("essaim")) }
}
