//! Who has a large blob, by the DHT: who has all of it says so under a key that is made of its name, and who finds
//! nobody to take it from looks there.
//!
//! The key is a hash of the name, which does not lead back to it: the peers that keep the record cannot ask for the blob
//! by it. A key keeps 20 providers, the first that come; whoever takes the blob from them passes it on.

use std::collections::HashSet;

use essaim_jobs::{BlobId, NodeId};
use libp2p::kad;

use super::client::{Client, Command};
use super::{addr, limits};

/// The key under which those who have all of a blob are found.
pub(super) fn key(blob: &BlobId) -> kad::RecordKey {
    kad::RecordKey::new(&blake3::derive_key("essaim 2026 provider of a blob v1", &blob.0))
}

/// Some of those who say that they have all of it, but for `me`: [`limits::BLOB_PROVIDERS`] at most. They are being
/// dialled.
pub(super) async fn find(client: &Client, me: NodeId, blob: &BlobId) -> HashSet<NodeId> {
    let asked = client.ask(|reply| Command::Providers(key(blob), limits::BLOB_PROVIDERS, reply)).await;
    let found = asked.unwrap_or_default();
    found.iter().filter_map(addr::node_id).filter(|node| *node != me).collect()
}
