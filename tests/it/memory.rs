//! Inputs and outputs that are large, and many: they go through files, and neither the author nor a worker has them in
//! memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Stdio;

use crate::node::{Worker, World, example, guest, run};

const FILES: usize = 4;
const FILE_BYTES: u64 = 48 << 20;
/// What a node may have in memory at any time, KiB: less than three of the files.
const MOST_KIB: u64 = 128 << 10;

/// The most memory that a process has had, KiB; none where it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[test]
fn large_inputs_and_outputs_are_not_in_memory() {
    let world = World::new("memory");
    let worker = Worker::start(world.alone("join"));
    let mut command = world.alone("run");
    command.args(["--cpus", "0", "--peer", &worker.address, "--per-file", "-q"]).arg(guest("through"));
    for n in 0..FILES {
        let path = world.dir.path().join(format!("input-{n}"));
        let mut file = File::create(&path).unwrap();
        writeln!(file, "file {n}").unwrap();
        // A hole: it takes no room on this disk.
        file.set_len(FILE_BYTES).unwrap();
        command.arg(path);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut read, mut piece, mut highest) = (0_u64, vec![0; 1 << 20], 0);
    loop {
        // Whoever prints is there: a peak only rises.
        highest = highest.max(peak(child.id()).unwrap_or(0));
        let begins = read % FILE_BYTES == 0;
        let most = piece.len().min((FILE_BYTES - read % FILE_BYTES) as usize);
        let n = stdout.read(&mut piece[..most]).unwrap();
        if n == 0 {
            break;
        }
        if begins {
            let first = format!("file {}\n", read / FILE_BYTES);
            assert_eq!(piece[..first.len()], *first.as_bytes(), "in the order of the input");
        }
        read += n as u64;
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(read, FILES as u64 * FILE_BYTES);
    let author = highest >> 10;
    assert!((1..MOST_KIB >> 10).contains(&author), "the author had {author} MiB");
    let worker = peak(worker.process()).unwrap() >> 10;
    assert!((1..MOST_KIB >> 10).contains(&worker), "the worker had {worker} MiB");
}

#[test]
fn a_program_has_its_input_in_memory_once() {
    let world = World::new("once");
    // Room that doubles as the input comes would be 64 MiB beside 32.
    let text = world.file("text", " ".repeat(40 << 20) + "bee");
    let mut command = world.alone("run");
    let ran = run(command.args(["--memory", "64MiB", "--per-file"]).arg(example("wordcount")).arg(text), b"");
    assert_eq!(ran.well().stdout, b"bee\t1\n");
}
