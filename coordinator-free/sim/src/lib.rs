//! The simulator: nodes with their workers, joined by links that have latency and fail, driven by events in virtual
//! time. The members in it are the real ones of [`coordinator_free`], and so is the wire form of every message; what
//! must hold whatever happens is checked all the while.
//!
//! Two things are made of it. `cargo sim` (in `tests/sim`) draws thousands of [`world::World`]s from seeds, in which
//! everything goes wrong, to judge the core. [`simulate`] runs one in which little does, to say what a job would take
//! with peers that one does not have.
//!
//! Like the core it reads no clock, opens nothing, starts no thread, and the same seed gives the same bytes.

#![warn(missing_docs)]

mod attack;
mod bounds;
mod checks;
mod clock;
mod converge;
pub mod diary;
mod drive;
pub mod event;
mod forecast;
pub mod net;
pub mod scenario;
mod suffer;
mod traffic;
pub mod world;

pub use forecast::{
    Error, Forecast, LEAST_BANDWIDTH, MOST_CHUNKS, MOST_EVENTS, MOST_LATENCY, MOST_PEERS, Profile, SPEEDS, SimPeer,
    Span, simulate,
};
