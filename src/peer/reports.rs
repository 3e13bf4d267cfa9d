//! Turns the pool's reports into what the core understands, on the pool's own threads: outputs are hashed and
//! stored there, so that the event loop only passes names on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::{FailureNote, Leaf, bounds};
use essaim_worker::{Failure, ProgramError, ProgramId, Report};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::feed::of_ticket;
use crate::store::Blobs;

/// Batches of reports that may wait for the event loop before the pool's threads do.
const WAITING: usize = 4_096;

/// How often an output is tried to be kept on a disk that is full, and the pause between two tries.
const ROOM_TRIES: u32 = 60;
const ROOM_PAUSE: Duration = Duration::from_millis(500);

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

/// The pool's listener.
pub struct Reporter {
    blobs: Arc<Blobs>,
    sender: mpsc::Sender<Vec<Done>>,
}

impl Reporter {
    pub fn new(blobs: Arc<Blobs>) -> (Reporter, mpsc::Receiver<Vec<Done>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Reporter { blobs, sender }, receiver)
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
                Report::Finished { ticket, output, cpu_micros, wall_micros, .. } => {
                    finish(ticket, self.keep(&output), cpu_micros, wall_micros);
                }
                // Nobody waits for what was stopped.
                Report::Failed { failure: Failure::Stopped, .. } => {}
                Report::Failed { ticket, failure, cpu_micros, wall_micros } => {
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

    /// The leaf of an output; one that is only named is kept in the store. While the disk is full this waits for room,
    /// so that it is one chunk that fails now and then, and not one after the other as fast as they are run; what else
    /// this node holds is taken over meanwhile by those who get on.
    fn keep(&self, output: &Bytes) -> Leaf {
        if output.len() <= bounds::INLINE_OUTPUT {
            return Leaf::Inline(output.clone());
        }
        let mut tries = 0;
        loop {
            let error = match self.blobs.put(output) {
                Ok(name) => return Leaf::Blob(name),
                Err(error) => error,
            };
            tries += 1;
            let is_full = error.kind() == ErrorKind::StorageFull;
            if !is_full || tries == ROOM_TRIES || self.sender.is_closed() {
                return Leaf::Failed(FailureNote {
                    deterministic: false,
                    message: format!("the worker cannot keep the output: {error}\nhint: make room on its disk"),
                });
            }
            warn!(%error, tries, "no room for an output");
            std::thread::sleep(ROOM_PAUSE);
        }
    }
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
