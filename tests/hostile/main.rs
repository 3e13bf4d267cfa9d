//! Programs that mean harm, in the sandbox that volunteers run: each is contained and named, costs the node no memory,
//! and the next chunk is fine.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod corpus;
mod host;
mod memory;
mod node;
mod resources;
