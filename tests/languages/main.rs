//! Programs in other languages print what the Rust one does, to the byte. A language whose compiler is not on this
//! machine is left out, and that is said; with `ESSAIM_LANGUAGES=all` it is a failure.
//!
//! A binary of its own: programs are compiled at the lowest priority, and other tests would starve a large one.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "the nodes of other tests")]
#[path = "../it/node.rs"]
mod node;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use node::{Ran, World, example, run};

/// More lines than go into one read or one pipe, in several chunks; names that are not ASCII, and an empty one.
fn table() -> String {
    let names = ["Müller", "apples", "a pear", "Ölsardinen", "東京", "", "zèbre"];
    let line = |n: i64| format!("{}\t{}\t{n}\n", names[n as usize % names.len()], (n - 40_000) * 1_000_000_007);
    (0..90_000).map(line).collect()
}

/// `essaim run OPTIONS PROGRAM`, the second column of `table`; the home is the world's only one, which has what was
/// compiled before.
fn tally(world: &World, program: &Path, options: &[&str], table: &str) -> Ran {
    let mut command = world.bare("run");
    command.arg("--home").arg(world.dir.path().join("home"));
    command.args(["--no-mdns", "-q", "--block", "1500k"]).args(options).arg(program);
    run(command.arg(world.file("table.tsv", table)).args(["--", "2"]), b"")
}

/// What the Rust one prints.
fn expected() -> &'static [u8] {
    static PRINTED: OnceLock<Vec<u8>> = OnceLock::new();
    PRINTED.get_or_init(|| {
        let printed = tally(&World::new("rust"), &example("languages/rust"), &[], &table()).well().stdout;
        assert!(printed.starts_with(b"0\t\t") && printed.split(|byte| *byte == b'\n').count() > 2 * 7);
        printed
    })
}

/// It prints what the Rust one does, and fails as that does.
#[track_caller]
fn is_alike(program: &Path, options: &[&str]) {
    let world = World::new("languages");
    let ran = tally(&world, program, options, &table()).well();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(expected()));
    let ran = tally(&world, program, options, "apples\t1\npears\tx\n");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    for words in ["chunk 0", "line 2 has no number in column 2"] {
        assert!(ran.stderr.contains(words), "{words:?} is not in:\n{}", ran.stderr);
    }
}

/// Says why a language is left out, or fails where none may be.
#[track_caller]
fn leave_out(language: &str, why: &str) {
    assert_ne!(std::env::var("ESSAIM_LANGUAGES").as_deref(), Ok("all"), "{language}: {why}");
    eprintln!("{language}: NOT TESTED, {}", why.trim());
}

/// The program that the language's `build.sh` makes; none where it says, by its exit status, that there is no compiler.
fn built(language: &str) -> Option<PathBuf> {
    let folder = example("languages").join(language);
    let made = run(&mut Command::new(folder.join("build.sh")), b"");
    if made.status == 127 {
        leave_out(language, &made.stderr);
        return None;
    }
    assert_eq!(made.status, 0, "{}", made.stderr);
    Some(folder.join("tally.wasm"))
}

#[test]
fn c() {
    if let Some(program) = built("c") {
        is_alike(&program, &[]);
    }
}

#[test]
fn zig() {
    if let Some(program) = built("zig") {
        is_alike(&program, &[]);
    }
}

#[test]
fn go() {
    if let Some(program) = built("go") {
        is_alike(&program, &[]);
    }
}

#[test]
fn assemblyscript() {
    if let Some(program) = built("assemblyscript") {
        is_alike(&program, &[]);
    }
}

#[test]
fn a_python_script() {
    let script = example("languages/python/tally.py");
    match std::env::var("ESSAIM_PYTHON") {
        Ok(python) => is_alike(&script, &["--python", &python]),
        Err(_) => leave_out("python", "ESSAIM_PYTHON names no Python; hint: examples/languages/README.md"),
    }
}

#[test]
fn a_script_without_a_python_says_where_one_would_be_found() {
    for options in [&[][..], &["--python", "no/such.wasm"]] {
        let ran = tally(&World::new("none"), &example("languages/python/tally.py"), options, "apples\t1\n");
        assert_eq!(ran.status, 1, "{}", ran.stderr);
        for words in
            ["tally.py is a Python script", "hint:", "--python FILE", "python.wasm"].iter().chain(options.get(1))
        {
            assert!(ran.stderr.contains(words), "{words:?} is not in:\n{}", ran.stderr);
        }
    }
}
