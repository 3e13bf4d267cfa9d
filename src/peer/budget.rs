//! How much of something may be taken at once, in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be taken at once, first come, first served: small ones do not pass a large one that waits, nor does a
/// large one wait longer than for those that came before it. What wants more than there is goes alone. What was taken
/// comes back when the [`Permit`] is dropped, and whoever stops waiting has taken nothing.
#[derive(Clone, Debug)]
pub struct Budget {
    kib: Arc<Semaphore>,
    most_kib: u32,
}

/// What was taken of a [`Budget`].
pub type Permit = OwnedSemaphorePermit;

impl Budget {
    /// One of so many bytes, counted in KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Budget {
        let most_kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Budget { kib: Arc::new(Semaphore::new(most_kib as usize)), most_kib }
    }

    /// Takes `bytes`, once there are as many. The answer is `None` never, as nobody closes a budget.
    pub async fn take(&self, bytes: u64) -> Option<Permit> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).clamp(1, self.most_kib);
        Arc::clone(&self.kib).acquire_many_owned(kib).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn look<T>(future: &mut Pin<&mut impl Future<Output = Option<T>>>) -> Option<T> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit.expect("nobody closes it")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn no_more_is_taken_than_there_is() {
        let budget = Budget::new(10 * MIB);
        let (mut one, mut other) = (pin!(budget.take(6 * MIB)), pin!(budget.take(4 * MIB + 1)));
        let first = look(&mut one).unwrap();
        assert!(look(&mut other).is_none(), "a byte too much");
        drop(first);
        assert!(look(&mut other).is_some());
    }

    #[test]
    fn what_wants_more_than_there_is_goes_alone() {
        let budget = Budget::new(MIB);
        let (mut small, mut huge, mut next) = (pin!(budget.take(1)), pin!(budget.take(u64::MAX)), pin!(budget.take(0)));
        let first = look(&mut small).unwrap();
        assert!(look(&mut huge).is_none());
        drop(first);
        let alone = look(&mut huge).unwrap();
        assert!(look(&mut next).is_none());
        drop(alone);
        assert!(look(&mut next).is_some());
    }

    #[test]
    fn small_ones_do_not_pass_a_large_one_that_waits() {
        let budget = Budget::new(10 * MIB);
        let mut under_way = vec![look(&mut pin!(budget.take(MIB))).unwrap()];
        let mut large = pin!(budget.take(10 * MIB));
        assert!(look(&mut large).is_none());
        let mut small = pin!(budget.take(MIB));
        assert!(look(&mut small).is_none(), "there is room for it, but the large one was first");
        under_way.clear();
        assert!(look(&mut small).is_none());
        let permit = look(&mut large).unwrap();
        drop(permit);
        assert!(look(&mut small).is_some());
    }

    #[test]
    fn who_stops_waiting_stands_in_nobodys_way() {
        let budget = Budget::new(10 * MIB);
        let first = look(&mut pin!(budget.take(4 * MIB))).unwrap();
        {
            let mut given_up = pin!(budget.take(10 * MIB));
            assert!(look(&mut given_up).is_none());
        }
        let second = look(&mut pin!(budget.take(6 * MIB)));
        assert!(second.is_some());
        drop((first, second));
        assert!(look(&mut pin!(budget.take(10 * MIB))).is_some(), "all of it came back");
    }
}
