//! The same chunk gives the same bytes, and where it is counted takes the same fuel: whatever runs it, on however many
//! threads, compiled now or found compiled, optimized or not.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use essaim_worker::process::{Launch, ProcessConfig};
use essaim_worker::{Chunk, Engine, EngineConfig, JobSpec, Mode, ProgramId, Report, Request, Role, Sandbox, Workers};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(240);
const PLAIN: Mode = Mode { metered: false, strict: false };
const METERED: Mode = Mode { metered: true, strict: false };
const STRICT: Mode = Mode { metered: false, strict: true };

/// Reads all that could tell one run from another, and does what processors do differently.
const ODD: &[u8] = include_bytes!("odd.wat");

/// What a chunk gave: its output, and its fuel.
type Gave = (Bytes, Option<u64>);

fn processes(cpus: usize, cache: &Path) -> Sandbox {
    let launch =
        Launch { program: env!("CARGO_BIN_EXE_essaim").into(), words: vec![OsString::from("sandbox-process")] };
    Sandbox::Processes(ProcessConfig { cpus, ..ProcessConfig::new(launch, cache.to_owned()) })
}

fn threads(threads: usize, optimize: bool) -> Sandbox {
    Sandbox::Threads(Engine::new(EngineConfig { threads, optimize, ..EngineConfig::default() }).unwrap(), threads)
}

/// Runs all chunks of a program, anew; what each gave.
fn run(sandbox: Sandbox, program: &[u8], mode: Mode, chunks: u32) -> Vec<Gave> {
    let (sender, reports) = sync_channel(4_096);
    let workers = Workers::new(sandbox, move |reports| {
        let _ = sender.send(reports);
    });
    let workers = workers.unwrap();
    let id = ProgramId { hash: [7; 32], mode };
    let env = vec![("NAME".to_owned(), "value".to_owned())];
    let mut spec = JobSpec { argv: vec!["one".to_owned()], env, seed: id.hash, ..JobSpec::default() };
    spec.limits.fuel = mode.metered.then_some(1 << 40);
    workers.submit(Request::Load { program: id, bytes: Bytes::copy_from_slice(program).into() });
    workers.submit(Request::Job { job: 1, program: id, spec });
    let input = |chunk: u32| Bytes::from(format!("{}\n", u64::from(chunk) * 7_919));
    let all = (0..chunks).map(|chunk| Chunk { ticket: u64::from(chunk), chunk, input: input(chunk).into() }).collect();
    workers.submit(Request::Run { job: 1, role: Role::Map, chunks: all });
    let mut gave = vec![None; chunks as usize];
    while gave.contains(&None) {
        for report in reports.recv_timeout(PATIENCE).unwrap() {
            match report {
                Report::Finished { ticket, output, fuel, .. } => gave[ticket as usize] = Some((output, fuel)),
                Report::Loaded { .. } | Report::Started { .. } => {}
                other => unreachable!("{other:?}"),
            }
        }
    }
    gave.into_iter().flatten().collect()
}

/// Runs a program in every way that there is, in this mode.
fn in_all_ways(program: &[u8], mode: Mode, chunks: u32) -> Vec<Gave> {
    let (cache, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = run(processes(1, cache.path()), program, mode, chunks);
    let compiled = || fs::read_dir(cache.path()).unwrap().flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap());
    assert_eq!(compiled().count(), 1, "kept on disk");
    let same = [
        ("after a restart, found compiled, in eight processes", processes(8, cache.path())),
        ("compiled once more", processes(2, other.path())),
        ("in this process", threads(1, true)),
        ("on eight threads", threads(8, true)),
        ("not optimized", threads(2, false)),
    ];
    for (how, sandbox) in same {
        assert_eq!(run(sandbox, program, mode, chunks), first, "{how}, {mode:?}");
    }
    assert!(first.iter().all(|(_, fuel)| fuel.is_some() == mode.metered));
    first
}

fn outputs(gave: &[Gave]) -> Vec<&Bytes> {
    gave.iter().map(|(output, _)| output).collect()
}

#[test]
fn a_program_that_looks_for_differences_finds_none() {
    let plain = in_all_ways(ODD, PLAIN, 40);
    let metered = in_all_ways(ODD, METERED, 40);
    assert_eq!(outputs(&plain), outputs(&metered));
    let strict = in_all_ways(ODD, STRICT, 40);
    // Where NaNs are canonical a payload is lost, and nothing else.
    let sums = 2_088 - 1_024..2_104 - 1_024;
    let one = 0x7ff8_0000_0000_0000_u64.to_le_bytes();
    for ((plain, _), (strict, _)) in plain.iter().zip(&strict) {
        assert_eq!(&strict[sums.clone()], [one, one].concat());
        assert_ne!(&plain[sums.clone()], [one, one].concat());
        assert_eq!(plain[sums.end..], strict[sums.end..]);
    }
    // Else equality would say little: each chunk has its own number, input and randomness.
    let different: std::collections::HashSet<&Bytes> = outputs(&plain).into_iter().collect();
    assert_eq!(different.len(), 40);
}

#[test]
fn a_program_in_rust_computes_alike() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alike");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet", "--locked", "-p", "montecarlo", "--target", "wasm32-wasip1"]);
    let status = cargo.arg("--target-dir").arg(&target).current_dir(root).status().unwrap();
    assert!(status.success());
    let program = fs::read(target.join("wasm32-wasip1/release/montecarlo.wasm")).unwrap();
    let plain = in_all_ways(&program, PLAIN, 4);
    let metered = in_all_ways(&program, METERED, 4);
    assert_eq!(outputs(&plain), outputs(&metered));
}
