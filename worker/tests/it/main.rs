//! Small guests, written as text, in a real engine: what each limit and each rule does to them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod guests;
mod load;
mod pool;
mod run;
mod streaming;
