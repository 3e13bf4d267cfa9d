//! Programs that reach for what is not theirs: files, sockets, other functions of the host, its clocks.

use std::fs::{self, File};
use std::sync::Arc;

use essaim_worker::{DataFile, ProgramError};

use crate::corpus::{self, REACHING};
use crate::node::{Node, limits};

#[test]
fn no_function_of_wasi_reaches_a_file_or_a_socket() {
    let mut node = Node::start();
    for path in ["/etc/passwd", "../../../etc/passwd", "."] {
        for (name, parameters) in REACHING {
            let answers = node.attack(&corpus::call(name, parameters, path), limits(|_| {}));
            let answers = answers.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
            assert_eq!(answers.len(), 14, "{name}");
            assert!(answers.iter().all(|answer| *answer != 0), "{name} of {path} did something: {answers:?}");
        }
    }
}

/// Prints the file whose path it reads, or an error number.
const CAT: &str = include_str!("../it/guests/cat.wat");

#[test]
fn no_path_leads_out_of_what_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(dir.path().join("data"), "data of the job").unwrap();
    std::os::unix::fs::symlink("secret", dir.path().join("link")).unwrap();
    let file = |path: &str| Arc::new(File::open(dir.path().join(path)).unwrap());
    let mut node = Node::start();
    let data = vec![DataFile::of("folder/data".into(), file("data")).unwrap()];
    let job = node.load_with(CAT, limits(|_| {}), data).unwrap();
    assert_eq!(node.run(job, "folder/data").unwrap(), "data of the job");
    assert_eq!(node.run(job, "folder/../folder/./data").unwrap(), "data of the job");
    // Above the root, and absolute; then beside it; then through what is no folder.
    for path in
        ["../secret", "folder/../../secret", "/etc/passwd", "/", "//etc/passwd", "folder/../../../proc/self/mem"]
    {
        assert_eq!(node.run(job, path).unwrap(), errno(76), "{path}");
    }
    for path in ["secret", "link", "folder/secret", "folder/link", "proc/self/mem", "dev/fd/0", "folder/data\0"] {
        assert_eq!(node.run(job, path).unwrap(), errno(44), "{path}");
    }
    for path in ["folder/data/../../secret", "folder/data/."] {
        assert_eq!(node.run(job, path).unwrap(), errno(54), "{path}");
    }
    // Another job of the same program does not see it.
    let other = node.job_of(job, Vec::new());
    assert_eq!(node.run(other, "folder/data").unwrap(), errno(8));
    assert_eq!(node.run(job, "folder/data").unwrap(), "data of the job");
    node.is_well();
}

fn errno(number: u8) -> String {
    format!("errno {number:02}\n")
}

#[test]
fn what_is_not_wasi_is_not_offered() {
    let mut node = Node::start();
    for (module, name) in [
        ("wasi", "thread-spawn"),
        ("wasi_snapshot_preview1", "sock_open"),
        ("wasi_snapshot_preview1", "proc_spawn"),
        ("wasi_unstable", "path_open"),
        ("env", "system"),
        ("env", "__linear_memory"),
    ] {
        let program = format!(
            r#"(module (import "{module}" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))"#
        );
        let error = node.load(program, limits(|_| {})).unwrap_err();
        assert!(matches!(&error, ProgramError::MissingImport { name: missing, .. } if missing == name), "{error:?}");
    }
    node.is_well();
}

/// Prints the clocks and some randomness.
const PROBE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (local $at i32)
      (local.set $at (i32.const 64))
      (loop $again
        (drop (call $clock (i32.const 0) (i64.const 1) (local.get $at)))
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.add (local.get $at) (i32.const 8))))
        (drop (call $random (i32.add (local.get $at) (i32.const 16)) (i32.const 16)))
        (local.set $at (i32.add (local.get $at) (i32.const 32)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 1088))))
      (drop (call $resolution (i32.const 1) (i32.const 1088)))
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 1032))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn clocks_and_randomness_tell_nothing_of_this_machine_or_moment() {
    let one = Node::start().attack(PROBE, limits(|_| {})).unwrap();
    assert_eq!(one.len(), 1032);
    let mut other = Node::start();
    assert_eq!(other.attack(PROBE, limits(|_| {})).unwrap(), one);
    // Out of the cache as well.
    assert_eq!(other.attack(PROBE, limits(|_| {})).unwrap(), one);
}
