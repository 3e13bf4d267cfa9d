//! Disks without room: it is said which and what to do, nothing is spoilt, and it goes on when there is room.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::node::{Ran, Worker, World, events, example, guest, run, until, wait_for};
use crate::owner::tell;

/// Kilobytes that the disk has.
const SIZE: u64 = 16 << 10;
const CHUNKS: u64 = 100;

/// A disk in memory, mounted where only the process sees it that mounted it, and reached through that.
pub struct Disk {
    mounted: Child,
    dir: PathBuf,
}

impl Disk {
    /// `None`, with the reason printed, where this machine lets nobody mount.
    pub fn new(world: &World) -> Option<Disk> {
        let at = world.dir.path().join("small");
        fs::create_dir(&at).unwrap();
        let mount = format!("mount -t tmpfs -o size={SIZE}k none \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &mount]).arg(&at);
        let mut mounted = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .inspect_err(|error| eprintln!("skipped: `unshare` cannot be run: {error}"))
            .ok()?;
        let mut line = String::new();
        BufReader::new(mounted.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "mounted\n" {
            let said = mounted.wait_with_output().unwrap().stderr;
            eprintln!("skipped: no small disk can be mounted: {}", String::from_utf8_lossy(&said));
            return None;
        }
        let dir = PathBuf::from(format!("/proc/{}/root{}", mounted.id(), at.display()));
        let is_another = fs::metadata(&dir).unwrap().dev() != fs::metadata(world.dir.path()).unwrap().dev();
        assert!(is_another, "nobody else's disk is to be filled");
        Some(Disk { mounted, dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Leaves so many kilobytes free.
    pub fn fill(&self, free: u64) {
        let mut file = File::create(self.path("ballast")).unwrap();
        let piece = [1; 4096];
        let mut len = 0;
        let full = loop {
            match file.write(&piece) {
                Ok(n) => len += n as u64,
                Err(error) => break error,
            }
            assert!(len <= SIZE << 10, "this is not the small disk");
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        file.set_len(len - (free << 10)).unwrap();
    }

    pub fn make_room(&self) {
        fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It ends with its input; the mount goes with it.
        let _ = self.mounted.kill();
        let _ = self.mounted.wait();
    }
}

/// What the job prints: 64 KiB a chunk.
fn whole() -> Vec<u8> {
    let chunk = |n| format!("{n}..{}", n + 1).into_bytes().into_iter().cycle().take(64 << 10);
    (0..CHUNKS).flat_map(chunk).collect()
}

pub fn job(command: &mut Command, worker: &Worker, home: &Path) {
    command.args(["--no-mdns", "--cpus", "0", "--peer", &worker.address]).arg("--home").arg(home);
    command.args(["--block", "1"]).arg(guest("swell")).arg(format!("0..{CHUNKS}"));
}

fn attach(world: &World, worker: &Worker, home: &Path, job: &str) -> Command {
    let mut command = world.bare("attach");
    command.args(["--json", "--no-mdns", "--cpus", "0", "--peer", &worker.address]).arg("--home").arg(home).arg(job);
    command
}

fn listed(world: &World, home: &Path) -> Vec<Value> {
    let listed = run(world.bare("jobs").arg("--json").arg("--home").arg(home), b"").well();
    String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn an_author_whose_disk_fills_with_outputs_goes_on_when_there_is_room() {
    let world = World::new("outputs");
    let Some(disk) = Disk::new(&world) else { return };
    let (worker, home) = (Worker::start(world.alone("join")), disk.path("home"));
    disk.fill(5 << 10);
    let mut command = world.bare("run");
    job(&mut command, &worker, &home);
    let ran = run(&mut command, b"");
    let where_ = format!("the disk of {} is full", home.join("jobs").display());
    says(&ran, &["cannot keep an output", &where_, "make room, then `essaim attach"]);
    assert!(!ran.stdout.is_empty() && whole().starts_with(&ran.stdout), "{} bytes", ran.stdout.len());

    // The disk is still full: it can be looked at, and nothing is lost by trying.
    let there = listed(&world, &home);
    let (name, here) = (there[0]["job"].as_str().unwrap(), there[0]["sealed"].as_u64().unwrap());
    assert!(here > 0 && here < CHUNKS, "{there:?}");
    let again = run(&mut attach(&world, &worker, &home, name), b"");
    says(&again, &[&where_]);
    assert!(whole().starts_with(&again.stdout) && again.stdout.len() >= ran.stdout.len());

    disk.make_room();
    let last = run(&mut attach(&world, &worker, &home, name), b"").well();
    assert!(last.event("attached")["sealed"].as_u64() >= Some(here));
    assert!(last.stdout == whole(), "the output differs");
}

#[test]
fn a_disk_that_fills_while_the_input_is_read_or_the_job_is_saved() {
    let world = World::new("input");
    let Some(disk) = Disk::new(&world) else { return };
    let (worker, home) = (Worker::start(world.alone("join")), disk.path("home"));
    let input: String = (0..300_000).map(|n| format!("{n}\n")).collect();
    let try_in = |home: &Path| {
        let mut command = world.bare("run");
        command.args(["--no-mdns", "--cpus", "0", "--peer", &worker.address]).arg("--home").arg(home);
        run(command.arg(guest("echo")), input.as_bytes())
    };
    let elsewhere = try_in(&world.dir.path().join("large")).well();
    // Rising, so that it fails at each of its steps: making the home, spooling, writing the job down.
    for free in (0..).map(|step| step * 200) {
        disk.fill(free);
        let ran = try_in(&home);
        disk.make_room();
        if ran.status == 0 {
            assert!(free > 2_000, "the input has two megabytes");
            break;
        }
        let has_begun = ran.stderr.contains("essaim attach");
        says(&ran, &[&home.display().to_string(), "make room"]);
        assert!(!has_begun || ran.stderr.contains("cannot keep an output"), "{}", ran.stderr);
        assert!(ran.stderr.contains("full") || ran.stderr.contains("No space left"), "{}", ran.stderr);
        assert_eq!(listed(&world, &home).len(), usize::from(has_begun), "a job that was not taken is not there");
        assert_eq!(
            fs::read_dir(home.join("jobs")).unwrap().count(),
            usize::from(has_begun),
            "what it had written is gone"
        );
        fs::remove_dir_all(&home).unwrap();
    }
    assert!(try_in(&home).well().stdout == elsewhere.stdout, "the output differs");
}

#[test]
fn an_output_that_goes_to_a_full_disk_is_not_lost() {
    let world = World::new("stdout");
    let Some(disk) = Disk::new(&world) else { return };
    let (worker, home) = (Worker::start(world.alone("join")), world.dir.path().join("home"));
    disk.fill(300);
    let mut command = world.bare("run");
    job(&mut command, &worker, &home);
    let out = disk.path("out");
    let child = command.stdout(File::create(&out).unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    says(
        &Ran { stdout: Vec::new(), stderr, status: ended.status.code().unwrap() },
        &["cannot write the output: the disk is full", "make room, then `essaim attach"],
    );
    assert!(whole().starts_with(&fs::read(&out).unwrap()));
    let name = listed(&world, &home)[0]["job"].as_str().unwrap().to_owned();
    disk.make_room();
    let mut command = attach(&world, &worker, &home, &name);
    assert!(command.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).status().unwrap().success());
    assert!(fs::read(&out).unwrap() == whole(), "the output differs");
}

#[test]
fn files_and_folders_on_a_full_disk_hold_nothing_by_halves() {
    let world = World::new("files");
    let Some(disk) = Disk::new(&world) else { return };
    let worker = Worker::start(world.alone("join"));
    for option in ["--out", "--results", "--joblog"] {
        let (home, out) = (world.dir.path().join(option), disk.path("out"));
        disk.fill(if option == "--joblog" { 4 } else { 300 });
        let mut command = world.bare("run");
        job(command.arg(option).arg(&out), &worker, &home);
        says(&run(&mut command, b""), &["the disk is full", "make room, then `essaim attach"]);
        let whole = whole();
        let all_are_right = |most: usize| {
            let files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
            for file in &files {
                let number: usize = file.file_name().unwrap().to_str().unwrap()[..6].parse().unwrap();
                assert!(fs::read(file).unwrap() == whole[number << 16..][..1 << 16], "{} is spoilt", file.display());
            }
            assert!(files.len() <= most, "{files:?}");
            files.len()
        };
        match option {
            "--out" => assert!(!out.exists() && fs::read_dir(&disk.dir).unwrap().count() == 1, "only the ballast"),
            "--results" => assert!(all_are_right(4) > 0),
            _ => {}
        }
        let name = listed(&world, &home)[0]["job"].as_str().unwrap().to_owned();
        disk.make_room();
        let ended = run(attach(&world, &worker, &home, &name).arg(option).arg(&out), b"").well();
        match option {
            "--out" => assert!(fs::read(&out).unwrap() == whole, "the output differs"),
            "--results" => assert_eq!(all_are_right(100), 100),
            _ => {
                assert!(ended.stdout == whole);
                assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 101);
            }
        }
        if out.is_dir() { fs::remove_dir_all(&out) } else { fs::remove_file(&out) }.unwrap();
    }
}

#[test]
fn an_output_that_is_folded_to_a_full_disk_is_not_lost() {
    let world = World::new("folded");
    let Some(disk) = Disk::new(&world) else { return };
    let home = world.dir.path().join("home");
    let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    disk.fill(300);
    let mut command = world.bare("run");
    command.args(["--no-mdns", "--cpus", "1"]).arg("--home").arg(&home);
    command.arg(example("wordcount")).arg(world.file("text", &text));
    let out = disk.path("out");
    let ended = command.stdout(File::create(&out).unwrap()).stderr(Stdio::piped()).output().unwrap();
    says(
        &Ran {
            stdout: Vec::new(),
            stderr: String::from_utf8(ended.stderr).unwrap(),
            status: ended.status.code().unwrap(),
        },
        &["cannot write the output: the disk is full", "make room, then `essaim attach"],
    );
    let name = listed(&world, &home)[0]["job"].as_str().unwrap().to_owned();
    disk.make_room();
    let mut command = world.bare("attach");
    command.args(["--no-mdns", "--cpus", "1"]).arg("--home").arg(&home).arg(name);
    assert!(command.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 100_000);
}

#[test]
fn a_worker_whose_disk_is_full_goes_on_when_there_is_room() {
    let world = World::new("worker");
    let Some(disk) = Disk::new(&world) else { return };
    let mut join = world.bare("join");
    join.args(["--no-mdns", "--verbose"]).arg("--home").arg(disk.path("home"));
    // What is compiled is in its home: first there is room for that.
    let worker = Worker::start(join);
    let mut first = world.alone("run");
    first.args(["--cpus", "0", "--peer", &worker.address]).arg(guest("swell"));
    run(first.args([":::", "x"]), b"").well();
    disk.fill(1 << 10);
    let mut command = world.bare("run");
    job(&mut command, &worker, &world.dir.path().join("author"));
    let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    wait_for(&events, "submitted");
    // When there is no room for one output more, nothing comes any more.
    until("the disk is full", || {
        let is_full = fs::write(disk.path("probe"), vec![1; 64 << 10]).is_err();
        fs::remove_file(disk.path("probe")).unwrap();
        is_full
    });
    // Its owner can see that, and what is to be done.
    let status = || tell(&world, "status", &disk.path("home"))["trouble"].clone();
    until("its owner is told", || status().as_str().is_some_and(|words| words.contains("hint: make room on its disk")));
    disk.make_room();
    let out = child.wait_with_output().unwrap();
    until("its owner is told that there is room again", || status() == Value::Null);
    let events: Vec<Value> = events.iter().collect();
    assert!(out.status.success(), "{events:?}");
    assert!(out.stdout == whole(), "the output differs");
    // It stood still, instead of failing chunk after chunk as fast as it could run them.
    let failed = events.iter().filter(|event| event["event"] == "retry").count();
    assert!(failed < 10, "{failed} chunks failed there");
}
