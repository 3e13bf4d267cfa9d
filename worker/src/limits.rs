//! What a running chunk may take: memory and tables, refused by the store's limiter; time, by the epoch; the
//! flag that stops it. The breaches travel through the engine as errors of one type, [`Breach`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wasmtime::ResourceLimiter;

use crate::gauge::Gauge;

/// The most elements a table may have; a table holds a program's function pointers. The same on every machine.
pub(crate) const TABLE_ELEMENTS: usize = 1 << 17;
/// The most tables a program may have.
pub(crate) const TABLES: u32 = 4;

/// Stops a chunk from another thread: within about ten milliseconds, for it is looked at when the epoch turns.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the chunk to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked to.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Makes the flag fit for the next chunk.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Why the host ended a guest, or how the guest ended itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Breach {
    #[error("exit status {0}")]
    Exit(i32),
    #[error("out of time")]
    TimedOut,
    #[error("stopped")]
    Stopped,
    #[error("too much output")]
    Output,
    #[error("cannot read the input: {0}")]
    Input(std::io::Error),
    #[error("cannot write: {0}")]
    Sink(std::io::Error),
    #[error("no memory at the host")]
    HostMemory,
}

/// Linear memory and tables of one chunk.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    /// The job's limit, bytes.
    job: u64,
    /// This machine's, bytes.
    host: u64,
    refused: bool,
}

impl MemoryLimit {
    pub(crate) fn new(job: u64, host: u64) -> MemoryLimit {
        MemoryLimit { job, host, refused: false }
    }

    /// Whether the guest was refused memory that it asked for. It may have coped.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for MemoryLimit {
    /// Beyond the job's limit growth fails as WebAssembly defines it, alike everywhere. Beyond this machine's
    /// the chunk ends: were growth to fail, a guest that copes would give an output that others do not.
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired as u64 > self.job {
            self.refused = true;
            return Ok(false);
        }
        if desired as u64 > self.host {
            return Err(wasmtime::Error::new(Breach::HostMemory));
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if is_of_the_system(&error) {
            return Err(wasmtime::Error::new(Breach::HostMemory));
        }
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Whether the operating system said no, rather than a rule of WebAssembly.
pub(crate) fn is_of_the_system(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause();
    #[cfg(unix)]
    if cause.is::<rustix::io::Errno>() {
        return true;
    }
    cause.is::<std::io::Error>()
}

/// Called whenever the epoch turns while a chunk runs.
pub(crate) type OnTurn = Arc<dyn Fn() + Send + Sync>;

/// What is looked at each time the epoch turns while a chunk runs, and what others look at.
pub(crate) struct Watch {
    pub(crate) stop: StopFlag,
    /// When its time is over; none for a streaming run, which waits for its input.
    pub(crate) deadline: Option<Instant>,
    pub(crate) on_turn: Option<OnTurn>,
    pub(crate) gauge: Gauge,
}

impl Watch {
    pub(crate) fn look(&self) -> Result<(), Breach> {
        if let Some(on_turn) = &self.on_turn {
            on_turn();
        }
        if self.stop.is_stopped() {
            return Err(Breach::Stopped);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Breach::TimedOut),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_limit_refuses_and_the_machines_ends() {
        let mut limit = MemoryLimit::new(100, 50);
        assert!(limit.memory_growing(0, 50, None).is_ok_and(|granted| granted));
        assert!(!limit.refused());
        assert!(limit.memory_growing(0, 51, None).is_err());
        assert!(!limit.refused());
        assert!(limit.memory_growing(0, 101, None).is_ok_and(|granted| !granted));
        assert!(limit.refused());
    }

    #[test]
    fn a_rule_of_webassembly_is_no_fault_of_the_system() {
        let mut limit = MemoryLimit::new(100, 100);
        assert!(limit.memory_grow_failed(wasmtime::Error::msg("beyond the declared maximum")).is_ok());
        assert!(limit.refused());
        let enomem = wasmtime::Error::new(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
        assert!(limit.memory_grow_failed(enomem).is_err());
    }
}
