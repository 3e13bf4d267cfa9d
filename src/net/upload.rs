//! How fast this node sends blobs, all of them together: small ones, pieces of large ones, to whomever.

use std::sync::{Arc, Mutex, PoisonError};

use coordinator_free::pieces::Pacer;
use tokio::time::{Instant, sleep};

/// The limit that all senders of blobs share. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pacer: Arc<Mutex<Pacer>>,
    start: Instant,
}

impl Upload {
    /// At most so many bytes a second; unlimited where there is none.
    pub(super) fn new(rate: Option<u64>) -> Upload {
        Upload { pacer: Arc::new(Mutex::new(Pacer::new(rate))), start: Instant::now() }
    }

    /// Waits until so many bytes may be sent. Who asks first sends first.
    pub(super) async fn leave(&self, bytes: usize) {
        let wait = {
            let mut pacer = self.pacer.lock().unwrap_or_else(PoisonError::into_inner);
            pacer.take(self.start.elapsed(), bytes as u64)
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
