//! What a job would take with other peers than one has: its costs in a world in which little goes wrong.
//!
//! In it are the members themselves, all that they say to each other, its way and its time, and chunks that take what
//! they took when they were measured. Not in it are a program to be fetched and compiled, inputs and outputs on their
//! way, and processors that get hot: a forecast is what the swarm makes of the work, and a real one is no faster.

use std::time::Duration;

use coordinator_free::Tuning;
use essaim_jobs::Rows;

use crate::diary::{End, Run};
use crate::event::Fault;
use crate::net::{Rng, Weather};
use crate::scenario::{Peer, Scenario};
use crate::world::{Halt, World};

/// Peers of one world, at most: as many as the tables of `cargo sim bench` go to.
pub const MOST_PEERS: usize = 4_096;
/// Chunks of one job, at most.
pub const MOST_CHUNKS: usize = 1_000_000;
/// Longest way from one peer to another: with more, every answer comes too late.
pub const MOST_LATENCY: Duration = Duration::from_secs(2);
/// Speeds of a peer, beside 1: least and most.
pub const SPEEDS: (f64, f64) = (1e-3, 1e3);
/// Fewer bytes a second are no link for a swarm.
pub const LEAST_BANDWIDTH: u64 = 1_000;
/// What may happen in one world, at most: messages, chunks and timers. A core does some 50,000 a second.
pub const MOST_EVENTS: u64 = 20_000_000;
/// Peers that take the place of others in one world, at most.
const MOST_REPLACED: usize = 16 * MOST_PEERS;

/// Spread of the latency from link to link, and from message to message: log-normal, as in the tables.
const SPREAD: (f64, f64) = (0.4, 0.1);
/// A job may take so many times what it takes at best, and so many times its longest chunk, and so much longer; later
/// than that it will never be done.
const PATIENCE: (f64, f64, f64) = (10.0, 20.0, 60.0);

/// A job, and the peers that it might have.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What each chunk takes on a thread of speed 1, microseconds.
    pub costs_micros: Vec<u32>,
    /// Who runs them. The author's node stands beside these, and runs nothing.
    pub peers: Vec<SimPeer>,
    /// What a message takes from one peer to another: the median of all links.
    pub latency: Duration,
    /// Bytes a second that each node sends at most; `None` where nothing ever waits.
    pub bandwidth: Option<u64>,
    /// How long a peer lives on average before it vanishes, with what it was running, and another comes in its place.
    pub lifetimes: Option<Duration>,
    /// All chance is drawn from here.
    pub seed: u64,
}

/// One peer of a [`Profile`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimPeer {
    /// Chunks that it runs at once.
    pub threads: u16,
    /// How many times faster than the machine where costs were measured each thread is.
    pub speed: f64,
}

/// What a [`Profile`] comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// When the author has all results.
    pub makespan: Duration,
    /// When it would have them if work were a liquid that is where it is needed, and nothing was lost; but not before the
    /// longest chunk is through on the fastest thread. There is no shorter makespan.
    pub ideal: Duration,
    /// What the runs that counted took, as a part of what threads were there for until then.
    pub busy: f64,
    /// Runs that were begun and did not count: somebody else's did, or their peer vanished.
    pub run_twice: u32,
    /// Messages sent, by all nodes.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Every run, in the order in which they ended.
    pub spans: Vec<Span>,
}

/// One run of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its place among [`Profile::peers`]; also of one that has taken that place.
    pub peer: u32,
    /// The chunk.
    pub chunk: u32,
    /// Since when it ran.
    pub start: Duration,
    /// Until when.
    pub end: Duration,
    /// Whether it counted.
    pub counted: bool,
}

/// Why there is no forecast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No chunks, or too many.
    #[error(
        "{0} chunks cannot be simulated\nhint: 1 to {MOST_CHUNKS} can; put several into one, or take a part of them"
    )]
    Chunks(usize),
    /// No peers, or too many.
    #[error("{0} peers cannot be simulated\nhint: 1 to {MOST_PEERS} can")]
    Peers(usize),
    /// No peer has a thread.
    #[error("none of the peers has a thread\nhint: give some of them one")]
    Threads,
    /// A peer's speed is none.
    #[error("peer {peer} has a speed that cannot be simulated\nhint: {} to {} can, and 1 is as fast as here", SPEEDS.0, SPEEDS.1)]
    Speed {
        /// Its place in the list.
        peer: usize,
    },
    /// The way is too long.
    #[error("a latency of {0:?} cannot be simulated\nhint: up to {MOST_LATENCY:?} can")]
    Latency(Duration),
    /// The links are too slow.
    #[error("a link of {0} bytes a second cannot be simulated\nhint: {LEAST_BANDWIDTH} and more can")]
    Bandwidth(u64),
    /// So many peers would come and go.
    #[error(
        "with peers that live for {0:?} too many would come and go\nhint: let them live longer, or take fewer peers or a part of the chunks"
    )]
    Lifetimes(Duration),
    /// It would take too long to find out.
    #[error(
        "more happens in this job than can be simulated ({0} events)\nhint: take fewer peers, or a part of the chunks"
    )]
    Long(u64),
    /// It is never done.
    #[error(
        "the job would not be done in {0:?}: peers vanish before they are through with a chunk\nhint: smaller chunks"
    )]
    Never(Duration),
    /// Something that must never happen has happened.
    #[error(
        "the simulated swarm has broken one of its own rules: {0}\nhint: this is a bug, please report it with the seed"
    )]
    Wrong(String),
}

/// A peer while it is there.
struct Life {
    /// Its place in the profile.
    place: usize,
    from: f64,
    /// Infinite where it stays.
    until: f64,
}

/// Says what `profile` comes to: the same for the same profile, to the byte.
///
/// # Errors
/// Where it is beyond what can be simulated, or the job would never be done.
pub fn simulate(profile: &Profile) -> Result<Forecast, Error> {
    profile.check()?;
    let ideal = profile.ideal();
    let limit = PATIENCE.0 * ideal + PATIENCE.1 * profile.longest() + PATIENCE.2;
    let lives = profile.lives(limit)?;
    let world = World::new(profile.seed, profile.scenario(&lives, limit), false);
    let outcome = world.run_within(MOST_EVENTS).map_err(|halt| match halt {
        Halt::Wrong(what) => Error::Wrong(what),
        Halt::Late { limit, .. } => Error::Never(limit),
        Halt::Long(events) => Error::Long(events),
    })?;
    let makespan = outcome.makespan;
    let mut counted = vec![false; profile.costs_micros.len()];
    let span = |run: &Run| {
        // One copy: a slot is its chunk. A node may have run it before, and lost it.
        let first = run.end == End::Finished && outcome.diary.sealed.get(&run.slot) == Some(&run.node);
        Span {
            peer: lives[run.node - 1].place as u32,
            chunk: run.slot,
            start: run.began.min(makespan),
            end: run.ended.min(makespan),
            counted: first && !std::mem::replace(&mut counted[run.slot as usize], true),
        }
    };
    let spans: Vec<Span> = outcome.diary.runs.iter().map(span).collect();
    let useful: f64 = spans.iter().filter(|span| span.counted).map(|span| (span.end - span.start).as_secs_f64()).sum();
    let there = |life: &Life| {
        let seconds = (life.until.min(makespan.as_secs_f64()) - life.from).max(0.0);
        f64::from(profile.peers[life.place].threads) * seconds
    };
    Ok(Forecast {
        makespan,
        ideal: Duration::from_secs_f64(ideal),
        busy: useful / lives.iter().map(there).sum::<f64>(),
        run_twice: spans.iter().filter(|span| !span.counted).count() as u32,
        messages: outcome.kinds.values().sum(),
        bytes: outcome.sizes.values().sum(),
        spans,
    })
}

impl Profile {
    fn check(&self) -> Result<(), Error> {
        let (slowest, fastest) = SPEEDS;
        let speed = |peer: &SimPeer| (slowest..=fastest).contains(&peer.speed);
        match self {
            _ if self.costs_micros.is_empty() || self.costs_micros.len() > MOST_CHUNKS => {
                Err(Error::Chunks(self.costs_micros.len()))
            }
            _ if self.peers.is_empty() || self.peers.len() > MOST_PEERS => Err(Error::Peers(self.peers.len())),
            _ if self.peers.iter().all(|peer| peer.threads == 0) => Err(Error::Threads),
            _ if self.latency > MOST_LATENCY => Err(Error::Latency(self.latency)),
            Profile { bandwidth: Some(slow), .. } if *slow < LEAST_BANDWIDTH => Err(Error::Bandwidth(*slow)),
            _ => match self.peers.iter().position(|peer| !speed(peer)) {
                Some(peer) => Err(Error::Speed { peer }),
                None => Ok(()),
            },
        }
    }

    /// Peers that run anything.
    fn working(&self) -> impl Iterator<Item = &SimPeer> {
        self.peers.iter().filter(|peer| peer.threads > 0)
    }

    /// Seconds of the longest chunk on the slowest thread.
    fn longest(&self) -> f64 {
        let longest = self.costs_micros.iter().max().copied().unwrap_or_default();
        f64::from(longest) / 1e6 / self.working().map(|peer| peer.speed).fold(f64::INFINITY, f64::min)
    }

    /// See [`Forecast::ideal`].
    fn ideal(&self) -> f64 {
        let work: f64 = self.costs_micros.iter().map(|cost| f64::from(*cost) / 1e6).sum();
        let power: f64 = self.working().map(|peer| f64::from(peer.threads) * peer.speed).sum();
        let longest = self.costs_micros.iter().max().copied().unwrap_or_default();
        let fastest = self.working().map(|peer| peer.speed).fold(0.0, f64::max);
        (work / power).max(f64::from(longest) / 1e6 / fastest)
    }

    /// Who is there when, by the time at which they come. Until `limit`, seconds, each place is somebody's.
    fn lives(&self, limit: f64) -> Result<Vec<Life>, Error> {
        let mut rng = Rng::of(self.seed, "lifetimes");
        let mut lives = Vec::new();
        for place in 0..self.peers.len() {
            let mut from = 0.0;
            while from < limit {
                let until = match self.lifetimes {
                    Some(mean) => from + mean.as_secs_f64() * rng.exponential(),
                    None => f64::INFINITY,
                };
                lives.push(Life { place, from, until });
                if lives.len() > self.peers.len() + MOST_REPLACED {
                    return Err(Error::Lifetimes(self.lifetimes.unwrap_or_default()));
                }
                from = until;
            }
        }
        lives.sort_by(|one, other| one.from.total_cmp(&other.from));
        Ok(lives)
    }

    /// The world of these lives: the life `n` is node `n + 1`. The job must be done by `limit`, seconds.
    fn scenario(&self, lives: &[Life], limit: f64) -> Scenario {
        let rows = Rows { chunks: self.costs_micros.len() as u32, copies: 1 };
        let mut peers = vec![Peer::new(0, 1.0)];
        let mut faults = vec![(Duration::ZERO, Fault::Join(0))];
        for (number, life) in lives.iter().enumerate() {
            let SimPeer { threads, speed } = self.peers[life.place];
            peers.push(Peer::new(threads, 1.0 / speed));
            faults.push((Duration::from_secs_f64(life.from), Fault::Join(number + 1)));
            if life.until.is_finite() {
                faults.push((Duration::from_secs_f64(life.until), Fault::Crash { node: number + 1, disk: false }));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        let mut weather = Weather::fair(self.latency, SPREAD.0, SPREAD.1);
        weather.bandwidth = self.bandwidth;
        Scenario {
            kinds: Vec::new(),
            mild: true,
            rows,
            peers,
            weather,
            mean: 0.0,
            exponential: false,
            costs: Some(self.costs_micros.iter().map(|cost| f64::from(*cost) / 1e6).collect()),
            doomed: 0.0,
            blobs: false,
            faults,
            heal: Duration::from_secs_f64(limit),
            group: Tuning::of(rows).group,
            rest: Duration::ZERO,
        }
    }
}
