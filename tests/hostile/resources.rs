//! Programs that take more than they may: time, memory, stack, output, the compiler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use essaim_worker::process::ProcessConfig;
use essaim_worker::{Failure, Input, PROGRAM_BYTES, ProgramError, Stretch};

use crate::corpus;
use crate::node::{Node, limits};

#[test]
fn an_endless_loop_is_out_of_time() {
    let mut node = Node::start();
    let failure = node.attack(corpus::SPIN, limits(|l| l.millis = 300)).unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { millis: 300, .. }), "{failure:?}");
}

#[test]
fn endless_recursion_is_out_of_stack() {
    let failure = Node::start().attack(corpus::RECURSION, limits(|_| {})).unwrap_err();
    assert!(matches!(failure, Failure::StackOverflow { .. }), "{failure:?}");
}

#[test]
fn a_hoarder_gets_what_its_job_allows() {
    let failure = Node::start().attack(corpus::HOARD, limits(|l| l.memory_bytes = 64 << 20)).unwrap_err();
    assert!(matches!(failure, Failure::OutOfMemory { bytes, .. } if bytes == 64 << 20), "{failure:?}");
}

#[test]
fn a_hoarder_gets_what_the_machine_gives_whatever_its_job_allows() {
    let ways: [fn(&mut ProcessConfig); 2] =
        [|config| config.memory_bytes = 64 << 20, |config| config.total_bytes = 64 << 20];
    for way in ways {
        let failure = Node::with(way).attack(corpus::HOARD, limits(|l| l.memory_bytes = 3 << 30)).unwrap_err();
        assert!(matches!(failure, Failure::HostMemory { bytes } if bytes == 64 << 20), "{failure:?}");
    }
}

#[test]
fn a_table_does_not_grow_for_ever() {
    let failure = Node::start().attack(corpus::TABLES, limits(|_| {})).unwrap_err();
    assert!(matches!(failure, Failure::Trap { .. }), "{failure:?}");
}

#[test]
fn a_large_table_is_refused() {
    let mut node = Node::start();
    let error = node.load(corpus::LARGE_TABLE, limits(|_| {})).unwrap_err();
    assert!(matches!(&error, ProgramError::Compile { message } if message.contains("table")), "{error:?}");
    node.is_well();
}

#[test]
fn what_is_read_from_a_file_and_printed_in_parts_is_whole() {
    let content: Vec<u8> = (0..(3_u32 << 20) + 5).map(|n| (n * 7 + n / 251) as u8).collect();
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
    let file = Arc::new(file);
    let stretch = |offset: u64, len: u64| Input::File(Stretch::new(Arc::clone(&file), offset, len, None));
    let mut node = Node::start();
    let through = include_str!("../it/guests/through.wat");
    let job = node.load(through, limits(|_| {})).unwrap();
    assert_eq!(node.run(job, stretch(0, content.len() as u64)).unwrap(), content);
    // Another one after it, which is exactly as long as its parts.
    assert_eq!(node.run(job, stretch(3, 2 << 20)).unwrap(), content[3..3 + (2 << 20)]);
    assert_eq!(node.run(job, "short").unwrap(), "short");
    let job = node.load(through, limits(|l| l.output_bytes = 3 << 20)).unwrap();
    let failure = node.run(job, stretch(0, content.len() as u64)).unwrap_err();
    assert!(matches!(failure, Failure::OutputTooLarge { .. }), "{failure:?}");
    // What has become shorter is not taken for a shorter input.
    let failure = node.run(job, stretch(content.len() as u64 - 9, 10)).unwrap_err();
    assert!(matches!(&failure, Failure::Internal { message } if message.contains("input")), "{failure:?}");
    node.is_well();
}

#[test]
fn a_flood_of_output_is_cut_off() {
    let failure = Node::start().attack(&corpus::flood(1), limits(|l| l.output_bytes = 1 << 20)).unwrap_err();
    assert!(matches!(failure, Failure::OutputTooLarge { bytes, .. } if bytes == 1 << 20), "{failure:?}");
}

#[test]
fn a_flood_of_complaints_costs_its_own_time_only() {
    // Were all of it kept, the process would run out of memory before it is out of time.
    let mut node = Node::with(|config| config.memory_bytes = 1 << 20);
    let failure = node.attack(&corpus::flood(2), limits(|l| l.millis = 2_000)).unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { .. }), "{failure:?}");
}

#[test]
fn a_huge_program_is_refused() {
    let mut node = Node::start();
    let mut huge = b"\0asm\x01\0\0\0".to_vec();
    huge.resize(PROGRAM_BYTES as usize + 1, 0);
    let error = node.load(huge, limits(|_| {})).unwrap_err();
    assert!(matches!(error, ProgramError::TooLarge { .. }), "{error:?}");
    node.is_well();
}

#[test]
fn a_program_that_takes_long_to_compile_is_refused_and_holds_up_nobody() {
    let mut node = Node::with(|config| config.compile_within = Duration::from_secs(1));
    let error = node.load(corpus::slow_to_compile(400, 400), limits(|_| {})).unwrap_err();
    assert!(
        matches!(&error, ProgramError::Compile { message } if message.contains("1 s on the processor")),
        "{error:?}"
    );
    node.is_well();
}

#[test]
fn a_program_with_blocks_in_blocks_is_run_or_refused() {
    let mut node = Node::with(|config| config.compile_within = Duration::from_secs(3));
    for depth in [1_000, 30_000, 1_000_000] {
        match node.load(corpus::nested(depth), limits(|_| {})) {
            Ok(job) => assert!(node.run(job, "").unwrap().is_empty()),
            Err(error) => assert!(matches!(error, ProgramError::Compile { .. }), "{error:?}"),
        }
    }
    node.is_well();
}

#[test]
fn text_with_parentheses_in_parentheses_is_refused() {
    let mut node = Node::start();
    let text = format!("(module {} {})", "(".repeat(200_000), ")".repeat(200_000));
    let error = node.load(text, limits(|_| {})).unwrap_err();
    assert!(matches!(error, ProgramError::Wat { .. } | ProgramError::Compile { .. }), "{error:?}");
    node.is_well();
}

#[test]
fn a_program_that_is_forgotten_leaves_no_process_behind() {
    let mut node = Node::start();
    let job = node.load(include_str!("../it/guests/echo.wat"), limits(|_| {})).unwrap();
    assert_eq!(node.run(job, "x").unwrap(), "x\n");
    assert_eq!(node.processes(), 1);
    node.forget(job);
    let end = Instant::now() + Duration::from_secs(120);
    while node.processes() > 0 {
        assert!(Instant::now() < end, "its process is still there after two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
    node.is_well();
}

#[test]
fn what_stands_behind_a_chunk_that_is_ended_is_run_all_the_same() {
    let mut node = Node::start();
    let job = node.load(corpus::SPIN_OR_ECHO, limits(|l| l.millis = 500)).unwrap();
    // So that it is known to be short, and much is handed over at once.
    assert!(node.run_all(job, &["a"; 50]).iter().all(|ended| ended.as_ref().is_ok_and(|output| output == "a")));
    let ended = node.run_all(job, &["a", "spin", "b", "spin", "c"]);
    let spun = |ended: &Result<_, _>| matches!(ended, Err(Failure::TimedOut { millis: 500, .. }));
    assert!(spun(&ended[1]) && spun(&ended[3]), "{ended:?}");
    assert_eq!([&ended[0], &ended[2], &ended[4]], [&Ok("a".into()), &Ok("b".into()), &Ok("c".into())]);
    node.is_well();
}
