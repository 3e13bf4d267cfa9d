//! Moving one blob among many: which piece to ask of whom, whom to serve next, and whom to tell of what.
//!
//! An [`Exchange`] is one node's part in one blob, whether it takes the blob, gives it, or both at once. Like all of
//! this crate it reads no clock and opens no stream: bytes are read, verified, stored and sent by its driver, which
//! tells it the outcome. It does not look for peers either: whoever finds one says [`Input::Up`].
//!
//! *Taking* (`take`) asks the rarest pieces first, of everyone at once, each as far ahead as its speed needs. *Giving*
//! (`give`) serves all askers alike. *Telling* (`tell`) is where a complete source spares itself: takers pull, but
//! only what they were told of, and of each piece it tells one taker first; the others hear of it from that one.
//! How fast a node sends altogether is the caller's to bound, with a [`Pacer`] that all its blobs share.

mod bits;
mod exchange;
mod give;
mod io;
mod layout;
mod message;
mod meter;
mod pacer;
mod session;
mod take;
mod tell;
mod tuning;

pub use exchange::Exchange;
pub use io::{Config, Input, Output, Reason, Source};
pub use layout::{BLOB_BYTES, Layout, PIECE_BYTES, PIECE_BYTES_MOST, PIECES};
pub use message::{MESSAGE_BYTES, Message, WANTS};
pub use pacer::Pacer;
pub use tuning::Tuning;
