//! Turns the pool's reports into what the core understands, on the pool's own threads: outputs are hashed and
//! stored there, so that the event loop only passes names on.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{FailureNote, Leaf, bounds};
use essaim_worker::{Failure, ProgramError, ProgramId, Report};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::feed::of_ticket;
use crate::store::{Blobs, Coming};

/// Batches of reports that may wait for the event loop before the pool's threads do.
const WAITING: usize = 4_096;

/// How often an output is tried to be kept on a disk that is full, and the pause between two tries.
const ROOM_TRIES: u32 = 60;
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// How the note of an output begins for which there is no room.
pub const UNKEPT: &str = "the worker cannot keep the output";
/// What the owner of the machine can do about it.
const HINT: &str = "hint: make room on its disk, or choose another with --home DIR";

/// What the pool has done, slots instead of tickets.
pub enum Done {
    Loaded { program: ProgramId },
    Refused { program: ProgramId, error: ProgramError },
    Started { number: u32, slot: u32 },
    Finished { number: u32, results: Vec<(u32, Leaf)>, cpu_micros: u64, wall_micros: u64 },
}

/// What has finished of one job, in one batch of reports.
#[derive(Default)]
struct Finished {
    results: Vec<(u32, Leaf)>,
    cpu_micros: u64,
    wall_micros: u64,
}

/// How far the chunks are whose programs say so, by ticket, from 0 to 100: at most one a thread of the pool.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<BTreeMap<u64, u8>>>);

impl Gauges {
    /// Those of the job with this number in the pool.
    pub fn of(&self, number: u32) -> Vec<u8> {
        let all = self.lock();
        all.iter().filter(|(ticket, _)| of_ticket(**ticket).0 == number).map(|(_, percent)| *percent).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool's listener.
pub struct Reporter {
    blobs: Arc<Blobs>,
    /// Outputs of which parts have come, by ticket: at most one a process. None of one that could not be kept, and why.
    coming: Mutex<BTreeMap<u64, Result<Coming, FailureNote>>>,
    gauges: Gauges,
    /// Why there is no room for outputs, while that is so.
    trouble: watch::Sender<Option<String>>,
    sender: mpsc::Sender<Vec<Done>>,
}

impl Reporter {
    /// What it has to say, and what is wrong with its disk. It keeps `gauges` up to date.
    pub fn new(
        blobs: Arc<Blobs>,
        gauges: Gauges,
    ) -> (Reporter, mpsc::Receiver<Vec<Done>>, watch::Receiver<Option<String>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (trouble, watching) = watch::channel(None);
        (Reporter { blobs, coming: Mutex::default(), gauges, trouble, sender }, receiver, watching)
    }

    /// Takes a batch of reports; blocks a thread of the pool while the event loop is behind.
    pub fn take(&self, reports: Vec<Report>) {
        let mut done = Vec::new();
        let mut finished = BTreeMap::<u32, Finished>::new();
        let mut finish = |ticket, leaf, cpu, wall| {
            let (number, slot) = of_ticket(ticket);
            let finished = finished.entry(number).or_default();
            finished.results.push((slot, leaf));
            finished.cpu_micros += cpu;
            finished.wall_micros += wall;
        };
        for report in reports {
            match report {
                Report::Loaded { program } => done.push(Done::Loaded { program }),
                Report::Refused { program, error } => done.push(Done::Refused { program, error }),
                Report::Started { ticket } => {
                    let (number, slot) = of_ticket(ticket);
                    done.push(Done::Started { number, slot });
                }
                Report::Progress { ticket, percent } => {
                    self.gauges.lock().insert(ticket, percent.min(100));
                }
                Report::Part { ticket, at, len, bytes } => self.take_part(ticket, at, len, &bytes),
                Report::Finished { ticket, output, cpu_micros, wall_micros, .. } => {
                    self.gauges.lock().remove(&ticket);
                    let leaf = match self.coming().remove(&ticket) {
                        Some(coming) => self.keep_last(coming, &output),
                        None => self.keep(&output),
                    };
                    finish(ticket, leaf, cpu_micros, wall_micros);
                }
                Report::Failed { ticket, failure, cpu_micros, wall_micros } => {
                    self.gauges.lock().remove(&ticket);
                    self.drop_parts(ticket);
                    // Nobody waits for what was stopped.
                    if let Failure::Stopped = failure {
                        continue;
                    }
                    finish(ticket, Leaf::Failed(note(&failure)), cpu_micros, wall_micros);
                }
            }
        }
        for (number, Finished { results, cpu_micros, wall_micros }) in finished {
            debug!(number, slots = ?results.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), "ran");
            done.push(Done::Finished { number, results, cpu_micros, wall_micros });
        }
        // An answer to a request that needs no thread comes on the event loop's own, which must not block.
        if tokio::runtime::Handle::try_current().is_ok() {
            let _ = self.sender.try_send(done);
        } else {
            let _ = self.sender.blocking_send(done);
        }
    }

    /// The leaf of an output; one that is only named is kept in the store.
    fn keep(&self, output: &Bytes) -> Leaf {
        if output.len() <= bounds::INLINE_OUTPUT {
            return Leaf::Inline(output.clone());
        }
        self.patiently(|| self.blobs.put(output)).map_or_else(Leaf::Failed, Leaf::Blob)
    }

    /// Keeps a part of an output that is too long to be in memory.
    fn take_part(&self, ticket: u64, at: u64, len: u64, bytes: &Bytes) {
        if at == 0 {
            self.drop_parts(ticket);
        }
        let before = self.coming().remove(&ticket);
        let coming = before.unwrap_or_else(|| self.patiently(|| self.blobs.begin(len)));
        let coming = coming.and_then(|coming| self.add(coming, bytes));
        self.coming().insert(ticket, coming);
    }

    fn add(&self, mut coming: Coming, bytes: &Bytes) -> Result<Coming, FailureNote> {
        let added = self.patiently(|| coming.write(bytes));
        added.inspect_err(|_| self.blobs.abandon(&coming))?;
        Ok(coming)
    }

    /// The leaf of an output whose last part has come.
    fn keep_last(&self, coming: Result<Coming, FailureNote>, last: &Bytes) -> Leaf {
        let whole = coming.and_then(|coming| self.add(coming, last)).map(|coming| self.blobs.finish(coming));
        whole.map_or_else(Leaf::Failed, Leaf::Blob)
    }

    fn drop_parts(&self, ticket: u64) {
        if let Some(Ok(coming)) = self.coming().remove(&ticket) {
            self.blobs.abandon(&coming);
        }
    }

    /// Writes to the disk. While that is full this waits for room, so that it is one chunk that fails now and then, and not
    /// one after the other as fast as they are run; what else this node holds is taken over meanwhile by those who get on.
    fn patiently<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> Result<T, FailureNote> {
        let mut tries = 0;
        loop {
            let error = match write() {
                Ok(done) => {
                    self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                    return Ok(done);
                }
                Err(error) => error,
            };
            tries += 1;
            self.trouble.send_replace(Some(format!("cannot keep an output: {error}; {HINT}")));
            let is_full = error.kind() == ErrorKind::StorageFull;
            if !is_full || tries == ROOM_TRIES || self.sender.is_closed() {
                let message = format!("{UNKEPT}: {error}\n{HINT}");
                return Err(FailureNote { deterministic: false, message });
            }
            warn!(%error, tries, "no room for an output");
            std::thread::sleep(ROOM_PAUSE);
        }
    }

    fn coming(&self) -> MutexGuard<'_, BTreeMap<u64, Result<Coming, FailureNote>>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happened, and what to do, of a failure in words.
#[must_use]
pub fn parted(words: &str) -> (&str, &str) {
    words.rsplit_once("\nhint: ").unwrap_or((words, ""))
}

/// A failure in words: what happened, the end of stderr, what to do.
pub fn note(failure: &Failure) -> FailureNote {
    let mut message = failure.to_string();
    let stderr = failure.stderr().trim_end();
    if !stderr.is_empty() {
        message.push_str("\nits stderr ends with:\n");
        message.extend(stderr.lines().flat_map(|line| ["  ", line, "\n"]));
        message.truncate(message.trim_end().len());
    }
    let hint = format!("\nhint: {}", failure.hint());
    let room = (bounds::FAILURE_BYTES - hint.len()).min(message.len());
    message.truncate((0..=room).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0));
    message.push_str(&hint);
    FailureNote { deterministic: failure.is_deterministic(), message }
}
