//! A world: nodes, links, and what happens next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use coordinator_free::pieces::{Input, Layout, Message, Output, Reason, Tuning};
use essaim_jobs::{IntervalSet, NodeId};

use crate::chance::Rng;
use crate::judge::Judge;
use crate::link::{Grain, Item, Link, Transfer, time};
use crate::node::{Manner, Node, exchange};

#[derive(Clone, Debug)]
pub enum Event {
    Message {
        from: usize,
        to: usize,
        session: u64,
        message: Message,
    },
    /// The upload limit lets a grain into a socket.
    Let {
        from: usize,
        to: usize,
        session: u64,
    },
    /// All of a piece is in a socket.
    Given {
        from: usize,
        to: usize,
        session: u64,
        piece: u32,
    },
    /// Something has left its sender.
    Out {
        from: usize,
        to: usize,
        session: u64,
        item: Item,
    },
    /// A grain has come in.
    In {
        from: usize,
        to: usize,
        session: u64,
        grain: Grain,
    },
    Closed {
        at: usize,
        peer: usize,
        session: u64,
    },
    Wake {
        node: usize,
    },
    Connect {
        one: usize,
        other: usize,
    },
    Kill {
        node: usize,
        noticed: bool,
    },
    /// With its pieces or without.
    Back {
        node: usize,
        keeps: bool,
    },
    /// From now on nothing from one to the other arrives, for a while.
    Deafen {
        from: usize,
        to: usize,
    },
    Heal,
}

/// What the links of a world are like.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way.
    pub latency: Duration,
    /// Part of it that each message may take longer.
    pub jitter: f64,
    /// Bytes that a socket takes before it says that it is full; what is said later is behind them.
    pub socket: u64,
}

pub struct World {
    pub now: Duration,
    pub rng: Rng,
    pub layout: Layout,
    pub tuning: Tuning,
    pub weather: Weather,
    pub nodes: Vec<Node>,
    pub judge: Judge,
    pub healed: bool,
    /// Whether every event but grains is printed.
    pub trace: bool,
    /// Ways of sessions on which nothing arrives.
    pub deaf: Vec<(usize, usize, u64)>,
    /// Those who will try once more.
    again: BTreeSet<(usize, usize)>,
    numbers: BTreeMap<NodeId, usize>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    planned: u64,
    session: u64,
    lives: u64,
    /// When the last thing on each way arrives: ways keep their order.
    last: BTreeMap<(usize, usize), Duration>,
}

impl World {
    pub fn new(seed: u64, layout: Layout, tuning: Tuning, weather: Weather) -> World {
        World {
            now: Duration::ZERO,
            rng: Rng::new(seed),
            layout,
            tuning,
            weather,
            nodes: Vec::new(),
            judge: Judge::default(),
            healed: false,
            trace: false,
            deaf: Vec::new(),
            again: BTreeSet::new(),
            numbers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            planned: 0,
            session: 0,
            lives: 0,
            last: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, have: IntervalSet, manner: Manner, link: Link) -> usize {
        let number = self.nodes.len();
        // A seed of the world's is a seed of each node's.
        let salt = number + (self.rng.next() as usize & 0xffff) * 1_000;
        let mut node = Node::new(number, self.layout, have.clone(), self.tuning.clone(), manner, link);
        node.exchange = exchange(salt, 0, self.layout, have, self.tuning.clone());
        self.numbers.insert(node.id, number);
        self.nodes.push(node);
        number
    }

    pub fn at(&mut self, time: Duration, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse((time, self.planned)));
        self.events.insert(self.planned, event);
    }

    /// Runs until every live honest node has everything and all that was planned to go wrong did.
    pub fn run(&mut self, until: Duration) {
        while !(self.healed && self.all_complete()) {
            let Some(Reverse((time, number))) = self.queue.pop() else { break };
            assert!(time <= until, "not through by {until:?}: {}", self.describe());
            self.now = time;
            let event = self.events.remove(&number).unwrap();
            if self.trace && !matches!(event, Event::In { .. } | Event::Out { .. } | Event::Wake { .. }) {
                println!("{time:?} {event:?}");
            }
            self.happen(event);
        }
        assert!(self.all_complete(), "nothing happens any more, and: {}", self.describe());
    }

    pub fn all_complete(&self) -> bool {
        self.nodes.iter().filter(|node| node.alive && node.manner == Manner::Honest).all(|node| node.complete.is_some())
    }

    fn describe(&self) -> String {
        let one = |(number, node): (usize, &Node)| {
            format!(
                "\n{number} {:?} alive {} has {} of {} sessions {:?}",
                node.manner,
                node.alive,
                node.exchange.have().len(),
                self.layout.pieces(),
                node.exchange
                    .sources()
                    .iter()
                    .map(|source| (
                        self.numbers[&source.node],
                        source.has,
                        source.asked,
                        source.rate as u64,
                        source.poor
                    ))
                    .collect::<Vec<_>>()
            )
        };
        self.nodes.iter().enumerate().map(one).collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Message { from, to, session, message } => {
                if self.nodes[to].sessions.get(&from) == Some(&session) {
                    let from = self.nodes[from].id;
                    self.tell(to, Input::Message { from, message });
                }
            }
            Event::Let { from, to, session } => {
                if self.nodes[from].sessions.get(&to) == Some(&session) {
                    self.accept(from, to);
                    self.feed(from, to);
                }
            }
            Event::Given { from, to, session, piece } => {
                if self.nodes[from].sessions.get(&to) == Some(&session) {
                    let to = self.nodes[to].id;
                    self.tell(from, Input::Given { to, piece, sent: true });
                }
            }
            Event::Out { from, to, session, item } => self.left(from, to, session, item),
            Event::In { from, to, session, grain } => self.came(from, to, session, grain),
            Event::Closed { at, peer, session } => {
                if self.nodes[at].sessions.get(&peer) == Some(&session) {
                    self.nodes[at].sessions.remove(&peer);
                    self.stop(at, peer);
                    let down = Input::Down(self.nodes[peer].id);
                    self.tell(at, down);
                }
            }
            Event::Wake { node } => {
                if self.nodes[node].wake.is_some_and(|wake| wake <= self.now) {
                    self.nodes[node].wake = None;
                    self.tell(node, Input::Tick);
                }
            }
            Event::Connect { one, other } => self.connect(one, other),
            Event::Kill { node, noticed } => self.kill(node, noticed),
            Event::Back { node, keeps } => self.back(node, keeps),
            Event::Deafen { from, to } => self.deafen(from, to),
            Event::Heal => self.heal(),
        }
    }

    /// Tells a node, does what it wants done, and plans its next wake.
    pub fn tell(&mut self, number: usize, input: Input) {
        if !self.nodes[number].alive {
            return;
        }
        let now = self.now;
        self.judge.before(&self.nodes[number].exchange, &input);
        self.nodes[number].exchange.handle(now, input);
        let mut outputs = 0;
        while let Some(output) = self.nodes[number].exchange.poll() {
            outputs += 1;
            self.obey(number, output);
        }
        let node = &mut self.nodes[number];
        self.judge.after(&node.exchange, outputs);
        if node.complete.is_none() && node.exchange.is_complete() {
            node.complete = Some(now);
        }
        let due = node.exchange.deadline().map(|due| due.max(now));
        if let Some(due) = due
            && node.wake.is_none_or(|wake| due < wake)
        {
            node.wake = Some(due);
            self.at(due, Event::Wake { node: number });
        }
    }

    fn obey(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                let to = self.numbers[&to];
                self.judge.said(number, to, &message);
                let Some(session) = self.nodes[number].sessions.get(&to).copied() else { return };
                self.say(number, to, session, Item::Message(message));
            }
            Output::Give { to, piece } => self.give(number, self.numbers[&to], piece),
            Output::Leave { peer, reason } => {
                let peer = self.numbers[&peer];
                self.judge.left(number, peer, reason, self.nodes[peer].manner);
                if let Some(session) = self.nodes[number].sessions.remove(&peer) {
                    self.stop(number, peer);
                    let arrives = self.arrival(number, peer);
                    self.at(arrives, Event::Closed { at: peer, peer: number, session });
                }
                // Either may have been full, or both.
                if reason == Reason::Full && self.again.insert((number.min(peer), number.max(peer))) {
                    let later = self.now + Duration::from_secs(5);
                    self.at(later, Event::Connect { one: number, other: peer });
                }
            }
            Output::Complete => assert!(self.nodes[number].exchange.is_complete()),
        }
    }

    fn give(&mut self, number: usize, to: usize, piece: u32) {
        let manner = self.nodes[number].manner;
        assert!(self.nodes[number].exchange.has(piece), "{number} gives {piece}, which it has not");
        match manner {
            Manner::Mute => self.judge.count("mute"),
            Manner::Refuser => {
                self.judge.count("refusal");
                let to = self.nodes[to].id;
                self.tell(number, Input::Given { to, piece, sent: false });
            }
            Manner::Honest | Manner::Liar => {
                let Some(session) = self.nodes[number].sessions.get(&to).copied() else { return };
                let left = self.layout.bytes(piece);
                let wrong = manner == Manner::Liar;
                let socket = self.nodes[number].link.socket(to, session);
                socket.waiting.push_back(Transfer { piece, left, wrong });
                self.feed(number, to);
            }
        }
    }

    /// Lets as much into a socket as it has room for.
    fn feed(&mut self, from: usize, to: usize) {
        let (now, room) = (self.now, self.weather.socket);
        loop {
            let link = &mut self.nodes[from].link;
            let grain = link.grain();
            let Some(socket) = link.sockets.get_mut(&to).filter(|socket| !socket.paced) else { return };
            let Some(next) = socket.waiting.front() else { return };
            let bytes = next.left.min(grain);
            if socket.held > 0 && socket.held + bytes > room {
                return;
            }
            let wait = link.pacer.take(now, bytes);
            if wait > Duration::ZERO {
                socket.paced = true;
                let session = socket.session;
                return self.at(now + wait, Event::Let { from, to, session });
            }
            self.accept(from, to);
        }
    }

    fn accept(&mut self, from: usize, to: usize) {
        let grain = self.nodes[from].link.grain();
        let Some(socket) = self.nodes[from].link.sockets.get_mut(&to) else { return };
        socket.paced = false;
        let Some(next) = socket.waiting.front_mut() else { return };
        let bytes = next.left.min(grain);
        next.left -= bytes;
        let grain = Grain { piece: next.piece, bytes, last: next.left == 0, wrong: next.wrong };
        let session = socket.session;
        if grain.last {
            socket.waiting.pop_front();
            self.at(self.now, Event::Given { from, to, session, piece: grain.piece });
        }
        self.say(from, to, session, Item::Grain(grain));
    }

    fn say(&mut self, from: usize, to: usize, session: u64, item: Item) {
        let link = &mut self.nodes[from].link;
        let socket = link.socket(to, session);
        socket.held += item.bytes();
        socket.queue.push_back(item);
        if socket.queue.len() == 1 {
            link.turns.push_back(to);
        }
        self.send(from);
    }

    /// The link is for each socket in its turn.
    fn send(&mut self, from: usize) {
        let link = &mut self.nodes[from].link;
        while !link.busy
            && let Some(to) = link.turns.pop_front()
        {
            let Some(socket) = link.sockets.get_mut(&to) else { continue };
            let Some(item) = socket.queue.pop_front() else { continue };
            if !socket.queue.is_empty() {
                link.turns.push_back(to);
            }
            link.busy = true;
            let (session, leaves) = (socket.session, self.now + time(item.bytes(), link.up_rate));
            self.at(leaves, Event::Out { from, to, session, item });
            return;
        }
    }

    fn left(&mut self, from: usize, to: usize, session: u64, item: Item) {
        let link = &mut self.nodes[from].link;
        link.busy = false;
        if let Some(socket) = link.sockets.get_mut(&to).filter(|socket| socket.session == session) {
            socket.held -= item.bytes();
        }
        if self.nodes[from].alive && self.nodes[from].sessions.get(&to) == Some(&session) {
            let arrives = self.arrival(from, to);
            if self.is_deaf(from, to) {
                self.judge.count("deaf");
            } else {
                match item {
                    Item::Message(message) => self.at(arrives, Event::Message { from, to, session, message }),
                    Item::Grain(grain) => {
                        self.nodes[from].sent += grain.bytes;
                        let comes_in = self.nodes[to].link.comes_in(arrives, grain.bytes);
                        self.at(comes_in, Event::In { from, to, session, grain });
                    }
                }
            }
            self.feed(from, to);
        }
        self.send(from);
    }

    fn came(&mut self, from: usize, to: usize, session: u64, grain: Grain) {
        if self.nodes[to].sessions.get(&from) != Some(&session) {
            return;
        }
        let id = self.nodes[from].id;
        let Grain { piece, bytes, last, wrong } = grain;
        self.tell(to, Input::Bytes { from: id, bytes });
        if !last {
            return;
        }
        if self.nodes[to].exchange.has(piece) {
            self.nodes[to].wasted += self.layout.bytes(piece);
        }
        self.judge.arrives(to, from, wrong);
        self.tell(to, Input::Arrived { from: id, piece, right: !wrong });
        self.judge.arrived(&self.nodes[to], from, piece, wrong);
    }

    /// When what leaves now arrives: later than all that left before on the same way.
    fn arrival(&mut self, from: usize, to: usize) -> Duration {
        let way = self.weather.latency.mul_f64(1.0 + self.weather.jitter * self.rng.unit());
        let last = self.last.entry((from, to)).or_default();
        *last = (*last).max(self.now + way);
        *last
    }

    pub fn connect(&mut self, one: usize, other: usize) {
        self.again.remove(&(one.min(other), one.max(other)));
        if one == other || !self.nodes[one].alive || !self.nodes[other].alive {
            return;
        }
        if self.nodes[one].sessions.contains_key(&other) || self.nodes[other].sessions.contains_key(&one) {
            return;
        }
        self.session += 1;
        for (at, peer) in [(one, other), (other, one)] {
            self.nodes[at].sessions.insert(peer, self.session);
        }
        for (at, peer) in [(one, other), (other, one)] {
            let up = Input::Up(self.nodes[peer].id);
            self.tell(at, up);
        }
    }

    /// Nothing more is sent from one to the other.
    fn stop(&mut self, from: usize, to: usize) {
        self.nodes[from].link.sockets.remove(&to);
        self.nodes[from].link.turns.retain(|turn| *turn != to);
    }

    fn kill(&mut self, number: usize, noticed: bool) {
        if !self.nodes[number].alive || self.healed {
            return;
        }
        self.judge.count(if noticed { "kill" } else { "silent kill" });
        self.nodes[number].alive = false;
        self.nodes[number].link.sockets.clear();
        self.nodes[number].link.turns.clear();
        let sessions = std::mem::take(&mut self.nodes[number].sessions);
        for (peer, session) in sessions {
            let later = if noticed { self.weather.latency } else { Duration::from_secs(10) };
            let when = self.now + later;
            self.at(when, Event::Closed { at: peer, peer: number, session });
        }
    }

    pub fn back(&mut self, number: usize, keeps: bool) {
        if self.nodes[number].alive {
            return;
        }
        self.judge.count(if keeps { "back with pieces" } else { "back with nothing" });
        self.lives += 1;
        let have = if keeps { self.nodes[number].exchange.have() } else { IntervalSet::new() };
        let node = &mut self.nodes[number];
        node.exchange = exchange(number, self.lives, self.layout, have, self.tuning.clone());
        node.alive = true;
        node.wake = None;
        node.complete = node.exchange.is_complete().then_some(self.now);
        self.judge.forget(number);
        for peer in 0..self.nodes.len() {
            let stale = self.nodes[peer].sessions.remove(&number).is_some();
            if stale {
                let down = Input::Down(self.nodes[number].id);
                self.stop(peer, number);
                self.tell(peer, down);
            }
            self.connect(number, peer);
        }
    }

    fn is_deaf(&self, from: usize, to: usize) -> bool {
        let session = self.nodes[from].sessions.get(&to);
        session.is_some_and(|session| self.deaf.contains(&(from, to, *session)))
    }

    /// One way of a session is lost; ten seconds later both sides notice, and speak anew.
    fn deafen(&mut self, from: usize, to: usize) {
        let Some(session) = self.nodes[from].sessions.get(&to).copied() else { return };
        self.deaf.push((from, to, session));
        let when = self.now + Duration::from_secs(10);
        self.at(when, Event::Closed { at: from, peer: to, session });
        self.at(when, Event::Closed { at: to, peer: from, session });
        self.at(when + Duration::from_secs(1), Event::Connect { one: from, other: to });
    }

    /// Nothing goes wrong any more; and if what is left is not everything, somebody brings it.
    fn heal(&mut self) {
        self.healed = true;
        let mut union = IntervalSet::new();
        for node in self.nodes.iter().filter(|node| node.alive && node.manner == Manner::Honest) {
            union.union(&node.exchange.have());
        }
        if union.len() < u64::from(self.layout.pieces()) {
            self.judge.count("author needed again");
            self.back(0, true);
        } else if !self.nodes[0].alive {
            self.judge.count("author not needed");
        }
        for one in 0..self.nodes.len() {
            for other in 0..one {
                if !self.judge.parted(one, other) {
                    self.connect(one, other);
                }
            }
        }
    }
}
