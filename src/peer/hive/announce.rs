//! Tells others of open jobs: of our own, and of those whose author is away.

use std::collections::BTreeSet;

use bytes::Bytes;
use essaim_jobs::bounds::Text;
use essaim_jobs::{JobId, Signed, encode};
use tokio::time::Instant;
use tracing::warn;

use super::Hive;
use crate::net::{self, Topic};
use crate::peer::job::{AWAY, JobState};
use crate::peer::wire::{ADDRESSES, Announcement, Direct, Place};

/// Peers that are told so, at most.
const TOLD_AT_ONCE: usize = 64;

impl Hive {
    pub(super) fn announcement(&mut self, job: JobId) -> Option<Announcement> {
        let addresses = self.net.addresses();
        let author = self.jobs.get_mut(&job)?.author.as_mut()?;
        author.seq += 1;
        let addresses = addresses.iter().filter_map(|address| Text::try_from(address.to_string()).ok());
        let place = Place {
            job,
            node: self.me,
            addresses: addresses.take(ADDRESSES).collect(),
            term: author.term,
            seq: author.seq,
            left: author.handed.is_some(),
            collected: author.handed.and_then(|handed| handed.collected),
        };
        Some(Announcement { manifest: author.manifest.clone(), place: Signed::sign(place, &author.key) })
    }

    pub(super) fn own(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, state)| state.author.is_some()).map(|(job, _)| *job).collect()
    }

    pub(super) async fn announce_all(&mut self) {
        for job in self.own() {
            if let Some(announcement) = self.announcement(job) {
                self.publish(Topic::Jobs, encode(&announcement)).await;
            }
        }
        self.stand_in().await;
        self.provide().await;
        self.tell_apart();
    }

    /// Says on the DHT which large blobs of open jobs are all here, for those who are connected to nobody who has them.
    async fn provide(&mut self) {
        let mut here = BTreeSet::new();
        for blob in self.jobs.values().flat_map(JobState::large) {
            if here.len() == net::BLOBS_PROVIDED {
                break;
            }
            here.insert(blob);
        }
        if here != self.provided {
            self.net.provide(here.iter().copied()).await;
            self.provided = here;
        }
    }

    /// Announces the jobs of authors that are away, where nobody else has of late; whoever connects is told of them.
    pub(super) async fn stand_in(&mut self) {
        let me = self.me;
        let away = |state: &&mut JobState| state.announcement.is_some() && state.is_left();
        let mut passed_on = Vec::new();
        let mut due = Vec::new();
        for state in self.jobs.values_mut().filter(away) {
            let job = state.place.job;
            passed_on.push(job);
            // Not all at once: who comes first by chance speaks for all.
            let chance = f64::from(u16::from_le_bytes([me.0[0], job.0[0]])) / f64::from(u16::MAX);
            if state.announced.elapsed() >= AWAY.mul_f64(1.0 + chance) {
                state.announced = Instant::now();
                due.extend(state.announcement.as_ref().map(encode));
            }
        }
        for announcement in due {
            self.publish(Topic::Jobs, announcement).await;
        }
        if passed_on != self.passed_on {
            self.passed_on = passed_on;
            self.greet().await;
        }
    }

    /// Those who were connected before a job was open are told of it at once, as gossip takes a moment to find them.
    pub(super) fn tell_connected(&mut self, job: JobId) {
        let Some(announcement) = self.announcement(job) else { return };
        let words = Direct::Announce(Box::new(announcement));
        self.connected.iter().take(TOLD_AT_ONCE).for_each(|node| self.say(*node, &words));
    }

    /// Whoever connects is told of our open jobs at once.
    pub(super) async fn greet(&mut self) {
        let own = self.own();
        let own: Vec<Announcement> = own.into_iter().filter_map(|job| self.announcement(job)).collect();
        let others = self.passed_on.iter().filter_map(|job| self.jobs.get(job)?.announcement.clone());
        let all = own.into_iter().chain(others).take(net::GREETINGS);
        let mut room = net::GREETING_BYTES;
        let greetings = all
            .map(|announcement| encode(&Direct::Announce(Box::new(announcement))).into())
            .take_while(|greeting: &Bytes| room.checked_sub(greeting.len()).map(|left| room = left).is_some())
            .collect();
        if let Err(error) = self.net.set_greetings(greetings).await {
            warn!(%error, "open jobs are not told to those who connect");
        }
    }

    /// Looks for workers on the DHT: asking them connects them, and whoever connects is greeted.
    pub(super) fn seek(&self) {
        if !self.own().is_empty() || self.wanted.is_some() {
            let net = self.net.clone();
            tokio::spawn(async move { net.find_spare().await });
        }
    }
}
