//! One job at this node: its member of the core, its feed, what it keeps; and, where the job is our own, what the
//! author needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coordinator_free::message::MESSAGE_BYTES;
use coordinator_free::{Member, Message, Notice, Resume};
use essaim_jobs::{
    BlobId, BlobRef, IntervalSet, JobId, Keypair, Manifest, NodeId, Results, Rows, Signed, bounds, decode,
};
use essaim_worker::kind;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use tokio::time::Instant;

use super::feed::Feed;
use super::handover::{Answer, Handed};
use super::provisions::Provisions;
use super::repute::Shown;
use super::source::{Holders, LARGE_BYTES};
use super::why::Heard;
use super::wire::{self, ANNOUNCEMENT_BYTES, Announcement, Place};
use super::{End, Progress, Traffic, since_1970};
use crate::blob::Pieces;
use crate::net::{Topic, Verdict};
use crate::store::{Inputs, Outputs, Partial};

/// Outputs that an author fetches at once; up to 1 MiB they are in memory until they are safe, larger ones in files.
const COLLECTING: usize = 8;

/// An author of which nothing was seen for so long is away.
pub const AWAY: Duration = Duration::from_secs(6);

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
    /// Since when this node takes part in it.
    pub opened: Instant,
    /// When the author was last known to be there.
    pub author_heard: Instant,
    /// Who may have its blobs.
    pub holders: watch::Sender<Holders>,
    /// Its large data, which stay on the disk as long as this is here.
    pub held: Vec<Arc<Partial>>,
    /// The outputs that are kept here for the author to fetch, by slot.
    pub kept: HashMap<u32, BlobId>,
    /// What the author has given to be kept while it is away; and whether more is being fetched.
    pub custody: Vec<BlobRef>,
    pub keeping: bool,
    pub traffic: Traffic,
    /// Whether the program is compiled here, so that threads can be given.
    pub ready: bool,
    /// Present where the job is our own.
    pub author: Option<AuthorSide>,
}

impl JobState {
    /// Where the job is our own: these slots took so long on the processor together, microseconds.
    pub fn note_costs(&mut self, slots: &IntervalSet, cpu_micros: u64) {
        if let Some(author) = &mut self.author {
            let sealed = self.member.sealed();
            author.costs.note(self.manifest.rows(), slots, cpu_micros, |slot| !sealed.contains(slot));
        }
    }

    /// Whether its author is away.
    pub fn is_left(&self) -> bool {
        self.place.left || self.author_heard.elapsed() >= AWAY
    }

    /// Its large blobs that are all here.
    pub fn large(&self) -> impl Iterator<Item = BlobId> {
        let authored = self.author.is_some().then_some(&*self.manifest).into_iter();
        let whole = authored.flat_map(|job| job.data.iter().map(|mount| mount.blob).chain([job.program]));
        let held = self.held.iter().filter(|partial| partial.is_complete()).map(|partial| partial.name());
        let all = whole.chain(held).chain(self.custody.iter().copied());
        all.filter(|blob| blob.len >= LARGE_BYTES).map(|blob| blob.id)
    }
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
    /// Whether later jobs may take what comes out, if engines like this node's ran it.
    pub for_later: bool,
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
    /// Whose results are for later jobs, too; none where nobody's are.
    pub engines: Option<Engines>,
    pub costs: Costs,
    pub notices: mpsc::Sender<Notice>,
    pub progress: watch::Sender<Progress>,
    pub ended: oneshot::Sender<End>,
    pub collecting: Arc<Semaphore>,
    pub sealed: u32,
    /// Among these, those that were given up.
    pub given_up: u32,
    pub by: BTreeMap<NodeId, u32>,
    pub distrusted: Vec<NodeId>,
    /// What it shows of those who run it.
    pub shown: Shown,
    /// What went wrong at this node.
    pub trouble: Option<String>,
    /// What was heard of what stands in its way.
    pub heard: Heard,
}

impl AuthorSide {
    pub fn new(own: Own) -> AuthorSide {
        let (rows, strict) = (own.manifest.body.rows(), own.manifest.body.strict);
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
            sealed: own.outputs.sealed().len() as u32,
            given_up: own.outputs.given_up().len() as u32,
            by: own.outputs.by(),
            distrusted: own.distrusted,
            shown: Shown::default(),
            outputs: own.outputs,
            engines: own.for_later.then(|| Engines::new(rows, strict, &essaim_worker::tag())),
            costs: Costs::default(),
            notices: own.notices,
            progress: own.progress,
            ended: own.ended,
            collecting: Arc::new(Semaphore::new(COLLECTING)),
            trouble: None,
            heard: Heard::default(),
        }
    }

    /// A chunk counts from now on.
    pub fn seal(&mut self, chunk: u32) {
        self.sealed += 1;
        self.costs.take(chunk);
        self.outputs.seal(chunk);
    }

    /// What is left of the job's earlier life.
    pub fn resume(&self, rows: Rows) -> Resume {
        let sealed = self.outputs.sealed();
        Resume {
            again: self.again,
            term: self.term,
            sealed: sealed.iter().flat_map(|chunk| rows.slots_of(chunk)).collect(),
            given_up: self.outputs.given_up().len() as u32,
            results: Vec::new(),
        }
    }

    /// How the job goes.
    pub fn progress(&self, member: &Member, connected: usize) -> Progress {
        Progress {
            sealed: self.sealed,
            given_up: self.given_up,
            chunks: self.manifest.body.chunks,
            by: self.by.clone(),
            view: Some(member.view()),
            connected,
        }
    }
}

/// Which chunks engines like this node's have run, and no others.
pub struct Engines {
    rows: Rows,
    strict: bool,
    kind: String,
    /// Chunks of which another engine has had a say, or one that is not known.
    elsewhere: IntervalSet,
}

impl Engines {
    fn new(rows: Rows, strict: bool, tag: &str) -> Engines {
        Engines { rows, strict, kind: kind(tag, strict), elsewhere: IntervalSet::new() }
    }

    /// Takes note of results that have come, before anybody has checked them.
    pub fn look_at(&mut self, results: &Results) {
        let receipt = &results.receipt.body;
        // What is out of bounds is refused by the core.
        let fits = receipt.slots.end() <= self.rows.slots() && receipt.slots.len() == results.leaves.len() as u64;
        if fits && kind(&receipt.engine, self.strict) != self.kind {
            for slot in receipt.slots.iter() {
                let chunk = self.rows.chunk(slot);
                self.elsewhere.insert(chunk..chunk + 1);
            }
        }
    }

    /// Whether only those have run this chunk.
    pub fn are_alike(&self, chunk: u32) -> bool {
        !self.elsewhere.contains(chunk)
    }
}

/// What chunks that are not sealed took on the processor, by the word of who sent their results last.
#[derive(Default)]
pub struct Costs(BTreeMap<u32, u32>);

impl Costs {
    /// These slots took so long together, microseconds; of those that `is_open` tells.
    pub fn note(&mut self, rows: Rows, slots: &IntervalSet, cpu_micros: u64, is_open: impl Fn(u32) -> bool) {
        // What is out of bounds is refused by the core.
        if slots.is_empty() || slots.end() > rows.slots() || slots.len() > bounds::LEAVES as u64 {
            return;
        }
        let each = u32::try_from(cpu_micros / slots.len()).unwrap_or(u32::MAX).max(1);
        self.0.extend(slots.iter().filter(|slot| is_open(*slot)).map(|slot| (rows.chunk(slot), each)));
    }

    /// What `chunk` took; 0 where that is not known. Forgets it.
    pub fn take(&mut self, chunk: u32) -> u32 {
        self.0.remove(&chunk).unwrap_or(0)
    }
}

/// Judges gossip before it is passed on: of the right form and size, and rightly signed. Whether it is of use to
/// this node is another question.
pub fn judge(topic: &Topic, bytes: &[u8]) -> Verdict {
    if *topic == Topic::Jobs && wire::other_version(bytes).is_some() {
        // It is no lie, and those who can read it may pass it on.
        return Verdict::Ignore;
    }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use essaim_jobs::{Leaf, Receipt};

    use super::*;

    const ROWS: Rows = Rows { chunks: 10, copies: 2 };

    /// Results of these slots, as a node with this engine sends them.
    fn results(slots: std::ops::Range<u32>, engine: &str, leaves: usize) -> Results {
        let leaves = vec![Leaf::Inline(Bytes::new()); leaves];
        let receipt = Receipt {
            job: JobId([0; 32]),
            slots: slots.into(),
            root: Receipt::root(&leaves),
            engine: engine.into(),
            cpu_micros: 0,
        };
        Results { receipt: Signed::sign(receipt, &Keypair::from_seed(&[1; 32])), leaves }
    }

    #[test]
    fn chunks_of_which_another_engine_has_had_a_say_are_told_from_others() {
        let alike = |strict| {
            let mut engines = Engines::new(ROWS, strict, "e-1/here/1");
            engines.look_at(&results(0..2, "e-1/here/1", 2));
            engines.look_at(&results(2..3, "e-1/there/1", 1));
            engines.look_at(&results(3..4, "e-2/here/1", 1));
            engines.look_at(&results(4..5, "e-1/here/2", 1));
            engines.look_at(&results(5..6, "", 1));
            // Two say the same of this one.
            engines.look_at(&results(6..7, "e-1/here/1", 1));
            let other = ROWS.slots_of(6).nth(1).unwrap();
            engines.look_at(&results(other..other + 1, "e-2/here/1", 1));
            // What the core refuses.
            engines.look_at(&results(19..u32::MAX, "e-2", 1));
            engines.look_at(&results(7..9, "e-2", 1));
            (0..10).filter(|chunk| engines.are_alike(*chunk)).collect::<Vec<_>>()
        };
        assert_eq!(alike(false), [0, 1, 7, 8, 9]);
        assert_eq!(alike(true), [0, 1, 2, 7, 8, 9], "where NaNs are alike, so are architectures");
    }
}
