//! What must hold of all members together once all is healed: replicas agree, and no lease is lost for good.

use std::collections::VecDeque;
use std::time::Duration;

use coordinator_free::Member;
use coordinator_free::message::Record;
use essaim_jobs::{IntervalSet, Signed, encode};

use crate::event::Event;
use crate::scenario::Nature;
use crate::world::World;

/// Time between two looks at who holds what.
const LOOK: Duration = Duration::from_secs(1);
/// Looks for which a slot may be nobody's, once all is healed: until a death is noticed (6 s), an heir chosen and
/// orphans adopted (5 looks of 1 s), all by a clock that may run at half the speed; and once more, as the heir may
/// go too.
const NOBODYS: usize = 40;
/// And for which it may be held by one who does not run it: until that one is passed over (10 s, and two slots' time
/// of 5 s where nobody knows how long one takes), and what it held elsewhere is adopted (14 s), again at half the speed.
const HOGGED: usize = 68;
/// What was said before this is known to all.
const KNOWN_AFTER: Duration = Duration::from_secs(5);
/// For how long replicas are compared again where they differ, and how often.
const AGREED_WITHIN: Duration = Duration::from_secs(15);
pub const AGAIN: Duration = Duration::from_secs(1);
/// Versions of a record that are remembered to compare with.
const VERSIONS: usize = 64;

/// What one node has said of itself: when, which version, and a hash of it.
pub type Said = VecDeque<(Duration, u64, blake3::Hash)>;

/// Slots that nobody holds: at index k, for at least k more looks.
#[derive(Debug, Default)]
pub struct Orphans {
    ages: Vec<IntervalSet>,
    pub longest: usize,
}

impl Orphans {
    fn look(&mut self, nobodys: IntervalSet) {
        let mut ages = vec![nobodys];
        for older in &self.ages {
            let still = older.intersection(&ages[0]);
            if still.is_empty() {
                break;
            }
            ages.push(still);
        }
        self.longest = self.longest.max(if ages[0].is_empty() { 0 } else { ages.len() });
        self.ages = ages;
    }
}

fn hash(record: &Signed<Record>) -> blake3::Hash {
    blake3::hash(&encode(&record.body))
}

impl World {
    /// Keeps in mind what a node said of itself.
    pub(crate) fn said(&mut self, number: usize, record: &Signed<Record>) {
        let said = &mut self.nodes[number].said;
        said.push_back((self.now, record.body.seq, hash(record)));
        if said.len() > VERSIONS {
            said.pop_front();
        }
    }

    /// The members that take part and mean it.
    fn honest(&self) -> impl Iterator<Item = (usize, &Member)> {
        let takes_part = |node: &crate::world::Node| node.ended.is_none() && node.nature != Nature::Hog && !node.banned;
        let nodes = self.nodes.iter().enumerate().filter(move |(_, node)| takes_part(node));
        nodes.filter_map(|(number, node)| Some((number, node.member.as_ref()?)))
    }

    /// Every slot that is not sealed is somebody's who lives, or will soon be. (Those of further rows are the
    /// author's business, and nobody's before their chunk was run once.)
    pub(crate) fn look(&mut self) {
        let Some(author) = self.nodes[0].member.as_ref().filter(|_| self.makespan.is_none()) else { return };
        let mut nobodys = IntervalSet::from(0..self.scenario.rows.chunks).difference(author.sealed());
        for (_, member) in self.honest() {
            nobodys = nobodys.difference(member.held());
        }
        self.orphans.look(nobodys);
        let hogged = self.nodes.iter().any(|node| matches!(node.nature, Nature::Hog | Nature::Grabber));
        let most = NOBODYS + if hogged { HOGGED } else { 0 };
        if self.orphans.longest > most {
            let lost = self.orphans.ages.last().map(|slots| format!("{slots:?}")).unwrap_or_default();
            self.checks.fail(format!("slots {lost} are nobody's for {most} s: their lease is lost for good"));
        }
        self.queue.at(self.now + LOOK, Event::Look);
    }

    /// Nothing has gone wrong and nothing was run for a while: all know the same, or soon will. (Where the way is long,
    /// a member with a fast clock takes another for dead now and then; it must find out.)
    pub(crate) fn replicas_agree(&mut self) -> bool {
        if self.makespan.is_some() {
            return true;
        }
        let members: Vec<(usize, &Member)> = self.honest().collect();
        let mut found = None;
        for (number, member) in &members {
            let view = member.view();
            let fellow = |(other, theirs): &&(usize, &Member)| other != number && theirs.group() == member.group();
            for (other, theirs) in members.iter().filter(fellow) {
                let differ = self.differ(*number, member, *other, theirs);
                let id = self.nodes[*other].id;
                let lives = view.members.iter().any(|seen| seen.node == id && seen.alive);
                let dead = (!lives).then(|| format!("node {number} takes node {other} for dead, which it is not"));
                found = found.or(differ).or(dead);
            }
        }
        let compared = members.len() as u64;
        *self.faults.entry("replicas compared").or_default() += compared;
        let late = self.thaw.is_none_or(|at| self.now >= at + AGREED_WITHIN);
        if let (Some(violation), true) = (&found, late) {
            self.checks.fail(violation.clone());
        }
        found.is_none() || late
    }

    /// What was sealed too late for all to know it.
    fn sealed_lately(&self) -> IntervalSet {
        let lately = self.sealed_at.iter().filter(|(at, _)| *at + KNOWN_AFTER >= self.now);
        lately.flat_map(|(_, chunk)| self.scenario.rows.slots_of(*chunk)).collect()
    }

    /// What `member` does not know of `other`, or knows otherwise.
    fn differ(&self, number: usize, member: &Member, other: usize, theirs: &Member) -> Option<String> {
        if theirs.ledger().term() != member.ledger().term() {
            return Some(format!("node {number} does not know of the author's term, or node {other} does not"));
        }
        // Elsewhere one is told only what becomes of what one holds.
        let all = theirs.sealed().difference(member.sealed());
        let all = all.difference(&self.sealed_lately());
        let missing = if member.group() == 0 { all } else { member.held().intersection(&all) };
        if !missing.is_empty() {
            return Some(format!("node {number} does not know that {missing:?} are sealed, node {other} does"));
        }
        let said = &self.nodes[other].said;
        let Some(known) = member.ledger().records().get(&self.nodes[other].id) else {
            return Some(format!("node {number} has no record of node {other}"));
        };
        let due = said.iter().rev().find(|(at, ..)| *at + KNOWN_AFTER < self.now);
        if let Some((at, seq, _)) = due.filter(|(_, seq, _)| *seq > known.body.seq) {
            let have = known.body.seq;
            return Some(format!("node {number} has record {have} of node {other}, which said {seq} at {at:?}"));
        }
        let same = said.iter().find(|(_, seq, _)| *seq == known.body.seq);
        same.filter(|(.., is)| *is != hash(known))
            .map(|(_, seq, _)| format!("node {number} has another record {seq} of node {other} than it signed"))
    }
}
