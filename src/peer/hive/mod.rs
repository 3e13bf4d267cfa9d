//! The event loop of a node: every message, report, wish and timer comes here, is given to the member of the job
//! that it concerns, and what the member wants is done. Nothing here waits: what takes time is a task that comes
//! back as an [`Inner`].

mod announce;
mod away;
mod explain;
mod jobs;
mod look;
mod wants;
mod warm;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coordinator_free::io::Input;
use coordinator_free::message::{Close, MESSAGE_BYTES, Message};
use essaim_jobs::manifest::Name;
use essaim_jobs::{BlobId, BlobRef, JobId, Keypair, Leaf, NodeId, Signed, decode};
use essaim_worker::{EngineError, Sandbox, Workers};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use crate::net::{self, Advert, Event, Events, Topic};
use crate::peer::apart::{Apart, Told};
use crate::peer::cause::{Cause, Finding};
use crate::peer::feed::Room;
use crate::peer::governor::{Governor, Lent, Said, Terms, Whose, watch_machine};
use crate::peer::handover::Handed;
use crate::peer::job::{JobState, Own};
use crate::peer::power::Power;
use crate::peer::provisions::{Provisions, program_of};
use crate::peer::reports::{Done, Gauges, Reporter};
use crate::peer::source::{Holders, Lack};
use crate::peer::wire::{ANNOUNCEMENT_BYTES, Announcement, Direct};
use crate::peer::{JobStatus, Snapshot, Status, since_1970};
use crate::store::{Blobs, Done as Kept, Store};
use away::Revoked;
use jobs::LEAST_KEPT;
use warm::Warm;

/// Bytes of a direct message.
const DIRECT_BYTES: usize = MESSAGE_BYTES + ANNOUNCEMENT_BYTES;
/// How often an author announces its open jobs, and every node the large blobs that it has; how often an author looks
/// for workers on the DHT.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
const SEEK_EVERY: Duration = Duration::from_secs(15);
/// How often watchers are told how things go.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often what was seen of those who run our jobs is written down, beside at their ends.
const REMEMBER_EVERY: Duration = Duration::from_secs(30);
/// Outputs of others that are being copied here at once.
const COPYING: usize = 8;
/// How long a node that leaves waits for its running chunks and their receipts.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What the holder of a node wishes.
pub enum Command {
    Open(Box<Own>),
    Cancel(JobId),
    Detach(JobId),
    /// Tell of the first job that is announced and whose name begins so.
    Want(String, oneshot::Sender<Box<Announcement>>),
    /// Tell what stands in the way of a job, or of one of its chunks; none: this node has no such job or chunk.
    Explain(JobId, Option<u32>, oneshot::Sender<Option<Vec<Finding>>>),
    /// Tell all who work on a job that its author has ended it; how many have heard.
    Revoke(Box<Signed<Close>>, watch::Sender<usize>),
    /// Tell what there is to look at.
    Look(oneshot::Sender<Snapshot>),
    Leave,
}

/// What comes back from a task.
enum Inner {
    /// A job's program and data are here, or cannot be had.
    Provided { announcement: Box<Announcement>, provisions: Result<Provisions, Lack> },
    /// An output cannot be had from the worker that has it.
    Uncollected { job: JobId, slot: u32, worker: NodeId, why: String },
    /// Outputs are safe, or this node's disk does not take them.
    Kept { job: JobId, kept: Kept },
    /// What another has run is here, too.
    Copied { job: JobId, slot: u32, leaf: Leaf },
    /// An author's blobs are kept here, but for some.
    Keeping { job: JobId, author: NodeId, number: u32, kept: Vec<BlobRef>, without: Vec<u16> },
    /// A job of our own is its peers' now.
    HandedOver { job: JobId, outcome: Result<Handed, String> },
    /// Its peers have heard so, or do not answer.
    Parted { job: JobId },
}

/// What a hive is made of.
pub struct Parts {
    pub net: net::Handle,
    pub keypair: Keypair,
    pub blobs: Arc<Blobs>,
    pub sandbox: Sandbox,
    pub terms: Terms,
    pub said: watch::Receiver<Said>,
    pub status: watch::Sender<Status>,
    pub store: Arc<Store>,
}

pub struct Hive {
    net: net::Handle,
    me: NodeId,
    keypair: Keypair,
    blobs: Arc<Blobs>,
    engine_tag: String,
    pool: Arc<Workers>,
    /// What the pool has for the next job.
    warm: Warm,
    cpus: u16,
    /// Whether these are for anyone's jobs.
    lends: bool,
    memory_bytes: u64,
    /// How many cores are lent at this moment.
    lent: watch::Receiver<Lent>,
    status: watch::Sender<Status>,
    store: Arc<Store>,
    began: Instant,
    incarnation: u64,
    jobs: BTreeMap<JobId, JobState>,
    numbers: HashMap<u32, JobId>,
    next_number: u32,
    /// Jobs whose program and data are being fetched.
    joining: HashMap<JobId, watch::Sender<Holders>>,
    ended: VecDeque<(JobId, Option<Signed<Close>>)>,
    connected: HashSet<NodeId>,
    /// A job that somebody here asks for.
    wanted: Option<(String, oneshot::Sender<Box<Announcement>>)>,
    /// A job that somebody here ends, without having it.
    revoked: Option<Revoked>,
    /// Jobs of absent authors of which those are told who connect.
    passed_on: Vec<JobId>,
    /// The large blobs that this node has said on the DHT that it has.
    provided: BTreeSet<BlobId>,
    leaving: bool,
    chunks_run: u64,
    chunks_failed: u64,
    /// What kept it from the last job that it could not take part in.
    trouble: Option<String>,
    /// What the authors of jobs were told of why this node does not work on them.
    told: Told,
    /// Why there was no room for the last input that was to come, until a chunk has been run again.
    input_trouble: Option<String>,
    /// How far running chunks are, where they say so.
    gauges: Gauges,
    /// Why there is no room for outputs, while that is so.
    disk: watch::Receiver<Option<String>>,
    reports: mpsc::Receiver<Vec<Done>>,
    lost: mpsc::Receiver<(u32, u32, Lack)>,
    lost_sender: mpsc::Sender<(u32, u32, Lack)>,
    /// What the inputs of all jobs may take.
    room: Room,
    /// Turns of what is copied here that others have run.
    copying: Arc<Semaphore>,
    inner: mpsc::Receiver<Inner>,
    inner_sender: mpsc::Sender<Inner>,
}

impl Hive {
    pub fn new(parts: Parts) -> Result<Hive, EngineError> {
        let Parts { net, keypair, blobs, sandbox, terms, said, status, store } = parts;
        let (cpus, memory_bytes) = (terms.cpus, terms.memory_bytes);
        let lends = cpus > 0 && terms.whose == Whose::Anyones;
        let engine_tag = essaim_worker::tag();
        let gauges = Gauges::default();
        let (reporter, reports, disk) = Reporter::new(Arc::clone(&blobs), gauges.clone());
        let pool = Arc::new(Workers::new(sandbox, move |reports| reporter.take(reports))?);
        let lent = if cpus == 0 {
            watch::channel(Lent::default()).1
        } else {
            let governor = Governor::new(terms, machine_cores());
            let watching = watch_machine(governor, Arc::clone(&pool), said, Power::new());
            watching.map_err(|error| EngineError::Thread { message: error.to_string() })?
        };
        let (lost_sender, lost) = mpsc::channel(1_024);
        let (inner_sender, inner) = mpsc::channel(1_024);
        // Any number that grows with every start serves; the clock is the one that survives a lost disk.
        let incarnation = since_1970().as_micros() as u64;
        Ok(Hive {
            me: net.node(),
            net,
            keypair,
            room: Room::new(blobs.cache().most_bytes()),
            copying: Arc::new(Semaphore::new(COPYING)),
            blobs,
            engine_tag,
            pool,
            warm: Warm::default(),
            cpus,
            lends,
            memory_bytes,
            lent,
            status,
            store,
            began: Instant::now(),
            incarnation,
            jobs: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            joining: HashMap::new(),
            ended: VecDeque::new(),
            connected: HashSet::new(),
            wanted: None,
            revoked: None,
            passed_on: Vec::new(),
            provided: BTreeSet::new(),
            leaving: false,
            chunks_run: 0,
            chunks_failed: 0,
            trouble: None,
            told: Told::default(),
            input_trouble: None,
            gauges,
            disk,
            reports,
            lost,
            lost_sender,
            inner,
            inner_sender,
        })
    }

    pub async fn run(mut self, mut events: Events, mut commands: mpsc::Receiver<Command>) {
        if self.lends {
            self.net.subscribe(Topic::Jobs).await;
            self.net.advertise(self.advert()).await;
        }
        let ticker = |period| {
            let mut ticker = interval(period);
            ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticker
        };
        let (mut announce, mut seek, mut tell) = (ticker(ANNOUNCE_EVERY), ticker(SEEK_EVERY), ticker(TELL_EVERY));
        let mut remember = ticker(REMEMBER_EVERY);
        let mut leave_by = None;
        let mut reports = Vec::new();
        loop {
            let deadline = self.jobs.values().filter_map(|job| job.member.deadline()).min();
            let wake = deadline.map_or_else(|| Instant::now() + Duration::from_secs(3_600), |at| self.began + at);
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return,
                },
                _ = self.reports.recv_many(&mut reports, 256) => {
                    reports.drain(..).flatten().for_each(|done| self.on_done(done));
                }
                Some((number, slot, why)) = self.lost.recv() => self.on_lost(number, slot, why),
                Some(inner) = self.inner.recv() => self.on_inner(inner).await,
                command = commands.recv() => match command {
                    Some(Command::Open(own)) => self.open_own(*own).await,
                    Some(Command::Cancel(job)) => self.give(job, Input::Cancel),
                    Some(Command::Detach(job)) => self.hand_over(job).await,
                    Some(Command::Want(prefix, reply)) => {
                        self.wanted = Some((prefix, reply));
                        self.net.subscribe(Topic::Jobs).await;
                        self.seek();
                    }
                    Some(Command::Explain(job, chunk, reply)) => {
                        // Who asked may have gone.
                        let _ = reply.send(self.explain(job, chunk, &self.net.peers().await));
                    }
                    Some(Command::Revoke(word, told)) => self.revoke(*word, told).await,
                    Some(Command::Look(reply)) => {
                        // Who asked may have gone.
                        let _ = reply.send(self.snapshot());
                    }
                    Some(Command::Leave) => {
                        self.leaving = true;
                        leave_by = Some(Instant::now() + LEAVE_WITHIN);
                        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                            let own = self.jobs[&job].author.is_some();
                            self.give(job, if own { Input::Cancel } else { Input::Leave });
                        }
                    }
                    None => return,
                },
                Ok(()) = self.lent.changed() => self.on_lent().await,
                _ = announce.tick() => {
                    self.announce_all().await;
                    self.cool_down();
                }
                _ = seek.tick() => self.seek(),
                _ = tell.tick() => self.tell(),
                _ = remember.tick() => self.remember().await,
                () = sleep_until(wake) => {}
            }
            let now = self.now();
            for job in self.jobs.values_mut().filter(|job| job.member.deadline().is_some_and(|at| at <= now)) {
                job.member.tick(now);
            }
            self.pump().await;
            if self.leaving && (self.jobs.is_empty() || leave_by.is_some_and(|by| by <= Instant::now())) {
                return;
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What this node says of itself on the DHT.
    fn advert(&self) -> Advert {
        let system = sysinfo::System::new_with_specifics(
            sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
        );
        Advert {
            cores_spare: self.lent.borrow().cores,
            cores: machine_cores(),
            memory_bytes: system.map_or(0, |system| system.available_memory()).min(self.memory_bytes),
            engine: self.engine_tag.clone(),
            rate_hint: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lends: self.lends,
        }
    }

    // What comes in.

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Up(peer) => {
                self.connected.insert(peer);
                for holders in self.joining.values() {
                    // At most as many as there are connections.
                    holders.send_modify(|holders| holders.others.push(peer));
                }
                self.give_all(|| Input::Up(peer));
                self.tell_revoked(peer);
            }
            Event::Down(peer) => {
                self.connected.remove(&peer);
                self.gone(peer);
            }
            Event::Unreachable(peer) => self.gone(peer),
            Event::Note(note) => info!(note),
            Event::Direct { from, message } => match decode::<Direct>(&message, DIRECT_BYTES) {
                Ok(Direct::Announce(announcement)) => self.on_announcement(from, *announcement),
                Ok(Direct::Keep { job, number, blobs }) => self.on_keep(from, job, number, blobs),
                Ok(Direct::Kept { job, number, without }) => self.on_answer(job, (from, Some((number, without)))),
                Ok(Direct::Member { job, message: inside }) => self.on_message(job, from, *inside, message.len()),
                Ok(Direct::Apart { job, reason, words }) => self.on_apart(from, job, reason.as_str(), words.as_str()),
                Err(error) => match Direct::other_version(&message) {
                    Some(version) => self.refuse_version(from, None, version),
                    None => debug!(from = %from.short(), %error, "message refused"),
                },
            },
            Event::Gossip { topic: Topic::Jobs, from, message } => {
                // Judged already: it is of the right form.
                if let Ok(announcement) = decode::<Announcement>(&message, ANNOUNCEMENT_BYTES) {
                    self.on_announcement(from, announcement);
                }
            }
            Event::Gossip { topic: Topic::Job(job), from, message } => {
                if let Ok(inside) = decode::<Message>(&message, MESSAGE_BYTES) {
                    self.on_message(job, from, inside, message.len());
                }
            }
        }
    }

    fn has_ended(&self, job: &JobId) -> bool {
        self.ended.iter().any(|(ended, _)| ended == job)
    }

    /// The author's word that a job has ended, where it was heard.
    fn word_of_end(&self, job: &JobId) -> Option<Signed<Close>> {
        self.ended.iter().find(|(ended, _)| ended == job).and_then(|(_, word)| word.clone())
    }

    fn on_message(&mut self, job: JobId, from: NodeId, message: Message, bytes: usize) {
        if let Some(word) = self.word_of_end(&job).filter(|_| !matches!(message, Message::Close(_))) {
            // The word that it has ended did not reach this one.
            return self.send(job, from, Message::Close(word));
        }
        if let Message::Close(word) = &message {
            self.on_close(job, from, word);
        }
        if let Some(state) = self.jobs.get_mut(&job) {
            state.traffic.messages_in += 1;
            state.traffic.bytes_in += bytes as u64;
            let engines = state.author.as_mut().and_then(|author| author.engines.as_mut());
            if let (Some(engines), Message::Results(results) | Message::Deposit(results)) = (engines, &message) {
                engines.look_at(results);
            }
            if let Message::Results(results) = &message {
                state.note_costs(&results.receipt.body.slots, results.receipt.body.cpu_micros);
            }
        }
        self.give(job, Input::Message { from, message });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Loaded { program } => {
                for state in self.jobs.values_mut().filter(|state| program_of(&state.manifest) == program) {
                    state.ready = true;
                }
                self.share_threads();
            }
            Done::Refused { program, error } => {
                warn!(%error, "a job's program was refused");
                let apart = Apart::new(Cause::ProgramRefused, &format!("{error}; hint: {}", error.hint()));
                let of = |state: &&mut JobState| program_of(&state.manifest) == program;
                let mut others = Vec::new();
                for state in self.jobs.values_mut().filter(of) {
                    match &mut state.author {
                        Some(author) => author.heard.apart(self.me, Some(apart.clone()), Instant::now()),
                        None => others.push((state.place.job, state.place.node)),
                    }
                }
                for (job, author) in others {
                    self.stand_apart(author, Some(job), Some(&apart));
                    self.give(job, Input::Leave);
                }
            }
            Done::Started { number, slot } => {
                if let Some(job) = self.numbers.get(&number).copied() {
                    self.give(job, Input::Started { slot });
                }
            }
            Done::Finished { number, results, cpu_micros, wall_micros } => {
                self.chunks_run += results.len() as u64;
                if results.iter().any(|(_, leaf)| !matches!(leaf, Leaf::Failed(_))) {
                    self.input_trouble = None;
                }
                self.chunks_failed += results.iter().filter(|(_, leaf)| matches!(leaf, Leaf::Failed(_))).count() as u64;
                let Some(job) = self.numbers.get(&number).copied() else {
                    // The job has ended meanwhile: nobody will ask for these.
                    results.iter().filter_map(|(_, leaf)| kept(leaf)).for_each(|id| self.blobs.forget(&id));
                    return;
                };
                if let Some(state) = self.jobs.get_mut(&job) {
                    for (slot, leaf) in &results {
                        if let Some(before) = kept(leaf).and_then(|id| state.kept.insert(*slot, id)) {
                            self.blobs.forget(&before);
                        }
                    }
                    state.note_costs(&results.iter().map(|(slot, _)| *slot).collect(), cpu_micros);
                }
                self.give(job, Input::Finished { results, cpu_micros, wall_micros });
            }
        }
    }

    fn on_lost(&mut self, number: u32, slot: u32, why: Lack) {
        let Some(job) = self.numbers.get(&number).copied() else { return };
        let mut message = why.to_string();
        if let Lack::Disk(_) = why {
            let hint = "hint: make room on its disk, or let it have more with --disk SIZE";
            self.input_trouble = Some(format!("{message}; {hint}"));
            message += &format!("\n{hint}");
        }
        let note = essaim_jobs::FailureNote { deterministic: false, message };
        let results = vec![(slot, Leaf::Failed(note))];
        self.give(job, Input::Finished { results, cpu_micros: 0, wall_micros: 0 });
    }

    async fn on_inner(&mut self, inner: Inner) {
        match inner {
            Inner::Provided { announcement, provisions } => {
                let job = announcement.place.body.job;
                self.joining.remove(&job);
                match provisions {
                    Ok(_) if self.leaving => {}
                    Ok(provisions) => {
                        self.trouble = None;
                        let place = announcement.place.body.clone();
                        let manifest = announcement.manifest.clone();
                        self.open(&manifest, place, Some(*announcement), provisions, None).await;
                    }
                    // It is announced again while it is open, and tried again then.
                    Err(why) => {
                        warn!(job = %job.short(), %why, "cannot join a job");
                        let apart = Hive::apart_for_want(&why);
                        self.stand_apart(announcement.place.body.node, Some(job), Some(&apart));
                        let name = printable(&announcement.manifest.body.name);
                        self.trouble = Some(format!("cannot take part in `{name}`: {why}"));
                    }
                }
            }
            Inner::Uncollected { job, slot, worker, why } => {
                debug!(slot, worker = %worker.short(), why, "output not collected");
                self.give(job, Input::Collected { slot, worker, safe: false });
            }
            Inner::Copied { job, slot, leaf } => match self.jobs.get_mut(&job) {
                Some(state) => {
                    if let Some(id) = kept(&leaf) {
                        state.kept.insert(slot, id);
                    }
                    self.give(job, Input::Kept { slot, leaf });
                }
                None => kept(&leaf).iter().for_each(|id| self.blobs.forget(id)),
            },
            Inner::Keeping { job, author, number, kept, without } => match self.jobs.get_mut(&job) {
                Some(state) => {
                    state.keeping = false;
                    state.custody.extend(kept);
                    self.say(author, &Direct::Kept { job, number, without });
                }
                None => kept.iter().for_each(|blob| self.blobs.forget(&blob.id)),
            },
            Inner::HandedOver { job, outcome } => self.on_handed_over(job, outcome).await,
            Inner::Parted { job } => self.end(job, None, None).await,
            Inner::Kept { job, kept: (outputs, Ok(())) } => {
                for (slot, worker) in outputs {
                    self.give(job, Input::Collected { slot, worker, safe: true });
                }
            }
            Inner::Kept { job, kept: (_, Err(error)) } => {
                let author = self.jobs.get_mut(&job).and_then(|state| state.author.as_mut());
                if let Some(author) = author {
                    let words = format!("cannot keep an output: {error}");
                    author.heard.disk = error.is_full().then(|| words.clone());
                    author.trouble = Some(words);
                    self.end(job, None, None).await;
                }
            }
        }
    }

    fn give(&mut self, job: JobId, input: Input) {
        let now = self.now();
        if let Some(state) = self.jobs.get_mut(&job) {
            state.member.handle(now, input);
        }
    }

    fn give_all(&mut self, input: impl Fn() -> Input) {
        let now = self.now();
        self.jobs.values_mut().for_each(|state| state.member.handle(now, input()));
    }

    fn tell(&mut self) {
        let connected = self.connected.len();
        for state in self.jobs.values_mut() {
            let author = state.place.node;
            if !state.place.left && (self.connected.contains(&author) || author == self.me) {
                state.author_heard = Instant::now();
            }
            let there = !state.is_left();
            let view = state.member.view();
            let others = view.members.iter().map(|member| member.node);
            let others = others.filter(|node| *node != author && self.connected.contains(node)).collect();
            let holders = Holders { author: there.then_some(author), others };
            state.holders.send_if_modified(|known| {
                let differ = *known != holders;
                *known = holders;
                differ
            });
            if let Some(author) = &state.author {
                author.progress.send_replace(author.progress(&state.member, connected));
            }
        }
        let jobs = self.jobs.values().map(|state| {
            let view = state.member.view();
            let (held, running) = view.members.first().map_or((0, 0), |me| (me.held, u64::from(me.load.running)));
            let away = state.author_heard.elapsed();
            let keep = Duration::from_secs(state.manifest.keep_seconds.into()).max(LEAST_KEPT);
            let forgotten_in = state.is_left().then(|| keep.saturating_sub(away));
            let percents = self.gauges.of(state.number);
            JobStatus { name: printable(&state.manifest.name), held, running, percents, forgotten_in }
        });
        let jobs = jobs.collect();
        let (chunks_run, chunks_failed) = (self.chunks_run, self.chunks_failed);
        let trouble =
            self.disk.borrow().clone().or_else(|| self.input_trouble.clone()).or_else(|| self.trouble.clone());
        let (cpus, Lent { cores: lent, why }) = (self.cpus, *self.lent.borrow());
        self.status.send_replace(Status { cpus, lent, why, connected, jobs, chunks_run, chunks_failed, trouble });
    }
}

fn machine_cores() -> u16 {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(usize::from(u16::MAX)) as u16)
}

/// How many chunks of a job run at the same time in so much memory, where each may have so much: at least one, which has
/// all of it then.
fn at_once(memory_bytes: u64, limit: u64) -> u16 {
    memory_bytes.checked_div(limit).unwrap_or(u64::MAX).clamp(1, u16::MAX.into()) as u16
}

/// A name that a stranger chose, fit for a terminal.
fn printable(name: &Name) -> String {
    name.as_str().escape_debug().to_string()
}

/// The blob that a leaf names and this node keeps.
fn kept(leaf: &Leaf) -> Option<essaim_jobs::BlobId> {
    match leaf {
        Leaf::Blob(name) => Some(name.id),
        Leaf::Inline(_) | Leaf::Failed(_) => None,
    }
}
