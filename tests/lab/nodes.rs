//! A job whose chunks read the blob: each node that joins it downloads the blob first.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use crate::links::{Links, Process};
use crate::{PATIENCE, Run};

const PORT: u16 = 7_001;
/// Workers that stay unconnected for so long are as they are in life; it is printed.
const MEETING: Duration = Duration::from_secs(20);

/// Workers that know the first of them, and then an author that knows it, too. None of them lends a core now, so no
/// chunk runs and the job does not end before all have the blob: what is measured is the network.
pub fn run(links: &Links, file: &Path, folder: &Path) -> Run {
    let (takers, first) = (1..links.peers(), format!("{}:{PORT}", links.address(1)));
    let (told, lines) = mpsc::sync_channel(1_000);
    let mut all = Vec::new();
    for taker in takers.clone() {
        let mut join = essaim(links, taker, folder, "join");
        join.args(["-v", "--cpus", "1", "--hours", &other_hours()]);
        if taker > 1 {
            join.args(["--peer", &first]);
        }
        all.push(start(join, taker, &told));
        wait(&lines, &[taker], "others reach it with --peer", PATIENCE);
    }
    let meeting = Instant::now();
    let met = || takers.clone().map(|taker| links.connected(taker)).min().unwrap_or(0);
    while met() + 1 < takers.len() && meeting.elapsed() < MEETING {
        std::thread::sleep(Duration::from_millis(100));
    }
    let meeting = (met(), meeting.elapsed().as_secs_f64());

    let mut author = essaim(links, 0, folder, "run");
    author
        .args(["-v", "--no-cache", "--cpus", "0", "--peer", &first, "--data"])
        .arg(format!("blob={}", file.display()));
    author.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/guests/nothing.wat")).arg(":::");
    author.args(takers.clone().map(|taker| taker.to_string()));
    let submitted = Instant::now();
    all.push(start(author, 0, &told));
    let expected: Vec<usize> = takers.clone().collect();
    let had = wait(&lines, &expected, "job opened", PATIENCE);
    eprintln!(
        "essaim: each worker was connected to {} others or more, {:.1} s after the last had come; at the end the author \
         to {}, each worker to {} or more",
        meeting.0,
        meeting.1,
        links.connected(0),
        met(),
    );
    Run { had: had.into_iter().map(|at| at - submitted).collect(), processes: all }
}

fn essaim(links: &Links, peer: usize, folder: &Path, verb: &str) -> Command {
    let mut command = links.command(peer, env!("CARGO_BIN_EXE_essaim"));
    let home = folder.join(format!("home{peer}"));
    command.arg(verb).args(["--swarm", "lab", "--no-mdns", "--home"]).arg(&home);
    command.arg("--listen").arg(format!("/ip4/{}/tcp/{PORT}", links.address(peer)));
    command.env("XDG_RUNTIME_DIR", &home).env("XDG_DATA_HOME", &home).env("XDG_CONFIG_HOME", &home);
    command.env_remove("ESSAIM_HOME").env_remove("ESSAIM_SWARM").env("NO_COLOR", "1").env("TZ", "UTC");
    command
}

/// A minute that is not now.
fn other_hours() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3_600 % 24;
    let then = (now + 12) % 24;
    format!("{then:02}:00-{then:02}:01")
}

/// A line that a node has said, and when.
type Line = (usize, Instant, String);

fn start(mut command: Command, peer: usize, told: &mpsc::SyncSender<Line>) -> Process {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (lines, told) = (BufReader::new(child.stderr.take().unwrap()).lines(), told.clone());
    let mut log = std::env::var_os("ESSAIM_LAB_LOGS")
        .map(|folder| std::fs::File::create(Path::new(&folder).join(format!("{peer}.log"))).unwrap());
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(log) = &mut log {
                writeln!(log, "{line}").unwrap();
            }
            if told.send((peer, Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    Process(child)
}

/// Waits until each of `peers` has said something with `words` in it; returns when each did.
fn wait(lines: &mpsc::Receiver<Line>, peers: &[usize], words: &str, patience: Duration) -> Vec<Instant> {
    let (mut said, mut last) = (vec![None; peers.len()], Vec::new());
    let end = Instant::now() + patience;
    while said.contains(&None) {
        let Ok((peer, at, line)) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) else {
            panic!("not all have said {words:?}: {said:?}; what was said last: {last:#?}");
        };
        if let Some(place) = peers.iter().position(|expected| *expected == peer).filter(|_| line.contains(words)) {
            said[place].get_or_insert(at);
        }
        last.push(format!("{peer}: {line}"));
        last.drain(..last.len().saturating_sub(40));
    }
    said.into_iter().flatten().collect()
}
