//! Jobs at this node: opened, joined, ended, and given threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator_free::io::Input;
use coordinator_free::message::{Close, Message, Reason};
use coordinator_free::{Config as MemberConfig, Member, Resume, Tuning};
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{Halt, JobId, Manifest, NodeId, Role, Signed};
use essaim_worker::Request;
use libp2p::Multiaddr;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Hive, Inner, at_once};
use crate::net::Topic;
use crate::peer::apart::Apart;
use crate::peer::cause::Cause;
use crate::peer::ended::{self, Ended};
use crate::peer::feed::{Feed, Feeding};
use crate::peer::governor::Lent;
use crate::peer::job::{AuthorSide, JobState, Own};
use crate::peer::provisions::{Provisions, program_of, spec};
use crate::peer::source::{Holders, Source};
use crate::peer::wire::{Announcement, Place};
use crate::peer::{End, Traffic};
use crate::store::{Outputs, Repute};

/// Jobs of others that a node takes part in at once.
const JOBS: usize = 64;
/// Jobs that have ended and are remembered, so that a late announcement does not begin them again.
const ENDED: usize = 4_096;
/// Batches of slots under way to one job's feed; the core's window of slots is smaller.
const BATCHES: usize = 8_192;
/// A job is kept for so long at least while its author is away: connections break, and come back.
pub(super) const LEAST_KEPT: Duration = Duration::from_secs(60);

impl Hive {
    pub(super) async fn open_own(&mut self, own: Own) {
        let provisions = own.provisions.clone();
        let manifest = own.manifest.clone();
        let job = manifest.body.id();
        self.blobs.serve(job, Arc::clone(&own.inputs));
        if let Err(error) = self.keep(job, &own.outputs) {
            warn!(%error, "no thread to keep outputs");
            return;
        }
        if own.again {
            ended::forget(&self.store, job).await;
        }
        let author = AuthorSide::new(own);
        if self.jobs.contains_key(&job) {
            // It has worked for it until now.
            self.end(job, None, None).await;
        }
        let addresses = Vec::new();
        let place =
            Place { job, node: self.me, addresses, term: author.term, seq: author.seq, left: false, collected: None };
        self.open(&manifest, place, None, provisions, Some(author)).await;
        self.greet().await;
        self.announce_all().await;
        self.tell_connected(job);
        self.seek();
    }

    /// Makes the outputs of `job` safe as they come, on a thread that ends with the job.
    pub(super) fn keep(&self, job: JobId, outputs: &Arc<Outputs>) -> std::io::Result<()> {
        let (outputs, sender) = (Arc::clone(outputs), self.inner_sender.clone());
        let thread = std::thread::Builder::new().name("outputs".into());
        thread.spawn(move || {
            // Once nobody listens any more it only has to come to its end.
            outputs.keep(|kept| drop(sender.blocking_send(Inner::Kept { job, kept })));
        })?;
        Ok(())
    }

    /// Hears of an open job: fetches what it takes, and joins.
    pub(super) fn on_announcement(&mut self, from: NodeId, announcement: Announcement) {
        let job = announcement.place.body.job;
        if self.wanted.as_ref().is_some_and(|(prefix, _)| job.to_string().starts_with(prefix))
            && announcement.check().is_ok()
            && let Some((_, reply)) = self.wanted.take()
        {
            // Who asked may have given up.
            let _ = reply.send(Box::new(announcement));
            return;
        }
        if self.jobs.contains_key(&job) {
            return self.on_place(announcement);
        }
        if from == announcement.place.body.node
            && self.connected.contains(&from)
            && let Some(word) = self.word_of_end(&job)
        {
            // Its author has ended it at another node, and this one does not know.
            return self.send(job, from, Message::Close(word));
        }
        let known = self.joining.contains_key(&job) || self.has_ended(&job);
        if !self.lends || self.leaving || known {
            return;
        }
        let version = announcement.manifest.body.version;
        if version != VERSION {
            return self.refuse_version(from, Some(job), version);
        }
        if announcement.check().is_err() {
            return;
        }
        if self.jobs.len() + self.joining.len() >= JOBS {
            let apart =
                Apart::new(Cause::Busy, &format!("it works on {JOBS} jobs already; hint: it tries again later"));
            return self.stand_apart(announcement.place.body.node, Some(job), Some(&apart));
        }
        let place = &announcement.place.body;
        let addresses: Vec<Multiaddr> = place.addresses.iter().filter_map(|text| text.as_str().parse().ok()).collect();
        let author = place.node;
        let others = self.connected.iter().copied().filter(|node| *node != author).collect();
        let (known, holders) = watch::channel(Holders { author: Some(author), others });
        self.joining.insert(job, known);
        let source = Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), holders, shared: true };
        let sender = self.inner_sender.clone();
        tokio::spawn(async move {
            source.net.add_address(author, addresses).await;
            let provisions = Provisions::fetch(&source, &announcement.manifest.body).await;
            let _ = sender.send(Inner::Provided { announcement: Box::new(announcement), provisions }).await;
        });
    }

    pub(super) async fn open(
        &mut self,
        manifest: &Signed<Manifest>,
        place: Place,
        announcement: Option<Announcement>,
        provisions: Provisions,
        author: Option<AuthorSide>,
    ) {
        let manifest = Arc::new(manifest.body.clone());
        let distrusted = author.as_ref().map_or_else(Vec::new, |author| author.distrusted.clone());
        let resume = author.as_ref().map_or_else(Resume::default, |author| author.resume(manifest.rows()));
        let job = manifest.id();
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let (name, role) = (manifest.name.as_str(), manifest.role.as_str());
        info!(job = %job.short(), name, role, chunks = manifest.chunks, "job opened");
        self.net.subscribe(Topic::Job(job)).await;
        if self.cpus > 0 {
            let id = program_of(&manifest);
            self.warm.take(id);
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
                author_node: place.node,
                author: manifest.author,
                author_key: author.as_ref().map(|author| author.key.clone()),
                engine: self.engine_tag.clone(),
                // Threads come when the program is compiled.
                threads: 0,
                seed: rand::random(),
                incarnation: self.incarnation,
                retries: manifest.retries,
                bears: manifest.halt.bears(),
                resume,
                distrusted,
                tuning: Tuning {
                    author_silence: Duration::from_secs(manifest.keep_seconds.into()).max(LEAST_KEPT),
                    ..Tuning::of(manifest.rows())
                },
            },
            self.now(),
        );
        let (holders, watching) = watch::channel(Holders { author: Some(place.node), others: Vec::new() });
        let feed = Feed::start(Feeding {
            number,
            manifest: Arc::clone(&manifest),
            source: Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), holders: watching, shared: true },
            room: self.room.clone(),
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
            place,
            announcement,
            announced: Instant::now(),
            opened: Instant::now(),
            author_heard: Instant::now(),
            holders,
            held: provisions.held,
            kept: HashMap::new(),
            custody: Vec::new(),
            keeping: false,
            traffic: Traffic::default(),
            ready: false,
            author,
        };
        self.jobs.insert(job, state);
        self.tell_apart();
        for peer in self.connected.iter().copied().collect::<Vec<_>>() {
            self.give(job, Input::Up(peer));
        }
    }

    /// Has done with a job: it has ended or, without a reason, only this node has left it.
    pub(super) async fn end(&mut self, job: JobId, reason: Option<Reason>, word: Option<Signed<Close>>) {
        let Some(state) = self.jobs.remove(&job) else { return };
        info!(job = %job.short(), ?reason, "has done with a job");
        self.numbers.remove(&state.number);
        self.pool.submit(Request::ForgetJob { job: u64::from(state.number) });
        let program = program_of(&state.manifest);
        if self.cpus > 0 && !self.jobs.values().any(|other| program_of(&other.manifest) == program) {
            let oldest = self.warm.leave(program, Instant::now());
            oldest.into_iter().for_each(|program| self.pool.submit(Request::ForgetProgram { program }));
        }
        state.kept.values().chain(state.custody.iter().map(|blob| &blob.id)).for_each(|id| self.blobs.forget(id));
        self.net.unsubscribe(Topic::Job(job)).await;
        if reason.is_some() {
            self.remember_end(job, word);
        }
        if let Some(mut author) = state.author {
            // The next job may begin at once.
            self.write_down(author.shown.news(votes(&state.member, self.me))).await;
            // How combining went is a part of how its run did.
            if state.manifest.role != Role::Combine {
                ended::write(&self.store, job, &Ended::now(&author, reason, self.me)).await;
            }
            self.blobs.leave(&job);
            if reason == Some(Reason::Failed) && matches!(state.manifest.halt, Halt::Soon(_)) {
                author.outputs.pass_over();
            }
            author.outputs.close();
            let progress = author.progress(&state.member, self.connected.len());
            // Whoever asks while it is folded is told the last of it, too.
            author.progress.send_replace(progress.clone());
            let end = End { reason, trouble: author.trouble, handed: author.handed, progress, traffic: state.traffic };
            // Who submitted may have gone away.
            let _ = author.ended.send(end);
            self.greet().await;
        }
        self.share_threads();
    }

    /// Has the pool forget programs of which no job came again.
    pub(super) fn cool_down(&mut self) {
        while let Some(program) = self.warm.pop_due(Instant::now()) {
            self.pool.submit(Request::ForgetProgram { program });
        }
    }

    /// What is heard of this job from now on comes too late.
    pub(super) fn remember_end(&mut self, job: JobId, word: Option<Signed<Close>>) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((job, word));
    }

    /// Writes down now and then what our jobs have shown of those who run them.
    pub(super) async fn remember(&mut self) {
        let me = self.me;
        let mut news = Vec::new();
        for state in self.jobs.values_mut() {
            if let Some(author) = &mut state.author {
                news.extend(author.shown.news(votes(&state.member, me)));
            }
        }
        self.write_down(news).await;
    }

    /// It is little, seldom, and only where each chunk is run more than once.
    async fn write_down(&self, news: Vec<(NodeId, Repute)>) {
        if news.is_empty() {
            return;
        }
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.saw(&news)).await;
        if let Ok(Err(error)) = written {
            warn!(%error, "what was seen of peers is not written down");
        }
    }

    /// More or fewer cores are lent than before: others are to know it.
    pub(super) async fn on_lent(&mut self) {
        let Lent { cores, why } = *self.lent.borrow_and_update();
        info!(lent = cores, of = self.cpus, ?why, "cores lent");
        self.share_threads();
        if self.lends {
            self.tell_apart();
            self.net.advertise(self.advert()).await;
        }
    }

    /// Divides the threads over the jobs that they can work for.
    pub(super) fn share_threads(&mut self) {
        let ready: Vec<JobId> = self.jobs.iter().filter(|(_, state)| state.ready).map(|(job, _)| *job).collect();
        let share = usize::from(self.lent.borrow().cores).div_ceil(ready.len().max(1)) as u16;
        for job in ready {
            let limit = self.jobs.get(&job).map_or(0, |state| state.manifest.limits.memory_bytes);
            self.give(job, Input::Threads(share.min(at_once(self.memory_bytes, limit))));
        }
    }
}

/// What an author's member tells of others.
fn votes(member: &Member, me: NodeId) -> impl Iterator<Item = (NodeId, u32, u32)> {
    member.votes().filter(move |(node, ..)| *node != me)
}
