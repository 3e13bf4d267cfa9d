//! Jobs over several processes: the right answer, whoever dies.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::node::{Worker, World, events, example, guest, run, wait_for};

/// Real text: Rust sources, those of our dependencies where they are at hand, about `most` bytes of them.
fn real_text(most: usize) -> Vec<u8> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = cargo.map(|cargo| cargo.join("registry/src")).filter(|dir| dir.is_dir());
    let mut folders = vec![registry.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned())];
    let mut text = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.extend(fs::read(path).unwrap());
                if text.len() >= most {
                    return text;
                }
            }
        }
    }
    text
}

/// `word<TAB>count`, as `tr`, `sort` and `uniq` see it, in our order.
fn counted_by_unix(text: &Path) -> Vec<u8> {
    let script = r#"tr -s '[:space:]' '\n' < "$0" | grep -av '^$' | sort | uniq -c |
        awk '{ n = $1; sub(/^ *[0-9]+ /, ""); print $0 "\t" n }' | sort -t "$(printf '\t')" -k2,2nr -k1,1"#;
    let out = Command::new("sh").arg("-c").arg(script).arg(text).env("LC_ALL", "C").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn words_of_a_real_text_are_counted_exactly_by_two_workers() {
    let world = World::new("words");
    let text = world.file("text", real_text(12 << 20));
    let one = Worker::start(world.alone("join"));
    let mut join = world.alone("join");
    let two = Worker::start({
        join.args(["--peer", &one.address]);
        join
    });
    let expected = counted_by_unix(&text);
    assert!(expected.len() > 100_000, "the text is too small to prove anything");
    // Whoever has compiled the program first may have done it all before the other has: then once more.
    let both_worked = (0..5).any(|_| {
        let mut command = world.alone("run");
        command.args(["--json", "--cpus", "0", "--peer", &two.address]).arg(example("wordcount")).arg(&text);
        let ran = run(&mut command, b"").well();
        assert!(ran.stdout == expected, "the counts differ");
        let done = ran.event("done");
        let by = |worker: &Worker| done["by"][&worker.peer].as_u64().unwrap_or(0);
        assert_eq!(by(&one) + by(&two), done["chunks"].as_u64().unwrap());
        by(&one) > 0 && by(&two) > 0
    });
    assert!(both_worked, "only one of two has ever worked");
}

#[test]
fn a_worker_killed_half_way_is_not_missed() {
    let world = World::new("killed");
    let mut one = Worker::start(world.alone("join"));
    let mut join = world.alone("join");
    join.args(["--peer", &one.address]);
    let two = Worker::start(join);
    let values: Vec<String> = (0..120).map(|i| format!("value {i}")).collect();
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--peer", &one.address, "--peer", &two.address]).arg(guest("slow"));
    let mut child = command.arg(":::").args(&values).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    // Outputs come in order: when ten are here, both have been at work.
    for _ in 0..10 {
        lines.read_line(&mut out).unwrap();
    }
    one.kill();
    lines.read_to_string(&mut out).unwrap();
    assert_eq!(out, values.join("\n") + "\n");
    let done = wait_for(&events, "done");
    assert!(child.wait().unwrap().success());
    assert_eq!(done["lost"][0]["peer"], one.peer.as_str());
    let again = done["lost"][0]["rerun"].as_u64().unwrap() + done["lost"][0]["held"].as_u64().unwrap();
    assert!(again > 0, "what the dead one held is not told: {done}");
}

#[test]
fn a_worker_that_takes_leave_hands_back_what_it_has_not_run() {
    let world = World::new("leaves");
    let one = Worker::start(world.alone("join"));
    let mut join = world.alone("join");
    join.args(["--peer", &one.address]);
    let two = Worker::start(join);
    let values: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--peer", &one.address, "--peer", &two.address]).arg(guest("slow"));
    let mut child = command.arg(":::").args(&values).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    for _ in 0..10 {
        lines.read_line(&mut out).unwrap();
    }
    one.interrupt();
    lines.read_to_string(&mut out).unwrap();
    assert_eq!(out, values.join("\n") + "\n");
    wait_for(&events, "done");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_same_job_gives_the_same_bytes_on_any_number_of_peers() {
    let world = World::new("same");
    let jobs: [(&str, &[&str]); 3] = [
        ("primes", &["0..2_000_000"]),
        ("mandelbrot", &["0..120", "--", "200", "120"]),
        ("montecarlo", &[":::", "1", "2", "3", "4", "5"]),
    ];
    let alone = |name: &str, args: &[&str]| run(world.alone("run").arg(example(name)).args(args), b"").well().stdout;
    let single: Vec<Vec<u8>> = jobs.iter().map(|(name, args)| alone(name, args)).collect();
    let one = Worker::start(world.alone("join"));
    let mut join = world.alone("join");
    join.args(["--peer", &one.address]);
    let _two = Worker::start(join);
    for ((name, args), single) in jobs.iter().zip(single) {
        let mut command = world.alone("run");
        command.args(["--cpus", "0", "--peer", &one.address]).arg(example(name)).args(*args);
        let swarm = run(&mut command, b"").well().stdout;
        assert!(!single.is_empty());
        assert!(swarm == single, "{name} differs");
    }
}

#[test]
fn a_program_reads_the_files_that_its_job_brings_wherever_it_runs() {
    let world = World::new("data");
    let one = Worker::start(world.alone("join"));
    let (small, large) = (world.file("small.txt", "some data\n"), world.file("large", vec![b'x'; 3 << 20]));
    let mut command = world.alone("run");
    command.args(["--cpus", "0", "--peer", &one.address, "--data", small.to_str().unwrap()]);
    command.arg("--data").arg(format!("deep/er={}", large.display())).arg(guest("cat"));
    let ran = run(command.args([":::", "small.txt", "deep/er", "other", "../small.txt"]), b"").well();
    let large = "x".repeat(3 << 20);
    assert!(ran.stdout == format!("some data\n{large}errno 44\nerrno 76\n").as_bytes(), "{}", ran.stderr);
}

#[test]
fn two_copies_of_each_chunk_are_run_by_different_peers() {
    let world = World::new("copies");
    let one = Worker::start(world.alone("join"));
    let mut join = world.alone("join");
    join.args(["--peer", &one.address]);
    let _two = Worker::start(join);
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--copies", "2", "--peer", &one.address]).arg(guest("echo"));
    let ran = run(command.args([":::", "a", "b", "c", "d"]), b"").well();
    assert_eq!(ran.stdout, b"a\nb\nc\nd\n");
}

#[test]
fn many_small_chunks_come_back_in_order() {
    let world = World::new("many");
    let worker = Worker::start(world.alone("join"));
    let mut command = world.alone("run");
    command.args(["--cpus", "0", "--block", "1", "--peer", &worker.address]).arg(guest("echo")).arg("0..5000");
    let ran = run(&mut command, b"").well();
    let expected: String = (0..5000).map(|i| format!("{i}..{}\n", i + 1)).collect();
    assert!(ran.stdout == expected.as_bytes(), "{} bytes", ran.stdout.len());
}
