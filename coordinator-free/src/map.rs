//! A job's chunks as a person may look at them: cut into so many ranges, and how far each of these is. Linear in the
//! intervals and the members known, whatever the job's size; made when somebody looks, and not kept.

use std::collections::BTreeMap;
use std::ops::Range;

use essaim_jobs::{IntervalSet, NodeId};

use crate::member::Member;
use crate::sets;

/// How far a range of chunks is. Each chunk is counted once: for the first of the numbers below that is true of it, and
/// for none where it is nobody's, as far as this member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The chunks.
    pub chunks: Range<u32>,
    /// Sealed.
    pub sealed: u32,
    /// Failed somewhere, and to be tried once more; only their author knows.
    pub failed: u32,
    /// Run by somebody, and not sealed.
    pub done: u32,
    /// Running. Others say only how many: these are taken for the first that they hold, as everyone works from the front.
    pub running: u32,
    /// To be run by somebody.
    pub held: u32,
    /// Who holds most of them.
    pub holder: Option<NodeId>,
}

impl Member {
    /// The job's chunks in at most `most` ranges of the same length, the last excepted.
    ///
    /// # Panics
    /// Where `most` is 0.
    #[must_use]
    pub fn map(&self, most: u32) -> Vec<Cell> {
        let sealed = self.ledger.sealed();
        let mine = self.work.flight.iter().filter(|(_, flight)| flight.started.is_some()).map(|(slot, _)| *slot);
        let mut holders = vec![(self.config.me, self.work.held.clone())];
        let (mut done, mut running) = (vec![self.work.done.clone()], vec![mine.collect()]);
        for (node, signed) in self.records() {
            let Some(peer) = self.peers.get(node) else { continue };
            let record = &signed.body;
            let mut waiting = sets::minus(&sets::minus(&record.held, &record.done), sealed);
            running.push(waiting.take_front(if peer.alive() { peer.load.running.into() } else { 0 }));
            done.push(record.done.clone());
            holders.push((*node, record.held.clone()));
        }
        let rows = self.config.rows;
        let held = sets::union(holders.iter().map(|(_, held)| held));
        let failed = self.author.iter().flat_map(|author| author.failed()).collect();
        let layers = [sealed, &failed, &sets::union(&done), &sets::union(&running), &held];
        let holders: Vec<_> = holders.iter().map(|(node, held)| (*node, sets::chunks(rows, held))).collect();
        cells(rows.chunks, most, layers.map(|set| sets::chunks(rows, set)), &holders)
    }
}

/// Cuts a row of chunks into cells. `layers` are what is counted, the first first; `holders` who holds what.
fn cells(chunks: u32, most: u32, layers: [IntervalSet; 5], holders: &[(NodeId, IntervalSet)]) -> Vec<Cell> {
    let width = chunks.div_ceil(most).max(1);
    let count = chunks.div_ceil(width) as usize;
    let mut counted = IntervalSet::new();
    let [sealed, failed, done, running, held] = layers.map(|layer| {
        let counts = spread(&sets::minus(&layer, &counted), width);
        counted = sets::union([&counted, &layer]);
        counts
    });
    let mut holder: BTreeMap<u32, (u32, NodeId)> = BTreeMap::new();
    for (node, set) in holders {
        for (cell, n) in spread(set, width) {
            let most = holder.entry(cell).or_insert((n, *node));
            if n > most.0 {
                *most = (n, *node);
            }
        }
    }
    let of = |counts: &BTreeMap<u32, u32>, cell| counts.get(&cell).copied().unwrap_or(0);
    let cell = |cell: u32| Cell {
        chunks: cell * width..chunks.min(cell.saturating_add(1).saturating_mul(width)),
        sealed: of(&sealed, cell),
        failed: of(&failed, cell),
        done: of(&done, cell),
        running: of(&running, cell),
        held: of(&held, cell),
        holder: holder.get(&cell).map(|(_, node)| *node),
    };
    (0..count as u32).map(cell).collect()
}

/// How many elements of `set` are in each cell of this width that has any.
fn spread(set: &IntervalSet, width: u32) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for span in set.spans() {
        let mut at = span.start;
        while at < span.end {
            let cell = at / width;
            let end = span.end.min((cell + 1) * width);
            *counts.entry(cell).or_insert(0) += end - at;
            at = end;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKS: u32 = 60;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn sets() -> impl Strategy<Value = IntervalSet> {
        proptest::collection::vec(0..CHUNKS, 0..40).prop_map(|elements| elements.into_iter().collect())
    }

    proptest! {
        #[test]
        fn each_chunk_is_counted_once_for_the_first_that_holds(
            layers in [sets(), sets(), sets(), sets(), sets()], most in 1_u32..80,
        ) {
            let cells = cells(CHUNKS, most, layers.clone(), &[]);
            prop_assert!(cells.len() as u32 <= most);
            let mut next = 0;
            for cell in cells {
                prop_assert_eq!(cell.chunks.start, next);
                next = cell.chunks.end;
                let mut slow = [0; 5];
                for chunk in cell.chunks.clone() {
                    if let Some(layer) = layers.iter().position(|layer| layer.contains(chunk)) {
                        slow[layer] += 1;
                    }
                }
                prop_assert_eq!([cell.sealed, cell.failed, cell.done, cell.running, cell.held], slow);
            }
            prop_assert_eq!(next, CHUNKS);
        }
    }

    #[test]
    fn a_cell_is_who_holds_most_of_it() {
        let holders = [(node(1), (0..4).into()), (node(2), (4..12).into()), (node(3), (12..14).into())];
        let none = || IntervalSet::new();
        let cells = cells(20, 4, [none(), none(), none(), none(), none()], &holders);
        let holders: Vec<_> = cells.iter().map(|cell| cell.holder).collect();
        assert_eq!(holders, [Some(node(1)), Some(node(2)), Some(node(2)), None]);
    }
}
