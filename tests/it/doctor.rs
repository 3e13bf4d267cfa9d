//! What `essaim doctor` says of a machine, and of what is wrong with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::node::{Ran, Worker, World, run};

fn doctor(world: &World, home: &Path, options: &[&str]) -> Ran {
    run(world.bare("doctor").args(["--json", "--no-mdns"]).args(options).arg("--home").arg(home), b"")
}

/// The checks, and those of them that came out badly.
fn checks(ran: &Ran) -> (Vec<Value>, Vec<String>) {
    let lines = std::str::from_utf8(&ran.stdout).unwrap().lines();
    let checks: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    for check in &checks {
        // Whoever hears that something is wrong hears what to do.
        assert_eq!(check["state"] != "ok", check["hint"].is_string(), "{check}");
    }
    let bad = checks.iter().filter(|check| check["state"] == "bad");
    let bad = bad.map(|check| check["check"].as_str().unwrap().to_owned()).collect();
    (checks, bad)
}

#[test]
fn a_healthy_machine_is_found_healthy() {
    let world = World::new("doctor");
    let home = world.dir.path().join("home");
    let mut join = world.bare("join");
    let worker = Worker::start({
        join.arg("--no-mdns").arg("--home").arg(&home);
        join
    });
    let ran = doctor(&world, &home, &["--peer", &worker.address]).well();
    let (checks, _) = checks(&ran);
    let named: Vec<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        ["home", "keys", "disk", "memory", "limits", "cores", "sandbox", "ports", "reach", "peers", "clock"]
    );
    let words = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap()["words"].as_str().unwrap();
    assert!(words("peers").contains("1 of them lend"), "{}", words("peers"));
    assert!(words("cores").contains("lends 1"), "{}", words("cores"));
    #[cfg(target_os = "linux")]
    assert!(words("home").contains(&format!("process {}", worker.process())), "{}", words("home"));
    // It has left nothing behind, and is no second node of that home.
    assert!(worker.sandboxes().is_empty());
}

#[test]
fn a_key_that_others_can_read_and_a_port_that_is_taken_are_named() {
    let world = World::new("doctor-bad");
    let home = world.dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("author.key"), [1; 32]).unwrap();
    fs::set_permissions(home.join("author.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let ran = doctor(&world, &home, &["--listen", &listen]);
    let (checks, bad) = checks(&ran);
    assert_eq!((ran.status, bad), (1, vec!["keys".to_owned(), "ports".to_owned()]), "{}", ran.stderr);
    let says = |words: &str| checks.iter().any(|check| check.to_string().contains(words));
    assert!(says("chmod 600") && says(&home.join("author.key").display().to_string()) && says("the port is taken"));

    // In words, too.
    let words = run(world.bare("doctor").args(["--no-mdns", "--home"]).arg(&home), b"");
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("BAD     keys") && words.contains("hint: `chmod 600"), "{words}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named() {
    let world = World::new("doctor-full");
    let Some(disk) = crate::full::Disk::new(&world) else { return };
    let home = disk.path("home");
    doctor(&world, &home, &[]);
    disk.fill(64);
    let ran = doctor(&world, &home, &[]);
    let (_, bad) = checks(&ran);
    assert!(ran.status == 1 && bad == ["disk"], "{bad:?}");
}
