//! A compiled program, and one run of it: a fresh sandbox, a call of `_start`, and the name of what went wrong.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;
use essaim_jobs::fill::{FillError, fill};
use essaim_jobs::role::SECTION;
use essaim_jobs::{Role, Roles};
use wasmtime::{
    ExternType, InstancePre, Module, ModuleExport, Store, Trap, UnknownImportError, UpdateDeadline, WasmBacktrace,
};

use crate::engine::{Engine, Interrupt};
use crate::error::{Failure, ProgramError, bounded};
use crate::gauge::Gauge;
use crate::input::Input;
use crate::limits::{Breach, OnTurn, StopFlag, Watch, is_of_the_system};
use crate::meter::Meter;
use crate::sandbox::{ChunkSpec, Guest, JobSpec, Sink, Source, Stdio, in_large_pages};

/// A chunk whose input is as long as this has its memory in large pages, bytes. Less is not worth the call, nor a page that
/// is cleared for a few bytes.
const LARGE_BYTES: u64 = 4 << 20;

/// The longest program, bytes.
pub const PROGRAM_BYTES: u64 = 64 << 20;
/// Where a WASI command begins.
pub(crate) const START: &str = "_start";

/// A program, compiled and linked. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    engine: Engine,
    pre: InstancePre<Guest>,
    start: ModuleExport,
    roles: Roles,
}

/// What a chunk gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its stdout; empty for a streaming run.
    pub output: Bytes,
    /// Time on the processor, microseconds.
    pub cpu_micros: u64,
    /// The end of its stderr.
    pub stderr: String,
    /// The fuel that it took, where it is counted.
    pub fuel: Option<u64>,
}

/// What a run gave, unmetered.
pub(crate) struct Gave {
    pub(crate) output: Bytes,
    pub(crate) stderr: String,
    pub(crate) fuel: Option<u64>,
}

impl Gave {
    fn after(self, cpu_micros: u64) -> Outcome {
        let Gave { output, stderr, fuel } = self;
        Outcome { output, cpu_micros, stderr, fuel }
    }
}

impl Program {
    pub(crate) fn load(engine: &Engine, bytes: &[u8]) -> Result<Program, ProgramError> {
        let binary = to_binary(bytes)?;
        let module = Module::from_binary(&engine.0.wasmtime, &binary).map_err(compile_error)?;
        Program::link(engine, &module, declared(&binary))
    }

    /// The compiled form, to be run by another process with an engine of the same configuration.
    pub(crate) fn serialize(&self) -> Result<Vec<u8>, ProgramError> {
        self.pre.module().serialize().map_err(compile_error)
    }

    /// A program of a module of this engine.
    pub(crate) fn link(engine: &Engine, module: &Module, roles: Roles) -> Result<Program, ProgramError> {
        let pre = engine.0.linker.instantiate_pre(module).map_err(link_error)?;
        match module.get_export(START) {
            Some(ExternType::Func(f)) if f.params().len() == 0 && f.results().len() == 0 => {}
            _ => return Err(ProgramError::NoStart),
        }
        let start = module.get_export_index(START).ok_or(ProgramError::NoStart)?;
        Ok(Program { engine: engine.clone(), pre, start, roles })
    }

    /// What the program says that it can be run as, beside a map.
    #[must_use]
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// The most memory that this machine gives one run, bytes.
    pub(crate) fn host_memory_bytes(&self) -> u64 {
        self.engine.0.config.memory_bytes
    }

    /// Runs one chunk, on this thread, which needs 2 MiB of stack.
    ///
    /// # Errors
    /// How it failed, and the time it took on the processor, microseconds.
    pub fn run(
        &self,
        job: &JobSpec,
        chunk: ChunkSpec,
        stdin: impl Into<Input>,
        stop: &StopFlag,
    ) -> Result<Outcome, (Failure, u64)> {
        let mut meter = Meter::start();
        let result = self.execute(job, chunk, stdin.into(), stop, None, Gauge::default());
        let cpu_micros = meter.lap().cpu_micros;
        match result {
            Ok(gave) => Ok(gave.after(cpu_micros)),
            Err(failure) => Err((failure, cpu_micros)),
        }
    }

    /// As [`Program::run`], without reading the clock. `on_turn` is called whenever the epoch turns meanwhile;
    /// `gauge` has how far the program says that it is.
    pub(crate) fn execute(
        &self,
        job: &JobSpec,
        chunk: ChunkSpec,
        stdin: Input,
        stop: &StopFlag,
        on_turn: Option<OnTurn>,
        gauge: Gauge,
    ) -> Result<Gave, Failure> {
        let sink = Sink::Buffer { bytes: Vec::new(), most: job.limits.output_bytes };
        let filled = filled(job, chunk, &stdin)?;
        let job = filled.as_ref().unwrap_or(job);
        let stdio = Stdio::new(stdin.into(), sink);
        let deadline = Instant::now().checked_add(Duration::from_millis(job.limits.millis));
        self.guarded(job, chunk, stdio, Watch { stop: stop.clone(), deadline, on_turn, gauge })
    }

    /// Runs one chunk whose input comes in pieces and whose output goes on in pieces, each as the program asks
    /// for it and writes it, in the memory of the guest and one piece. Both may block. Neither
    /// `limits.millis` nor `limits.output_bytes` holds: the run ends when the program does, when the writer
    /// fails, or after `stop` (should the iterator be waiting just then, once it gives its next piece or ends).
    ///
    /// # Errors
    /// How it failed, and the time it took on the processor, microseconds. What was written by then stays so.
    pub fn run_streaming(
        &self,
        job: &JobSpec,
        chunk: ChunkSpec,
        stdin: impl Iterator<Item = Bytes> + Send + 'static,
        stdout: impl Write + Send + 'static,
        stop: &StopFlag,
    ) -> Result<Outcome, (Failure, u64)> {
        let mut meter = Meter::start();
        let source = Source::Pieces { rest: Box::new(stdin), piece: Bytes::new(), stop: stop.clone() };
        let stdio = Stdio::new(source, Sink::Writer(Box::new(stdout)));
        let watch = Watch { stop: stop.clone(), deadline: None, on_turn: None, gauge: Gauge::default() };
        let result = self.guarded(job, chunk, stdio, watch);
        let cpu_micros = meter.lap().cpu_micros;
        match result {
            Ok(gave) => Ok(gave.after(cpu_micros)),
            Err(failure) => Err((failure, cpu_micros)),
        }
    }

    /// A panic below us, which would be a fault of ours or of the engine's, fails the chunk and not the worker.
    fn guarded(&self, job: &JobSpec, chunk: ChunkSpec, stdio: Stdio, watch: Watch) -> Result<Gave, Failure> {
        catch_unwind(AssertUnwindSafe(|| self.instantiate_and_call(job, chunk, stdio, watch))).unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(Failure::Internal { message: bounded(why) })
        })
    }

    fn instantiate_and_call(
        &self,
        job: &JobSpec,
        chunk: ChunkSpec,
        stdio: Stdio,
        watch: Watch,
    ) -> Result<Gave, Failure> {
        let inner = &self.engine.0;
        let guest = Guest::new(job, chunk, stdio, inner.config.memory_bytes, watch);
        let mut store = Store::new(&inner.wasmtime, guest);
        store.limiter(|guest| &mut guest.memory);
        // A guest may hand the host all its memory, and a list of its parts: it is copied in bounded pieces.
        store.set_hostcall_fuel(usize::try_from(job.limits.memory_bytes.saturating_mul(2)).unwrap_or(usize::MAX));
        let tank = job.limits.fuel.unwrap_or(u64::MAX);
        if inner.config.mode.metered {
            store.set_fuel(tank).map_err(|error| Failure::Internal { message: bounded(error) })?;
        }
        if inner.config.interrupt == Interrupt::Checks {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|store| {
                store.data().watch.look().map_err(wasmtime::Error::new)?;
                Ok(UpdateDeadline::Continue(1))
            });
        }

        let _running = self.engine.enter(store.data().watch.on_turn.clone().as_ref());
        let result = (|| {
            let instance = self.pre.instantiate(&mut store)?;
            if store.data().stdio.left() >= LARGE_BYTES
                && let Some(memory) = instance.get_memory(&mut store, "memory")
            {
                in_large_pages(&memory, &store);
            }
            let start = instance.get_module_export(&mut store, &self.start).and_then(wasmtime::Extern::into_func);
            let start = start.ok_or_else(|| wasmtime::Error::msg("`_start` is gone"))?;
            start.typed::<(), ()>(&store)?.call(&mut store, ())
        })();
        let fuel = store.get_fuel().ok().map(|left| tank - left);
        let guest = store.data_mut();
        if let Err(error) = result
            && let Some(failure) = failure(&error, guest, job, inner.config.memory_bytes)
        {
            return Err(failure);
        }
        let output = guest.stdio.finish().map_err(|breach| Failure::Sink { message: bounded(breach) })?;
        Ok(Gave { output, stderr: guest.stdio.stderr(), fuel })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// The job with this chunk's values in its arguments, where they have places for them. What is not a map has other inputs.
fn filled(job: &JobSpec, chunk: ChunkSpec, stdin: &Input) -> Result<Option<JobSpec>, Failure> {
    if job.values == 0 || chunk.role != Role::Map {
        return Ok(None);
    }
    let filled = match stdin {
        Input::Bytes(input) => fill(&job.argv, job.values, input),
        Input::File(_) => Err(FillError::TooLong),
    };
    let argv = filled.map_err(|error| Failure::Arguments { message: bounded(error) })?;
    Ok(Some(JobSpec { argv, ..job.clone() }))
}

/// The name of an error that ended a run; none when it is the guest's exit with status 0.
fn failure(error: &wasmtime::Error, guest: &Guest, job: &JobSpec, host_memory_bytes: u64) -> Option<Failure> {
    let stderr = guest.stdio.stderr();
    let limits = &job.limits;
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return match breach {
            Breach::Exit(0) => None,
            Breach::Exit(_) if guest.memory.refused() => {
                Some(Failure::OutOfMemory { bytes: limits.memory_bytes, stderr })
            }
            Breach::Exit(code) => Some(Failure::Exit { code: *code, stderr }),
            Breach::TimedOut => Some(Failure::TimedOut { millis: limits.millis, stderr }),
            Breach::Stopped => Some(Failure::Stopped),
            Breach::Output => Some(Failure::OutputTooLarge { bytes: limits.output_bytes, stderr }),
            Breach::Input(error) => {
                Some(Failure::Internal { message: bounded(format!("its input cannot be read: {error}")) })
            }
            Breach::Sink(error) => Some(Failure::Sink { message: bounded(error) }),
            Breach::HostMemory => Some(Failure::HostMemory { bytes: host_memory_bytes }),
        };
    }
    let trap = error.downcast_ref::<Trap>();
    Some(match trap {
        Some(Trap::OutOfFuel) => Failure::OutOfFuel { fuel: limits.fuel.unwrap_or(u64::MAX), stderr },
        Some(Trap::StackOverflow) => Failure::StackOverflow { stderr },
        _ if guest.memory.refused() => Failure::OutOfMemory { bytes: limits.memory_bytes, stderr },
        // With a backtrace it came out of the guest: a trap, or an argument that no host function takes.
        _ if trap.is_some() || error.is::<WasmBacktrace>() => Failure::Trap { message: trap_message(error), stderr },
        _ if is_of_the_system(error) => Failure::HostMemory { bytes: host_memory_bytes },
        _ => Failure::Internal { message: bounded(format!("{error:#}")) },
    })
}

/// The trap, and the functions it was in, innermost first.
fn trap_message(error: &wasmtime::Error) -> String {
    let mut message = error.root_cause().to_string();
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
        for (i, name) in names.take(4).enumerate() {
            message += if i == 0 { ", in " } else { " < " };
            message += name;
        }
    }
    bounded(message)
}

pub(crate) fn compile_error(error: wasmtime::Error) -> ProgramError {
    ProgramError::Compile { message: bounded(format!("{error:#}")) }
}

pub(crate) fn link_error(error: wasmtime::Error) -> ProgramError {
    let Some(unknown) = error.downcast_ref::<UnknownImportError>() else {
        return compile_error(error);
    };
    let kind = match unknown.ty() {
        ExternType::Func(_) => "function",
        ExternType::Global(_) => "global",
        ExternType::Table(_) => "table",
        ExternType::Memory(_) => "memory",
        ExternType::Tag(_) => "tag",
    };
    ProgramError::MissingImport {
        module: bounded(unknown.module()),
        name: bounded(unknown.name()),
        kind: kind.to_owned(),
    }
}

/// The binary form of a module given in either form.
pub(crate) fn to_binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ProgramError> {
    if bytes.len() as u64 > PROGRAM_BYTES {
        return Err(ProgramError::TooLarge { bytes: bytes.len() as u64, most: PROGRAM_BYTES });
    }
    let binary: Cow<'_, [u8]> = if bytes.starts_with(b"\0asm") {
        bytes.into()
    } else if let Some(text) = wat_text(bytes) {
        wat::parse_str(text).map_err(|e| ProgramError::Wat { message: bounded(e) })?.into()
    } else {
        let start = bytes[..bytes.len().min(16)].escape_ascii().to_string();
        return Err(ProgramError::NotWasm { bytes: bytes.len() as u64, start });
    };
    // The word after the magic number: version 1 of layer 0 is a module, layer 1 is for components.
    match binary.get(4..8) {
        Some([_, _, 1, 0]) => Err(ProgramError::Component),
        _ => Ok(binary),
    }
}

/// The bytes as text, if they look like WebAssembly's: their first word, after comments, opens a parenthesis.
fn wat_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut rest = text.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix(";;") {
            rest = comment.split_once('\n')?.1.trim_start();
        } else if let Some(comment) = rest.strip_prefix("(;") {
            rest = comment.split_once(";)")?.1.trim_start();
        } else {
            return rest.starts_with('(').then_some(text);
        }
    }
}

/// What a valid module says that it can be run as.
pub(crate) fn declared(module: &[u8]) -> Roles {
    custom_section(module, SECTION).map(Roles::declared).unwrap_or_default()
}

/// The payload of a custom section of a valid module.
/// (<https://webassembly.github.io/spec/core/binary/modules.html#sections>)
fn custom_section<'a>(module: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut rest = module.get(8..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (size, after) = leb128(after)?;
        let (section, after) = after.split_at_checked(size)?;
        if id == 0 {
            let (length, section) = leb128(section)?;
            let (name, payload) = section.split_at_checked(length)?;
            if name == wanted.as_bytes() {
                return Some(payload);
            }
        }
        rest = after;
    }
    None
}

/// An unsigned number of at most 32 bits, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[i + 1..]));
        }
    }
    None
}
