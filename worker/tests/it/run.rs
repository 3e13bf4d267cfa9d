//! One chunk at a time.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use essaim_worker::{
    ChunkSpec, Engine, EngineConfig, Failure, Input, JobSpec, Program, Role, STDERR_BYTES, StopFlag, Stretch,
};

use crate::guests::{command, echo, empty, engine, job, limits, load, run, spin, start};

fn output(program: &Program, job: &JobSpec, chunk: ChunkSpec) -> Vec<u8> {
    program.run(job, chunk, Bytes::new(), &StopFlag::default()).unwrap().output.to_vec()
}

#[test]
fn stdin_comes_out_again() {
    let echo = load(&echo());
    for size in [0, 1, 65_535, 65_536, 3_000_000] {
        let input: Vec<u8> = (0..size).map(|i| (i * 31 + i / 251) as u8).collect();
        assert_eq!(run(&echo, &job(), input.clone()).unwrap(), input, "{size} bytes");
    }
    assert_eq!(run(&load(&empty()), &job(), "ignored").unwrap(), b"");
}

#[test]
fn a_guest_knows_how_much_it_will_read() {
    let program = load(&command(
        "1",
        r#"(func (export "_start")
          (if (call $filestat (i32.const 0) (i32.const 64)) (then unreachable))
          (call $print (i32.const 1) (i32.const 96) (i32.const 8))
          (i32.store (i32.const 16) (i32.const 200))
          (i32.store (i32.const 20) (i32.const 5))
          (if (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))
          (if (call $filestat (i32.const 0) (i32.const 64)) (then unreachable))
          (call $print (i32.const 1) (i32.const 96) (i32.const 8)))"#,
    ));
    let input = [7; 100_000];
    let told = [100_000_u64.to_le_bytes(), 99_995_u64.to_le_bytes()].concat();
    assert_eq!(run(&program, &job(), input.to_vec()).unwrap(), told, "from memory");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[&[0; 10], &input[..], &[0; 20]].concat()).unwrap();
    let stretch = Stretch::new(Arc::new(file), 10, input.len() as u64, None);
    let outcome = program.run(&job(), ChunkSpec::map(0), Input::File(stretch), &StopFlag::default()).unwrap();
    assert_eq!(outcome.output, told, "from a file");
}

#[test]
fn exit_status_and_the_end_of_stderr() {
    let body = r#"(local $i i32)
        (loop $more
          (call $print (i32.const 2) (i32.const 1000) (i32.const 6))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const 5000))))
        (call $print (i32.const 2) (i32.const 1100) (i32.const 4))
        (call $proc_exit (i32.const STATUS))"#;
    let data = r#"(data (i32.const 1000) "noise\n") (data (i32.const 1100) "end\n")"#;
    let exit = |status: &str| {
        let body = body.replace("STATUS", status);
        run(&load(&command("1", &format!(r#"{data} (func (export "_start") {body})"#))), &job(), "")
    };
    let failure = exit("3").unwrap_err();
    assert!(matches!(&failure, Failure::Exit { code: 3, .. }), "{failure:?}");
    assert!(failure.stderr().len() == STDERR_BYTES && failure.stderr().ends_with("noise\nend\n"));
    assert!(failure.is_deterministic());
    assert!(matches!(exit("255"), Err(Failure::Exit { code: 255, .. })));
    assert_eq!(exit("0"), Ok(vec![]));
}

#[test]
fn a_trap_names_itself_and_the_function() {
    let trap = load(&command("1", r#"(func $fold unreachable) (func (export "_start") (call $fold))"#));
    let failure = run(&trap, &job(), "").unwrap_err();
    assert!(failure.is_deterministic());
    let Failure::Trap { message, .. } = &failure else { panic!("{failure:?}") };
    assert!(message.contains("unreachable") && message.contains("in fold"), "{message}");
}

#[test]
fn a_start_section_that_traps() {
    let trap = load(&command("1", r#"(func $init unreachable) (start $init) (func (export "_start"))"#));
    assert!(matches!(run(&trap, &job(), ""), Err(Failure::Trap { .. })));
}

#[test]
fn a_pointer_out_of_memory_is_the_guests_fault() {
    let read = "(drop (call $random_get (i32.const -8) (i32.const 64)))";
    let poll = "(drop (call $poll (i32.const -8) (i32.const 0) (i32.const 4) (i32.const 0)))";
    for body in [read, poll] {
        let failure = run(&load(&start("1", body)), &job(), "").unwrap_err();
        assert!(matches!(failure, Failure::Trap { .. }), "{failure:?}");
    }
}

#[test]
fn an_endless_loop_runs_out_of_time() {
    let failure = run(&load(&spin()), &limits(|l| l.millis = 200), "").unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { millis: 200, .. }), "{failure:?}");
    assert!(failure.to_string().contains("200 ms") && !failure.is_deterministic());
}

#[test]
fn endless_sleep_runs_out_of_time_too() {
    // A subscription of zeros but for its timeout of an hour: the wall clock, relative.
    let sleep = load(&start(
        "1",
        "(i64.store (i32.const 1024) (i64.const 3600000000000))
        (loop $again
          (if (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1) (i32.const 3000)) (then unreachable))
          (br $again))",
    ));
    let failure = run(&sleep, &limits(|l| l.millis = 50), "").unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { millis: 50, .. }), "{failure:?}");
}

#[test]
fn memory_without_end() {
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let job = limits(|l| l.memory_bytes = 10 << 20);
    let wanted = Failure::OutOfMemory { bytes: 10 << 20, stderr: String::new() };
    for giving_up in ["unreachable", "(call $proc_exit (i32.const 1))"] {
        let grow = load(&start("1", &format!("{grow} {giving_up}")));
        assert_eq!(run(&grow, &job, ""), Err(wanted.clone()));
    }
    assert!(wanted.is_deterministic());
    // More than any memory can have.
    let grow_all = load(&start("1", "(if (i32.eq (memory.grow (i32.const 65536)) (i32.const -1)) (then unreachable))"));
    assert_eq!(run(&grow_all, &job, ""), Err(wanted));
    // A program may cope with what it does not get.
    assert_eq!(run(&load(&start("1", grow)), &job, ""), Ok(vec![]));
}

#[test]
fn a_trap_without_want_of_memory_is_a_trap() {
    let job = limits(|l| l.memory_bytes = 10 << 20);
    let grow = load(&start("1", "(drop (memory.grow (i32.const 16))) unreachable"));
    assert!(matches!(run(&grow, &job, ""), Err(Failure::Trap { .. })));
}

#[test]
fn a_huge_initial_memory() {
    let huge = load(&start("60000", ""));
    let failure = run(&huge, &job(), "").unwrap_err();
    assert_eq!(failure, Failure::OutOfMemory { bytes: job().limits.memory_bytes, stderr: String::new() });
    assert_eq!(run(&huge, &limits(|l| l.memory_bytes = 1 << 32), ""), Ok(vec![]));
}

#[test]
fn this_machines_own_limit_is_no_verdict_on_the_chunk() {
    let engine = Engine::new(EngineConfig { threads: 1, memory_bytes: 4 << 20, ..EngineConfig::default() }).unwrap();
    let grow = engine.load(start("1", "(drop (memory.grow (i32.const 100)))").as_bytes()).unwrap();
    let failure = run(&grow, &job(), "").unwrap_err();
    assert_eq!(failure, Failure::HostMemory { bytes: 4 << 20 });
    assert!(!failure.is_deterministic());
    assert_eq!(run(&grow, &limits(|l| l.memory_bytes = 1 << 20), ""), Ok(vec![]));
}

#[test]
fn a_table_without_end() {
    let table = r#"(table $t 1 funcref) (func (export "_start")
        (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))))"#;
    assert_eq!(run(&load(&command("1", table)), &job(), ""), Ok(vec![]));
}

#[test]
fn printing_without_end() {
    let print = load(&start("1", "(loop $more (call $print (i32.const 1) (i32.const 0) (i32.const 5000)) (br $more))"));
    let failure = run(&print, &limits(|l| l.output_bytes = 1 << 20), "").unwrap_err();
    assert_eq!(failure, Failure::OutputTooLarge { bytes: 1 << 20, stderr: String::new() });
    let echo = load(&echo());
    let job = limits(|l| l.output_bytes = 1000);
    assert_eq!(run(&echo, &job, vec![7; 1000]).unwrap().len(), 1000);
    assert!(matches!(run(&echo, &job, vec![7; 1001]), Err(Failure::OutputTooLarge { bytes: 1000, .. })));
}

#[test]
fn noise_on_stderr_without_end_is_bounded_by_time() {
    let noise = load(&start("1", "(loop $more (call $print (i32.const 2) (i32.const 0) (i32.const 4096)) (br $more))"));
    let failure = run(&noise, &limits(|l| l.millis = 50), "").unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { .. }) && failure.stderr().len() <= STDERR_BYTES);
}

#[test]
fn stack_overflow() {
    let deep = r#"(func $deep (param i64) (result i64)
          (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))
        (func (export "_start") (drop (call $deep (i64.const 0))))"#;
    let failure = run(&load(&command("1", deep)), &job(), "").unwrap_err();
    assert!(matches!(failure, Failure::StackOverflow { .. }) && failure.is_deterministic(), "{failure:?}");
}

/// Prints 32 random bytes, then five readings of each clock.
fn measure() -> Program {
    load(&start(
        "1",
        r#"(local $i i32)
        (drop (call $random_get (i32.const 1000) (i32.const 32)))
        (call $print (i32.const 1) (i32.const 1000) (i32.const 32))
        (loop $more
          (if (call $clock (i32.const 0) (i64.const 0) (i32.const 1000)) (then unreachable))
          (if (call $clock (i32.const 1) (i64.const 0) (i32.const 1008)) (then unreachable))
          (call $print (i32.const 1) (i32.const 1000) (i32.const 16))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const 5))))"#,
    ))
}

#[test]
fn clocks_and_randomness_are_the_same_in_each_run() {
    let measure = measure();
    let first = output(&measure, &job(), ChunkSpec::map(7));
    thread::sleep(Duration::from_millis(2));
    assert_eq!(output(&measure, &job(), ChunkSpec::map(7)), first);
    let readings: Vec<u64> = first[32..].chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect();
    let (wall, monotonic): (Vec<_>, Vec<_>) = readings.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
    assert!(wall.is_sorted_by(|a, b| a < b) && monotonic.is_sorted_by(|a, b| a < b), "{readings:?}");
}

#[test]
fn randomness_differs_between_chunks_roles_and_jobs() {
    let measure = measure();
    let other = JobSpec { seed: [1; 32], ..job() };
    let all = BTreeSet::from([
        output(&measure, &job(), ChunkSpec::map(0)),
        output(&measure, &job(), ChunkSpec::map(1)),
        output(&measure, &job(), ChunkSpec::once(Role::Reduce)),
        output(&measure, &other, ChunkSpec::map(0)),
    ]);
    assert_eq!(all.len(), 4);
}

#[test]
fn sleep_passes_at_once_and_the_clock_tells() {
    // Two clocks: an hour and, on the monotonic clock, two; only the first is due.
    let sleep = load(&start(
        "1",
        "(if (call $clock (i32.const 1) (i64.const 0) (i32.const 504)) (then unreachable))
        (i64.store (i32.const 1000) (i64.const 77))
        (i64.store (i32.const 1024) (i64.const 3600000000000))
        (i64.store (i32.const 1048) (i64.const 88))
        (i32.store (i32.const 1064) (i32.const 1))
        (i64.store (i32.const 1072) (i64.const 7200000000000))
        (if (call $poll (i32.const 1000) (i32.const 2000) (i32.const 2) (i32.const 3000)) (then unreachable))
        (if (call $clock (i32.const 1) (i64.const 0) (i32.const 512)) (then unreachable))
        (call $print (i32.const 1) (i32.const 504) (i32.const 16))
        (call $print (i32.const 1) (i32.const 2000) (i32.const 8))
        (call $print (i32.const 1) (i32.const 3000) (i32.const 4))",
    ));
    let output = run(&sleep, &limits(|l| l.millis = 60_000), "").unwrap();
    let number = |at: usize| u64::from_le_bytes(output[at..at + 8].try_into().unwrap());
    assert_eq!(number(8) - number(0), 3_600_000_000_000 + 1_000);
    assert_eq!(number(16), 77);
    assert_eq!(output[24..], [1, 0, 0, 0]);
}

#[test]
fn arguments_and_environment() {
    let print = load(&start(
        "1",
        "(drop (call $args_sizes (i32.const 100) (i32.const 104)))
        (drop (call $args (i32.const 200) (i32.const 1000)))
        (call $print (i32.const 1) (i32.const 1000) (i32.load (i32.const 104)))
        (drop (call $env_sizes (i32.const 100) (i32.const 104)))
        (drop (call $env (i32.const 200) (i32.const 1000)))
        (call $print (i32.const 1) (i32.const 1000) (i32.load (i32.const 104)))",
    ));
    let job = JobSpec {
        argv: vec!["-n".into(), "naïve word".into()],
        env: vec![("A".into(), "1".into()), ("ESSAIM_ROLE".into(), "king".into())],
        ..job()
    };
    let text = |chunk| String::from_utf8(output(&print, &job, chunk)).unwrap();
    assert_eq!(text(ChunkSpec::map(42)), "essaim\0-n\0naïve word\0A=1\0ESSAIM_CHUNK=42\0ESSAIM_ROLE=map\0");
    assert!(text(ChunkSpec::once(Role::Reduce)).ends_with("ESSAIM_CHUNK=0\0ESSAIM_ROLE=reduce\0"));
}

#[test]
fn nothing_of_this_process_shows_through() {
    let open = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "/")
        (func (export "_start") (local $fd i32)
          (loop $more
            (if (i32.eqz (call $prestat (local.get $fd) (i32.const 100))) (then unreachable))
            (if (i32.eqz (call $open (local.get $fd) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
                  (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 100))) (then unreachable))
            (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $fd) (i32.const 64))))))"#;
    assert_eq!(run(&load(open), &job(), ""), Ok(vec![]));
}

#[test]
fn each_run_starts_afresh() {
    let count = load(&start(
        "1",
        "(i32.store (i32.const 5000) (i32.add (i32.load (i32.const 5000)) (i32.const 1)))
        (call $print (i32.const 1) (i32.const 5000) (i32.const 4))",
    ));
    for _ in 0..20 {
        assert_eq!(run(&count, &job(), "").unwrap(), [1, 0, 0, 0]);
    }
}

#[test]
fn a_running_chunk_is_stopped() {
    let stop = StopFlag::default();
    let runner = thread::spawn({
        let (spin, stop) = (load(&spin()), stop.clone());
        move || spin.run(&job(), ChunkSpec::map(0), Bytes::new(), &stop)
    });
    stop.stop();
    let (failure, _) = runner.join().unwrap().unwrap_err();
    assert_eq!(failure, Failure::Stopped);
}

#[test]
fn a_chunk_runs_inside_an_async_task_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let echo = load(&echo());
    assert_eq!(runtime.block_on(async { run(&echo, &job(), "x") }), Ok(b"x".to_vec()));
}

#[test]
fn the_tag_says_engine_architecture_and_revision() {
    let parts: Vec<&str> = engine().tag().split('/').collect();
    assert!(
        matches!(parts[..], [engine, arch, _] if engine.starts_with("wasmtime-") && arch == std::env::consts::ARCH)
    );
}
