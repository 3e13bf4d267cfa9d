//! Brings each slot that is to be run its input, and hands both to the pool.
//!
//! One task a job. Inputs that are named by hash are fetched a few at a time ahead of the pool; those that stand
//! in the chunk table go straight through, in batches. Large inputs go to the pool as files; what the others take in
//! memory until they have been run, and what the files take on the disk, is bounded for all jobs together ([`Room`]).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use essaim_jobs::{BlobRef, ChunkInput, Manifest, Page, Rows, bounds, decode};
use essaim_worker::{Chunk, Input, Request, Stretch, Workers};
use futures::{StreamExt, stream};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

use super::budget::{Budget, Permit};
use super::source::{LARGE_BYTES, Lack, Source};
use crate::blob::Blob;

/// Inputs fetched at once for one job.
const FETCHES: usize = 8;
/// Chunks handed to the pool at once.
const BATCH: usize = 256;
/// Bytes of inputs that are in memory, being fetched, waiting or being run. The largest that go there have 1 MiB.
const MEMORY_BYTES: u64 = 64 << 20;
/// Inputs that are in files, being fetched, waiting or being run: each has up to two open.
const FILES: usize = 256;

/// What the inputs of all jobs may take before they have been run. A chunk that was handed to the pool has its end in any
/// case, so whoever waits for room comes to it, in order.
#[derive(Clone, Debug)]
pub struct Room {
    memory: Budget,
    files: Arc<Semaphore>,
    disk: Budget,
}

impl Room {
    /// Where the blobs of others may have so many bytes of the disk, of which half is for inputs that are not to be removed.
    #[must_use]
    pub fn new(disk_bytes: u64) -> Room {
        Room {
            memory: Budget::new(MEMORY_BYTES),
            files: Arc::new(Semaphore::new(FILES)),
            disk: Budget::new(disk_bytes / 2),
        }
    }
}

/// Bytes, and the room that they take.
struct Guarded(Bytes, #[allow(dead_code, reason = "to be dropped with the bytes")] Option<Permit>);

impl AsRef<[u8]> for Guarded {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The feeding end of one job.
#[derive(Debug)]
pub struct Feed {
    batches: mpsc::Sender<Vec<u32>>,
    dropped: Arc<Mutex<HashSet<u32>>>,
    task: tokio::task::JoinHandle<()>,
}

/// Everything that feeding a job takes.
pub struct Feeding {
    /// The job's number in the pool; a slot's ticket is this number and the slot.
    pub number: u32,
    /// The job.
    pub manifest: Arc<Manifest>,
    /// Where inputs come from.
    pub source: Source,
    /// What they may take meanwhile.
    pub room: Room,
    /// Where they go.
    pub pool: Arc<Workers>,
    /// Told of slots whose input cannot be had, and why.
    pub lost: mpsc::Sender<(u32, u32, Lack)>,
    /// Batches that may be under way; the core's window bounds them.
    pub window: usize,
}

/// The ticket under which the pool reports `slot` of job number `number`.
#[must_use]
pub fn ticket(number: u32, slot: u32) -> u64 {
    u64::from(number) << 32 | u64::from(slot)
}

/// The job's number and the slot of a ticket.
#[must_use]
pub fn of_ticket(ticket: u64) -> (u32, u32) {
    ((ticket >> 32) as u32, ticket as u32)
}

impl Feed {
    /// Starts feeding.
    #[must_use]
    pub fn start(feeding: Feeding) -> Feed {
        let (batches, incoming) = mpsc::channel(feeding.window);
        let dropped = Arc::new(Mutex::new(HashSet::new()));
        let task = tokio::spawn(run(feeding, incoming, Arc::clone(&dropped)));
        Feed { batches, dropped, task }
    }

    /// Feeds `slots`, in this order. Returns false when more are under way than the window allows.
    pub fn push(&self, slots: Vec<u32>) -> bool {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in &slots {
            dropped.remove(slot);
        }
        drop(dropped);
        self.batches.try_send(slots).is_ok()
    }

    /// Forgets `slots` that have not reached the pool yet.
    pub fn drop_slots(&self, slots: &[u32]) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).extend(slots);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(feeding: Feeding, incoming: mpsc::Receiver<Vec<u32>>, dropped: Arc<Mutex<HashSet<u32>>>) {
    let (rows, first) = (feeding.manifest.rows(), feeding.manifest.first_chunk);
    let table = Arc::new(Table {
        manifest: Arc::clone(&feeding.manifest),
        source: feeding.source.clone(),
        room: feeding.room.clone(),
        page: AsyncMutex::default(),
    });
    let is_dropped = |slot: u32| dropped.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    let slots = stream::unfold(incoming, |mut incoming| async { incoming.recv().await.map(|batch| (batch, incoming)) })
        .flat_map(stream::iter);
    let inputs = slots
        // Room is taken in the order in which it is given back: what is behind waits for what is before it.
        .then(|slot| {
            let table = Arc::clone(&table);
            async move { (slot, table.place(rows, slot).await) }
        })
        .map(|(slot, place)| {
            let table = Arc::clone(&table);
            async move {
                match place {
                    Ok(place) => (slot, table.input(place).await),
                    Err(lack) => (slot, Err(lack)),
                }
            }
        })
        .buffered(FETCHES)
        .ready_chunks(BATCH);
    let mut inputs = std::pin::pin!(inputs);
    while let Some(batch) = inputs.next().await {
        let mut chunks = Vec::with_capacity(batch.len());
        for (slot, input) in batch {
            match input {
                _ if is_dropped(slot) => {}
                Ok(input) => {
                    chunks.push(Chunk { ticket: ticket(feeding.number, slot), chunk: first + rows.chunk(slot), input });
                }
                Err(why) => {
                    if feeding.lost.send((feeding.number, slot, why)).await.is_err() {
                        return;
                    }
                }
            }
        }
        feeding.pool.submit(Request::Run { job: u64::from(feeding.number), role: feeding.manifest.role, chunks });
    }
}

/// The chunk table, of which one page is kept at a time: slots come in rising order, mostly.
struct Table {
    manifest: Arc<Manifest>,
    source: Source,
    room: Room,
    page: AsyncMutex<Option<(usize, Arc<Page>)>>,
}

/// Where an input is, and the room that was taken for it.
enum Place {
    Inline(Bytes),
    Memory(BlobRef, Option<Permit>),
    File(BlobRef, [Option<Permit>; 2]),
}

impl Table {
    /// Waits for room.
    async fn place(&self, rows: Rows, slot: u32) -> Result<Place, Lack> {
        let chunk = rows.chunk(slot) as usize;
        let page = self.page(chunk / bounds::PAGE_CHUNKS).await?;
        match page.0.get(chunk % bounds::PAGE_CHUNKS) {
            Some(ChunkInput::Inline(bytes)) => Ok(Place::Inline(bytes.clone())),
            Some(ChunkInput::Blob(name)) if name.len <= LARGE_BYTES => {
                Ok(Place::Memory(*name, self.room.memory.take(name.len).await))
            }
            Some(ChunkInput::Blob(name)) if name.len <= bounds::BLOB_BYTES => {
                let turn = Arc::clone(&self.room.files).acquire_owned().await.ok();
                // What is this author's own does not go to the cache.
                let own = self.source.blobs.find(&name.id).is_some();
                let disk = if own { None } else { self.room.disk.take(name.len).await };
                Ok(Place::File(*name, [turn, disk]))
            }
            _ => Err(Lack::Missing(format!("the job's table has no input for chunk {chunk}"))),
        }
    }

    async fn input(&self, place: Place) -> Result<Input, Lack> {
        match place {
            Place::Inline(bytes) => Ok(bytes.into()),
            Place::Memory(name, permit) => {
                Ok(Bytes::from_owner(Guarded(self.source.fetch(name).await?, permit)).into())
            }
            Place::File(name, permits) => match self.source.find(name).await? {
                (Blob::Memory(bytes), _) => Ok(bytes.into()),
                (Blob::File { file, offset, len }, held) => {
                    Ok(Input::File(Stretch::new(file, offset, len, Some(Arc::new((permits, held))))))
                }
            },
        }
    }

    async fn page(&self, number: usize) -> Result<Arc<Page>, Lack> {
        let mut kept = self.page.lock().await;
        if let Some((at, page)) = &*kept
            && *at == number
        {
            return Ok(Arc::clone(page));
        }
        let name = self.manifest.pages[number];
        let bytes = self.source.fetch(name).await?;
        let page: Page =
            decode(&bytes, Page::MAX_BYTES).map_err(|e| Lack::Missing(format!("the job's table is spoilt: {e}")))?;
        let page = Arc::new(page);
        *kept = Some((number, Arc::clone(&page)));
        Ok(page)
    }
}
