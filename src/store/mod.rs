//! What a node keeps on its disk: its home (identity, lock, database), the blobs that it serves, and the jobs of its
//! author with what has come out of them. Knows nothing of the network, of who runs what, or of the command line.

mod blobs;
mod cache;
mod database;
mod draft;
mod home;
mod inputs;
mod outputs;
mod partial;
mod past;
mod places;
mod reuse;
mod saved;
#[cfg(test)]
mod tests;
mod tree;
mod whole;

pub use blobs::{Blobs, Coming};
pub use cache::Cache;
pub use database::{PEERS_KEPT, Repute, Store, StoreError};
pub use draft::{Draft, FileNumber};
pub use home::{Home, HomeError};
pub use inputs::Inputs;
pub use outputs::{Done, Output, Outputs, Sealed};
pub use partial::Partial;
pub use past::Kin;
pub use saved::{Row, Saved};
pub use whole::Whole;
