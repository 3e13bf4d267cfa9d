//! What a node keeps on its disk: its home (identity, lock), the blobs that it serves, and the outputs that
//! an author collects. Knows nothing of the network, of who runs what, or of the command line.

mod blobs;
mod home;
mod partial;
mod spool;
mod tree;
mod whole;

pub use blobs::Blobs;
pub use home::{Home, HomeError};
pub use partial::Partial;
pub use spool::Spool;
pub use whole::Whole;
