//! The jobs of one run: one, as a rule; of an input without an end a row of them, its legs, of which few are open at the
//! same time. What is printed is given back.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::task::Poll;
use std::time::Instant;

use coordinator_free::io::Notice;
use coordinator_free::message::Reason;
use essaim_jobs::NodeId;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Fail;
use super::failures::Failures;
use super::input::full;
use super::pace::{Look, Pace};

use super::progress::SoFar;
use super::run::Work;
use super::stream::{Filled, Source};
use super::tree::{Combining, Step};
use crate::peer::{End, Handed, Job, Leg, Peer, Progress, Traffic};
use crate::store::StoreError;

/// Legs whose inputs or outputs are on the disk, beside the one that is being read.
const OPEN: usize = 3;

/// Legs that are still to come.
pub struct Coming {
    pub source: Source,
    pub work: Arc<Work>,
    /// Bytes of the first leg, which is open already.
    pub first_bytes: u64,
}

/// What happens next to one of them.
pub enum Happened {
    /// The node has something to tell of the job at this place.
    Notice(usize, Notice),
    /// The job at this place has ended; without a word where the node is gone.
    Ended(usize, Option<End>),
    /// Another leg can be opened; none where the reader is gone.
    Read(Option<Filled>),
    /// Something of what combines the outputs.
    Combining(Step),
}

/// How all of them together have ended.
pub enum Outcome {
    Done,
    /// Some go on without this node, or some of the input was not read.
    Left,
    Over(Reason),
}

/// A job that is open, or not printed yet.
struct Open {
    job: Job,
    bytes: u64,
    end: Option<End>,
}

impl Open {
    fn progress(&self) -> Progress {
        self.end.as_ref().map_or_else(|| self.job.progress.borrow().clone(), |end| end.progress.clone())
    }

    fn is_done(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.reason == Some(Reason::Done))
    }
}

/// The jobs of one run.
pub struct Legs {
    open: VecDeque<Open>,
    coming: Option<Coming>,
    combining: Option<Combining>,
    pace: Pace,
    began: Instant,
    /// The number of the next leg's first chunk.
    next_chunk: u32,
    /// What those had to show that were given back, how many these are, and the bytes of their inputs.
    past: End,
    given_back: u64,
    past_bytes: u64,
    to_print: Option<threads::SyncSender<Leg>>,
    /// How many legs are printed.
    printed: watch::Receiver<u64>,
    /// Why the input was not read to its end.
    trouble: Option<Fail>,
    failures: Failures,
    is_streamed: bool,
    is_cut_short: bool,
    is_left: bool,
}

/// The legs, as they are printed.
pub struct Queue {
    legs: threads::Receiver<Leg>,
    taken: u64,
    printed: watch::Sender<u64>,
}

impl Iterator for Queue {
    type Item = Leg;

    /// Who asks for another leg has printed all before it.
    fn next(&mut self) -> Option<Leg> {
        self.printed.send_replace(self.taken);
        let leg = self.legs.recv().ok()?;
        self.taken += 1;
        Some(leg)
    }
}

impl Legs {
    /// The first job, where further ones come from, if any do, and what combines the outputs, if anything does.
    pub fn new(job: Job, coming: Option<Coming>, combining: Option<Combining>) -> (Legs, Queue) {
        let (to_print, queue) = threads::sync_channel(OPEN);
        let (printed, printing) = watch::channel(0);
        let mut legs = Legs {
            open: VecDeque::new(),
            is_streamed: coming.is_some(),
            combining,
            pace: Pace::default(),
            began: Instant::now(),
            next_chunk: 0,
            past: nothing(),
            given_back: 0,
            past_bytes: 0,
            to_print: Some(to_print),
            printed: printing,
            trouble: None,
            failures: Failures::default(),
            is_cut_short: false,
            is_left: false,
            coming: None,
        };
        legs.push(job, coming.as_ref().map_or(0, |coming| coming.first_bytes));
        legs.coming = coming;
        legs.end_of_input();
        (legs, Queue { legs: queue, taken: 0, printed })
    }

    fn push(&mut self, job: Job, bytes: u64) {
        let leg = Leg::of(&job);
        // There is room for all that may be open; who prints no more needs none.
        let _ = self.to_print.as_ref().map(|to_print| to_print.try_send(leg));
        self.next_chunk = job.manifest.first_chunk + job.manifest.chunks;
        self.open.push_back(Open { job, bytes, end: None });
        self.measure();
    }

    /// Whoever prints comes to an end behind the last leg.
    fn end_of_input(&mut self) {
        if self.coming.is_none() {
            self.to_print = None;
        }
    }

    /// What happens next; may be given up and called again.
    pub async fn next(&mut self) -> Happened {
        let may_open = self.may_open();
        std::future::poll_fn(|context| {
            for (at, leg) in self.open.iter_mut().enumerate() {
                if let Poll::Ready(Some(notice)) = leg.job.notices.poll_recv(context) {
                    return Poll::Ready(Happened::Notice(at, notice));
                }
                if leg.end.is_none()
                    && let Poll::Ready(end) = Pin::new(&mut leg.job.ended).poll(context)
                {
                    return Poll::Ready(Happened::Ended(at, end.ok()));
                }
            }
            if let Some(Poll::Ready(step)) = self.combining.as_mut().map(|combining| combining.poll(context)) {
                return Poll::Ready(Happened::Combining(step));
            }
            match &mut self.coming {
                Some(coming) if may_open => coming.source.poll_next(context).map(Happened::Read),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Whether another leg may be opened: what is open is nearly done.
    fn may_open(&self) -> bool {
        self.open.len() < OPEN && (self.pace.is_dry() || self.open.iter().all(|leg| leg.end.is_some()))
    }

    /// Opens the leg that was read, and reads on. What it was, for a program, if it has any chunk.
    pub async fn open(&mut self, peer: &Peer, filled: Option<Filled>) -> Option<Value> {
        let Some(Filled { draft, is_last, trouble }) = filled else {
            self.fail(Fail::new("the thread that reads standard input has ended", "please report it"));
            return None;
        };
        let coming = self.coming.as_ref()?;
        let (chunks, bytes) = (draft.chunks(), draft.bytes());
        let work = (chunks > 0).then(|| coming.work.submission(draft, self.next_chunk));
        if let Some(trouble) = trouble {
            self.fail(trouble);
        } else if is_last {
            self.coming = None;
        } else {
            self.order(peer);
        }
        let mut said = None;
        if let Some(work) = work {
            let name = work.name.clone();
            match peer.submit(work).await {
                Ok(job) => {
                    said = Some(json!({ "job": job.id.to_string(), "name": name, "chunks": chunks, "bytes": bytes }));
                    self.push(job, bytes);
                }
                Err(error) => self.fail(Fail::of(&error, error.hint())),
            }
        }
        self.end_of_input();
        said
    }

    /// What was read before is run and printed, and then it is said why that is not all.
    fn fail(&mut self, trouble: Fail) {
        self.trouble.get_or_insert(trouble);
        self.coming = None;
        self.end_of_input();
    }

    /// Reads nothing more: what is printed will not be all.
    pub fn stop_reading(&mut self) {
        self.is_cut_short |= self.coming.take().is_some();
        self.end_of_input();
    }

    /// Gives back what is printed, and sees to it that enough is read. Blocks for a moment.
    pub fn look(&mut self, peer: &Peer) {
        if let Err(error) = self.give_printed_back(peer) {
            self.fail(Fail::of(&error, error.hint()));
        }
        if self.coming.is_some() {
            self.measure();
            self.order(peer);
        }
        if let Some(coming) = &self.coming {
            coming.source.tell(self.may_open(), self.open.len());
        }
    }

    /// Has the next leg read, if that is not so yet.
    fn order(&mut self, peer: &Peer) {
        let Some(coming) = self.coming.as_mut().filter(|coming| coming.source.wants_a_draft()) else { return };
        let size = self.pace.size();
        match tokio::task::block_in_place(|| coming.work.draft(peer)) {
            Ok(draft) => coming.source.order(draft, size),
            // There will be room when what is open is given back.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull && !self.open.is_empty() => {}
            Err(error) => {
                let fail = full(peer.home().dir(), &error);
                self.fail(fail);
            }
        }
    }

    /// Takes note of how fast it goes.
    fn measure(&mut self) {
        let look = self.look_at();
        self.pace.look(self.began.elapsed(), look);
    }

    fn look_at(&self) -> Look {
        let mut look = Look { sealed: self.past_bytes, ..Look::default() };
        for leg in &self.open {
            let progress = leg.progress();
            let sealed = leg.bytes * u64::from(progress.sealed) / u64::from(progress.chunks.max(1));
            look.sealed += sealed;
            look.open += leg.bytes - sealed;
            look.chunks += u64::from(progress.chunks - progress.sealed.min(progress.chunks));
            let members = progress.view.iter().flat_map(|view| &view.members).filter(|member| member.alive);
            let loads: Vec<_> = members.map(|member| member.load).filter(|load| load.threads > 0).collect();
            look.threads += loads.iter().map(|load| u64::from(load.threads)).sum::<u64>();
            let known: Vec<f64> = loads.iter().map(|load| f64::from(load.slot_micros)).filter(|t| *t > 0.0).collect();
            if !known.is_empty() && leg.bytes > 0 {
                let seconds = known.iter().sum::<f64>() / known.len() as f64 / 1e6;
                look.seconds_a_byte = Some(seconds * f64::from(progress.chunks) / leg.bytes as f64);
            }
        }
        look
    }

    fn give_printed_back(&mut self, peer: &Peer) -> Result<(), StoreError> {
        // Where there is one job, a fold has read all of it before it prints anything.
        while self.is_streamed
            && self.given_back < *self.printed.borrow()
            && let Some(Open { job, bytes, end: Some(end) }) = self.open.pop_front_if(|leg| leg.is_done())
        {
            add(&mut self.past, &end);
            self.past_bytes += bytes;
            self.given_back += 1;
            let id = job.id;
            drop(job);
            tokio::task::block_in_place(|| peer.forget(id))?;
        }
        Ok(())
    }

    /// Takes note that the job at this place has ended, and what that means for the others.
    pub async fn ended(&mut self, peer: &Peer, at: usize, end: End) {
        let reason = end.reason;
        self.failures.add(&Leg::of(&self.open[at].job));
        self.open[at].end = Some(end);
        match reason {
            Some(Reason::Done) => {}
            Some(_) => self.cancel(peer).await,
            None => self.leave(peer).await,
        }
    }

    /// Nothing more is combined; whether anything was.
    pub async fn stop_combining(&mut self, peer: &Peer) -> bool {
        if let Some(combining) = &mut self.combining {
            combining.stop(peer).await;
        }
        self.combining.is_some()
    }

    /// Takes all back that have not ended.
    pub async fn cancel(&mut self, peer: &Peer) {
        self.stop_reading();
        self.stop_combining(peer).await;
        for leg in self.open.iter().filter(|leg| leg.end.is_none()) {
            peer.cancel(leg.job.id).await;
        }
    }

    /// Leaves all to their peers that have not ended.
    pub async fn leave(&mut self, peer: &Peer) {
        self.stop_reading();
        self.stop_combining(peer).await;
        if !std::mem::replace(&mut self.is_left, true) {
            for leg in self.open.iter().filter(|leg| leg.end.is_none()) {
                peer.detach(leg.job.id).await;
            }
        }
    }

    /// Gives all back or, where they are `left`, those only that are done and printed.
    ///
    /// # Errors
    /// One of them cannot be given back.
    pub fn give_all_back(&mut self, peer: &Peer, left: bool) -> Result<(), StoreError> {
        if let Some(combining) = &mut self.combining {
            combining.forget_all(peer);
        }
        if left {
            return self.give_printed_back(peer);
        }
        self.open.drain(..).try_for_each(|leg| peer.forget(leg.job.id))
    }

    /// Whether nothing more will happen.
    pub fn are_over(&self) -> bool {
        self.have_ended() && self.combining.as_ref().is_none_or(Combining::are_over)
    }

    /// Whether all jobs have ended, but for those that combine, and none comes.
    pub fn have_ended(&self) -> bool {
        self.coming.is_none() && self.open.iter().all(|leg| leg.end.is_some())
    }

    /// Whether they were left.
    pub fn are_left(&self) -> bool {
        self.is_left
    }

    /// What combines the outputs.
    pub fn combining(&mut self) -> Option<&mut Combining> {
        self.combining.as_mut()
    }

    /// How many chunks outputs were combined in.
    pub fn combined(&self) -> u32 {
        self.combining.as_ref().map_or(0, |combining| combining.so_far().0)
    }

    /// How they have ended.
    pub fn outcome(&self) -> Outcome {
        let reasons: Vec<_> = self.open.iter().filter_map(|leg| leg.end.as_ref()).map(|end| end.reason).collect();
        if reasons.contains(&Some(Reason::Failed)) {
            Outcome::Over(Reason::Failed)
        } else if reasons.contains(&Some(Reason::Cancelled)) {
            Outcome::Over(Reason::Cancelled)
        } else if self.is_cut_short || reasons.contains(&None) {
            Outcome::Left
        } else {
            Outcome::Done
        }
    }

    /// Why the input was not read to its end, if it could not be.
    pub fn take_trouble(&mut self) -> Option<Fail> {
        self.trouble.take()
    }

    /// What has failed for good, of those that have ended.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Whether standard input is being read, or was not read to its end.
    pub fn is_part(&self) -> bool {
        self.coming.is_some() || self.is_cut_short
    }

    /// Whether it is, or was, several jobs.
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Those that are open, or not printed yet.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.open.iter().map(|leg| &leg.job)
    }

    /// What the node still has to tell of the job at this place, which has ended.
    pub fn last_notice(&mut self, at: usize) -> Option<Notice> {
        self.open[at].job.notices.try_recv().ok()
    }

    /// The number of the first chunk of the job at this place.
    pub fn first_chunk(&self, at: usize) -> u32 {
        self.open[at].job.manifest.first_chunk
    }

    /// All of them as if they were one, so far as they have ended.
    pub fn end(&self) -> End {
        let mut sum = self.rest();
        add(&mut sum, &self.past);
        if let Some(combining) = &self.combining {
            sum.traffic.add(combining.traffic());
        }
        sum
    }

    /// As [`Legs::end`], of those that are not printed yet.
    pub fn rest(&self) -> End {
        let ends: Vec<&End> = self.open.iter().filter_map(|leg| leg.end.as_ref()).collect();
        let mut sum = nothing();
        ends.iter().for_each(|end| add(&mut sum, end));
        sum.trouble = ends.iter().find_map(|end| end.trouble.clone());
        let handed = ends.iter().filter(|end| end.reason.is_none()).map(|end| end.handed).reduce(|one, two| {
            let (one, two) = (one?, two?);
            let (blobs, bytes) = (one.blobs + two.blobs, one.bytes + two.bytes);
            Some(Handed { blobs, bytes, lonely: one.lonely + two.lonely, collected: None })
        });
        sum.handed = handed.flatten();
        sum
    }

    /// How they go.
    pub fn so_far(&self, me: NodeId) -> SoFar {
        let Progress { sealed, chunks, .. } = self.past.progress;
        let read = self.coming.as_ref().map(|coming| coming.source.bytes());
        let mut so_far = SoFar { sealed, chunks, read, ..SoFar::default() };
        let mut workers = BTreeSet::new();
        let mut see = |progress: &Progress| {
            let members = progress.view.iter().flat_map(|view| &view.members);
            let working = members.filter(|member| member.node != me && member.alive && member.load.threads > 0);
            workers.extend(working.map(|member| member.node));
        };
        for leg in &self.open {
            let progress = leg.progress();
            so_far.sealed += progress.sealed;
            so_far.chunks += progress.chunks;
            so_far.connected = progress.connected;
            see(&progress);
        }
        if let Some(combining) = &self.combining {
            combining.open().for_each(|job| see(&job.progress.borrow()));
            so_far.combined = Some(combining.so_far()).filter(|(_, chunks)| *chunks > 0);
        }
        so_far.workers = workers.len();
        so_far
    }
}

/// What no job has come to.
fn nothing() -> End {
    let (progress, traffic) = (Progress::default(), Traffic::default());
    End { reason: Some(Reason::Done), trouble: None, handed: None, progress, traffic }
}

/// Adds what a job has come to.
fn add(sum: &mut End, end: &End) {
    let (all, one) = (&mut sum.progress, &end.progress);
    all.sealed += one.sealed;
    all.chunks += one.chunks;
    all.given_up += one.given_up;
    for (node, chunks) in &one.by {
        *all.by.entry(*node).or_default() += chunks;
    }
    sum.traffic.add(&end.traffic);
}
