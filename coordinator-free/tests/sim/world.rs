//! The world of one seed: nodes with their workers, driven by events until the job is over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use coordinator_free::message::MESSAGE_BYTES;
use coordinator_free::{Config, Input, Member, Message, Output, Reason, Resume, Tuning};
use essaim_jobs::{AuthorId, BlobRef, FailureNote, JobId, Keypair, Leaf, NodeId, decode, encode};

use crate::checks::Checks;
use crate::forge;
use crate::net::{Event, Fault, Queue, Rng};
use crate::scenario::Scenario;

/// One machine.
pub struct Node {
    pub key: Keypair,
    pub id: NodeId,
    pub member: Option<Member>,
    pub ended: Option<Reason>,
    threads: u16,
    starts: u64,
    waiting: VecDeque<u32>,
    /// Slots that run, each with the number of its run and when that began.
    running: BTreeMap<u32, (u64, Duration)>,
    runs: u64,
    /// Outputs kept for the author.
    kept: BTreeMap<u32, Leaf>,
    wake: Option<Duration>,
}

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub reason: Option<Reason>,
    pub makespan: Duration,
    /// Makespan ÷ the time that all threads together would need.
    pub ratio: f64,
    /// Work done beyond what was needed, as a part of it.
    pub waste: f64,
    pub hash: String,
    pub events: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bytes sent by one member in one second.
    pub bytes_a_second: f64,
    pub rejected: u64,
}

pub struct World {
    pub scenario: Scenario,
    pub rng: Rng,
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub job: JobId,
    pub author: Keypair,
    pub queue: Queue,
    pub checks: Checks,
    trace: bool,
    seed: u64,
    hasher: blake3::Hasher,
    faults: BTreeMap<&'static str, u64>,
    done_work: f64,
    makespan: Option<(Duration, Reason)>,
}

/// What a chunk's output is, everywhere and always.
pub fn output(chunk: u32) -> Bytes {
    Bytes::copy_from_slice(&[b"chunk ".as_slice(), &chunk.to_le_bytes()].concat())
}

pub fn leaf_of(chunk: u32, blobs: bool) -> Leaf {
    if blobs { Leaf::Blob(BlobRef::of(&output(chunk))) } else { Leaf::Inline(output(chunk)) }
}

impl World {
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
                threads: peer.threads,
                starts: 0,
                waiting: VecDeque::new(),
                running: BTreeMap::new(),
                runs: 0,
                kept: BTreeMap::new(),
                wake: None,
            }
        };
        let mut queue = Queue::default();
        scenario.faults.iter().for_each(|(at, fault)| queue.at(*at, Event::Fault(*fault)));
        World {
            nodes: scenario.peers.iter().enumerate().map(node).collect(),
            checks: Checks::new(scenario.rows),
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
            makespan: None,
        }
    }

    /// Runs to the end; `Err` says what went wrong.
    pub fn run(mut self) -> Result<Outcome, String> {
        let (total, longest) = self.work();
        let limit = self.limit(total, longest);
        let (mut events, mut same_time) = (0_u64, 0_u32);
        while let Some((time, event)) = self.queue.pop() {
            same_time = if time == self.now { same_time + 1 } else { 0 };
            if same_time > 2_000_000 {
                return Err(format!("time stands still at {time:?}: {event:?}"));
            }
            self.now = time;
            events += 1;
            self.record(&event);
            self.happen(event);
            if events.is_multiple_of(256) {
                self.check_replicas();
            }
            if let Some(violation) = self.checks.violation.take() {
                return Err(format!("{violation} (at {time:?})"));
            }
            if self.over() {
                break;
            }
            if self.makespan.is_none() && self.now > limit {
                return Err(format!("not done by {limit:?}: {}", self.state()));
            }
            if self.makespan.is_some_and(|(end, _)| self.now > end + Duration::from_secs(70)) {
                return Err(format!("members still there 70 s after the end: {}", self.state()));
            }
        }
        self.check_replicas();
        let (makespan, reason) = self.makespan.ok_or_else(|| format!("nothing happens any more: {}", self.state()))?;
        self.checks.end(reason, self.scenario.flaky.is_some());
        if let Some(violation) = self.checks.violation.take() {
            return Err(violation);
        }
        let power: f64 = self.scenario.peers.iter().map(|peer| f64::from(peer.threads) / peer.slowness).sum();
        let needed = total * f64::from(self.scenario.rows.copies);
        let links = &self.scenario.links;
        for (name, count) in [
            ("loss", links.lost),
            ("duplication", links.duplicated),
            ("reordering", links.reordered),
            ("partition", links.blocked),
        ] {
            *self.faults.entry(name).or_default() += count;
        }
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
            faults: self.faults,
            rejected,
        })
    }

    /// Seconds of one copy of everything on a node of slowness 1, and of the longest chunk.
    fn work(&self) -> (f64, f64) {
        let costs = (0..self.scenario.rows.chunks).map(|chunk| self.cost(chunk));
        costs.fold((0.0, 0.0), |(sum, most): (f64, f64), cost| (sum + cost, most.max(cost)))
    }

    /// By when the job must have ended: well after the last fault, at the speed of those who surely stay.
    fn limit(&self, total: f64, longest: f64) -> Duration {
        let copies = f64::from(self.scenario.rows.copies);
        let staying = &self.scenario.peers[1..];
        let staying = &staying[..staying.len().min(usize::from(self.scenario.rows.copies))];
        let power: f64 = staying.iter().map(|peer| f64::from(peer.threads) / peer.slowness).sum();
        let slowest = self.scenario.peers.iter().map(|peer| peer.slowness).fold(1.0, f64::max);
        let seconds = 40.0 + 3.0 * total * copies * copies / power + 10.0 * longest * slowest;
        self.scenario.heal + Duration::from_secs_f64(seconds)
    }

    pub fn cost(&self, chunk: u32) -> f64 {
        let mut rng = Rng::new(self.seed.wrapping_mul(31).wrapping_add(u64::from(chunk)));
        self.scenario.mean * if self.scenario.exponential { rng.exponential().max(0.01) } else { 1.0 }
    }

    fn over(&self) -> bool {
        self.makespan.is_some() && self.nodes.iter().all(|node| node.member.is_none() || node.ended.is_some())
    }

    fn record(&mut self, event: &Event) {
        self.hasher.update(&self.now.as_nanos().to_le_bytes());
        match event {
            Event::Deliver { from, to, bytes } => {
                self.hasher.update(&[*from as u8, *to as u8]).update(bytes);
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

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, bytes } => match decode::<Message>(&bytes, MESSAGE_BYTES) {
                Ok(message) => {
                    let from = self.nodes[from].id;
                    self.feed(to, Input::Message { from, message });
                }
                Err(error) => self.checks.fail(format!("a member's own message does not decode: {error}")),
            },
            Event::Finish { node, slot, run } => self.finish(node, slot, run),
            Event::Collected { slot, worker, leaf } => {
                let there = self.nodes[worker].member.is_some();
                let safe = matches!(leaf, Leaf::Inline(_)) || (there && self.nodes[worker].kept.contains_key(&slot));
                self.count(if safe { "collected" } else { "output lost" });
                let worker = self.nodes[worker].id;
                self.feed(0, Input::Collected { slot, worker, safe });
            }
            Event::Wake { node } => {
                if self.nodes[node].wake.is_some_and(|at| at <= self.now) {
                    self.nodes[node].wake = None;
                    let now = self.now;
                    if let Some(member) = &mut self.nodes[node].member {
                        member.tick(now);
                    }
                    self.drain(node);
                }
            }
            Event::Down { at, peer } => {
                let peer = self.nodes[peer].id;
                self.feed(at, Input::Down(peer));
            }
            Event::Up { at, peer } => {
                let peer = self.nodes[peer].id;
                self.feed(at, Input::Up(peer));
            }
            Event::Fault(fault) => self.suffer(fault),
        }
    }

    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Join(node) => self.join(node),
            Fault::Crash(node) => {
                if self.nodes[node].member.is_some() {
                    self.count("crash");
                    self.vanish(node);
                }
            }
            Fault::Threads(node, threads) => {
                self.count("pause");
                self.nodes[node].threads = threads;
                self.feed(node, Input::Threads(threads));
                self.start(node);
            }
            Fault::Leave(node) => {
                self.count("leave");
                self.feed(node, Input::Leave);
            }
            Fault::Partition(side) => self.scenario.links.cut = side,
            Fault::Forge => {
                self.count("forgery");
                forge::forge(self);
            }
            Fault::Heal => {
                let links = &mut self.scenario.links;
                (links.cut, links.loss, links.duplication) = (0, 0.0, 0.0);
            }
        }
    }

    fn join(&mut self, number: usize) {
        if self.nodes[number].member.is_some() || self.nodes[0].ended.is_some() {
            return;
        }
        let author_node = self.nodes[0].id;
        let node = &mut self.nodes[number];
        node.starts += 1;
        if node.starts > 1 {
            *self.faults.entry("restart").or_default() += 1;
        } else if self.now > Duration::from_secs(1) {
            *self.faults.entry("late joiner").or_default() += 1;
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        seed[16..24].copy_from_slice(&node.starts.to_le_bytes());
        let config = Config {
            job: self.job,
            rows: self.scenario.rows,
            me: node.id,
            keypair: node.key.clone(),
            author_node,
            author: AuthorId(self.author.public()),
            author_key: (number == 0).then(|| self.author.clone()),
            engine: "simulated".into(),
            threads: node.threads,
            seed,
            incarnation: node.starts * 1_000_000,
            retries: 1,
            resume: Resume::default(),
            tuning: Tuning::default(),
        };
        self.nodes[number].member = Some(Member::new(config, self.now));
        self.nodes[number].ended = None;
        for other in 0..self.nodes.len() {
            if other != number && self.nodes[other].member.is_some() {
                let at = self.now + self.scenario.links.latency(&mut self.rng, number, other);
                self.queue.at(at, Event::Up { at: number, peer: other });
                self.queue.at(at, Event::Up { at: other, peer: number });
            }
        }
        self.drain(number);
    }

    /// The process of a node is gone.
    fn vanish(&mut self, number: usize) {
        let running = std::mem::take(&mut self.nodes[number].running);
        running.into_values().for_each(|(_, began)| self.wasted(number, began));
        let node = &mut self.nodes[number];
        (node.member, node.wake) = (None, None);
        node.waiting.clear();
        node.kept.clear();
        for other in 0..self.nodes.len() {
            // Most connections are reset; some just fall silent.
            if other != number && self.nodes[other].member.is_some() && self.rng.chance(0.8) {
                let at = self.now + Duration::from_millis(1 + self.rng.below(300));
                self.queue.at(at, Event::Down { at: other, peer: number });
            }
        }
    }

    fn wasted(&mut self, node: usize, began: Duration) {
        self.done_work += (self.now - began).as_secs_f64() / self.scenario.peers[node].slowness;
    }

    pub fn feed(&mut self, node: usize, input: Input) {
        let now = self.now;
        if self.nodes[node].ended.is_some() {
            return;
        }
        if let Some(member) = &mut self.nodes[node].member {
            member.handle(now, input);
            self.drain(node);
        }
    }

    /// Carries out what a member wants, and sees to it that it is woken.
    fn drain(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].member.as_mut().and_then(Member::poll) {
            if self.nodes[number].ended.is_some() {
                self.checks.fail(format!("node {number} speaks after the end: {output:?}"));
            }
            self.carry_out(number, output);
        }
        let Some(member) = &self.nodes[number].member else { return };
        let Some(deadline) = member.deadline() else { return };
        let at = deadline.max(self.now + Duration::from_micros(1));
        if self.nodes[number].wake.is_none_or(|wake| wake > at) {
            self.nodes[number].wake = Some(at);
            self.queue.at(at, Event::Wake { node: number });
        }
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                let to = self.nodes.iter().position(|node| node.id == to);
                if let Some(to) = to {
                    self.transmit(number, to, &message, encode(&message));
                }
            }
            Output::Gossip(message) => {
                let bytes = encode(&message);
                (0..self.nodes.len())
                    .filter(|to| *to != number)
                    .for_each(|to| self.transmit(number, to, &message, bytes.clone()));
            }
            Output::Run(slots) => {
                if slots.is_empty() {
                    self.checks.fail(format!("node {number} is to run nothing"));
                }
                self.nodes[number].waiting.extend(slots);
                self.start(number);
            }
            Output::Stop(slots) => {
                for slot in slots {
                    self.nodes[number].waiting.retain(|waiting| *waiting != slot);
                    if let Some((_, began)) = self.nodes[number].running.remove(&slot) {
                        self.wasted(number, began);
                    }
                }
                self.start(number);
            }
            Output::Collect { slot, chunk, worker, leaf } => {
                let worker = self.nodes.iter().position(|node| node.id == worker).expect("a worker is a node");
                self.checks.collect(chunk, worker, &leaf);
                let at = match &leaf {
                    Leaf::Blob(_) => self.now + 2 * self.scenario.links.latency(&mut self.rng, 0, worker),
                    _ => self.now,
                };
                self.queue.at(at, Event::Collected { slot, worker, leaf });
            }
            Output::Release(slots) => slots.iter().for_each(|slot| {
                self.nodes[number].kept.remove(&slot);
            }),
            Output::Notice(notice) => {
                if self.trace {
                    eprintln!("{:>12.6} {notice:?}", self.now.as_secs_f64());
                }
                let worker = |id: &NodeId| self.nodes.iter().position(|node| node.id == *id);
                self.checks.notice(&notice, worker);
            }
            Output::Ended(reason) => {
                self.nodes[number].ended = Some(reason);
                let running = std::mem::take(&mut self.nodes[number].running);
                running.into_values().for_each(|(_, began)| self.wasted(number, began));
                self.nodes[number].waiting.clear();
                if number == 0 {
                    self.makespan = Some((self.now, reason));
                }
            }
        }
    }

    pub fn transmit(&mut self, from: usize, to: usize, message: &Message, bytes: Vec<u8>) {
        if bytes.len() > MESSAGE_BYTES {
            self.checks.fail(format!("a message of {} bytes", bytes.len()));
        }
        if from == to || self.nodes[to].member.is_none() {
            return;
        }
        let arrivals = self.scenario.links.send(&mut self.rng, self.now, (from, to), message, bytes.len());
        for at in arrivals {
            self.queue.at(at, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    /// Lets the worker of a node begin what it has threads for.
    fn start(&mut self, number: usize) {
        while self.nodes[number].running.len() < usize::from(self.nodes[number].threads) {
            let Some(slot) = self.nodes[number].waiting.pop_front() else { return };
            let chunk = self.scenario.rows.chunk(slot);
            let cost = self.cost(chunk) * self.scenario.peers[number].slowness;
            let node = &mut self.nodes[number];
            node.runs += 1;
            node.running.insert(slot, (node.runs, self.now));
            let run = node.runs;
            if let Some(member) = &mut node.member {
                member.handle(self.now, Input::Started { slot });
            }
            let end = self.now + Duration::from_secs_f64(cost);
            self.queue.at(end, Event::Finish { node: number, slot, run });
        }
    }

    fn finish(&mut self, number: usize, slot: u32, run: u64) {
        let Some((_, began)) = self.nodes[number].running.remove(&slot).filter(|(number, _)| *number == run) else {
            return;
        };
        self.wasted(number, began);
        let chunk = self.scenario.rows.chunk(slot);
        let leaf = if self.scenario.flaky == Some(number) && Rng::new(u64::from(chunk)).chance(0.05) {
            self.count("failed chunk");
            Leaf::Failed(FailureNote { deterministic: false, message: "flaky".into() })
        } else {
            self.checks.ran(number, slot, chunk);
            leaf_of(chunk, self.scenario.blobs)
        };
        self.nodes[number].kept.insert(slot, leaf.clone());
        let micros = (self.now - began).as_micros() as u64;
        self.feed(number, Input::Finished { results: vec![(slot, leaf)], cpu_micros: micros, wall_micros: micros });
        self.start(number);
    }

    fn check_replicas(&mut self) {
        let members: Vec<&Member> = self.nodes.iter().filter_map(|node| node.member.as_ref()).collect();
        self.checks.replicas(&members);
        members.iter().for_each(|member| self.checks.bounded(member));
    }

    fn count(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
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
