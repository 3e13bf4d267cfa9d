//! essaim (French: a swarm): distributed computing with no coordinator.
//!
//! A host program begins with [`swarm::Swarm`]: a program over a list, in a few lines. Underneath, a [`peer::Peer`] is one
//! node of a swarm: it lends its threads to the jobs of others, and submits jobs of its own. The command `essaim` is this
//! library and a command line.
//!
//! What a job is stands in `essaim-jobs`, who runs what in `coordinator-free`, how a chunk is run in
//! `essaim-worker`; only [`peer`] joins them to the network and the disk.

pub mod blob;
mod build;
pub mod cli;
pub mod control;
mod machine;
pub mod net;
pub mod peer;
pub mod sandbox;
pub mod store;
pub mod swarm;
