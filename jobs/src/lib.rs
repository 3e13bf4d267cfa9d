//! What a job *is*: its manifest, its chunks and how an input is cut into them, the receipts that workers
//! sign, and the wire forms of all of these, every field of them bounded.
//!
//! This crate knows nothing of time, threads, files, sockets, wasmtime or libp2p. Who runs which chunk is
//! decided in `coordinator-free`, how a chunk is run in `essaim-worker`.
//!
//! The kit that a job's author links into a program is the crate `essaim-guest`, in the folder `guest/`.

#![warn(missing_docs)]

pub mod bounds;
pub mod chunk;
pub mod fill;
pub mod halt;
pub mod id;
pub mod interval;
pub mod manifest;
pub mod receipt;
pub mod role;
pub mod sign;
pub mod split;
pub mod wire;

pub use chunk::{ChunkInput, Page, Rows};
pub use halt::{Halt, HaltError};
pub use id::{AuthorId, BlobId, BlobRef, JobId, NodeId};
pub use interval::IntervalSet;
pub use manifest::{Limits, Manifest, ManifestError, Mount};
pub use receipt::{FailureNote, Leaf, Receipt, Results};
pub use role::{Role, Roles};
pub use sign::{Keypair, Memory, Signable, SignatureError, Signed};
pub use wire::{WireError, decode, encode};
