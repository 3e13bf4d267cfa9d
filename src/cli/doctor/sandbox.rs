//! The sandbox: one process is started that compiles a tiny program, and one that runs it, as for a stranger's.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{BlobId, Limits};
use essaim_worker::process::ProcessConfig;
use essaim_worker::{Chunk, JobSpec, ProgramId, Report, Request, Role, Sandbox, Workers};

use super::Check;
use crate::sandbox::launch;

/// A program that ends at once.
const PROGRAM: &[u8] = br#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// How long it may take until it has run.
const RUN_WITHIN: Duration = Duration::from_secs(60);

/// Runs the tiny program, in a folder that is removed again.
pub fn check() -> Check {
    let hint = "others' programs cannot be run here; look at `ulimit -a`, and at who may start processes (containers, \
                SELinux); --sandbox none does without, for programs that you trust";
    match run() {
        Ok(()) => about(landlock()),
        Err(why) => Check::bad("sandbox", format!("a sandbox process does not run: {why}"), hint),
    }
}

/// What stands behind WebAssembly here.
fn about(landlock: Option<i32>) -> Check {
    if !cfg!(target_os = "linux") {
        return Check::ok("sandbox", "a program was run in a process of its own");
    }
    match landlock {
        Some(version) => {
            Check::ok("sandbox", format!("a program was run; behind it stand Landlock (version {version}) and seccomp"))
        }
        None => Check::warning(
            "sandbox",
            "a program was run; behind it stands seccomp, but not Landlock",
            "Linux from 5.13 on has it: see that `landlock` is in /sys/kernel/security/lsm",
        ),
    }
}

#[cfg(target_os = "linux")]
fn landlock() -> Option<i32> {
    essaim_worker::process::confine::landlock_version()
}

#[cfg(not(target_os = "linux"))]
fn landlock() -> Option<i32> {
    None
}

fn run() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for it: {error}"))?;
    let config = ProcessConfig { cpus: 1, ..ProcessConfig::new(launch(), folder.path().to_owned()) };
    let (sender, reports) = mpsc::sync_channel(16);
    let tell = move |batch: Vec<Report>| batch.into_iter().for_each(|report| drop(sender.try_send(report)));
    let workers = Workers::new(Sandbox::Processes(config), tell).map_err(|error| error.to_string())?;
    let program = ProgramId::plain(BlobId::of(PROGRAM).0);
    let spec = JobSpec {
        argv: Vec::new(),
        values: 0,
        env: Vec::new(),
        data: Arc::from([]),
        seed: [0; 32],
        limits: Limits { memory_bytes: 1 << 20, ..Limits::default() },
    };
    workers.submit(Request::Load { program, bytes: Bytes::from_static(PROGRAM).into() });
    workers.submit(Request::Job { job: 0, program, spec });
    let chunks = vec![Chunk { ticket: 0, chunk: 0, input: Bytes::new().into() }];
    workers.submit(Request::Run { job: 0, role: Role::Map, chunks });
    loop {
        match reports.recv_timeout(RUN_WITHIN) {
            Ok(Report::Finished { .. }) => return Ok(()),
            Ok(Report::Refused { error, .. }) => return Err(error.to_string()),
            Ok(Report::Failed { failure, .. }) => return Err(failure.to_string()),
            Ok(_) => {}
            Err(_) => return Err(format!("it has not come to its end within {} s", RUN_WITHIN.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_stands_behind_webassembly_is_named() {
        assert!(about(Some(6)).words.contains("Landlock (version 6)"));
        assert_eq!(about(None).state, State::Warning);
    }
}
