//! Wrong uses and programs that misbehave: each ends with what failed, on what, a hint, and no panic.

use std::process::Command;

use crate::node::{Worker, World, guest, run};

/// A use that must fail with `status`, saying all of `words`, and a hint.
#[track_caller]
pub fn refused(command: &mut Command, status: i32, words: &[&str]) {
    let ran = run(command, b"");
    assert_eq!(ran.status, status, "{}", ran.stderr);
    for word in words.iter().chain(&["hint:"]) {
        assert!(ran.stderr.contains(word), "{word:?} is not in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty(), "there is output: {:?}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn no_such_program() {
    let world = World::new("uses");
    refused(world.alone("run").args(["no/such.wasm", ":::", "1"]), 1, &["no/such.wasm"]);
}

#[test]
fn no_such_input() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("echo")).arg("no/such.txt"), 1, &["no/such.txt"]);
}

#[test]
fn a_folder_without_a_program() {
    let world = World::new("uses");
    refused(world.alone("run").arg(world.dir.path()).args([":::", "1"]), 1, &["Cargo.toml"]);
}

#[test]
fn not_a_webassembly_module() {
    let world = World::new("uses");
    let file = world.file("photo.jpg", [0xff, 0xd8, 0xff, 0xe0, 0, 16]);
    refused(world.alone("run").arg(file).args([":::", "1"]), 1, &["photo.jpg", "not a WebAssembly program"]);
}

#[test]
fn an_import_that_is_not_offered() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("import")).args([":::", "1"]), 1, &["env::open_socket"]);
}

#[test]
fn a_program_that_traps() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("trap")).args([":::", "1"]), 1, &["chunk 0", "trapped", "unreachable"]);
}

#[test]
fn a_program_that_computes_more_than_it_may() {
    let world = World::new("uses");
    let out = ["chunk 0", "more than its limit of 100000 units of fuel", "--fuel"];
    refused(world.alone("run").args(["--fuel", "100000"]).arg(guest("loop")).args([":::", "1"]), 1, &out);
}

#[test]
fn data_that_is_not_there_or_cannot_be_called_so() {
    let world = World::new("uses");
    let with = |data: &[&str]| {
        let mut command = world.alone("run");
        for data in data {
            command.args(["--data", data]);
        }
        command.arg(guest("cat")).args([":::", "1"]);
        command
    };
    let file = world.file("x", "x").display().to_string();
    refused(&mut with(&["no/such"]), 1, &["no/such"]);
    refused(&mut with(&[&format!("../x={file}")]), 2, &["\"../x\"", "--data NAME=FILE"]);
    refused(&mut with(&[&file, &file]), 2, &["\"x\""]);
    refused(&mut with(&[&world.dir.path().display().to_string()]), 1, &["is a folder"]);
}

#[test]
fn a_program_that_exits_3() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("exit3")).args([":::", "1"]), 1, &["exit status 3", "the bees are gone"]);
}

#[test]
fn a_program_that_loops_for_ever() {
    let world = World::new("uses");
    let mut command = world.alone("run");
    refused(command.args(["--timeout", "300ms"]).arg(guest("loop")).args([":::", "1"]), 1, &["chunk 0", "300 ms"]);
}

#[test]
fn a_program_that_allocates_without_end() {
    let world = World::new("uses");
    let mut command = world.alone("run");
    refused(
        command.args(["--memory", "64MiB"]).arg(guest("hoard")).args([":::", "1"]),
        1,
        &["67108864 bytes of memory"],
    );
}

#[test]
fn a_program_that_prints_without_end() {
    let world = World::new("uses");
    let mut command = world.alone("run");
    refused(command.args(["--output", "1MiB"]).arg(guest("flood")).args([":::", "1"]), 1, &["1048576 bytes"]);
}

#[test]
fn a_failure_at_a_peer_is_told_with_its_words() {
    let world = World::new("far");
    let worker = Worker::start(world.alone("join"));
    let mut command = world.alone("run");
    command.args(["--cpus", "0", "--peer", &worker.address]).arg(guest("exit3")).args([":::", "1", "2"]);
    refused(&mut command, 1, &[&worker.peer[..8], "exit status 3", "the bees are gone"]);
}

#[test]
fn an_empty_input() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("echo")), 1, &["the input is empty"]);
    let file = world.file("empty", "");
    refused(world.alone("run").arg(guest("echo")).arg(file), 1, &["the input is empty"]);
}

#[test]
fn parameters_without_a_value() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("echo")).arg(":::"), 2, &[":::"]);
    refused(world.alone("run").arg(guest("echo")).args([":::", "1", ":::"]), 2, &["list 2"]);
}

#[test]
fn parameters_and_an_input() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("echo")).args(["0..10", ":::", "1"]), 2, &["both"]);
}

#[test]
fn a_range_the_wrong_way_round() {
    let world = World::new("uses");
    refused(world.alone("run").arg(guest("echo")).arg("10..2"), 2, &["10..2", "2..10"]);
}

#[test]
fn a_peer_address_that_is_none() {
    let world = World::new("uses");
    refused(
        world.alone("run").args(["--peer", "not an address"]).arg(guest("echo")).args([":::", "1"]),
        2,
        &["--peer"],
    );
}

#[test]
fn a_port_that_is_taken() {
    let world = World::new("uses");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = world.alone("join");
    command.args(["--listen", &format!("/ip4/127.0.0.1/tcp/{port}")]);
    refused(&mut command, 1, &[&port]);
}

#[test]
fn two_nodes_in_one_home() {
    let world = World::new("uses");
    let home = world.dir.path().join("shared");
    let mut join = world.bare("join");
    let _one = Worker::start({
        join.arg("--home").arg(&home).arg("--no-mdns");
        join
    });
    refused(world.bare("join").arg("--home").arg(&home).arg("--no-mdns"), 1, &["another essaim node", "--home DIR"]);
}

#[test]
fn a_home_that_is_no_folder() {
    let world = World::new("uses");
    let home = std::path::Path::new("/dev/full");
    refused(world.bare("run").arg("--home").arg(home).arg(guest("echo")).args([":::", "1"]), 1, &["/dev/full"]);
}

#[test]
fn help_teaches() {
    let world = World::new("uses");
    for verb in ["join", "run", "peers"] {
        let ran = run(world.bare(verb).arg("--help"), b"").well();
        assert!(String::from_utf8_lossy(&ran.stdout).contains("Usage: essaim"), "{verb}");
    }
}
