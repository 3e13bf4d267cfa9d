//! One run of a program over peers that are up, and where its time went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::NodeId;

use super::super::args::{Global, Run};
use super::super::run::{Of, Plan};
use super::super::{Fail, input};
use super::report::{Span, Went};
use super::suite::Answer;
use crate::blob::Blob;
use crate::peer::{Job, Leg, Peer, parted};

/// What one run has shown.
pub struct Round {
    pub took: Duration,
    pub chunks: u32,
    pub went: Went,
    pub spans: Vec<Span>,
    pub answer: blake3::Hash,
}

/// An output as it came.
struct Came {
    chunk: u32,
    worker: NodeId,
    cpu: Duration,
    at: Duration,
}

/// Runs it, from cutting its input to the last result, and gives the job back.
///
/// # Errors
/// The input cannot be cut, or the job failed.
pub async fn round(global: &Global, author: &Peer, run: &Run, peers: u16, answer: Answer) -> Result<Round, Fail> {
    let way = input::Way::of(run)?;
    let of = Of { path: run.program.clone(), script: None };
    let began = Instant::now();
    let plan = tokio::task::block_in_place(|| Plan::of(global, run, way, of, author.home(), &|| peers.into()))?;
    let cut = began.elapsed();
    let (work, _, draft, _) = plan.into_work(run.clone());
    let mut job = author.submit(work.submission(draft, 0)).await.map_err(|error| Fail::of(&error, error.hint()))?;
    let (id, leg) = (job.id, Leg::of(&job));
    let watched = leg.clone();
    let watch = tokio::task::spawn_blocking(move || come(&watched, began + cut));
    let ended = tokio::select! {
        ended = &mut job.ended => ended.ok().and_then(|end| end.reason),
        _ = tokio::signal::ctrl_c() => {
            author.cancel(id).await;
            let _ = job.ended.await;
            return Err(Fail::new("stopped", "").with_status(130));
        }
    };
    let came = watch.await.unwrap_or_default();
    if ended != Some(Reason::Done) {
        return Err(why(&mut job));
    }
    let took = came.last().map_or(Duration::ZERO, |last| cut + last.at);
    let chunks = leg.manifest.chunks;
    let outputs = (0..chunks).map(|chunk| read(&leg, chunk));
    let answer = tokio::task::block_in_place(|| answer.of(outputs))?;
    tokio::task::block_in_place(|| author.forget(id)).map_err(|error| Fail::of(&error, error.hint()))?;
    let spans = spans(&came);
    let went = went(cut, took, peers, &came, &spans);
    Ok(Round { took, chunks, went, spans, answer })
}

/// Why a job has failed, in the words of what failed last.
fn why(job: &mut Job) -> Fail {
    while let Ok(notice) = job.notices.try_recv() {
        if let Notice::Failed { chunk, worker, note, retried: false } = notice {
            let (message, hint) = parted(&note.message);
            return Fail::new(format!("chunk {chunk} failed at peer {}: {message}", worker.short()), hint);
        }
    }
    Fail::new("the job did not come to its end", "`essaim run` with the same words may say more")
}

/// The outputs, as they come. Blocks.
fn come(leg: &Leg, since: Instant) -> Vec<Came> {
    let mut came = Vec::new();
    while let Some((chunk, sealed)) = leg.outputs.wait_nth(came.len()) {
        let at = since.elapsed();
        came.push(Came { chunk, worker: sealed.worker, cpu: sealed.cpu.unwrap_or_default(), at });
        if came.len() == leg.manifest.chunks as usize {
            break;
        }
    }
    came
}

fn read(leg: &Leg, chunk: u32) -> Result<Vec<u8>, Fail> {
    let gone = |why: String| Fail::new(format!("an output cannot be read back: {why}"), "check the disk");
    let output: Blob = leg.outputs.wait(chunk).ok_or_else(|| gone("it is not there".into()))?.bytes;
    let bytes = output.read(0, output.len() as usize).map_err(|error| gone(error.to_string()))?;
    Ok(bytes.to_vec())
}

fn spans(came: &[Came]) -> Vec<Span> {
    let mut peers: BTreeMap<NodeId, u16> = BTreeMap::new();
    for one in came {
        let next = peers.len() as u16;
        peers.entry(one.worker).or_insert(next);
    }
    let span = |one: &Came| {
        let from = one.at.saturating_sub(one.cpu).as_secs_f64();
        Span { chunk: one.chunk, peer: peers[&one.worker], from, to: one.at.as_secs_f64() }
    };
    came.iter().map(span).collect()
}

/// Where the time went, as far as the author can see it.
fn went(cut: Duration, took: Duration, peers: u16, came: &[Came], spans: &[Span]) -> Went {
    let (cut, took) = (cut.as_secs_f64(), took.as_secs_f64());
    let first = spans.iter().map(|span| span.from).fold(f64::MAX, f64::min);
    let start = if spans.is_empty() { 0.0 } else { first };
    let threads = f64::from(peers.max(1));
    let run = came.iter().map(|one| one.cpu.as_secs_f64()).sum::<f64>() / threads;
    let end = took - cut;
    let mut last = vec![start; usize::from(peers)];
    for span in spans {
        if let Some(last) = last.get_mut(usize::from(span.peer)) {
            *last = last.max(span.to);
        }
    }
    let tail = last.iter().map(|last| end - last).sum::<f64>() / threads;
    let between = (end - start - run - tail).max(0.0);
    Went { cut, start, run: run.min(end - start), tail: tail.max(0.0), between }
}
