//! Receipts: a worker's signed word that it ran these slots, and what came out.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounds;
use crate::id::{BlobId, BlobRef, JobId, NodeId};
use crate::interval::IntervalSet;
use crate::sign::{Signable, SignatureError, Signed};

/// What came out of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaf {
    /// The output itself, at most [`bounds::INLINE_OUTPUT`] bytes.
    Inline(#[serde(deserialize_with = "bounds::blob::<_, { bounds::INLINE_OUTPUT }>")] Bytes),
    /// The name of the output, which its worker keeps until it is sealed.
    Blob(BlobRef),
    /// The program failed.
    Failed(FailureNote),
}

/// How a chunk failed, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNote {
    /// Whether the same chunk would fail the same way anywhere.
    pub deterministic: bool,
    /// What happened and what to do about it, the end of stderr included; for people.
    #[serde(deserialize_with = "bounds::text::<_, { bounds::FAILURE_BYTES }>")]
    pub message: String,
}

impl Leaf {
    /// The leaf of an output; `true` beside it when the output is named only and must be kept.
    #[must_use]
    pub fn of(output: &Bytes) -> (Leaf, bool) {
        if output.len() <= bounds::INLINE_OUTPUT {
            (Leaf::Inline(output.clone()), false)
        } else {
            (Leaf::Blob(BlobRef::of(output)), true)
        }
    }

    /// The output's hash; the same for the same output however it travels. A failure hashes its kind only.
    #[must_use]
    pub fn digest(&self) -> BlobId {
        match self {
            Leaf::Inline(bytes) => BlobId::of(bytes),
            Leaf::Blob(blob) => blob.id,
            Leaf::Failed(note) => {
                BlobId(blake3::derive_key("essaim 2026 failed chunk v1", &[u8::from(note.deterministic)]))
            }
        }
    }
}

/// A signed statement: I ran these slots of this job with this engine, and their outputs hash to this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The job.
    pub job: JobId,
    /// The slots, at most [`bounds::LEAVES`].
    pub slots: IntervalSet,
    /// Hash over the outputs' hashes in slot order ([`Receipt::root`]).
    pub root: [u8; 32],
    /// Engine version, architecture and configuration; nothing where the signer passes on what another has run.
    #[serde(deserialize_with = "bounds::text::<_, { bounds::ENGINE_BYTES }>")]
    pub engine: String,
    /// CPU time of all these slots together, microseconds.
    pub cpu_micros: u64,
}

impl Receipt {
    /// The hash that binds a receipt to its leaves, given in slot order.
    #[must_use]
    pub fn root(leaves: &[Leaf]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("essaim 2026 receipt root v1");
        for leaf in leaves {
            hasher.update(&leaf.digest().0);
        }
        *hasher.finalize().as_bytes()
    }
}

impl Signable for Receipt {
    const DOMAIN: &'static str = "essaim 2026 receipt v1";
}

/// A receipt with the leaves that it vouches for: what a worker sends to the author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// Signed by the worker.
    pub receipt: Signed<Receipt>,
    /// One leaf a slot, in slot order.
    #[serde(deserialize_with = "bounds::seq::<_, _, { bounds::LEAVES }>")]
    pub leaves: Vec<Leaf>,
}

impl Results {
    /// Who ran the slots.
    #[must_use]
    pub fn worker(&self) -> NodeId {
        NodeId(self.receipt.signer)
    }

    /// Checks that the signature is right and that the leaves are the ones that the receipt vouches for.
    ///
    /// # Errors
    /// [`SignatureError`] otherwise.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let receipt = &self.receipt.body;
        if receipt.slots.len() != self.leaves.len() as u64 || receipt.root != Receipt::root(&self.leaves) {
            return Err(SignatureError);
        }
        self.receipt.verify()
    }

    /// Each slot with its leaf.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Leaf)> {
        self.receipt.body.slots.iter().zip(&self.leaves)
    }
}
