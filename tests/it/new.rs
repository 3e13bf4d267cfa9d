//! A newcomer's job: made, tested, run.

use std::process::Command;

use crate::node::{World, run};

/// `essaim new`, from within the world's folder.
fn new(world: &World, words: &[&str]) -> Command {
    let mut command = world.bare("new");
    command.args(words).current_dir(world.dir.path());
    command
}

#[test]
fn a_new_job_builds_passes_its_tests_and_runs() {
    let world = World::new("new");
    // Within a workspace that does not know of it.
    world.file("Cargo.toml", "[workspace]\nmembers = []\n");
    run(&mut new(&world, &["jobs/hello-2"]), b"").well();
    let folder = world.dir.path().join("jobs/hello-2");

    let mut cargo = Command::new(env!("CARGO"));
    // What it depends on, this build has fetched; what is built for the host, the run after it needs once more.
    cargo.args(["test", "--release", "--offline"]).current_dir(&folder).env_remove("CARGO_TARGET_DIR");
    let tested = run(&mut cargo, b"").well();
    assert!(String::from_utf8_lossy(&tested.stdout).contains("2 passed"), "{}", tested.stderr);

    let mut essaim = world.alone("run");
    essaim
        .arg(".")
        .arg("0..1_000")
        .current_dir(&folder)
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_NET_OFFLINE", "true");
    assert_eq!(run(&mut essaim, b"").well().stdout, b"143\n");
}

#[test]
fn a_folder_that_is_there_or_no_name_is_refused() {
    let world = World::new("new");
    std::fs::create_dir(world.dir.path().join("there")).unwrap();
    for (name, status, words) in [
        ("there", 1, ["cannot make the folder there", "another name"]),
        ("2nd job", 2, ["2nd job", "begins with a letter"]),
    ] {
        let ran = run(&mut new(&world, &[name]), b"");
        assert_eq!(ran.status, status, "{}", ran.stderr);
        for word in words.iter().chain(&["hint:"]) {
            assert!(ran.stderr.contains(word), "{word:?} is not in:\n{}", ran.stderr);
        }
    }
    assert_eq!(std::fs::read_dir(world.dir.path().join("there")).unwrap().count(), 0);
    assert!(!world.dir.path().join("2nd job").exists());
}
