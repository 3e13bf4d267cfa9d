//! Jobs that are left and come back to: by Ctrl-C, by a crash.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;

use crate::node::{Ran, Worker, World, events, guest, run, until, wait_for};

const CHUNKS: u64 = 60;

/// What the whole job prints.
fn whole() -> Vec<u8> {
    (0..CHUNKS).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

/// A worker, and a job of its that is followed from a home of its own.
struct Begun {
    world: World,
    worker: Worker,
    home: std::path::PathBuf,
}

/// A process that follows the job.
struct Author {
    child: Child,
    events: mpsc::Receiver<Value>,
    _stdout: ChildStdout,
}

impl Author {
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Begun {
    fn new(name: &str) -> Begun {
        let world = World::new(name);
        let home = world.dir.path().join("worker");
        let mut join = world.bare("join");
        join.arg("--no-mdns").arg("--home").arg(home);
        let worker = Worker::start(join);
        Begun { home: world.dir.path().join("author"), worker, world }
    }

    /// One worker more, which knows the first.
    fn another_worker(&self) -> Worker {
        let mut join = self.world.alone("join");
        join.args(["--peer", &self.worker.address]);
        Worker::start(join)
    }

    /// A verb of the author, who has no cores.
    fn verb(&self, verb: &str) -> Command {
        let mut command = self.world.bare(verb);
        command.args(["--json", "--no-mdns", "--peer", &self.worker.address]).arg("--home").arg(&self.home);
        command
    }

    /// Submits the job; returns its name once the output of two chunks has come out.
    fn submit(&self) -> (Author, String) {
        let mut command = self.verb("run");
        let values = (0..CHUNKS).map(|n| n.to_string());
        command.args(["--cpus", "0"]).arg(guest("brief")).arg(":::").args(values);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = events(child.stderr.take().unwrap());
        let job = wait_for(&events, "submitted")["job"].as_str().unwrap().to_owned();
        let mut first = [0; 4];
        // It is not to be closed: whose output nobody reads any more ends.
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        assert_eq!(first, whole()[..4]);
        (Author { child, events, _stdout: stdout }, job)
    }

    fn listed(&self) -> Vec<Value> {
        let mut command = self.world.bare("jobs");
        let listed = run(command.arg("--json").arg("--home").arg(&self.home), b"").well();
        String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn attach(&self, job: &str) -> Ran {
        run(self.verb("attach").args(["--cpus", "0", job]), b"").well()
    }

    /// Chunks that the worker has run, once it knows of all.
    fn chunks_run(&self) -> u64 {
        let mut chunks = 0;
        until("it has counted them", || {
            chunks = self.counted();
            chunks >= CHUNKS
        });
        chunks
    }

    fn counted(&self) -> u64 {
        self.status()["chunks_run"].as_u64().unwrap()
    }

    /// How the worker is.
    fn status(&self) -> Value {
        let mut command = self.world.bare("status");
        let status = run(command.arg("--json").arg("--home").arg(self.world.dir.path().join("worker")), b"").well();
        serde_json::from_slice(&status.stdout).unwrap()
    }
}

#[test]
fn a_job_left_by_ctrl_c_is_gone_on_with_and_nothing_runs_twice() {
    let begun = Begun::new("left");
    let (mut author, job) = begun.submit();
    assert_eq!(begun.listed()[0]["state"], "followed");
    assert!(Command::new("kill").args(["-INT", &author.child.id().to_string()]).status().unwrap().success());
    let error = wait_for(&author.events, "error");
    assert!(error["message"].as_str().unwrap().contains(&job[..8]), "{error}");
    assert_eq!(author.child.wait().unwrap().code(), Some(130));

    let listed = begun.listed();
    assert_eq!((listed.len(), &listed[0]["state"], &listed[0]["chunks"]), (1, &"detached".into(), &CHUNKS.into()));
    assert_eq!(begun.attach(&job[..8]).stdout, whole());
    assert_eq!(begun.chunks_run(), CHUNKS);
    assert!(begun.listed().is_empty(), "a job that has come to its end is forgotten");
}

#[test]
fn an_author_that_is_killed_goes_on_where_it_was_and_nothing_runs_twice() {
    let begun = Begun::new("killed");
    let (author, job) = begun.submit();
    author.kill();
    let here = begun.listed()[0]["sealed"].as_u64().unwrap();
    assert!((2..=CHUNKS).contains(&here), "two chunks had come out, {here} are here");
    let mut results = begun.verb("results");
    let some = run(results.arg(&job), b"");
    assert!(some.stdout.len() >= 4 && whole().starts_with(&some.stdout), "{}", some.stderr);
    let ran = begun.attach(&job);
    assert_eq!(ran.stdout, whole());
    assert!(ran.event("attached")["sealed"].as_u64() >= Some(here));
    assert_eq!(begun.chunks_run(), CHUNKS);
}

#[test]
fn a_job_that_was_left_can_be_cancelled() {
    let begun = Begun::new("cancelled");
    let (author, job) = begun.submit();
    author.kill();
    let cancelled = run(begun.verb("cancel").arg(&job[..6]), b"").well().event("cancelled");
    assert_eq!(cancelled["peers"], 1, "{cancelled}");
    assert!(begun.listed().is_empty());
    let mut attach = begun.verb("attach");
    let ran = run(attach.arg(&job), b"");
    assert_eq!((ran.status, ran.stdout.len()), (1, 0));
    assert!(ran.event("error")["message"].as_str().unwrap().contains("nobody here knows"));
}

#[test]
fn a_job_whose_machine_is_gone_is_attached_elsewhere_with_the_key_of_its_author() {
    let begun = Begun::new("elsewhere");
    let (mut others, mut doomed) = (vec![begun.another_worker(), begun.another_worker()], begun.another_worker());
    let (mut author, job) = begun.submit();
    assert!(Command::new("kill").args(["-INT", &author.child.id().to_string()]).status().unwrap().success());
    let error = wait_for(&author.events, "error");
    assert!(error["hint"].as_str().unwrap().contains("--key"), "{error}");
    author.child.wait().unwrap();

    let key = begun.world.dir.path().join("key");
    std::fs::rename(begun.home.join("author.key"), &key).unwrap();
    std::fs::remove_dir_all(&begun.home).unwrap();
    doomed.kill();
    let mut attach = begun.world.alone("attach");
    attach.args(["--json", "--cpus", "0", "--peer", &begun.worker.address]).arg("--key").arg(&key).arg(&job);
    let ran = run(&mut attach, b"").well();
    assert_eq!(String::from_utf8(ran.stdout.clone()).unwrap(), String::from_utf8(whole()).unwrap());
    // What had come out before was not run again.
    assert!(ran.event("attached")["sealed"].as_u64() >= Some(2), "{}", ran.stderr);
    others.iter_mut().for_each(Worker::kill);
}

#[test]
fn a_job_is_not_given_to_who_has_another_key() {
    let begun = Begun::new("thief");
    let (mut author, job) = begun.submit();
    assert!(Command::new("kill").args(["-INT", &author.child.id().to_string()]).status().unwrap().success());
    author.child.wait().unwrap();
    let mut attach = begun.world.alone("attach");
    attach.args(["--json", "--cpus", "0", "--peer", &begun.worker.address]).arg(&job);
    let ran = run(&mut attach, b"");
    assert_eq!((ran.status, ran.stdout.len()), (1, 0));
    assert!(ran.event("error")["message"].as_str().unwrap().contains("another author"), "{}", ran.stderr);
}

#[test]
fn a_job_can_be_left_to_its_peers_at_once() {
    let begun = Begun::new("detach");
    let mut command = begun.verb("run");
    let values = (0..CHUNKS).map(|n| n.to_string());
    let ran = run(command.args(["--cpus", "0", "--detach"]).arg(guest("brief")).arg(":::").args(values), b"").well();
    let job = String::from_utf8(ran.stdout.clone()).unwrap().trim().to_owned();
    assert_eq!(ran.event("detached")["job"], job.as_str());
    // Its worker goes on by itself.
    assert_eq!(begun.chunks_run(), CHUNKS);
    assert_eq!(begun.attach(&job).stdout, whole());
}

#[test]
fn a_job_is_cancelled_elsewhere_with_the_key_of_its_author_and_with_no_other() {
    let begun = Begun::new("revoked");
    let another = begun.another_worker();
    let (mut author, job) = begun.submit();
    assert!(Command::new("kill").args(["-INT", &author.child.id().to_string()]).status().unwrap().success());
    author.child.wait().unwrap();
    let cancel = |key: Option<&std::path::Path>| {
        let mut cancel = begun.world.alone("cancel");
        cancel.args(["--json", "--peer", &begun.worker.address]).arg(&job[..12]);
        if let Some(key) = key {
            cancel.arg("--key").arg(key);
        }
        run(&mut cancel, b"")
    };
    let refused = |ran: Ran, message: &str, hint: &str| {
        let error = ran.event("error");
        let says = |field: &str, words: &str| error[field].as_str().unwrap().contains(words);
        assert!(ran.status == 1 && says("message", message) && says("hint", hint), "{error}");
    };
    refused(cancel(None), "there is no job", "--key FILE");
    refused(cancel(Some(&begun.world.file("short", "x"))), "is not a key", "author.key");
    refused(cancel(Some(&begun.world.file("other", [7; 32]))), "another author", "author.key");
    // Nobody has believed that.
    assert_eq!(begun.status()["jobs"].as_array().unwrap().len(), 1);

    let told = cancel(Some(&begun.home.join("author.key"))).well().event("cancelled");
    assert!(told["job"] == job.as_str() && told["peers"].as_u64() >= Some(1), "{told}");
    until("nobody works on it", || begun.status()["jobs"].as_array().unwrap().is_empty());
    // Who comes back to it where it was submitted hears of it.
    let ran = run(begun.verb("attach").args(["--cpus", "0", &job]), b"");
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    assert!(ran.event("error")["message"].as_str().unwrap().contains("cancelled"), "{}", ran.stderr);
    drop(another);
}

#[test]
fn a_job_that_is_followed_can_be_cancelled_elsewhere() {
    let begun = Begun::new("revoked-here");
    let (mut author, job) = begun.submit();
    let mut cancel = begun.world.alone("cancel");
    cancel.args(["--json", "--peer", &begun.worker.address, "--key"]).arg(begun.home.join("author.key")).arg(&job);
    let told = run(&mut cancel, b"").well().event("cancelled");
    assert!(told["peers"].as_u64() >= Some(1), "{told}");
    let error = wait_for(&author.events, "error");
    assert!(error["message"].as_str().unwrap().contains("cancelled"), "{error}");
    assert_eq!(author.child.wait().unwrap().code(), Some(130));
    assert!(begun.listed().is_empty());
}
