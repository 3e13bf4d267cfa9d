//! Standard input without an end: it is run while it is read, a job after the other, in bounded memory and disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};

use serde_json::Value;

use crate::node::{PATIENCE, Worker, World, events, example, guest, run, wait_for};

/// A run whose input is written as the test goes on.
struct Streamed {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    events: mpsc::Receiver<Value>,
    out: Vec<u8>,
    /// While it is there, and not for ever.
    _patience: mpsc::SyncSender<()>,
}

impl Streamed {
    fn start(command: &mut Command) -> Streamed {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let events = events(child.stderr.take().unwrap());
        let (_patience, waiting) = mpsc::sync_channel(0);
        let process = child.id().to_string();
        std::thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Whoever reads what it prints hears of it.
                let _ = Command::new("kill").args(["-9", &process]).status();
            }
        });
        Streamed { child, stdin, stdout, events, out: Vec::new(), _patience }
    }

    fn write(&mut self, part: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(part).unwrap();
    }

    /// Waits until so much has been printed.
    fn prints(&mut self, is_enough: impl Fn(&[u8]) -> bool) {
        let mut piece = vec![0; 64 << 10];
        while !is_enough(&self.out) {
            let n = self.stdout.as_mut().unwrap().read(&mut piece).unwrap();
            assert!(n > 0, "it ends after {} bytes", self.out.len());
            self.out.extend_from_slice(&piece[..n]);
        }
    }

    /// Waits for the event of this name and for the end of the run, and gives that and its status.
    fn ends(&mut self, event: &str) -> (i32, Value) {
        let event = wait_for(&self.events, event);
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_end(&mut self.out).unwrap();
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), event)
    }

    /// As `ends`, once the input has ended.
    fn is_done(&mut self) -> (i32, Value) {
        self.stdin = None;
        self.ends("done")
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // It has ended where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command over standard input that runs here, alone.
fn command(world: &World, program: &Path) -> Command {
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "1"]).arg(program);
    command
}

/// Lines that are all different, about so many bytes of them.
fn lines(from: usize, bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for n in from.. {
        if text.len() >= bytes {
            break;
        }
        text.extend(format!("line {n} of a text that goes on\n").bytes());
    }
    text
}

#[test]
fn what_is_printed_before_the_input_has_ended_is_in_its_order() {
    let world = World::new("stream");
    let mut run = Streamed::start(&mut command(&world, &guest("through")));
    let mut written = Vec::new();
    for part in 0..4 {
        let text = lines(part * 1_000_000, 300_000);
        run.write(&text);
        written.extend(text);
        // All of it comes, though nothing more is written.
        run.prints(|out| out.len() == written.len());
    }
    // The last line has no end, and comes with the end of the input.
    run.write(b"and no more");
    written.extend(b"and no more");
    let (status, done) = run.is_done();
    assert_eq!(status, 0);
    assert!(run.out == written, "{} bytes instead of {}", run.out.len(), written.len());
    assert!(done["chunks"].as_u64().unwrap() >= 4, "{done}");
    let by = done["by"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!(by, done["chunks"].as_u64().unwrap(), "{done}");
    assert!(!fs::read_dir(world.dir.path().join("home0/jobs")).unwrap().any(|_| true), "all is given back");
}

#[test]
fn a_line_that_comes_in_parts_is_one_line() {
    let world = World::new("stream");
    let mut run = Streamed::start(&mut command(&world, &guest("echo")));
    run.write(b"one\ntw");
    run.prints(|out| out.len() == 5);
    // What is left of a line when a job begins comes to the next, and to the one behind it.
    run.write(b"o\nth");
    run.prints(|out| out.len() == 10);
    run.write(b"ree\n");
    let (status, _) = run.is_done();
    // The guest ends each chunk with a newline more.
    assert_eq!((status, String::from_utf8_lossy(&run.out).as_ref()), (0, "one\n\ntwo\n\nthree\n\n"));
}

#[test]
fn an_input_that_ends_soon_is_one_job_as_ever() {
    let world = World::new("stream");
    let home = world.dir.path().join("home");
    let text = lines(0, 2 << 20);
    let ran = |reused: bool| {
        let mut command = world.bare("run");
        command.args(["--json", "--no-mdns", "--cpus", "1", "--home"]).arg(&home).arg(guest("through"));
        let ran = run(&mut command, &text).well();
        assert!(ran.stdout == text);
        let submitted = ran.stderr.matches("\"submitted\"").count();
        // Only an ordinary job is of use for later ones.
        (submitted, ran.stderr.contains("\"reused\":0") != reused)
    };
    assert_eq!(ran(false), (1, true));
    assert_eq!(ran(true), (1, true));
}

#[test]
fn chunks_are_numbered_through_all_jobs() {
    let world = World::new("stream");
    let mut run = Streamed::start(command(&world, &guest("environment")).args(["--block", "4"]));
    for _ in 0..3 {
        let before = run.out.len();
        run.write(b"one\ntwo\nsix\n");
        // What is written after that is another job's.
        run.prints(|out| out[before..].iter().filter(|byte| **byte == b'\n').count() == 3);
    }
    let (status, done) = run.is_done();
    assert_eq!((status, done["chunks"].as_u64()), (0, Some(9)));
    let out = String::from_utf8(run.out.clone()).unwrap();
    let number = |line: &str| -> u32 {
        let variables = line.split('\0');
        variables.into_iter().find_map(|variable| variable.strip_prefix("ESSAIM_CHUNK=")).unwrap().parse().unwrap()
    };
    assert_eq!(out.lines().map(number).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
}

#[test]
fn a_fold_is_over_all_of_the_input() {
    let world = World::new("stream");
    let mut run = Streamed::start(&mut command(&world, &example("wordcount")));
    // What is written when a job is open is another one's.
    for part in ["a b a\n", "b a\n", "c a\n"] {
        run.write(part.as_bytes());
        wait_for(&run.events, "submitted");
    }
    let (status, done) = run.is_done();
    assert_eq!((status, String::from_utf8_lossy(&run.out).as_ref()), (0, "a\t4\nb\t2\nc\t1\n"));
    assert_eq!(done["chunks"].as_u64(), Some(3));
}

#[test]
fn a_chunk_that_fails_later_ends_the_run() {
    let world = World::new("stream");
    let mut run = Streamed::start(&mut command(&world, &guest("stubborn")));
    for part in [&b"one\n"[..], b"two\n"] {
        run.write(part);
        let length = run.out.len() + part.len();
        run.prints(|out| out.len() == length);
    }
    run.write(b"!three\n");
    // It does not wait for the end of the input.
    let (status, error) = run.ends("error");
    assert!(error["message"].as_str().unwrap().starts_with("chunk 2 failed"), "{error}");
    assert_eq!((status, &run.out[..]), (1, &b"one\ntwo\n"[..]));
    assert!(!fs::read_dir(world.dir.path().join("home0/jobs")).unwrap().any(|job| is_job(&job.unwrap().path())));
}

/// Whether this is the folder of a job, rather than of one that was being read.
fn is_job(path: &Path) -> bool {
    !path.file_name().unwrap().to_string_lossy().starts_with('.')
}

#[test]
fn who_reads_no_more_ends_it_for_whoever_writes() {
    let world = World::new("stream");
    let mut run = Streamed::start(&mut command(&world, &guest("through")));
    run.write(b"one\n");
    run.prints(|out| out.len() == 4);
    run.stdout = None;
    let (mut stdin, text) = (run.stdin.take().unwrap(), lines(0, 64 << 10));
    let refused = loop {
        if let Err(error) = stdin.write_all(&text) {
            break error;
        }
    };
    assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    assert_eq!(run.child.wait().unwrap().code(), Some(141));
}

#[test]
fn no_more_is_read_than_can_be_done() {
    let world = World::new("stream");
    let mut lonely = world.alone("run");
    let mut run = Streamed::start(lonely.args(["--json", "--cpus", "0"]).arg(guest("through")));
    let (mut stdin, text) = (run.stdin.take().unwrap(), lines(0, 1 << 20));
    let accepted = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&accepted);
    let writer = std::thread::spawn(move || {
        while counted.load(Relaxed) < 1 << 30 && stdin.write_all(&text).is_ok() {
            counted.fetch_add(text.len() as u64, Relaxed);
        }
    });
    wait_for(&run.events, "submitted");
    // Two lines on how it goes are seconds apart.
    wait_for(&run.events, "progress");
    wait_for(&run.events, "progress");
    let accepted = accepted.load(Relaxed) >> 20;
    run.child.kill().unwrap();
    writer.join().unwrap();
    assert!((1..100).contains(&accepted), "{accepted} MiB are read that nobody works on");
}

#[test]
fn what_is_left_by_ctrl_c_is_attached_job_by_job() {
    let world = World::new("stream");
    let worker = Worker::start(world.alone("join"));
    let home = world.dir.path().join("home");
    let mut command = world.bare("run");
    command.args(["--json", "--no-mdns", "--cpus", "0", "--peer", &worker.address, "--home"]).arg(&home);
    let mut streamed = Streamed::start(command.args(["--block", "1"]).arg(guest("brief")));
    streamed.write(b"first\n");
    streamed.prints(|out| out.len() == 7);
    let values: String = (0..60).map(|n| format!("value {n}\n")).collect();
    streamed.write(values.as_bytes());
    // The guest prints a newline more for each chunk.
    streamed.prints(|out| out.len() > 7 + 8);
    let interrupted = Command::new("kill").args(["-INT", &streamed.child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let (status, error) = streamed.ends("error");
    assert_eq!(status, 130, "{error}");
    let (message, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
    assert!(message.contains("the rest of standard input was not read"), "{message}");
    let names: Vec<&str> = hint.split("essaim attach ").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    let listed = run(world.bare("jobs").arg("--json").arg("--home").arg(&home), b"").well();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), names.len(), "{hint}");
    let mut out = Vec::new();
    for name in names {
        let mut attach = world.bare("attach");
        attach.args(["-q", "--no-mdns", "--cpus", "0", "--peer", &worker.address, "--home"]).arg(&home).arg(name);
        out.extend(run(&mut attach, b"").well().stdout);
    }
    let all: Vec<u8> = format!("first\n{values}").replace('\n', "\n\n").into_bytes();
    assert!(out.len() >= all.len() - 7 && all.ends_with(&out), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_long_input_takes_little_memory_and_disk() {
    const BYTES: u64 = 192 << 20;
    let world = World::new("stream");
    let worker = Worker::start(world.alone("join"));
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--peer", &worker.address]).arg(guest("nothing"));
    let mut run = Streamed::start(&mut command);
    let jobs = world.dir.path().join("home1/jobs");
    let (text, mut written, mut most, mut seen) = (lines(0, 1 << 20), 0, 0, BTreeSet::new());
    while written < BYTES {
        run.write(&text);
        written += text.len() as u64;
        let (folders, bytes) = disk(&jobs);
        // Three of them, the one that is being read, and one that is being removed.
        assert!(folders.len() <= 5, "{folders:?}");
        most = most.max(bytes);
        seen.extend(folders);
    }
    let author = peak(run.child.id());
    let (status, done) = run.is_done();
    assert_eq!(status, 0, "{done}");
    assert!(seen.len() > 3, "there were {} jobs only", seen.len());
    assert!(most < BYTES, "{} MiB on the disk", most >> 20);
    assert!((1..128).contains(&author), "the author had {author} MiB");
    let worker = peak(worker.process());
    assert!((1..128).contains(&worker), "the worker had {worker} MiB");
}

/// The folders of jobs, and the bytes in them.
fn disk(jobs: &Path) -> (Vec<PathBuf>, u64) {
    // What is being removed is on its way.
    let list = |dir: &Path| fs::read_dir(dir).map_or_else(|_| Vec::new(), |entries| entries.flatten().collect());
    let folders: Vec<PathBuf> = list(jobs).iter().map(fs::DirEntry::path).collect();
    let files = folders.iter().flat_map(|folder| list(folder));
    let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    (folders, bytes)
}

/// The most memory that a process has had, MiB.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
}
