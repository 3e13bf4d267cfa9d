//! The world of one seed: nodes with their workers, driven by events until the job is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use coordinator_free::message::{Close, MESSAGE_BYTES};
use coordinator_free::{Member, Message, Reason, Tuning};
use essaim_jobs::{BlobRef, JobId, Keypair, Leaf, Memory, NodeId, Signed, decode};

use crate::bounds::{self, Excuses};
use crate::checks::Checks;
use crate::clock::Clock;
use crate::converge::{Orphans, Said};
use crate::diary::{Diary, End, Run};
use crate::event::{Event, Fault, Queue};
use crate::net::{Links, Rng};
use crate::scenario::{Nature, Scenario};
use crate::traffic::Meter;

/// Events between two looks at a replica.
const CHECK_EVERY: u64 = 64;

/// By when the last member has heard of the end: whoever heard it says so to whoever still speaks of the job.
const STRAGGLE: Duration = Duration::from_secs(20);

/// Why a world was left before its job had ended well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// What must never happen has happened, or something that must happen has not.
    #[error("{0}")]
    Wrong(String),
    /// The job takes longer than it may.
    #[error("not done by {limit:?}: {state}")]
    Late {
        /// By when it had to be done.
        limit: Duration,
        /// How far its nodes are.
        state: String,
    },
    /// More would happen than was asked for.
    #[error("more than {0} events")]
    Long(u64),
}

impl From<String> for Halt {
    fn from(what: String) -> Halt {
        Halt::Wrong(what)
    }
}

/// One machine.
pub(crate) struct Node {
    pub key: Keypair,
    pub id: NodeId,
    pub member: Option<Member>,
    pub ended: Option<Reason>,
    /// The author's word on the end.
    pub word: Option<Signed<Close>>,
    /// The author has found it out.
    pub banned: bool,
    pub nature: Nature,
    pub threads: u16,
    pub slowness: f64,
    pub clock: Clock,
    /// It has been told to leave.
    pub leaving: bool,
    /// Whether what it keeps outlives its process.
    pub disk: bool,
    pub meter: Meter,
    pub said: Said,
    pub starts: u64,
    pub waiting: VecDeque<u32>,
    /// Slots that run, each with the number of its run and when that began.
    pub running: BTreeMap<u32, (u64, Duration)>,
    pub runs: u64,
    /// Outputs kept for the author.
    pub kept: BTreeMap<u32, Leaf>,
    pub wake: Option<Duration>,
    /// In a large world: whom it has spoken to or heard.
    pub spoken: BTreeSet<usize>,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the job ended.
    pub reason: Option<Reason>,
    /// When it ended for its author.
    pub makespan: Duration,
    /// Makespan ÷ the time that all threads together would need.
    pub ratio: f64,
    /// Work done beyond what was needed, as a part of it.
    pub waste: f64,
    /// Of all that happened, in its order.
    pub hash: String,
    /// How much happened.
    pub events: u64,
    /// How often each fault was seen.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages sent, by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bytes sent by one member in one second.
    pub bytes_a_second: f64,
    /// Messages that members refused.
    pub rejected: u64,
    /// Messages and bytes that one node sent in one second at most, beyond what it heard.
    pub most_sent: (u64, u64),
    /// Seconds for which a slot was nobody's, once all was healed.
    pub nobodys: usize,
    /// The kinds of fault that were planned.
    pub drawn: Vec<&'static str>,
    /// Bytes sent, by kind of message.
    pub sizes: BTreeMap<&'static str, u64>,
    /// What ran where.
    pub diary: Diary,
}

/// See the module.
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    /// The number of each node, by its name.
    ids: BTreeMap<NodeId, usize>,
    /// Members that are there and for which the job has not ended.
    pub(crate) taking_part: usize,
    pub(crate) job: JobId,
    pub(crate) author: Keypair,
    pub(crate) links: Links,
    /// Messages that have arrived or will.
    pub(crate) arrivals: u64,
    pub(crate) queue: Queue,
    pub(crate) checks: Checks,
    pub(crate) trace: bool,
    pub(crate) seed: u64,
    hasher: blake3::Hasher,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) done_work: f64,
    pub(crate) diary: Diary,
    pub(crate) makespan: Option<(Duration, Reason)>,
    pub(crate) excuses: Excuses,
    /// Since when some link is cut.
    pub(crate) cut_at: Option<Duration>,
    /// Until when all work rests.
    pub(crate) thaw: Option<Duration>,
    pub(crate) orphans: Orphans,
    /// When the author sealed each chunk, in that order.
    pub(crate) sealed_at: Vec<(Duration, u32)>,
}

/// What a chunk's output is, everywhere and always.
fn output(chunk: u32) -> Bytes {
    Bytes::copy_from_slice(&[b"chunk ".as_slice(), &chunk.to_le_bytes()].concat())
}

pub(crate) fn leaf_of(chunk: u32, blobs: bool) -> Leaf {
    if blobs { Leaf::Blob(BlobRef::of(&output(chunk))) } else { Leaf::Inline(output(chunk)) }
}

impl World {
    /// The world of `scenario`, with the chance that `seed` stands for. With `trace`, what happens is told on stderr.
    #[must_use]
    pub fn new(seed: u64, scenario: Scenario, trace: bool) -> World {
        let key = |kind: u8, number: usize| {
            let mut bytes = [kind; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
            Keypair::from_seed(&bytes)
        };
        let node = |(number, peer): (usize, &crate::scenario::Peer)| {
            let key = key(1, number);
            Node {
                id: NodeId(key.public()),
                key,
                member: None,
                ended: None,
                word: None,
                banned: false,
                nature: peer.nature,
                threads: peer.threads,
                slowness: peer.slowness,
                clock: Clock::new(peer.clock.0, peer.clock.1),
                leaving: false,
                disk: false,
                meter: Meter::default(),
                said: Said::new(),
                starts: 0,
                waiting: VecDeque::new(),
                running: BTreeMap::new(),
                runs: 0,
                kept: BTreeMap::new(),
                wake: None,
                spoken: BTreeSet::new(),
            }
        };
        let mut queue = Queue::default();
        scenario.faults.iter().for_each(|(at, fault)| queue.at(*at, Event::Fault(fault.clone())));
        let nodes: Vec<Node> = scenario.peers.iter().enumerate().map(node).collect();
        World {
            ids: nodes.iter().enumerate().map(|(number, node)| (node.id, number)).collect(),
            nodes,
            taking_part: 0,
            checks: Checks::new(scenario.rows),
            links: Links::new(scenario.weather.clone()),
            arrivals: 0,
            scenario,
            rng: Rng::new(seed ^ 0xfeed),
            now: Duration::ZERO,
            job: JobId([7; 32]),
            author: key(2, 0),
            queue,
            trace,
            seed,
            hasher: blake3::Hasher::new(),
            faults: BTreeMap::new(),
            done_work: 0.0,
            diary: Diary::default(),
            makespan: None,
            excuses: Excuses::default(),
            cut_at: None,
            thaw: None,
            orphans: Orphans::default(),
            sealed_at: Vec::new(),
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// What went wrong; never [`Halt::Long`].
    pub fn run(self) -> Result<Outcome, Halt> {
        self.run_within(u64::MAX)
    }

    /// Runs to the end, if no more than so much happens until then.
    ///
    /// # Errors
    /// What went wrong.
    pub fn run_within(mut self, most: u64) -> Result<Outcome, Halt> {
        let _memory = Memory::new();
        let (total, longest) = self.work();
        let limit = self.limit(total, longest);
        let (mut events, mut same_time) = (0_u64, 0_u32);
        while let Some((time, event)) = self.queue.pop() {
            same_time = if time == self.now { same_time + 1 } else { 0 };
            if same_time > 2_000_000 {
                return Err(format!("time stands still at {time:?}: {event:?}").into());
            }
            if events == most {
                return Err(Halt::Long(most));
            }
            self.now = time;
            events += 1;
            self.record(&event);
            self.happen(event);
            if events.is_multiple_of(CHECK_EVERY) {
                // One at a time, so that a large world costs no more an event than a small one.
                self.check_replica((events / CHECK_EVERY) as usize % self.nodes.len());
            }
            if let Some(violation) = self.checks.violation.take() {
                return Err(format!("{violation} (at {time:?})").into());
            }
            if self.over() {
                break;
            }
            if self.makespan.is_none() && self.now > limit {
                return Err(Halt::Late { limit, state: self.state() });
            }
            if self.makespan.is_some_and(|(end, _)| self.now > end.max(self.scenario.heal) + STRAGGLE) {
                return Err(format!("members still there {STRAGGLE:?} after the end: {}", self.state()).into());
            }
        }
        (0..self.nodes.len()).for_each(|node| self.check_replica(node));
        let (makespan, reason) = self.makespan.ok_or_else(|| format!("nothing happens any more: {}", self.state()))?;
        self.checks.end(reason);
        if let Some(violation) = self.checks.violation.take() {
            return Err(violation.into());
        }
        let power = self.scenario.power();
        let needed = total * f64::from(self.scenario.rows.copies);
        bounds::judge(&mut self, needed, longest);
        if let Some(violation) = self.checks.violation.take() {
            return Err(violation.into());
        }
        let links = &self.links;
        links.faults.iter().for_each(|(name, count)| *self.faults.entry(name).or_default() += count);
        let most = |of: fn(&Meter) -> u64| self.nodes.iter().map(|node| of(&node.meter)).max().unwrap_or(0);
        let rejected = self.nodes.iter().filter_map(|node| Some(node.member.as_ref()?.view().rejected)).sum();
        Ok(Outcome {
            reason: Some(reason),
            makespan,
            ratio: makespan.as_secs_f64() / (needed / power),
            waste: self.done_work / needed - 1.0,
            hash: self.hasher.finalize().to_hex()[..16].to_owned(),
            events,
            bytes_a_second: links.bytes as f64 / self.nodes.len() as f64 / makespan.as_secs_f64(),
            kinds: links.kinds.clone(),
            sizes: links.sizes.clone(),
            diary: self.diary,
            faults: self.faults,
            rejected,
            most_sent: (most(|meter| meter.most.0), most(|meter| meter.most.1)),
            nobodys: self.orphans.longest,
            drawn: self.scenario.kinds.clone(),
        })
    }

    /// Seconds of one copy of everything on a node of slowness 1, and of the longest chunk.
    fn work(&self) -> (f64, f64) {
        let costs = (0..self.scenario.rows.chunks).map(|chunk| self.cost(chunk));
        costs.fold((0.0, 0.0), |(sum, most): (f64, f64), cost| (sum + cost, most.max(cost)))
    }

    /// By when the job must have ended: well after the last fault, at the speed of those who surely stay.
    fn limit(&self, total: f64, longest: f64) -> Duration {
        if self.scenario.costs.is_some() {
            // A measurement: whatever goes wrong, a job that takes so many times longer has failed.
            return self.scenario.heal;
        }
        let scenario = &self.scenario;
        let copies = f64::from(scenario.rows.copies);
        let staying = &scenario.peers[1..scenario.staying().min(scenario.peers.len())];
        // By clocks that may run at half the speed, and stand still after a jump back.
        let mut back = 0.0;
        let mut slowest = scenario.peers.iter().map(|peer| peer.slowness).fold(1.0, f64::max);
        for (_, fault) in &scenario.faults {
            match fault {
                Fault::Jump(_, millis) if *millis < 0 => back += *millis as f64 / -1e3,
                Fault::Slowness(_, slowness) => slowest = slowest.max(*slowness),
                _ => {}
            }
        }
        let power: f64 = staying.iter().map(|peer| f64::from(peer.threads) / peer.slowness).sum();
        // What failed at the only one that is left waits for somebody else, by the author's clock.
        let fails = scenario.doomed > 0.0 || scenario.peers.iter().any(|peer| matches!(peer.nature, Nature::Flaky(_)));
        let lone = if fails { 2.0 * Tuning::default().lone_failure.as_secs_f64() } else { 0.0 };
        let seconds = 60.0 + lone + 2.0 * back + 3.0 * total * copies * copies / power + 10.0 * longest * slowest;
        scenario.heal + scenario.rest + Duration::from_secs_f64(seconds)
    }

    pub(crate) fn cost(&self, chunk: u32) -> f64 {
        if let Some(costs) = &self.scenario.costs {
            return costs[chunk as usize];
        }
        let mut rng = Rng::new(self.seed.wrapping_mul(31).wrapping_add(u64::from(chunk)));
        self.scenario.mean * if self.scenario.exponential { rng.exponential().max(0.01) } else { 1.0 }
    }

    fn over(&self) -> bool {
        self.makespan.is_some() && self.taking_part == 0
    }

    fn record(&mut self, event: &Event) {
        self.hasher.update(&self.now.as_nanos().to_le_bytes());
        match event {
            Event::Deliver { from, to, bytes } => {
                let ends = [*from as u32, *to as u32].map(u32::to_le_bytes);
                self.hasher.update(ends.as_flattened()).update(bytes);
            }
            other => {
                self.hasher.update(format!("{other:?}").as_bytes());
            }
        }
        if self.trace {
            match event {
                Event::Deliver { from, to, bytes } => {
                    let message = decode::<Message>(bytes, MESSAGE_BYTES).map(|message| brief(&message));
                    eprintln!("{:>12.6} {from} -> {to}: {}", self.now.as_secs_f64(), message.unwrap_or_default());
                }
                Event::Wake { .. } => {}
                other => eprintln!("{:>12.6} {other:?}", self.now.as_secs_f64()),
            }
        }
    }

    fn state(&self) -> String {
        let describe = |(number, node): (usize, &Node)| {
            let view = node.member.as_ref().map(Member::view)?;
            let me = &view.members[0];
            let alive = view.members.iter().filter(|member| member.alive).count();
            Some(format!(
                "\n  node {number}: ended {:?}, sealed {}/{}, held {}, done {}, {:?}, sees {alive} alive",
                node.ended, view.sealed, view.slots, me.held, me.done, me.load
            ))
        };
        self.nodes.iter().enumerate().filter_map(describe).collect()
    }

    fn check_replica(&mut self, number: usize) {
        if let Some(member) = &self.nodes[number].member {
            self.checks.replica(number, member);
        }
    }

    /// A run has ended: its time was spent, for whatever it was.
    pub(crate) fn ran(&mut self, node: usize, slot: u32, began: Duration, end: End) {
        // What is still run when the job is over is not wasted on it.
        let until = self.makespan.map_or(self.now, |(end, _)| end);
        self.done_work += until.saturating_sub(began).as_secs_f64() / self.nodes[node].slowness;
        self.diary.runs.push(Run { node, slot, began, ended: self.now, end });
    }

    /// A node is another one from now on.
    pub(crate) fn rename(&mut self, number: usize, key: Keypair) {
        let node = &mut self.nodes[number];
        self.ids.remove(&node.id);
        node.id = NodeId(key.public());
        node.key = key;
        self.ids.insert(node.id, number);
    }

    /// Which node this is.
    pub(crate) fn number(&self, id: &NodeId) -> Option<usize> {
        self.ids.get(id).copied()
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes of seed {} at {:?}", self.nodes.len(), self.seed, self.now)
    }
}

fn brief(message: &Message) -> String {
    match message {
        Message::Record(signed) => {
            let record = &signed.body;
            let (held, done) = (record.held.len(), record.done.len());
            format!(
                "record #{} of {} held {held} done {done} {:?}",
                record.seq,
                NodeId(signed.signer).short(),
                record.load
            )
        }
        Message::Results(results) => format!("results {:?}", results.receipt.body.slots),
        Message::Ledger { seals, records, .. } => format!("ledger: {} seals, {} records", seals.len(), records.len()),
        other => format!("{other:?}"),
    }
}
