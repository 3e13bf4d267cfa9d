//! Host programs: this process has a node of its own, beside workers that are processes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use essaim::net::parse_listen;
use essaim::swarm::{Config, Error, Swarm};

use crate::node::{Worker, World, events, example, guest, until, wait_for};
use crate::owner::tell;

/// Where the host program of a world lives.
fn home(world: &World) -> PathBuf {
    world.dir.path().join("host")
}

/// A host program that knows these workers, and works with so many threads of its own.
async fn join(world: &World, cpus: u16, workers: &[&Worker]) -> Swarm {
    let config = Config {
        home: Some(home(world)),
        swarm: world.swarm().parse().unwrap(),
        peers: workers.iter().map(|worker| worker.address.parse().unwrap()).collect(),
        listen: parse_listen("127.0.0.1:0").unwrap(),
        mdns: false,
        cpus,
        ..Config::default()
    };
    Swarm::join(config).await.unwrap()
}

/// Whether nothing is left of any job in the home of the host program.
fn has_no_jobs(world: &World) -> bool {
    home(world).join("jobs").read_dir().unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_come_in_the_order_of_the_inputs_and_as_they_were_meant() {
    let world = World::new("host-order");
    let worker = Worker::start(world.alone("join"));
    let swarm = join(&world, 1, &[&worker]).await;
    let program = swarm.program(guest("echo")).await.unwrap();
    let numbers: Vec<u64> = (0..300).collect();
    assert_eq!(swarm.map::<_, u64>(&program, &numbers).await.unwrap(), numbers);

    // Inline, beside the page, larger than what travels in a message; and in between.
    let texts: Vec<String> = (0..40_usize).map(|i| format!("{i}\t{}", "é".repeat(i * i))).collect();
    let back: Vec<String> = swarm.map(&program, &texts).await.unwrap();
    assert!(back.iter().map(|text| text.strip_suffix('\n').unwrap()).eq(&texts));
    let pairs = [(1, Some("a\tb")), (2, None)];
    let back: Vec<(u64, Option<String>)> = swarm.map(&program, pairs).await.unwrap();
    assert_eq!(back, [(1, Some("a\tb".to_owned())), (2, None)]);

    let none: Vec<u64> = swarm.map(&program, std::iter::empty::<u64>()).await.unwrap();
    assert!(none.is_empty());
    until("nothing is left of the jobs", || has_no_jobs(&world));
    swarm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_comes_before_what_is_not_and_who_wants_no_more_ends_the_job() {
    let world = World::new("host-drop");
    let worker_home = world.dir.path().join("worker");
    let mut command = world.bare("join");
    command.arg("--no-mdns").arg("--home").arg(&worker_home);
    let worker = Worker::start(command);
    // Three threads there are, and all of them run the endless chunk in the end.
    let swarm = join(&world, 2, &[&worker]).await;
    let program = swarm.program(guest("stuck")).await.unwrap();
    let inputs = std::iter::once("x".to_owned()).chain((1..50).map(|i| i.to_string()));
    let mut results = swarm.map::<_, String>(&program, inputs).timeout(Duration::from_secs(3_600)).as_completed();
    let mut seen = Vec::new();
    for _ in 1..50 {
        let (number, text) = results.next().await.unwrap().unwrap();
        assert_eq!(text, format!("{number}\n"));
        seen.push(number);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..50), "each once, and not the first");
    let status = || tell(&world, "status", &worker_home);
    until("the worker runs what never ends", || status()["jobs"][0]["running"] == 1);

    drop(results);
    until("the worker has heard", || status()["jobs"].as_array().unwrap().is_empty());
    until("the worker's processes do nothing", || worker.sandboxes().iter().all(|(_, state)| *state != 'R'));
    let mut own = swarm.peer().status();
    own.wait_for(|status| status.jobs.is_empty()).await.unwrap();
    until("nothing is left of the job", || has_no_jobs(&world));
    swarm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_program_lends_nothing_to_others() {
    let world = World::new("host-own");
    let worker_home = world.dir.path().join("worker");
    let mut command = world.bare("join");
    command.arg("--no-mdns").arg("--home").arg(&worker_home);
    let worker = Worker::start(command);
    assert_eq!(tell(&world, "pause", &worker_home)["paused"], true);
    let swarm = join(&world, 2, &[&worker]).await;
    let host = swarm.peer().net().addresses()[0].to_string();
    let mut command = world.alone("run");
    command.args(["--json", "--cpus", "0", "--peer", &host, "--peer", &worker.address]).arg(guest("echo"));
    let mut child = command.args([":::", "1", "2", "3"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let events = events(child.stderr.take().unwrap());
    let others_job = || tell(&world, "status", &worker_home)["jobs"].as_array().unwrap().len();
    until("the worker has heard of the job", || others_job() == 1);
    // The host has, too, and its own jobs it runs.
    let program = swarm.program(guest("echo")).await.unwrap();
    assert_eq!(swarm.map::<_, u64>(&program, [1, 2, 3]).await.unwrap(), [1, 2, 3]);

    tell(&world, "resume", &worker_home);
    let done = wait_for(&events, "done");
    assert!(child.wait().unwrap().success());
    let by: Vec<&String> = done["by"].as_object().unwrap().keys().collect();
    assert_eq!(by, [&worker.peer]);
    swarm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_chunk_the_peer_and_its_words() {
    let world = World::new("host-fail");
    let worker = Worker::start(world.alone("join"));
    let swarm = join(&world, 0, &[&worker]).await;
    let program = swarm.program(guest("exit3")).await.unwrap();
    let error = swarm.map::<_, String>(&program, ["a"]).await.unwrap_err();
    let Error::Chunk { chunk: 0, peer, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(peer.to_string(), worker.peer);
    assert!(message.contains("the bees are gone"), "{message}");
    assert!(!error.hint().is_empty());

    let program = swarm.program(guest("echo")).await.unwrap();
    let mut results = swarm.map::<_, u64>(&program, ["1", "two", "3"]).in_order();
    assert_eq!(results.next().await.unwrap().unwrap(), 1);
    let error = results.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Decode { chunk: 1, expected: "u64", .. }), "{error:?}");
    assert!(results.next().await.is_none());

    let error = swarm.map::<_, String>(&program, ["a"]).reduce::<u64>().await.unwrap_err();
    assert!(matches!(error, Error::NoReduce(_)), "{error:?}");
    let error = swarm.map::<_, String>(&program, ["a"]).data("a/../b", guest("echo")).await.unwrap_err();
    assert!(matches!(error, Error::DataName(_)), "{error:?}");
    let error = swarm.program(guest("import")).await.unwrap_err();
    assert!(matches!(error, Error::Program { .. }), "{error:?}");
    let error = swarm.program("no/such.wasm").await.unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    assert!(has_no_jobs(&world), "nothing is left of what failed");
    swarm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_own_reduce_is_run_here_and_its_parts_are_values_too() {
    let world = World::new("host-reduce");
    let swarm = join(&world, 1, &[]).await;
    let program = swarm.program(example("primes")).await.unwrap();
    let ranges = || (0..10_u64).map(|i| i * 1_000..(i + 1) * 1_000);
    assert_eq!(swarm.map::<_, ()>(&program, ranges()).reduce::<u64>().await.unwrap(), 1_229);
    let counts: Vec<u64> = swarm.map(&program, ranges()).await.unwrap();
    assert_eq!((counts[0], counts.iter().sum()), (168, 1_229));
    let error = swarm.map::<_, u64>(&program, ["no range"]).reduce::<u64>().await.unwrap_err();
    assert!(matches!(error, Error::Chunk { chunk: 0, .. }), "{error:?}");
    let error = swarm.map::<_, u64>(&program, std::iter::empty::<()>()).reduce::<u64>().await.unwrap_err();
    assert!(matches!(error, Error::NoInputs), "{error:?}");
    swarm.shutdown().await;
}

/// On a runtime of one thread, which a host program may have, too.
#[tokio::test]
async fn ten_thousand_inputs_of_nothing_all_come_back() {
    let world = World::new("host-many");
    let swarm = join(&world, 2, &[]).await;
    let program = swarm.program(guest("nothing")).await.unwrap();
    let nothing: Vec<()> = swarm.map(&program, std::iter::repeat_n((), 10_000)).no_cache().await.unwrap();
    assert_eq!(nothing.len(), 10_000);
    swarm.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_ends_the_jobs_that_are_under_way() {
    let world = World::new("host-leave");
    let swarm = join(&world, 1, &[]).await;
    let program = swarm.program(guest("loop")).await.unwrap();
    let later = swarm.map::<_, String>(&program, ["later"]);
    // Each tells its end and that nobody need read it any more, in either order.
    let under_way: Vec<_> = (0..16).map(|_| swarm.map::<_, String>(&program, ["now"]).in_order()).collect();
    let mut own = swarm.peer().status();
    own.wait_for(|status| status.jobs.len() == 16 && status.jobs.iter().any(|job| job.running > 0)).await.unwrap();
    swarm.shutdown().await;
    for mut results in under_way {
        let end = results.next().await;
        assert!(matches!(end, Some(Err(Error::Gone))), "{end:?}");
        assert!(results.next().await.is_none());
    }
    assert!(matches!(later.await, Err(Error::Gone)));
    // The home is free for the next one, and nothing of the job is left in it.
    assert!(has_no_jobs(&world));
    join(&world, 0, &[]).await.shutdown().await;
}
