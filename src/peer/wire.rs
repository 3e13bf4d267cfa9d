//! What nodes say to one another beside the members' messages of a job: announcements of open jobs.

use coordinator_free::message::Message;
use essaim_jobs::bounds::{self, Text};
use essaim_jobs::{JobId, Manifest, ManifestError, NodeId, Signable, Signed};
use serde::{Deserialize, Serialize};

/// Addresses that an author's node gives of itself.
pub const ADDRESSES: usize = 16;
/// Bytes of one address as text.
pub const ADDRESS_BYTES: usize = 256;
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
    /// Grows with every announcement, so that gossip does not take a repetition for a duplicate.
    pub seq: u64,
}

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
    /// Between two members of a job.
    Member {
        /// The job.
        job: JobId,
        /// What is said.
        message: Box<Message>,
    },
}
