//! Every constant of the exchange, with what it is for.

use std::time::Duration;

/// The defaults are what the simulator's tables came out best with, where they made a difference.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Sessions about one blob at once; further peers are turned away.
    pub sessions: usize,
    /// Peers that are remembered as liars; beyond, the one lowest in order is forgotten.
    pub liars: usize,
    /// Least and most pieces that one source is asked for at once.
    pub window: (u32, u32),
    /// How far ahead of need a source is asked, beyond its answering time: too little and it idles, too much and
    /// pieces wait at one source that another could give.
    pub ahead: Duration,
    /// What speed is measured over.
    pub meter: Duration,
    /// A source that was asked and gives not one byte for so long, and for so many times as long as a piece takes to
    /// come lately, beyond twice its answering time, is *poor*: others are asked for what it was asked for.
    pub silence: (Duration, u32),
    /// A source that has been measured for so long, and is so many times slower than the fastest, is poor too.
    pub slow: (Duration, f64),
    /// A poor source is tried again after this long, and each time after the double, up to the second.
    pub retry: (Duration, Duration),
    /// At the end a piece is asked for elsewhere too where that is likely to bring it so many times sooner, and
    /// sooner by so much.
    pub race: (f64, Duration),
    /// Sources at once for one piece, poor ones not counted.
    pub racers: usize,
    /// Pieces being sent at once, to all and to one peer. Few, as the sooner a piece is whole the sooner it is
    /// passed on; not one, as ways are long and disks slow.
    pub giving: (usize, usize),
    /// A piece that has been on its way for so long, and so many times as long as is usual, is not counted among those.
    pub slow_give: (Duration, u32),
    /// What is new here is told at most so often: to who lacks it, and to who has it, too. Each is a message, and what
    /// it costs to send and to receive one is more than what it costs that others wait for it so long.
    pub tell_gap: (Duration, Duration),
    /// Time between two looks at who is late.
    pub pulse: Duration,
    /// A complete source tells of more at most so often.
    pub offer_gap: Duration,
    /// A complete source tells a taker of so many pieces beyond those that it is asking for, or of as many as it is
    /// asking for, if these are more: so no taker ever waits to be told.
    pub offers: usize,
    /// A piece told to one taker and not seen at any for so long is told to others; but not before so many pieces a
    /// session have been sent, if any are being sent.
    pub offer_patience: (Duration, u64),
}

impl Default for Tuning {
    fn default() -> Tuning {
        let ms = Duration::from_millis;
        Tuning {
            sessions: 64,
            liars: 1_024,
            window: (2, 32),
            ahead: ms(150),
            meter: ms(1_000),
            silence: (ms(2_000), 3),
            slow: (ms(2_000), 32.0),
            retry: (ms(10_000), ms(160_000)),
            race: (3.0, ms(300)),
            racers: 2,
            giving: (3, 2),
            slow_give: (ms(1_000), 4),
            tell_gap: (ms(100), ms(300)),
            pulse: ms(100),
            offer_gap: ms(20),
            offers: 2,
            offer_patience: (ms(2_000), 8),
        }
    }
}
