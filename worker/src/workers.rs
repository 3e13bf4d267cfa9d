//! What runs the chunks: threads of this process, or processes.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::message::{Report, Request};
use crate::pool::Pool;
#[cfg(unix)]
use crate::process::{ProcessConfig, Processes};

/// Where chunks are run.
#[derive(Debug, Clone)]
pub enum Sandbox {
    /// By threads of this process, in wasmtime's sandbox only: nothing is to be started, and nothing contains an escape.
    Threads(Engine, usize),
    /// By processes that can do nothing else.
    #[cfg(unix)]
    Processes(ProcessConfig),
}

/// Runs chunks: requests in, reports out.
#[derive(Debug)]
pub enum Workers {
    /// In this process.
    Threads(Pool),
    /// In processes of their own.
    #[cfg(unix)]
    Processes(Processes),
}

impl Workers {
    /// Starts what runs chunks. Reports are given to `report` in batches, from several threads at a time; while it
    /// blocks, so does the thread.
    ///
    /// # Errors
    /// When there are no threads to be had, or no place for compiled programs.
    pub fn new(sandbox: Sandbox, report: impl Fn(Vec<Report>) + Send + Sync + 'static) -> Result<Workers, EngineError> {
        match sandbox {
            Sandbox::Threads(engine, threads) => Pool::new(engine, threads, report).map(Workers::Threads),
            #[cfg(unix)]
            Sandbox::Processes(config) => Processes::new(config, report).map(Workers::Processes),
        }
    }

    /// Lets so many chunks run at the same time from now on, and stops the other processes where they are. Threads of
    /// this process cannot be stopped.
    pub fn lend(&self, cpus: usize) {
        match self {
            Workers::Threads(_) => {}
            #[cfg(unix)]
            Workers::Processes(processes) => processes.lend(cpus),
        }
    }

    /// The numbers of the processes that run chunks.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        match self {
            Workers::Threads(_) => Vec::new(),
            #[cfg(unix)]
            Workers::Processes(processes) => processes.processes(),
        }
    }

    /// Takes a request. It waits for a short lock and for `report` at most; all answers come as reports.
    pub fn submit(&self, request: Request) {
        match self {
            Workers::Threads(pool) => pool.submit(request),
            #[cfg(unix)]
            Workers::Processes(processes) => processes.submit(request),
        }
    }
}
