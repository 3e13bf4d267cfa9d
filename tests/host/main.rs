//! A host program that is its own sandbox. It has a `main` of its own, for that must begin with `sandbox::init`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::time::{Duration, Instant};

use essaim::net::parse_listen;
use essaim::swarm::{Config, Kind, Swarm, Whose};

const STUCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/guests/stuck.wat");
/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(240);

fn main() {
    essaim::sandbox::init();
    // `cargo test` lists and filters; this is one test only.
    if std::env::args().any(|word| word == "--list") {
        return;
    }
    if !cfg!(target_os = "linux") {
        println!("skipped: processes are looked for in /proc");
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(programs_run_in_processes_that_are_this_executable_once_more());
    println!("test programs_run_in_processes_that_are_this_executable_once_more ... ok");
}

async fn programs_run_in_processes_that_are_this_executable_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let config = |sandbox| Config {
        home: Some(dir.path().join("home")),
        swarm: format!("host-{}", std::process::id()).parse().unwrap(),
        listen: parse_listen("127.0.0.1:0").unwrap(),
        mdns: false,
        cpus: 1,
        // Allowed, for there is a sandbox.
        whose: Whose::Anyones,
        sandbox,
        ..Config::default()
    };
    for (sandbox, expected) in [(None, 1), (Some(Kind::None), 0)] {
        let swarm = Swarm::join(config(sandbox)).await.unwrap();
        let program = swarm.program(STUCK).await.unwrap();
        let echoed: Vec<u64> = swarm.map(&program, 0..20_u64).no_cache().await.unwrap();
        assert!(echoed.into_iter().eq(0..20));
        let stuck = swarm.map::<_, String>(&program, ["x"]).timeout(Duration::from_secs(3_600)).in_order();
        let mut status = swarm.peer().status();
        status.wait_for(|status| status.jobs.iter().any(|job| job.running > 0)).await.unwrap();
        assert_eq!(sandboxes(), expected, "{sandbox:?}");
        drop(stuck);
        status.wait_for(|status| status.jobs.is_empty()).await.unwrap();
        swarm.shutdown().await;
        until("its processes are gone", || children().is_empty());
    }
}

/// How many children of this process are this executable once more.
fn sandboxes() -> usize {
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let is_this = |pid: &String| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own);
    children().iter().filter(|pid| is_this(pid)).count()
}

fn children() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        if fields.nth(1) == Some(&std::process::id().to_string()) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
