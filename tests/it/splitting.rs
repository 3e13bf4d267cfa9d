//! How an input is cut: each way, the values in the arguments, the program's own split, and the size that chooses itself.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::node::{Ran, World, guest, run};
use crate::uses::refused;

/// One author, who is alone in the world, and one home for all that it runs.
struct Author(World);

impl Author {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.0.bare("run");
        command.args(["--json", "--no-mdns", "--cpus", "1"]).arg("--home").arg(self.0.dir.path().join("author"));
        command.args(args);
        command
    }

    /// The chunks of a run with a guest that prints its input and a newline.
    #[track_caller]
    fn chunks(&self, args: &[&str], input: &str) -> String {
        let echo = guest("echo").display().to_string();
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "ECHO" { &*echo } else { arg }).collect();
        let ran = run(&mut self.command(&args), input.as_bytes()).well();
        String::from_utf8(ran.stdout).unwrap()
    }

    /// What is said of how the input was cut.
    #[track_caller]
    fn cut(&self, args: &[&str]) -> (Ran, Value) {
        let ran = run(&mut self.command(args), b"").well();
        let cut = ran.event("submitted")["cut"].clone();
        (ran, cut)
    }
}

fn path(of: &Path) -> String {
    of.display().to_string()
}

#[test]
fn text_is_cut_in_every_way_that_can_be_asked_for() {
    let author = Author(World::new("ways"));
    let lines = "a\nbb\nccc\ndddd\ne";
    assert_eq!(author.chunks(&["--lines", "2", "ECHO"], lines), "a\nbb\n\nccc\ndddd\n\ne\n");
    assert_eq!(author.chunks(&["--block", "4", "ECHO"], lines), "a\nbb\n\nccc\n\ndddd\n\ne\n");
    assert_eq!(author.chunks(&["--records", "3", "--lines", "1", "ECHO"], "abcdefgh"), "abc\ndef\ngh\n");
    assert_eq!(author.chunks(&["--records", "3", "--block", "4", "ECHO"], "abcdefgh"), "abcdef\ngh\n");
    assert_eq!(author.chunks(&["--delimiter", ";;", "--lines", "1", "ECHO"], "a;b;;c\n;;d"), "a;b;;\nc\n;;\nd\n");
    assert_eq!(author.chunks(&["--delimiter", r"\x1e\0", "--block", "1", "ECHO"], "a\x1e\0b"), "a\x1e\0\nb\n");
    // Nobody says how many, and it is little: all in one.
    assert_eq!(author.chunks(&["--records", "2", "ECHO"], "abcdef"), "abcdef\n");
}

#[test]
fn a_range_may_be_an_option() {
    let author = Author(World::new("range"));
    let cut = "5..8\n8..11\n11..12\n";
    assert_eq!(author.chunks(&["--range", "5..=11", "--block", "3", "ECHO"], ""), cut);
    assert_eq!(author.chunks(&["--block", "3", "ECHO", "5..12"], ""), cut);
}

#[test]
fn values_come_from_files_too_and_stand_in_the_arguments() {
    let author = Author(World::new("values"));
    let names = path(&author.0.file("names", "x y\r\nz\n"));
    assert_eq!(author.chunks(&["ECHO", "::::", &names], ""), "x y\nz\n");
    assert_eq!(author.chunks(&["ECHO", ":::", "1", "2", "::::", &names], ""), "1\tx y\n1\tz\n2\tx y\n2\tz\n");
    assert_eq!(author.chunks(&["ECHO", "::::", "-"], "p\nq"), "p\nq\n");

    let args = path(&guest("args"));
    let said = "essaim\n--seed\n7\n7essaim\n--seed\n8\n8";
    for order in [&[&*args, "--", "--seed", "{}", ":::", "7", "8"][..], &[&args, ":::", "7", "8", "--", "--seed", "{}"]]
    {
        assert_eq!(author.chunks(order, ""), said);
    }
    let product = author.chunks(&[&args, "--", "{2}/{1}", "{}", "{x}", ":::", "a", ":::", "b", "c"], "");
    assert_eq!(product, "essaim\nb/a\na b\n{x}\na\tbessaim\nc/a\na c\n{x}\na\tc");
    // Without values they are what they are.
    assert_eq!(author.chunks(&[&args, "--", "{}"], "in"), "essaim\n{}\nin");
    // Other arguments, other results: nothing of the runs before is taken for this one.
    assert_eq!(author.chunks(&[&args, ":::", "7", "8", "--", "-s{}"], ""), "essaim\n-s7\n7essaim\n-s8\n8");
}

#[test]
fn ways_that_exclude_one_another_are_refused() {
    let world = World::new("both");
    let (echo, text) = (path(&guest("echo")), path(&world.file("text", "a\n")));
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--block", "1", "--lines", "1", &echo, &text], &["both", "--block", "--lines"]),
        (&["--records", "1", "--delimiter", ";", &echo, &text], &["both", "--records", "--delimiter"]),
        (&["--lines", "2", &echo, "0..10"], &["--lines", "a range"]),
        (&["--range", "0..10", &echo, &text], &["an INPUT", "--range"]),
        (&["--range", "10..2", &echo], &["--range", "2..10"]),
        (&["--range", "0..10", &echo, ":::", "1"], &["--range", "`:::`"]),
        (&["--block", "2", &echo, ":::", "1"], &["--block", "`:::`"]),
        (&["--per-file", "--lines", "2", &echo, &text], &["--per-file", "--lines"]),
        (&["--per-file", &echo, &text, "--", "{}"], &["--per-file", "`{}`", "on its standard input"]),
        (&["--delimiter", r"\q", &echo, &text], &[r"`\q` is no delimiter"]),
        (&[&echo, ":::", "1", "--", "{2}"], &["`{2}`", "1 values"]),
        (&[&echo, "::::", &path(&world.file("none", ""))], &["no values in"]),
    ];
    for (args, words) in cases {
        refused(world.alone("run").args(args), 2, words);
    }
    refused(world.alone("run").args([&*echo, "::::", "no/such"]), 1, &["no/such"]);
}

/// A body, as a frame.
fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
}

#[test]
fn a_program_that_splits_cuts_the_input_itself_unless_another_way_is_asked_for() {
    let author = Author(World::new("own"));
    let (frames, long) = (path(&guest("frames")), vec![b'x'; 300_000]);
    let input = [frame(b"one\n"), frame(b""), frame(&long), frame(b"two\n")].concat();
    let ran = run(&mut author.command(&[&frames]), &input).well();
    assert_eq!(ran.event("submitted")["chunks"], 4);
    assert_eq!(ran.event("submitted")["cut"]["way"], "by the program itself");
    assert!(ran.stdout == [b"one\n", &long[..], b"two\n"].concat());
    let asked = run(&mut author.command(&["--lines", "1", &frames]), b"a\nb\n").well();
    assert_eq!((asked.event("submitted")["chunks"].as_u64(), &*asked.stdout), (Some(2), &b"a\nb\n"[..]));
}

#[test]
fn frames_that_are_none_are_refused_by_name() {
    let world = World::new("torn");
    let frames = guest("frames");
    let torn = path(&world.file("torn", &frame(b"whole")[..7]));
    refused(world.alone("run").arg(&frames).arg(&torn), 1, &["within frame 0", "2 bytes are missing"]);
    let text = path(&world.file("text", "no frames at all, but text"));
    refused(world.alone("run").arg(&frames).arg(&text), 1, &["frame 0", "bytes: a chunk has at most"]);
    refused(world.alone("run").arg(&frames), 1, &["the input is empty"]);
}

#[test]
fn a_size_that_was_chosen_is_chosen_again_and_finds_what_was_run() {
    let author = Author(World::new("chosen"));
    let text: String = (0..60_000).map(|n| format!("a line of text, number {n}\n")).collect();
    let text = path(&author.0.file("text", text));
    let through = path(&guest("through"));
    let (first, cut) = author.cut(&[&through, &text]);
    assert_eq!(cut["size"], "tried");
    let block = cut["block"].as_u64().unwrap();
    assert!(block.is_power_of_two() && cut["chunk_seconds"].as_f64().unwrap() > 0.0, "{cut}");
    let (again, same) = author.cut(&[&through, &text]);
    assert_eq!((same["size"].as_str(), same["block"].as_u64()), (Some("remembered"), Some(block)));
    assert_eq!(again.event("done")["reused"], first.event("submitted")["chunks"]);
    assert!(again.stdout == first.stdout);
    let dry = run(&mut author.command(&["--dry-run", &through, &text]), b"").well();
    assert_eq!(dry.event("dry-run")["cut"]["block"], block);
    // Other work is tried anew, and who keeps nothing remembers nothing.
    assert_eq!(author.cut(&[&through, &text, "--", "-v"]).1["size"], "tried");
    assert_eq!(author.cut(&["--no-cache", &through, &text]).1["size"], "tried");
    assert_eq!(author.cut(&["--block", "1MiB", &through, &text]).1["size"], "asked");
}

#[test]
fn dear_items_are_one_a_chunk_and_cheap_ones_many() {
    let author = Author(World::new("dear"));
    let planned = |name: &str, range: &str| {
        let dry = run(&mut author.command(&["--dry-run", &path(&guest(name)), range]), b"").well();
        assert_eq!(dry.event("dry-run")["cut"]["size"], "tried");
        dry.event("dry-run")["chunks"].as_u64().unwrap()
    };
    assert_eq!(planned("slow", "0..6"), 6);
    assert!(planned("nothing", "0..1_000_000_000") < 100);
}

#[test]
fn a_try_that_fails_leaves_it_to_the_chunk_to_say_so() {
    let world = World::new("tried");
    let text = path(&world.file("text", "a\nb\n"));
    refused(world.alone("run").arg(guest("exit3")).arg(&text), 1, &["chunk 0", "exit status 3", "the bees are gone"]);
    let dry = run(world.alone("run").args(["--dry-run"]).arg(guest("exit3")).arg(&text), b"").well();
    assert!(dry.stderr.contains("64.0 KiB a chunk, by its length: it could not be tried"), "{}", dry.stderr);
}
