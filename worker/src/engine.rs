//! The WebAssembly engine: its configuration, chosen for many short-lived instances, and the thread that turns
//! its epoch, by which running guests are interrupted.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, Linker, OptLevel, PoolingAllocationConfig};

use crate::error::{EngineError, ProgramError, bounded};
use crate::limits::{OnTurn, TABLE_ELEMENTS, TABLES};
use crate::outline::Outline;
use crate::program::Program;
use crate::sandbox::{self, Guest};

/// The version of wasmtime, which has no name for it; a test compares it with Cargo.lock.
const WASMTIME: &str = "48.0.8";
/// To be raised with each change of [`base_config`] or of the sandbox that may change what a program computes.
const REVISION: u32 = 2;

/// The longest turn of the epoch: by so much a limit of time, or a stop, may come late.
pub const TURN: Duration = Duration::from_millis(10);
/// Turns without a running chunk after which the ticker goes to sleep.
const IDLE_TURNS: u32 = 20;

/// Native stack that a guest may use, bytes. A thread that runs guests needs twice that.
const WASM_STACK_BYTES: usize = 1 << 20;
/// Instances beyond one a thread: streaming runs and measuring runs, which have threads of their own.
const SPARE_INSTANCES: usize = 8;
/// Pages of a finished instance that are cleared and kept rather than given back, bytes an instance.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
/// The longest linear memory of a 32-bit program.
const FOUR_GIB: u64 = 1 << 32;

/// How a running guest is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// By checks compiled into its loops, which cost 0–50 % of its speed: it can share a process with others.
    Checks,
    /// Not at all: the process that it runs in is ended.
    Process,
}

/// What is compiled into a program beside itself; nothing by default, for it costs speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mode {
    /// Fuel is counted.
    pub metered: bool,
    /// NaNs are made canonical.
    pub strict: bool,
}

impl Mode {
    /// The mode that is meant by [`Mode::word`]'s word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Mode> {
        let modes = [(false, false), (true, false), (false, true), (true, true)];
        modes.into_iter().map(|(metered, strict)| Mode { metered, strict }).find(|mode| mode.word() == word)
    }

    /// A name for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match (self.metered, self.strict) {
            (false, false) => "plain",
            (true, false) => "metered",
            (false, true) => "strict",
            (true, true) => "metered-strict",
        }
    }
}

/// How an engine is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Chunks that run at the same time, at least 1.
    pub threads: usize,
    /// The most memory that this machine gives one chunk, bytes, whatever its job allows.
    pub memory_bytes: u64,
    /// The most memory that all chunks of a pool may have that run at the same time, bytes: the sum of their jobs'
    /// limits.
    pub total_bytes: u64,
    /// How guests are interrupted.
    pub interrupt: Interrupt,
    /// What is compiled in.
    pub mode: Mode,
    /// Whether the compiler takes its time. If not, it is done sooner, and programs run up to 1.6 times longer.
    pub optimize: bool,
}

impl Default for EngineConfig {
    /// One thread a core, 4 GiB a chunk, no limit in all, checks and nothing else compiled in, optimized.
    fn default() -> EngineConfig {
        EngineConfig {
            threads: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: FOUR_GIB,
            total_bytes: u64::MAX,
            interrupt: Interrupt::Checks,
            mode: Mode::default(),
            optimize: true,
        }
    }
}

/// Compiles and runs programs. Cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) config: EngineConfig,
    pulse: Arc<Pulse>,
    ticker: Thread,
    tag: String,
    allocator: String,
}

impl Engine {
    /// Makes an engine. Instances come from a pool where the system has the address space for it, from the
    /// system one by one where not; [`Engine::allocator`] tells.
    ///
    /// # Errors
    /// When neither works, or there is no thread to be had.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        Unstarted::new(config)?.start()
    }

    /// What computed a result, for receipts: engine and version, architecture, revision of our configuration.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.0.tag
    }

    /// Where instances come from and why, for people.
    #[must_use]
    pub fn allocator(&self) -> &str {
        &self.0.allocator
    }

    /// What it compiles in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.config.mode
    }

    /// An engine like this one, in another mode.
    ///
    /// # Errors
    /// As for [`Engine::new`].
    pub fn in_mode(&self, mode: Mode) -> Result<Engine, EngineError> {
        if mode == self.0.config.mode { Ok(self.clone()) } else { Engine::new(EngineConfig { mode, ..self.0.config }) }
    }

    /// Checks that a program, binary or text, can be run, without compiling it: an interpreter of 25 MiB takes a tenth
    /// of a second instead of ten.
    ///
    /// # Errors
    /// When it is no WASI command that runs here, by name.
    pub fn check(&self, bytes: &[u8]) -> Result<Outline, ProgramError> {
        Outline::of(self, bytes)
    }

    /// Compiles a program, binary or text, and checks that it can be run. Takes milliseconds to minutes by its
    /// size, on the threads of the rayon pool that it is called in.
    ///
    /// # Errors
    /// When it is no WASI command that runs here, by name.
    pub fn load(&self, bytes: &[u8]) -> Result<Program, ProgramError> {
        Program::load(self, bytes)
    }

    /// Notes that a guest runs, until the answer is dropped. Without checks in the guest, `on_turn` is called meanwhile
    /// whenever the epoch turns, on another thread.
    pub(crate) fn enter(&self, on_turn: Option<&OnTurn>) -> Running<'_> {
        let on_turn = on_turn.filter(|_| self.0.config.interrupt == Interrupt::Process).cloned();
        self.0.pulse.watched().extend(on_turn.clone());
        self.0.pulse.running.fetch_add(1, Ordering::SeqCst);
        if self.0.pulse.asleep.load(Ordering::SeqCst) {
            self.0.ticker.unpark();
        }
        Running { pulse: &self.0.pulse, on_turn }
    }
}

/// An engine that has no threads yet, so that a process can still give up its rights before it has some.
pub(crate) struct Unstarted {
    pub(crate) wasmtime: wasmtime::Engine,
    config: EngineConfig,
    allocator: String,
}

impl Unstarted {
    pub(crate) fn new(config: EngineConfig) -> Result<Unstarted, EngineError> {
        let config = EngineConfig {
            threads: config.threads.max(1),
            memory_bytes: config.memory_bytes.min(config.total_bytes).min(FOUR_GIB),
            ..config
        };
        let (wasmtime, allocator) = match wasmtime::Engine::new(&pooled_config(&config)) {
            Ok(engine) => {
                let scan = PoolingAllocationConfig::is_pagemap_scan_available();
                (engine, format!("pooled, {}", if scan { "pages kept" } else { "no PAGEMAP_SCAN: pages given back" }))
            }
            Err(why) => {
                let engine = wasmtime::Engine::new(&base_config(&config)).map_err(refused)?;
                (engine, bounded(format!("on demand, for there is no pool: {why:#}")))
            }
        };
        Ok(Unstarted { wasmtime, config, allocator })
    }

    pub(crate) fn start(self) -> Result<Engine, EngineError> {
        let pulse = Arc::new(Pulse::default());
        let ticker = thread::Builder::new()
            .name("essaim-epoch".to_owned())
            .spawn({
                let (pulse, wasmtime) = (pulse.clone(), self.wasmtime.clone());
                move || pulse.tick(&wasmtime)
            })
            .map_err(|e| EngineError::Thread { message: e.to_string() })?
            .thread()
            .clone();
        Ok(Engine(Arc::new(Inner {
            linker: sandbox::linker(&self.wasmtime).map_err(refused)?,
            wasmtime: self.wasmtime,
            config: self.config,
            pulse,
            ticker,
            tag: tag(),
            allocator: self.allocator,
        })))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("tag", &self.0.tag).field("allocator", &self.0.allocator).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pulse.quit.store(true, Ordering::SeqCst);
        self.ticker.unpark();
    }
}

fn refused(error: wasmtime::Error) -> EngineError {
    EngineError::Config { message: bounded(format!("{error:#}")) }
}

/// What computes a result here, for receipts: engine and version, architecture, revision of our configuration.
#[must_use]
pub fn tag() -> String {
    format!("wasmtime-{WASMTIME}/{}/{REVISION}", std::env::consts::ARCH)
}

/// As [`tag`], without what strict programs do not depend on where `strict`: two that are equal give every such program
/// the same output, to the byte.
#[must_use]
pub fn kind(tag: &str, strict: bool) -> String {
    match tag.split('/').collect::<Vec<_>>()[..] {
        [version, _architecture, revision] if strict => format!("{version}/{revision}"),
        _ => tag.to_owned(),
    }
}

/// What decides what a program computes, and how fast.
fn base_config(engine: &EngineConfig) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(engine.interrupt == Interrupt::Checks)
        .consume_fuel(engine.mode.metered)
        .cranelift_nan_canonicalization(engine.mode.strict)
        .cranelift_opt_level(if engine.optimize { OptLevel::Speed } else { OptLevel::None })
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    config
}

fn pooled_config(engine: &EngineConfig) -> Config {
    let instances = u32::try_from(engine.threads + SPARE_INSTANCES).unwrap_or(u32::MAX);
    let keep = if PoolingAllocationConfig::is_pagemap_scan_available() { KEEP_RESIDENT_BYTES } else { 0 };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(16 << 20)
        .max_memory_size(usize::try_from(FOUR_GIB).unwrap_or(usize::MAX))
        .total_stacks(0)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(keep)
        .max_unused_warm_slots(u32::try_from(engine.threads).unwrap_or(u32::MAX))
        .pagemap_scan(Enabled::Auto);
    let mut config = base_config(engine);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Turns the epoch while guests run, and sleeps while none does.
#[derive(Default)]
struct Pulse {
    running: AtomicUsize,
    asleep: AtomicBool,
    quit: AtomicBool,
    /// To be called at each turn: one entry a running guest without checks.
    watched: Mutex<Vec<OnTurn>>,
}

impl Pulse {
    fn watched(&self) -> MutexGuard<'_, Vec<OnTurn>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &wasmtime::Engine) {
        let mut idle = 0;
        while !self.quit.load(Ordering::SeqCst) {
            if idle < IDLE_TURNS {
                thread::sleep(TURN);
            } else {
                // A guest that starts from here on sees `asleep`, or is seen by the second look.
                self.asleep.store(true, Ordering::SeqCst);
                if self.running.load(Ordering::SeqCst) == 0 && !self.quit.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle = 0;
                continue;
            }
            if self.running.load(Ordering::SeqCst) == 0 {
                idle += 1;
            } else {
                idle = 0;
                engine.increment_epoch();
                let watched = self.watched().clone();
                watched.iter().for_each(|on_turn| on_turn());
            }
        }
    }
}

/// While it lives, the epoch turns.
pub(crate) struct Running<'a> {
    pulse: &'a Pulse,
    on_turn: Option<OnTurn>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(on_turn) = &self.on_turn {
            self.pulse.watched().retain(|other| !Arc::ptr_eq(other, on_turn));
        }
        self.pulse.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_names_the_engine_that_is_built_in() {
        let lock = include_str!("../../Cargo.lock");
        let entry = lock.split("[[package]]").find(|p| p.contains("name = \"wasmtime\"\n")).unwrap_or_default();
        assert!(entry.contains(&format!("version = \"{WASMTIME}\"")), "raise WASMTIME and REVISION: {entry}");
    }

    #[test]
    fn this_machine_pools() -> Result<(), EngineError> {
        let engine = Engine::new(EngineConfig { threads: 1, ..EngineConfig::default() })?;
        assert!(!engine.allocator().is_empty());
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert!(engine.allocator().starts_with("pooled"), "{}", engine.allocator());
        }
        Ok(())
    }
}
