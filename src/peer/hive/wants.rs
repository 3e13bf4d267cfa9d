//! Does what the members want: sends, runs, fetches, keeps, and tells the author.

use std::sync::Arc;

use coordinator_free::io::{Input, Notice, Output};
use coordinator_free::message::Message;
use essaim_jobs::{JobId, Leaf, NodeId, bounds, encode};
use essaim_worker::Request;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Hive, Inner};
use crate::blob::Blob;
use crate::net::{self, Topic};
use crate::peer::feed::ticket;
use crate::peer::handover;
use crate::peer::source::{Lack, Source};
use crate::peer::wire::Direct;
use crate::store::Output as Collected;

impl Hive {
    pub(super) async fn pump(&mut self) {
        let mut over = Vec::new();
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            while let Some(output) = self.jobs.get_mut(&job).and_then(|state| state.member.poll()) {
                match output {
                    Output::Send { to, message } => self.send(job, to, message),
                    Output::Gossip(message) => {
                        let bytes = encode(&message);
                        if let Some(state) = self.jobs.get_mut(&job) {
                            state.traffic.messages_out += 1;
                            state.traffic.bytes_out += bytes.len() as u64;
                        }
                        self.publish(Topic::Job(job), bytes).await;
                    }
                    Output::Ended { reason, word } => {
                        over.push((job, reason, word));
                        break;
                    }
                    other => self.carry_out(job, other),
                }
            }
        }
        for (job, reason, word) in over {
            self.end(job, Some(reason), word).await;
        }
    }

    pub(super) fn send(&mut self, job: JobId, to: NodeId, message: Message) {
        let bytes = encode(&Direct::Member { job, message: Box::new(message) });
        if let Some(state) = self.jobs.get_mut(&job) {
            state.traffic.messages_out += 1;
            state.traffic.bytes_out += bytes.len() as u64;
        }
        if let Err(error) = self.net.post(to, bytes.into()) {
            debug!(to = %to.short(), %error, "message not sent");
        }
    }

    pub(super) async fn publish(&self, topic: Topic, bytes: Vec<u8>) {
        match self.net.publish(topic, bytes.into()).await {
            // Whoever comes later hears of it by other ways.
            Ok(()) | Err(net::PublishError::NobodyListens) => {}
            Err(error) => debug!(?topic, %error, "not published"),
        }
    }

    pub(super) fn carry_out(&mut self, job: JobId, output: Output) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        match output {
            Output::Run(slots) => {
                if !state.feed.push(slots) {
                    warn!(job = %job.short(), "more chunks under way than the window allows");
                }
            }
            Output::Stop(slots) => {
                state.feed.drop_slots(&slots);
                let tickets = slots.iter().map(|slot| ticket(state.number, *slot)).collect();
                self.pool.submit(Request::Stop { tickets });
            }
            Output::Keep { slot, worker, leaf } => self.copy(job, slot, worker, leaf),
            Output::Release(slots) => {
                let blobs = &self.blobs;
                state.kept.retain(|slot, id| {
                    let released = slots.contains(*slot);
                    if released {
                        blobs.forget(id);
                    }
                    !released
                });
            }
            Output::Collect { slot, chunk, worker, leaf } => self.collect(job, slot, chunk, worker, leaf),
            Output::Notice(Notice::Sealed { chunk, worker }) => {
                if let Some(author) = &mut state.author {
                    *author.by.entry(worker).or_default() += 1;
                    author.heard.sealed(worker, Instant::now());
                    author.seal(chunk);
                }
            }
            Output::Notice(notice) => {
                if let Some(author) = &mut state.author {
                    match &notice {
                        Notice::Banned { peer } => author.shown.banned(*peer),
                        Notice::Failed { chunk, worker, note, .. } => {
                            author.heard.failed(*chunk, *worker, note.clone(), Instant::now());
                        }
                        Notice::GivenUp { chunk, worker, note } => {
                            author.given_up += 1;
                            author.heard.failed(*chunk, *worker, note.clone(), Instant::now());
                            author.seal(*chunk);
                        }
                        Notice::Disagreement { chunk, workers } => author.heard.disagreement(*chunk, workers.clone()),
                        _ => {}
                    }
                    // Bounded: a person who does not listen misses the newest.
                    let _ = author.notices.try_send(notice);
                }
            }
            Output::Send { .. } | Output::Gossip(_) | Output::Ended { .. } => unreachable!("done by `pump`"),
        }
    }

    /// Keeps what another has run.
    pub(super) fn copy(&mut self, job: JobId, slot: u32, worker: NodeId, leaf: Leaf) {
        let Leaf::Blob(name) = leaf else { return self.give(job, Input::Kept { slot, leaf }) };
        let source = Source::only(&self.blobs, &self.net, worker);
        let (sender, turns) = (self.inner_sender.clone(), Arc::clone(&self.copying));
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            // What cannot be had, or has no room, stays where it is.
            let (kept, _) = handover::keep(source, vec![name]).await;
            if !kept.is_empty() {
                let _ = sender.send(Inner::Copied { job, slot, leaf: Leaf::Blob(name) }).await;
            }
        });
    }

    /// Has one output made safe.
    pub(super) fn collect(&mut self, job: JobId, slot: u32, chunk: u32, worker: NodeId, leaf: Leaf) {
        let Some(author) = self.jobs.get_mut(&job).and_then(|state| state.author.as_mut()) else { return };
        if author.handing.is_some() {
            // What is on its way to others is not to change any more: they keep this, too.
            return;
        }
        let (outputs, again) =
            (Arc::clone(&author.outputs), author.engines.as_ref().is_some_and(|engines| engines.are_alike(chunk)));
        let cpu_micros = author.costs.take(chunk);
        let of = move |bytes, failed, turn| Collected { slot, chunk, worker, bytes, failed, cpu_micros, again, turn };
        match leaf {
            Leaf::Inline(bytes) => outputs.put(of(Blob::Memory(bytes), false, None)),
            Leaf::Failed(note) => outputs.put(of(Blob::Memory(note.message.into()), true, None)),
            Leaf::Blob(name) if name.len > author.manifest.body.limits.output_bytes.min(bounds::BLOB_BYTES) => {
                self.give(job, Input::Collected { slot, worker, safe: false });
            }
            Leaf::Blob(name) => {
                let collecting = Arc::clone(&author.collecting);
                let source = Source::only(&self.blobs, &self.net, worker);
                let sender = self.inner_sender.clone();
                tokio::spawn(async move {
                    let turn = collecting.acquire_owned().await.ok();
                    let said = match source.find(name).await {
                        Ok((bytes, _)) => return outputs.put(of(bytes, false, turn)),
                        Err(Lack::Missing(why)) => Inner::Uncollected { job, slot, worker, why },
                        Err(Lack::Disk(error)) => Inner::Kept { job, kept: (Vec::new(), Err(outputs.refused(error))) },
                    };
                    let _ = sender.send(said).await;
                });
            }
        }
    }
}
