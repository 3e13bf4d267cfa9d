//! One process and the thread that looks after it: starts it, feeds it, listens to it, ends it when a chunk is over
//! its time, and starts it again when it is dead.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::child::{self, UNREADABLE, Word};
use super::frame::{self, Reader};
use super::socket;
use super::supervise::{Batch, Item, Next, Seat, Shared, failed};
use crate::error::{Failure, bounded};
use crate::message::{ProgramId, Report, Request};

/// How long a process may take to be ready.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long, on the processor, it may say nothing while it has something to run. It says what it runs after 20 ms.
const SILENCE: Duration = Duration::from_secs(5);
/// How long, by the wall, it may use no processor while it has something to run and is not stopped.
const STUCK: Duration = Duration::from_secs(60);
/// The longest time between two looks, and the shortest: none at all would be no limit to a socket.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);
/// What a chunk may have run before its process said that it had started.
const BEFORE_SAID: Duration = Duration::from_millis(20);
/// A chunk that takes less is short: the next ones are sent before it has been run. Its process does not say of such a
/// one that it has started.
pub(super) const SHORT_MICROS: u64 = 10_000;
/// A pause after a process could not be started.
const PAUSE: Duration = Duration::from_secs(1);
/// Jobs that a process may know before those are forgotten that are not under way.
const KNOWN_JOBS: usize = 64;

/// A process that runs.
struct Process {
    pid: u32,
    program: ProgramId,
    node: Reader<UnixStream>,
    jobs: HashSet<u64>,
    since: Instant,
    /// What a chunk took lately, microseconds.
    micros: u64,
    used: Used,
    /// The chunk that it has said that it has started, and what it had used when it did.
    started: Option<(u64, Duration, Duration)>,
    /// The chunk that must be under way, of which the node was told so.
    under_way: Option<u64>,
    /// Of which chunk's output parts have come, how long they are together, and how long it is to be.
    parts: Option<(u64, u64, u64)>,
}

/// What a process had used of the processor, and when that was seen.
struct Used {
    cpu: Duration,
    at: Instant,
    /// By the time that it was heard last; none if that is since it was looked at.
    heard: Option<Duration>,
}

/// What a seat does until all is over.
pub(super) fn serve(shared: &Shared, seat: usize) {
    let mut process: Option<Process> = None;
    loop {
        let (program, since, micros) =
            process.as_ref().map_or((None, Instant::now(), 0), |p| (Some(p.program), p.since, p.micros));
        let batch = match shared.take(seat, program, since, micros) {
            Next::Run(batch) => batch,
            Next::End => {
                process = None;
                bury(shared, seat);
                continue;
            }
            Next::Go => break,
        };
        if program != Some(batch.program) {
            process = None;
            bury(shared, seat);
            match start(shared, seat, &batch) {
                Ok(started) => process = Some(started),
                Err(why) => {
                    refuse(shared, seat, &why);
                    std::thread::sleep(PAUSE);
                    continue;
                }
            }
        }
        if let Some(running) = &mut process
            && let Err(error) = begin(shared, seat, running, batch).and_then(|()| attend(shared, seat, running))
        {
            let program = running.program;
            autopsy(shared, seat, program, &error);
            process = None;
        }
    }
    bury(shared, seat);
}

/// Starts a process for a program; returns when it has given up its rights.
fn start(shared: &Shared, seat: usize, batch: &Batch) -> Result<Process, String> {
    let cannot = |error: io::Error| format!("a sandbox process cannot be started: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
    let mode = batch.program.mode.word().to_owned();
    let words = [child::RUN.to_owned(), mode, shared.config.memory_bytes.to_string()];
    let mut command = shared.config.launch.command(&words);
    let compiled = batch.compiled.try_clone().map_err(cannot)?;
    let child = command.stdin(OwnedFd::from(theirs)).stdout(compiled).spawn().map_err(cannot)?;
    // The command holds their end of the socket: without it, the end of the child is the end of the stream.
    drop(command);
    let pid = child.id();
    let mut node = Reader::new(ours);
    node.get_ref().set_read_timeout(Some(START_WITHIN)).map_err(cannot)?;
    let first = node.next::<Word>();
    match first {
        Ok(Word::Ready) => {}
        other => {
            let status = end(child);
            if let Ok(Word::Broken(why)) = other {
                if why.starts_with(UNREADABLE) {
                    shared.cache.remove(batch.program);
                }
                return Err(format!("a sandbox process cannot be started: {}", bounded(why)));
            }
            return Err(format!("a sandbox process cannot be started: it {}", how(status)));
        }
    }
    shared.queue().seats[seat].sit(child);
    let used = Used { cpu: cpu_time(pid), at: Instant::now(), heard: None };
    let (program, jobs) = (batch.program, HashSet::new());
    Ok(Process {
        pid,
        program,
        node,
        jobs,
        since: Instant::now(),
        micros: 0,
        used,
        started: None,
        under_way: None,
        parts: None,
    })
}

/// Has a process that has nothing to do run a batch.
fn begin(shared: &Shared, seat: usize, process: &mut Process, batch: Batch) -> io::Result<()> {
    give(process, batch)?;
    let started = now_under_way(&shared.queue().seats[seat], process);
    shared.report(started.into_iter().collect());
    Ok(())
}

/// Hands chunks to a process.
fn give(process: &mut Process, batch: Batch) -> io::Result<()> {
    let Batch { job, spec, role, chunks, .. } = batch;
    let say = |request: &Request| frame::write(process.node.get_ref(), request);
    if !process.jobs.contains(&job) {
        if process.jobs.len() >= KNOWN_JOBS {
            process.jobs.drain().try_for_each(|job| say(&Request::ForgetJob { job }))?;
        }
        let request = frame::frame(&Request::Job { job, program: child::only_program(), spec: (*spec).clone() })?;
        let files = spec.data.iter().filter_map(|data| data.file.0.as_ref());
        let files: Vec<_> = files.map(|file| file.as_fd()).collect();
        socket::send(process.node.get_ref(), &request, &files)?;
        process.jobs.insert(job);
    }
    let files: Vec<_> = chunks.iter().filter_map(|chunk| chunk.input.stretch()?.file.0.clone()).collect();
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    socket::send(process.node.get_ref(), &frame::frame(&Request::Run { job, role, chunks })?, &files)
}

/// Listens to a process until it has answered all it was given.
fn attend(shared: &Shared, seat: usize, process: &mut Process) -> io::Result<()> {
    let mut look = LOOK;
    (process.used.at, process.used.heard) = (Instant::now(), None);
    loop {
        process.node.get_ref().set_read_timeout(Some(look.max(SHORTEST)))?;
        match process.node.next::<Word>() {
            Ok(Word::Reports(reports)) => {
                process.used.heard = None;
                if !hear(shared, seat, process, reports)? {
                    return Ok(());
                }
                if process.started.is_none() {
                    continue;
                }
            }
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "out of turn")),
            Err(error) if frame::is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
        look = check(shared, seat, process);
    }
}

/// Passes on what a process has said, and gives it more; the answer is whether it has anything to do.
///
/// It is given more first, so that it does not wait; and what it has ended and what it has begun are said at once.
fn hear(shared: &Shared, seat: usize, process: &mut Process, reports: Vec<Report>) -> io::Result<bool> {
    let mut told = Vec::with_capacity(reports.len());
    let mut back = Vec::new();
    let mut recall = Vec::new();
    let mut queue = shared.queue();
    let chair = &mut queue.seats[seat];
    for report in reports {
        let ticket = match report {
            Report::Started { ticket }
            | Report::Progress { ticket, .. }
            | Report::Part { ticket, .. }
            | Report::Finished { ticket, .. }
            | Report::Failed { ticket, .. } => ticket,
            // It has nothing to say of programs.
            Report::Loaded { .. } | Report::Refused { .. } => continue,
        };
        let Some(at) = chair.window.iter().position(|item| item.chunk.ticket == ticket) else { continue };
        if let Report::Started { .. } = report {
            let limit = Duration::from_millis(chair.window[at].spec.limits.millis);
            let base = cpu_time(process.pid).saturating_sub(BEFORE_SAID);
            process.started = Some((ticket, base, limit));
            chair.started = Some(ticket);
            if chair.unwanted.contains(&ticket) {
                chair.doom(ticket, Failure::Stopped);
            }
            // What stands behind it need not wait for it.
            let behind = chair.window.iter().map(|item| item.chunk.ticket).filter(|other| *other != ticket);
            recall.extend(behind.filter(|other| !chair.recalled.contains(other)));
            chair.recalled.extend(&recall);
            continue;
        }
        if let Report::Progress { .. } = report {
            told.push(report);
            continue;
        }
        if let Report::Part { at: begins, len, ref bytes, .. } = report {
            let most = chair.window[at].spec.limits.output_bytes;
            let so_far = process.parts.filter(|_| begins > 0);
            let (of, has, whole) = so_far.unwrap_or((ticket, 0, len));
            let has = has + bytes.len() as u64;
            let fits = (of, begins.saturating_add(bytes.len() as u64), len) == (ticket, has, whole)
                && has < whole
                && whole <= most;
            if !fits || bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a part that does not fit"));
            }
            process.parts = Some((ticket, has, whole));
            if !chair.unwanted.contains(&ticket) {
                told.push(report);
            }
            continue;
        }
        let Some(item) = chair.window.remove(at) else { continue };
        if chair.started == Some(ticket) {
            (chair.started, process.started) = (None, None);
        }
        let recalled = chair.recalled.remove(&ticket);
        let unwanted = chair.unwanted.remove(&ticket);
        if unwanted {
            told.push(failed(ticket, Failure::Stopped));
        } else if recalled && matches!(report, Report::Failed { failure: Failure::Stopped, .. }) {
            back.push(item);
        } else {
            told.push(sound(process, &item, report));
        }
    }
    let left = chair.window.len() as u64;
    drop(queue);
    if !back.is_empty() {
        shared.give_back(process.program, back);
    }
    let short = process.started.is_none() && (1..SHORT_MICROS).contains(&process.micros);
    let given = if left == 0 || short && left * process.micros < SHORT_MICROS {
        let more = shared.take_more(seat, process.program, process.since, process.micros);
        more.map_or(Ok(()), |batch| give(process, batch))
    } else {
        Ok(())
    };
    let queue = shared.queue();
    let chair = &queue.seats[seat];
    told.extend(now_under_way(chair, process));
    let is_busy = !chair.window.is_empty();
    drop(queue);
    shared.report(told);
    given?;
    if !recall.is_empty() {
        frame::write(process.node.get_ref(), &Request::Stop { tickets: recall })?;
    }
    Ok(is_busy)
}

/// What a process does now, if that is not what was said of it last: it takes one chunk after the other.
fn now_under_way(chair: &Seat, process: &mut Process) -> Option<Report> {
    let first = chair.window.front().map(|item| item.chunk.ticket);
    let before = std::mem::replace(&mut process.under_way, first);
    first.filter(|ticket| before != Some(*ticket)).map(|ticket| Report::Started { ticket })
}

/// The report of a chunk that has ended, if it can be true.
fn sound(process: &mut Process, item: &Item, report: Report) -> Report {
    let parts = process.parts.take().filter(|(of, ..)| *of == item.chunk.ticket);
    let (has, whole) = parts.map_or((0, None), |(_, has, whole)| (has, Some(whole)));
    match report {
        Report::Finished { ticket, output, .. }
            if has + output.len() as u64 > item.spec.limits.output_bytes
                || whole.is_some_and(|whole| whole != has + output.len() as u64) =>
        {
            let message = format!("it gave {} bytes, not what it could", has + output.len() as u64);
            failed(ticket, Failure::Internal { message })
        }
        Report::Finished { wall_micros, .. } => {
            process.micros = if process.micros == 0 { wall_micros } else { (7 * process.micros + wall_micros) / 8 };
            process.micros = process.micros.max(1);
            report
        }
        other => other,
    }
}

/// Ends the process if its chunk is over its time, or if it is not what it should be. The answer is when to look again.
fn check(shared: &Shared, seat: usize, process: &mut Process) -> Duration {
    let cpu = cpu_time(process.pid);
    let mut queue = shared.queue();
    let chair = &mut queue.seats[seat];
    let Some(first) = chair.window.front().map(|item| item.chunk.ticket) else { return LOOK };
    if cpu > process.used.cpu || !chair.lent {
        (process.used.cpu, process.used.at) = (cpu, Instant::now());
    }
    let heard = *process.used.heard.get_or_insert(cpu);
    let stuck = process.used.at.elapsed() >= STUCK;
    if let Some((ticket, base, limit)) = process.started {
        let ran = cpu.saturating_sub(base);
        if ran >= limit {
            let millis = limit.as_millis() as u64;
            chair.doom(ticket, Failure::TimedOut { millis, stderr: String::new() });
            return LOOK;
        }
        if !stuck {
            return (limit - ran).min(LOOK);
        }
    }
    let silent = process.started.is_none() && cpu.saturating_sub(heard) > SILENCE;
    if silent || stuck {
        let ticket = chair.started.unwrap_or(first);
        chair.doom(ticket, Failure::Internal { message: "its sandbox process did not answer".to_owned() });
    }
    LOOK
}

/// Clears up after a process that is dead, or has said what makes no sense.
fn autopsy(shared: &Shared, seat: usize, program: ProgramId, error: &io::Error) {
    // It takes the system a while to clear up, for which the others need not wait.
    let status = bury(shared, seat);
    let mut queue = shared.queue();
    let quit = queue.quit;
    let chair = &mut queue.seats[seat];
    let mut window: Vec<Item> = chair.window.drain(..).collect();
    let (doomed, started) = (chair.doomed.take(), chair.started.take());
    chair.recalled.clear();
    let unwanted = std::mem::take(&mut chair.unwanted);
    drop(queue);
    if quit {
        return;
    }
    let mut told = Vec::new();
    let mut is_over = |ticket: u64, window: &mut Vec<Item>, failure: Failure| {
        if let Some(at) = window.iter().position(|item| item.chunk.ticket == ticket) {
            window.remove(at);
            told.push(failed(ticket, failure));
        }
    };
    for ticket in unwanted {
        is_over(ticket, &mut window, Failure::Stopped);
    }
    if let Some((ticket, failure)) = doomed {
        is_over(ticket, &mut window, failure);
    } else {
        let ended = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        );
        let what = if ended { how(status) } else { format!("made no sense: {error}") };
        let message = format!("its sandbox process {what}");
        let culprit = started.or(window.first().filter(|_| window.len() == 1).map(|item| item.chunk.ticket));
        let culprit = culprit.and_then(|ticket| window.iter().find(|item| item.chunk.ticket == ticket));
        let forbidden = status.and_then(|status| status.signal()) == Some(libc::SIGSYS);
        match culprit {
            Some(item) if item.alone || forbidden => {
                let ticket = item.chunk.ticket;
                is_over(ticket, &mut window, Failure::Internal { message });
            }
            // Whoever it was, or nobody's fault: each gets a process of its own to show it.
            _ => window.iter_mut().for_each(|item| item.alone = true),
        }
    }
    shared.report(told);
    if !window.is_empty() {
        shared.give_back(program, window);
    }
}

/// Says of what a seat was to run that it cannot be run here.
fn refuse(shared: &Shared, seat: usize, why: &str) {
    let window = std::mem::take(&mut shared.queue().seats[seat].window);
    let failure = Failure::Internal { message: bounded(why) };
    shared.report(window.into_iter().map(|item| failed(item.chunk.ticket, failure.clone())).collect());
}

/// Ends the process of a seat, if it has one; how it ended, where it had done so by itself.
fn bury(shared: &Shared, seat: usize) -> Option<ExitStatus> {
    let child = shared.queue().seats[seat].child.take();
    child.and_then(end)
}

fn end(mut child: Child) -> Option<ExitStatus> {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().ok()
}

/// How a process ended, in words.
fn how(status: Option<ExitStatus>) -> String {
    match status.and_then(|status| status.signal()) {
        Some(libc::SIGSYS) => "was ended by the system, for a call that it is forbidden".to_owned(),
        Some(libc::SIGKILL) => "was killed; the system may be out of memory".to_owned(),
        Some(signal) => format!("was ended by signal {signal}"),
        None => status.map_or("is gone".to_owned(), |status| format!("ended with {status}")),
    }
}

/// Time that a process has spent on the processor; none of one that is gone.
#[cfg(target_os = "linux")]
fn cpu_time(pid: u32) -> Duration {
    let (Ok(pid), mut clock) = (libc::pid_t::try_from(pid), 0) else { return Duration::ZERO };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to what they are given, and to nothing else.
    #[allow(unsafe_code, reason = "there is no safe way to another process's clock; its file in /proc costs ten calls")]
    let is_told = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if is_told { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}

/// Elsewhere, time by the wall.
#[cfg(not(target_os = "linux"))]
fn cpu_time(_pid: u32) -> Duration {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}
