//! What happens in a world: a message arrives, a worker ends a slot, a member wants something.

use std::time::Duration;

use bytes::Bytes;
use coordinator_free::message::MESSAGE_BYTES;
use coordinator_free::{Input, Load, Member, Message, Notice, Output, Reason};
use essaim_jobs::{BlobRef, FailureNote, Leaf, decode, encode};

use crate::attack;
use crate::converge::AGAIN;
use crate::diary::End;
use crate::event::Event;
use crate::net::Rng;
use crate::scenario::Nature;
use crate::suffer::MESH;
use crate::world::{World, leaf_of};

/// Time between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(250);

impl World {
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, bytes } => {
                self.nodes[to].meter.heard(self.now, bytes.len());
                match decode::<Message>(&bytes, MESSAGE_BYTES) {
                    Ok(message) if self.nodes[to].ended.is_some() => self.answer_late(to, from, &message),
                    Ok(message) => {
                        let from = self.nodes[from].id;
                        self.feed(to, Input::Message { from, message });
                    }
                    Err(error) => self.checks.fail(format!("a member's own message does not decode: {error}")),
                }
            }
            Event::Finish { node, slot, run } => self.finish(node, slot, run),
            Event::Collected { life, .. } if life != self.nodes[0].starts => {}
            Event::Collected { slot, worker, leaf, .. } => {
                let there = self.nodes[worker].member.is_some();
                let safe = !matches!(leaf, Leaf::Blob(_)) || (there && self.nodes[worker].kept.contains_key(&slot));
                self.count(if safe { "collected" } else { "output lost" });
                if safe {
                    self.checks.safe(self.scenario.rows.chunk(slot), worker, &leaf);
                }
                let worker = self.nodes[worker].id;
                self.feed(0, Input::Collected { slot, worker, safe });
            }
            Event::Wake { node } => {
                if self.nodes[node].wake.is_some_and(|at| at <= self.now) {
                    self.nodes[node].wake = None;
                    let now = self.nodes[node].clock.local(self.now);
                    if self.nodes[node].clock.rate != 1.0 {
                        self.count("clock skew");
                    }
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
            Event::Up { at, peer } if self.links.blocked(at, peer).is_some() => {
                // Tried until it comes about: what is heard later has come over a connection.
                if self.nodes[peer].member.is_some() {
                    self.queue.at(self.now + RECONNECT, Event::Up { at, peer });
                }
            }
            Event::Up { at, peer } => {
                let peer = self.nodes[peer].id;
                self.feed(at, Input::Up(peer));
            }
            Event::Kept { node, life, .. } if life != self.nodes[node].starts => {}
            Event::Kept { node, slot, worker, leaf, .. } => {
                let there = self.nodes[worker].member.is_some() && self.nodes[worker].kept.contains_key(&slot);
                if there || matches!(leaf, Leaf::Inline(_)) {
                    self.count("deposit");
                    self.nodes[node].kept.insert(slot, leaf.clone());
                    self.checks.ran(node, slot, self.scenario.rows.chunk(slot));
                    self.feed(node, Input::Kept { slot, leaf });
                }
            }
            Event::Moved { at } if self.links.blocked(0, at).is_some() => {
                self.queue.at(self.now + RECONNECT, Event::Moved { at });
            }
            Event::Moved { at } => {
                let author = self.nodes[0].id;
                self.feed(at, Input::Author(author));
            }
            Event::Fault(fault) => self.suffer(fault),
            Event::Attack { node } => attack::attack(self, node),
            Event::Look => self.look(),
            Event::Thaw => self.wake_up(),
        }
    }

    /// Somebody still speaks of the job where it has ended.
    fn answer_late(&mut self, node: usize, to: usize, message: &Message) {
        let word = self.nodes[node].word.clone().filter(|_| !matches!(message, Message::Close(_)));
        if let Some(word) = word {
            let word = Message::Close(word);
            self.transmit(node, to, &word, encode(&word).into());
        }
    }

    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        let now = self.nodes[node].clock.local(self.now);
        if self.nodes[node].ended.is_some() {
            return;
        }
        if let Some(member) = &mut self.nodes[node].member {
            member.handle(now, input);
            self.drain(node);
        }
    }

    /// Carries out what a member wants, and sees to it that it is woken.
    pub(crate) fn drain(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].member.as_mut().and_then(Member::poll) {
            if self.nodes[number].ended.is_some() {
                self.checks.fail(format!("node {number} speaks after the end: {output:?}"));
            }
            self.carry_out(number, output);
        }
        self.checks.settled();
        let Some(member) = &self.nodes[number].member else { return };
        let Some(deadline) = member.deadline() else { return };
        let at = self.nodes[number].clock.world(deadline).max(self.now + Duration::from_micros(1));
        if self.nodes[number].wake.is_none_or(|wake| wake > at) {
            self.nodes[number].wake = Some(at);
            self.queue.at(at, Event::Wake { node: number });
        }
    }

    pub(crate) fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                if let Some(to) = self.number(&to) {
                    let message = self.twist(number, message);
                    self.transmit(number, to, &message, encode(&message).into());
                }
            }
            Output::Gossip(message) => {
                let bytes = Bytes::from(encode(&message));
                if let Message::Record(record) = &message {
                    self.said(number, record);
                }
                (0..self.nodes.len())
                    .filter(|to| *to != number)
                    .for_each(|to| self.transmit(number, to, &message, bytes.clone()));
            }
            Output::Run(slots) => {
                if slots.is_empty() {
                    self.checks.fail(format!("node {number} is to run nothing"));
                }
                if self.nodes[number].nature == Nature::Hog {
                    self.hog(number, slots);
                } else {
                    self.nodes[number].waiting.extend(slots);
                    self.start(number);
                }
            }
            Output::Stop(slots) => {
                for slot in slots {
                    self.nodes[number].waiting.retain(|waiting| *waiting != slot);
                    if let Some((_, began)) = self.nodes[number].running.remove(&slot) {
                        self.ran(number, slot, began, End::Stopped);
                    }
                }
                self.start(number);
            }
            Output::Collect { slot, worker, leaf, .. } => {
                let Some(worker) = self.number(&worker) else {
                    // It was the author's former node.
                    return self.feed(number, Input::Collected { slot, worker, safe: false });
                };
                let at = match &leaf {
                    Leaf::Blob(_) => self.now + 2 * self.links.latency(&mut self.rng, 0, worker),
                    _ => self.now,
                };
                self.queue.at(at, Event::Collected { slot, worker, leaf, life: self.nodes[0].starts });
            }
            Output::Keep { slot, worker, leaf } => {
                let Some(worker) = self.number(&worker) else { return };
                let at = self.now + 2 * self.links.latency(&mut self.rng, number, worker);
                self.queue.at(at, Event::Kept { node: number, life: self.nodes[number].starts, slot, worker, leaf });
            }
            Output::Release(slots) => {
                for slot in slots.iter() {
                    self.nodes[number].kept.remove(&slot);
                }
                self.checks.released(number, &slots);
            }
            Output::Notice(notice) => {
                if self.trace {
                    eprintln!("{:>12.6} {notice:?}", self.now.as_secs_f64());
                }
                let accused = match &notice {
                    Notice::Outvoted { workers, .. } => workers.clone(),
                    Notice::Banned { peer } => vec![*peer],
                    _ => Vec::new(),
                };
                for number in accused.iter().filter_map(|id| self.number(id)).collect::<Vec<_>>() {
                    if matches!(self.nodes[number].nature, Nature::Liar(_)) {
                        self.count(if matches!(notice, Notice::Banned { .. }) { "banned" } else { "outvoted" });
                        self.nodes[number].banned |= matches!(notice, Notice::Banned { .. });
                    } else {
                        self.checks.fail(format!("node {number} is honest: {notice:?}"));
                    }
                }
                let worker = match &notice {
                    Notice::Sealed { worker, .. } => self.number(worker),
                    _ => None,
                };
                if let (Notice::Sealed { chunk, .. }, Some(worker)) = (&notice, worker) {
                    self.diary.sealed.insert(*chunk, worker);
                    self.sealed_at.push((self.now, *chunk));
                }
                if let Notice::GivenUp { chunk, .. } = &notice {
                    self.count("given up");
                    if !self.scenario.is_doomed(*chunk) {
                        self.checks.fail(format!("chunk {chunk} is given up, and does not fail everywhere"));
                    }
                }
                let honest = self.nodes.iter().all(|node| !matches!(node.nature, Nature::Liar(_)));
                self.checks.notice(&notice, worker, honest);
            }
            Output::Ended { reason, word } => {
                self.nodes[number].word = word;
                if self.makespan.is_none() && number > 0 && !self.nodes[number].leaving {
                    self.lost(number);
                }
                self.nodes[number].ended = Some(reason);
                self.checks.ends(number);
                self.judge_end(number, reason);
                self.taking_part -= 1;
                let running = std::mem::take(&mut self.nodes[number].running);
                running.into_iter().for_each(|(slot, (_, began))| self.ran(number, slot, began, End::Stopped));
                self.nodes[number].waiting.clear();
                if number == 0 {
                    self.makespan = Some((self.now, reason));
                }
            }
        }
    }

    pub(crate) fn transmit(&mut self, from: usize, to: usize, message: &Message, bytes: Bytes) {
        if bytes.len() > MESSAGE_BYTES {
            self.checks.fail(format!("a message of {} bytes", bytes.len()));
        }
        if from == to {
            return;
        }
        let of_work = matches!(message, Message::Results(_) | Message::Deposit(_) | Message::Refused { .. });
        if !of_work && self.nodes[from].member.is_some() {
            // What is said of each result is bounded by the work.
            self.nodes[from].meter.sent(self.now, bytes.len());
        }
        let large = self.nodes.len() > MESH;
        if self.nodes[to].member.is_none() {
            // Most who dial in vain hear so; some just wait.
            if large && self.rng.chance(0.8) {
                let at = self.now + 2 * self.links.latency(&mut self.rng, from, to);
                self.queue.at(at, Event::Down { at: from, peer: to });
            }
            return;
        }
        if large {
            self.nodes[from].spoken.insert(to);
            self.nodes[to].spoken.insert(from);
        }
        let cut = self.links.blocked(from, to);
        let arrivals = self.links.send(&mut self.rng, self.now, (from, to), message, bytes.len());
        if let Some(cut) = cut.filter(|_| !arrivals.is_empty()) {
            self.checks.fail(format!("a message from node {from} to node {to} passes the {cut} between them"));
        }
        self.arrivals += arrivals.len() as u64;
        for at in arrivals {
            self.queue.at(at, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    /// Lets the worker of a node begin what it has threads for.
    pub(crate) fn start(&mut self, number: usize) {
        if self.thaw.is_some() {
            return;
        }
        while self.nodes[number].running.len() < usize::from(self.nodes[number].threads) {
            let Some(slot) = self.nodes[number].waiting.pop_front() else { return };
            let chunk = self.scenario.rows.chunk(slot);
            let cost = self.cost(chunk) * self.nodes[number].slowness;
            let node = &mut self.nodes[number];
            let now = node.clock.local(self.now);
            node.runs += 1;
            node.running.insert(slot, (node.runs, self.now));
            let run = node.runs;
            if let Some(member) = &mut node.member {
                member.handle(now, Input::Started { slot });
            }
            let end = self.now + Duration::from_secs_f64(cost);
            self.queue.at(end, Event::Finish { node: number, slot, run });
        }
    }

    pub(crate) fn finish(&mut self, number: usize, slot: u32, run: u64) {
        let Some((_, began)) = self.nodes[number].running.get(&slot).filter(|(number, _)| *number == run).copied()
        else {
            return;
        };
        if self.thaw.is_some() {
            // Time goes on, work does not: the rest of it is done later.
            self.nodes[number].running.insert(slot, (run, began + self.scenario.rest));
            return self.queue.at(self.now + self.scenario.rest, Event::Finish { node: number, slot, run });
        }
        self.nodes[number].running.remove(&slot);
        self.ran(number, slot, began, End::Finished);
        let leaf = self.outcome(number, slot);
        self.nodes[number].kept.insert(slot, leaf.clone());
        let micros = self.nodes[number].clock.scaled(self.now - began).as_micros() as u64;
        self.feed(number, Input::Finished { results: vec![(slot, leaf)], cpu_micros: micros, wall_micros: micros });
        self.start(number);
    }

    /// What comes out of a slot at a node.
    fn outcome(&mut self, number: usize, slot: u32) -> Leaf {
        let chunk = self.scenario.rows.chunk(slot);
        let node = &self.nodes[number];
        if node.slowness > 2.0 * self.scenario.peers[number].slowness {
            self.count("slowdown");
        } else if node.slowness > 8.0 {
            self.count("slow peer");
        }
        let dice = |what| Rng::of(u64::from(chunk), what);
        match self.nodes[number].nature {
            Nature::Flaky(share) if dice("flaky").chance(share) => {
                self.count("failed chunk");
                self.excuses.lost += self.cost(chunk);
                Leaf::Failed(FailureNote { deterministic: false, message: "flaky".into() })
            }
            _ if self.scenario.is_doomed(chunk) => {
                self.count("doomed chunk");
                self.excuses.lost += self.cost(chunk);
                Leaf::Failed(FailureNote { deterministic: true, message: "doomed".into() })
            }
            Nature::Liar(share) if dice("lie").chance(share) => {
                self.count("lie");
                // It, and a third that tells who is right.
                self.excuses.lost += 2.0 * self.cost(chunk);
                let wrong = Bytes::from(format!("chunk {chunk}, says {number}"));
                if self.scenario.blobs { Leaf::Blob(BlobRef::of(&wrong)) } else { Leaf::Inline(wrong) }
            }
            _ => {
                self.checks.ran(number, slot, chunk);
                leaf_of(chunk, self.scenario.blobs)
            }
        }
    }

    /// It looks as if these were running, and they never end.
    fn hog(&mut self, number: usize, slots: Vec<u32>) {
        let now = self.nodes[number].clock.local(self.now);
        for slot in slots {
            self.count("slot hogged");
            if let Some(member) = &mut self.nodes[number].member {
                member.handle(now, Input::Started { slot });
            }
        }
    }

    /// What a node really says, where its member says this: a hog gives nothing away.
    fn twist(&self, number: usize, message: Message) -> Message {
        match message {
            Message::Grant { ask, .. } | Message::Duplicate { ask, .. } if self.nodes[number].nature == Nature::Hog => {
                Message::Nothing { ask, load: Load { threads: 1, running: 1, ..Load::default() } }
            }
            other => other,
        }
    }

    /// Whether the job may have ended for this node.
    fn judge_end(&mut self, number: usize, reason: Reason) {
        let node = &self.nodes[number];
        let of_author = self.nodes[0].ended;
        if number == 0 || of_author == Some(reason) || (node.leaving && reason == Reason::Done) {
            return;
        }
        if node.banned && reason == Reason::Cancelled {
            // Nobody has spoken to it for a minute.
            return;
        }
        self.checks.fail(format!("the job ended for node {number} ({reason:?}) and not for the author"));
    }

    /// All work goes on, once all know the same.
    fn wake_up(&mut self) {
        if !self.replicas_agree() {
            return self.queue.at(self.now + AGAIN, Event::Thaw);
        }
        self.thaw = None;
        (0..self.nodes.len()).for_each(|node| self.start(node));
    }
}
