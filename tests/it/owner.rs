//! What the owner of a machine says to the node that lends it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::node::{Worker, World, events, guest, run, until, wait_for};

pub fn tell(world: &World, wish: &str, home: &std::path::Path) -> Value {
    let mut command = world.bare(wish);
    let ran = run(command.arg("--home").arg(home).arg("--json"), b"").well();
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_paused_node_stands_still_and_a_resumed_one_ends_the_job() {
    let world = World::new("owner");
    let home = world.dir.path().join("worker");
    let mut join = world.bare("join");
    join.arg("--no-mdns").arg("--home").arg(&home);
    let worker = Worker::start(join);
    let values: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--peer", &worker.address]).arg(guest("slow")).arg(":::").args(&values);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    until("it has run something", || tell(&world, "status", &home)["chunks_run"].as_u64() > Some(0));

    assert_eq!(tell(&world, "pause", &home)["paused"], true);
    until("what runs stands still", || worker.sandboxes().iter().map(|(_, state)| *state).eq(['T']));
    let before = tell(&world, "status", &home);
    assert_eq!((&before["paused"], &before["lent"], &before["why"]), (&true.into(), &0.into(), &"paused".into()));
    // What had ended just before is counted a moment later; if more were run, it would be all.
    let count = || tell(&world, "status", &home)["chunks_run"].as_u64().unwrap();
    until("nothing more is counted", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(500));
        count() == before
    });
    assert!(count() < 60, "all was run");
    assert!(child.try_wait().unwrap().is_none(), "the job has ended without anybody to run it");

    let after = tell(&world, "resume", &home);
    assert_eq!((&after["paused"], &after["lent"], &after["why"]), (&false.into(), &1.into(), &Value::Null));
    assert_eq!(wait_for(&events, "done")["chunks"], 60);
    assert!(child.wait().unwrap().success());
    assert_eq!(tell(&world, "finish", &home)["leaving"], true);
    worker.ends();
}

/// The days of the week that neither today nor a day beside it is, whatever the clock on the wall says.
pub fn another_day() -> &'static str {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // The first was a Thursday.
    ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][days as usize % 7]
}

#[test]
fn outside_its_hours_a_node_lends_nothing_and_says_why() {
    let world = World::new("hours");
    let home = world.dir.path().join("worker");
    let mut join = world.bare("join");
    join.arg("--no-mdns").arg("--home").arg(&home).args(["--hours", &format!("{} 00:00-24:00", another_day())]);
    let worker = Worker::start(join);
    let status = tell(&world, "status", &home);
    assert_eq!((&status["lent"], &status["why"]), (&0.into(), &"outside-hours".into()));
    let mut command = world.bare("status");
    let words = String::from_utf8(run(command.arg("--home").arg(&home), b"").well().stdout).unwrap();
    assert!(words.contains("lends 0 of 1 core") && words.contains("outside its hours"), "{words}");

    // What its owner says now is the nearer reason; and takes back no other.
    assert_eq!(tell(&world, "pause", &home)["why"], "paused");
    assert_eq!(tell(&world, "resume", &home)["why"], "outside-hours");
    assert_eq!(tell(&world, "finish", &home)["leaving"], true);
    worker.ends();
}

#[test]
fn a_chunk_that_says_how_far_it_is_is_heard_in_the_status() {
    let world = World::new("far");
    let home = world.dir.path().join("worker");
    let mut join = world.bare("join");
    join.arg("--no-mdns").arg("--home").arg(&home);
    let worker = Worker::start(join);
    let mut command = world.alone("run");
    command.args(["--cpus", "0", "--peer", &worker.address]).arg(guest("far")).args([":::", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let percents = || tell(&world, "status", &home)["jobs"][0]["percents"].clone();
    until("it is known how far it is", || percents() == serde_json::json!([40]));
    let words = run(world.bare("status").arg("--home").arg(&home), b"").well();
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("1 running (at 40 %)"), "{words}");

    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_sandbox_process_that_is_killed_costs_no_chunk() {
    let world = World::new("sandbox");
    let worker = Worker::start(world.alone("join"));
    let values: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let mut command = world.alone("run");
    // One failure would be the end of the job.
    command.args(["--cpus", "0", "--retries", "0", "--peer", &worker.address]).arg(guest("slow"));
    let mut child = command.arg(":::").args(&values).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    // With the first output here the program is compiled: what there is now runs chunks.
    lines.read_line(&mut out).unwrap();
    let sandboxes = worker.sandboxes();
    assert!(!sandboxes.is_empty());
    for (number, _) in &sandboxes {
        assert!(Command::new("kill").args(["-KILL", number]).status().unwrap().success());
    }
    lines.read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(out, values.join("\n") + "\n");
}

#[test]
fn without_a_node_the_owner_is_told_so() {
    let world = World::new("alone");
    let output = Command::new(env!("CARGO_BIN_EXE_essaim"))
        .args(["status", "--home"])
        .arg(world.dir.path().join("nobody"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("no node of yours") && stderr.contains("hint:"), "{stderr}");
}
