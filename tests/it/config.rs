//! What stands in `essaim.toml`.

use std::fs;
use std::process::{Command, Output};

use crate::node::World;

/// `essaim WORDS`, where the user's settings are `text`.
fn with(text: &str, words: &[&str]) -> Output {
    let world = World::new("config");
    let dir = world.dir.path().join("config/essaim");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("essaim.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_essaim"));
    command.args(words).env("XDG_CONFIG_HOME", world.dir.path().join("config"));
    command.env("ESSAIM_HOME", world.dir.path().join("home")).env("ESSAIM_SWARM", "of-the-environment");
    command.output().unwrap()
}

#[test]
fn every_value_is_shown_with_its_origin() {
    let text = "swarm = 'of-the-file'\npeer = ['10.0.0.7:4000']\n[join]\ncpus = 3\nmemory = '2GiB'\non-battery = true\nhours = ['mon-fri 19:00-07:00', 'sat-sun 00:00-24:00']\n[run]\ntimeout = '5m'\n";
    let shown = with(text, &["config", "--no-mdns"]);
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "swarm = \"of-the-environment\" # the environment",
        "peer = [\"10.0.0.7:4000\"] # essaim.toml",
        "no-mdns = true # the command line",
        "cpus = 3 # essaim.toml",
        "timeout = \"5m\" # essaim.toml",
        "memory = \"2GiB\" # essaim.toml",
        "memory = \"512MiB\" # the default",
        "on-battery = true # essaim.toml",
        "hours = [\"mon-fri 19:00-07:00\", \"sat-sun 00:00-24:00\"] # essaim.toml",
        "when = \"always\" # the default",
    ] {
        assert!(shown.lines().any(|other| other == line), "no line {line:?} in\n{shown}");
    }
    // What is shown says the same when it is read again.
    let again = with(&shown, &["config"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn what_is_wrong_in_it_is_named_with_the_file() {
    for (text, what, words) in [
        ("cpu = 3", "cpu is no option", ["config"]),
        ("[join]\nwhere = 'here'", "[join] where is no option", ["config"]),
        ("[join]\ncpus = 'many'", "invalid value 'many' for '--cpus <N>'", ["join"]),
        ("[join]\nhours = '18-8'", "`18-8` is no range of hours\n  hint: write it as 18:00-08:00", ["join"]),
        ("[join]\nmemory = '1k'", "too little memory to run anything\n  hint: ", ["join"]),
        ("swarm = ", "is not TOML", ["status"]),
    ] {
        let output = with(text, &words);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(what) && stderr.contains("essaim.toml"), "{stderr}");
    }
}
