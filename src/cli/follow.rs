//! Follows a job of one's own, or a row of them, to its end: shows how it goes, presents what comes out, and sums up.

use std::io::Write;
use std::time::{Duration, Instant};

use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::NodeId;
use essaim_worker::{Program, StopFlag};
use serde_json::json;
use tokio::sync::oneshot;

use super::args::Global;
use super::explain;
use super::fail::Fail;
use super::jobs;
use super::legs::{Coming, Happened, Legs, Outcome};
use super::present::{Destination, Folding, Unwritten, present};
use super::progress::Show;
use super::run::Combine;
use super::say::{count, say};
use super::tree::{Combining, Step, failed_at};
use crate::control::{Asked, Wish, Wishes};
use crate::peer::{End, Fold, Job, Peer, Progress, parted};

/// How often the bar is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a job that is to be left waits for the first peer.
const PEERS_WITHIN: Duration = Duration::from_secs(30);

/// Compiles the program that folds the outputs: the swarm is at work meanwhile. Blocks.
pub type Compile = Box<dyn FnOnce() -> Result<Program, Fail> + Send>;

/// A job that is followed.
pub struct Followed {
    pub job: Job,
    /// What becomes of its outputs.
    pub to: Destination,
    /// Gives the program, if it folds the outputs.
    pub fold: Option<Compile>,
    /// Whether this machine works too.
    pub lends: bool,
    /// When the person asked for it.
    pub began: Instant,
    /// What follows it, where it is the beginning of an input without an end.
    pub coming: Option<Coming>,
    /// How outputs are combined before they are folded, if they are.
    pub combine: Option<Combine>,
}

/// Writes the outputs to standard output as they come, shows how the job goes, and sums up; `peer` has left when this
/// returns. A job that has come to its end is forgotten; one that this node has left stands on the disk.
///
/// # Errors
/// Why the job did not come to its end, or its output not out.
pub async fn to_the_end(global: &Global, peer: Peer, mut wishes: Wishes, followed: Followed) -> Result<(), Fail> {
    let Followed { job, to, fold, lends, began, coming, combine } = followed;
    let opened = Instant::now();
    let chunks = coming.is_none().then_some(job.manifest.chunks);
    let (combining, tree) =
        combine.map(|Combine { work, if_worth }| Combining::new(work, chunks, if_worth, peer.home().dir())).unzip();
    let spec = job.spec();
    let stop = StopFlag::default();
    let (written, writing) = oneshot::channel();
    let (mut legs, queue) = Legs::new(job, coming, combining);
    let show = Show::new(global, lends);
    let (to, stopping) = (to.beside(show.bar()), stop.clone());
    std::thread::spawn(move || {
        let compiled = fold.map(|compile| compile()).transpose().map_err(Unwritten::Failed);
        let done = compiled.and_then(|program| {
            let fold = program.map(|program| Folding { fold: Fold { program, spec }, tree });
            present(queue, to, fold, &stopping)
        });
        // Whoever waits for it may have given up.
        let _ = written.send(done);
    });
    let outcome = follow(global, &peer, &mut wishes, &mut legs, show, writing, &stop).await;
    let job_took = opened.elapsed();
    stop.stop();
    let me = peer.net().node();
    wishes.close().await;
    let (end, combined) = (legs.end(), legs.combined());
    let forgotten = legs.give_all_back(&peer, matches!(outcome, Err(Halt::Left(_))));
    peer.shutdown().await;
    let failures = legs.failures().words();
    if let (Err(Halt::Over(_)), Some(failures)) = (&outcome, &failures) {
        say(global, format!("essaim: {failures}"), "failures", json!({ "message": failures.to_string() }));
    }
    let story = outcome.map_err(Halt::into_fail)?;
    forgotten.map_err(|e| Fail::of(&e, e.hint()))?;
    let story = Story { combined, ..story };
    say(global, story.summary(&end, me, began.elapsed()), "done", story.fields(&end, me, began.elapsed(), job_took));
    failures.map_or(Ok(()), Err)
}

/// Why a job is not followed any further.
enum Halt {
    /// It has ended, or nobody wants its output.
    Over(Fail),
    /// It goes on without this node.
    Left(Fail),
}

impl Halt {
    fn into_fail(self) -> Fail {
        let (Halt::Over(fail) | Halt::Left(fail)) = self;
        fail
    }
}

/// What happened on the way, for the summary.
#[derive(Default)]
struct Story {
    lost: Vec<(NodeId, u64, u64)>,
    retried: u64,
    /// Chunks in which outputs were combined.
    combined: u32,
}

/// Shows how the jobs go until they have ended and their output is written.
async fn follow(
    global: &Global,
    peer: &Peer,
    wishes: &mut Wishes,
    legs: &mut Legs,
    mut show: Show<'_>,
    mut writing: oneshot::Receiver<Result<(), Unwritten>>,
    stop: &StopFlag,
) -> Result<Story, Halt> {
    let me = peer.net().node();
    let mut story = Story::default();
    let mut failed = None;
    let mut written: Option<Result<(), Unwritten>> = None;
    let mut interrupted = false;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let gone = || Halt::Left(Fail::new("the node stopped by itself", "please report it"));
    loop {
        if let Some(written) = written.take_if(|_| legs.are_over()) {
            show.finish();
            return ended(legs, written, failed).map(|()| story);
        }
        tokio::select! {
            _ = look.tick() => {
                legs.look(peer);
                show.update(&legs.so_far(me));
            }
            happened = legs.next() => match happened {
                Happened::Notice(at, notice) => hear(&show, legs.first_chunk(at), notice, &mut story, &mut failed),
                Happened::Ended(at, end) => {
                    while let Some(notice) = legs.last_notice(at) {
                        hear(&show, legs.first_chunk(at), notice, &mut story, &mut failed);
                    }
                    legs.ended(peer, at, end.ok_or_else(gone)?).await;
                }
                Happened::Combining(step) => {
                    if let Some(fail) = combine(&show, peer, legs, step, &mut story).await {
                        failed.get_or_insert(fail);
                        legs.cancel(peer).await;
                    }
                }
                Happened::Read(filled) => {
                    // A person sees it on the bar.
                    if let Some(fields) = legs.open(peer, filled).await.filter(|_| global.json) {
                        show.say("", "submitted", fields);
                    }
                }
            },
            Some(Asked { wish, answer }) = wishes.next() => {
                let ends = matches!(wish, Wish::Cancel(id) if legs.jobs().any(|job| job.id == id));
                if ends && legs.stop_combining(peer).await {
                    failed.get_or_insert_with(|| why(Reason::Cancelled));
                }
                // Whoever asked may have gone.
                let _ = answer.send(answer_to(wish, peer, &legs.jobs().collect::<Vec<_>>()).await);
            }
            done = &mut writing, if written.is_none() => {
                let done = done.map_err(|_| gone())?;
                match done {
                    Ok(()) | Err(Unwritten::Ended) => {}
                    Err(Unwritten::Full(_)) => legs.leave(peer).await,
                    Err(_) => legs.cancel(peer).await,
                }
                written = Some(done);
            }
            _ = tokio::signal::ctrl_c() => {
                if interrupted {
                    legs.cancel(peer).await;
                } else {
                    interrupted = true;
                    if legs.is_part() {
                        // A fold must not take what was read for everything.
                        stop.stop();
                    }
                    let (words, fields) = leaving(legs);
                    show.say(&words, "leaving", fields);
                    legs.leave(peer).await;
                }
            }
        }
    }
}

/// Does what the combine jobs need next; why nothing more can be combined.
async fn combine(show: &Show<'_>, peer: &Peer, legs: &mut Legs, step: Step, story: &mut Story) -> Option<Fail> {
    let have_ended = legs.have_ended();
    let combining = legs.combining()?;
    let mut failed = None;
    let mut hear_of = |notice| match notice {
        Notice::Failed { worker, note, retried, .. } => {
            let (fail, message) = failed_at(worker, &note.message);
            if retried {
                story.retried += 1;
                let fields = json!({ "combine": true, "peer": worker.to_string(), "message": message });
                show.say(&format!("essaim: {message}\n  it is tried again at another peer"), "retry", fields);
            } else {
                failed.get_or_insert(fail);
            }
        }
        // While they run, the other jobs say so.
        Notice::Lost { .. } if !have_ended => {}
        notice => hear(show, 0, notice, story, &mut failed),
    };
    let done = match step {
        Step::Notice(notice) => {
            hear_of(notice);
            Ok(())
        }
        Step::Asked(ask) => combining.answer(peer, ask).await,
        Step::Ended(at, end) => {
            while let Some(notice) = combining.last_notice(at) {
                hear_of(notice);
            }
            combining.ended(peer, at, end.as_ref())
        }
    };
    failed.or(done.err())
}

/// What it means that nothing more will happen.
fn ended(legs: &mut Legs, written: Result<(), Unwritten>, failed: Option<Fail>) -> Result<(), Halt> {
    match (legs.outcome(), written) {
        (Outcome::Done, Ok(())) => legs.take_trouble().map_or(Ok(()), |trouble| Err(Halt::Over(trouble))),
        (_, Err(Unwritten::Failed(fail))) => Err(Halt::Over(fail)),
        (_, Err(Unwritten::Full(message))) => Err(Halt::Left(later(message, legs))),
        // As if the pipe's signal had ended us, without a word.
        (_, Err(Unwritten::Closed)) => Err(Halt::Over(Fail::new("", "").with_status(141))),
        (Outcome::Left, _) => Err(Halt::Left(left(legs))),
        (Outcome::Over(reason), _) => Err(Halt::Over(failed.unwrap_or_else(|| why(reason)))),
        (Outcome::Done, Err(Unwritten::Ended)) if failed.is_none() && legs.are_left() => Err(Halt::Left(left(legs))),
        (Outcome::Done, Err(Unwritten::Ended)) => Err(Halt::Over(failed.unwrap_or_else(|| why(Reason::Failed)))),
    }
}

/// What a person is told who leaves, in words and for a program.
fn leaving(legs: &Legs) -> (String, serde_json::Value) {
    let jobs: Vec<String> = legs.jobs().map(|job| job.id.to_string()).collect();
    let words = match &jobs[..] {
        [] => "essaim: nothing more is read; Ctrl-C once more ends it at once".to_owned(),
        _ => format!("essaim: leaving {} to its peers, with all that they need; Ctrl-C once more ends it", named(legs)),
    };
    let fields = match &jobs[..] {
        [job] if !legs.is_streamed() => json!({ "job": job }),
        _ => json!({ "jobs": jobs }),
    };
    (words, fields)
}

/// What whoever speaks to this node is told.
async fn answer_to(wish: Wish, peer: &Peer, jobs: &[&Job]) -> serde_json::Value {
    match wish {
        Wish::Jobs => {
            let describe = |job: &&Job| jobs::describe(job.id, &job.manifest, job.progress.borrow().sealed);
            jobs.iter().map(describe).collect()
        }
        Wish::Look => json!(peer.look().await),
        Wish::Cancel(id) if jobs.iter().any(|job| job.id == id) => {
            peer.cancel(id).await;
            json!("cancelled")
        }
        // The others are for those that only lend.
        wish => explain::answer(wish, peer).await,
    }
}

/// The jobs that are not printed yet: `job a`, or `jobs a and b`.
fn named(legs: &Legs) -> String {
    let names: Vec<String> = legs.jobs().map(|job| job.id.short()).collect();
    format!("job{} {}", if names.len() == 1 { "" } else { "s" }, names.join(" and "))
}

/// How they are gone on with, in the order of the input.
fn attach(legs: &Legs) -> String {
    legs.jobs().map(|job| format!("`essaim attach {}`", job.id.short())).collect::<Vec<_>>().join(", then ")
}

/// This node has left the jobs, as the person wanted, or as it had to.
fn left(legs: &Legs) -> Fail {
    let end = legs.rest();
    if let Some(trouble) = end.trouble {
        return later(trouble, legs);
    }
    let unread = if legs.is_part() { "the rest of standard input was not read" } else { "" };
    if legs.jobs().next().is_none() {
        return Fail::new(format!("stopped: {unread}"), "what was read is done").with_status(130);
    }
    let (sealed, chunks) = (end.progress.sealed, count(u64::from(end.progress.chunks), "chunk"));
    if legs.have_ended() && end.handed.is_none() && sealed == end.progress.chunks {
        let message = format!("stopped: all {chunks} of {} are here, and not folded yet", named(legs));
        return Fail::new(message, format!("{} folds them, here", attach(legs))).with_status(130);
    }
    let cancel: Vec<String> = legs.jobs().map(|job| format!("`essaim cancel {}`", job.id.short())).collect();
    let hint = format!("{} gets the rest, {} ends it{}", attach(legs), cancel.join(", "), elsewhere(&end));
    let unread = if unread.is_empty() { String::new() } else { format!("; {unread}") };
    let message = format!("detached from {}: {sealed} of {chunks} are here; {}{unread}", named(legs), kept_by(&end));
    Fail::new(message, hint).with_status(130)
}

/// What becomes of a job that this node has left.
fn kept_by(end: &End) -> String {
    match end.handed {
        None => "no peer works on it: it stands still until you attach".into(),
        Some(handed) if handed.lonely > 0 => format!(
            "its peers go on with what they have: {} could be given to one of them at most",
            count(handed.lonely, "blob")
        ),
        Some(handed) => {
            format!("its peers go on, and keep {} for it", bytesize::ByteSize(handed.bytes).display().iec())
        }
    }
}

/// How it is attached from another machine.
fn elsewhere(end: &End) -> &'static str {
    let rest = "\non another machine: the same with --key FILE, the file author.key of this home";
    end.handed.map_or("", |_| rest)
}

/// Leaves a job to its peers as soon as some work on it, and prints its name on standard output.
///
/// # Errors
/// Nobody does.
pub async fn leave(global: &Global, peer: Peer, mut wishes: Wishes, followed: Followed) -> Result<(), Fail> {
    let Followed { mut job, .. } = followed;
    let me = peer.net().node();
    let workers = |progress: &Progress| {
        let members = progress.view.iter().flat_map(|view| &view.members);
        members.filter(|member| member.node != me && member.alive).count()
    };
    let mut progress = job.progress.clone();
    let (mut some, mut ended) = (false, None);
    let by = tokio::time::Instant::now() + PEERS_WITHIN;
    loop {
        tokio::select! {
            changed = progress.changed(), if !some => {
                if changed.is_ok() && workers(&progress.borrow_and_update()) > 0 {
                    some = true;
                    peer.detach(job.id).await;
                }
            }
            // What happens meanwhile is asked of those who attach.
            Some(_) = job.notices.recv() => {}
            Some(Asked { wish, answer }) = wishes.next() => {
                let _ = answer.send(answer_to(wish, &peer, &[&job]).await);
            }
            () = tokio::time::sleep_until(by), if !some => break,
            end = &mut job.ended => {
                ended = end.ok();
                break;
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    wishes.close().await;
    let id = job.id;
    let done = match ended {
        None => {
            let hint =
                format!("`essaim join` on another machine lends one; `essaim attach {}` runs it here", id.short());
            Err(Fail::new(format!("no peer works on job {}: it stands still", id.short()), hint))
        }
        Some(end) if end.reason.is_some() => {
            let hint = format!("`essaim results {}` prints its output", id.short());
            say(global, format!("essaim: job {} has ended already\n  hint: {hint}", id.short()), "ended", json!({}));
            Ok(())
        }
        Some(end) => {
            let hint = format!("`essaim attach {}` gets the output{}", id.short(), elsewhere(&end));
            let words = format!(
                "essaim: detached from job {}; {}\n  hint: {}",
                id.short(),
                kept_by(&end),
                hint.replace('\n', "\n        ")
            );
            let handed = end.handed.unwrap_or_default();
            let fields = json!({
                "job": id.to_string(), "blobs": handed.blobs, "bytes": handed.bytes, "lonely": handed.lonely,
            });
            say(global, words, "detached", fields);
            Ok(())
        }
    };
    peer.shutdown().await;
    // For a script; where nobody reads it is said above, too.
    let _ = writeln!(std::io::stdout(), "{id}");
    done
}

/// It can go on when there is room.
fn later(message: String, legs: &Legs) -> Fail {
    let lost =
        if legs.is_part() { "what was not read of standard input is to be given again" } else { "nothing is lost" };
    let hint = match legs.jobs().next() {
        Some(_) => format!("make room, then {} goes on: {lost}", attach(legs)),
        None => "make room, and give the input again: what was folded is lost".to_owned(),
    };
    Fail::new(message, hint)
}

/// Takes note of what the node has to tell.
fn hear(show: &Show<'_>, first_chunk: u32, notice: Notice, story: &mut Story, failed: &mut Option<Fail>) {
    match notice {
        Notice::Sealed { .. } => {}
        Notice::Failed { chunk, worker, note, retried } => {
            let chunk = first_chunk + chunk;
            let (message, hint) = parted(&note.message);
            let message = format!("chunk {chunk} failed at peer {}: {message}", worker.short());
            if retried {
                story.retried += 1;
                let fields = json!({ "chunk": chunk, "peer": worker.to_string(), "message": message });
                show.say(&format!("essaim: {message}\n  it is tried again at another peer"), "retry", fields);
            } else {
                *failed = Some(Fail::new(message, hint));
            }
        }
        Notice::GivenUp { chunk, worker, note } => {
            // In words they are listed at the end.
            let fields = json!({ "chunk": first_chunk + chunk, "peer": worker.to_string(), "message": note.message });
            show.tell("given-up", fields);
        }
        Notice::Disagreement { chunk, workers } => {
            let chunk = first_chunk + chunk;
            let message = format!("no two of the peers {} agree on the output of chunk {chunk}", names(&workers));
            let hint = "does the program depend on anything but its input? Else run it again with other peers";
            *failed = Some(Fail::new(message, hint));
        }
        Notice::Outvoted { chunk, workers } => {
            let chunk = first_chunk + chunk;
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

/// Chunks that nobody ran for this job: an earlier one had.
fn before(end: &End) -> u32 {
    let run = end.progress.by.values().sum::<u32>() + end.progress.given_up;
    end.progress.sealed.saturating_sub(run)
}

/// Why a job ended that did not get to its end, when no chunk says so.
fn why(reason: Reason) -> Fail {
    match reason {
        Reason::Cancelled => Fail::new("the job was cancelled", "run it again").with_status(130),
        Reason::Done | Reason::Failed => Fail::new("the job failed", "run it again with --verbose to see more"),
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
        let before = before(end);
        let mut by = match (who.len(), own) {
            (0, 0) if before > 0 => "none of them run again".to_owned(),
            (0, _) if before > 0 => format!("by this machine: {own}"),
            (0, _) => "all by this machine".to_owned(),
            (_, 0) => format!("by {}: {}", count(others.len() as u64, "peer"), who.join(", ")),
            _ => format!("by {}: {}, this machine {own}", count(others.len() as u64 + 1, "peer"), who.join(", ")),
        };
        if before > 0 && before < end.progress.chunks {
            by.push_str(&format!(", run before {before}"));
        }
        let mut out =
            format!("essaim: {} in {:.2} s, {by}", count(u64::from(end.progress.chunks), "chunk"), took.as_secs_f64());
        if self.combined > 0 {
            out.push_str(&format!(", combined in {}", count(self.combined.into(), "chunk")));
        }
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
            "reused": before(end),
            "failed": end.progress.given_up,
            "me": me.to_string(),
            "lost": lost,
            "retried": self.retried,
            "combined": self.combined,
            "messages_out": end.traffic.messages_out,
            "bytes_out": end.traffic.bytes_out,
            "messages_in": end.traffic.messages_in,
            "bytes_in": end.traffic.bytes_in,
        })
    }
}
