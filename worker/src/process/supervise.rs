//! The node's side: which chunk goes to which process. Each process has a [`seat`], a thread of the node's
//! that feeds it and listens to it; all take from one queue.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::process::Child;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ProcessConfig;
use super::cache::Cache;
use super::compile::{self, Cancel};
use super::seat::{self, SHORT_MICROS};
use essaim_jobs::Role;

use crate::error::{EngineError, Failure, ProgramError, bounded};
use crate::input::Input;
use crate::message::{Chunk, ProgramId, Report, Request};
use crate::pool::{JOBS, PROGRAMS, QUEUED};
use crate::room::Lanes;
use crate::sandbox::JobSpec;

/// Programs compiled at the same time: one that takes long does not hold up the others.
const COMPILERS: usize = 3;
/// How long a seat goes on with its program while chunks of others wait.
const TURN: Duration = Duration::from_secs(1);
/// What goes to a process at once takes about so long, and has so many bytes and chunks at most.
const BATCH_MICROS: u64 = 2_000;
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_CHUNKS: u64 = 256;

/// Runs chunks, each in a process that can do nothing else. When it is dropped, all of it ends.
pub struct Processes {
    shared: Arc<Shared>,
    compiler: SyncSender<(ProgramId, Input, Cancel)>,
}

pub(super) struct Shared {
    pub(super) config: ProcessConfig,
    pub(super) cache: Cache,
    queue: Mutex<Queue>,
    changed: Condvar,
    report: Box<dyn Fn(Vec<Report>) + Send + Sync>,
}

#[derive(Default)]
pub(super) struct Queue {
    programs: HashMap<ProgramId, Loading>,
    jobs: HashMap<u64, (ProgramId, Arc<JobSpec>)>,
    /// What can be run, by program and memory limit.
    ready: Lanes<ProgramId, Item>,
    /// The most memory that this machine gives one chunk, bytes.
    memory_bytes: u64,
    waiting: usize,
    pub(super) seats: Vec<Seat>,
    pub(super) quit: bool,
}

/// A program that is compiled, or being compiled.
struct Loading {
    compiled: Option<Arc<File>>,
    cancel: Cancel,
    /// What waits for it.
    held: Vec<Item>,
}

/// A chunk, and what it takes to run it.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) job: u64,
    pub(super) spec: Arc<JobSpec>,
    pub(super) role: Role,
    pub(super) chunk: Chunk,
    /// To be given to a process by itself: among those with which one died.
    pub(super) alone: bool,
}

impl Item {
    /// What it may have on a machine that gives one chunk so much.
    fn bytes(&self, most: u64) -> u64 {
        self.spec.limits.memory_bytes.min(most)
    }
}

/// What others must know of a seat.
#[derive(Default)]
pub(super) struct Seat {
    /// Whether its process may run; else it is stopped.
    pub(super) lent: bool,
    pub(super) child: Option<Child>,
    /// What its process was given and has not answered, oldest first.
    pub(super) window: VecDeque<Item>,
    /// The most memory that any of these may have, bytes: it runs one after the other.
    bytes: u64,
    /// What it has been running for more than a moment.
    pub(super) started: Option<u64>,
    /// Why its process was ended, and by which chunk's fault.
    pub(super) doomed: Option<(u64, Failure)>,
    /// Nobody waits for these any more.
    pub(super) unwanted: HashSet<u64>,
    /// These were asked back, to be run elsewhere.
    pub(super) recalled: HashSet<u64>,
}

/// What a seat is to do next.
pub(super) enum Next {
    /// To have this run.
    Run(Batch),
    /// To end its process: nobody knows its program any more.
    End,
    /// To go: all is over.
    Go,
}

/// Chunks of one program and job for a process.
pub(super) struct Batch {
    pub(super) program: ProgramId,
    pub(super) compiled: Arc<File>,
    pub(super) job: u64,
    pub(super) spec: Arc<JobSpec>,
    pub(super) role: Role,
    pub(super) chunks: Vec<Chunk>,
}

impl Seat {
    /// The memory that its process may take now, bytes.
    fn taken(&self) -> u64 {
        if self.window.is_empty() { 0 } else { self.bytes }
    }

    /// Ends its process, for the sake of one chunk.
    pub(super) fn doom(&mut self, ticket: u64, failure: Failure) {
        if self.doomed.is_none()
            && let Some(child) = &mut self.child
        {
            self.doomed = Some((ticket, failure));
            // One that has ended by itself needs no more.
            let _ = child.kill();
        }
    }

    /// Lets its process run, or stops it where it is.
    fn signal(&mut self) {
        let signal = if self.lent { Signal::CONT } else { Signal::STOP };
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // Not waited for yet, so that the number is still its own; and it is ours to signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    pub(super) fn sit(&mut self, child: Child) {
        self.child = Some(child);
        if !self.lent {
            self.signal();
        }
    }
}

impl Processes {
    /// Starts the threads that look after the processes; the processes come when there is something to run. Reports
    /// are given to `report` in batches, from several threads at a time; while it blocks, so does the thread.
    ///
    /// # Errors
    /// When there are no threads to be had, or the folder for compiled programs cannot be used.
    pub fn new(
        mut config: ProcessConfig,
        report: impl Fn(Vec<Report>) + Send + Sync + 'static,
    ) -> Result<Processes, EngineError> {
        let seats = config.cpus.max(1);
        config.memory_bytes = config.memory_bytes.min(config.total_bytes);
        let cache = Cache::open(&config.cache, config.cache_bytes)
            .map_err(|e| EngineError::Cache { message: bounded(format!("{}: {e}", config.cache.display())) })?;
        let queue = Queue {
            ready: Lanes::new(config.total_bytes),
            memory_bytes: config.memory_bytes,
            seats: (0..seats).map(|_| Seat { lent: true, ..Seat::default() }).collect(),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            config,
            cache,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            report: Box::new(report),
        });
        let thread = |name: String, work: Box<dyn FnOnce() + Send>| {
            let started = std::thread::Builder::new().name(name).spawn(work);
            started.map(|_| ()).map_err(|e| EngineError::Thread { message: bounded(e) })
        };
        for number in 0..seats {
            let shared = Arc::clone(&shared);
            thread(format!("essaim-seat-{number}"), Box::new(move || seat::serve(&shared, number)))?;
        }
        let (compiler, programs) = sync_channel(PROGRAMS);
        let programs = Arc::new(Mutex::new(programs));
        for number in 0..COMPILERS {
            let (shared, programs) = (Arc::clone(&shared), Arc::clone(&programs));
            thread(format!("essaim-compile-{number}"), Box::new(move || shared.compile_all(&programs)))?;
        }
        Ok(Processes { shared, compiler })
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

    /// Lets so many processes run from now on and stops the others where they are, within milliseconds; those that
    /// are in the middle of a chunk go on first.
    pub fn lend(&self, cpus: usize) {
        let mut queue = self.shared.queue();
        let mut order: Vec<usize> = (0..queue.seats.len()).collect();
        order.sort_by_key(|&seat| (queue.seats[seat].window.is_empty(), !queue.seats[seat].lent));
        for (rank, seat) in order.into_iter().enumerate() {
            let seat = &mut queue.seats[seat];
            if seat.lent != (rank < cpus) {
                seat.lent = rank < cpus;
                seat.signal();
            }
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// The numbers of the processes that run chunks.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.shared.queue().seats.iter().filter_map(|seat| Some(seat.child.as_ref()?.id())).collect()
    }

    fn load(&self, program: ProgramId, bytes: Input) {
        let mut queue = self.shared.queue();
        let answer = match queue.programs.get(&program) {
            Some(Loading { compiled: None, .. }) => return,
            Some(Loading { compiled: Some(_), .. }) => Report::Loaded { program },
            None => {
                let cancel = Cancel::default();
                if queue.programs.len() < PROGRAMS && self.compiler.try_send((program, bytes, cancel.clone())).is_ok() {
                    queue.programs.insert(program, Loading { compiled: None, cancel, held: Vec::new() });
                    return;
                }
                Report::Refused { program, error: ProgramError::TooMany { most: PROGRAMS as u64 } }
            }
        };
        drop(queue);
        self.shared.report(vec![answer]);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.quit = true;
        queue.ready.clear();
        queue.programs.drain().for_each(|(_, loading)| loading.cancel.cancel());
        for seat in &mut queue.seats {
            if let Some(child) = &mut seat.child {
                // One that has ended by itself needs no more.
                let _ = child.kill();
            }
        }
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.queue();
        f.debug_struct("Processes")
            .field("seats", &queue.seats.len())
            .field("waiting", &queue.waiting)
            .field("running", &queue.seats.iter().filter(|seat| !seat.window.is_empty()).count())
            .finish()
    }
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, reports: Vec<Report>) {
        if !reports.is_empty() {
            (self.report)(reports);
        }
    }

    fn run(&self, job: u64, role: Role, chunks: Vec<Chunk>) {
        let mut queue = self.queue();
        let failure = if queue.waiting + chunks.len() > QUEUED {
            Failure::QueueFull { most: QUEUED as u64 }
        } else if let Some((program, spec)) =
            queue.jobs.get(&job).cloned().filter(|(program, _)| queue.programs.contains_key(program))
        {
            let items =
                chunks.into_iter().map(|chunk| Item { job, spec: Arc::clone(&spec), role, chunk, alone: false });
            queue.push(program, items);
            drop(queue);
            return self.changed.notify_all();
        } else {
            Failure::NotLoaded
        };
        drop(queue);
        self.report(chunks.into_iter().map(|chunk| failed(chunk.ticket, failure.clone())).collect());
    }

    /// Drops those that wait, and ends those that run.
    fn stop(&self, tickets: &HashSet<u64>) {
        let mut queue = self.queue();
        let mut stopped = Vec::new();
        let mut keep = |item: &Item| {
            let keep = !tickets.contains(&item.chunk.ticket);
            if !keep {
                stopped.push(failed(item.chunk.ticket, Failure::Stopped));
            }
            keep
        };
        queue.ready.retain(&mut keep);
        queue.programs.values_mut().for_each(|loading| loading.held.retain(&mut keep));
        queue.waiting -= stopped.len();
        for seat in &mut queue.seats {
            let given: Vec<u64> =
                seat.window.iter().map(|item| item.chunk.ticket).filter(|ticket| tickets.contains(ticket)).collect();
            for ticket in given {
                if seat.started == Some(ticket) {
                    seat.doom(ticket, Failure::Stopped);
                } else {
                    seat.unwanted.insert(ticket);
                }
            }
        }
        drop(queue);
        // What memory was kept for may be among them.
        self.changed.notify_all();
        self.report(stopped);
    }

    fn forget(&self, program: ProgramId) {
        let mut queue = self.queue();
        let Some(loading) = queue.programs.remove(&program) else { return };
        loading.cancel.cancel();
        queue.waiting -= loading.held.len();
        // Those that could run lose what they need to: the compiled program.
        let lost = queue.ready.remove(program);
        queue.waiting -= lost.len();
        drop(queue);
        self.changed.notify_all();
        let lost = loading.held.into_iter().chain(lost);
        self.report(lost.map(|item| failed(item.chunk.ticket, Failure::NotLoaded)).collect());
    }

    fn compile_all(&self, programs: &Mutex<Receiver<(ProgramId, Input, Cancel)>>) {
        loop {
            let next = programs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((program, bytes, cancel)) = next else { return };
            let compiled = compile::compile(&self.config, &self.cache, program, &bytes, &cancel);
            let mut queue = self.queue();
            // It may have been forgotten meanwhile.
            let Some(loading) = queue.programs.get_mut(&program).filter(|loading| loading.compiled.is_none()) else {
                continue;
            };
            match compiled {
                Ok(file) => {
                    loading.compiled = Some(Arc::new(file));
                    let held = std::mem::take(&mut loading.held);
                    queue.waiting -= held.len();
                    queue.push(program, held);
                    drop(queue);
                    self.report(vec![Report::Loaded { program }]);
                    self.changed.notify_all();
                }
                Err(error) => {
                    let held = queue.programs.remove(&program).map(|loading| loading.held).unwrap_or_default();
                    queue.waiting -= held.len();
                    drop(queue);
                    self.report(vec![Report::Refused { program, error }]);
                    self.report(held.iter().map(|item| failed(item.chunk.ticket, Failure::NotLoaded)).collect());
                }
            }
        }
    }

    /// What a seat is to do next; waits for it.
    pub(super) fn take(&self, seat: usize, current: Option<ProgramId>, since: Instant, micros: u64) -> Next {
        let mut queue = self.queue();
        if !queue.ready.is_empty() {
            // What this seat has had no memory for since may fit beside the others' now.
            self.changed.notify_all();
        }
        loop {
            if queue.quit {
                return Next::Go;
            }
            if current.is_some_and(|program| !queue.programs.contains_key(&program)) {
                return Next::End;
            }
            if let Some(batch) = queue.next(seat, current, since, micros) {
                return Next::Run(batch);
            }
            queue.pass_on(seat);
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As `take`, of the current program, without waiting.
    pub(super) fn take_more(&self, seat: usize, current: ProgramId, since: Instant, micros: u64) -> Option<Batch> {
        let mut queue = self.queue();
        // A batch of another program is for another process.
        let of_current = queue.choose(seat, Some(current), since).filter(|(program, _)| *program == current);
        let (program, bytes) = of_current.filter(|_| !queue.quit)?;
        queue.cut(seat, program, bytes, micros)
    }

    /// Gives back what a process was given and did not run.
    pub(super) fn give_back(&self, program: ProgramId, items: Vec<Item>) {
        let mut queue = self.queue();
        if queue.programs.contains_key(&program) {
            queue.push_front(program, items);
            drop(queue);
            return self.changed.notify_all();
        }
        drop(queue);
        self.report(items.iter().map(|item| failed(item.chunk.ticket, Failure::NotLoaded)).collect());
    }
}

impl Queue {
    /// Queues chunks of a program that is known.
    fn push(&mut self, program: ProgramId, items: impl IntoIterator<Item = Item>) {
        let mut loading = self.programs.get_mut(&program).filter(|loading| loading.compiled.is_none());
        for item in items {
            self.waiting += 1;
            match &mut loading {
                Some(loading) => loading.held.push(item),
                None => self.ready.push(program, item.bytes(self.memory_bytes), item),
            }
        }
    }

    fn push_front(&mut self, program: ProgramId, items: Vec<Item>) {
        self.waiting += items.len();
        for item in items.into_iter().rev() {
            self.ready.push_front(program, item.bytes(self.memory_bytes), item);
        }
    }

    /// A seat that has nothing to do gives its turn to one that was stopped in the middle of something; which may be
    /// what holds the memory for all that waits.
    fn pass_on(&mut self, seat: usize) {
        if self.seats[seat].lent
            && let Some(stopped) = self.seats.iter_mut().find(|seat| !seat.lent && !seat.window.is_empty())
        {
            stopped.lent = true;
            stopped.signal();
            self.seats[seat].lent = false;
            self.seats[seat].signal();
        }
    }

    /// A batch for a seat, where a chunk takes `micros`.
    fn next(&mut self, seat: usize, current: Option<ProgramId>, since: Instant, micros: u64) -> Option<Batch> {
        let (program, bytes) = self.choose(seat, current, since)?;
        self.cut(seat, program, bytes, micros)
    }

    /// Of what a seat is to have a batch, by program and memory limit: of its program, unless others have waited for a
    /// turn; of those the one that has waited longest; and only what there is memory for.
    fn choose(&self, seat: usize, current: Option<ProgramId>, since: Instant) -> Option<(ProgramId, u64)> {
        let Seat { lent: true, .. } = &self.seats[seat] else { return None };
        let others = self.seats.iter().enumerate().filter(|(other, _)| *other != seat).map(|(_, other)| other.taken());
        let open: Vec<_> = self.ready.open(others, self.seats[seat].taken(), Instant::now()).collect();
        let own = open.iter().filter(|lane| Some(lane.kind) == current).min_by_key(|lane| lane.first());
        let other = open.iter().filter(|lane| Some(lane.kind) != current).min_by_key(|lane| lane.served());
        let lane = match (own, other) {
            (Some(_), Some(other)) if since.elapsed() > TURN => other,
            (Some(own), _) => own,
            (None, other) => other?,
        };
        Some((lane.kind, lane.bytes))
    }

    /// A batch for a seat, as much as takes a while.
    fn cut(&mut self, seat: usize, program: ProgramId, memory: u64, micros: u64) -> Option<Batch> {
        let compiled = self.programs.get(&program)?.compiled.clone()?;
        let now = Instant::now();
        // No more than a share of what there is, so that the others have something too.
        let share = (self.ready.count(program) as u64).div_ceil(2 * self.seats.len() as u64);
        let first = self.ready.pop(program, memory, now)?;
        let most = BATCH_MICROS.checked_div(micros).unwrap_or(1).clamp(1, BATCH_CHUNKS);
        // A process has the next one before it is through with a short one.
        let is_idle = self.seats[seat].window.is_empty();
        let least = if is_idle && (1..SHORT_MICROS).contains(&micros) { 2 } else { 1 };
        let most = most.max(least).min(share.max(1));
        let mut bytes = first.chunk.input.len();
        let mut taken = vec![first];
        // One that comes with a file goes by itself.
        let single = |item: &Item| item.alone || item.chunk.input.stretch().is_some();
        while (taken.len() as u64) < most && !single(&taken[0]) {
            let fits = |item: &Item| {
                let alike = item.job == taken[0].job && item.role == taken[0].role && !single(item);
                alike && bytes + item.chunk.input.len() <= BATCH_BYTES
            };
            let Some(item) = self.ready.pop_if(program, memory, now, fits) else { break };
            bytes += item.chunk.input.len();
            taken.push(item);
        }
        self.waiting -= taken.len();
        let Item { job, ref spec, role, .. } = taken[0];
        let spec = Arc::clone(spec);
        let chunks = taken.iter().map(|item| item.chunk.clone()).collect();
        let chair = &mut self.seats[seat];
        chair.bytes = chair.taken().max(memory);
        chair.window.extend(taken);
        Some(Batch { program, compiled, job, spec, role, chunks })
    }
}

/// The report of a chunk that did not run.
pub(super) fn failed(ticket: u64, failure: Failure) -> Report {
    Report::Failed { ticket, failure, cpu_micros: 0, wall_micros: 0 }
}
