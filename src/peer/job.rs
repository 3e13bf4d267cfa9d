//! One job at this node: its member of the core, its feed, what it keeps; and, where the job is our own, what the
//! author needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coordinator_free::message::MESSAGE_BYTES;
use coordinator_free::{Member, Message, Notice, Resume};
use essaim_jobs::{BlobId, JobId, Keypair, Manifest, NodeId, Rows, Signed, decode};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use tokio::time::Instant;

use super::feed::Feed;
use super::handover::{Answer, Handed};
use super::provisions::Provisions;
use super::repute::Shown;
use super::source::Holders;
use super::wire::{ANNOUNCEMENT_BYTES, Announcement, Place};
use super::{End, Progress, Traffic, since_1970};
use crate::net::{Topic, Verdict};
use crate::store::{Inputs, Outputs, Partial};

/// Outputs that an author fetches at once; up to 1 MiB they are in memory until they are safe, larger ones in files.
const COLLECTING: usize = 8;

/// A job that this node takes part in.
pub struct JobState {
    /// Its number in the pool.
    pub number: u32,
    pub manifest: Arc<Manifest>,
    pub member: Member,
    pub feed: Feed,
    /// Where its author is, by its latest word; and what that word is, if it is another node's.
    pub place: Place,
    pub announcement: Option<Announcement>,
    /// When it was last announced, by anyone.
    pub announced: Instant,
    /// When the author was last known to be there.
    pub author_heard: Instant,
    /// Who may have its blobs.
    pub holders: watch::Sender<Holders>,
    /// Its large data, which stay on the disk as long as this is here.
    pub _held: Vec<Arc<Partial>>,
    /// The outputs that are kept here for the author to fetch, by slot.
    pub kept: HashMap<u32, BlobId>,
    /// What the author has given to be kept while it is away; and whether more is being fetched.
    pub custody: Vec<BlobId>,
    pub keeping: bool,
    pub traffic: Traffic,
    /// Whether the program is compiled here, so that threads can be given.
    pub ready: bool,
    /// Present where the job is our own.
    pub author: Option<AuthorSide>,
}

/// A job of our own, as it is handed to the event loop.
#[derive(Debug)]
pub struct Own {
    pub manifest: Signed<Manifest>,
    pub key: Keypair,
    /// How often its author has begun anew without what it had sealed.
    pub term: u64,
    /// Whether it was opened before, by this node or another.
    pub again: bool,
    pub provisions: Provisions,
    /// Nodes that were found lying before.
    pub distrusted: Vec<NodeId>,
    pub inputs: Arc<Inputs>,
    pub outputs: Arc<Outputs>,
    pub notices: mpsc::Sender<Notice>,
    pub progress: watch::Sender<Progress>,
    pub ended: oneshot::Sender<End>,
}

/// What only the author's node has of a job.
pub struct AuthorSide {
    pub manifest: Signed<Manifest>,
    pub key: Keypair,
    pub term: u64,
    /// Whether it was opened before.
    again: bool,
    /// Announcements made.
    pub seq: u64,
    /// What was sealed, as its peers keep it: once it is handed over.
    pub handed: Option<Handed>,
    /// Where the answers of those go to whom it is being handed over.
    pub handing: Option<mpsc::Sender<Answer>>,
    pub inputs: Arc<Inputs>,
    pub outputs: Arc<Outputs>,
    pub notices: mpsc::Sender<Notice>,
    pub progress: watch::Sender<Progress>,
    pub ended: oneshot::Sender<End>,
    pub collecting: Arc<Semaphore>,
    pub sealed: u32,
    pub by: BTreeMap<NodeId, u32>,
    pub distrusted: Vec<NodeId>,
    /// What it shows of those who run it.
    pub shown: Shown,
    /// What went wrong at this node.
    pub trouble: Option<String>,
}

impl AuthorSide {
    pub fn new(own: Own) -> AuthorSide {
        AuthorSide {
            manifest: own.manifest,
            key: own.key,
            term: own.term,
            again: own.again,
            handed: None,
            handing: None,
            inputs: own.inputs,
            // A later life says later words.
            seq: since_1970().as_micros() as u64,
            sealed: own.outputs.by().values().sum(),
            by: own.outputs.by(),
            distrusted: own.distrusted,
            shown: Shown::default(),
            outputs: own.outputs,
            notices: own.notices,
            progress: own.progress,
            ended: own.ended,
            collecting: Arc::new(Semaphore::new(COLLECTING)),
            trouble: None,
        }
    }

    /// What is left of the job's earlier life.
    pub fn resume(&self, rows: Rows) -> Resume {
        let sealed = self.outputs.sealed();
        Resume {
            again: self.again,
            term: self.term,
            sealed: sealed.iter().flat_map(|chunk| rows.slots_of(chunk)).collect(),
            results: Vec::new(),
        }
    }

    /// How the job goes.
    pub fn progress(&self, member: &Member, connected: usize) -> Progress {
        Progress {
            sealed: self.sealed,
            chunks: self.manifest.body.chunks,
            by: self.by.clone(),
            view: Some(member.view()),
            connected,
        }
    }
}

/// Judges gossip before it is passed on: of the right form and size, and rightly signed. Whether it is of use to
/// this node is another question.
pub fn judge(topic: &Topic, bytes: &[u8]) -> Verdict {
    let sound = match topic {
        Topic::Jobs => decode::<Announcement>(bytes, ANNOUNCEMENT_BYTES).is_ok_and(|a| a.check().is_ok()),
        Topic::Job(job) => decode::<Message>(bytes, MESSAGE_BYTES).is_ok_and(|message| is_sound(*job, &message)),
    };
    if sound { Verdict::Accept } else { Verdict::Reject }
}

fn is_sound(job: JobId, message: &Message) -> bool {
    match message {
        Message::Record(record) => record.body.job == job && record.verify().is_ok(),
        Message::Seal(seal) => seal.body.job == job && seal.verify().is_ok(),
        Message::Ban(ban) => ban.body.job == job && ban.verify().is_ok(),
        Message::Close(close) => close.body.job == job && close.verify().is_ok(),
        // Everything else is for one peer, not for all.
        _ => false,
    }
}
