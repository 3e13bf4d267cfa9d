//! Many chunks: requests in, reports out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use essaim_worker::{
    Chunk, Engine, EngineConfig, Failure, JobSpec, Pool, ProgramError, ProgramId, Report, Request, Role,
};

use crate::guests::{command, echo, empty, engine, job, limits, load, run, spin, start};

/// Far longer than anything here takes; a report that does not come fails the test, in time for people.
const PATIENCE: Duration = Duration::from_secs(120);

struct Harness {
    pool: Pool,
    reports: Receiver<Vec<Report>>,
    pending: Vec<Report>,
}

impl Harness {
    fn new(threads: usize) -> Harness {
        Harness::with(engine().clone(), threads)
    }

    fn with(engine: Engine, threads: usize) -> Harness {
        let (sender, reports) = sync_channel(4_096);
        let pool = Pool::new(engine, threads, move |reports| {
            let _ = sender.send(reports);
        });
        Harness { pool: pool.unwrap(), reports, pending: Vec::new() }
    }

    /// A program, and a job of the same number that runs it.
    fn load(&self, id: u8, wat: &str, spec: JobSpec) {
        self.pool.submit(Request::Load { program: program(id), bytes: wat.to_owned().into() });
        self.pool.submit(Request::Job { job: u64::from(id), program: program(id), spec });
    }

    fn run(&self, job: u64, tickets: impl IntoIterator<Item = u64>) {
        let chunks = tickets.into_iter().map(|ticket| Chunk {
            ticket,
            chunk: u32::try_from(ticket).unwrap(),
            input: ticket.to_string().into(),
        });
        self.pool.submit(Request::Run { job, role: Role::Map, chunks: chunks.collect() });
    }

    fn next(&mut self) -> Report {
        while self.pending.is_empty() {
            self.pending = self.reports.recv_timeout(PATIENCE).expect("no report came");
            self.pending.reverse();
        }
        self.pending.pop().unwrap()
    }

    fn wait_for(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = self.next();
            if wanted(&report) {
                return report;
            }
        }
    }

    /// That nothing more comes.
    fn end(mut self) {
        drop(self.pool);
        self.pending.extend(self.reports.iter().flatten());
        assert_eq!(self.pending, []);
    }
}

fn program(id: u8) -> ProgramId {
    ProgramId::plain([id; 32])
}

#[test]
fn a_thousand_chunks_report_exactly_once() {
    let mut harness = Harness::new(4);
    harness.load(1, &echo(), job());
    // Some before the program is compiled, some after.
    harness.run(1, 0..300);
    harness.wait_for(|report| *report == Report::Loaded { program: program(1) });
    for batch in 3..10 {
        harness.run(1, batch * 100..(batch + 1) * 100);
    }
    let mut outputs = BTreeMap::new();
    while outputs.len() < 1_000 {
        match harness.next() {
            Report::Finished { ticket, output, .. } => {
                assert_eq!(output, ticket.to_string().as_bytes());
                assert_eq!(outputs.insert(ticket, output), None, "ticket {ticket} twice");
            }
            Report::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    harness.end();
}

#[test]
fn chunks_run_in_the_order_they_came() {
    let mut harness = Harness::new(1);
    harness.load(1, &echo(), job());
    harness.load(2, &empty(), job());
    harness.run(1, 0..50);
    harness.run(2, 50..60);
    harness.run(1, 60..100);
    let mut order = Vec::new();
    while order.len() < 100 {
        if let Report::Finished { ticket, .. } = harness.next() {
            order.push(ticket);
        }
    }
    // Compiled one after the other, the first program's chunks may all be through before the second's begin.
    let (first, second): (Vec<u64>, Vec<u64>) = order.iter().partition(|ticket| !(50..60).contains(*ticket));
    assert!(first.is_sorted() && second.is_sorted(), "{order:?}");
    harness.end();
}

#[test]
fn how_far_a_chunk_is_says_its_last_word() {
    let mut harness = Harness::new(1);
    let says = |then: &str| {
        let body = r#"(data (i32.const 1024) "\1eessaim-progress 7\n\1eessaim-progress 40\n")
            (func (export "_start")
              (call $print (i32.const 2) (i32.const 1024) (i32.const 19))
              (call $print (i32.const 2) (i32.const 1043) (i32.const 20))
              THEN)"#;
        command("1", &body.replace("THEN", then))
    };
    harness.load(1, &says("(loop $again (br $again))"), job());
    harness.load(2, &says(""), job());
    harness.load(3, &spin(), job());
    harness.run(1, [1]);
    harness.wait_for(|report| *report == Report::Progress { ticket: 1, percent: 40 });
    harness.run(2, [2]);
    harness.run(3, [3]);
    harness.pool.submit(Request::Stop { tickets: vec![1] });

    // The second ends before anybody asks; what it said is not the third's.
    harness.wait_for(|report| *report == Report::Started { ticket: 3 });
    harness.pool.submit(Request::Stop { tickets: vec![3] });
    let last = harness.next();
    assert!(matches!(last, Report::Failed { ticket: 3, .. }), "{last:?}");
    harness.end();
}

#[test]
fn how_far_a_chunk_is_is_no_complaint() {
    let words = r#"(data (i32.const 1024) "\1eessaim-progress 40\nno sense")
        (func (export "_start")
          (call $print (i32.const 2) (i32.const 1024) (i32.const 20))
          (call $print (i32.const 2) (i32.const 1044) (i32.const 8))
          unreachable)"#;
    let failure = run(&load(&command("1", words)), &job(), "").unwrap_err();
    assert_eq!(failure.stderr(), "no sense");
}

#[test]
fn a_program_that_is_refused_fails_its_chunks() {
    let mut harness = Harness::new(2);
    harness.load(1, "(module)", job());
    harness.run(1, 0..10);
    let mut refused = 0;
    let mut failed = BTreeSet::new();
    while failed.len() < 10 || refused == 0 {
        match harness.next() {
            Report::Refused { program: id, error } => {
                assert_eq!((id, error), (program(1), ProgramError::NoStart));
                refused += 1;
            }
            Report::Failed { ticket, failure, .. } => {
                assert_eq!(failure, Failure::NotLoaded);
                assert!(failed.insert(ticket));
            }
            other => panic!("{other:?}"),
        }
    }
    harness.run(1, 10..11);
    assert!(matches!(harness.next(), Report::Failed { ticket: 10, failure: Failure::NotLoaded, .. }));
    harness.run(99, 11..12);
    assert!(matches!(harness.next(), Report::Failed { ticket: 11, failure: Failure::NotLoaded, .. }));
    harness.end();
}

#[test]
fn failures_come_with_their_ticket() {
    let mut harness = Harness::new(2);
    harness.load(1, &start("1", "(call $proc_exit (i32.const 9))"), job());
    harness.run(1, [5]);
    let report = harness.wait_for(|report| matches!(report, Report::Failed { .. }));
    assert!(matches!(report, Report::Failed { ticket: 5, failure: Failure::Exit { code: 9, .. }, .. }), "{report:?}");
    harness.end();
}

#[test]
fn stopping_a_running_and_a_queued_chunk() {
    let mut harness = Harness::new(1);
    harness.load(1, &spin(), limits(|l| l.millis = u64::MAX));
    harness.load(2, &spin(), limits(|l| l.millis = 100));
    harness.load(3, &echo(), job());
    for program in 1..=3 {
        harness.wait_for(|report| *report == Report::Loaded { program: self::program(program) });
    }
    harness.run(1, [1, 2]);
    harness.run(2, [3]);
    harness.run(3, [4]);
    harness.wait_for(|report| *report == Report::Started { ticket: 1 });
    let stopped = |ticket| move |report: &Report| matches!(report, Report::Failed { ticket: t, failure: Failure::Stopped, .. } if *t == ticket);
    // The second waits: it is dropped while the first runs on.
    harness.pool.submit(Request::Stop { tickets: vec![2, 77] });
    harness.wait_for(stopped(2));
    harness.pool.submit(Request::Stop { tickets: vec![1] });
    harness.wait_for(stopped(1));
    // The flag of the thread was for the first alone: the third has its own end.
    let report = harness.wait_for(|report| matches!(report, Report::Failed { .. }));
    assert!(matches!(report, Report::Failed { ticket: 3, failure: Failure::TimedOut { .. }, .. }), "{report:?}");
    harness.wait_for(|report| matches!(report, Report::Finished { ticket: 4, .. }));
    harness.end();
}

#[test]
fn reports_do_not_wait_behind_a_long_chunk() {
    let mut harness = Harness::new(1);
    harness.load(1, &echo(), job());
    harness.wait_for(|report| matches!(report, Report::Loaded { .. }));
    harness.load(2, &spin(), limits(|l| l.millis = u64::MAX));
    harness.wait_for(|report| matches!(report, Report::Loaded { .. }));
    harness.run(1, [1]);
    harness.run(2, [2]);
    harness.wait_for(|report| matches!(report, Report::Finished { ticket: 1, .. }));
    harness.wait_for(|report| *report == Report::Started { ticket: 2 });
}

#[test]
fn a_program_loads_once_and_can_be_forgotten() {
    let mut harness = Harness::new(1);
    harness.load(1, &empty(), job());
    harness.wait_for(|report| matches!(report, Report::Loaded { .. }));
    // Known already: the bytes are not looked at.
    harness.pool.submit(Request::Load { program: program(1), bytes: Bytes::from_static(b"rubbish").into() });
    assert_eq!(harness.next(), Report::Loaded { program: program(1) });
    harness.pool.submit(Request::ForgetProgram { program: program(1) });
    harness.run(1, [1]);
    assert!(matches!(harness.next(), Report::Failed { ticket: 1, failure: Failure::NotLoaded, .. }));
    harness.load(1, &empty(), job());
    harness.wait_for(|report| matches!(report, Report::Loaded { .. }));
    harness.pool.submit(Request::ForgetJob { job: 1 });
    harness.run(1, [2]);
    assert!(matches!(harness.next(), Report::Failed { ticket: 2, failure: Failure::NotLoaded, .. }));
    harness.end();
}

/// Loaded, or refused, is said first, and from then on a program can be loaded, forgotten and loaded again.
#[test]
fn what_is_said_of_a_program_holds_when_it_is_heard() {
    let mut harness = Harness::new(2);
    for round in 0..50 {
        harness.load(1, &echo(), job());
        harness.run(1, [round]);
        let loaded = Report::Loaded { program: program(1) };
        assert_eq!(harness.next(), loaded);
        harness.load(1, &echo(), job());
        let (mut again, mut finished) = (false, false);
        while !(again && finished) {
            match harness.next() {
                Report::Finished { ticket, .. } => finished = ticket == round,
                report if report == loaded => again = true,
                report => assert_eq!(report, Report::Started { ticket: round }),
            }
        }
        harness.pool.submit(Request::ForgetProgram { program: program(1) });
        harness.load(1, "(module)", job());
        harness.run(1, [round]);
        assert_eq!(harness.next(), Report::Refused { program: program(1), error: ProgramError::NoStart });
        assert!(matches!(harness.next(), Report::Failed { failure: Failure::NotLoaded, .. }));
    }
    harness.end();
}

#[test]
fn dropping_the_pool_stops_what_runs() {
    let mut harness = Harness::new(2);
    harness.load(1, &spin(), limits(|l| l.millis = u64::MAX));
    harness.run(1, 0..100);
    harness.wait_for(|report| matches!(report, Report::Started { .. }));
    drop(harness.pool);
    let stopped = harness.reports.iter().flatten().filter(|r| matches!(r, Report::Failed { .. })).count();
    assert!((1..=2).contains(&stopped), "{stopped}");
}

/// Four threads, and memory for two chunks of 64 MiB and one of 4.
fn with_memory_for_two() -> Harness {
    let config = EngineConfig { threads: 4, total_bytes: (2 * 64 + 4) << 20, ..EngineConfig::default() };
    Harness::with(Engine::new(config).unwrap(), 4)
}

#[test]
fn no_more_run_at_once_than_there_is_memory_for() {
    let mut harness = with_memory_for_two();
    harness.load(1, &spin(), limits(|l| (l.memory_bytes, l.millis) = (64 << 20, u64::MAX)));
    harness.load(2, &spin(), limits(|l| (l.memory_bytes, l.millis) = (4 << 20, 200)));
    harness.run(1, 0..6);
    let mut running = BTreeSet::new();
    for over in 0..6 {
        while running.len() < 2.min(6 - over) {
            match harness.next() {
                Report::Started { ticket } => assert!(running.insert(ticket)),
                Report::Loaded { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        // While two run and others wait, what needs less gets through; it lasts long enough for a third to show itself.
        for _ in 0..2 {
            harness.run(2, [100]);
            loop {
                match harness.next() {
                    Report::Failed { ticket: 100, failure: Failure::TimedOut { .. }, .. } => break,
                    Report::Started { ticket: 100 } | Report::Loaded { .. } => {}
                    other => panic!("beside {running:?}: {other:?}"),
                }
            }
        }
        let first = running.pop_first().unwrap();
        harness.pool.submit(Request::Stop { tickets: vec![first] });
        loop {
            match harness.next() {
                Report::Failed { ticket, failure: Failure::Stopped, .. } if ticket == first => break,
                Report::Started { ticket } => assert!(running.insert(ticket) && running.len() <= 2),
                other => panic!("{other:?}"),
            }
        }
    }
    harness.end();
}

#[test]
fn what_falls_free_is_for_as_many_as_there_is_room_for() {
    let mut harness = with_memory_for_two();
    harness.load(1, &spin(), limits(|l| (l.memory_bytes, l.millis) = (128 << 20, u64::MAX)));
    harness.load(2, &spin(), limits(|l| (l.memory_bytes, l.millis) = (64 << 20, u64::MAX)));
    harness.load(3, &empty(), limits(|l| l.memory_bytes = 4 << 20));
    harness.run(1, [0]);
    while harness.next() != (Report::Started { ticket: 0 }) {}
    harness.run(2, [1, 2]);
    // Those who could run them find no room, and go; this one is run by one of them.
    harness.run(3, [3]);
    while !matches!(harness.next(), Report::Finished { ticket: 3, .. }) {}
    harness.pool.submit(Request::Stop { tickets: vec![0] });
    let mut started = BTreeSet::new();
    while started.len() < 2 {
        if let Report::Started { ticket } = harness.next() {
            started.insert(ticket);
        }
    }
    assert_eq!(started, BTreeSet::from([1, 2]));
}

#[test]
fn a_chunk_that_may_have_more_than_there_is_runs_alone_and_with_all_of_it() {
    let mut harness = with_memory_for_two();
    // It takes what it is given, page by page, and ends in order when that is all.
    let hoard = start("1", "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))");
    harness.load(1, &hoard, limits(|l| l.memory_bytes = 1 << 30));
    harness.load(2, &hoard, limits(|l| l.memory_bytes = 64 << 20));
    harness.run(1, 0..3);
    harness.run(2, 3..6);
    let (mut refused, mut finished) = (BTreeSet::new(), BTreeSet::new());
    while refused.len() + finished.len() < 6 {
        match harness.next() {
            Report::Failed { ticket, failure: Failure::HostMemory { .. }, .. } => assert!(refused.insert(ticket)),
            Report::Finished { ticket, .. } => assert!(finished.insert(ticket)),
            Report::Loaded { .. } | Report::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((refused, finished), (BTreeSet::from([0, 1, 2]), BTreeSet::from([3, 4, 5])));
    harness.end();
}

#[test]
fn messages_travel() {
    let request = Request::Run {
        job: 1,
        role: Role::Reduce,
        chunks: vec![Chunk { ticket: 1 << 40, chunk: 7, input: Bytes::from_static(b"abc").into() }],
    };
    let bytes = postcard::to_allocvec(&request).unwrap();
    assert_eq!(postcard::from_bytes::<Request>(&bytes).unwrap(), request);
    let failure = Failure::Exit { code: -1, stderr: "é".into() };
    let report = Report::Failed { ticket: 1, failure, cpu_micros: 2, wall_micros: u64::MAX };
    let bytes = postcard::to_allocvec(&report).unwrap();
    assert_eq!(postcard::from_bytes::<Report>(&bytes).unwrap(), report);
}
