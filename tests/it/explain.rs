//! Ten reasons why a job does not get on, each made to happen with real processes: `essaim explain` names the true one,
//! and no other.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};

use essaim::net::{self, Event, Events, Verdict};
use essaim::peer::wire::{Announcement, Direct, Place};
use essaim_jobs::bounds::Text;
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{AuthorId, BlobRef, Halt, Keypair, Limits, Manifest, NodeId, Role, Signed, decode, encode};
use serde_json::Value;

use crate::node::{Worker, World, events, guest, run, until, wait_for};
use crate::owner::tell;

/// An author that follows a job; killed when dropped.
struct Author {
    child: Child,
    home: PathBuf,
    job: String,
    /// What it says: it needs somebody who listens.
    _said: mpsc::Receiver<Value>,
}

impl Author {
    /// Runs a guest, with these options before it and these inputs after it, known to some peers.
    fn start(world: &World, peers: &[&str], options: &[&str], program: &str, values: &[&str]) -> Author {
        let home = world.dir.path().join("author");
        let mut command = world.bare("run");
        command.args(["--json", "--no-mdns", "--cpus", "0"]).args(options).arg("--home").arg(&home);
        command.args(peers.iter().flat_map(|peer| ["--peer", *peer]));
        command.arg(guest(program)).arg(":::").args(values);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = events(child.stderr.take().unwrap());
        let job = wait_for(&said, "submitted")["job"].as_str().unwrap().to_owned();
        Author { child, home, job, _said: said }
    }

    /// Waits for the job's bad end.
    fn fails(mut self) -> (PathBuf, String) {
        assert!(!self.child.wait().unwrap().success());
        (self.home.clone(), self.job.clone())
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `essaim explain` finds.
fn explain(world: &World, home: &PathBuf, of: &[&str]) -> Vec<Value> {
    let ran = run(world.bare("explain").arg("--json").arg("--home").arg(home).args(of), b"").well();
    String::from_utf8(ran.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The causes that it names.
fn causes(found: &[Value]) -> Vec<&str> {
    found.iter().map(|found| found["cause"].as_str().unwrap()).collect()
}

/// Waits until it names these causes and no others; a wrong one on the way is as bad, but for those of a job that has
/// only begun, or whose chunks run for long because this machine is busy.
#[track_caller]
fn explained(world: &World, author: &Author, of: &[&str], wanted: &[&str]) -> Vec<Value> {
    let of: Vec<&str> = std::iter::once(author.job.as_str()).chain(of.iter().copied()).collect();
    let mut found = Vec::new();
    until(&format!("{wanted:?} of {of:?}"), || {
        found = explain(world, &author.home, &of);
        let named = causes(&found);
        let begins = ["no-peers", "preparing", "goes-on", "queued", "running", "collecting", "long-running"];
        let wrong = named.iter().find(|cause| !wanted.contains(cause) && !begins.contains(cause));
        assert!(wrong.is_none(), "{found:#?}");
        named == wanted
    });
    for found in &found {
        let has = |field: &str| found[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(has("line") && has("hint") && has("job"), "{found}");
    }
    found
}

fn worker(world: &World, home: &str, options: &[&str]) -> (Worker, PathBuf) {
    let home = world.dir.path().join(home);
    let mut join = world.bare("join");
    join.arg("--no-mdns").args(options).arg("--home").arg(&home);
    (Worker::start(join), home)
}

#[test]
fn nobody_is_there() {
    let world = World::new("why-nobody");
    let author = Author::start(&world, &[], &[], "moody", &["a"]);
    let found = explained(&world, &author, &[], &["no-peers"]);
    assert_eq!(found[0]["number"], 0);
    explained(&world, &author, &["0"], &["no-peers"]);

    // It need not be named, and a person is told in words.
    let words = run(world.bare("explain").arg("--home").arg(&author.home), b"").well().stdout;
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("no-peers: no peer is connected") && words.contains("hint: "), "{words}");
    let beyond = run(world.bare("explain").arg("--home").arg(&author.home).args([&author.job, "1"]), b"");
    assert!(beyond.status == 2 && beyond.stderr.contains("has no chunk 1"), "{}", beyond.stderr);
}

#[test]
fn all_peers_refuse() {
    let world = World::new("why-refuse");
    let (paused, home) = worker(&world, "paused", &[]);
    tell(&world, "pause", &home);
    // An hour at a time that is not now, whatever the clock on the wall says.
    let away = crate::owner::another_day();
    let (outside, _) = worker(&world, "outside", &["--hours", &format!("{away} 00:00-24:00")]);
    let author = Author::start(&world, &[&paused.address, &outside.address], &[], "moody", &["a", "b"]);
    let mut wanted = [("paused", &paused.peer), ("outside-hours", &outside.peer)];
    wanted.sort_by_key(|(_, peer)| (*peer).clone());
    let found = explained(&world, &author, &[], &wanted.map(|(cause, _)| cause));
    for (found, (_, peer)) in found.iter().zip(wanted) {
        assert_eq!(found["peers"][0], peer.as_str());
    }

    // What is not so any more is not said any more.
    tell(&world, "resume", &home);
    let mut author = author;
    assert!(author.child.wait().unwrap().success());
    let found = explain(&world, &author.home, &[&author.job]);
    assert_eq!((causes(&found), &found[0]["state"]), (vec!["done"], &"ended".into()));
}

#[test]
fn a_peer_cannot_compile_the_program() {
    let world = World::new("why-compile");
    let (worker, home) = worker(&world, "worker", &[]);
    // The place of what is compiled is none any more: so it would be where a disk is broken.
    std::fs::remove_dir_all(home.join("compiled")).unwrap();
    std::fs::write(home.join("compiled"), "").unwrap();
    let author = Author::start(&world, &[&worker.address], &[], "moody", &["a"]);
    let found = explained(&world, &author, &[], &["program-refused"]);
    assert_eq!(found[0]["peers"][0], worker.peer.as_str());
    assert!(found[0]["words"].as_str().unwrap().contains("cannot compile here"), "{found:?}");
}

#[test]
fn a_chunk_fails_everywhere() {
    let world = World::new("why-fails");
    let workers = [worker(&world, "one", &[]), worker(&world, "other", &[])];
    let peers: Vec<&str> = workers.iter().map(|(worker, _)| worker.address.as_str()).collect();
    workers.iter().for_each(|(_, home)| drop(tell(&world, "pause", home)));
    // The bad one comes last: the others are more than one peer works off before the next one goes on, too.
    let values: Vec<String> = (0..100).map(|n| n.to_string()).chain(["x".into()]).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let author = Author::start(&world, &peers, &[], "moody", &values);
    explained(&world, &author, &[], &["paused", "paused"]);
    workers.iter().for_each(|(_, home)| drop(tell(&world, "resume", home)));
    let (home, job) = author.fails();
    let found = explain(&world, &home, &[&job]);
    assert_eq!(causes(&found), ["chunk-fails"], "{found:#?}");
    assert_eq!((&found[0]["chunk"], &found[0]["state"]), (&100.into(), &"ended".into()));
    let at: Vec<&str> = found[0]["peers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(at.len() == 2 && workers.iter().all(|(worker, _)| at.contains(&worker.peer.as_str())), "{at:?}");
    assert!(found[0]["words"].as_str().unwrap().contains("trapped"), "{found:?}");
    // The last one that has ended is what is meant where none is named.
    assert_eq!(explain(&world, &home, &[])[0]["job"], job);
}

#[test]
fn a_chunk_fails_at_one_peer_only() {
    let world = World::new("why-one");
    let (small, _) = worker(&world, "small", &["--memory", "16MiB"]);
    let mut author = Author::start(&world, &[&small.address], &[], "moody", &["m"]);
    let found = explained(&world, &author, &["0"], &["peer-memory"]);
    assert_eq!((&found[0]["peers"][0], &found[0]["number"]), (&small.peer.as_str().into(), &(16 << 20).into()));
    assert_eq!(found[0]["passed"], false);

    let mut join = world.alone("join");
    let large = Worker::start({
        join.args(["--peer", &small.address]);
        join
    });
    assert!(author.child.wait().unwrap().success());
    let found = explain(&world, &author.home, &[&author.job, "0"]);
    assert_eq!(causes(&found), ["done", "peer-memory"]);
    assert_eq!((&found[1]["peers"][0], &found[1]["passed"]), (&small.peer.as_str().into(), &true.into()));
    assert_eq!(found[1]["peers"].as_array().unwrap().len(), 1, "not at {}", large.peer);
}

#[test]
fn a_chunk_waits_for_a_verifier() {
    let world = World::new("why-verify");
    let (worker, _) = worker(&world, "worker", &[]);
    let author = Author::start(&world, &[&worker.address], &["--copies", "2"], "moody", &["a", "b"]);
    let found = explained(&world, &author, &[], &["waits-for-verifier"]);
    assert_eq!((&found[0]["peers"][0], &found[0]["number"]), (&worker.peer.as_str().into(), &2.into()));
    explained(&world, &author, &["1"], &["waits-for-verifier"]);
}

#[test]
fn a_chunk_runs_for_long_at_one_peer() {
    let world = World::new("why-long");
    let (worker, _) = worker(&world, "worker", &[]);
    let author = Author::start(&world, &[&worker.address], &["--timeout", "1h"], "moody", &["a", "b", "s"]);
    explained(&world, &author, &["0"], &["done"]);
    explained(&world, &author, &["1"], &["done"]);
    let found = explained(&world, &author, &[], &["long-running"]);
    assert_eq!((&found[0]["peers"][0], &found[0]["chunk"]), (&worker.peer.as_str().into(), &2.into()));
    assert!(found[0]["seconds"].as_u64() >= Some(5), "{found:?}");
    let found = explained(&world, &author, &["2"], &["long-running"]);
    assert_eq!(found[0]["peers"][0], worker.peer.as_str());
}

#[test]
#[cfg(target_os = "linux")]
fn the_authors_disk_is_full() {
    let world = World::new("why-full");
    let Some(disk) = crate::full::Disk::new(&world) else { return };
    let (worker, home) = (Worker::start(world.alone("join")), disk.path("home"));
    disk.fill(5 << 10);
    let mut command = world.bare("run");
    crate::full::job(&mut command, &worker, &home);
    let ran = run(&mut command, b"");
    assert!(ran.stderr.contains("cannot keep an output"), "{}", ran.stderr);
    let found = explain(&world, &home, &[]);
    assert_eq!((causes(&found), &found[0]["state"]), (vec!["disk-full"], &"detached".into()), "{found:#?}");
    assert_eq!(found[0]["peers"], Value::Array(Vec::new()), "it is nobody else's");
    assert!(found[0]["number"].as_u64() < Some(1 << 20) && found[0]["hint"].as_str().unwrap().contains("attach"));
    disk.make_room();
    assert_eq!(explain(&world, &home, &["--quiet"])[0]["state"], "detached");
}

#[test]
fn a_limit_is_reached() {
    let world = World::new("why-limit");
    let (worker, _) = worker(&world, "worker", &[]);
    for (program, option, given, limit, number) in [
        ("hoard", "--memory", "1MiB", "memory", 1 << 20),
        ("loop", "--timeout", "200ms", "time", 200),
        ("flood", "--output", "64KiB", "output", 64 << 10),
        ("loop", "--fuel", "100000", "fuel", 100_000),
    ] {
        let options = ["--retries", "0", option, given];
        let (home, job) = Author::start(&world, &[&worker.address], &options, program, &["a"]).fails();
        let found = explain(&world, &home, &[&job]);
        assert_eq!(causes(&found), ["limit-reached"], "{found:#?}");
        assert_eq!((&found[0]["limit"], &found[0]["number"]), (&limit.into(), &number.into()));
        assert_eq!(found[0]["peers"][0], worker.peer.as_str());
    }
}

/// A node of this swarm that is no essaim.
struct Stranger {
    runtime: tokio::runtime::Runtime,
    net: net::Handle,
    events: Events,
}

impl Stranger {
    fn start(world: &World, known: &[&str]) -> Stranger {
        let config = net::Config {
            seed: [7; 32],
            swarm: world.swarm().parse().unwrap(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            peers: known.iter().map(|known| known.parse().unwrap()).collect(),
            mdns: false,
            local_dir: None,
            serve: Arc::new(|_| None),
            serve_pieces: Arc::new(|_| None),
            upload: None,
            validate: Arc::new(|_, _| Verdict::Accept),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (net, events) = runtime.block_on(net::start(config)).unwrap();
        Stranger { runtime, net, events }
    }

    /// What the next of its messages is that `wanted` takes.
    fn hears<T>(&mut self, mut wanted: impl FnMut(NodeId, Direct) -> Option<T>) -> T {
        loop {
            let event = self.runtime.block_on(self.events.recv()).unwrap();
            if let Event::Direct { from, message } = event
                && let Ok(direct) = decode(&message, message.len())
                && let Some(heard) = wanted(from, direct)
            {
                return heard;
            }
        }
    }

    fn says(&self, to: NodeId, what: Vec<u8>) {
        self.runtime.block_on(self.net.send(to, what.into())).unwrap();
    }
}

#[test]
fn a_peer_is_of_another_version() {
    let world = World::new("why-version");
    let mut later = Stranger::start(&world, &[]);
    let address = later.net.addresses()[0].to_string();
    let author = Author::start(&world, &[&address], &[], "moody", &["a"]);
    let (node, job) = later.hears(|from, direct| match direct {
        Direct::Announce(announcement) => Some((from, announcement.place.body.job)),
        _ => None,
    });
    let words = "manifest version 2, this essaim reads version 77".to_owned().try_into().unwrap();
    let reason: Text<32> = "other-version".to_owned().try_into().unwrap();
    later.says(node, encode(&Direct::Apart { job: Some(job), reason, words }));
    let found = explained(&world, &author, &[], &["other-version"]);
    assert_eq!(found[0]["peers"][0], later.net.node().to_string());
    assert!(found[0]["words"].as_str().unwrap().contains("reads version 77"), "{found:?}");

    // What only a later version says does no harm, and a reason that has no name here is still one.
    later.says(node, vec![99, 1, 2, 3]);
    let reason = "of-a-later-version".to_owned().try_into().unwrap();
    later
        .says(node, encode(&Direct::Apart { job: None, reason, words: "\u{7}because".to_owned().try_into().unwrap() }));
    let mut last = Vec::new();
    until("it is told", || {
        last = explain(&world, &author.home, &[&author.job]);
        causes(&last) == ["refuses"]
    });
    assert_eq!(last[0]["words"], "because");
}

#[test]
fn a_worker_tells_an_author_of_another_version() {
    let world = World::new("why-old");
    let (worker, _) = worker(&world, "worker", &[]);
    let mut later = Stranger::start(&world, &[&worker.address]);
    let node = later.runtime.block_on(async {
        loop {
            if let Some(Event::Up(node)) = later.events.recv().await {
                return node;
            }
        }
    });
    let author = Keypair::from_seed(&[3; 32]);
    let manifest = Manifest {
        version: VERSION + 1,
        name: "later".to_owned().try_into().unwrap(),
        program: BlobRef::of(b""),
        role: Role::Map,
        argv: Vec::new(),
        values: 0,
        env: Vec::new(),
        data: Vec::new(),
        chunks: 1,
        first_chunk: 0,
        pages: vec![BlobRef::of(b"")],
        limits: Limits::default(),
        strict: false,
        copies: 1,
        retries: 0,
        halt: Halt::default(),
        folds: false,
        keep_seconds: 60,
        author: AuthorId(author.public()),
        created_ms: 0,
        nonce: 0,
    };
    let job = manifest.id();
    let place =
        Place { job, node: later.net.node(), addresses: Vec::new(), term: 0, seq: 1, left: false, collected: None };
    let announcement = Announcement { manifest: Signed::sign(manifest, &author), place: Signed::sign(place, &author) };
    let apart = |_, direct| match direct {
        Direct::Apart { job, reason, words } => Some((job, reason.as_str().to_owned(), words.as_str().to_owned())),
        _ => None,
    };
    let announced = encode(&Direct::Announce(Box::new(announcement)));
    later.says(node, announced.clone());
    let (about, reason, words) = later.hears(apart);
    assert_eq!((about, reason.as_str()), (Some(job), "other-version"));
    assert!(
        words.contains(&format!("manifest version {}, this essaim reads version {VERSION}", VERSION + 1)),
        "{words}"
    );

    // One of which nothing else can be read; the first byte says that it is an announcement, the next its version.
    let mut unreadable = announced;
    unreadable[1] = 9;
    unreadable.push(1);
    later.says(node, unreadable);
    let (about, reason, words) = later.hears(apart);
    assert_eq!((about, reason.as_str()), (None, "other-version"));
    assert!(words.contains("manifest version 9"), "{words}");
}
