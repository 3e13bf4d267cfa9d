//! What goes wrong in a world: nodes come and go, links and clocks fail, somebody forges.

use std::time::Duration;

use coordinator_free::{Config, Input, Member, Resume, Tuning};
use essaim_jobs::{AuthorId, Keypair};

use crate::attack;
use crate::diary::End;
use crate::event::{Cut, Event, Fault};
use crate::scenario::Nature;
use crate::world::World;

/// After a jump so far a member would give the job up, were it not its own clock that jumped.
const FAR_MILLIS: i64 = 60_000;

/// Nodes of a world in which all are connected.
pub const MESH: usize = 128;

impl World {
    pub(crate) fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Join(node) => self.join(node),
            Fault::Crash { node, disk } => {
                // Who has heard of the end stays, to tell those who have not.
                if self.nodes[node].member.is_some() && self.nodes[node].ended.is_none() {
                    self.count("crash");
                    self.nodes[node].disk = disk;
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
                if self.nodes[node].member.is_some() {
                    self.count("leave");
                    self.nodes[node].leaving = true;
                    self.feed(node, Input::Leave);
                }
            }
            Fault::Slowness(node, slowness) => self.nodes[node].slowness = slowness,
            Fault::Jump(node, millis) => {
                self.count(match millis {
                    ..0 => "clock jump back",
                    0..FAR_MILLIS => "clock jump",
                    FAR_MILLIS.. => "far clock jump",
                });
                self.excuses.alone += Duration::from_secs(2);
                self.nodes[node].clock.jump(self.now, millis);
                // What is due now, or later than was thought.
                self.drain(node);
            }
            Fault::Cut(cut) => self.cut(cut),
            Fault::Mend(number) => self.mend(number),
            Fault::Forge => {
                self.count("forgery");
                attack::forge(self);
            }
            Fault::Heal => self.heal(),
        }
    }

    fn heal(&mut self) {
        let weather = &mut self.links.weather;
        (weather.loss, weather.duplication, weather.tail) = (0.0, 0.0, 0.0);
        let cuts: Vec<usize> = self.links.cuts.keys().copied().collect();
        cuts.into_iter().for_each(|number| self.mend(number));
        if self.scenario.rest > Duration::ZERO {
            self.thaw = Some(self.now + self.scenario.rest);
            self.queue.at(self.now + self.scenario.rest, Event::Thaw);
        }
        self.queue.at(self.now, Event::Look);
    }

    fn cut(&mut self, cut: Cut) {
        if cut.noticed {
            for (at, peer) in self.pairs(&cut) {
                let later = self.now + Duration::from_millis(100 + self.rng.below(4_000));
                self.queue.at(later, Event::Down { at, peer });
            }
        }
        self.cut_at.get_or_insert(self.now);
        self.links.cuts.insert(cut.number, cut);
    }

    fn mend(&mut self, number: usize) {
        let cut = self.links.cuts.remove(&number);
        if let Some(since) = self.cut_at.take_if(|_| self.links.cuts.is_empty()) {
            self.excuses.alone += self.now - since;
        }
        let Some(cut) = cut.filter(|cut| cut.noticed) else { return };
        for (at, peer) in self.pairs(&cut) {
            let later = self.now + self.links.latency(&mut self.rng, at, peer);
            self.queue.at(later, Event::Up { at, peer });
        }
    }

    /// Who can no longer talk to whom: a connection is of no use when one of its ways is cut.
    fn pairs(&self, cut: &Cut) -> Vec<(usize, usize)> {
        let all = (0..self.nodes.len()).flat_map(|one| (0..self.nodes.len()).map(move |other| (one, other)));
        all.filter(|(one, other)| one != other && (cut.blocks(*one, *other) || cut.blocks(*other, *one))).collect()
    }

    pub(crate) fn join(&mut self, number: usize) {
        if self.nodes[number].member.is_some() || self.nodes[0].ended.is_some() {
            return;
        }
        if number == 0 && self.nodes[0].starts > 0 && !self.nodes[0].disk {
            self.author_moves();
        }
        let author_node = self.nodes[0].id;
        let node = &mut self.nodes[number];
        match node.nature {
            Nature::Grabber | Nature::Spammer(_) => {
                return self.queue.at(self.now, Event::Attack { node: number });
            }
            Nature::Hog | Nature::Honest | Nature::Flaky(_) | Nature::Liar(_) => {}
        }
        node.starts += 1;
        if node.starts > 1 {
            let name = match node.disk && !node.kept.is_empty() {
                _ if number == 0 && !node.disk => "author moves",
                _ if number == 0 => "author restart",
                true => "restart with disk",
                false => "restart without disk",
            };
            *self.faults.entry(name).or_default() += 1;
            if number == 0 {
                // Who holds what it has to hear anew, and what it held is adopted after a while.
                self.excuses.alone += Duration::from_secs(8);
            }
        } else if self.now > Duration::from_secs(1) {
            *self.faults.entry("late joiner").or_default() += 1;
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        seed[16..24].copy_from_slice(&node.starts.to_le_bytes());
        let mut resume = Resume { again: node.starts > 1, ..Resume::default() };
        if node.disk {
            resume.results = node.kept.iter().map(|(slot, leaf)| (*slot, leaf.clone())).collect();
        }
        if number == 0 {
            resume.sealed = self.checks.sealed_slots().clone();
            resume.term = self.checks.term();
            resume.given_up = self.checks.given_up();
        }
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
            bears: (0..self.scenario.rows.chunks).filter(|chunk| self.scenario.is_doomed(*chunk)).count() as u32,
            resume,
            distrusted: Vec::new(),
            tuning: Tuning { group: self.scenario.group, ..Tuning::default() },
        };
        node.member = Some(Member::new(config, node.clock.local(self.now)));
        (node.ended, node.leaving) = (None, false);
        self.checks.begins(number);
        self.taking_part += 1;
        for other in 0..self.nodes.len() {
            if other != number && self.nodes[other].member.is_some() && self.connected(number, other) {
                let at = self.now + self.links.latency(&mut self.rng, number, other);
                self.queue.at(at, Event::Up { at: number, peer: other });
                self.queue.at(at, Event::Up { at: other, peer: number });
            }
        }
        self.drain(number);
    }

    /// The author is at another node from now on, which has its key and nothing else.
    fn author_moves(&mut self) {
        let sealed = self.checks.sealed_slots().iter().map(|slot| self.cost(self.scenario.rows.chunk(slot)));
        self.excuses.lost += sealed.sum::<f64>();
        self.checks.new_term();
        self.sealed_at.clear();
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.nodes[0].starts.to_le_bytes());
        self.rename(0, Keypair::from_seed(&seed));
        for at in 1..self.nodes.len() {
            let heard =
                self.now + self.links.latency(&mut self.rng, 0, at) + Duration::from_millis(self.rng.below(2_000));
            self.queue.at(heard, Event::Moved { at });
        }
    }

    /// Whether there is a connection: in a small world between all, in a large one between those who have spoken.
    fn connected(&self, one: usize, other: usize) -> bool {
        self.nodes.len() <= MESH || one.min(other) == 0 || self.nodes[one].spoken.contains(&other)
    }

    /// The process of a node is gone.
    pub(crate) fn vanish(&mut self, number: usize) {
        self.lost(number);
        let running = std::mem::take(&mut self.nodes[number].running);
        running.into_iter().for_each(|(slot, (_, began))| self.ran(number, slot, began, End::Crashed));
        let node = &mut self.nodes[number];
        self.taking_part -= usize::from(node.member.is_some() && node.ended.is_none());
        (node.member, node.wake) = (None, None);
        node.waiting.clear();
        if !node.disk {
            node.kept.clear();
        }
        for other in 0..self.nodes.len() {
            // Most connections are reset; some just fall silent.
            let there = other != number && self.nodes[other].member.is_some() && self.connected(number, other);
            if there && self.rng.chance(0.8) {
                let at = self.now + Duration::from_millis(1 + self.rng.below(300));
                self.queue.at(at, Event::Down { at: other, peer: number });
            }
        }
    }

    /// What a node had run and nobody has, and what it was running: somebody has to do it again.
    pub(crate) fn lost(&mut self, number: usize) {
        let node = &self.nodes[number];
        let unsealed = node.kept.keys().filter(|slot| !self.checks.sealed_slots().contains(**slot));
        let run: f64 = unsealed.map(|slot| self.cost(self.scenario.rows.chunk(*slot))).sum();
        let now = self.now;
        let began = node.running.values().map(|(_, began)| now.saturating_sub(*began).as_secs_f64());
        self.excuses.lost += run + began.sum::<f64>() / node.slowness;
    }
}
