//! What a node keeps on its disk: its home (identity, lock, database), the blobs that it serves, and the jobs of its
//! author with what has come out of them. Knows nothing of the network, of who runs what, or of the command line.

mod blobs;
mod cache;
mod database;
mod draft;
mod ends;
mod home;
mod inputs;
mod outputs;
mod partial;
mod past;
mod places;
mod reuse;
mod saved;
mod sizes;
#[cfg(test)]
mod tests;
mod tree;
mod whole;

pub use blobs::{Blobs, Coming};
pub use cache::Cache;
pub use database::{PEERS_KEPT, Repute, Store, StoreError};
pub use draft::{Draft, FileNumber};
pub use ends::End;
pub use home::{Home, HomeError, free_bytes};
pub use inputs::Inputs;
pub use outputs::{Done, Output, Outputs, Sealed};
pub use partial::Partial;
pub use past::Kin;
pub use saved::{Row, Saved};
pub use sizes::{Size, SizeKey};
pub use whole::Whole;
