//! The node's side of compiling: a process a program, which writes what it compiled to a file, or says what is wrong.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::Cache;
use super::{ProcessConfig, child};
use crate::error::{ProgramError, bounded};
use crate::input::Input;
use crate::message::ProgramId;

/// What a process that compiles may say at the end, bytes.
const SAID_BYTES: u64 = 64 << 10;

/// Ends a compilation that nobody waits for any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    child: Option<Child>,
}

impl Cancel {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        if let Some(child) = &mut state.child {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
}

/// The compiled form of a program, from the cache or made now.
pub(super) fn compile(
    config: &ProcessConfig,
    cache: &Cache,
    program: ProgramId,
    bytes: &Input,
    cancel: &Cancel,
) -> Result<File, ProgramError> {
    if let Some(file) = cache.find(program) {
        return Ok(file);
    }
    let here = |error: io::Error| ProgramError::Host { message: bounded(format!("cannot compile here: {error}")) };
    let to = cache.begin(program).map_err(here)?;
    let (status, said) = run(config, program, bytes, to, cancel).map_err(here)?;
    let outcome = match postcard::from_bytes::<Result<(), ProgramError>>(&said) {
        Ok(Ok(())) if status.success() => cache.keep(program).map_err(here),
        Ok(Err(error)) => Err(error),
        _ => Err(ProgramError::Compile { message: format!("the compiler {}", why(config, status)) }),
    };
    if outcome.is_err() {
        cache.remove(program);
    }
    outcome
}

fn run(
    config: &ProcessConfig,
    program: ProgramId,
    bytes: &Input,
    to: File,
    cancel: &Cancel,
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let seconds = config.compile_within.as_secs().max(1);
    let mode = program.mode.word().to_owned();
    let words = [child::COMPILE.to_owned(), mode, config.cpus.to_string(), seconds.to_string()];
    let mut command = config.launch.command(&words);
    let mut child = command.stdin(Stdio::piped()).stdout(to).stderr(Stdio::piped()).spawn()?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    {
        let mut state = cancel.state();
        if state.cancelled {
            child.kill()?;
        }
        state.child = Some(child);
    }
    if let Some(mut stdin) = stdin {
        // One that has ended, or been ended, says why by its status.
        match bytes.write_to(&mut stdin) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut said = Vec::new();
    if let Some(stderr) = stderr {
        stderr.take(SAID_BYTES).read_to_end(&mut said)?;
    }
    // It has closed its end, so that it is about to be over; killing it by `cancel` needs it no more.
    let child = cancel.state().child.take();
    let status = child.ok_or_else(|| io::Error::other("the compiler is gone"))?.wait()?;
    Ok((status, said))
}

/// How it ended, in words.
fn why(config: &ProcessConfig, status: ExitStatus) -> String {
    #[cfg(unix)]
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(libc::SIGXCPU | libc::SIGKILL) => {
            return format!("was ended: it may take {} s on the processor", config.compile_within.as_secs());
        }
        Some(libc::SIGABRT) => return "ran out of memory".to_owned(),
        Some(signal) => return format!("was ended by signal {signal}"),
        None => {}
    }
    format!("ended with {status}")
}
