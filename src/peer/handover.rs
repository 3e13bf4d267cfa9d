//! How an author leaves a job that goes on: what it takes, and what has come out of it, is given to peers to keep.
//!
//! Every blob goes to the first [`COPIES`] of the job's peers in its own order of them ([`rank`]), so that whoever looks
//! for it knows whom to ask first; where one does not take it, to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use essaim_jobs::{BlobRef, ChunkInput, IntervalSet, JobId, Manifest, NodeId, Page, bounds, decode, encode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::source::{Source, rank};
use super::wire::{BUNDLED, Bundle, Collected, Direct, KEPT};
use crate::blob::Blob;
use crate::net;
use crate::store::{Blobs, Inputs, Output, Outputs, Partial, Sealed};

/// Peers that are given each blob, where there are as many. When three of ten vanish together, one blob in 120 would be
/// lost with three copies, with four none is.
const COPIES: usize = 4;
/// Times that others are looked for, where one does not take what it was given.
const ROUNDS: usize = 4;
/// How long a peer may take for one list of blobs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a bundle, or a list of them, at most.
const MOST: usize = bounds::BLOB_BYTES as usize;
/// Bytes of a bundle of outputs, about, if it holds more than one.
const BUNDLE_BYTES: usize = 4 << 20;

/// What an author hands over.
pub struct Handover {
    pub job: JobId,
    pub manifest: Arc<Manifest>,
    pub inputs: Arc<Inputs>,
    pub outputs: Arc<Outputs>,
    pub blobs: Arc<Blobs>,
    pub net: net::Handle,
    /// The peers that work on it.
    pub peers: Vec<NodeId>,
    /// What they answer.
    pub answers: mpsc::Receiver<Answer>,
}

/// A peer's answer: who, to which wish, what it does not keep; none: it is gone.
pub type Answer = (NodeId, Option<(u32, Vec<u16>)>);

/// What has been handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handed {
    /// Blobs, and their bytes, once each.
    pub blobs: u64,
    pub bytes: u64,
    /// Those that fewer than two peers have taken.
    pub lonely: u64,
    /// The list of what was sealed.
    pub collected: Option<BlobRef>,
}

impl Handover {
    /// Hands everything over; returns when it is kept, or nobody is left who would.
    ///
    /// # Errors
    /// The inputs or the outputs cannot be read, in words.
    pub async fn run(mut self) -> Result<Handed, String> {
        // What had failed is tried again where the author comes back without its disk.
        let sealed = self.outputs.sealed().difference(&self.outputs.given_up());
        let (manifest, inputs, left) = (Arc::clone(&self.manifest), Arc::clone(&self.inputs), sealed.clone());
        let listed = tokio::task::spawn_blocking(move || needed(&manifest, &inputs, &left));
        let mut blobs = listed.await.map_err(|e| e.to_string())?.map_err(|e| format!("cannot read the inputs: {e}"))?;
        let (outputs, store) = (Arc::clone(&self.outputs), Arc::clone(&self.blobs));
        let bundled = tokio::task::spawn_blocking(move || bundle(&outputs, &sealed, &store));
        let bundled = bundled.await.map_err(|e| e.to_string())?.map_err(|e| format!("cannot read the outputs: {e}"))?;
        let collected = bundled.last().copied();
        blobs.extend(bundled);
        let mut handed = Handed { blobs: blobs.len() as u64, collected, ..Handed::default() };
        handed.bytes = blobs.iter().map(|blob| blob.len).sum();
        let kept = self.give(&blobs).await;
        handed.lonely = kept.iter().filter(|keepers| **keepers < 2).count() as u64;
        Ok(handed)
    }

    /// Gives each blob to as many as are to have it; how many have.
    async fn give(&mut self, blobs: &[BlobRef]) -> Vec<usize> {
        let mut kept = vec![0; blobs.len()];
        let mut asked = vec![0; blobs.len()];
        let mut gone = BTreeSet::new();
        let mut number = 0;
        for _ in 0..ROUNDS {
            let mut lists: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
            for (at, blob) in blobs.iter().enumerate() {
                let mut order = self.peers.clone();
                order.sort_by_cached_key(|node| rank(&blob.id, node));
                let next = order.iter().skip(asked[at]).take(COPIES.saturating_sub(kept[at]));
                for node in next {
                    asked[at] += 1;
                    if !gone.contains(node) {
                        lists.entry(*node).or_default().push(at);
                    }
                }
            }
            if lists.is_empty() {
                break;
            }
            // One list at a time for each, so that none has more to do than it can remember.
            let mut waiting: BTreeMap<NodeId, (u32, Vec<usize>)> = BTreeMap::new();
            loop {
                for (node, list) in &mut lists {
                    if !waiting.contains_key(node) && !list.is_empty() {
                        let some: Vec<usize> = list.drain(..list.len().min(KEPT)).collect();
                        number += 1;
                        let names = some.iter().map(|at| blobs[*at]).collect();
                        let wish = Direct::Keep { job: self.job, number, blobs: names };
                        // Who cannot be reached is told of as gone.
                        if self.net.send(*node, encode(&wish).into()).await.is_ok() {
                            waiting.insert(*node, (number, some));
                        } else {
                            gone.insert(*node);
                        }
                    }
                }
                if waiting.is_empty() {
                    break;
                }
                match timeout(PATIENCE, self.answers.recv()).await {
                    Ok(Some((node, Some((number, without))))) => {
                        if let Some((_, list)) = waiting.remove(&node).filter(|(asked, _)| *asked == number) {
                            let taken = (0_u16..).zip(list).filter(|(place, _)| !without.contains(place));
                            taken.for_each(|(_, at)| kept[at] += 1);
                        }
                    }
                    Ok(Some((node, None))) => {
                        waiting.remove(&node);
                        lists.remove(&node);
                        gone.insert(node);
                    }
                    // Nothing for so long: whoever has not answered is as good as gone.
                    Ok(None) | Err(_) => {
                        gone.extend(waiting.keys());
                        break;
                    }
                }
            }
        }
        kept
    }
}

/// The blobs that are needed to go on: the table, the program, the data, and the inputs of what is not sealed. Blocks.
fn needed(manifest: &Manifest, inputs: &Inputs, sealed: &IntervalSet) -> std::io::Result<Vec<BlobRef>> {
    let mut blobs = vec![manifest.program];
    blobs.extend(manifest.data.iter().map(|mount| mount.blob));
    let mut chunk = 0;
    for name in &manifest.pages {
        let Some(blob) = inputs.find(&name.id) else { continue };
        let page = blob.read(0, name.len as usize)?;
        let page: Page = decode(&page, Page::MAX_BYTES).map_err(std::io::Error::other)?;
        blobs.push(*name);
        for input in page.0 {
            if let ChunkInput::Blob(input) = input
                && !sealed.contains(chunk)
            {
                blobs.push(input);
            }
            chunk += 1;
        }
    }
    Ok(blobs)
}

/// Puts what is sealed into bundles of this node's store, and the list of them last; none where nothing is sealed. Blocks.
fn bundle(outputs: &Outputs, sealed: &IntervalSet, store: &Blobs) -> std::io::Result<Vec<BlobRef>> {
    let mut bundles = Vec::new();
    let (mut bundle, mut size) = (Bundle::default(), 0);
    let mut end = |bundle: &mut Bundle| -> std::io::Result<()> {
        bundles.push(store.put(&encode(&std::mem::take(bundle)).into())?);
        Ok(())
    };
    for chunk in sealed.iter() {
        let Some(Sealed { bytes: output, worker, .. }) = outputs.get(chunk) else { continue };
        if !bundle.0.is_empty() && (size + output.len() as usize > BUNDLE_BYTES || bundle.0.len() == BUNDLED) {
            end(&mut bundle)?;
            size = 0;
        }
        size += output.len() as usize;
        bundle.0.push((chunk, worker, output.read(0, output.len() as usize)?));
    }
    if !bundle.0.is_empty() {
        end(&mut bundle)?;
    }
    if !bundles.is_empty() {
        let list = store.put(&encode(&Collected(bundles.clone())).into())?;
        bundles.push(list);
    }
    Ok(bundles)
}

/// The keeper's side: fetches `blobs` into the store; which of them it has, and the places of the others.
pub async fn keep(source: Source, blobs: Vec<BlobRef>) -> (Vec<BlobRef>, Vec<u16>) {
    let (mut kept, mut without) = (Vec::new(), Vec::new());
    for (place, name) in (0_u16..).zip(blobs) {
        let store = Arc::clone(&source.blobs);
        let put = |(blob, held): (Blob, Option<Arc<Partial>>)| async move {
            let put = move || match &blob {
                Blob::Memory(bytes) => store.put(bytes),
                Blob::File { .. } => store.put_copy(&blob),
            };
            let kept = tokio::task::spawn_blocking(put).await.is_ok_and(|put| put.is_ok());
            drop(held);
            kept
        };
        let is_kept = match source.find(name).await {
            Ok(found) => put(found).await,
            Err(_) => false,
        };
        if is_kept {
            kept.push(name);
        } else {
            without.push(place);
        }
    }
    (kept, without)
}

/// The new place's side: fetches what was sealed at the former one, and makes it safe here.
///
/// # Errors
/// What could not be had, or kept, in words.
pub async fn collect(source: &Source, list: BlobRef, outputs: Outputs) -> Result<(), String> {
    let list = source.fetch_now(list).await?;
    let Collected(bundles) = decode(&list, MOST).map_err(|e| e.to_string())?;
    let outputs = Arc::new(outputs);
    for name in bundles {
        let bundle = source.fetch_now(name).await?;
        let Bundle(bundle) = decode(&bundle, MOST).map_err(|e| e.to_string())?;
        let of = |(chunk, worker, bytes)| {
            let bytes = Blob::Memory(bytes);
            Output { slot: chunk, chunk, worker, bytes, failed: false, cpu_micros: 0, again: false, turn: None }
        };
        let bundle: Vec<Output> = bundle.into_iter().map(of).collect();
        let outputs = Arc::clone(&outputs);
        let taken = tokio::task::spawn_blocking(move || outputs.take(&bundle)).await;
        taken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    }
    Ok(())
}
