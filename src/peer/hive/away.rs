//! Authors that come and go: where they are, and what they leave to their peers.

use std::sync::Arc;
use std::time::Duration;

use coordinator_free::io::Input;
use essaim_jobs::{BlobRef, JobId, NodeId, encode};
use libp2p::Multiaddr;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{Hive, Inner};
use crate::peer::handover::{self, Answer, Handed, Handover};
use crate::peer::job::JobState;
use crate::peer::source::Source;
use crate::peer::wire::{Announcement, Direct};

/// Answers of peers to an author that hands over which may wait.
const ANSWERS: usize = 1_024;

/// The wish that is none, with which an author takes leave; and how long it waits for that to be heard.
const FAREWELL: u32 = u32::MAX;
const HEARD_WITHIN: Duration = Duration::from_secs(5);

impl Hive {
    /// A job that is known is announced once more: its author may be elsewhere by now.
    pub(super) fn on_place(&mut self, announcement: Announcement) {
        let (me, place) = (self.me, &announcement.place.body);
        let Some(state) = self.jobs.get_mut(&place.job) else { return };
        if place.node == me {
            return;
        }
        state.announced = Instant::now();
        if !place.is_after(&state.place) || announcement.check().is_err() {
            return;
        }
        let job = place.job;
        if let Some(author) = &mut state.author {
            if place.term > author.term {
                author.trouble.get_or_insert_with(|| "the job was attached on another machine".into());
                self.give(job, Input::Leave);
                let sender = self.inner_sender.clone();
                tokio::spawn(async move {
                    let outcome = Err("the job was attached on another machine".into());
                    let _ = sender.send(Inner::HandedOver { job, outcome }).await;
                });
            }
            return;
        }
        let moved = (state.place.node != place.node).then_some(place.node);
        let addresses: Vec<Multiaddr> = place.addresses.iter().filter_map(|text| text.as_str().parse().ok()).collect();
        state.place = place.clone();
        state.announcement = Some(announcement);
        if let Some(node) = moved {
            info!(job = %job.short(), author = %node.short(), "the author is elsewhere now");
            state.author_heard = Instant::now();
            let net = self.net.clone();
            tokio::spawn(async move { net.add_address(node, addresses).await });
            self.give(job, Input::Author(node));
        }
    }

    pub(super) fn gone(&mut self, peer: NodeId) {
        self.give_all(|| Input::Down(peer));
        for job in self.own() {
            self.on_answer(job, (peer, None));
        }
    }

    /// Leaves a job of our own: gives its peers what they need to go on, if there are any.
    pub(super) async fn hand_over(&mut self, job: JobId) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        let Some(author) = state.author.as_mut().filter(|author| author.handing.is_none()) else { return };
        let members = state.member.view().members;
        let works = |node: &NodeId| *node != self.me && self.connected.contains(node);
        let peers: Vec<NodeId> = members.iter().filter(|m| m.alive).map(|m| m.node).filter(works).collect();
        if peers.is_empty() {
            return self.end(job, None, None).await;
        }
        let (answer, answers) = mpsc::channel(ANSWERS);
        author.handing = Some(answer);
        let handover = Handover {
            job,
            manifest: Arc::clone(&state.manifest),
            inputs: Arc::clone(&author.inputs),
            outputs: Arc::clone(&author.outputs),
            blobs: Arc::clone(&self.blobs),
            net: self.net.clone(),
            peers,
            answers,
        };
        let sender = self.inner_sender.clone();
        tokio::spawn(async move {
            let outcome = handover.run().await;
            let _ = sender.send(Inner::HandedOver { job, outcome }).await;
        });
        // What it holds itself others are to take.
        self.give(job, Input::Leave);
    }

    pub(super) fn on_answer(&mut self, job: JobId, answer: Answer) {
        let author = self.jobs.get(&job).and_then(|state| state.author.as_ref());
        if let Some(handing) = author.and_then(|author| author.handing.as_ref()) {
            // One answer to each wish, and one wish at a time for each peer: there is room.
            let _ = handing.try_send(answer);
        }
    }

    pub(super) async fn on_handed_over(&mut self, job: JobId, outcome: Result<Handed, String>) {
        let Some(author) = self.jobs.get_mut(&job).and_then(|state| state.author.as_mut()) else { return };
        match outcome {
            Ok(handed) => author.handed = Some(handed),
            Err(why) => drop(author.trouble.get_or_insert(why)),
        }
        if author.handed.is_none() {
            return self.end(job, None, None).await;
        }
        let (answer, mut answers) = mpsc::channel(ANSWERS);
        author.handing = Some(answer);
        let Some(announcement) = self.announcement(job) else { return };
        // The last word, which says where the rest is; and a wish for nothing, whose answer says that it was heard.
        let last = Direct::Announce(Box::new(announcement));
        let mut waiting = self.connected.clone();
        for node in &waiting {
            self.say(*node, &last);
            self.say(*node, &Direct::Keep { job, number: FAREWELL, blobs: Vec::new() });
        }
        let sender = self.inner_sender.clone();
        tokio::spawn(async move {
            let heard = async {
                while !waiting.is_empty() {
                    let Some((node, _)) = answers.recv().await else { break };
                    waiting.remove(&node);
                }
            };
            let _ = tokio::time::timeout(HEARD_WITHIN, heard).await;
            let _ = sender.send(Inner::Parted { job }).await;
        });
    }

    /// The author asks for blobs to be kept.
    pub(super) fn on_keep(&mut self, from: NodeId, job: JobId, number: u32, blobs: Vec<BlobRef>) {
        let may = |state: &&mut JobState| state.place.node == from && state.author.is_none() && !state.keeping;
        let all = || (0..blobs.len() as u16).collect();
        if blobs.is_empty() {
            return self.say(from, &Direct::Kept { job, number, without: Vec::new() });
        }
        let Some(state) = self.jobs.get_mut(&job).filter(may) else {
            return self.say(from, &Direct::Kept { job, number, without: all() });
        };
        state.keeping = true;
        let holders = state.holders.subscribe();
        let source = Source { blobs: Arc::clone(&self.blobs), net: self.net.clone(), holders, shared: true };
        let sender = self.inner_sender.clone();
        tokio::spawn(async move {
            let (kept, without) = handover::keep(source, blobs).await;
            let _ = sender.send(Inner::Keeping { job, author: from, number, kept, without }).await;
        });
    }

    pub(super) fn say(&self, to: NodeId, what: &Direct) {
        if let Err(error) = self.net.post(to, encode(what).into()) {
            debug!(to = %to.short(), %error, "message not sent");
        }
    }
}
