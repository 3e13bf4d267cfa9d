//! Guests as WebAssembly text, and an engine for all tests.

use std::sync::OnceLock;

use bytes::Bytes;
use essaim_jobs::Limits;
use essaim_worker::{ChunkSpec, Engine, EngineConfig, Failure, JobSpec, Program, StopFlag};

pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineConfig { threads: 4, ..EngineConfig::default() }).unwrap())
}

pub fn load(wat: &str) -> Program {
    engine().load(wat.as_bytes()).unwrap()
}

pub fn job() -> JobSpec {
    JobSpec::default()
}

pub fn limits(change: impl FnOnce(&mut Limits)) -> JobSpec {
    let mut job = job();
    change(&mut job.limits);
    job
}

pub fn run(program: &Program, job: &JobSpec, stdin: impl Into<Bytes>) -> Result<Vec<u8>, Failure> {
    let outcome = program.run(job, ChunkSpec::map(0), stdin.into(), &StopFlag::default());
    outcome.map(|outcome| outcome.output.to_vec()).map_err(|(failure, _)| failure)
}

/// A command with all that the bodies below import. `print`: writes a piece of memory to a descriptor; scratch
/// space is at 0..64.
pub fn command(memory: &str, body: &str) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
        (memory (export "memory") {memory})
        (func $print (param $fd i32) (param $at i32) (param $len i32)
          (loop $more
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
            (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 8))))
            (br_if $more (local.get $len))))
        {body})"#
    )
}

pub fn start(memory: &str, body: &str) -> String {
    command(memory, &format!(r#"(func (export "_start") {body})"#))
}

/// Writes what it reads.
pub fn echo() -> String {
    start(
        "2",
        r#"(local $n i32)
        (block $end (loop $more
          (i32.store (i32.const 16) (i32.const 65536))
          (i32.store (i32.const 20) (i32.const 65536))
          (if (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))
          (local.set $n (i32.load (i32.const 24)))
          (br_if $end (i32.eqz (local.get $n)))
          (call $print (i32.const 1) (i32.const 65536) (local.get $n))
          (br $more)))"#,
    )
}

/// Never ends and calls nobody.
pub fn spin() -> String {
    start("1", "(loop $again (br $again))")
}

/// Does nothing.
pub fn empty() -> String {
    start("1", "")
}
