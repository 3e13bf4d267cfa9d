//! The other members as this one sees them: alive or dead, how loaded, and what stands between us.

use std::time::Duration;

use essaim_jobs::IntervalSet;

use crate::message::Load;

/// The most of anything that a peer may say of itself; beyond it is not believed.
const MOST_THREADS: u16 = 4_096;
const MOST_SLOTS: u32 = 1 << 28;

/// Messages that a member may send for long, and at once. Far above what one has to say that runs trivial
/// chunks on a LAN.
const MESSAGES_A_SECOND: f64 = 1_000.0;
const BURST: f64 = 2_000.0;

/// One other member.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Whether it has been heard itself, or is connected; others are known by hearsay only, and may be long gone.
    pub(crate) met: bool,
    /// When it was last heard.
    pub(crate) heard: Duration,
    /// How long it may be silent before it is dead.
    pub(crate) limit: Duration,
    /// When its last connection closed, if it has not been heard since.
    pub(crate) down: Option<Duration>,
    /// When it was found dead, if it has not been heard since.
    pub(crate) dead: Option<Duration>,
    /// Its load by its own word, and when that was heard.
    pub(crate) load: Load,
    pub(crate) load_at: Duration,
    /// It is not asked before.
    pub(crate) skip_until: Duration,
    /// The asking that it has not answered yet, and when that was sent.
    pub(crate) asked: Option<(u64, Duration)>,
    /// The last grant of its that was taken.
    pub(crate) taken: Option<u64>,
    /// The last asking of its own that was answered.
    pub(crate) answered: u64,
    /// When it was last asked for a sign of life.
    pub(crate) probed: Duration,
    /// The author has banned it.
    pub(crate) banned: bool,
    /// When it last got on with what it holds, or had nothing to get on with.
    pub(crate) progress: Duration,
    /// It is heard, but does not get on: what it holds is for others.
    pub(crate) stalled: bool,
    /// What was taken over from it here since it is dead or stalled, and when: it may be anywhere by now.
    pub(crate) inherited: IntervalSet,
    pub(crate) inherited_at: Duration,
    /// What it may still say, and when that was reckoned.
    budget: (f64, Duration),
    /// When it last got an answer to a digest.
    pub(crate) compared: Option<Duration>,
}

impl Peer {
    pub(crate) fn new(now: Duration, limit: Duration) -> Peer {
        Peer {
            met: false,
            heard: now,
            limit,
            down: None,
            dead: None,
            load: Load::default(),
            load_at: now,
            skip_until: Duration::ZERO,
            asked: None,
            taken: None,
            answered: 0,
            probed: Duration::ZERO,
            banned: false,
            progress: now,
            stalled: false,
            inherited: IntervalSet::new(),
            inherited_at: now,
            budget: (BURST, now),
            compared: None,
        }
    }

    pub(crate) fn alive(&self) -> bool {
        self.dead.is_none() && !self.banned
    }

    /// Whether its leases stand.
    pub(crate) fn holds(&self) -> bool {
        self.alive() && !self.stalled
    }

    /// Whether it may say one more thing: a flood must cost its sender more than anyone else.
    pub(crate) fn may_speak(&mut self, now: Duration) -> bool {
        let (left, at) = self.budget;
        let left = (left + now.saturating_sub(at).as_secs_f64() * MESSAGES_A_SECOND).min(BURST);
        let may = left >= 1.0;
        self.budget = (left - f64::from(u8::from(may)), now);
        may
    }

    /// Takes in what it says of its load. More to take than before makes it worth asking again.
    pub(crate) fn set_load(&mut self, now: Duration, load: Load) {
        let load = clamp(load);
        if load.queued > self.load.queued || load.blocked > self.load.blocked {
            self.skip_until = Duration::ZERO;
        }
        self.load = load;
        self.load_at = now;
    }

    /// Slots that it probably still has queued, given how fast it works.
    pub(crate) fn queued(&self, now: Duration) -> u32 {
        let Load { threads, slot_micros, queued, blocked, .. } = self.load;
        if slot_micros == 0 || threads == 0 {
            return queued;
        }
        let elapsed = now.saturating_sub(self.load_at).as_micros();
        let run = elapsed * u128::from(threads) / u128::from(slot_micros);
        queued.saturating_sub(u32::try_from(run).unwrap_or(u32::MAX)).max(blocked)
    }
}

/// Keeps a peer's word within reason.
pub(crate) fn clamp(load: Load) -> Load {
    let queued = load.queued.min(MOST_SLOTS);
    Load {
        threads: load.threads.min(MOST_THREADS),
        slot_micros: load.slot_micros,
        queued,
        running: load.running.min(MOST_SLOTS),
        blocked: load.blocked.min(queued),
    }
}

/// Slots a second, given how long a slot takes where the member does not know yet.
pub(crate) fn rate(load: &Load, assumed_micros: u32) -> f64 {
    let micros = if load.slot_micros == 0 { assumed_micros.max(1) } else { load.slot_micros };
    f64::from(load.threads) * 1e6 / f64::from(micros)
}
