//! Programs that no job needs any more, and that the sandbox keeps a while: the next job may be of the same one, and
//! would have to wait for its process to start.

use std::collections::VecDeque;
use std::time::Duration;

use essaim_worker::ProgramId;
use tokio::time::Instant;

/// How long one is kept.
const KEPT: Duration = Duration::from_secs(10);
/// How many are, at most.
const MOST: usize = 4;

/// Those that are kept, oldest first.
#[derive(Default)]
pub(super) struct Warm(VecDeque<(ProgramId, Instant)>);

impl Warm {
    /// No job needs `program` any more; the answer is which one is to be forgotten for it.
    #[must_use]
    pub(super) fn leave(&mut self, program: ProgramId, now: Instant) -> Option<ProgramId> {
        self.take(program);
        self.0.push_back((program, now));
        if self.0.len() > MOST { self.0.pop_front().map(|(oldest, _)| oldest) } else { None }
    }

    /// A job needs `program` again.
    pub(super) fn take(&mut self, program: ProgramId) {
        self.0.retain(|(other, _)| *other != program);
    }

    /// One that has been kept for long enough; it is kept no more.
    #[must_use]
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ProgramId> {
        let (_, since) = self.0.front()?;
        if now.duration_since(*since) < KEPT {
            return None;
        }
        self.0.pop_front().map(|(oldest, _)| oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(number: u8) -> ProgramId {
        ProgramId::plain([number; 32])
    }

    #[test]
    fn a_program_is_kept_a_while_unless_a_job_needs_it_or_others_are_newer() {
        let mut warm = Warm::default();
        let began = Instant::now();
        for number in 1..=4 {
            assert_eq!(warm.leave(program(number), began + Duration::from_secs(number.into())), None);
        }
        warm.take(program(2));
        assert_eq!(warm.leave(program(1), began + Duration::from_secs(5)), None, "kept anew, and once");
        assert_eq!(warm.leave(program(5), began + Duration::from_secs(6)), None);
        assert_eq!(warm.leave(program(6), began + Duration::from_secs(7)), Some(program(3)));
        assert_eq!(warm.pop_due(began + Duration::from_millis(13_999)), None);
        assert_eq!(warm.pop_due(began + Duration::from_secs(14)), Some(program(4)));
        assert_eq!(warm.pop_due(began + Duration::from_secs(14)), None);
        let left: Vec<_> = std::iter::from_fn(|| warm.pop_due(began + Duration::from_secs(60))).collect();
        assert_eq!(left, [1, 5, 6].map(program));
    }
}
