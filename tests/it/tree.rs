//! Outputs that are combined in the swarm before they are folded.

use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Ran, Worker, World, events, example, guest, run, until, wait_for};

/// An author who has one home for all that it runs.
struct Author(World);

impl Author {
    fn new(name: &str) -> Author {
        Author(World::new(name))
    }

    fn home(&self) -> PathBuf {
        self.0.dir.path().join("author")
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = self.0.bare(verb);
        command.args(["--json", "--no-mdns"]).arg("--home").arg(self.home());
        command
    }

    /// `essaim run` of the guest that shows the order, with these options and a chunk a value.
    fn chain(&self, options: &[&str], values: &[String]) -> Command {
        let mut command = self.verb("run");
        command.args(["--no-cache"]).args(options).arg(guest("chain")).arg(":::").args(values);
        command
    }

    fn runs(&self, options: &[&str], values: &[String]) -> Ran {
        run(&mut self.chain(options, values), b"")
    }

    /// Nothing is left of any job.
    fn is_clean(&self) {
        let listed = run(&mut self.verb("jobs"), b"").well();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "");
        let left: Vec<_> = std::fs::read_dir(self.home().join("jobs")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn values(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// What the guest makes of them.
fn chained(values: &[String]) -> String {
    values.iter().map(|value| format!("{value},")).collect()
}

fn text(ran: &Ran) -> &str {
    std::str::from_utf8(&ran.stdout).unwrap()
}

#[test]
fn what_was_combined_in_the_swarm_is_folded_to_the_same_bytes() {
    let author = Author::new("tree");
    let worker = Worker::start(author.0.alone("join"));
    for (count, chunks) in [(1, 0), (2, 1), (33, 1), (100, 4)] {
        let values = values("", count);
        let options = |how| ["--cpus", "0", "--peer", &worker.address, how];
        let tree = author.runs(&options("--reduce=tree"), &values).well();
        let here = author.runs(&options("--reduce=here"), &values).well();
        assert_eq!((text(&tree), text(&here)), (chained(&values).as_str(), chained(&values).as_str()));
        let [tree, here] = [tree, here].map(|ran| ran.event("done"));
        assert_eq!((tree["combined"].as_u64(), here["combined"].as_u64()), (Some(chunks), Some(0)), "{count}");
        assert_eq!(tree["chunks"].as_u64(), Some(count as u64), "chunks of combine jobs are not counted");
        assert_eq!(tree["by"][&worker.peer].as_u64(), Some(count as u64));
    }
    // By itself it is not worth while for so little.
    let values = values("", 100);
    for option in ["--reduce", "--reduce=auto", "--timeout=60s"] {
        let ran = author.runs(&["--cpus", "0", "--peer", &worker.address, option], &values).well();
        assert_eq!((text(&ran), &ran.event("done")["combined"]), (chained(&values).as_str(), &0.into()), "{option}");
    }
    author.is_clean();
}

#[test]
fn copies_hold_for_what_combines_and_failed_chunks_are_left_out() {
    let author = Author::new("tree-copies");
    let workers = [(); 2].map(|()| Worker::start(author.0.alone("join")));
    let [one, two] = workers.each_ref().map(|worker| worker.address.as_str());
    let values = values("", 70);
    let options = ["--cpus", "0", "--peer", one, "--peer", two, "--reduce=tree", "--copies", "2"];
    let ran = author.runs(&options, &values).well();
    assert_eq!((text(&ran), &ran.event("done")["combined"]), (chained(&values).as_str(), &3.into()));

    // What a chunk that was given up had said is no output.
    let mut command = author.verb("run");
    command.args(["--reduce=tree", "--halt", "never", "--retries", "0"]).arg(guest("chain")).arg(":::");
    let ran = run(command.args((0..70).map(|n| if n % 10 == 3 { format!("y{n}") } else { n.to_string() })), b"");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let good: Vec<String> = (0..70).filter(|n| n % 10 != 3).map(|n| n.to_string()).collect();
    assert_eq!(text(&ran), chained(&good));
    assert_eq!(ran.event("done")["combined"], 2, "32 and 31");
}

#[test]
fn a_worker_that_is_killed_while_it_combines_is_not_missed() {
    let author = Author::new("tree-killed");
    let mut join = author.0.alone("join");
    let mut killed = Worker::start({
        join.arg("-v");
        join
    });
    let other = Worker::start(author.0.alone("join"));
    let values = values("s", 200);
    let options = ["--cpus", "0", "--peer", &killed.address, "--peer", &other.address, "--reduce=tree"];
    let mut command = author.chain(&options, &values);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    killed.tells(&["job opened", "combine"]);
    killed.kill();
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, chained(&values));
    assert_eq!(wait_for(&events, "done")["combined"], 7);
    assert!(child.wait().unwrap().success());
    author.is_clean();
}

#[test]
fn a_program_that_cannot_combine_what_comes_says_so_and_folds_it_here() {
    let author = Author::new("tree-fails");
    let mut values = values("", 100);
    values[40] = "x".into();
    let failed = author.runs(&["--retries", "0", "--reduce=tree"], &values);
    assert_eq!((failed.status, text(&failed)), (1, ""), "{}", failed.stderr);
    let error = failed.event("error");
    let [message, hint] = ["message", "hint"].map(|key| error[key].as_str().unwrap());
    for words in ["combining the outputs failed", "exit status 3", "no x can be combined"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(hint.contains("--reduce=here"), "{hint}");
    author.is_clean();
    let here = author.runs(&["--reduce=here"], &values).well();
    assert_eq!(text(&here), chained(&values));
}

#[test]
fn who_leaves_while_outputs_are_combined_folds_them_later() {
    let author = Author::new("tree-left");
    let mut worker = Worker::start({
        let mut join = author.0.alone("join");
        join.arg("-v");
        join
    });
    // The combine chunk comes to no end, and there is none before all is mapped.
    let mut values = values("", 31);
    values[7] = "u".into();
    let mut command = author.chain(&["--cpus", "0", "--peer", &worker.address, "--reduce=tree"], &values);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let job = wait_for(&events, "submitted")["job"].as_str().unwrap().to_owned();
    worker.tells(&["job opened", "combine"]);
    until("all is mapped", || {
        let listed = run(&mut author.verb("jobs"), b"").well();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed["job"], job, "the combine job is not listed");
        listed["sealed"] == 31
    });
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let error = wait_for(&events, "error");
    assert!(error["message"].as_str().unwrap().contains("stopped: all 31 chunks"), "{error}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left: Vec<_> = std::fs::read_dir(author.home().join("jobs")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let attached = run(author.verb("attach").args(["--cpus", "0", &job]), b"").well();
    assert_eq!(text(&attached), chained(&values));
    author.is_clean();
}

#[test]
fn an_input_without_an_end_is_combined_too() {
    let author = Author::new("tree-stream");
    let mut command = author.verb("run");
    command.args(["--reduce=tree", "--lines", "1"]).arg(guest("chain"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, events) = (child.stdin.take().unwrap(), events(child.stderr.take().unwrap()));
    let lines = |numbers: Range<u32>| numbers.map(|n| format!("{n}\n")).collect::<String>();
    stdin.write_all(lines(0..1_500).as_bytes()).unwrap();
    wait_for(&events, "submitted");
    stdin.write_all(lines(1_500..3_000).as_bytes()).unwrap();
    drop(stdin);
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, (0..3_000).map(|n| format!("{n}\n,")).collect::<String>());
    let done = wait_for(&events, "done");
    // 93 of 32, one of 24; and of what these give, two of 32 and one of 30.
    assert_eq!((&done["chunks"], &done["combined"]), (&3_000.into(), &97.into()));
    assert!(child.wait().unwrap().success());
    author.is_clean();
}

#[test]
fn an_example_with_a_combine_gives_the_same_either_way() {
    let author = Author::new("tree-words");
    let text = author.0.file("text", (0..2_000).map(|n| format!("word{} and {n}\n", n % 97)).collect::<String>());
    let words = |how: &str| {
        let mut command = author.verb("run");
        run(command.args([how, "--lines", "20"]).arg(example("wordcount")).arg(&text), b"").well()
    };
    let (tree, here) = (words("--reduce=tree"), words("--reduce=here"));
    assert_eq!(tree.stdout, here.stdout);
    assert!(tree.stdout.starts_with(b"and\t2000\nword"), "{:?}", String::from_utf8_lossy(&tree.stdout[..40]));
    assert_eq!(tree.event("done")["combined"], 4);
}
