//! The peer: joins the core, the worker, the network and the store into one node, for whoever holds it, the
//! command line or a host program.
//!
//! [`Peer::start`] makes a node; from then on everything happens in its event loop (`hive`). A node with
//! `cpus > 0` lends them to every open job that it hears of; [`Peer::submit`] opens a job of its own.

mod feed;
mod governor;
mod hive;
mod hours;
mod job;
mod power;
mod provisions;
mod reports;
pub mod wire;

pub use governor::{Terms, When, Why};
pub use hours::{HourRange, Hours, HoursError};
pub use reports::note;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coordinator_free::io::{Notice, View};
use coordinator_free::message::Reason;
use essaim_jobs::bounds::{self, TooLong};
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{
    AuthorId, BlobRef, ChunkInput, JobId, Keypair, Limits, Manifest, ManifestError, Mount, NodeId, Page, Signed, encode,
};
use essaim_worker::{DataFile, EngineError, Sandbox};
use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use crate::net::{self, NetError, PeerAddr, SwarmName};
use governor::Said;
use provisions::Provisions;

use crate::store::{Blobs, Home, HomeError, Spool};

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
            StartError::Net(e) => e.hint().to_string(),
            StartError::Engine(e) => e.hint().to_string(),
        }
    }
}

/// Work to be submitted.
#[derive(Debug)]
pub struct Submission {
    /// A name for people.
    pub name: String,
    /// The WebAssembly program.
    pub program: Bytes,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// The chunks' inputs, in order; at least one.
    pub inputs: Vec<ChunkInput>,
    /// Where the inputs stand that are blobs.
    pub places: Vec<(BlobRef, Arc<File>, u64)>,
    /// Files that the program may read.
    pub data: Vec<Data>,
    /// What a chunk may use.
    pub limits: Limits,
    /// Whether every NaN is to have the same bits.
    pub strict: bool,
    /// How many different peers run each chunk.
    pub copies: u8,
    /// How often a chunk that failed is tried again.
    pub retries: u32,
}

/// A file that a job's program may read.
#[derive(Debug)]
pub struct Data {
    /// Its path in the program's root folder.
    pub name: String,
    /// What is in it.
    pub blob: BlobRef,
    /// Where that stands; it must not change while the job lives.
    pub file: Arc<File>,
}

/// Why work was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A name or an argument is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The manifest would break its bounds.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The arguments and the environment together are too long.
    #[error("the job's description is {0} bytes, at most {max} are allowed", max = bounds::MANIFEST_BYTES)]
    TooLarge(usize),
    /// The home's disk does not take what the job needs.
    #[error("cannot keep the job's program and chunk table")]
    Disk(#[source] std::io::Error),
    /// The home does not give a scratch file or the author's key.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Gone,
}

/// A job of one's own.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Its number of chunks.
    pub chunks: u32,
    /// Its outputs, as they are sealed.
    pub outputs: Arc<Spool>,
    /// What the person should hear of, [`Notice::Sealed`] excepted; the newest are dropped when nobody listens.
    pub notices: mpsc::Receiver<Notice>,
    /// How it goes, about ten times a second.
    pub progress: watch::Receiver<Progress>,
    /// How it ended.
    pub ended: oneshot::Receiver<End>,
}

/// How a job goes.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Chunks sealed.
    pub sealed: u32,
    /// Chunks in all.
    pub chunks: u32,
    /// Whose outputs they are.
    pub by: BTreeMap<NodeId, u32>,
    /// The members and what they hold; none before the first look.
    pub view: Option<View>,
    /// Peers connected, members or not.
    pub connected: usize,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// What went wrong at this node, if that ended it: a full disk.
    pub trouble: Option<String>,
    /// The last state.
    pub progress: Progress,
    /// Bytes and messages on the wire for this job, sent and received by this node.
    pub traffic: Traffic,
}

/// What a job cost on the wire, at one node: the members' messages, not the blobs.
#[derive(Clone, Copy, Debug, Default)]
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
    /// Jobs it takes part in: name, chunks it holds, chunks that it is running.
    pub jobs: Vec<(String, u64, u64)>,
    /// Chunks run since it started.
    pub chunks_run: u64,
    /// Among them, those that failed.
    pub chunks_failed: u64,
    /// What kept it from the last job that it could not take part in.
    pub trouble: Option<String>,
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
        let blobs = Arc::new(Blobs::new(config.home.dir().to_owned()));
        let served = Arc::clone(&blobs);
        let (net, events) = net::start(net::Config {
            seed,
            swarm: config.swarm,
            listen: config.listen,
            peers: config.peers,
            mdns: config.mdns,
            local_dir: config.local_dir.filter(|_| config.mdns),
            serve: Arc::new(move |id| served.find(&id)),
            serve_pieces: Arc::new(|_| None),
            upload: None,
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
        })?;
        let hive = tokio::spawn(hive.run(events, incoming));
        Ok(Peer { net, home: config.home, blobs, commands, status: watching, said, hive })
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

    /// Opens a job.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, work: Submission) -> Result<Job, SubmitError> {
        let author = self.home.keypair("author")?;
        let chunks = work.inputs.len() as u32;
        let keep = |bytes: &Bytes| self.blobs.put(bytes).map_err(SubmitError::Disk);
        let program = keep(&work.program)?;
        let pages =
            Page::paginate(work.inputs).iter().map(|page| keep(&encode(page).into())).collect::<Result<Vec<_>, _>>()?;
        for (name, file, offset) in &work.places {
            self.blobs.link(*name, file, *offset);
        }
        let mut data = Vec::with_capacity(work.data.len());
        for Data { name, blob, file } in &work.data {
            self.blobs.link(*blob, file, 0);
            data.push(DataFile::of(name.clone(), Arc::clone(file)).map_err(SubmitError::Disk)?);
        }
        let kept = pages
            .iter()
            .chain([&program])
            .chain(work.places.iter().map(|(name, ..)| name))
            .chain(work.data.iter().map(|data| &data.blob))
            .map(|name| name.id)
            .collect();
        let manifest = Manifest {
            version: VERSION,
            name: work.name.try_into()?,
            program,
            argv: work.argv.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            env: work
                .env
                .into_iter()
                .map(|(name, value)| Ok::<_, TooLong>((name.try_into()?, value.try_into()?)))
                .collect::<Result<_, _>>()?,
            data: work
                .data
                .into_iter()
                .map(|data| Ok::<_, TooLong>(Mount { name: data.name.try_into()?, blob: data.blob }))
                .collect::<Result<_, _>>()?,
            chunks,
            pages,
            limits: work.limits,
            strict: work.strict,
            copies: work.copies,
            author: AuthorId(author.public()),
            created_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            nonce: rand::random(),
        };
        manifest.check()?;
        let bytes = encode(&manifest).len();
        if bytes > bounds::MANIFEST_BYTES {
            return Err(SubmitError::TooLarge(bytes));
        }
        let outputs = Arc::new(Spool::new(self.home.scratch()?, chunks));
        let (notices, heard) = mpsc::channel(1_024);
        let (progress, watching) = watch::channel(Progress { chunks, ..Progress::default() });
        let (ended, ending) = oneshot::channel();
        let id = manifest.id();
        let own = job::Own {
            manifest: Signed::sign(manifest, &author),
            key: author,
            retries: work.retries,
            provisions: Provisions { program: work.program, data: data.into() },
            kept,
            outputs: Arc::clone(&outputs),
            notices,
            progress,
            ended,
        };
        self.commands.send(hive::Command::Open(Box::new(own))).await.map_err(|_| SubmitError::Gone)?;
        Ok(Job { id, chunks, outputs, notices: heard, progress: watching, ended: ending })
    }

    /// Takes a job of one's own back.
    pub async fn cancel(&self, job: JobId) {
        // A node that is gone has no job to cancel.
        let _ = self.commands.send(hive::Command::Cancel(job)).await;
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
