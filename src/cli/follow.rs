//! Follows a job of one's own to its end: shows how it goes, presents what comes out, and sums up.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::NodeId;
use essaim_worker::{Program, StopFlag};
use serde_json::json;
use tokio::sync::oneshot;

use super::args::Global;
use super::fail::Fail;
use super::jobs;
use super::present::{Fold, Leg, Unwritten, present};
use super::progress::Show;
use super::say::{count, say};
use crate::control::{Asked, Wish, Wishes};
use crate::peer::{End, Job, Peer, Progress};

/// How often the bar is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a job that is to be left waits for the first peer.
const PEERS_WITHIN: Duration = Duration::from_secs(30);

/// A job that is followed.
pub struct Followed {
    pub job: Job,
    /// The program, if it folds the outputs.
    pub fold: Option<Program>,
    /// Whether this machine works too.
    pub lends: bool,
    /// When the person asked for it.
    pub began: Instant,
}

/// Writes the outputs to standard output as they come, shows how the job goes, and sums up; `peer` has left when this
/// returns. A job that has come to its end is forgotten; one that this node has left stands on the disk.
///
/// # Errors
/// Why the job did not come to its end, or its output not out.
pub async fn to_the_end(global: &Global, peer: Peer, mut wishes: Wishes, followed: Followed) -> Result<(), Fail> {
    let Followed { job, fold, lends, began } = followed;
    let (opened, id, chunks) = (Instant::now(), job.id, job.manifest.chunks);
    let fold = fold.map(|program| Fold { program, spec: job.spec() });
    let stop = StopFlag::default();
    let (written, writing) = oneshot::channel();
    let show = Show::new(global, chunks, peer.net().node(), lends);
    let bar = show.bar();
    let (leg, stopping) = (Leg { outputs: Arc::clone(&job.outputs), chunks }, stop.clone());
    std::thread::spawn(move || {
        // Whoever waits for it may have given up.
        let _ = written.send(present(std::iter::once(leg), fold, &stopping, bar));
    });
    let outcome = follow(show, &peer, &mut wishes, job, writing).await;
    let job_took = opened.elapsed();
    stop.stop();
    let me = peer.net().node();
    wishes.close().await;
    let forgotten = if matches!(outcome, Err(Halt::Left(_))) { Ok(()) } else { peer.forget(id) };
    peer.shutdown().await;
    let (end, story) = outcome.map_err(Halt::into_fail)?;
    forgotten.map_err(|e| Fail::of(&e, e.hint()))?;
    say(global, story.summary(&end, me, began.elapsed()), "done", story.fields(&end, me, began.elapsed(), job_took));
    Ok(())
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
}

/// Shows how the job goes until it has ended and its output is written.
async fn follow(
    mut show: Show<'_>,
    peer: &Peer,
    wishes: &mut Wishes,
    mut job: Job,
    mut writing: oneshot::Receiver<Result<(), Unwritten>>,
) -> Result<(End, Story), Halt> {
    let mut story = Story::default();
    let mut failed = None;
    let mut written: Option<Result<(), Unwritten>> = None;
    let mut ended: Option<End> = None;
    let mut interrupted = false;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let gone = || Halt::Left(Fail::new("the node stopped by itself", "please report it"));
    loop {
        (ended, written) = match (ended, written) {
            (Some(end), Some(written)) => {
                show.finish();
                return match (end.reason, written) {
                    (Some(Reason::Done), Ok(())) => Ok((end, story)),
                    (_, Err(Unwritten::Failed(fail))) => Err(Halt::Over(fail)),
                    (_, Err(Unwritten::Full(message))) => Err(Halt::Left(later(message, &job))),
                    // As if the pipe's signal had ended us, without a word.
                    (_, Err(Unwritten::Closed)) => Err(Halt::Over(Fail::new("", "").with_status(141))),
                    (None, _) => Err(Halt::Left(left(&end, &job))),
                    (Some(reason), _) => Err(Halt::Over(failed.unwrap_or_else(|| why(reason)))),
                };
            }
            still => still,
        };
        tokio::select! {
            _ = look.tick() => show.update(&job.progress.borrow_and_update().clone()),
            Some(notice) = job.notices.recv() => hear(&show, notice, &mut story, &mut failed),
            Some(Asked { wish, answer }) = wishes.next() => {
                // Whoever asked may have gone.
                let _ = answer.send(answer_to(wish, peer, &job).await);
            }
            end = &mut job.ended, if ended.is_none() => {
                while let Ok(notice) = job.notices.try_recv() {
                    hear(&show, notice, &mut story, &mut failed);
                }
                ended = Some(end.map_err(|_| gone())?);
            }
            done = &mut writing, if written.is_none() => {
                let done = done.map_err(|_| gone())?;
                match done {
                    Ok(()) | Err(Unwritten::Ended) => {}
                    Err(Unwritten::Full(_)) => peer.detach(job.id).await,
                    Err(_) => peer.cancel(job.id).await,
                }
                written = Some(done);
            }
            _ = tokio::signal::ctrl_c() => {
                if interrupted {
                    peer.cancel(job.id).await;
                } else {
                    interrupted = true;
                    let words = format!(
                        "essaim: leaving job {} to its peers, with all that they need; Ctrl-C once more ends it",
                        job.id.short()
                    );
                    show.say(&words, "leaving", json!({ "job": job.id.to_string() }));
                    peer.detach(job.id).await;
                }
            }
        }
    }
}

/// What whoever speaks to this node is told.
async fn answer_to(wish: Wish, peer: &Peer, job: &Job) -> serde_json::Value {
    match wish {
        Wish::Jobs => {
            json!([jobs::describe(job.id, &job.manifest, job.progress.borrow().sealed)])
        }
        Wish::Look => json!(peer.look().await),
        Wish::Cancel(id) if id == job.id => {
            peer.cancel(id).await;
            json!("cancelled")
        }
        // The others are for those that only lend.
        _ => serde_json::Value::Null,
    }
}

/// This node has left the job, as the person wanted, or as it had to.
fn left(end: &End, job: &Job) -> Fail {
    let id = job.id.short();
    match &end.trouble {
        Some(trouble) => later(trouble.clone(), job),
        None => {
            let (sealed, chunks) = (end.progress.sealed, count(u64::from(end.progress.chunks), "chunk"));
            let hint = format!("`essaim attach {id}` gets the rest, `essaim cancel {id}` ends it{}", elsewhere(end));
            let message = format!("detached from job {id}: {sealed} of {chunks} are here; {}", kept_by(end));
            Fail::new(message, hint).with_status(130)
        }
    }
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
                let _ = answer.send(answer_to(wish, &peer, &job).await);
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
fn later(message: String, job: &Job) -> Fail {
    let id = job.id.short();
    Fail::new(message, format!("make room, then `essaim attach {id}` goes on: nothing is lost"))
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

/// Chunks that nobody ran for this job: an earlier one had.
fn before(end: &End) -> u32 {
    end.progress.sealed - end.progress.by.values().sum::<u32>().min(end.progress.sealed)
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
