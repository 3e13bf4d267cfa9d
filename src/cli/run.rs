//! `essaim run`: from a program and an input to the output.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::{Limits, NodeId};
use essaim_worker::{ChunkSpec, DataFile, Engine, EngineConfig, JobSpec, Mode, Program, StopFlag};
use serde_json::json;
use tokio::sync::oneshot;

use super::args::{Global, Run, all_cpus, half_memory};
use super::fail::Fail;
use super::progress::Show;
use super::say::{count, say};
use super::{data, input, join, program};
use crate::peer::{Data, End, Job, Peer, Submission, Terms};
use crate::store::Spool;

/// How often the bar is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the program over the swarm.
///
/// # Errors
/// What the person got wrong, what failed, or that it was broken off.
pub async fn run(global: &Global, run: Run) -> Result<(), Fail> {
    let began = Instant::now();
    let cpus = run.cpus.unwrap_or_else(all_cpus);
    let path = program::find(global, &run.program).await?;
    // To check the program and to fold its outputs.
    let mode = Mode { metered: false, strict: run.strict };
    let config = EngineConfig { threads: 1, mode, ..EngineConfig::default() };
    let engine = Engine::new(config).map_err(|e| Fail::of(&e, e.hint()))?;
    let program = tokio::task::block_in_place(|| program::check(&engine, path))?;
    let home = join::home(global)?;
    let cut = tokio::task::block_in_place(|| input::cut(global, &run, &home))?;
    let data = tokio::task::block_in_place(|| data::open(&run.data, &home))?;
    let folds = program.compiled.declares_reduce() && !run.no_reduce;
    let chunks = cut.inputs.len() as u32;
    let what = format!("{}: {} ({}, {})", program.name, count(u64::from(chunks), "chunk"), size(cut.bytes), cut.how);
    if run.dry_run {
        let fold =
            if folds { "its outputs are folded by the program itself" } else { "its outputs are printed in order" };
        let program = program.path.display();
        let mut words = format!("essaim: would run {what}; {fold}\n  program {program}\n  arguments {:?}", run.args);
        for Data { name, blob, .. } in &data {
            words.push_str(&format!("\n  data {name} ({})", size(blob.len)));
        }
        let named: Vec<&str> = data.iter().map(|data| data.name.as_str()).collect();
        let fields = json!({
            "name": what, "chunks": chunks, "bytes": cut.bytes, "reduce": folds, "args": run.args, "data": named,
        });
        say(global, words, "dry-run", fields);
        return Ok(());
    }
    let peer = join::start(global, home, run.sandbox, Terms::always(cpus, half_memory())).await?;
    let limits = Limits {
        memory_bytes: run.memory,
        output_bytes: run.output,
        millis: run.timeout.as_millis().try_into().unwrap_or(u64::MAX),
        fuel: run.fuel,
    };
    let mounted = data.iter().map(|data| DataFile::of(data.name.clone(), Arc::clone(&data.file))).collect();
    let mounted = Result::map_err(mounted, |e| Fail::new(format!("a data file is gone: {e}"), "see where it went"))?;
    let spec = JobSpec { argv: run.args.clone(), env: run.env.clone(), data: mounted, seed: [0; 32], limits };
    let work = Submission {
        name: program.name.clone(),
        program: program.bytes,
        argv: run.args,
        env: run.env,
        inputs: cut.inputs,
        places: cut.places,
        data,
        limits,
        strict: run.strict,
        copies: run.copies,
        retries: run.retries,
    };
    let hint = "shorten the arguments or put them into the input; limits are listed by `essaim help run`";
    let submitted = Instant::now();
    let job = peer.submit(work).await.map_err(|e| Fail::of(&e, hint))?;
    let fields = json!({ "job": job.id.to_string(), "name": program.name, "chunks": chunks, "bytes": cut.bytes });
    say(global, format!("essaim: {what}"), "submitted", fields);

    let fold = folds.then(|| Fold { program: program.compiled, spec });
    let stop = StopFlag::default();
    let (written, writing) = oneshot::channel();
    let outputs = Arc::clone(&job.outputs);
    let stopping = stop.clone();
    std::thread::spawn(move || {
        // Whoever waits for it may have given up.
        let _ = written.send(present(&outputs, chunks, fold, &stopping));
    });
    let outcome = follow(global, &peer, job, cpus > 0, writing).await;
    let job_took = submitted.elapsed();
    stop.stop();
    let me = peer.net().node();
    peer.shutdown().await;
    let (end, story) = outcome?;
    say(global, story.summary(&end, me, began.elapsed()), "done", story.fields(&end, me, began.elapsed(), job_took));
    Ok(())
}

/// The program's own fold over its outputs.
struct Fold {
    program: Program,
    spec: JobSpec,
}

/// Why the output did not get to its end.
enum Unwritten {
    /// The job has no more outputs: it says itself why.
    Ended,
    /// Nobody reads any more.
    Closed,
    /// Something is wrong here.
    Failed(Fail),
}

/// Writes the outputs in order, or their fold, to standard output as they come. Blocks.
fn present(outputs: &Arc<Spool>, chunks: u32, fold: Option<Fold>, stop: &StopFlag) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
    match fold {
        None => {
            for chunk in 0..chunks {
                let output = outputs.wait(chunk).map_err(|e| unreadable(&e))?.ok_or(Unwritten::Ended)?;
                stdout.write_all(&output).map_err(unwritten)?;
            }
            stdout.flush().map_err(unwritten)
        }
        Some(fold) => {
            drop(stdout);
            let frames = Frames { outputs: Arc::clone(outputs), next: 0, chunks, body: None, stop: stop.clone() };
            let done = fold.program.run_streaming(&fold.spec, ChunkSpec::reduce(), frames, io::stdout(), stop);
            match done {
                Ok(_) => io::stdout().flush().map_err(unwritten),
                Err(_) if stop.is_stopped() => Err(Unwritten::Ended),
                Err((essaim_worker::Failure::Sink { .. }, _)) => Err(Unwritten::Closed),
                Err((failure, _)) => {
                    let note = crate::peer::note(&failure);
                    let (message, hint) = note.message.rsplit_once("\nhint: ").unwrap_or((&note.message, ""));
                    Err(Unwritten::Failed(Fail::new(format!("folding the outputs failed: {message}"), hint)))
                }
            }
        }
    }
}

fn unreadable(error: &io::Error) -> Unwritten {
    Unwritten::Failed(Fail::new(format!("cannot read an output back: {error}"), "check the disk of the node's home"))
}

fn unwritten(error: io::Error) -> Unwritten {
    match error.kind() {
        ErrorKind::BrokenPipe => Unwritten::Closed,
        ErrorKind::StorageFull => {
            Unwritten::Failed(Fail::new("cannot write the output: the disk is full", "make room, or write elsewhere"))
        }
        _ => Unwritten::Failed(Fail::new(format!("cannot write the output: {error}"), "see where it is written to")),
    }
}

/// The outputs as a fold reads them: each preceded by its length, a little-endian `u32`.
struct Frames {
    outputs: Arc<Spool>,
    next: u32,
    chunks: u32,
    body: Option<Bytes>,
    stop: StopFlag,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(body) = self.body.take() {
            return Some(body);
        }
        if self.next == self.chunks {
            return None;
        }
        match self.outputs.wait(self.next) {
            Ok(Some(body)) => {
                self.next += 1;
                let header = Bytes::copy_from_slice(&(body.len() as u32).to_le_bytes());
                self.body = Some(body);
                Some(header)
            }
            // The rest will not come. The fold must not take what it has for everything.
            Ok(None) | Err(_) => {
                self.stop.stop();
                None
            }
        }
    }
}

/// What happened on the way, for the summary.
#[derive(Default)]
struct Story {
    lost: Vec<(NodeId, u64, u64)>,
    retried: u64,
}

/// Shows how the job goes until it has ended and its output is written.
async fn follow(
    global: &Global,
    peer: &Peer,
    mut job: Job,
    lends: bool,
    mut writing: oneshot::Receiver<Result<(), Unwritten>>,
) -> Result<(End, Story), Fail> {
    let mut show = Show::new(global, job.chunks, peer.net().node(), lends);
    let mut story = Story::default();
    let mut failed = None;
    let mut written: Option<Result<(), Unwritten>> = None;
    let mut ended: Option<End> = None;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let gone = || Fail::new("the node stopped by itself", "please report it");
    loop {
        (ended, written) = match (ended, written) {
            (Some(end), Some(written)) => {
                show.finish();
                return match (end.reason, written) {
                    (Reason::Done, Ok(())) => Ok((end, story)),
                    (_, Err(Unwritten::Failed(fail))) => Err(fail),
                    // As if the pipe's signal had ended us, without a word.
                    (_, Err(Unwritten::Closed)) => Err(Fail::new("", "").with_status(141)),
                    (_, _) => Err(failed.unwrap_or_else(|| why(&end))),
                };
            }
            still => still,
        };
        tokio::select! {
            _ = look.tick() => show.update(&job.progress.borrow_and_update().clone()),
            Some(notice) = job.notices.recv() => hear(&show, notice, &mut story, &mut failed),
            end = &mut job.ended, if ended.is_none() => {
                while let Ok(notice) = job.notices.try_recv() {
                    hear(&show, notice, &mut story, &mut failed);
                }
                ended = Some(end.map_err(|_| gone())?);
            }
            done = &mut writing, if written.is_none() => {
                let done = done.map_err(|_| gone())?;
                if done.is_err() {
                    peer.cancel(job.id).await;
                }
                written = Some(done);
            }
            _ = tokio::signal::ctrl_c() => {
                show.finish();
                peer.cancel(job.id).await;
                return Err(Fail::new("cancelled", "nothing of this run is kept").with_status(130));
            }
        }
    }
}

/// Takes note of what the node has to tell.
fn hear(show: &Show<'_>, notice: Notice, story: &mut Story, failed: &mut Option<Fail>) {
    match notice {
        Notice::Sealed { .. } => {}
        Notice::Failed { chunk, worker, note, retried } => {
            let (message, hint) = note.message.rsplit_once("\nhint: ").unwrap_or((&note.message, ""));
            let message = format!("chunk {chunk} failed at peer {}: {message}", worker.short());
            if retried {
                story.retried += 1;
                let fields = json!({ "chunk": chunk, "peer": worker.to_string(), "message": message });
                show.say(&format!("essaim: {message}\n  it is tried again at another peer"), "retry", fields);
            } else {
                *failed = Some(Fail::new(message, hint));
            }
        }
        Notice::Disagreement { chunk, workers } => {
            let message = format!("no two of the peers {} agree on the output of chunk {chunk}", names(&workers));
            let hint = "does the program depend on anything but its input? Else run it again with other peers";
            *failed = Some(Fail::new(message, hint));
        }
        Notice::Outvoted { chunk, workers } => {
            let words = format!("essaim: chunk {chunk}: {} said something else than the others", names(&workers));
            let peers: Vec<_> = workers.iter().map(ToString::to_string).collect();
            show.say(&words, "outvoted", json!({ "chunk": chunk, "peers": peers }));
        }
        Notice::Banned { peer } => {
            let words = format!("essaim: peer {} was wrong too often: it is not asked any more", peer.short());
            show.say(&words, "banned", json!({ "peer": peer.to_string() }));
        }
        Notice::Lost { peer, held, rerun } => {
            story.lost.push((peer, held, rerun));
            let words = format!(
                "essaim: peer {} is gone; {} run again, {} that it had not run taken over",
                peer.short(),
                count(rerun, "chunk"),
                held
            );
            show.say(&words, "lost", json!({ "peer": peer.to_string(), "held": held, "rerun": rerun }));
        }
    }
}

fn names(peers: &[NodeId]) -> String {
    peers.iter().map(NodeId::short).collect::<Vec<_>>().join(" and ")
}

/// Why a job ended that did not get to its end, when no chunk says so.
fn why(end: &End) -> Fail {
    match (&end.trouble, end.reason) {
        (Some(trouble), _) => Fail::new(trouble, "make room, or choose another disk with --home DIR"),
        (None, Reason::Cancelled) => Fail::new("the job was cancelled", "run it again"),
        (None, _) => Fail::new("the job failed", "run it again with --verbose to see more"),
    }
}

impl Story {
    /// What was done, by whom, and what had to be done again.
    fn summary(&self, end: &End, me: NodeId, took: Duration) -> String {
        let mut others: Vec<_> = end.progress.by.iter().filter(|(node, _)| **node != me).collect();
        others.sort_by_key(|(_, chunks)| std::cmp::Reverse(**chunks));
        let mut who: Vec<String> = others.iter().map(|(node, chunks)| format!("{} {chunks}", node.short())).collect();
        if who.len() > 8 {
            let more = who.split_off(7).len();
            who.push(format!("{more} more"));
        }
        let own = end.progress.by.get(&me).copied().unwrap_or(0);
        let by = match (who.len(), own) {
            (0, _) => "all by this machine".to_owned(),
            (_, 0) => format!("by {}: {}", count(others.len() as u64, "peer"), who.join(", ")),
            _ => format!("by {}: {}, this machine {own}", count(others.len() as u64 + 1, "peer"), who.join(", ")),
        };
        let mut out =
            format!("essaim: {} in {:.2} s, {by}", count(u64::from(end.progress.chunks), "chunk"), took.as_secs_f64());
        for (peer, held, rerun) in &self.lost {
            out.push_str(&format!(
                "\n  peer {} was lost: {} run again, {held} taken over",
                peer.short(),
                count(*rerun, "chunk")
            ));
        }
        if self.retried > 0 {
            out.push_str(&format!("\n  {} had failed and passed at another peer", count(self.retried, "chunk")));
        }
        out
    }

    fn fields(&self, end: &End, me: NodeId, took: Duration, job_took: Duration) -> serde_json::Value {
        let by: serde_json::Map<_, _> =
            end.progress.by.iter().map(|(node, chunks)| (node.to_string(), json!(chunks))).collect();
        let lost = self.lost.iter();
        let lost = lost.map(|(peer, held, rerun)| json!({ "peer": peer.to_string(), "held": held, "rerun": rerun }));
        let lost: Vec<_> = lost.collect();
        json!({
            "chunks": end.progress.chunks,
            "seconds": took.as_secs_f64(),
            "job_seconds": job_took.as_secs_f64(),
            "by": by,
            "me": me.to_string(),
            "lost": lost,
            "retried": self.retried,
            "messages_out": end.traffic.messages_out,
            "bytes_out": end.traffic.bytes_out,
            "messages_in": end.traffic.messages_in,
            "bytes_in": end.traffic.bytes_in,
        })
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
