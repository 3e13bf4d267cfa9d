//! The simulator of the exchange of pieces: one seed is one world of links that carry so many bytes a second, late,
//! and of nodes that come, go, lie, trickle and are silent. What runs at each node is the real exchange.
//!
//! `cargo test -p coordinator-free --test pieces -- --ignored --nocapture table` prints how long it takes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program: it talks to its reader and stops where something is off"
)]

mod chance;
mod faults;
mod judge;
mod link;
mod node;
mod rules;
mod speed;
mod table;
mod world;
