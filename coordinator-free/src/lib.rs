//! Who does what, with nobody in charge: the sans-IO heart of essaim.
//!
//! A [`Member`] is one node's part in one job. It is told what happened ([`Input`]) and when, and says what is
//! to be done ([`Output`]): it reads no clock, opens no socket, starts no thread and draws no randomness but
//! from its seed. The network and the simulator in `sim/` drive the same code.
//!
//! In short: every slot of a job has an owner, the author's member at first. Whoever runs short asks another
//! for a part of what it holds (`claim`); what each holds and has run stands in its signed record, and records
//! merge into a ledger that all members come to share ([`Ledger`]); who is alive is watched (`alive`), and the dead are
//! inherited from (`recover`); results go to the author, who has them checked by others where the job asks for copies
//! (`verify`, `tally`), makes their outputs safe and seals them (`author`), and gives up what fails everywhere (`failed`);
//! while it is away they are kept at two members (`deposit`).

#![warn(missing_docs)]

mod alive;
mod author;
mod claim;
mod config;
mod deposit;
mod failed;
mod gossip;
mod groups;
mod inspect;
pub mod io;
pub mod ledger;
mod map;
mod member;
pub mod message;
mod peers;
pub mod pieces;
mod recover;
mod report;
mod sets;
mod tally;
mod verify;
mod work;

pub use config::{Config, Resume, Tuning};
pub use io::{ChunkView, Holder, Input, MemberView, Notice, Output, View};
pub use ledger::{Ledger, Rejection};
pub use map::Cell;
pub use member::Member;
pub use message::{Load, Message, Reason};
