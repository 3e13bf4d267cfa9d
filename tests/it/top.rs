//! `essaim top` and `essaim shell`, as processes.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Worker, World, guest, run, until};

/// More than are run before somebody has looked, however slow that is.
const CHUNKS: u64 = 300;

#[test]
fn top_names_the_nodes_the_job_and_how_far_it_is() {
    let world = World::new("top");
    let join = |world: &World| {
        let mut join = world.bare("join");
        join.arg("--no-mdns");
        join
    };
    let worker = Worker::start(join(&world));
    let values: Vec<String> = (0..CHUNKS).map(|i| i.to_string()).collect();
    let mut command = world.bare("run");
    command.args(["--no-mdns", "--cpus", "0", "--peer", &worker.address]).arg(guest("slow")).arg(":::").args(&values);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();

    let mut seen = Value::Null;
    until("top shows that some of the job is done, and some not", || {
        let mut command = world.bare("top");
        let ran = run(command.arg("--json"), b"").well();
        seen = serde_json::from_slice(&ran.stdout).unwrap();
        let sealed = seen["jobs"][0]["sealed"].as_u64();
        assert!(child.try_wait().unwrap().is_none(), "the job has ended before anybody has seen it: {seen}");
        sealed.is_some_and(|sealed| (1..CHUNKS).contains(&sealed)) && seen["jobs"][0]["members"][1]["running"] == 1
    });

    let homes = seen["nodes"].as_array().unwrap();
    assert_eq!(homes.len(), 2, "{seen}");
    assert!(homes.iter().any(|node| node["peer"] == worker.peer.as_str() && node["lent"] == 1), "{seen}");
    // Both nodes tell of it: it is shown once, by its author.
    let [job] = &seen["jobs"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&job["name"], &job["own"], &job["chunks"]), (&"slow".into(), &true.into(), &CHUNKS.into()));
    let member = &job["members"][1];
    assert_eq!((&member["peer"], &member["cores"]), (&worker.peer.as_str().into(), &1.into()));
    assert_eq!(member["sealed"], job["sealed"], "nobody else runs it");
    let cells = job["cells"].as_array().unwrap();
    let sum = |name: &str| cells.iter().filter_map(|cell| cell[name].as_u64()).sum::<u64>();
    assert_eq!(sum("chunks"), CHUNKS);
    assert_eq!(sum("sealed"), job["sealed"].as_u64().unwrap());
    assert_eq!(sum("sealed") + sum("done") + sum("running") + sum("held"), CHUNKS, "no chunk is nobody's: {seen}");

    let plain = run(&mut world.bare("top"), b"").well();
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert!(
        plain.contains(&format!("of {CHUNKS} chunks")) && plain.contains(&worker.peer[..8]) && plain.contains('█'),
        "{plain}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn top_without_a_node_says_how_to_start_one() {
    let ran = run(&mut World::new("top-alone").bare("top"), b"");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("no node of yours") && ran.stderr.contains("hint:"), "{}", ran.stderr);
}

/// `essaim shell`, for somebody whose folders are all in `home`.
fn shell(home: &Path, shell: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_essaim"));
    command.arg("shell").env("HOME", home).env("SHELL", shell);
    command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME").env_remove("ESSAIM_CONFIG");
    command
}

#[test]
fn completions_and_pages_are_written_to_the_users_own_folders_and_named() {
    let completions = [
        ("/bin/bash", ".local/share/bash-completion/completions/essaim"),
        ("/usr/bin/zsh", ".local/share/zsh/site-functions/_essaim"),
        ("/usr/local/bin/fish", ".config/fish/completions/essaim.fish"),
    ];
    for (path, file) in completions {
        let home = tempfile::tempdir().unwrap();
        let ran = run(&mut shell(home.path(), path), b"").well();
        let man = home.path().join(".local/share/man/man1");
        for file in [home.path().join(file), man.join("essaim.1"), man.join("essaim-run.1")] {
            assert!(ran.stderr.contains(&*file.to_string_lossy()), "{}", ran.stderr);
            assert!(std::fs::read_to_string(&file).unwrap().contains("essaim"), "{file:?}");
        }
    }
    let home = tempfile::tempdir().unwrap();
    let ran = run(&mut shell(home.path(), "/bin/tcsh"), b"").well();
    assert!(ran.stderr.contains("--print bash") && ran.stderr.contains("essaim.1"), "{}", ran.stderr);
}

/// The output of a tool that may be missing here; fed with `input`.
fn by_tool(words: &[&str], input: &[u8]) -> Option<(i32, String)> {
    Command::new(words[0]).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let ran = run(Command::new(words[0]).args(&words[1..]), input);
    Some((ran.status, String::from_utf8_lossy(&ran.stdout).into_owned() + &ran.stderr))
}

#[test]
fn what_is_printed_is_what_the_shells_and_man_take() {
    let home = tempfile::tempdir().unwrap();
    let print = |kind: &str| {
        let ran = run(shell(home.path(), "/bin/sh").args(["--print", kind]), b"").well();
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    for tool in [&["bash", "-n"][..], &["zsh", "-n"], &["fish", "--no-execute"]] {
        if let Some(done) = by_tool(tool, &print(tool[0])) {
            assert_eq!(done, (0, String::new()), "{tool:?}");
        }
    }
    if let Some((status, page)) = by_tool(&["man", "-l", "-"], &print("man")) {
        assert!(status == 0 && page.contains("SUBCOMMANDS") && page.contains("essaim-run"), "{page}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is written");
}
