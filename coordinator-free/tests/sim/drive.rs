//! What happens in a world: a message arrives, a worker ends a slot, a member wants something.

use std::time::Duration;

use bytes::Bytes;
use coordinator_free::message::MESSAGE_BYTES;
use coordinator_free::{Input, Member, Message, Notice, Output};
use essaim_jobs::{FailureNote, Leaf, decode, encode};

use crate::net::{Event, Rng};
use crate::world::{World, leaf_of};

impl World {
    pub fn happen(&mut self, event: Event) {
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
    pub fn drain(&mut self, number: usize) {
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

    pub fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                if let Some(to) = self.number(&to) {
                    self.transmit(number, to, &message, encode(&message).into());
                }
            }
            Output::Gossip(message) => {
                let bytes = Bytes::from(encode(&message));
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
                let worker = self.number(&worker).expect("a worker is a node");
                self.checks.collect(chunk, worker, &leaf);
                let at = match &leaf {
                    Leaf::Blob(_) => self.now + 2 * self.links.latency(&mut self.rng, 0, worker),
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
                let worker = match &notice {
                    Notice::Sealed { worker, .. } => self.number(worker),
                    _ => None,
                };
                self.checks.notice(&notice, worker);
            }
            Output::Ended(reason) => {
                self.nodes[number].ended = Some(reason);
                self.taking_part -= 1;
                let running = std::mem::take(&mut self.nodes[number].running);
                running.into_values().for_each(|(_, began)| self.wasted(number, began));
                self.nodes[number].waiting.clear();
                if number == 0 {
                    self.makespan = Some((self.now, reason));
                }
            }
        }
    }

    pub fn transmit(&mut self, from: usize, to: usize, message: &Message, bytes: Bytes) {
        if bytes.len() > MESSAGE_BYTES {
            self.checks.fail(format!("a message of {} bytes", bytes.len()));
        }
        if from == to || self.nodes[to].member.is_none() {
            return;
        }
        let arrivals = self.links.send(&mut self.rng, self.now, (from, to), message, bytes.len());
        for at in arrivals {
            self.queue.at(at, Event::Deliver { from, to, bytes: bytes.clone() });
        }
    }

    /// Lets the worker of a node begin what it has threads for.
    pub fn start(&mut self, number: usize) {
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

    pub fn finish(&mut self, number: usize, slot: u32, run: u64) {
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
}
