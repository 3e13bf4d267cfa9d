//! What an exchange remembers of one peer.

use std::collections::VecDeque;
use std::time::Duration;

use super::bits::Bits;
use super::meter::Meter;

/// One session. All that a peer can grow in it is bounded by the number of pieces, or by [`super::WANTS`].
#[derive(Debug)]
pub(super) struct Session {
    /// Taking: the pieces that may be asked of it, as far as it said.
    pub(super) theirs: Bits,
    /// Those that it said it has and would not give: it is not believed again.
    pub(super) refused: Bits,
    /// Those that it was asked for and has not given, in order; at most the window.
    pub(super) asked: VecDeque<u32>,
    /// Those that were taken back, and may come all the same; at most one window beyond what was asked.
    pub(super) recalled: u32,
    /// Bytes of the piece that is coming.
    pub(super) partial: u64,
    /// Since when it has owed something without giving any of it.
    pub(super) silent_since: Duration,
    /// When it was asked for something while it owed nothing: to learn how fast it answers.
    pub(super) first_asked: Option<Duration>,
    /// The shortest time in which it answered.
    pub(super) answers_in: Option<Duration>,
    pub(super) meter: Meter,
    /// See [`super::Source::poor`].
    pub(super) poor: bool,
    pub(super) poor_until: Duration,
    /// How often in a row it was found poor.
    pub(super) failures: u32,

    /// Giving: what it asked for and is not being sent yet, in order; at most [`super::WANTS`].
    pub(super) wants: VecDeque<u32>,
    /// What is being sent, and since when.
    pub(super) giving: Vec<(u32, Duration)>,
    /// What it has ever asked for and not taken back.
    pub(super) wanted: Bits,
    /// What it was given, in bytes; for one that did not always ask, what it would have been.
    pub(super) given: u64,

    /// Telling: the pieces of ours that it was told of.
    pub(super) told: Bits,
    /// Those that it is about to be told of.
    pub(super) news: Bits,
    /// When it was last told something.
    pub(super) told_at: Option<Duration>,
}

impl Session {
    pub(super) fn new(pieces: u32, now: Duration) -> Session {
        Session {
            theirs: Bits::none(pieces),
            refused: Bits::none(pieces),
            asked: VecDeque::new(),
            recalled: 0,
            partial: 0,
            silent_since: now,
            first_asked: None,
            answers_in: None,
            meter: Meter::default(),
            poor: false,
            poor_until: Duration::ZERO,
            failures: 0,
            wants: VecDeque::new(),
            giving: Vec::new(),
            wanted: Bits::none(pieces),
            given: 0,
            told: Bits::none(pieces),
            news: Bits::none(pieces),
            told_at: None,
        }
    }

    /// Whether it is asking us for this piece.
    pub(super) fn is_after(&self, piece: u32) -> bool {
        self.wants.contains(&piece) || self.giving.iter().any(|(giving, _)| *giving == piece)
    }
}
