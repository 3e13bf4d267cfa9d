//! The combine jobs of one run, as whoever follows it sees them: submitted as the levels of the tree ask for, and
//! forgotten as they end.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::NodeId;
use tokio::sync::mpsc;

use super::{Ask, Tree};
use crate::cli::fail::Fail;
use crate::cli::input::full;
use crate::cli::run::Work;
use crate::peer::{End, Job, Peer, Progress, Traffic, parted};

/// Combine jobs that are open at the same time: what they take stands on this disk a second time.
const OPEN: usize = 3;

/// What happens next to the combine jobs.
pub enum Step {
    /// The node has something to tell of one of them.
    Notice(Notice),
    /// The job at this place has ended; without a word where the node is gone.
    Ended(usize, Option<End>),
    /// The tree asks for something.
    Asked(Ask),
}

/// The combine jobs of one run.
pub struct Combining {
    work: Arc<Work>,
    asks: mpsc::Receiver<Ask>,
    open: Vec<Job>,
    /// What those had to show that have ended.
    past: Progress,
    traffic: Traffic,
    is_stopped: bool,
}

impl Combining {
    /// Those of a run of so many chunks, or of an unknown number, and the tree that asks for them.
    pub fn new(work: Arc<Work>, chunks: Option<u32>, if_worth: bool, home: &Path) -> (Combining, Tree) {
        let (sender, asks) = mpsc::channel(1);
        let tree = Tree::new(chunks, if_worth, work.most_output_bytes(), home.to_owned(), sender);
        let (past, traffic) = (Progress::default(), Traffic::default());
        (Combining { work, asks, open: Vec::new(), past, traffic, is_stopped: false }, tree)
    }

    /// What happens next.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        for (at, job) in self.open.iter_mut().enumerate() {
            if let Poll::Ready(Some(notice)) = job.notices.poll_recv(context) {
                return Poll::Ready(Step::Notice(notice));
            }
            if let Poll::Ready(end) = Pin::new(&mut job.ended).poll(context) {
                return Poll::Ready(Step::Ended(at, end.ok()));
            }
        }
        if self.open.len() < OPEN
            && !self.is_stopped
            && let Poll::Ready(Some(ask)) = self.asks.poll_recv(context)
        {
            return Poll::Ready(Step::Asked(ask));
        }
        Poll::Pending
    }

    /// Does what the tree asks for.
    ///
    /// # Errors
    /// It cannot be done.
    pub async fn answer(&mut self, peer: &Peer, ask: Ask) -> Result<(), Fail> {
        match ask {
            Ask::Draft(reply) => {
                let draft = tokio::task::block_in_place(|| self.work.draft(peer));
                let draft = draft.map_err(|error| failed(full(peer.home().dir(), &error)))?;
                // Who asked may have gone.
                let _ = reply.try_send(draft);
            }
            Ask::Run(draft, first_chunk, reply) => {
                let job = peer.submit(self.work.combination(*draft, first_chunk)).await;
                let job = job.map_err(|error| failed(Fail::of(&error, error.hint())))?;
                let _ = reply.try_send(Arc::clone(&job.outputs));
                self.open.push(job);
            }
            Ask::Failed(fail) => return Err(failed(fail)),
        }
        Ok(())
    }

    /// Forgets the job at this place, which has ended: what has come out of it is read by those who have it open.
    ///
    /// # Errors
    /// It has not come to its end, or cannot be forgotten.
    pub fn ended(&mut self, peer: &Peer, at: usize, end: Option<&End>) -> Result<(), Fail> {
        let job = self.open.remove(at);
        let end = end.ok_or_else(|| Fail::new("the node stopped by itself", "please report it"))?;
        let id = job.id;
        self.past.sealed += end.progress.sealed;
        self.past.chunks += end.progress.chunks;
        self.traffic.add(&end.traffic);
        drop(job);
        let forgotten = tokio::task::block_in_place(|| peer.forget(id));
        forgotten.map_err(|error| failed(Fail::of(&error, error.hint())))?;
        match (end.reason, &end.trouble) {
            (Some(Reason::Failed), _) => Err(failed(Fail::new("a job of it failed", "run it again with --verbose"))),
            (None, Some(trouble)) if !self.is_stopped => Err(failed(Fail::new(trouble, "make room"))),
            _ => Ok(()),
        }
    }

    /// What the node still has to tell of the job at this place, which has ended.
    pub fn last_notice(&mut self, at: usize) -> Option<Notice> {
        self.open[at].notices.try_recv().ok()
    }

    /// Takes all back: nothing more is combined.
    pub async fn stop(&mut self, peer: &Peer) {
        if std::mem::replace(&mut self.is_stopped, true) {
            return;
        }
        // Whoever waits for an answer waits no more.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        for job in &self.open {
            peer.cancel(job.id).await;
        }
    }

    /// Forgets those that are open. Their node is gone, or they have ended.
    pub fn forget_all(&mut self, peer: &Peer) {
        for job in self.open.drain(..) {
            if let Err(error) = peer.forget(job.id) {
                tracing::warn!(%error, "a combine job stays until the home is opened again");
            }
        }
    }

    /// Whether none is open.
    pub fn are_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Those that are open.
    pub fn open(&self) -> impl Iterator<Item = &Job> {
        self.open.iter()
    }

    /// Chunks that were combined, and chunks in all that were asked for so far.
    pub fn so_far(&self) -> (u32, u32) {
        let open = self.open.iter().map(|job| {
            let progress = job.progress.borrow();
            (progress.sealed, progress.chunks)
        });
        open.fold((self.past.sealed, self.past.chunks), |(sealed, chunks), (more, of)| (sealed + more, chunks + of))
    }

    /// What those that have ended cost on the wire.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

/// A combine chunk failed at a peer, with these words of its: as an error, and in one line.
pub fn failed_at(worker: NodeId, words: &str) -> (Fail, String) {
    let (message, hint) = parted(words);
    let fail = failed(Fail::new(format!("at peer {}: {message}", worker.short()), hint));
    let message = fail.parts().0.to_owned();
    (fail, message)
}

/// Combining failed, for this reason.
fn failed(why: Fail) -> Fail {
    let (message, hint) = why.parts();
    let rest = "--reduce=here folds all outputs on this machine, and combines none";
    let hint = if hint.is_empty() { rest.to_owned() } else { format!("{hint}\n{rest}") };
    Fail::new(format!("combining the outputs failed: {message}"), hint)
}
