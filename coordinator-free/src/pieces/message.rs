//! What two peers say to each other about one blob. The bytes of pieces travel beside these messages.

use essaim_jobs::{IntervalSet, bounds};
use serde::{Deserialize, Serialize};

/// Pieces named by one [`Message::Want`], [`Message::Cancel`] or [`Message::Refuse`], and those that a giver keeps
/// waiting for one asker.
pub const WANTS: usize = 64;
/// Bytes of one encoded [`Message`]: every second piece of [`super::PIECES`], each with a gap and a width of up to
/// three bytes, is the longest there is.
pub const MESSAGE_BYTES: usize = 16 << 10;

/// A message of a session. Numbers of pieces that there are not end the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Ask me for these too. What was said before stands.
    Have(IntervalSet),
    /// Give me these, in this order.
    Want(#[serde(deserialize_with = "bounds::seq::<_, _, WANTS>")] Vec<u32>),
    /// I have these now: do not begin to send them.
    Cancel(#[serde(deserialize_with = "bounds::seq::<_, _, WANTS>")] Vec<u32>),
    /// You will not get these from me, whatever I said.
    Refuse(#[serde(deserialize_with = "bounds::seq::<_, _, WANTS>")] Vec<u32>),
}

#[cfg(test)]
mod tests {
    use essaim_jobs::{decode, encode};

    use super::*;
    use crate::pieces::PIECES;

    #[test]
    fn the_longest_messages_fit_and_longer_lists_are_refused() {
        let sparse: IntervalSet = (0..PIECES).step_by(2).collect();
        let wants: Vec<u32> = (0..WANTS as u32).map(|n| u32::MAX - n).collect();
        for message in [Message::Have(sparse), Message::Want(wants.clone()), Message::Refuse(wants.clone())] {
            let bytes = encode(&message);
            assert!(bytes.len() <= MESSAGE_BYTES);
            assert_eq!(decode::<Message>(&bytes, MESSAGE_BYTES), Ok(message));
        }
        let one_more = [wants, vec![0]].concat();
        assert!(decode::<Message>(&encode(&Message::Cancel(one_more)), MESSAGE_BYTES).is_err());
    }
}
