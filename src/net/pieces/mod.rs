//! Blobs that are moved in pieces: a task for each blob (`exchange`) drives the core's exchange of pieces, over a
//! stream for each peer that has some of it or wants some (`session`).

mod exchange;
mod session;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coordinator_free::pieces::Layout;
use essaim_jobs::{BlobRef, NodeId};
use futures::channel::oneshot;
use libp2p::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, spawn_blocking};

use super::blobs::FetchError;
use super::client::Client;
use super::upload::Upload;
use super::{ServePieces, limits};
use crate::blob::Pieces;
use exchange::{Happening, Parts, Task};

/// The blobs about which there are sessions, or were lately. Cheap to clone.
#[derive(Clone)]
pub(super) struct Exchanges(Arc<Shared>);

type Running = HashMap<BlobRef, (mpsc::Sender<Happening>, AbortHandle)>;

/// Who can tell an exchange that lingers anything: the list of those that run, twice itself. Each session has more, and
/// so has each download.
const LINGERING: usize = 3;

struct Shared {
    node: NodeId,
    client: Client,
    upload: Upload,
    serve: ServePieces,
    /// At most [`limits::EXCHANGES`].
    running: Mutex<Running>,
    downloads: AtomicU64,
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges").field("running", &self.0.lock().len()).finish_non_exhaustive()
    }
}

impl Exchanges {
    pub(super) fn new(node: NodeId, client: Client, upload: Upload, serve: ServePieces) -> Exchanges {
        Exchanges(Arc::new(Shared {
            node,
            client,
            upload,
            serve,
            running: Mutex::default(),
            downloads: AtomicU64::new(0),
        }))
    }

    pub(super) async fn download(
        &self,
        name: BlobRef,
        into: Arc<dyn Pieces>,
        mut sources: mpsc::Receiver<NodeId>,
    ) -> Result<(), FetchError> {
        let (done, result) = oneshot::channel();
        let number = self.0.downloads.fetch_add(1, Ordering::Relaxed);
        let happenings = self.exchange(name, || Some(Arc::clone(&into)))?.ok_or(FetchError::Busy)?;
        happenings.send(Happening::Wanted(number, into, done)).await.map_err(|_| FetchError::Busy)?;
        let naming = async {
            while let Some(source) = sources.recv().await {
                if happenings.send(Happening::Source(source)).await.is_err() {
                    break;
                }
            }
            let _ = happenings.send(Happening::NoMoreSources(number)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = result => result.unwrap_or(Err(FetchError::Busy)),
            () = naming => Err(FetchError::Busy),
        }
    }

    /// Ends all sessions, and fails all downloads.
    pub(super) fn close(&self) {
        self.0.lock().drain().for_each(|(_, (_, task))| task.abort());
    }

    /// Takes up a session that a peer proposes, if there is anything to talk about.
    pub(super) async fn answer(&self, peer: NodeId, mut stream: Stream, share: OwnedSemaphorePermit) -> io::Result<()> {
        let name = session::proposed(&mut stream).await?;
        let running = self.0.lock().get(&name).map(|(happenings, _)| happenings.clone());
        let happenings = match running {
            Some(happenings) => happenings,
            None => {
                let serve = self.0.serve.clone();
                // The store may have to ask the disk.
                let found = spawn_blocking(move || serve(name)).await.map_err(io::Error::other)?;
                let found = found.filter(|pieces| pieces.name() == name);
                let Some(happenings) = self.exchange(name, || found).map_err(io::Error::other)? else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                happenings
            }
        };
        let told = happenings.send(Happening::Inbound(peer, stream, share)).await;
        told.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// The exchange of a blob: the one that runs, or a new one, if there is something to run it with.
    fn exchange(
        &self,
        name: BlobRef,
        pieces: impl FnOnce() -> Option<Arc<dyn Pieces>>,
    ) -> Result<Option<mpsc::Sender<Happening>>, FetchError> {
        let layout = Layout::of(name.len).ok_or(FetchError::TooLarge(name.len))?;
        let mut running = self.0.lock();
        if let Some((happenings, _)) = running.get(&name).filter(|(happenings, _)| !happenings.is_closed()) {
            return Ok(Some(happenings.clone()));
        }
        let Some(pieces) = pieces() else { return Ok(None) };
        if running.len() >= limits::EXCHANGES && !make_room(&mut running) {
            return Err(FetchError::Busy);
        }
        let (happenings, queue) = mpsc::channel(limits::HAPPENINGS);
        let task = Task::new(Parts {
            node: self.0.node,
            name,
            layout,
            pieces,
            client: self.0.client.clone(),
            upload: self.0.upload.clone(),
            happenings: happenings.clone(),
            queue,
        });
        let shared = Arc::clone(&self.0);
        let ours = happenings.clone();
        let running_task = tokio::spawn(async move {
            task.run().await;
            let mut running = shared.lock();
            if running.get(&name).is_some_and(|(happenings, _)| happenings.same_channel(&ours)) {
                running.remove(&name);
            }
        });
        running.insert(name, (happenings.clone(), running_task.abort_handle()));
        Ok(Some(happenings))
    }
}

/// Ends what only lingers: nobody is talked to about it, and nobody waits for it; whether there was anything.
fn make_room(running: &mut Running) -> bool {
    let before = running.len();
    running.retain(|_, (happenings, task)| {
        let idle = happenings.strong_count() == LINGERING && happenings.capacity() == happenings.max_capacity();
        if idle {
            task.abort();
        }
        !idle
    });
    running.len() < before
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
