//! What comes out of a run, and where it goes: files, a folder, a log; and what becomes of it when chunks fail.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Ran, World, events, guest, run, until, wait_for};

/// One author, who is alone in the world and works itself.
struct Author(World);

impl Author {
    fn new(name: &str) -> Author {
        Author(World::new(name))
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = self.0.bare(verb);
        command.args(["--json", "--no-mdns"]).arg("--home").arg(self.0.dir.path().join("author"));
        command
    }

    /// `essaim run` with these options, of a guest with these values.
    fn runs(&self, options: &[&str], program: &str, values: &[&str]) -> Ran {
        let mut command = self.verb("run");
        run(command.args(options).arg(guest(program)).arg(":::").args(values), b"")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn jobs(&self) -> Vec<Value> {
        let listed = run(&mut self.verb("jobs"), b"").well();
        String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The files of a folder, by name, with what stands in them.
fn files(dir: &Path) -> Vec<(String, String)> {
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap())).collect();
    files.sort();
    files
}

/// The lines of a log but for the first, in columns, by chunk.
fn log(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap().join(" ");
    assert_eq!(header, "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command");
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn outputs_that_come_as_they_are_ready_are_whole() {
    let author = Author::new("unordered");
    let values = ["a", "b", "c", "d", "e", "f"];
    let ran = author.runs(&["--unordered"], "swell", &values).well();
    let mut seen: Vec<u8> = ran.stdout.chunks(64 << 10).map(|output| output[0]).collect();
    assert!(ran.stdout.chunks(64 << 10).all(|output| output.iter().all(|byte| *byte == output[0])), "interleaved");
    seen.sort_unstable();
    assert_eq!(seen, b"abcdef");
}

#[test]
fn a_file_has_its_name_only_when_all_is_in_it() {
    let author = Author::new("out");
    let out = author.path("out");
    author.runs(&["-o", &author.text("out")], "echo", &["a", "b"]).well();
    assert_eq!(fs::read(&out).unwrap(), b"a\nb\n");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).unwrap();
    // What fails leaves what was there before, and nothing beside it.
    let before = fs::read_dir(author.0.dir.path()).unwrap().count();
    let failed = author.runs(&["--retries", "0", "--no-reduce", "-o", &author.text("out")], "picky", &["a", "x"]);
    assert_eq!((failed.status, fs::read(&out).unwrap()), (1, b"a\nb\n".to_vec()), "{}", failed.stderr);
    assert_eq!(fs::read_dir(author.0.dir.path()).unwrap().count(), before);
    std::os::unix::fs::symlink(&out, author.path("link")).unwrap();
    author.runs(&["--out", &author.text("link")], "echo", &["c"]).well();
    assert_eq!(fs::read(&out).unwrap(), b"c\n", "behind the link");
    assert!(author.path("link").is_symlink());
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o640);
    author.runs(&["-o", "/dev/null"], "echo", &["c"]).well();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn results_are_a_file_a_chunk_that_is_named_after_its_input() {
    let author = Author::new("folder");
    let dir = author.path("new/folder");
    let options = ["--results", &dir.display().to_string(), "--halt", "never", "--retries", "0"];
    let failed = author.runs(&options, "picky", &["a", "b/../c", "x"]);
    assert_eq!((failed.status, failed.stdout.len()), (1, 0), "{}", failed.stderr);
    let found = files(&dir);
    assert_eq!(found[..2], [("000000-a".into(), "a\n".into()), ("000001-b_.._c".into(), "b/../c\n".into())]);
    assert_eq!((found.len(), found[2].0.as_str()), (3, "000002-x.err"));
    assert!(found[2].1.contains("exit status 3") && found[2].1.contains("not an x, please"), "{found:?}");
    // What stands there is not written again; what has become of another chunk takes its place.
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.join("000000-a")).unwrap());
    let before = inode();
    fs::write(dir.join("000001-b_.._c"), "spoilt\n").unwrap();
    author.runs(&options, "picky", &["a", "b/../c", "x"]);
    assert_eq!((inode(), files(&dir)), (before, found));

    let (one, two) = (author.0.file("one.txt", "same"), author.0.file("two.txt", "same"));
    let mut command = author.verb("run");
    command.args(["--per-file", "--results"]).arg(author.path("files")).arg(guest("echo")).arg(one).arg(two);
    run(&mut command, b"").well();
    let file = |name: &str| (name.to_owned(), "same\n".to_owned());
    assert_eq!(files(&author.path("files")), [file("000000-one.txt"), file("000001-two.txt")]);
}

#[test]
fn a_job_goes_on_without_chunks_that_fail_if_the_person_says_so() {
    let author = Author::new("never");
    let values = ["a", "x1", "b", "x2", "c"];
    let never = ["--halt", "never", "--retries", "0", "--no-reduce"];
    let ran = author.runs(&never, "picky", &values);
    assert_eq!((ran.status, ran.stdout.as_slice()), (1, &b"a\nb\nc\n"[..]), "{}", ran.stderr);
    assert_eq!(ran.event("done")["failed"], 2);
    let said = ran.event("error");
    let message = said["message"].as_str().unwrap();
    for part in ["2 of 5 chunks failed", "chunk 1 at peer", "chunk 3 at peer", "exit status 3", "not an x, please"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(author.jobs().is_empty(), "it has come to its end");
    // Failures are no results: they are run again, and nothing else.
    let again = author.runs(&never, "picky", &values);
    assert_eq!((again.event("done")["reused"].as_u64(), again.event("done")["failed"].as_u64()), (Some(3), Some(2)));
    assert_eq!(again.stdout, ran.stdout);
    // A fold is of what has come back, and only then.
    let folded = author.runs(&never[..4], "picky", &values);
    let frames: Vec<u8> =
        [b"a", b"b", b"c"].iter().flat_map(|value| [2, 0, 0, 0, value[0], b'\n']).chain([b'\n']).collect();
    assert_eq!((folded.status, &folded.stdout), (1, &frames), "{}", folded.stderr);
    assert!(folded.event("error")["hint"].as_str().unwrap().contains("the fold is without them"));
    let default = author.runs(&["--retries", "0"], "picky", &values);
    assert_eq!((default.status, default.stdout.len()), (1, 0), "{}", default.stderr);
}

#[test]
fn so_many_failures_end_a_job_as_are_named() {
    let author = Author::new("fails");
    let halts = |halt: &str, values: &[&str]| {
        let ran = author.runs(&["--halt", halt, "--retries", "0", "--no-reduce", "--no-cache"], "picky", values);
        (ran.status, ran.stderr.contains("\"done\""), String::from_utf8(ran.stdout).unwrap())
    };
    assert_eq!(halts("now,fail=2", &["a", "x1", "b"]), (1, true, "a\nb\n".into()), "one is borne");
    let (status, done, _) = halts("now,fail=2", &["a", "x1", "b", "x2"]);
    assert_eq!((status, done), (1, false));
    // What is back by then, be it behind what failed.
    author.runs(&["--no-reduce"], "picky", &["c", "a", "b"]).well();
    let now = author.runs(&["--retries", "0", "--no-reduce"], "picky", &["x", "a", "b"]);
    assert_eq!((now.status, now.stdout.len()), (1, 0), "{}", now.stderr);
    let soon = ["--halt", "soon,fail=1", "--retries", "0", "--no-reduce"];
    let soon = author.runs(&soon, "picky", &["x", "a", "b"]);
    assert_eq!((soon.status, soon.stdout.as_slice()), (1, &b"a\nb\n"[..]), "{}", soon.stderr);
}

#[test]
fn what_failed_for_good_is_known_after_a_crash() {
    let author = Author::new("crash");
    let log = author.text("log");
    let mut command = author.verb("run");
    command.args(["--halt", "never", "--retries", "0", "--no-reduce", "--cpus", "1", "--joblog", &log]);
    command.args(["--timeout", "1s"]).arg(guest("picky")).args([":::", "x", "a", "z"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    assert_eq!(wait_for(&events, "given-up")["chunk"], 0);
    // The last one takes a second.
    child.kill().unwrap();
    child.wait().unwrap();
    let [job] = <[Value; 1]>::try_from(author.jobs()).unwrap();
    let name = job["job"].as_str().unwrap();
    let here = run(author.verb("results").args([name, "--results", &author.text("here")]), b"");
    assert!(here.status == 1 && here.stderr.contains("of 3 chunks are here"), "{}", here.stderr);
    assert_eq!(files(&author.path("here"))[0].0, "000000-x.err");
    let last = run(author.verb("attach").args([name, "--joblog", &log]), b"");
    assert_eq!((last.status, last.stdout.as_slice()), (1, &b"a\n"[..]), "{}", last.stderr);
    assert!(last.event("error")["message"].as_str().unwrap().contains("2 of 3 chunks failed"), "{}", last.stderr);
    assert_eq!((&last.event("done")["failed"], &last.event("given-up")["chunk"]), (&2.into(), &2.into()));
    let chunks: Vec<String> = self::log(author.path("log").as_path()).into_iter().map(|line| line[0].clone()).collect();
    assert_eq!(chunks, ["0", "1", "2"], "a line a chunk, and no more");
}

#[test]
fn a_log_has_a_line_a_chunk_in_the_columns_of_gnu_parallel() {
    let author = Author::new("joblog");
    let path = author.path("log");
    let options = ["--joblog", &author.text("log"), "--halt", "never", "--retries", "0", "--no-reduce"];
    author.runs(&options, "picky", &["abc", "x"]);
    let lines = log(&path);
    let is = |line: &[String], columns: [&str; 6]| {
        let told = [&line[0], &line[4], &line[5], &line[6], &line[7], &line[8]];
        assert_eq!(told, columns.each_ref());
        let [start, took] = [2, 3].map(|column: usize| line[column].parse::<f64>().unwrap());
        assert!(start > 1e9 && (0.0..60.0).contains(&took) && took > 0.0, "{line:?}");
    };
    is(&lines[0], ["0", "3", "4", "0", "0", "picky abc"]);
    is(&lines[1], ["1", "1", "0", "1", "0", "picky x"]);
    assert_eq!(lines.len(), 2);
    // Another run begins it anew; of what was run before nobody knows how long it took.
    author.runs(&["--joblog", &author.text("log"), "--no-reduce"], "picky", &["abc"]).well();
    let lines = log(&path);
    assert_eq!((lines.len(), lines[0][2].as_str(), lines[0][3].as_str()), (1, "-", "-"));
}

#[test]
fn a_run_is_resumed_where_the_same_job_stands() {
    let author = Author::new("resume");
    let dir = author.text("results");
    let command = |cpus: &str, values: &[&str]| {
        let mut command = author.verb("run");
        command.args(["--cpus", cpus, "--resume", "--results", &dir, "--joblog", &author.text("log")]);
        command.arg(guest("echo")).arg(":::").args(values);
        command
    };
    let all = ["a", "b", "c", "d", "e"];
    assert_eq!(run(&mut command("1", &all[..3]), b"").well().event("resumed")["again"], false);
    // Nobody works for it: it has three results that are known already, and stands.
    let mut child = command("0", &all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    assert_eq!(wait_for(&events, "resumed")["again"], false);
    until("what is known is written", || fs::read_to_string(author.path("log")).unwrap().lines().count() == 4);
    child.kill().unwrap();
    child.wait().unwrap();
    let stood = author.jobs()[0]["job"].clone();
    let other = run(&mut command("1", &["a", "b", "x"]), b"").well();
    assert_eq!(other.event("resumed")["again"], false, "another input is another job");
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(author.path("results/000001-b")).unwrap());
    let before = inode();
    let ran = run(&mut command("1", &all), b"").well();
    let resumed = ran.event("resumed");
    assert_eq!((&resumed["again"], &resumed["job"], &resumed["sealed"]), (&true.into(), &stood, &3.into()));
    assert_eq!(files(&author.path("results")).len(), 6, "five, and the x of the other");
    assert_eq!(inode(), before, "what stands there is not written again");
    let chunks: Vec<String> = log(&author.path("log")).into_iter().map(|line| line[0].clone()).collect();
    assert_eq!(chunks, ["0", "1", "2", "3", "4"], "a line a chunk, and no more");
    assert!(author.jobs().is_empty());
}

#[test]
fn a_wrong_use_is_told_before_anything_is_run() {
    let author = Author::new("wrong");
    let file = author.0.file("file", "something else\n");
    let folder = author.0.dir.path().display().to_string();
    let inside = file.join("inside").display().to_string();
    let file = file.display().to_string();
    let refused: &[(&[&str], &str, i32, &str)] = &[
        (&["--halt", "sometimes"], "echo", 2, "now,fail=N"),
        (&["--halt", "now,fail=0"], "echo", 2, "now,fail=N"),
        (&["-o", &folder], "echo", 2, "is a folder"),
        (&["-o", &inside], "echo", 1, "cannot write"),
        (&["--results", &file], "echo", 1, "cannot write into"),
        (&["--results", &inside], "echo", 1, "cannot write into"),
        (&["--results", &folder, "-o", &inside], "echo", 2, "cannot be used with"),
        (&["--joblog", &folder], "echo", 1, "cannot write the log"),
        (&["--joblog", &file, "--resume"], "echo", 1, "it is no log of a job"),
        (&["--unordered"], "picky", 2, "folds its outputs"),
        (&["--unordered", "--reduce"], "picky", 2, "cannot be used with"),
        (&["--reduce"], "echo", 2, "cannot fold"),
        (&["--detach", "--unordered"], "echo", 2, "cannot be used with"),
    ];
    for (options, program, status, words) in refused {
        let ran = author.runs(options, program, &["a"]);
        assert_eq!((ran.status, ran.stdout.len()), (*status, 0), "{options:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{options:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("submitted"), "{options:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else\n");
}

#[test]
fn a_reader_that_goes_early_ends_an_unordered_run_without_a_word() {
    let author = Author::new("pipe");
    let values: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let mut command = author.verb("run");
    command.args(["--unordered", "--joblog", &author.text("log")]).arg(guest("swell")).arg(":::").args(&values);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(141), "{stderr}");
    assert!(!stderr.contains("\"error\""), "{stderr}");
}
