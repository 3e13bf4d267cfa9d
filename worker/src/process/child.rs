//! The child's side: a process that runs the chunks of one program, or compiles one, and can do nothing else.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::confine::{self, Purpose};
use super::{frame, socket};
use essaim_jobs::Roles;

use crate::engine::{EngineConfig, Interrupt, Mode, Unstarted};
use crate::error::{ProgramError, bounded};
use crate::input::Input;
use crate::message::{Chunk, ProgramId, Report, Request};
use crate::meter::Meter;
use crate::pool::Pool;
use crate::program::{PROGRAM_BYTES, Program};
use crate::sandbox::{DataFile, Handle};

/// The first word of a child that runs chunks, and of one that compiles.
pub(super) const RUN: &str = "run";
pub(super) const COMPILE: &str = "compile";
/// Under this name a child knows its only program.
pub(super) fn only_program() -> ProgramId {
    ProgramId::plain([0; 32])
}
/// Reports that go into one frame have so many bytes of output at most; an output that has more goes in parts.
pub(super) const FRAME_OUTPUTS: usize = 1 << 20;

/// How a child says that the compiled program is not one that it can use.
pub(super) const UNREADABLE: &str = "the compiled program cannot be used";

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// It has given up its rights, and runs chunks from now on.
    Ready,
    /// It cannot.
    Broken(String),
    /// What became of chunks.
    Reports(Vec<Report>),
}

/// Does what a sandbox process does, as the words after its name say; for the executable that
/// [`Launch`](super::Launch) names. Its standard input is a socket to the node, or the program to be compiled; its
/// standard output is the file of the compiled program.
#[must_use]
pub fn sandbox(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Nobody reads what it says, and a program must not make it say much.
    std::panic::set_hook(Box::new(|_| {}));
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let mode = words.get(1).and_then(|word| Mode::of_word(word)).unwrap_or_default();
    match (words.first().map(String::as_str), number(2), number(3)) {
        (Some(RUN), Some(memory_bytes), _) => match run(mode, memory_bytes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                // If the node is gone, nobody wants to know.
                let _ = own(rustix::stdio::stdin()).and_then(|node| frame::write(node, &Word::Broken(bounded(why))));
                ExitCode::FAILURE
            }
        },
        (Some(COMPILE), Some(threads), Some(seconds)) => {
            let done = compile(mode, threads as usize, seconds);
            let said = postcard::to_allocvec(&done).unwrap_or_default();
            let _ = io::stderr().write_all(&said);
            if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            let _ = writeln!(io::stderr(), "this is how essaim starts its sandbox; it is of no use to people");
            ExitCode::from(2)
        }
    }
}

/// A file of one's own for one of the standard streams.
fn own(stream: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(stream.try_clone_to_owned()?))
}

/// The engine of a process, alike where a program is compiled and where it is run.
fn config_of(mode: Mode) -> EngineConfig {
    EngineConfig { threads: 1, interrupt: Interrupt::Process, mode, ..EngineConfig::default() }
}

/// Runs chunks until the node closes the socket.
fn run(mode: Mode, memory_bytes: u64) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let engine = Unstarted::new(EngineConfig { memory_bytes, ..config_of(mode) }).map_err(|error| words(&error))?;
    let file = own(rustix::stdio::stdout()).map_err(|error| words(&error))?;
    // SAFETY: the file was written by a sandbox process of this node that compiled, and that has ended; since then it
    // is in a folder that only this user writes to. wasmtime checks that it is of this version and configuration.
    #[allow(unsafe_code, reason = "compiled code is read back; it is never taken from a peer")]
    let module = unsafe { wasmtime::Module::deserialize_open_file(&engine.wasmtime, file) };
    let module = module.map_err(|error| format!("{UNREADABLE}: {error:#}"))?;
    module.initialize_copy_on_write_image().map_err(|error| words(&error))?;
    let purpose = Purpose::Run { memory_bytes };
    confine::give_up_rights(purpose)?;
    let engine = engine.start().map_err(|error| words(&error))?;
    let program = Program::link(&engine, &module, Roles::default()).map_err(|error| words(&error))?;
    let requests = own(rustix::stdio::stdin()).map_err(|error| words(&error))?;
    let mut requests = frame::Reader::new(socket::Receiver::new(requests));
    let node = own(rustix::stdio::stdin()).map_err(|error| words(&error))?;
    let node = Arc::new(Mutex::new(node));
    let say = move |word: &Word| {
        let node = node.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&*node, word)
    };
    let pool = {
        let say = say.clone();
        let report = move |reports: Vec<Report>| {
            for reports in framed(reports) {
                // Without a node there is nothing to run for.
                if say(&Word::Reports(reports)).is_err() {
                    std::process::exit(1);
                }
            }
        };
        Pool::of_one(engine, only_program(), &program, report).map_err(|error| words(&error))?
    };
    // The first reading of a clock looks up where the system keeps it.
    Meter::start();
    confine::forbid_calls(purpose)?;
    say(&Word::Ready).map_err(|error| words(&error))?;
    loop {
        match requests.next::<Request>() {
            Ok(mut request) => {
                match &mut request {
                    Request::Job { spec, .. } => spec.data = with_files(&spec.data, requests.get_mut())?,
                    Request::Run { chunks, .. } => with_inputs(chunks, requests.get_mut())?,
                    _ => {}
                }
                pool.submit(request);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(words(&error)),
        }
    }
}

/// Gives chunks the files that came with the request and from which their inputs are read.
fn with_inputs(chunks: &mut [Chunk], from: &mut socket::Receiver<File>) -> Result<(), String> {
    for chunk in chunks {
        if let Input::File(stretch) = &mut chunk.input {
            stretch.file = Handle(Some(Arc::new(from.file().ok_or("a file did not come along")?)));
        }
    }
    Ok(())
}

/// The same files, with those that came with the request to read them from.
fn with_files(data: &[DataFile], from: &mut socket::Receiver<File>) -> Result<Arc<[DataFile]>, String> {
    let with_file = |data: &DataFile| {
        let file = from.file().ok_or("a file did not come along")?;
        Ok(DataFile { file: Handle(Some(Arc::new(file))), ..data.clone() })
    };
    data.iter().map(with_file).collect()
}

/// Reports in frames that are not too long: the node need not have room for a whole output.
fn framed(reports: Vec<Report>) -> Vec<Vec<Report>> {
    let mut frames = vec![Vec::new()];
    let mut room = FRAME_OUTPUTS;
    let mut add = |report, output: usize| {
        if output > room {
            frames.push(Vec::new());
            room = FRAME_OUTPUTS;
        }
        room -= output;
        if let Some(last) = frames.last_mut() {
            last.push(report);
        }
    };
    for mut report in reports {
        let mut left = 0;
        if let Report::Finished { ticket, output, .. } = &mut report {
            let (len, mut at) = (output.len() as u64, 0);
            while output.len() > FRAME_OUTPUTS {
                let bytes = output.split_to(FRAME_OUTPUTS);
                add(Report::Part { ticket: *ticket, at, len, bytes }, FRAME_OUTPUTS);
                at += FRAME_OUTPUTS as u64;
            }
            left = output.len();
        }
        add(report, left);
    }
    frames
}

/// Compiles the program on standard input to standard output. Says what was wrong with it.
fn compile(mode: Mode, threads: usize, seconds: u64) -> Result<(), ProgramError> {
    let broken = |error: &dyn std::fmt::Display| ProgramError::Compile { message: bounded(error.to_string()) };
    let purpose = Purpose::Compile { seconds };
    let mut to = own(rustix::stdio::stdout()).map_err(|error| broken(&error))?;
    let engine = Unstarted::new(config_of(mode)).map_err(|error| broken(&error))?;
    confine::give_up_rights(purpose).map_err(|error| broken(&error))?;
    let engine = engine.start().map_err(|error| broken(&error))?;
    let threads =
        rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build().map_err(|error| broken(&error))?;
    confine::forbid_calls(purpose).map_err(|error| broken(&error))?;
    let mut bytes = Vec::new();
    io::stdin().take(PROGRAM_BYTES + 1).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    let compiled = threads.install(|| engine.load(&bytes))?.serialize()?;
    to.write_all(&compiled).map_err(|error| broken(&format!("cannot keep what was compiled: {error}")))
}
