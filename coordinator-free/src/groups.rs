//! Groups: who tells whom. A member's record goes to its fellows, some thirty of them, so that what one has to
//! say and to hear does not grow with the swarm. Slots belong to members, not to groups: who moves takes along
//! what it holds, and work moves between groups as it does within one, by asking.
//!
//! Group 0 is the author's, and everyone's at first; the author sends newcomers elsewhere when it is full. A
//! group that has grown too large falls in two, one that has shrunk joins another, by the same step: a record
//! that says another group.

use std::collections::BTreeMap;
use std::time::Duration;

use essaim_jobs::{NodeId, Signed};

use crate::ledger::Rejection;
use crate::member::Member;
use crate::message::{CONTACTS, Contact, Message, Record};

/// The author's group, and everyone's at first.
pub(crate) const FIRST: u64 = 0;
/// Members elsewhere that are remembered.
const KNOWN: usize = 64;
/// What was heard of a member elsewhere is believed for so long.
const BELIEVED: Duration = Duration::from_secs(10);
/// Time between two looks at other groups: of a member that has nothing to do, and of any other.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));

/// The author is told so often, at most.
const TELL_GAP_LEAST: Duration = Duration::from_secs(1);
/// How often the dead are spoken to.
const TO_THE_DEAD: f64 = 0.5;
/// For how long that goes on when others hold all that one of them held.
const MOURNING: Duration = Duration::from_secs(60);

/// Where a member stands.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    /// Members of other groups, and when each was heard of.
    contacts: BTreeMap<NodeId, (Contact, Duration)>,
    pub(crate) look_at: Duration,
    looked: Duration,
    /// When the author, far away, was last told how things are here.
    told: Duration,
    /// Looks in a row at which the group was too large, or too small.
    odd: u32,
}

impl Group {
    pub(crate) fn new(now: Duration) -> Group {
        Group { id: FIRST, contacts: BTreeMap::new(), look_at: now + LOOK.1, looked: now, told: now, odd: 0 }
    }
}

/// Where the author has sent newcomers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    /// What members of other groups have told.
    pub(crate) records: BTreeMap<NodeId, Signed<Record>>,
    /// When they told the last two times.
    told: BTreeMap<NodeId, [Duration; 2]>,
    /// Members of each group that were sent there, and may not have been heard from there yet.
    sent: BTreeMap<NodeId, (u64, Duration)>,
}

impl Directory {
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.records.remove(node);
        self.told.remove(node);
    }

    fn remember(&mut self, node: NodeId, record: Signed<Record>, now: Duration) -> Option<Signed<Record>> {
        let [.., last] = self.told.get(&node).copied().unwrap_or_default();
        self.told.insert(node, [last, now]);
        self.records.insert(node, record)
    }

    /// When each of those that count told last (1), or the time before (0).
    pub(crate) fn told(&self, which: usize, counts: impl Fn(&NodeId) -> bool) -> impl Iterator<Item = Duration> {
        self.told.iter().filter(move |(node, _)| counts(node)).map(move |(_, told)| told[which])
    }
}

impl Member {
    /// Whether `node` is of this member's group.
    pub(crate) fn is_fellow(&self, node: &NodeId) -> bool {
        self.ledger.record(node).is_some()
    }

    /// Members of the group, this one included.
    fn fellows(&self) -> usize {
        let alive = |node: &&NodeId| self.peers.get(node).is_some_and(crate::peers::Peer::alive);
        1 + self.ledger.records().keys().filter(alive).count()
    }

    /// Its record, where it is known: a fellow's, or at the author anyone's.
    pub(crate) fn record_of(&self, node: &NodeId) -> Option<&Record> {
        let elsewhere = || Some(&self.author.as_ref()?.directory.records.get(node)?.body);
        self.ledger.record(node).or_else(elsewhere)
    }

    /// Says `message` to the whole group; now and then to those too that are thought dead, who may think the
    /// same of this one.
    pub(crate) fn say(&mut self, message: &Message) {
        let known: Vec<NodeId> = self.ledger.records().keys().copied().collect();
        let mut fellows = Vec::with_capacity(known.len());
        for node in known {
            let Some(peer) = self.peers.get(&node).filter(|peer| !peer.banned) else { continue };
            if peer.alive() || self.chance() < TO_THE_DEAD {
                fellows.push(node);
            }
        }
        let lately = self.now.saturating_sub(MOURNING);
        let buried: Vec<NodeId> = self.ledger.buried_since(lately).copied().collect();
        for node in buried {
            if self.chance() < TO_THE_DEAD {
                fellows.push(node);
            }
        }
        if self.group.id == FIRST && !self.is_fellow(&self.config.author_node) && self.author.is_none() {
            fellows.push(self.config.author_node);
        }
        fellows.into_iter().for_each(|node| self.send(node, message.clone()));
    }

    /// A record of a member of another group. Where it was a fellow, it has moved, and took along what it holds.
    pub(crate) fn on_foreign_record(&mut self, record: &Signed<Record>) -> Result<(), Rejection> {
        let owner = NodeId(record.signer);
        let older = |known: &Record| known.seq >= record.body.seq;
        if self.record_of(&owner).is_some_and(older) {
            return Ok(());
        }
        self.ledger.check_record(record)?;
        if self.is_fellow(&owner) || self.author.is_none() {
            self.ledger.moved(&owner, record.body.seq);
        }
        let left = Contact { node: owner, group: record.body.group, left_ms: left_ms(&record.body), members: 0 };
        self.note(left);
        let now = self.now;
        if let Some(author) = &mut self.author {
            author.directory.sent.remove(&owner);
            // It holds what it would not, had it heard that it is sealed.
            let sealed = record.body.held.intersection(self.ledger.sealed());
            if !sealed.is_empty() {
                author.owed.entry(owner).or_default().union(&sealed);
            }
            let old = author.directory.remember(owner, record.clone(), now);
            if self.know(owner) {
                self.heard(owner);
                if let Some(peer) = self.peers.get_mut(&owner) {
                    peer.set_load(now, record.body.load);
                }
            }
            let old = old.map_or_else(|| Record::empty(self.config.job), |signed| signed.body);
            self.note_progress(owner, &old);
        }
        Ok(())
    }

    /// The author's group is full, and somebody new has come: where it is to go instead.
    pub(crate) fn place(&mut self, newcomer: NodeId) -> bool {
        let (least, good, _) = self.config.tuning.group;
        let me = self.config.me;
        if self.is_fellow(&newcomer) || self.fellows() < good {
            return false;
        }
        let now = self.now;
        let Some(author) = &mut self.author else { return false };
        author.directory.sent.retain(|_, (_, at)| now < *at + BELIEVED);
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        for signed in author.directory.records.values() {
            *sizes.entry(signed.body.group).or_default() += 1;
        }
        for (group, _) in author.directory.sent.values() {
            *sizes.entry(*group).or_default() += 1;
        }
        let sent_before = author.directory.sent.get(&newcomer).map(|(group, _)| *group);
        // The fullest that has room, so that there are few; else the smallest that is not too large yet. A group of
        // its own is for one who will not be alone there for long.
        let others = || sizes.iter().filter(|(group, _)| **group != FIRST);
        let fullest = others().filter(|(_, size)| **size < good).max_by_key(|(_, size)| **size);
        let smallest = others().filter(|(_, size)| **size < good + least / 2).min_by_key(|(_, size)| **size);
        let there = fullest.or(smallest).map(|(group, _)| *group);
        let group = sent_before.or(there).unwrap_or_else(|| label(&newcomer));
        author.directory.sent.insert(newcomer, (group, now));
        let there = author.directory.records.iter().filter(|(_, signed)| signed.body.group == group);
        let heard = there.map(|(node, signed)| (*node, left_ms(&signed.body)));
        let sent = author.directory.sent.iter().filter(|(node, (to, _))| *to == group && **node != newcomer);
        let known = heard.chain(sent.map(|(node, _)| (*node, 0)));
        let contact = |(node, left_ms)| Contact { node, group, left_ms, members: 0 };
        let mut contacts: Vec<Contact> = known.map(contact).take(CONTACTS - 1).collect();
        contacts.push(Contact { node: me, group: FIRST, left_ms: u32::MAX, members: 0 });
        self.send(newcomer, Message::Place { group, contacts });
        true
    }

    pub(crate) fn on_place(&mut self, from: NodeId, group: u64, contacts: &[Contact]) -> Result<(), Rejection> {
        if from != self.config.author_node || self.author.is_some() {
            return Err(Rejection::Unasked);
        }
        self.move_to(group, contacts);
        Ok(())
    }

    /// Leaves its fellows for others. What it holds it goes on holding.
    fn move_to(&mut self, group: u64, contacts: &[Contact]) {
        let before: Vec<NodeId> = self.ledger.records().keys().copied().collect();
        let moved = group != self.group.id;
        if moved {
            let old = self.group.id;
            self.group.id = group;
            self.group.odd = 0;
            self.alive.deaths.clear();
            for node in &before {
                let left_ms = self.ledger.record(node).map_or(0, left_ms);
                self.ledger.remove_record(node);
                self.note(Contact { node: *node, group: old, left_ms, members: 0 });
            }
        }
        contacts.iter().for_each(|contact| self.note(*contact));
        self.lease_moved();
        let record = Message::Record(self.sign_record());
        if moved {
            before.into_iter().for_each(|node| self.send(node, record.clone()));
        }
        self.send(self.config.author_node, record.clone());
        let digest = self.digest();
        let me = self.config.me;
        for node in contacts.iter().filter(|contact| contact.group == group).map(|contact| contact.node) {
            if node != me {
                self.know(node);
                self.send(node, record.clone());
                self.send(node, digest.clone());
            }
        }
    }

    /// Remembers a member of another group.
    pub(crate) fn note(&mut self, contact: Contact) {
        if contact.node == self.config.me || contact.group == self.group.id || self.is_fellow(&contact.node) {
            self.group.contacts.remove(&contact.node);
            return;
        }
        if self.group.contacts.len() >= KNOWN && !self.group.contacts.contains_key(&contact.node) {
            let oldest = self.group.contacts.iter().min_by_key(|(_, (_, at))| *at).map(|(node, _)| *node);
            oldest.and_then(|node| self.group.contacts.remove(&node));
        }
        self.group.contacts.insert(contact.node, (contact, self.now));
    }

    /// Members elsewhere that may have something left, and for how long.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = (NodeId, Duration)> {
        let left = |(node, (contact, at)): (&NodeId, &(Contact, Duration))| {
            let contact = contact.aged(self.now.saturating_sub(*at));
            (*node, Duration::from_millis(u64::from(contact.left_ms)))
        };
        self.group.contacts.iter().map(left)
    }

    /// A member elsewhere does not answer.
    pub(crate) fn forget_contact(&mut self, node: &NodeId) {
        self.group.contacts.remove(node);
    }

    /// What a member elsewhere turned out to have left.
    pub(crate) fn note_left(&mut self, node: NodeId, left_ms: u32) {
        let now = self.now;
        if let Some((contact, at)) = self.group.contacts.get_mut(&node) {
            (contact.left_ms, *at) = (left_ms, now);
        }
    }

    pub(crate) fn on_look(&mut self, from: NodeId) {
        let mut contacts = vec![self.contact()];
        let me = self.group.id;
        // Some of this group that have something left: which, is left to chance, so that askers spread.
        let fellows = self.ledger.records().iter().map(|(node, signed)| (left_ms(&signed.body), *node));
        let mut fellows: Vec<(u32, NodeId)> = fellows.filter(|(left, node)| *left > 0 && *node != from).collect();
        let members = contacts[0].members;
        for _ in 0..(CONTACTS - 4).min(fellows.len()) {
            let chosen = (self.chance() * fellows.len() as f64) as usize;
            let (left_ms, node) = fellows.swap_remove(chosen);
            contacts.push(Contact { node, group: me, left_ms, members });
        }
        let others = match &self.author {
            Some(author) => {
                let contact = |(node, signed): (&NodeId, &Signed<Record>)| Contact {
                    node: *node,
                    group: signed.body.group,
                    left_ms: left_ms(&signed.body),
                    members: 0,
                };
                author.directory.records.iter().map(contact).collect::<Vec<_>>()
            }
            // What is passed on must not look fresh: else the dead would be spoken of for ever.
            None => {
                self.group.contacts.values().map(|(contact, at)| contact.aged(self.now.saturating_sub(*at))).collect()
            }
        };
        let room = CONTACTS - contacts.len();
        for _ in 0..room.min(others.len()) {
            contacts.push(others[(self.chance() * others.len() as f64) as usize]);
        }
        self.send(from, Message::Contacts { contacts });
    }

    pub(crate) fn on_contacts(&mut self, contacts: &[Contact]) {
        contacts.iter().for_each(|contact| self.note(*contact));
        self.look_again_soon();
    }

    fn contact(&self) -> Contact {
        let load = self.load();
        Contact {
            node: self.config.me,
            group: self.group.id,
            left_ms: left(&load),
            members: self.fellows().min(usize::from(u16::MAX)) as u16,
        }
    }

    /// There is nothing to take among its fellows: it is worth looking elsewhere soon.
    pub(crate) fn look_soon(&mut self) {
        self.group.look_at = self.group.look_at.min(self.group.looked + LOOK.0);
    }

    /// Looks at other groups, tells the author how things are, and keeps the group of a good size.
    pub(crate) fn look_around(&mut self) {
        if self.now < self.group.look_at {
            return;
        }
        let idle = self.hungry() && self.group.look_at < self.group.looked + LOOK.1;
        // The nearer the end, the more often: what is uneven then can be evened out no later.
        let gap = (self.own_time() / 8).clamp(LOOK.0, LOOK.1);
        (self.group.looked, self.group.look_at) = (self.now, self.now + gap);
        if self.author.is_some() {
            return;
        }
        let author = self.config.author_node;
        // The nearer the end, the more often: what is lost then is missed by all.
        let tell_gap = self.config.tuning.tell_gap.min(TELL_GAP_LEAST.max(self.own_time() / 2));
        if self.group.id != FIRST && self.now >= self.group.told + tell_gap {
            self.group.told = self.now;
            self.hello();
        }
        let mut known: Vec<NodeId> = self.group.contacts.keys().copied().collect();
        if idle && !self.group.contacts.contains_key(&author) {
            known.push(author);
        }
        if !known.is_empty() {
            let chosen = known[(self.chance() * known.len() as f64) as usize];
            self.send(chosen, Message::Look);
        }
        self.even_out();
        self.fit();
    }

    /// Moves, when the group is too large or too small.
    fn fit(&mut self) {
        let (least, _, most) = self.config.tuning.group;
        let size = self.fellows();
        let odd = size > most || (size < least && self.group.id != FIRST);
        self.group.odd = if odd { self.group.odd + 1 } else { 0 };
        if self.group.odd < 2 || self.chance() > 0.5 {
            return;
        }
        if size > most {
            let child = child_of(self.group.id);
            if goes(self.group.id, &self.config.me) {
                let with = self.ledger.records().keys().filter(|node| goes(self.group.id, node)).copied();
                let contact = |node| Contact { node, group: child, left_ms: 0, members: 0 };
                let with: Vec<Contact> = with.map(contact).take(CONTACTS).collect();
                self.move_to(child, &with);
            }
            return;
        }
        // To a larger one, or of two alike to that of the higher number: else two would change places.
        let fits = |(contact, at): &&(Contact, Duration)| {
            let larger = (usize::from(contact.members), contact.group) > (size, self.group.id);
            let room = usize::from(contact.members) + size <= most;
            (contact.members > 0 && larger && room || contact.group == FIRST) && self.now < *at + BELIEVED
        };
        let target = self.group.contacts.values().filter(fits).map(|(contact, _)| contact).max_by_key(|c| c.members);
        let Some(group) = target.map(|contact| contact.group).filter(|group| *group != FIRST) else { return };
        let there = self.group.contacts.values().map(|(contact, _)| *contact).filter(|c| c.group == group);
        let there: Vec<Contact> = there.take(CONTACTS).collect();
        self.move_to(group, &there);
    }
}

impl Contact {
    /// What is left of it after a while; who cannot run it itself has it still.
    fn aged(self, age: Duration) -> Contact {
        let left_ms = match self.left_ms {
            u32::MAX => u32::MAX,
            _ if age >= BELIEVED => 0,
            left_ms => left_ms.saturating_sub(u32::try_from(age.as_millis()).unwrap_or(u32::MAX)),
        };
        Contact { left_ms, ..self }
    }
}

/// How long a member's queue will last, milliseconds; the most there is, where it cannot run all of it itself.
fn left_ms(record: &Record) -> u32 {
    if record.leaving.is_some() { 0 } else { left(&record.load) }
}

fn left(load: &crate::message::Load) -> u32 {
    let micros = if load.slot_micros == 0 { crate::claim::UNKNOWN_MICROS } else { load.slot_micros };
    match (load.queued, load.threads) {
        (0, _) => 0,
        (_, 0) => u32::MAX,
        _ if load.blocked > 0 => u32::MAX,
        (queued, threads) => {
            let left = u64::from(queued) * u64::from(micros) / u64::from(threads) / 1_000;
            u32::try_from(left).unwrap_or(u32::MAX - 1)
        }
    }
}

/// A group named after its first member.
fn label(node: &NodeId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&node.0[..8]);
    u64::from_le_bytes(bytes).max(FIRST + 1)
}

fn hash(group: u64, node: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("essaim 2026 group v1");
    hasher.update(&group.to_le_bytes()).update(node);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes).max(FIRST + 1)
}

fn child_of(group: u64) -> u64 {
    hash(group, b"half")
}

/// Whether a member is of the half that goes when its group falls in two.
fn goes(group: u64, node: &NodeId) -> bool {
    hash(group, &node.0) & 1 == 1
}
