//! What goes wrong in a world: nodes come and go, links fail, somebody forges.

use std::time::Duration;

use coordinator_free::{Config, Input, Member, Tuning};
use essaim_jobs::AuthorId;

use crate::forge;
use crate::net::{Event, Fault};
use crate::world::World;

impl World {
    pub fn suffer(&mut self, fault: Fault) {
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
            Fault::Partition(side) => self.links.cut = side,
            Fault::Forge => {
                self.count("forgery");
                forge::forge(self);
            }
            Fault::Heal => {
                let links = &mut self.links;
                links.cut.clear();
                (links.weather.loss, links.weather.duplication) = (0.0, 0.0);
            }
        }
    }

    pub fn join(&mut self, number: usize) {
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
            tuning: Tuning::default(),
        };
        self.nodes[number].member = Some(Member::new(config, self.now));
        self.nodes[number].ended = None;
        self.taking_part += 1;
        for other in 0..self.nodes.len() {
            if other != number && self.nodes[other].member.is_some() {
                let at = self.now + self.links.latency(&mut self.rng, number, other);
                self.queue.at(at, Event::Up { at: number, peer: other });
                self.queue.at(at, Event::Up { at: other, peer: number });
            }
        }
        self.drain(number);
    }

    /// The process of a node is gone.
    pub fn vanish(&mut self, number: usize) {
        let running = std::mem::take(&mut self.nodes[number].running);
        running.into_values().for_each(|(_, began)| self.wasted(number, began));
        let node = &mut self.nodes[number];
        self.taking_part -= usize::from(node.member.is_some() && node.ended.is_none());
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

    pub fn wasted(&mut self, node: usize, began: Duration) {
        self.done_work += (self.now - began).as_secs_f64() / self.scenario.peers[node].slowness;
    }
}
