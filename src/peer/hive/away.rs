//! Authors that come and go: where they are, and what they leave to their peers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use coordinator_free::io::Input;
use coordinator_free::message::{Close, Message, Reason};
use essaim_jobs::{BlobRef, JobId, NodeId, Signed, encode};
use libp2p::Multiaddr;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{Hive, Inner};
use crate::net::Topic;
use crate::peer::handover::{self, Answer, Handed, Handover};
use crate::peer::job::{AuthorSide, JobState};
use crate::peer::source::Source;
use crate::peer::wire::{Announcement, Direct};

/// Answers of peers to an author that hands over which may wait.
const ANSWERS: usize = 1_024;

/// Peers that have heard of the end of a job and are counted.
const HEARD: usize = 4_096;

/// The wish that is none, with which an author takes leave; and how long it waits for that to be heard.
const FAREWELL: u32 = u32::MAX;
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// A job that its author ends from a node that does not have it.
pub(super) struct Revoked {
    word: Signed<Close>,
    /// Who has answered that it has done with it: at most [`HEARD`].
    heard: HashSet<NodeId>,
    told: watch::Sender<usize>,
}

impl Hive {
    /// The author ends a job that this node need not have.
    pub(super) async fn revoke(&mut self, word: Signed<Close>, told: watch::Sender<usize>) {
        let job = word.body.job;
        self.publish(Topic::Job(job), encode(&Message::Close(word.clone()))).await;
        if let Some(author) = self.jobs.get(&job).map(|state| state.place.node) {
            self.on_close(job, author, &word);
            self.give(job, Input::Message { from: author, message: Message::Close(word.clone()) });
        } else {
            self.remember_end(job, Some(word.clone()));
        }
        self.revoked = Some(Revoked { word, heard: HashSet::new(), told });
        for peer in self.connected.clone() {
            self.tell_revoked(peer);
        }
    }

    /// Tells a peer that the job has ended, and asks it about that: who has done with a job answers any question with the
    /// author's word, and who has never worked on it does not answer.
    pub(super) fn tell_revoked(&self, peer: NodeId) {
        let Some(Revoked { word, .. }) = &self.revoked else { return };
        for message in [Message::Close(word.clone()), Message::Look] {
            self.say(peer, &Direct::Member { job: word.body.job, message: Box::new(message) });
        }
    }

    /// Hears that a job has ended.
    pub(super) fn on_close(&mut self, job: JobId, from: NodeId, word: &Signed<Close>) {
        if let Some(revoked) = self.revoked.as_mut().filter(|revoked| revoked.word == *word)
            && revoked.heard.len() < HEARD
            && revoked.heard.insert(from)
        {
            revoked.told.send_replace(revoked.heard.len());
        }
        // The core follows nobody's word where the author is: but the same person may have said it elsewhere.
        let own = self.jobs.get(&job).and_then(|state| state.author.as_ref());
        let theirs = |author: &AuthorSide| author.manifest.signer == word.signer && word.verify().is_ok();
        if word.body.job == job && word.body.reason == Reason::Cancelled && own.is_some_and(theirs) {
            info!(job = %job.short(), "its author has cancelled it elsewhere");
            self.give(job, Input::Cancel);
        }
    }

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
