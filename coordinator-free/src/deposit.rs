//! While the author is away, what was run is kept at two members: who has a result that no other living fellow has gives
//! it to the one that would inherit from it. That member answers for it from then on as for what it has run itself, so
//! that nothing is run again when the first one dies, and the author gets it from whoever is there.
//!
//! Only where one copy is enough: where voices are counted nobody speaks for another.

use std::time::Duration;

use essaim_jobs::{IntervalSet, Leaf, NodeId, Results};

use crate::io::Output;
use crate::ledger::Rejection;
use crate::member::Member;
use crate::peers::Peer;
use crate::sets;

/// An author that has been silent for so long is away.
const AWAY: Duration = Duration::from_secs(5);
/// What was given is in its keeper's record by then, or is given once more.
const AGAIN: Duration = Duration::from_secs(5);

/// What was given lately, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deposits {
    given: IntervalSet,
    at: Duration,
}

impl Member {
    /// Gives what only this member has to another, if the author is away.
    pub(crate) fn deposit(&mut self) {
        let away = |peer: &Peer| !peer.alive() && self.now >= peer.heard + AWAY;
        let is_away = self.peers.get(&self.config.author_node).is_some_and(away);
        if self.author.is_some() || self.config.rows.copies > 1 || !is_away {
            return;
        }
        if self.now >= self.deposits.at + AGAIN {
            self.deposits = Deposits { given: IntervalSet::new(), at: self.now };
        }
        let elsewhere = self.ledger.records().iter().filter(|(node, _)| self.holds(node));
        let elsewhere: Vec<IntervalSet> = elsewhere.map(|(_, signed)| signed.body.done.clone()).collect();
        let only_here = sets::minus(&self.work.done, &sets::union(elsewhere.iter().chain([&self.deposits.given])));
        let Some(keeper) = self.next_heir().filter(|_| !only_here.is_empty()) else { return };
        let given = self.report.copies(&only_here, &self.config.keypair);
        for results in given {
            self.deposits.given.union(&results.receipt.body.slots);
            self.send(keeper, crate::message::Message::Deposit(results));
        }
    }

    pub(crate) fn on_deposit(&mut self, from: NodeId, results: &Results) -> Result<(), Rejection> {
        if self.author.is_some() {
            return self.on_results(from, results);
        }
        if results.worker() != from || self.config.rows.copies > 1 || !self.is_fellow(&from) {
            return Err(Rejection::Unasked);
        }
        self.check_results(results)?;
        for (slot, leaf) in results.iter() {
            if self.wants(slot) && !matches!(leaf, Leaf::Failed(_)) {
                self.out.push_back(Output::Keep { slot, worker: from, leaf: leaf.clone() });
            }
        }
        Ok(())
    }

    /// What another has run is kept here now.
    pub(crate) fn on_kept(&mut self, slot: u32, leaf: Leaf) {
        if slot >= self.config.rows.slots() {
            return;
        }
        if self.ledger.sealed().contains(slot) {
            self.out.push_back(Output::Release((slot..slot + 1).into()));
        } else if self.work.finished(slot, false) {
            self.report.pass_on(slot, leaf);
            // Its giver is to know.
            self.lease_taken();
        }
    }

    /// Whether somebody else's result of `slot` is to be kept here: not of what this member is to run itself.
    fn wants(&self, slot: u32) -> bool {
        let has = [self.ledger.sealed(), &self.work.held, &self.work.done].iter().any(|set| set.contains(slot));
        !has && self.leaving.is_none()
    }
}
