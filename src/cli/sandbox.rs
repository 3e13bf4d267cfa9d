//! Where the programs of others run: in processes of their own, which are this executable once more.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use essaim_worker::process::{Launch, ProcessConfig, sandbox};
use essaim_worker::{Engine, EngineConfig, Sandbox};

use super::Fail;
use crate::peer::Terms;
use crate::store::Home;

/// The word by which this executable knows that it is to be a sandbox process; not for people.
const WORD: &str = "sandbox-process";

/// What contains a program, beside WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Processes that can open, reach and start nothing
    Process,
    /// Nothing: it runs in essaim's own process
    None,
}

/// Is a sandbox process, if that is what this process was started for.
pub fn is_one() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == WORD).then(|| sandbox(words))
}

/// What runs programs at a node that lends its machine on such terms.
///
/// # Errors
/// The engine does not start.
pub fn of(kind: Kind, home: &Home, terms: &Terms) -> Result<Sandbox, Fail> {
    let threads = usize::from(terms.cpus).max(1);
    let total_bytes = terms.memory_bytes;
    match kind {
        Kind::None => {
            let engine = Engine::new(EngineConfig { threads, total_bytes, ..EngineConfig::default() });
            Ok(Sandbox::Threads(engine.map_err(|e| Fail::of(&e, e.hint()))?, threads))
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
