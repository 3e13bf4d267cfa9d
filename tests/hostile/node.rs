//! A node's sandbox, as `essaim join` has it, and what the tests ask of it after each attack.

use std::ffi::OsString;
use std::fs;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::Limits;
use essaim_worker::process::{Launch, ProcessConfig, Processes};
use essaim_worker::{Chunk, DataFile, Failure, Input, JobSpec, ProgramError, ProgramId, Report, Request, Role};
use tempfile::TempDir;

/// Far longer than anything here takes: a report that does not come fails the test, in time for people.
const PATIENCE: Duration = Duration::from_secs(240);
/// The most memory that a node may have after all that is done to it, bytes.
const NODE_BYTES: u64 = 256 << 20;

pub struct Node {
    processes: Processes,
    reports: Receiver<Vec<Report>>,
    pending: Vec<Report>,
    programs: u8,
    tickets: u64,
    _dir: TempDir,
}

impl Node {
    pub fn start() -> Node {
        Node::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ProcessConfig)) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let words = vec![OsString::from("sandbox-process")];
        let launch = Launch { program: env!("CARGO_BIN_EXE_essaim").into(), words };
        let mut config = ProcessConfig::new(launch, dir.path().join("compiled"));
        config.cpus = 1;
        change(&mut config);
        let (sender, reports) = sync_channel(4_096);
        let processes = Processes::new(config, move |reports| {
            let _ = sender.send(reports);
        });
        let processes = processes.unwrap();
        Node { processes, reports, pending: Vec::new(), programs: 0, tickets: 0, _dir: dir }
    }

    pub fn next(&mut self) -> Report {
        while self.pending.is_empty() {
            self.pending = self.reports.recv_timeout(PATIENCE).expect("no report came");
            self.pending.reverse();
        }
        self.pending.pop().unwrap()
    }

    /// Loads a program; the answer is the number of a job of it.
    pub fn load(&mut self, program: impl Into<Input>, limits: Limits) -> Result<u64, ProgramError> {
        self.load_with(program, limits, Vec::new())
    }

    /// Another job of the program of a job.
    pub fn job_of(&mut self, job: u64, data: Vec<DataFile>) -> u64 {
        let other = job + 1_000;
        let spec = JobSpec { data: data.into(), ..JobSpec::default() };
        self.processes.submit(Request::Job { job: other, program: id_of(job as u8), spec });
        other
    }

    /// As [`Node::load`], with files to read.
    pub fn load_with(
        &mut self,
        program: impl Into<Input>,
        limits: Limits,
        data: Vec<DataFile>,
    ) -> Result<u64, ProgramError> {
        self.programs += 1;
        let (id, job) = (id_of(self.programs), u64::from(self.programs));
        let spec = JobSpec { limits, data: data.into(), ..JobSpec::default() };
        self.processes.submit(Request::Load { program: id, bytes: program.into() });
        self.processes.submit(Request::Job { job, program: id, spec });
        loop {
            match self.next() {
                Report::Loaded { program } if program == id => return Ok(job),
                Report::Refused { program, error } if program == id => return Err(error),
                _ => {}
            }
        }
    }

    /// Runs a chunk of a job to its end.
    pub fn run(&mut self, job: u64, input: impl Into<Input>) -> Result<Bytes, Failure> {
        self.tickets += 1;
        let mine = self.tickets;
        let chunks = vec![Chunk { ticket: mine, chunk: 0, input: input.into() }];
        self.processes.submit(Request::Run { job, role: Role::Map, chunks });
        let mut whole = Vec::new();
        loop {
            match self.next() {
                Report::Part { ticket, at, bytes, .. } if ticket == mine => {
                    assert_eq!(at, whole.len() as u64, "a part out of turn");
                    whole.extend_from_slice(&bytes);
                }
                Report::Finished { ticket, output, .. } if ticket == mine => {
                    whole.extend_from_slice(&output);
                    return Ok(whole.into());
                }
                Report::Failed { ticket, failure, .. } if ticket == mine => return Err(failure),
                _ => {}
            }
        }
    }

    /// Runs chunks of a job that are submitted together; how each ended.
    pub fn run_all(&mut self, job: u64, inputs: &[&str]) -> Vec<Result<Bytes, Failure>> {
        let first = self.tickets + 1;
        self.tickets += inputs.len() as u64;
        let inputs = inputs.iter().map(|input| Bytes::copy_from_slice(input.as_bytes()).into());
        let chunks: Vec<Chunk> =
            (first..).zip(inputs).map(|(ticket, input)| Chunk { ticket, chunk: 0, input }).collect();
        let mut ended = vec![None; chunks.len()];
        self.processes.submit(Request::Run { job, role: Role::Map, chunks });
        while ended.contains(&None) {
            match self.next() {
                Report::Finished { ticket, output, .. } => ended[(ticket - first) as usize] = Some(Ok(output)),
                Report::Failed { ticket, failure, .. } => ended[(ticket - first) as usize] = Some(Err(failure)),
                _ => {}
            }
        }
        ended.into_iter().flatten().collect()
    }

    /// Has chunks of a job run on nothing, under tickets of the caller's choice.
    pub fn begin(&self, job: u64, tickets: impl IntoIterator<Item = u64>) {
        let chunks = tickets.into_iter().map(|ticket| Chunk { ticket, chunk: 0, input: Bytes::new().into() });
        self.processes.submit(Request::Run { job, role: Role::Map, chunks: chunks.collect() });
    }

    /// Stops chunks.
    pub fn stop(&self, tickets: impl IntoIterator<Item = u64>) {
        self.processes.submit(Request::Stop { tickets: tickets.into_iter().collect() });
    }

    /// Lets so many processes run.
    pub fn lend(&self, cpus: usize) {
        self.processes.lend(cpus);
    }

    /// Forgets the program of a job, and the job.
    pub fn forget(&mut self, job: u64) {
        self.processes.submit(Request::ForgetJob { job });
        self.processes.submit(Request::ForgetProgram { program: id_of(job as u8) });
    }

    /// The processes that run chunks.
    pub fn processes(&self) -> usize {
        self.processes.processes().len()
    }

    /// Runs a program on nothing; then sees that the node has come to no harm.
    pub fn attack(&mut self, program: &str, limits: Limits) -> Result<Bytes, Failure> {
        let job = self.load(program.to_owned(), limits).unwrap();
        let outcome = self.run(job, "");
        self.is_well();
        outcome
    }

    /// The next chunk is fine, and the node is not large.
    pub fn is_well(&mut self) {
        let echo = include_str!("../it/guests/echo.wat");
        let job = self.load(echo, Limits::default()).unwrap();
        assert_eq!(self.run(job, "still here").unwrap(), "still here\n");
        let resident = resident_bytes();
        assert!(resident < NODE_BYTES, "the node has {resident} bytes of memory");
    }
}

fn id_of(number: u8) -> ProgramId {
    ProgramId::plain([number; 32])
}

/// This process's memory. The tests of one process share it.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The usual limits, changed.
pub fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}
