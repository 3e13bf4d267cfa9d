//! Real processes on loopback: what a person types, and what comes out of it.
//!
//! Every node of a test has a home of its own and is in a swarm of its own, listens on 127.0.0.1 only, and is
//! ended with the test. What happens in time is waited for by its events, never by the clock.
#![allow(clippy::unwrap_used, reason = "tests")]

mod again;
mod bench;
mod config;
mod new;
mod node;
mod owner;

mod doctor;
mod explain;
mod finding;
#[cfg(target_os = "linux")]
mod full;
mod host;
mod jobs;
mod later;
#[cfg(target_os = "linux")]
mod memory;
mod results;
mod sources;
mod splitting;
#[cfg(target_os = "linux")]
mod stream;
mod top;
mod tree;
mod uses;
