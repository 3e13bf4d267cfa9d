//! A node that does not work on a job says so to its author: here is what it has said already, so that it says each
//! thing once.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_jobs::{JobId, NodeId};
use tokio::time::Instant;

use super::cause::{Cause, bounded};
use super::wire::Direct;

/// Authors and jobs of which it is remembered what they were told.
const TOLD: usize = 256;
/// The same is said again after this long: it may not have been heard.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Why a node does not work on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// By name.
    pub cause: Cause,
    /// In words, for the author's person.
    pub words: String,
}

impl Apart {
    pub fn new(cause: Cause, words: &str) -> Apart {
        Apart { cause, words: bounded(words) }
    }
}

/// What the author of a job is told; without `apart`, that this node works on it.
pub fn message(job: Option<JobId>, apart: Option<&Apart>) -> Direct {
    let (name, words) = apart.map_or_else(Default::default, |apart| (apart.cause.name(), apart.words.clone()));
    let (reason, words) = (name.try_into().unwrap_or_default(), words.try_into().unwrap_or_default());
    Direct::Apart { job, reason, words }
}

/// What authors were told.
#[derive(Debug, Default)]
pub struct Told(VecDeque<(NodeId, Option<JobId>, Option<Apart>, Instant)>);

impl Told {
    /// Whether this author is to be told this now: it is new, or was said long ago. It counts as told from then on.
    pub fn is_news(&mut self, author: NodeId, job: Option<JobId>, apart: Option<&Apart>, now: Instant) -> bool {
        let known = self.0.iter().position(|(node, about, ..)| *node == author && *about == job);
        if let Some((.., before, at)) = known.and_then(|at| self.0.get(at)) {
            // That it takes part it shows by working, too.
            let is_old = before.is_none() || now.saturating_duration_since(*at) < AGAIN_AFTER;
            if before.as_ref() == apart && is_old {
                return false;
            }
        } else if apart.is_none() {
            return false;
        }
        known.map(|at| self.0.remove(at));
        if self.0.len() == TOLD {
            self.0.pop_front();
        }
        self.0.push_back((author, job, apart.cloned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_again_only_after_long() {
        let (mut told, now) = (Told::default(), Instant::now());
        let (author, job) = (NodeId([1; 32]), Some(JobId([2; 32])));
        let paused = Apart::new(Cause::Paused, "paused");
        let full = Apart::new(Cause::DiskFull, "full");
        let mut says =
            |apart: Option<&Apart>, seconds| told.is_news(author, job, apart, now + Duration::from_secs(seconds));
        assert!(!says(None, 0), "who has never stood apart has nothing to take back");
        assert!(says(Some(&paused), 0));
        assert!(!says(Some(&paused), 29));
        assert!(says(Some(&paused), 31));
        assert!(says(Some(&full), 32));
        assert!(says(None, 33));
        assert!(!says(None, 100));
        assert!(says(Some(&full), 101));
    }

    #[test]
    fn what_was_told_to_many_is_forgotten_from_the_front() {
        let (mut told, now) = (Told::default(), Instant::now());
        let busy = Apart::new(Cause::Busy, "busy");
        for n in 0..1_000_u32 {
            let mut author = NodeId([0; 32]);
            author.0[..4].copy_from_slice(&n.to_be_bytes());
            assert!(told.is_news(author, None, Some(&busy), now));
        }
        assert_eq!(told.0.len(), TOLD);
    }
}
