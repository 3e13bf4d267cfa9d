//! The event loop of a node: every message, report, wish and timer comes here, is given to the member of the job
//! that it concerns, and what the member wants is done. Nothing here waits: what takes time is a task that comes
//! back as an [`Inner`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coordinator_free::io::{Input, Notice, Output};
use coordinator_free::message::{Close, MESSAGE_BYTES, Message, Reason};
use coordinator_free::{Config as MemberConfig, Member, Resume, Tuning};
use essaim_jobs::bounds::{self, Text};
use essaim_jobs::manifest::Name;
use essaim_jobs::{JobId, Keypair, Leaf, Manifest, NodeId, Signed, decode, encode};
use essaim_worker::{EngineError, Request, Sandbox, Workers};
use libp2p::Multiaddr;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use super::feed::{Feed, Feeding, Source, ticket};
use super::governor::{Governor, Lent, Said, Terms, watch_machine};
use super::job::{AuthorSide, JobState, Own};
use super::power::Power;
use super::provisions::{Provisions, program_of, spec};
use super::reports::{Done, Reporter};
use super::wire::{ADDRESSES, ANNOUNCEMENT_BYTES, Announcement, Direct, Place};
use super::{End, Status, Traffic, since_1970};
use crate::net::{self, Advert, Event, Events, Topic};
use crate::store::{Blobs, Done as Kept, Output as Collected, Outputs};

/// Jobs of others that a node takes part in at once.
const JOBS: usize = 64;
/// Jobs that have ended and are remembered, so that a late announcement does not begin them again.
const ENDED: usize = 4_096;
/// Bytes of a direct message.
const DIRECT_BYTES: usize = MESSAGE_BYTES + ANNOUNCEMENT_BYTES;
/// Batches of slots under way to one job's feed; the core's window of slots is smaller.
const BATCHES: usize = 8_192;
/// How often an author announces its open jobs, and looks for workers on the DHT.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
const SEEK_EVERY: Duration = Duration::from_secs(15);
/// How often watchers are told how things go.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How long a node that leaves waits for its running chunks and their receipts.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What the holder of a node wishes.
pub enum Command {
    Open(Box<Own>),
    Cancel(JobId),
    Detach(JobId),
    Leave,
}

/// What comes back from a task.
enum Inner {
    /// A job's program and data are here, or cannot be had.
    Provided { announcement: Box<Announcement>, provisions: Result<Provisions, String> },
    /// An output cannot be had from the worker that has it.
    Uncollected { job: JobId, slot: u32, worker: NodeId, why: String },
    /// Outputs are safe, or this node's disk does not take them.
    Kept { job: JobId, kept: Kept },
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
}

pub struct Hive {
    net: net::Handle,
    me: NodeId,
    keypair: Keypair,
    blobs: Arc<Blobs>,
    engine_tag: String,
    pool: Arc<Workers>,
    cpus: u16,
    memory_bytes: u64,
    /// How many cores are lent at this moment.
    lent: watch::Receiver<Lent>,
    status: watch::Sender<Status>,
    began: Instant,
    incarnation: u64,
    jobs: BTreeMap<JobId, JobState>,
    numbers: HashMap<u32, JobId>,
    next_number: u32,
    /// Jobs whose program and data are being fetched.
    joining: HashSet<JobId>,
    ended: VecDeque<(JobId, Option<Signed<Close>>)>,
    connected: HashSet<NodeId>,
    leaving: bool,
    chunks_run: u64,
    chunks_failed: u64,
    /// What kept it from the last job that it could not take part in.
    trouble: Option<String>,
    reports: mpsc::Receiver<Vec<Done>>,
    lost: mpsc::Receiver<(u32, u32, String)>,
    lost_sender: mpsc::Sender<(u32, u32, String)>,
    inner: mpsc::Receiver<Inner>,
    inner_sender: mpsc::Sender<Inner>,
}

impl Hive {
    pub fn new(parts: Parts) -> Result<Hive, EngineError> {
        let Parts { net, keypair, blobs, sandbox, terms, said, status } = parts;
        let (cpus, memory_bytes) = (terms.cpus, terms.memory_bytes);
        let engine_tag = essaim_worker::tag();
        let (reporter, reports) = Reporter::new(Arc::clone(&blobs));
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
            blobs,
            engine_tag,
            pool,
            cpus,
            memory_bytes,
            lent,
            status,
            began: Instant::now(),
            incarnation,
            jobs: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            joining: HashSet::new(),
            ended: VecDeque::new(),
            connected: HashSet::new(),
            leaving: false,
            chunks_run: 0,
            chunks_failed: 0,
            trouble: None,
            reports,
            lost,
            lost_sender,
            inner,
            inner_sender,
        })
    }

    pub async fn run(mut self, mut events: Events, mut commands: mpsc::Receiver<Command>) {
        if self.cpus > 0 {
            self.net.subscribe(Topic::Jobs).await;
            self.net.advertise(self.advert()).await;
        }
        let ticker = |period| {
            let mut ticker = interval(period);
            ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticker
        };
        let (mut announce, mut seek, mut tell) = (ticker(ANNOUNCE_EVERY), ticker(SEEK_EVERY), ticker(TELL_EVERY));
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
                    Some(Command::Detach(job)) => self.end(job, None, None).await,
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
                _ = announce.tick() => self.announce_all().await,
                _ = seek.tick() => self.seek(),
                _ = tell.tick() => self.tell(),
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
            lends: self.cpus > 0,
        }
    }

    // Jobs: opened, joined, ended.

    async fn open_own(&mut self, own: Own) {
        let provisions = own.provisions.clone();
        let manifest = own.manifest.clone();
        let job = manifest.body.id();
        self.blobs.serve(job, Arc::clone(&own.inputs));
        if let Err(error) = self.keep(job, &own.outputs) {
            warn!(%error, "no thread to keep outputs");
            return;
        }
        let author = AuthorSide::new(own);
        self.open(&manifest, self.me, provisions, Some(author)).await;
        self.greet().await;
        self.announce_all().await;
        self.seek();
    }

    /// Makes the outputs of `job` safe as they come, on a thread that ends with the job.
    fn keep(&self, job: JobId, outputs: &Arc<Outputs>) -> std::io::Result<()> {
        let (outputs, sender) = (Arc::clone(outputs), self.inner_sender.clone());
        let thread = std::thread::Builder::new().name("outputs".into());
        thread.spawn(move || {
            // Once nobody listens any more it only has to come to its end.
            outputs.keep(|kept| drop(sender.blocking_send(Inner::Kept { job, kept })));
        })?;
        Ok(())
    }

    /// Hears of an open job: fetches what it takes, and joins.
    fn on_announcement(&mut self, announcement: Announcement) {
        let job = announcement.place.body.job;
        let busy = self.jobs.len() + self.joining.len() >= JOBS;
        let known = self.jobs.contains_key(&job) || self.joining.contains(&job) || self.has_ended(&job);
        if self.cpus == 0 || self.leaving || known || busy || announcement.check().is_err() {
            return;
        }
        self.joining.insert(job);
        let place = &announcement.place.body;
        let addresses: Vec<Multiaddr> = place.addresses.iter().filter_map(|text| text.as_str().parse().ok()).collect();
        let source = Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), from: place.node };
        let sender = self.inner_sender.clone();
        tokio::spawn(async move {
            source.net.add_address(source.from, addresses).await;
            let provisions = Provisions::fetch(&source, &announcement.manifest.body).await;
            let _ = sender.send(Inner::Provided { announcement: Box::new(announcement), provisions }).await;
        });
    }

    async fn open(
        &mut self,
        manifest: &Signed<Manifest>,
        author_node: NodeId,
        provisions: Provisions,
        author: Option<AuthorSide>,
    ) {
        let manifest = Arc::new(manifest.body.clone());
        let resume = author.as_ref().map_or_else(Resume::default, |author| author.resume(manifest.rows()));
        let job = manifest.id();
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        info!(job = %job.short(), name = manifest.name.as_str(), chunks = manifest.chunks, "job opened");
        self.net.subscribe(Topic::Job(job)).await;
        if self.cpus > 0 {
            let id = program_of(&manifest);
            self.pool.submit(Request::Load { program: id, bytes: provisions.program });
            self.pool.submit(Request::Job {
                job: u64::from(number),
                program: id,
                spec: spec(&manifest, provisions.data),
            });
        }
        let member = Member::new(
            MemberConfig {
                job,
                rows: manifest.rows(),
                me: self.me,
                keypair: self.keypair.clone(),
                author_node,
                author: manifest.author,
                author_key: author.as_ref().map(|author| author.key.clone()),
                engine: self.engine_tag.clone(),
                // Threads come when the program is compiled.
                threads: 0,
                seed: rand::random(),
                incarnation: self.incarnation,
                retries: author.as_ref().map_or(0, |author| author.retries),
                resume,
                tuning: Tuning::of(manifest.rows()),
            },
            self.now(),
        );
        let feed = Feed::start(Feeding {
            number,
            manifest: Arc::clone(&manifest),
            source: Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), from: author_node },
            pool: Arc::clone(&self.pool),
            lost: self.lost_sender.clone(),
            window: BATCHES,
        });
        self.numbers.insert(number, job);
        let state = JobState {
            number,
            manifest,
            member,
            feed,
            kept: HashMap::new(),
            traffic: Traffic::default(),
            ready: false,
            author,
        };
        self.jobs.insert(job, state);
        for peer in self.connected.iter().copied().collect::<Vec<_>>() {
            self.give(job, Input::Up(peer));
        }
    }

    /// Has done with a job: it has ended or, without a reason, only this node has left it.
    async fn end(&mut self, job: JobId, reason: Option<Reason>, word: Option<Signed<Close>>) {
        let Some(state) = self.jobs.remove(&job) else { return };
        info!(job = %job.short(), ?reason, "has done with a job");
        self.numbers.remove(&state.number);
        self.pool.submit(Request::ForgetJob { job: u64::from(state.number) });
        let program = program_of(&state.manifest);
        if !self.jobs.values().any(|other| program_of(&other.manifest) == program) {
            self.pool.submit(Request::ForgetProgram { program });
        }
        state.kept.values().for_each(|id| self.blobs.forget(id));
        self.net.unsubscribe(Topic::Job(job)).await;
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((job, word));
        if let Some(author) = state.author {
            self.blobs.leave(&job);
            author.outputs.close();
            let progress = author.progress(&state.member, self.connected.len());
            let end = End { reason, trouble: author.trouble, progress, traffic: state.traffic };
            // Who submitted may have gone away.
            let _ = author.ended.send(end);
            self.greet().await;
        }
        self.share_threads();
    }

    /// More or fewer cores are lent than before: others are to know it.
    async fn on_lent(&mut self) {
        let Lent { cores, why } = *self.lent.borrow_and_update();
        info!(lent = cores, of = self.cpus, ?why, "cores lent");
        self.share_threads();
        self.net.advertise(self.advert()).await;
    }

    /// Divides the threads over the jobs that they can work for.
    fn share_threads(&mut self) {
        let ready: Vec<JobId> = self.jobs.iter().filter(|(_, state)| state.ready).map(|(job, _)| *job).collect();
        let share = usize::from(self.lent.borrow().cores).div_ceil(ready.len().max(1)) as u16;
        for job in ready {
            let limit = self.jobs.get(&job).map_or(0, |state| state.manifest.limits.memory_bytes);
            self.give(job, Input::Threads(share.min(at_once(self.memory_bytes, limit))));
        }
    }

    // What comes in.

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Up(peer) => {
                self.connected.insert(peer);
                self.give_all(|| Input::Up(peer));
            }
            Event::Down(peer) => {
                self.connected.remove(&peer);
                self.give_all(|| Input::Down(peer));
            }
            Event::Unreachable(peer) => self.give_all(|| Input::Down(peer)),
            Event::Note(note) => info!(note),
            Event::Direct { from, message } => match decode::<Direct>(&message, DIRECT_BYTES) {
                Ok(Direct::Announce(announcement)) => self.on_announcement(*announcement),
                Ok(Direct::Member { job, message: inside }) => self.on_message(job, from, *inside, message.len()),
                Err(error) => debug!(from = %from.short(), %error, "message refused"),
            },
            Event::Gossip { topic: Topic::Jobs, message, .. } => {
                // Judged already: it is of the right form.
                if let Ok(announcement) = decode::<Announcement>(&message, ANNOUNCEMENT_BYTES) {
                    self.on_announcement(announcement);
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

    fn on_message(&mut self, job: JobId, from: NodeId, message: Message, bytes: usize) {
        let word = self.ended.iter().find(|(ended, _)| *ended == job).and_then(|(_, word)| word.as_ref());
        if let (Some(word), false) = (word, matches!(message, Message::Close(_))) {
            // The word that it has ended did not reach this one.
            return self.send(job, from, Message::Close(word.clone()));
        }
        if let Some(state) = self.jobs.get_mut(&job) {
            state.traffic.messages_in += 1;
            state.traffic.bytes_in += bytes as u64;
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
                let of = |state: &&JobState| program_of(&state.manifest) == program && state.author.is_none();
                for job in self.jobs.values().filter(of).map(|state| state.manifest.id()).collect::<Vec<_>>() {
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
                }
                self.give(job, Input::Finished { results, cpu_micros, wall_micros });
            }
        }
    }

    fn on_lost(&mut self, number: u32, slot: u32, why: String) {
        let Some(job) = self.numbers.get(&number).copied() else { return };
        let note = essaim_jobs::FailureNote { deterministic: false, message: why };
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
                        self.open(&announcement.manifest, announcement.place.body.node, provisions, None).await;
                    }
                    // It is announced again while it is open, and tried again then.
                    Err(why) => {
                        warn!(job = %job.short(), why, "cannot join a job");
                        let name = printable(&announcement.manifest.body.name);
                        self.trouble = Some(format!("cannot take part in `{name}`: {why}"));
                    }
                }
            }
            Inner::Uncollected { job, slot, worker, why } => {
                debug!(slot, worker = %worker.short(), why, "output not collected");
                self.give(job, Input::Collected { slot, worker, safe: false });
            }
            Inner::Kept { job, kept: (outputs, Ok(())) } => {
                for (slot, worker) in outputs {
                    self.give(job, Input::Collected { slot, worker, safe: true });
                }
            }
            Inner::Kept { job, kept: (_, Err(error)) } => {
                let author = self.jobs.get_mut(&job).and_then(|state| state.author.as_mut());
                if let Some(author) = author {
                    author.trouble = Some(format!("cannot keep an output: {error}"));
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

    // What the members want done.

    async fn pump(&mut self) {
        let mut over = Vec::new();
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            while let Some(output) = self.jobs.get_mut(&job).and_then(|state| state.member.poll()) {
                match output {
                    Output::Send { to, message } => self.send(job, to, message),
                    Output::Gossip(message) => {
                        let bytes = encode(&message);
                        if let Some(state) = self.jobs.get_mut(&job) {
                            state.traffic.messages_out += 1;
                            state.traffic.bytes_out += bytes.len() as u64;
                        }
                        self.publish(Topic::Job(job), bytes).await;
                    }
                    Output::Ended { reason, word } => {
                        over.push((job, reason, word));
                        break;
                    }
                    other => self.carry_out(job, other),
                }
            }
        }
        for (job, reason, word) in over {
            self.end(job, Some(reason), word).await;
        }
    }

    fn send(&mut self, job: JobId, to: NodeId, message: Message) {
        let bytes = encode(&Direct::Member { job, message: Box::new(message) });
        if let Some(state) = self.jobs.get_mut(&job) {
            state.traffic.messages_out += 1;
            state.traffic.bytes_out += bytes.len() as u64;
        }
        if let Err(error) = self.net.post(to, bytes.into()) {
            debug!(to = %to.short(), %error, "message not sent");
        }
    }

    async fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        match self.net.publish(topic, bytes.into()).await {
            // Whoever comes later hears of it by other ways.
            Ok(()) | Err(net::PublishError::NobodyListens) => {}
            Err(error) => debug!(?topic, %error, "not published"),
        }
    }

    fn carry_out(&mut self, job: JobId, output: Output) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        match output {
            Output::Run(slots) => {
                if !state.feed.push(slots) {
                    warn!(job = %job.short(), "more chunks under way than the window allows");
                }
            }
            Output::Stop(slots) => {
                state.feed.drop_slots(&slots);
                let tickets = slots.iter().map(|slot| ticket(state.number, *slot)).collect();
                self.pool.submit(Request::Stop { tickets });
            }
            Output::Release(slots) => {
                let blobs = &self.blobs;
                state.kept.retain(|slot, id| {
                    let released = slots.contains(*slot);
                    if released {
                        blobs.forget(id);
                    }
                    !released
                });
            }
            Output::Collect { slot, chunk, worker, leaf } => self.collect(job, slot, chunk, worker, leaf),
            Output::Notice(Notice::Sealed { chunk, worker }) => {
                if let Some(author) = &mut state.author {
                    author.sealed += 1;
                    *author.by.entry(worker).or_default() += 1;
                    author.outputs.seal(chunk);
                }
            }
            Output::Notice(notice) => {
                if let Some(author) = &state.author {
                    // Bounded: a person who does not listen misses the newest.
                    let _ = author.notices.try_send(notice);
                }
            }
            Output::Send { .. } | Output::Gossip(_) | Output::Ended { .. } => unreachable!("done by `pump`"),
        }
    }

    /// Has one output made safe.
    fn collect(&mut self, job: JobId, slot: u32, chunk: u32, worker: NodeId, leaf: Leaf) {
        let Some(author) = self.jobs.get(&job).and_then(|state| state.author.as_ref()) else { return };
        let outputs = Arc::clone(&author.outputs);
        match leaf {
            Leaf::Inline(bytes) => outputs.put(Collected { slot, chunk, worker, bytes, turn: None }),
            Leaf::Blob(name) if name.len > author.manifest.body.limits.output_bytes.min(bounds::BLOB_BYTES) => {
                self.give(job, Input::Collected { slot, worker, safe: false });
            }
            Leaf::Blob(name) => {
                let collecting = Arc::clone(&author.collecting);
                let source = Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), from: worker };
                let sender = self.inner_sender.clone();
                tokio::spawn(async move {
                    let turn = collecting.acquire_owned().await.ok();
                    match source.fetch(name).await {
                        Ok(bytes) => outputs.put(Collected { slot, chunk, worker, bytes, turn }),
                        Err(why) => {
                            let _ = sender.send(Inner::Uncollected { job, slot, worker, why }).await;
                        }
                    }
                });
            }
            Leaf::Failed(_) => {}
        }
    }

    // What is done from time to time.

    fn announcement(&mut self, job: JobId) -> Option<Announcement> {
        let addresses = self.net.addresses();
        let author = self.jobs.get_mut(&job)?.author.as_mut()?;
        author.seq += 1;
        let addresses = addresses.iter().filter_map(|address| Text::try_from(address.to_string()).ok());
        let place = Place { job, node: self.me, addresses: addresses.take(ADDRESSES).collect(), seq: author.seq };
        Some(Announcement { manifest: author.manifest.clone(), place: Signed::sign(place, &author.key) })
    }

    fn own(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, state)| state.author.is_some()).map(|(job, _)| *job).collect()
    }

    async fn announce_all(&mut self) {
        for job in self.own() {
            if let Some(announcement) = self.announcement(job) {
                self.publish(Topic::Jobs, encode(&announcement)).await;
            }
        }
    }

    /// Whoever connects is told of our open jobs at once.
    async fn greet(&mut self) {
        let own = self.own();
        let greetings = own.into_iter().filter_map(|job| self.announcement(job));
        let greetings = greetings.map(|a| encode(&Direct::Announce(Box::new(a))).into()).collect();
        if let Err(error) = self.net.set_greetings(greetings).await {
            warn!(%error, "open jobs are not told to those who connect");
        }
    }

    /// Looks for workers on the DHT: asking them connects them, and whoever connects is greeted.
    fn seek(&self) {
        if !self.own().is_empty() {
            let net = self.net.clone();
            tokio::spawn(async move { net.find_spare().await });
        }
    }

    fn tell(&mut self) {
        let connected = self.connected.len();
        for state in self.jobs.values() {
            if let Some(author) = &state.author {
                author.progress.send_replace(author.progress(&state.member, connected));
            }
        }
        let jobs = self.jobs.values().map(|state| {
            let view = state.member.view();
            let own = view.members.first().map_or((0, 0), |me| (me.held, u64::from(me.load.running)));
            (printable(&state.manifest.name), own.0, own.1)
        });
        let jobs = jobs.collect();
        let (chunks_run, chunks_failed, trouble) = (self.chunks_run, self.chunks_failed, self.trouble.clone());
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
