//! One large blob to many peers over slow links: how long it takes, and how much of it its author sends. Beside it, over
//! the same links, what a user would take instead: a BitTorrent client, and everybody downloading from one.
//!
//! Each peer is a network namespace of its own with so many Mbit/s each way. That wants Linux, root, and a few minutes,
//! so it is opt-in: `ESSAIM_LAB=1 cargo lab`. `ESSAIM_LAB_MBIT` (100), `ESSAIM_LAB_MIB` (64) and `ESSAIM_LAB_PEERS`
//! (1,4,16) change what is run, `ESSAIM_LAB_LOGS` names a folder for what the nodes say; a part of a test's name after
//! `cargo lab` runs that one. Nothing here fails for being slow: the figures are printed, with how busy the processor
//! was, since 17 peers on one machine may be bound by that.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod links;
mod nodes;
mod plain;
mod torrent;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use links::{Links, Process};
use tempfile::TempDir;

/// One at a time: they share the processor.
static TURN: Mutex<()> = Mutex::new(());

/// How long one run may take before the test says that it does not end.
pub const PATIENCE: Duration = Duration::from_secs(1_200);

/// What one run came to.
#[derive(Debug)]
pub struct Run {
    /// When each taker had all of it, from when it was offered.
    pub had: Vec<Duration>,
    /// Processes whose time on the processor counts as this run's, beside this one's.
    pub processes: Vec<Process>,
}

/// What is to be run.
struct Plan {
    mbit: u64,
    bytes: usize,
    takers: Vec<usize>,
    dir: TempDir,
    file: PathBuf,
}

#[test]
fn essaim() {
    measure("essaim", nodes::run);
}

#[test]
fn bittorrent() {
    if let Some(reason) = torrent::missing() {
        eprintln!("bittorrent: skipped: {reason}");
        return;
    }
    measure("aria2", torrent::run);
}

#[test]
fn plain_download_by_all_from_one() {
    measure("plain", plain::run);
}

fn measure(what: &str, run: impl Fn(&Links, &Path, &Path) -> Run) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reason) = skipped() {
        eprintln!("{what}: skipped: {reason}");
        return;
    }
    let plan = plan();
    let ideal = plan.bytes as f64 * 8.0 / (plan.mbit as f64 * 1e6);
    for &takers in &plan.takers {
        let links = Links::new(takers + 1, plan.mbit);
        let folder = plan.dir.path().join(takers.to_string());
        fs::create_dir(&folder).unwrap();
        let before = Spent::now(&[]);
        let Run { mut had, processes } = run(&links, &plan.file, &folder);
        let after = Spent::now(&processes);
        let sent = |peer| links.sent(peer) as f64 / plan.bytes as f64;
        let (author, all) = (sent(0), (0..=takers).map(sent).sum::<f64>() / takers as f64);
        drop(processes);
        had.sort();
        assert_eq!(had.len(), takers);
        let (first, last) = (had[0].as_secs_f64(), had[takers - 1].as_secs_f64());
        eprintln!(
            "{what:<6} {takers:>2} peers, {:>3} Mbit/s, {} MiB: time / ideal {:.2} (first {first:.2} s, last {last:.2} s, \
             ideal {ideal:.2} s); author sent {author:.2} copies, all {all:.2} a taker; processor {:.0} % busy, {:.1} s of it ours; load {}",
            plan.mbit,
            plan.bytes >> 20,
            last / ideal,
            after.busy_since(&before) * 100.0,
            after.ours - before.ours,
            fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap_or_default(),
        );
    }
}

/// Why nothing is run, if so.
fn skipped() -> Option<String> {
    if std::env::var_os("ESSAIM_LAB").is_none_or(|value| value != "1") {
        return Some("it takes minutes; ESSAIM_LAB=1 runs it".into());
    }
    links::missing()
}

fn plan() -> Plan {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    };
    let takers = std::env::var("ESSAIM_LAB_PEERS").unwrap_or_else(|_| "1,4,16".into());
    let mut content = vec![0; (number("ESSAIM_LAB_MIB", 64) as usize) << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blob");
    fs::write(&file, &content).unwrap();
    Plan {
        mbit: number("ESSAIM_LAB_MBIT", 100),
        bytes: content.len(),
        takers: takers.split(',').map(|number| number.parse().unwrap()).collect(),
        dir,
        file,
    }
}

/// Time that the processor has spent.
struct Spent {
    busy: u64,
    all: u64,
    /// Seconds that this process and its peers had of it.
    ours: f64,
}

impl Spent {
    fn now(processes: &[Process]) -> Spent {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        // user, nice, system, idle, iowait, ...
        let ticks: Vec<u64> =
            stat.lines().next().unwrap().split_whitespace().skip(1).take(8).map(|n| n.parse().unwrap()).collect();
        let all = ticks.iter().sum();
        let ours = std::iter::once("self".to_owned())
            .chain(processes.iter().map(|process| process.0.id().to_string()))
            .filter_map(|process| fs::read_to_string(format!("/proc/{process}/stat")).ok())
            .map(|stat| {
                let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
                // utime and stime
                fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
            })
            .sum::<u64>();
        Spent { busy: all - ticks[3] - ticks[4], all, ours: ours as f64 / 100.0 }
    }

    /// The share of the time in which the processor was busy, with anything.
    fn busy_since(&self, earlier: &Spent) -> f64 {
        (self.busy - earlier.busy) as f64 / (self.all - earlier.all).max(1) as f64
    }
}
