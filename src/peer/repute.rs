//! What this home remembers of the nodes that run its jobs: which were right and which were wrong where several ran the
//! same. Who was banned from a job is banned from the next ones, too, for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coordinator_free::message::DISTRUSTED;
use essaim_jobs::NodeId;

use super::since_1970;
use crate::store::{Home, Repute, StoreError};

/// How long a node is not trusted that was banned from a job.
const DISTRUSTED_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What a home has seen of a node.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Which.
    pub node: NodeId,
    /// What.
    pub repute: Repute,
    /// For how long still it is not trusted; none: it is.
    pub distrusted_for: Option<Duration>,
}

/// What a home has seen of other nodes; those that are not trusted first, the latest first.
///
/// # Errors
/// Its database cannot be read.
pub fn known(home: &Home) -> Result<Vec<Known>, StoreError> {
    Ok(judge(home.store().peers()?, since_1970()))
}

/// Forgets what a home has seen of a node; whether there was anything.
///
/// # Errors
/// Its database cannot be written.
pub fn forgive(home: &Home, node: NodeId) -> Result<bool, StoreError> {
    home.store().forgive(node)
}

fn judge(peers: Vec<(NodeId, Repute)>, now: Duration) -> Vec<Known> {
    let left = |repute: &Repute| {
        let until = Duration::from_millis(repute.banned_ms?).saturating_add(DISTRUSTED_FOR);
        until.checked_sub(now).filter(|left| !left.is_zero()).map(|left| left.min(DISTRUSTED_FOR))
    };
    let known = peers.into_iter().map(|(node, repute)| Known { node, repute, distrusted_for: left(&repute) });
    let mut known: Vec<Known> = known.collect();
    known.sort_by_key(|known| std::cmp::Reverse((known.distrusted_for, known.repute.seen_ms)));
    known
}

/// Those that are not to be trusted with a new job: the latest, where they are many.
pub(super) fn distrusted(home: &Home) -> Result<Vec<NodeId>, StoreError> {
    let known = known(home)?;
    Ok(known.iter().filter(|known| known.distrusted_for.is_some()).take(DISTRUSTED).map(|known| known.node).collect())
}

/// What one job has shown of its nodes, and what of it was written down.
#[derive(Debug, Default)]
pub struct Shown {
    written: BTreeMap<NodeId, (u32, u32)>,
    banned: BTreeSet<NodeId>,
}

impl Shown {
    /// A node was banned.
    pub fn banned(&mut self, node: NodeId) {
        self.banned.insert(node);
    }

    /// What is not written down yet of what the author's member tells; it counts as written from now on.
    pub fn news(&mut self, votes: impl Iterator<Item = (NodeId, u32, u32)>) -> Vec<(NodeId, Repute)> {
        let now = since_1970().as_millis() as u64;
        let mut news = Vec::new();
        for (node, agreed, outvoted) in votes {
            let before = self.written.insert(node, (agreed, outvoted)).unwrap_or_default();
            let banned = self.banned.remove(&node);
            if before != (agreed, outvoted) || banned {
                let (agreed, outvoted) = (agreed.saturating_sub(before.0), outvoted.saturating_sub(before.1));
                let banned_ms = banned.then_some(now);
                let repute = Repute { agreed: agreed.into(), outvoted: outvoted.into(), banned_ms, seen_ms: now };
                news.push((node, repute));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600 * 1_000;

    fn peer(n: u8, banned_ms: Option<u64>) -> (NodeId, Repute) {
        (NodeId([n; 32]), Repute { banned_ms, seen_ms: 100 * DAY, ..Repute::default() })
    }

    #[test]
    fn who_was_banned_is_not_trusted_for_thirty_days() {
        let now = Duration::from_millis(100 * DAY);
        let peers = vec![
            peer(1, None),
            peer(2, Some(70 * DAY)),
            peer(3, Some(70 * DAY + 1)),
            peer(4, Some(99 * DAY)),
            // By a clock that was wrong.
            peer(5, Some(u64::MAX)),
        ];
        let judged = judge(peers, now);
        let left: Vec<_> = judged.iter().map(|known| (known.node.0[0], known.distrusted_for)).collect();
        let ms = Duration::from_millis;
        assert_eq!(left[..3], [(5, Some(ms(30 * DAY))), (4, Some(ms(29 * DAY))), (3, Some(ms(1)))]);
        assert!(left[3..].iter().all(|(_, left)| left.is_none()));
    }

    #[test]
    fn what_a_job_shows_is_written_down_once() {
        let mut shown = Shown::default();
        let (one, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let counts = |news: &[(NodeId, Repute)]| -> Vec<_> {
            news.iter().map(|(node, new)| (node.0[0], new.agreed, new.outvoted, new.banned_ms.is_some())).collect()
        };
        assert_eq!(counts(&shown.news([(one, 3, 0), (other, 1, 2)].into_iter())), [(1, 3, 0, false), (2, 1, 2, false)]);
        assert_eq!(counts(&shown.news([(one, 3, 0), (other, 1, 2)].into_iter())), []);
        shown.banned(other);
        assert_eq!(counts(&shown.news([(one, 5, 0), (other, 1, 3)].into_iter())), [(1, 2, 0, false), (2, 0, 1, true)]);
        assert_eq!(counts(&shown.news([(one, 5, 0), (other, 1, 3)].into_iter())), []);
    }
}
