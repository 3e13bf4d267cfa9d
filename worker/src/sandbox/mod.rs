//! The world that a guest sees: WASI preview 1 with arguments, an environment, three streams and the files that its
//! job mounts, and nothing else. No sockets, nothing of this process or of its files; clocks that count readings,
//! seeded randomness, sleep that passes at once. A chunk's output therefore depends on the program and on what it is
//! given only.
//!
//! Arguments, environment, clocks and randomness are wasmtime-wasi's functions. Ours are those that would let this
//! machine show through (`poll_oneoff`, which sleeps for real; `proc_exit`, which knows no status above 125), and those
//! that take a descriptor: files come from a list instead of a folder, and so nothing waits and nothing is opened.

mod clock;
mod descriptors;
mod errno;
mod files;
mod memory;
mod poll;
mod stdio;

use std::sync::Arc;

use essaim_jobs::{Limits, Role};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use wasmtime::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

use crate::limits::{Breach, MemoryLimit, Watch};
use clock::Clock;
use files::Files;
pub use files::{DataFile, Handle};
pub(crate) use memory::in_large_pages;
pub(crate) use stdio::{Sink, Source, Stdio};

/// The module whose functions are offered.
const WASI: &str = "wasi_snapshot_preview1";
/// The guest's `argv[0]`, the same everywhere.
const PROGRAM_NAME: &str = "essaim";

/// What is the same for all chunks of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Arguments after the program's name, which is always `essaim`.
    pub argv: Vec<String>,
    /// How many values each chunk's input has for the places in `argv` ([`essaim_jobs::fill`]); 0 where it has none.
    pub values: u8,
    /// Environment variables. `ESSAIM_CHUNK` and `ESSAIM_ROLE` are ours and override any here.
    pub env: Vec<(String, String)>,
    /// Files that its programs may read.
    pub data: Arc<[DataFile]>,
    /// The seed of the job's randomness; each chunk draws from a stream of its own.
    pub seed: [u8; 32],
    /// What one chunk may use.
    pub limits: Limits,
}

/// Which part of the job a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkSpec {
    /// What it is run as.
    pub role: Role,
    /// Its number, from 0.
    pub chunk: u32,
}

impl ChunkSpec {
    /// Chunk number `chunk` of the input.
    #[must_use]
    pub fn map(chunk: u32) -> ChunkSpec {
        ChunkSpec { role: Role::Map, chunk }
    }

    /// What is done once: the fold of all outputs, or the cut of the input.
    #[must_use]
    pub fn once(role: Role) -> ChunkSpec {
        ChunkSpec { role, chunk: 0 }
    }

    /// The number of its stream of randomness.
    fn stream(self) -> u64 {
        let role = match self.role {
            Role::Map => 0,
            Role::Reduce => 1,
            Role::Split => 2,
            Role::Combine => 3,
        };
        role << 32 | u64::from(self.chunk)
    }
}

/// The state of one guest: what its store holds.
pub(crate) struct Guest {
    wasi: WasiP1Ctx,
    clock: Clock,
    pub(crate) stdio: Stdio,
    files: Files,
    pub(crate) memory: MemoryLimit,
    pub(crate) watch: Watch,
}

impl Guest {
    /// A guest that has not run yet. `host_memory_bytes` is the most that this machine gives one instance.
    pub(crate) fn new(job: &JobSpec, chunk: ChunkSpec, stdio: Stdio, host_memory_bytes: u64, watch: Watch) -> Guest {
        let clock = Clock::default();
        let mut random = ChaCha12Rng::from_seed(job.seed);
        random.set_stream(chunk.stream());

        let mut wasi = WasiCtxBuilder::new();
        wasi.arg(PROGRAM_NAME).args(&job.argv);
        for (name, value) in &job.env {
            if name != "ESSAIM_CHUNK" && name != "ESSAIM_ROLE" {
                wasi.env(name, value);
            }
        }
        wasi.env("ESSAIM_CHUNK", chunk.chunk.to_string()).env("ESSAIM_ROLE", chunk.role.as_str());
        wasi.wall_clock(clock.clone())
            .monotonic_clock(clock.clone())
            .insecure_random_seed(0)
            .insecure_random(random.clone())
            .secure_random(random);
        Guest {
            wasi: wasi.build_p1(),
            clock,
            stdio,
            files: Files::new(&job.data),
            memory: MemoryLimit::new(job.limits.memory_bytes, host_memory_bytes),
            watch,
        }
    }
}

/// All that a program may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(WASI, "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Breach::Exit(status)))
    })?;
    linker.func_wrap(WASI, "poll_oneoff", poll::poll_oneoff)?;
    descriptors::add_to(&mut linker)?;
    linker.allow_shadowing(false);
    Ok(linker)
}
