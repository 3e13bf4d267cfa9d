//! What was run before is not run again, unless something differs that its output may depend on.

use std::process::{Command, Stdio};

use crate::node::{Ran, Worker, World, events, example, guest, run, wait_for};

/// One author, who is alone in the world.
struct Author(World);

impl Author {
    fn verb(&self, verb: &str) -> Command {
        let mut command = self.0.bare(verb);
        command.args(["--json", "--no-mdns"]).arg("--home").arg(self.0.dir.path().join("author"));
        command
    }

    /// Runs `args` on so many cores of its own.
    fn on(&self, cpus: &str, args: &[&str]) -> Ran {
        run(self.verb("run").args(["--cpus", cpus]).args(args), b"").well()
    }

    /// Runs `args` where nobody lends anything: it ends only if there is nothing to run.
    #[track_caller]
    fn finds(&self, args: &[&str], chunks: u64) -> Ran {
        let ran = self.on("0", args);
        assert_eq!(counts(&ran), (chunks, 0));
        assert_eq!(ran.event("reused")["reused"], chunks);
        ran
    }

    /// Runs `args`, of which so many chunks are run, and the others not.
    #[track_caller]
    fn runs(&self, args: &[&str], chunks: u64) -> Ran {
        let ran = self.on("1", args);
        assert_eq!(counts(&ran).1, chunks, "{}", ran.stderr);
        ran
    }
}

/// How many chunks were taken from earlier jobs, and how many were run.
fn counts(ran: &Ran) -> (u64, u64) {
    let done = ran.event("done");
    let run = done["by"].as_object().unwrap().values().map(|chunks| chunks.as_u64().unwrap()).sum();
    (done["reused"].as_u64().unwrap(), run)
}

fn path(name: &str) -> String {
    guest(name).display().to_string()
}

#[test]
fn the_same_job_again_runs_nothing_and_prints_the_same() {
    let author = Author(World::new("again"));
    let swell = path("swell");
    // Short outputs, and long ones.
    for job in [vec![path("echo"), ":::".into(), "a".into(), "b".into()], vec![swell, ":::".into(), "c".into()]] {
        let job: Vec<&str> = job.iter().map(String::as_str).collect();
        let chunks = job.len() as u64 - 2;
        let first = author.runs(&job, chunks);
        for _ in 0..2 {
            assert!(author.finds(&job, chunks).stdout == first.stdout, "the output differs");
        }
    }
    let mut jobs = author.verb("jobs");
    assert!(run(&mut jobs, b"").well().stdout.is_empty(), "what is kept is no job any more");
    let mut words = author.0.bare("run");
    words.args(["--no-mdns", "--cpus", "0"]).arg("--home").arg(author.0.dir.path().join("author")).arg(path("echo"));
    let said = run(words.args([":::", "a", "b"]), b"").well().stderr;
    assert!(said.contains("2 of 2 chunks were run before") && said.contains("none of them run again"), "{said}");
}

#[test]
fn outputs_that_were_run_before_are_folded_like_others() {
    let author = Author(World::new("folds"));
    let primes = example("primes").display().to_string();
    let first = author.on("1", &[&primes, "0..300_000"]);
    let again = author.on("0", &[&primes, "0..300_000"]);
    assert_eq!(counts(&again).1, 0);
    assert_eq!(again.stdout, first.stdout);
}

#[test]
fn a_job_that_differs_is_run() {
    let author = Author(World::new("differs"));
    let data = author.0.file("data", "one");
    let (here, there) = (format!("x={}", data.display()), format!("y={}", data.display()));
    let cat = path("cat");
    let first = author.runs(&["--data", &here, &cat, ":::", "x"], 1);
    assert_eq!(first.stdout, b"one");
    author.finds(&["--data", &here, &cat, ":::", "x"], 1);
    let others: [&[&str]; 9] = [
        &["--data", &there, &cat, ":::", "x"],
        &["--data", &here, "--data", &there, &cat, ":::", "x"],
        &["--data", &here, &cat, ":::", "y"],
        &["--data", &here, &path("echo"), ":::", "x"],
        &["--data", &here, &cat, "--", "-v", ":::", "x"],
        &["--data", &here, "--env", "A=b", &cat, ":::", "x"],
        &["--data", &here, "--memory", "64MiB", &cat, ":::", "x"],
        &["--data", &here, "--strict", &cat, ":::", "x"],
        &["--data", &here, "--fuel", "1000000", &cat, ":::", "x"],
    ];
    for other in others {
        author.runs(other, 1);
        author.finds(other, 1);
    }
    std::fs::write(&data, "two").unwrap();
    assert_eq!(author.runs(&["--data", &here, &cat, ":::", "x"], 1).stdout, b"two");
    // And back.
    std::fs::write(&data, "one").unwrap();
    assert_eq!(author.finds(&["--data", &here, &cat, ":::", "x"], 1).stdout, b"one");
}

#[test]
fn one_chunk_that_differs_among_many_is_run_alone() {
    let author = Author(World::new("one"));
    let text = |changed: &str| -> String {
        (0..5_000).map(|n| format!("line {n:4}\n")).collect::<String>().replace("2500", changed)
    };
    let file = author.0.file("text", text("2500"));
    let args = ["--block", "11", &path("echo"), file.to_str().unwrap()];
    let first = author.on("1", &args);
    let chunks = counts(&first).1;
    assert!(chunks >= 2_500, "{chunks}");
    std::fs::write(&file, text("many")).unwrap();
    let second = author.runs(&args, 1);
    assert_eq!(counts(&second).0, chunks - 1);
    let changed = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(changed(first.stdout).replace("2500", "many"), changed(second.stdout));
    author.finds(&args, chunks);
}

#[test]
fn who_wants_all_run_has_all_run_and_nothing_kept() {
    let author = Author(World::new("no"));
    let (echo, no) = (path("echo"), "--no-cache");
    author.runs(&[no, &echo, ":::", "a", "b"], 2);
    author.runs(&[&echo, ":::", "a", "b"], 2);
    author.runs(&[no, &echo, ":::", "a", "b"], 2);
    author.finds(&[&echo, ":::", "a", "b"], 2);
}

#[test]
fn what_one_peer_has_said_is_not_enough_where_two_must_agree() {
    let author = Author(World::new("voices"));
    let (one, two) = (Worker::start(author.0.alone("join")), Worker::start(author.0.alone("join")));
    let (echo, peers) = (path("echo"), ["--peer", &one.address, "--peer", &two.address]);
    let of = |copies| [&["--copies", copies][..], &peers, &[&echo, ":::", "a", "b", "c"]].concat();
    assert_eq!(counts(&author.on("0", &of("1"))), (0, 3));
    assert_eq!(counts(&author.on("0", &of("2"))), (0, 3));
    // Three of four are agreed on.
    let four = author.on("0", &[&of("2")[..], &["d"]].concat());
    assert_eq!((counts(&four), &four.stdout[..]), ((3, 1), &b"a\nb\nc\nd\n"[..]));
    drop((one, two));
    author.finds(&["--copies", "2", &echo, ":::", "a", "b", "c"], 3);
    author.finds(&[&echo, ":::", "a", "b", "c"], 3);
}

#[test]
fn a_job_of_which_a_part_was_run_before_is_left_and_attached_like_others() {
    let author = Author(World::new("part"));
    let echo = path("echo");
    let values: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let args = |most: usize| -> Vec<&str> {
        [&echo[..], ":::"].into_iter().chain(values[..most].iter().map(String::as_str)).collect()
    };
    author.runs(&args(10), 10);
    // Nobody lends anything: it comes half way.
    let mut command = author.verb("run");
    let mut child =
        command.args(["--cpus", "0"]).args(args(20)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let job = wait_for(&events, "submitted")["job"].as_str().unwrap().to_owned();
    assert_eq!(wait_for(&events, "reused")["reused"], 10);
    child.kill().unwrap();
    child.wait().unwrap();
    let results = run(author.verb("results").arg(&job), b"");
    assert_eq!((results.status, &results.stdout[..]), (1, &b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"[..]));
    let attached = run(author.verb("attach").args(["--cpus", "1"]).arg(&job), b"").well();
    assert_eq!(counts(&attached), (10, 10));
    assert_eq!(attached.stdout, values.iter().flat_map(|n| format!("{n}\n").into_bytes()).collect::<Vec<_>>());
    author.finds(&args(20), 20);
}

#[test]
fn a_job_that_failed_or_was_cancelled_gives_what_had_come_out_of_it() {
    let author = Author(World::new("failed"));
    let brief = path("brief");
    let worker = Worker::start(author.0.alone("join"));
    let mut command = author.verb("run");
    let values: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    command.args(["--cpus", "0", "--peer", &worker.address, &brief, ":::"]).args(&values);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let job = wait_for(&events, "submitted")["job"].as_str().unwrap().to_owned();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(&mut stdout, &mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run(author.verb("cancel").args(["--peer", &worker.address]).arg(&job), b"").well();
    let again =
        author.on("1", &[&[&brief[..], ":::"], &values.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let (reused, run) = counts(&again);
    assert!(reused >= 3 && reused + run == 60, "{reused} and {run}");
    assert_eq!(again.stdout, values.iter().flat_map(|n| format!("{n}\n").into_bytes()).collect::<Vec<_>>());
}
