//! Sources of a job's data that are killed, slow, or wrong: the job ends with the right bytes, and they are left.
//!
//! Mostly a *holder*, which lends nothing at the moment, has all of the data, and a *taker*, which comes later, can
//! have it from the holder and from the author. Only the taker runs the program, which prints what it has got.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use essaim::blob::{Blob, PieceError, Pieces};
use essaim::net::{self, Event, Events, Verdict};
use essaim::store::Whole;
use essaim_jobs::{BlobRef, IntervalSet};
use serde_json::Value;

use crate::node::{Ran, Worker, World, events, guest, run, until, wait_for};

/// 16 pieces, the last shorter than the others.
const BYTES: usize = (4 << 20) - 12_345;
const PIECE: usize = 256 << 10;
/// What the author sends a second: slow enough for things to happen meanwhile.
const RATE: &str = "1MB";

struct Scene {
    world: World,
    data: Bytes,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let words = (0..BYTES as u64 / 8 + 1).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Scene { world: World::new(name), data: words.take(BYTES).collect() }
    }

    /// A node that tells what goes on, in a home of this name.
    fn node(&self, home: &str, known: Option<&Worker>, options: &[&str]) -> Worker {
        let mut join = self.world.bare("join");
        join.args(["-v", "--no-mdns"]).args(options).arg("--home").arg(self.home(home));
        if let Some(known) = known {
            join.args(["--peer", &known.address]);
        }
        Worker::start(join)
    }

    fn home(&self, name: &str) -> PathBuf {
        self.world.dir.path().join(name)
    }

    /// Starts the job; what it comes to.
    fn job(&self, known: &Worker, program: PathBuf) -> JoinHandle<Ran> {
        let data = format!("data={}", self.world.file("data", &self.data).display());
        let mut command = self.world.alone("run");
        command.args(["--json", "--cpus", "0", "--upload", RATE, "--peer", &known.address, "--data", &data]);
        command.arg(program).args([":::", "data"]);
        std::thread::spawn(move || run(&mut command, b""))
    }

    /// The files in which a node keeps large blobs.
    fn files(&self, home: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.home(home).join("blobs")).into_iter().flatten().flatten();
        files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "part")).collect()
    }

    fn has_all(&self, home: &str) -> bool {
        self.files(home).iter().any(|file| fs::read(file).is_ok_and(|bytes| bytes == self.data))
    }

    /// The job under way, a holder of its data that sends as `upload` says, and what the job will come to.
    fn held(&self, upload: &str, program: PathBuf) -> (Worker, JoinHandle<Ran>) {
        let holder = self.node("holder", None, &["--upload", upload]);
        run(self.world.bare("pause").arg("--home").arg(self.home("holder")), b"").well();
        let job = self.job(&holder, program);
        until("the holder has it", || self.has_all("holder"));
        (holder, job)
    }

    /// What a job must come to.
    #[track_caller]
    fn ends_well(&self, job: JoinHandle<Ran>, taker: &Worker) {
        let ran = job.join().unwrap().well();
        assert!(ran.stdout == self.data, "other bytes, {} of {BYTES}", ran.stdout.len());
        assert_eq!(ran.event("done")["by"][&taker.peer], 1);
    }
}

#[test]
fn a_source_that_is_killed_is_replaced_by_the_others() {
    let scene = Scene::new("source-killed");
    let (mut holder, job) = scene.held(RATE, guest("cat"));
    let mut taker = scene.node("taker", Some(&holder), &[]);
    taker.tells(&["first piece of a blob", &holder.peer]);
    holder.kill();
    assert!(!scene.has_all("taker"), "it was killed in the middle");
    taker.tells(&["session about a blob has ended", &holder.peer]);
    scene.ends_well(job, &taker);
}

#[test]
fn a_source_of_a_kilobyte_a_second_is_not_waited_for() {
    let scene = Scene::new("source-slow");
    let (holder, job) = scene.held("1kB", guest("cat"));
    let mut taker = scene.node("taker", Some(&holder), &[]);
    taker.tells(&["silent or slow", &holder.peer]);
    assert!(!scene.has_all("taker"), "it was noticed in the middle");
    // From it one piece would take four minutes, all of them more than an hour.
    scene.ends_well(job, &taker);
}

#[test]
fn what_was_altered_on_a_sources_disk_is_not_sent() {
    let scene = Scene::new("source-altered");
    let (mut holder, job) = scene.held(RATE, guest("cat"));
    let file = fs::File::options().write(true).open(&scene.files("holder")[0]).unwrap();
    for middle in (PIECE / 2..BYTES).step_by(PIECE) {
        file.write_all_at(&[!scene.data[middle]], middle as u64).unwrap();
    }
    let mut taker = scene.node("taker", Some(&holder), &[]);
    scene.ends_well(job, &taker);
    holder.tells(&["a piece is not given"]);
    taker.tells(&["a blob is all here"]);
    assert!(!taker.has_told(&["Wrong"]), "wrong bytes were sent");
}

/// All of the data, of which it sends every piece with one bit changed.
#[derive(Debug)]
struct Lies {
    whole: Whole,
    sent: AtomicUsize,
}

impl Pieces for Lies {
    fn name(&self) -> BlobRef {
        self.whole.name()
    }
    fn have(&self) -> IntervalSet {
        self.whole.have()
    }
    fn has(&self, piece: u32) -> bool {
        self.whole.has(piece)
    }
    fn encode(&self, piece: u32) -> std::io::Result<Bytes> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut encoded = self.whole.encode(piece)?.to_vec();
        let middle = encoded.len() / 2;
        encoded[middle] ^= 1;
        Ok(encoded.into())
    }
    fn write(&self, piece: u32, encoded: &[u8]) -> Result<(), PieceError> {
        self.whole.write(piece, encoded)
    }
}

/// A node that is of the swarm, and of no job: it only gives `pieces`.
struct Giver {
    runtime: tokio::runtime::Runtime,
    net: net::Handle,
    events: Events,
}

impl Giver {
    fn start(scene: &Scene, known: &Worker, pieces: Arc<dyn Pieces>) -> Giver {
        let config = net::Config {
            seed: [7; 32],
            swarm: scene.world.swarm().parse().unwrap(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            peers: vec![known.address.parse().unwrap()],
            mdns: false,
            local_dir: None,
            serve: Arc::new(|_| None),
            serve_pieces: Arc::new(move |asked| (asked == pieces.name()).then(|| Arc::clone(&pieces))),
            upload: None,
            validate: Arc::new(|_, _| Verdict::Accept),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (net, mut events) = runtime.block_on(net::start(config)).unwrap();
        let is_up = |event: &Event| matches!(event, Event::Up(node) if node.to_string() == known.peer);
        runtime.block_on(async { while !events.recv().await.as_ref().is_some_and(is_up) {} });
        Giver { runtime, net, events }
    }
}

#[test]
fn a_source_that_sends_wrong_bytes_is_left_for_good() {
    let scene = Scene::new("source-lies");
    let mut taker = scene.node("taker", None, &[]);
    let name = BlobRef::of(&scene.data);
    let whole = Whole::new(name, Blob::Memory(scene.data.clone())).unwrap();
    let lies = Arc::new(Lies { whole, sent: AtomicUsize::new(0) });
    let giver = Giver::start(&scene, &taker, Arc::clone(&lies) as Arc<dyn Pieces>);
    let liar = giver.net.node().to_string();
    let job = scene.job(&taker, guest("cat"));
    taker.tells(&["session about a blob is left", "Wrong", "pieces=0", &liar]);
    assert!(!scene.has_all("taker"), "it was found out in the middle");
    scene.ends_well(job, &taker);
    drop(giver.events);
    // The first was its last but for what it had been asked for until then, though it was there to the end.
    let sent = lies.sent.load(Ordering::Relaxed);
    assert!((1..8).contains(&sent), "it could send {sent} pieces");
}

#[test]
fn who_has_all_of_a_jobs_data_and_program_says_so_on_the_dht() {
    let scene = Scene::new("source-says");
    let cat = fs::read_to_string(guest("cat")).unwrap();
    let (cat, end) = cat.rsplit_once(')').unwrap();
    let large = format!("{cat}(data \"{}\")){end}", "x".repeat(1 << 20));
    let (holder, job) = scene.held(RATE, scene.world.file("cat.wat", large));
    let nothing = Whole::new(BlobRef::of(b""), Blob::Memory(Bytes::new())).unwrap();
    let asker = Giver::start(&scene, &holder, Arc::new(nothing));
    let files = scene.files("holder");
    assert_eq!(files.len(), 2);
    for file in files {
        until("its holder and its author are found", || {
            // The program comes last, and may still be coming.
            let name = BlobRef::of(&fs::read(&file).unwrap()).id;
            let found = asker.runtime.block_on(asker.net.providers(name));
            found.len() == 2 && found.iter().any(|node| node.to_string() == holder.peer)
        });
    }
    run(scene.world.bare("resume").arg("--home").arg(scene.home("holder")), b"").well();
    scene.ends_well(job, &holder);
    drop(asker.events);
}

#[test]
fn what_no_peer_of_the_job_has_is_found_through_the_dht_while_its_author_is_dead() {
    let scene = Scene::new("source-found");
    let mut taker = scene.node("taker", None, &[]);
    let input = scene.world.file("input", &scene.data);
    let (home, address) = (scene.home("author"), taker.address.clone());
    let verb = |verb: &str| {
        let mut command = scene.world.bare(verb);
        command.args(["--json", "--no-mdns", "--peer", &address, "--cpus", "0"]).arg("--home").arg(&home);
        command
    };
    // At this rate the input of the only chunk would take more than an hour.
    let mut command = verb("run");
    command.args(["--upload", "1kB", "--per-file"]).arg(guest("echo")).arg(&input);
    let mut author = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let told = events(author.stderr.take().unwrap());
    let job = wait_for(&told, "submitted")["job"].as_str().unwrap().to_owned();
    until("the taker has begun to fetch it", || !scene.files("taker").is_empty());
    author.kill().unwrap();
    author.wait().unwrap();

    // This one has it, but does not work on the job: nobody would ask it, were it not for the DHT.
    let name = BlobRef::of(&scene.data);
    let whole = Arc::new(Whole::new(name, Blob::Memory(scene.data.clone())).unwrap());
    let giver = Giver::start(&scene, &taker, whole);
    giver.runtime.block_on(giver.net.provide([name.id]));
    taker.tells(&["first piece of a blob", &giver.net.node().to_string()]);
    let status = || run(scene.world.bare("status").arg("--json").arg("--home").arg(scene.home("taker")), b"").well();
    let chunks_run = || serde_json::from_slice::<Value>(&status().stdout).unwrap()["chunks_run"].as_u64();
    until("it has run", || chunks_run() == Some(1));
    let ran = run(verb("attach").args(["--upload", "1kB"]).arg(&job), b"").well();
    // The guest prints what it reads at once.
    let (printed, newline) = ran.stdout.split_at(ran.stdout.len() - 1);
    assert!(printed.len() > 1_000 && scene.data.starts_with(printed) && newline == b"\n", "{}", ran.stderr);
    assert_eq!(ran.event("done")["by"][&taker.peer], 1);
    drop(giver.events);
}
