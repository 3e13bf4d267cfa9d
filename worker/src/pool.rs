//! A queue of chunks and the threads that work through it: requests in, reports out.
//!
//! First come, first run, over all jobs. Chunks of a program that is still compiling wait aside. Reports are
//! gathered for about a millisecond, so that a chunk of some microseconds costs no wake-up; a chunk that lasts
//! is reported as started at the second turn of the epoch, and takes the reports waiting before it along.

use essaim_jobs::Role;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{Engine, Mode};
use crate::error::{EngineError, Failure, ProgramError, bounded};
use crate::gauge::Gauge;
use crate::input::Input;
use crate::limits::{OnTurn, StopFlag};
use crate::message::{Chunk, ProgramId, Report, Request};
use crate::meter::{Meter, Spent};
use crate::program::{Gave, PROGRAM_BYTES, Program};
use crate::room::Lanes;
use crate::sandbox::{ChunkSpec, JobSpec};

/// The most programs that are loaded or being compiled.
pub(crate) const PROGRAMS: usize = 256;
/// The most jobs that are known.
pub(crate) const JOBS: usize = 65_536;
/// The most chunks that wait.
pub(crate) const QUEUED: usize = 1 << 20;
/// Reports that are gathered at most, and for how long while chunks finish.
const REPORTS: usize = 256;
const REPORT_EVERY: Duration = Duration::from_millis(1);
/// Native stack of a thread that runs guests, which may use 1 MiB of it, or compiles, which recurses too.
const STACK_BYTES: usize = 8 << 20;

/// Threads that run chunks. When it is dropped, what waits is forgotten and what runs is stopped.
pub struct Pool {
    shared: Arc<Shared>,
    /// None where the only program there will be is compiled already.
    compiler: Option<SyncSender<(ProgramId, Input)>>,
}

struct Shared {
    /// One for each mode that was asked for.
    engines: Mutex<Vec<Engine>>,
    threads: rayon::ThreadPool,
    queue: Mutex<Queue>,
    /// One flag a thread, for the chunk it runs. Cleared and set with the queue locked.
    stops: Vec<StopFlag>,
    report: Box<dyn Fn(Vec<Report>) + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    /// What can be run, by memory limit.
    ready: Lanes<(), Item>,
    /// How many chunks wait for a program.
    held: usize,
    programs: HashMap<ProgramId, Loading>,
    jobs: HashMap<u64, (ProgramId, Arc<JobSpec>)>,
    /// The ticket that each thread runs, and the memory that it may have.
    running: Vec<Option<(u64, u64)>>,
    /// Threads that work, or are about to.
    active: usize,
}

impl Queue {
    /// The memory limit of the first chunk that may start.
    fn first_open(&self, now: Instant) -> Option<u64> {
        let running = self.running.iter().flatten().map(|(_, bytes)| *bytes);
        self.ready.open(running, 0, now).min_by_key(|lane| lane.first()).map(|lane| lane.bytes)
    }

    /// Takes that for a thread.
    fn take(&mut self, thread: usize) -> Option<Item> {
        let now = Instant::now();
        let bytes = self.first_open(now)?;
        let item = self.ready.pop((), bytes, now)?;
        self.running[thread] = Some((item.chunk.ticket, bytes));
        Some(item)
    }

    /// Removes a program; the answer is the tickets that waited for it.
    fn remove(&mut self, program: ProgramId) -> Vec<u64> {
        let held = self.programs.remove(&program).map(|loading| loading.held).unwrap_or_default();
        self.held -= count(&held);
        held.iter().flat_map(|held| &held.chunks).map(|chunk| chunk.ticket).collect()
    }
}

/// A program that is compiled, or being compiled.
#[derive(Default)]
struct Loading {
    program: Option<Program>,
    /// Whether its chunks may run: once it was reported as loaded.
    open: bool,
    /// Those that came before.
    held: Vec<Held>,
}

/// Chunks that wait for their program.
struct Held {
    spec: Arc<JobSpec>,
    role: Role,
    chunks: Vec<Chunk>,
}

/// A chunk that can be run, and what it has in common with others.
struct Item {
    work: Arc<Work>,
    chunk: Chunk,
}

struct Work {
    program: Program,
    spec: Arc<JobSpec>,
    role: Role,
}

impl Pool {
    /// Starts `threads` threads (at least one), and one that compiles. Reports are given to `report` in batches,
    /// from several threads at a time; while it blocks, so does the thread.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn new(
        engine: Engine,
        threads: usize,
        report: impl Fn(Vec<Report>) + Send + Sync + 'static,
    ) -> Result<Pool, EngineError> {
        let shared = Shared::new(engine, threads, report)?;
        let (compiler, programs) = sync_channel(PROGRAMS);
        std::thread::Builder::new()
            .name("essaim-compile".to_owned())
            .spawn({
                let shared = shared.clone();
                move || shared.compile_all(&programs)
            })
            .map_err(|e| EngineError::Thread { message: bounded(e) })?;
        Ok(Pool { shared, compiler: Some(compiler) })
    }

    /// One thread for one program, which is compiled already. After this no thread is made.
    pub(crate) fn of_one(
        engine: Engine,
        id: ProgramId,
        program: &Program,
        report: impl Fn(Vec<Report>) + Send + Sync + 'static,
    ) -> Result<Pool, EngineError> {
        let shared = Shared::new(engine, 1, report)?;
        let loading = Loading { program: Some(program.clone()), open: true, held: Vec::new() };
        shared.queue().programs.insert(id, loading);
        Ok(Pool { shared, compiler: None })
    }

    /// Takes a request. It waits for a short lock and for `report` at most; all answers come as reports.
    pub fn submit(&self, request: Request) {
        match request {
            Request::Load { program, bytes } => self.load(program, bytes),
            Request::Job { job, program, spec } => {
                let mut queue = self.shared.queue();
                // One job too many stays unknown: its chunks fail as not loaded.
                if queue.jobs.len() < JOBS || queue.jobs.contains_key(&job) {
                    queue.jobs.insert(job, (program, Arc::new(spec)));
                }
            }
            Request::Run { job, role, chunks } => self.shared.run(job, role, chunks),
            Request::Stop { tickets } => self.shared.stop(&tickets.into_iter().collect()),
            Request::ForgetJob { job } => {
                self.shared.queue().jobs.remove(&job);
            }
            Request::ForgetProgram { program } => self.shared.forget(program),
        }
    }

    fn load(&self, program: ProgramId, bytes: Input) {
        let mut queue = self.shared.queue();
        let answer = match queue.programs.get(&program) {
            Some(Loading { program: None, .. }) => return,
            Some(Loading { program: Some(_), .. }) => Report::Loaded { program },
            None => {
                let send = |compiler: &SyncSender<_>| compiler.try_send((program, bytes)).is_ok();
                if queue.programs.len() < PROGRAMS && self.compiler.as_ref().is_some_and(send) {
                    queue.programs.insert(program, Loading::default());
                    return;
                }
                Report::Refused { program, error: ProgramError::TooMany { most: PROGRAMS as u64 } }
            }
        };
        drop(queue);
        (self.shared.report)(vec![answer]);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.ready.clear();
        queue.programs.clear();
        self.shared.stops.iter().for_each(StopFlag::stop);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.queue();
        f.debug_struct("Pool")
            .field("threads", &self.shared.stops.len())
            .field("waiting", &(queue.ready.len() + queue.held))
            .field("running", &queue.running.iter().flatten().count())
            .finish()
    }
}

impl Shared {
    fn new(
        engine: Engine,
        threads: usize,
        report: impl Fn(Vec<Report>) + Send + Sync + 'static,
    ) -> Result<Arc<Shared>, EngineError> {
        let threads = threads.max(1);
        let total_bytes = engine.0.config.total_bytes;
        Ok(Arc::new(Shared {
            engines: Mutex::new(vec![engine]),
            threads: rayon_pool("essaim-run", threads)?,
            queue: Mutex::new(Queue {
                ready: Lanes::new(total_bytes),
                running: vec![None; threads],
                ..Queue::default()
            }),
            stops: (0..threads).map(|_| StopFlag::default()).collect(),
            report: Box::new(report),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, job: u64, role: Role, chunks: Vec<Chunk>) {
        let mut queue = self.queue();
        let failure = 'queued: {
            if queue.ready.len() + queue.held + chunks.len() > QUEUED {
                break 'queued Failure::QueueFull { most: QUEUED as u64 };
            }
            let Some((program, spec)) = queue.jobs.get(&job).cloned() else {
                break 'queued Failure::NotLoaded;
            };
            let count = chunks.len();
            match queue.programs.get_mut(&program) {
                None => break 'queued Failure::NotLoaded,
                Some(Loading { program: Some(ready), open: true, .. }) => {
                    let program = ready.clone();
                    self.enqueue(&mut queue, program, Held { spec, role, chunks });
                }
                Some(loading) => {
                    loading.held.push(Held { spec, role, chunks });
                    queue.held += count;
                }
            }
            return;
        };
        drop(queue);
        self.fail(chunks.into_iter().map(|chunk| chunk.ticket), &failure);
    }

    /// Queues chunks whose program is there, and sees that threads are at work.
    fn enqueue(self: &Arc<Self>, queue: &mut Queue, program: Program, held: Held) {
        let work = Arc::new(Work { program, spec: held.spec, role: held.role });
        // More than this machine gives one chunk it does not get.
        let bytes = work.spec.limits.memory_bytes.min(work.program.host_memory_bytes());
        for chunk in held.chunks {
            queue.ready.push((), bytes, Item { work: work.clone(), chunk });
        }
        let wanted = queue.ready.len().min(self.stops.len() - queue.active);
        queue.active += wanted;
        for _ in 0..wanted {
            let shared = self.clone();
            self.threads.spawn(move || shared.drain());
        }
    }

    /// Drops those that wait, interrupts those that run.
    fn stop(&self, tickets: &HashSet<u64>) {
        let mut queue = self.queue();
        let mut stopped = Vec::new();
        let mut keep = |chunk: &Chunk| {
            let keep = !tickets.contains(&chunk.ticket);
            if !keep {
                stopped.push(chunk.ticket);
            }
            keep
        };
        queue.ready.retain(|item| keep(&item.chunk));
        let mut held_now = 0;
        for held in queue.programs.values_mut().flat_map(|loading| &mut loading.held) {
            held.chunks.retain(&mut keep);
            held_now += held.chunks.len();
        }
        queue.held = held_now;
        for (running, stop) in queue.running.iter().zip(&self.stops) {
            if running.is_some_and(|(ticket, _)| tickets.contains(&ticket)) {
                stop.stop();
            }
        }
        drop(queue);
        self.fail(stopped, &Failure::Stopped);
    }

    fn forget(&self, program: ProgramId) {
        let mut queue = self.queue();
        let held = queue.remove(program);
        drop(queue);
        self.fail(held, &Failure::NotLoaded);
    }

    /// Reports chunks that never ran.
    fn fail(&self, tickets: impl IntoIterator<Item = u64>, failure: &Failure) {
        let reports: Vec<Report> = tickets
            .into_iter()
            .map(|ticket| Report::Failed { ticket, failure: failure.clone(), cpu_micros: 0, wall_micros: 0 })
            .collect();
        if !reports.is_empty() {
            (self.report)(reports);
        }
    }

    /// Compiles programs one after the other, each on as many threads as there are to run chunks. The threads
    /// are made anew each time: they would be idle but for some seconds, and chunks must not wait for them.
    fn compile_all(self: &Arc<Self>, programs: &Receiver<(ProgramId, Input)>) {
        while let Ok((program, bytes)) = programs.recv() {
            let compiled = catch_unwind(AssertUnwindSafe(|| match rayon_pool("essaim-compile", self.stops.len()) {
                Ok(threads) => threads.install(|| self.compile(program.mode, &bytes)),
                Err(_) => self.compile(program.mode, &bytes),
            }))
            .unwrap_or_else(|_| Err(ProgramError::Compile { message: "the compiler panicked".to_owned() }));

            match compiled {
                Ok(ready) => self.open(program, &ready),
                Err(error) => self.refuse(program, error),
            }
        }
    }

    fn compile(&self, mode: Mode, bytes: &Input) -> Result<Program, ProgramError> {
        if bytes.len() > PROGRAM_BYTES {
            return Err(ProgramError::TooLarge { bytes: bytes.len(), most: PROGRAM_BYTES });
        }
        let bytes = bytes.bytes().map_err(|e| ProgramError::Host { message: bounded(e) })?;
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match engines.iter().find(|engine| engine.mode() == mode) {
            Some(engine) => engine.clone(),
            None => {
                let engine = engines[0].in_mode(mode).map_err(|e| ProgramError::Host { message: e.to_string() })?;
                engines.push(engine.clone());
                engine
            }
        };
        drop(engines);
        engine.load(&bytes)
    }

    /// Forgets a program that cannot be run, and says so of it and of the chunks that waited for it.
    fn refuse(&self, program: ProgramId, error: ProgramError) {
        let mut queue = self.queue();
        if queue.programs.get(&program).is_none_or(|loading| loading.program.is_some()) {
            return;
        }
        let held = queue.remove(program);
        drop(queue);
        (self.report)(vec![Report::Refused { program, error }]);
        self.fail(held, &Failure::NotLoaded);
    }

    /// Tells that a program is there and lets the chunks run that waited for it, in this order.
    fn open(self: &Arc<Self>, program: ProgramId, ready: &Program) {
        match self.queue().programs.get_mut(&program) {
            Some(loading) if loading.program.is_none() => loading.program = Some(ready.clone()),
            // Forgotten, or forgotten and loaded again.
            _ => return,
        }
        (self.report)(vec![Report::Loaded { program }]);
        let mut queue = self.queue();
        let Some(loading) = queue.programs.get_mut(&program).filter(|loading| loading.program.is_some()) else {
            return;
        };
        loading.open = true;
        let held = std::mem::take(&mut loading.held);
        queue.held -= count(&held);
        for held in held {
            self.enqueue(&mut queue, ready.clone(), held);
        }
    }

    /// What a thread does while there are chunks.
    fn drain(self: Arc<Self>) {
        let Some(me) = rayon::current_thread_index() else {
            return;
        };
        let outbox = Arc::new(Outbox { shared: self.clone(), pending: Mutex::default(), gauge: Gauge::default() });
        let on_turn: OnTurn = {
            let outbox = outbox.clone();
            Arc::new(move || outbox.turn())
        };
        let mut meter = Meter::start();
        let mut sent = meter.read_at();
        while let Some(Item { work, chunk: Chunk { ticket, chunk, input } }) = self.next(me) {
            outbox.begin(ticket);
            let chunk = ChunkSpec { role: work.role, chunk };
            let (on_turn, gauge) = (Some(on_turn.clone()), outbox.gauge.clone());
            let result = work.program.execute(&work.spec, chunk, input, &self.stops[me], on_turn, gauge);
            let Spent { cpu_micros, wall_micros } = meter.lap();
            let due = meter.read_at() - sent >= REPORT_EVERY;
            let report = match result {
                Ok(Gave { output, fuel, .. }) => Report::Finished { ticket, output, cpu_micros, wall_micros, fuel },
                Err(failure) => Report::Failed { ticket, failure, cpu_micros, wall_micros },
            };
            if outbox.end(report) >= REPORTS || due {
                outbox.send();
                sent = Instant::now();
            }
        }
        outbox.send();
    }

    /// The next chunk for a thread; none when it may go, for there is nothing to run, or no memory to run it in.
    fn next(self: &Arc<Self>, me: usize) -> Option<Item> {
        let mut queue = self.queue();
        queue.running[me] = None;
        let item = queue.take(me);
        match item {
            Some(_) => self.stops[me].clear(),
            None => queue.active -= 1,
        }
        // Of those that had gone for want of memory one may find some now; it calls the next.
        let coming = queue.active - queue.running.iter().flatten().count();
        if queue.active < self.stops.len() && queue.ready.len() > coming && queue.first_open(Instant::now()).is_some() {
            queue.active += 1;
            let shared = Arc::clone(self);
            self.threads.spawn(move || shared.drain());
        }
        item
    }
}

/// The reports of one thread that were not sent yet.
struct Outbox {
    shared: Arc<Shared>,
    pending: Mutex<Pending>,
    /// How far is what runs.
    gauge: Gauge,
}

#[derive(Default)]
struct Pending {
    reports: Vec<Report>,
    /// What runs and was not reported as started, and whether the epoch has turned since it began.
    unannounced: Option<(u64, bool)>,
    /// What runs.
    running: Option<u64>,
}

impl Outbox {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, ticket: u64) {
        // What the last one said may not have been asked for.
        self.gauge.take();
        let mut pending = self.pending();
        (pending.unannounced, pending.running) = (Some((ticket, false)), Some(ticket));
    }

    /// Adds the report of what ran; the answer is how many are waiting.
    fn end(&self, report: Report) -> usize {
        let mut pending = self.pending();
        (pending.unannounced, pending.running) = (None, None);
        pending.reports.push(report);
        pending.reports.len()
    }

    /// The epoch turned while a chunk runs.
    fn turn(&self) {
        let mut pending = self.pending();
        // The first turn may come right after it has begun: only the second tells that it takes longer than one.
        match pending.unannounced.take() {
            Some((ticket, true)) => pending.reports.push(Report::Started { ticket }),
            unannounced => pending.unannounced = unannounced.map(|(ticket, _)| (ticket, true)),
        }
        if let Some(ticket) = pending.running.filter(|_| pending.unannounced.is_none()) {
            pending.reports.extend(self.gauge.take().map(|percent| Report::Progress { ticket, percent }));
        }
        drop(pending);
        self.send();
    }

    fn send(&self) {
        let reports = std::mem::take(&mut self.pending().reports);
        if !reports.is_empty() {
            (self.shared.report)(reports);
        }
    }
}

/// How many chunks wait.
fn count(held: &[Held]) -> usize {
    held.iter().map(|held| held.chunks.len()).sum()
}

fn rayon_pool(name: &'static str, threads: usize) -> Result<rayon::ThreadPool, EngineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK_BYTES)
        .thread_name(move |i| format!("{name}-{i}"))
        .build()
        .map_err(|e| EngineError::Thread { message: bounded(e) })
}
