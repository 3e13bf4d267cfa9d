//! What nodes say to one another beside the members' messages of a job: announcements of open jobs, and what is to be
//! kept while an author is away.

use bytes::Bytes;
use coordinator_free::message::Message;
use essaim_jobs::bounds::{self, Text};
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{BlobRef, JobId, Manifest, ManifestError, NodeId, Signable, Signed};
use serde::{Deserialize, Serialize};

/// Addresses that an author's node gives of itself.
pub const ADDRESSES: usize = 16;
/// Bytes of one address as text.
pub const ADDRESS_BYTES: usize = 256;
/// Bundles that an author leaves behind, and outputs in one.
pub const BUNDLES: usize = 65_536;
/// See [`BUNDLES`].
pub const BUNDLED: usize = 4_096;
/// Blobs that a node is asked to keep at once.
pub const KEPT: usize = 1_024;
/// Bytes of the name of a reason, and of what is said about it.
pub const REASON_BYTES: usize = 32;
/// See [`REASON_BYTES`].
pub const WORDS_BYTES: usize = 1_024;
/// Bytes of an encoded announcement.
pub const ANNOUNCEMENT_BYTES: usize = bounds::MANIFEST_BYTES + ADDRESSES * (ADDRESS_BYTES + 4) + 1_024;

/// Where a job's author is to be found now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The job.
    pub job: JobId,
    /// The node that its author runs.
    pub node: NodeId,
    /// Where that node listens, as multiaddresses.
    #[serde(deserialize_with = "bounds::seq::<_, _, ADDRESSES>")]
    pub addresses: Vec<Text<ADDRESS_BYTES>>,
    /// How often the author has begun anew without what it had sealed.
    pub term: u64,
    /// Grows with every announcement of one term.
    pub seq: u64,
    /// Whether this is its last word for now: it leaves.
    pub left: bool,
    /// Where the outputs are that it had sealed when it left: a blob that lists blobs ([`Collected`]), which its peers
    /// keep.
    pub collected: Option<BlobRef>,
}

impl Place {
    /// Whether this is a later word than `other`.
    #[must_use]
    pub fn is_after(&self, other: &Place) -> bool {
        (self.term, self.seq) > (other.term, other.seq)
    }
}

/// The list of bundles in which an author has left what it had sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected(#[serde(deserialize_with = "bounds::seq::<_, _, BUNDLES>")] pub Vec<BlobRef>);

/// Outputs that were sealed: chunk, who ran it, the output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle(#[serde(deserialize_with = "bounds::seq::<_, _, BUNDLED>")] pub Vec<(u32, NodeId, Bytes)>);

impl Signable for Place {
    const DOMAIN: &'static str = "essaim 2026 place v1";
}

/// An open job: come and work. Both halves are signed by the job's author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What is to be done.
    pub manifest: Signed<Manifest>,
    /// For whom.
    pub place: Signed<Place>,
}

impl Announcement {
    /// Checks the manifest, both signatures, and that both halves are of one job.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        self.manifest.check()?;
        let place = &self.place;
        let same = place.signer == self.manifest.signer && place.body.job == self.manifest.body.id();
        if same && place.verify().is_ok() { Ok(()) } else { Err(ManifestError::NotTheAuthor) }
    }
}

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direct {
    /// An open job.
    Announce(Box<Announcement>),
    /// From the author, which is about to leave: fetch these, and keep them for those who work on the job.
    Keep {
        /// The job.
        job: JobId,
        /// Names this wish.
        number: u32,
        /// What to keep.
        #[serde(deserialize_with = "bounds::seq::<_, _, KEPT>")]
        blobs: Vec<BlobRef>,
    },
    /// They are kept here, but for those at these places of the list.
    Kept {
        /// The job.
        job: JobId,
        /// The wish.
        number: u32,
        /// What could not be had, or has no room.
        #[serde(deserialize_with = "bounds::seq::<_, _, KEPT>")]
        without: Vec<u16>,
    },
    /// Between two members of a job.
    Member {
        /// The job.
        job: JobId,
        /// What is said.
        message: Box<Message>,
    },
    /// To an author: why the sender does not work on its job now.
    Apart {
        /// The job; none where the sender cannot even read which it is.
        job: Option<JobId>,
        /// The name of the reason, as `paused`; nothing: it works on it.
        reason: Text<REASON_BYTES>,
        /// The same in words, for people.
        words: Text<WORDS_BYTES>,
    },
}

/// The version of the manifest that an encoded [`Announcement`] begins with, if it is not this essaim's: whatever its form
/// is, that comes first.
#[must_use]
pub fn other_version(announcement: &[u8]) -> Option<u16> {
    let (version, _) = postcard::take_from_bytes::<u16>(announcement).ok()?;
    (version != VERSION).then_some(version)
}

impl Direct {
    /// As [`other_version`], for an encoded [`Direct::Announce`].
    #[must_use]
    pub fn other_version(message: &[u8]) -> Option<u16> {
        // Which of these it is stands first.
        let announcement = message.strip_prefix(&[0])?;
        other_version(announcement)
    }
}
