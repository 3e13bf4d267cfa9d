//! The peer: joins the core, the worker, the network and the store into one node, for whoever holds it, the
//! command line or a host program.
//!
//! [`Peer::start`] makes a node; from then on everything happens in its event loop (`hive`). A node with
//! `cpus > 0` lends them to every open job that it hears of, or only to its own ([`Whose`]); [`Peer::submit`] opens one.

mod apart;
mod budget;
mod cause;
mod ended;
mod feed;
mod fold;
mod governor;
mod handover;
mod hive;
mod hours;
mod job;
mod power;
mod provisions;
mod reports;
mod repute;
mod snapshot;
mod source;
mod submission;
mod why;
pub mod wire;

pub use cause::{Cause, Finding};
pub use ended::{Ended, ended};
pub use fold::{FRAME_BYTES, Fold, Frames, Leg, Lost, Ordered};
pub use governor::{Terms, When, Whose, Why};
pub use handover::Handed;
pub use hours::{HourRange, Hours, HoursError};
pub use power::on_battery;
pub use provisions::{mounted, spec};
pub use reports::{note, parted};
pub use repute::{Known, forgive, known};
pub use snapshot::{CellSnapshot, JobSnapshot, MemberSnapshot, Snapshot};
pub use submission::{Submission, SubmitError};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coordinator_free::io::{Notice, View};
use coordinator_free::message::{Close, Reason};
use essaim_jobs::bounds::{self, TooLong};
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{AuthorId, BlobRef, JobId, Keypair, Manifest, NodeId, Signed, encode};
use essaim_worker::{DataFile, EngineError, Input, JobSpec, Sandbox, Stretch};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::net::{self, NetError, PeerAddr, SwarmName};
use governor::Said;
use provisions::Provisions;
use source::{Holders, Source};
use wire::Announcement;

use crate::store::{Blobs, Cache, Draft, Home, HomeError, Inputs, Kin, Outputs, Row, Saved, StoreError};

/// How long a node waits to be told of a job.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// How long a node waits for the first, and for each further peer, to hear that a job has ended.
const HEARD_WITHIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// How a node is to be.
#[derive(Debug)]
pub struct Config {
    /// Where its keys and scratch files are; held for as long as the node lives.
    pub home: Home,
    /// Which swarm it is in.
    pub swarm: SwarmName,
    /// Where it listens; nothing: on every interface, at ports that are free.
    pub listen: Vec<Multiaddr>,
    /// Peers that it is told of.
    pub peers: Vec<PeerAddr>,
    /// Whether it looks for peers on this machine and its LAN.
    pub mdns: bool,
    /// Where nodes of this machine find one another, when `mdns` is on.
    pub local_dir: Option<PathBuf>,
    /// Bytes a second that it gives others of blobs at most; none: as many as the line takes.
    pub upload: Option<u64>,
    /// Bytes of large blobs of others that it keeps at most.
    pub disk_bytes: u64,
    /// On which terms it is lent.
    pub terms: Terms,
    /// What runs programs here.
    pub sandbox: Sandbox,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its folder of blobs cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot listen.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No WebAssembly engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl StartError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            StartError::Home(e) => e.hint(),
            StartError::Store(e) => e.hint().into(),
            StartError::Net(e) => e.hint().to_string(),
            StartError::Engine(e) => e.hint().to_string(),
        }
    }
}

/// A job of one's own.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is.
    pub manifest: Arc<Manifest>,
    /// The files that its program may read.
    data: Arc<[DataFile]>,
    /// How many nodes are not trusted with it, for their results were wrong before.
    pub distrusted: usize,
    /// What it takes.
    pub inputs: Arc<Inputs>,
    /// Its outputs, as they are sealed.
    pub outputs: Arc<Outputs>,
    /// Whether it stood on the disk before.
    pub again: bool,
    /// How many of them earlier jobs had given when it was submitted.
    pub reused: u32,
    /// What the person should hear of, [`Notice::Sealed`] excepted; the newest are dropped when nobody listens.
    pub notices: mpsc::Receiver<Notice>,
    /// How it goes, about ten times a second.
    pub progress: watch::Receiver<Progress>,
    /// How it ended.
    pub ended: oneshot::Receiver<End>,
}

impl Job {
    /// What the program is run with.
    #[must_use]
    pub fn spec(&self) -> JobSpec {
        provisions::spec(&self.manifest, Arc::clone(&self.data))
    }
}

/// How a job goes.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Chunks sealed.
    pub sealed: u32,
    /// Among them, those that were given up.
    pub given_up: u32,
    /// Chunks in all.
    pub chunks: u32,
    /// Who ran them, but for those that earlier jobs had given.
    pub by: BTreeMap<NodeId, u32>,
    /// The members and what they hold; none before the first look.
    pub view: Option<View>,
    /// Peers connected, members or not.
    pub connected: usize,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Why; none where only this node has left it: the job goes on.
    pub reason: Option<Reason>,
    /// What went wrong at this node, if that is why it left: a full disk.
    pub trouble: Option<String>,
    /// What was given to the job's peers before this node left.
    pub handed: Option<Handed>,
    /// The last state.
    pub progress: Progress,
    /// Bytes and messages on the wire for this job, sent and received by this node.
    pub traffic: Traffic,
}

/// What a job cost on the wire, at one node: the members' messages, not the blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Messages sent, each gossip counted once.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
}

impl Traffic {
    /// Adds that of another job.
    pub fn add(&mut self, other: &Traffic) {
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
    }
}

/// How a node does that lends its threads.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Threads it lends at most.
    pub cpus: u16,
    /// Threads it lends at this moment.
    pub lent: u16,
    /// Why these are fewer.
    pub why: Option<Why>,
    /// Peers connected.
    pub connected: usize,
    /// Jobs it takes part in.
    pub jobs: Vec<JobStatus>,
    /// Chunks run since it started.
    pub chunks_run: u64,
    /// Among them, those that failed.
    pub chunks_failed: u64,
    /// What kept it from the last job that it could not take part in.
    pub trouble: Option<String>,
}

/// A job that a node takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Its name for people, fit for a terminal.
    pub name: String,
    /// Chunks that this node holds: to be run, running, or run and not collected.
    pub held: u64,
    /// Chunks that it is running.
    pub running: u64,
    /// How far those of them are that say so, from 0 to 100.
    pub percents: Vec<u8>,
    /// Where its author is away: in how long it is forgotten here, unless the author comes back.
    pub forgotten_in: Option<Duration>,
}

/// A running node. Dropping it stops it without a word; [`Peer::shutdown`] takes leave.
#[derive(Debug)]
pub struct Peer {
    net: net::Handle,
    home: Home,
    blobs: Arc<Blobs>,
    commands: mpsc::Sender<hive::Command>,
    status: watch::Receiver<Status>,
    said: watch::Sender<Said>,
    hive: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// Starts a node; returns once it listens.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Peer, StartError> {
        let seed = config.home.seed("node")?;
        let cache = Cache::new(&config.home.blobs_dir(), config.disk_bytes).map_err(StoreError::from)?;
        let blobs = Arc::new(Blobs::new(config.home.dir().to_owned(), cache));
        let (served, given) = (Arc::clone(&blobs), Arc::clone(&blobs));
        let (net, events) = net::start(net::Config {
            seed,
            swarm: config.swarm,
            listen: config.listen,
            peers: config.peers,
            mdns: config.mdns,
            local_dir: config.local_dir.filter(|_| config.mdns),
            serve: Arc::new(move |id| served.find(&id)),
            serve_pieces: Arc::new(move |name| given.pieces(name)),
            upload: config.upload,
            validate: Arc::new(job::judge),
        })
        .await?;
        let (commands, incoming) = mpsc::channel(16);
        let (status, watching) = watch::channel(Status::default());
        let (said, saying) = watch::channel(Said::Lend);
        let hive = hive::Hive::new(hive::Parts {
            net: net.clone(),
            keypair: Keypair::from_seed(&seed),
            blobs: Arc::clone(&blobs),
            sandbox: config.sandbox,
            terms: config.terms,
            said: saying,
            status,
            store: Arc::clone(config.home.store()),
        })?;
        let hive = tokio::spawn(hive.run(events, incoming));
        Ok(Peer { net, home: config.home, blobs, commands, status: watching, said, hive })
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The network, to ask for peers.
    #[must_use]
    pub fn net(&self) -> &net::Handle {
        &self.net
    }

    /// How this node does, renewed about once a second.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Lends nothing until further notice, or again what it may. What runs stands still meanwhile.
    pub fn pause(&self, paused: bool) {
        self.said.send_replace(if paused { Said::Pause } else { Said::Lend });
    }

    /// Whether it was paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.said.borrow() == Said::Pause
    }

    /// An empty job, to be put together and submitted.
    ///
    /// # Errors
    /// The system's, when nothing can be written in the home.
    pub fn draft(&self) -> std::io::Result<Draft> {
        Draft::new(&self.home)
    }

    /// Opens a job.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, work: Submission) -> Result<Job, SubmitError> {
        let Submission { mut draft, program, .. } = work;
        let author = self.home.keypair("author")?;
        let chunks = draft.chunks() as u32;
        let pages = draft.pages().map_err(StoreError::from)?;
        let manifest = Manifest {
            version: VERSION,
            name: work.name.try_into()?,
            program: BlobRef::of(&program),
            role: work.role,
            argv: work.argv.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            values: work.values,
            env: work
                .env
                .into_iter()
                .map(|(name, value)| Ok::<_, TooLong>((name.try_into()?, value.try_into()?)))
                .collect::<Result<_, _>>()?,
            data: work.data,
            chunks,
            first_chunk: work.first_chunk,
            pages,
            limits: work.limits,
            strict: work.strict,
            copies: work.copies,
            retries: work.retries,
            halt: work.halt,
            folds: work.folds,
            keep_seconds: work.keep.as_secs().try_into().unwrap_or(u32::MAX),
            author: AuthorId(author.public()),
            created_ms: since_1970().as_millis() as u64,
            nonce: rand::random(),
        };
        manifest.check()?;
        let bytes = encode(&manifest).len();
        if bytes > bounds::MANIFEST_BYTES {
            return Err(SubmitError::TooLarge(bytes));
        }
        if let Some(saved) = self.standing(&manifest)?.filter(|_| work.resume) {
            return self.attach(saved).await;
        }
        let kin = work.reuse.then(|| kin(&manifest));
        let saved = draft.save(&self.home, Row::new(Signed::sign(manifest, &author)), &program, kin)?;
        let looking = tokio::task::spawn_blocking(move || (saved.reuse(), saved));
        let (reused, saved) = looking.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))?;
        let reused = reused.unwrap_or_else(|error| {
            tracing::warn!(%error, "not all that was run before could be taken");
            0
        });
        self.open(saved, author, false).await.map(|job| Job { reused, ..job })
    }

    /// The latest job of this home that stands on its disk, and does the same.
    fn standing(&self, manifest: &Manifest) -> Result<Option<Saved>, StoreError> {
        let is_same = |saved: &Saved| {
            let (row, other) = (saved.row(), &saved.row().manifest.body);
            let same_work = kin(other) == kin(manifest) && other.pages == manifest.pages;
            !row.remote && same_work && other.copies == manifest.copies && other.author == manifest.author
        };
        let same = Saved::all(&self.home)?.into_iter().filter(is_same);
        Ok(same.max_by_key(|saved| saved.row().manifest.body.created_ms))
    }

    /// Goes on with a job that stands on the disk of this node's home: what was sealed is not run again.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn attach(&self, saved: Saved) -> Result<Job, SubmitError> {
        let author = match saved.row().key {
            Some(seed) => Keypair::from_seed(&seed),
            None => self.home.keypair("author")?,
        };
        if saved.row().manifest.body.author.0 != author.public() {
            return Err(SubmitError::NotTheAuthor);
        }
        self.open(saved, author, true).await
    }

    async fn open(&self, saved: Saved, key: Keypair, again: bool) -> Result<Job, SubmitError> {
        let id = saved.id();
        // Another essaim may have submitted it.
        let for_later = saved.kin()? == Some(kin(&saved.row().manifest.body));
        let program = Arc::new(saved.program().map_err(StoreError::from)?);
        let program = Stretch::new(program, 0, saved.row().manifest.body.program.len, None);
        let (row, inputs, outputs) = saved.open()?;
        let (inputs, outputs) = (Arc::new(inputs), Arc::new(outputs));
        let chunks = row.manifest.body.chunks;
        let (data, held) = if row.remote {
            let source = self.source().await;
            let provisions = Provisions::fetch(&source, &row.manifest.body).await;
            let provisions = provisions.map_err(|lack| SubmitError::Unreachable(lack.into()))?;
            (provisions.data, provisions.held)
        } else {
            (provisions::mounted(&inputs, &row.manifest.body, again)?, Vec::new())
        };
        let (notices, heard) = mpsc::channel(1_024);
        let sealed = outputs.sealed().len() as u32;
        let (progress, watching) = watch::channel(Progress { sealed, chunks, ..Progress::default() });
        let (ended, ending) = oneshot::channel();
        let manifest = Arc::new(row.manifest.body.clone());
        let distrusted = repute::distrusted(&self.home)?;
        let how_many = distrusted.len();
        let own = job::Own {
            distrusted,
            manifest: row.manifest,
            key,
            term: row.term,
            again,
            provisions: Provisions { program: Input::File(program), data: Arc::clone(&data), held },
            inputs: Arc::clone(&inputs),
            outputs: Arc::clone(&outputs),
            for_later,
            notices,
            progress,
            ended,
        };
        self.commands.send(hive::Command::Open(Box::new(own))).await.map_err(|_| SubmitError::Gone)?;
        let (reused, distrusted) = (0, how_many);
        Ok(Job {
            id,
            manifest,
            data,
            distrusted,
            inputs,
            outputs,
            again,
            reused,
            notices: heard,
            progress: watching,
            ended: ending,
        })
    }

    /// Leaves a job of one's own: it stands on the disk, and may be attached again. Before, what it takes and what has
    /// come out is given to its peers, who go on; [`End::handed`] says how much that was.
    pub async fn detach(&self, job: JobId) {
        // A node that is gone has left all its jobs.
        let _ = self.commands.send(hive::Command::Detach(job)).await;
    }

    /// Takes up a job that was submitted from another home, and whose name begins so: asks the swarm for it, and
    /// fetches what its author had left behind when it went. It stands on the disk then, and can be attached.
    ///
    /// # Errors
    /// [`SubmitError::Unknown`] when nobody knows of it, [`SubmitError::NotTheAuthor`] when `key`, which is the home's
    /// own where none is given, is not its author's.
    pub async fn adopt(&self, prefix: &str, key: Option<[u8; 32]>) -> Result<Saved, SubmitError> {
        let Announcement { manifest, place } = self.ask_for(prefix).await?;
        let author = key.map_or_else(|| self.home.keypair("author"), |seed| Ok(Keypair::from_seed(&seed)))?;
        if manifest.body.author.0 != author.public() {
            return Err(SubmitError::NotTheAuthor);
        }
        let source = self.source().await;
        let program = source.fetch_now(manifest.body.program).await.map_err(SubmitError::Unreachable)?;
        let row = Row { term: place.body.term + 1, remote: true, key, ..Row::new(manifest) };
        let saved = Draft::new(&self.home).map_err(StoreError::from)?.save(&self.home, row, &program, None)?;
        if let Some(list) = place.body.collected {
            // What cannot be had is run again.
            if let Err(why) = handover::collect(&source, list, saved.outputs()?).await {
                tracing::warn!(why, "not all that had come out before could be had");
            }
        }
        Ok(saved)
    }

    /// Ends a job that was submitted from another home, and whose name begins so, for everyone: asks the swarm for it, and
    /// tells all who work on it. Returns its name, and how many have heard.
    ///
    /// # Errors
    /// [`SubmitError::Unknown`] when nobody knows of it, [`SubmitError::NotTheAuthor`] when `key` is not its author's.
    pub async fn revoke(&self, prefix: &str, key: [u8; 32]) -> Result<(JobId, usize), SubmitError> {
        let manifest = self.ask_for(prefix).await?.manifest.body;
        let (job, author) = (manifest.id(), Keypair::from_seed(&key));
        if manifest.author.0 != author.public() {
            return Err(SubmitError::NotTheAuthor);
        }
        let word = Box::new(Signed::sign(Close { job, reason: Reason::Cancelled }, &author));
        let (told, mut heard) = watch::channel(0);
        let wish = hive::Command::Revoke(word, told);
        self.commands.send(wish).await.map_err(|_| SubmitError::Gone)?;
        // Whoever lends is being looked for meanwhile: when nobody new has heard for a while, all have.
        let (first, further) = HEARD_WITHIN;
        let mut patience = first;
        while let Ok(Ok(())) = tokio::time::timeout(patience, heard.changed()).await {
            patience = further;
        }
        let heard = *heard.borrow();
        Ok((job, heard))
    }

    /// The first job that is announced and whose name begins so.
    async fn ask_for(&self, prefix: &str) -> Result<Announcement, SubmitError> {
        let (reply, told) = oneshot::channel();
        let wish = hive::Command::Want(prefix.to_owned(), reply);
        self.commands.send(wish).await.map_err(|_| SubmitError::Gone)?;
        let told = tokio::time::timeout(TOLD_WITHIN, told).await;
        let Ok(Ok(announcement)) = told else { return Err(SubmitError::Unknown(prefix.to_owned())) };
        Ok(*announcement)
    }

    /// All that are connected, as a source of blobs.
    async fn source(&self) -> Source {
        let others = self.net.peers().await.into_iter().map(|peer| peer.node).collect();
        let holders = watch::channel(Holders { author: None, others }).1;
        Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), holders, shared: true }
    }

    /// Forgets a job of one's own that has ended, and removes all that belongs to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(&self, job: JobId) -> Result<(), StoreError> {
        Saved::remove(&self.home, job)
    }

    /// Takes a job of one's own back.
    pub async fn cancel(&self, job: JobId) {
        // A node that is gone has no job to cancel.
        let _ = self.commands.send(hive::Command::Cancel(job)).await;
    }

    /// What there is to look at in it. Empty where it is shutting down.
    pub async fn look(&self) -> Snapshot {
        let (reply, told) = oneshot::channel();
        // A node that is gone has nothing to show.
        let _ = self.commands.send(hive::Command::Look(reply)).await;
        told.await.unwrap_or_default()
    }

    /// Takes leave of the jobs it works for, says so to its peers, and stops. What runs may come to its end, even if it
    /// stood still.
    pub async fn shutdown(self) {
        self.said.send_replace(Said::Leave);
        let _ = self.commands.send(hive::Command::Leave).await;
        let _ = self.hive.await;
        self.net.shutdown().await;
    }
}

/// What the outputs of a job's chunks depend on, if engines like this node's run them.
fn kin(manifest: &Manifest) -> Kin {
    Kin::of(manifest, &essaim_worker::kind(&essaim_worker::tag(), manifest.strict))
}

/// Time since 1970, by this machine's clock.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
