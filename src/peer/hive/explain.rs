//! Says why: to the authors of the jobs here, why this node does not work on them; to our own person, what stands in the
//! way of a job of ours.

use essaim_jobs::manifest::VERSION;
use essaim_jobs::{JobId, ManifestError, NodeId};
use tokio::time::Instant;

use super::Hive;
use crate::net::PeerInfo;
use crate::peer::apart::{self, Apart};
use crate::peer::cause::{Cause, Finding, bounded};
use crate::peer::governor::{Lent, Why};
use crate::peer::source::Lack;
use crate::peer::why::Scene;

/// Chunks that are looked at for want of voices, and of one member's.
const LOOKED_AT: usize = 1_024;

impl Hive {
    /// Tells the authors of the jobs here, where it has changed, why this node does not work on them.
    pub(super) fn tell_apart(&mut self) {
        let apart = self.apart();
        let others = self.jobs.values().filter(|state| state.author.is_none() && !state.place.left);
        for (job, author) in others.map(|state| (state.place.job, state.place.node)).collect::<Vec<_>>() {
            self.stand_apart(author, Some(job), apart.as_ref());
        }
    }

    /// Tells one author why this node does not work on its job, unless it was told already.
    pub(super) fn stand_apart(&mut self, author: NodeId, job: Option<JobId>, apart: Option<&Apart>) {
        if self.told.is_news(author, job, apart, Instant::now()) {
            self.say(author, &apart::message(job, apart));
        }
    }

    /// Why this node works on no job at all now.
    fn apart(&self) -> Option<Apart> {
        let Lent { cores, why } = *self.lent.borrow();
        if let (0, Some(why)) = (cores, why) {
            let (cause, words) = match why {
                Why::Paused => (Cause::Paused, "paused by its owner; hint: `essaim resume` there goes on"),
                Why::OnBattery => (Cause::OnBattery, "on battery; hint: plug it in, or join with --on-battery there"),
                Why::OutsideHours => (Cause::OutsideHours, "outside its hours; hint: see --hours there"),
                Why::Others => (Cause::OthersUseIt, "others use the machine; hint: wait, or join with --when always"),
            };
            return Some(Apart::new(cause, words));
        }
        self.disk.borrow().as_ref().map(|words| Apart::new(Cause::DiskFull, words))
    }

    /// Why this node could not get what a job takes.
    pub(super) fn apart_for_want(lack: &Lack) -> Apart {
        match lack {
            Lack::Missing(why) => Apart::new(Cause::DataMissing, why),
            Lack::Disk(_) => Apart::new(Cause::DiskFull, &lack.to_string()),
        }
    }

    /// An author's announcement is of a form that this node does not read.
    pub(super) fn refuse_version(&mut self, author: NodeId, job: Option<JobId>, version: u16) {
        if self.cpus > 0 {
            let words = format!(
                "{}; hint: run the same version of essaim (this is {}, which reads version {VERSION})",
                ManifestError::Version(version),
                env!("CARGO_PKG_VERSION")
            );
            self.stand_apart(author, job, Some(&Apart::new(Cause::OtherVersion, &words)));
        }
    }

    /// A peer says why it does not work on a job of ours or, where it cannot say on which, on any.
    pub(super) fn on_apart(&mut self, from: NodeId, job: Option<JobId>, reason: &str, words: &str) {
        let apart = (!reason.is_empty()).then(|| Apart { cause: Cause::of_peer(reason), words: bounded(words) });
        let concerned = self.jobs.iter_mut().filter(|(id, _)| job.is_none_or(|job| job == **id));
        for author in concerned.filter_map(|(_, state)| state.author.as_mut()) {
            author.heard.apart(from, apart.clone(), Instant::now());
        }
    }

    /// What stands in the way of a job of ours, or of one of its chunks; none: there is no such job or chunk.
    pub(super) fn explain(&self, job: JobId, chunk: Option<u32>, connected: &[PeerInfo]) -> Option<Vec<Finding>> {
        let state = self.jobs.get(&job)?;
        let author = state.author.as_ref()?;
        let view = state.member.view();
        let sealed = author.outputs.sealed();
        let scene = Scene {
            me: self.me,
            lends: self.cpus > 0,
            ready: state.ready,
            copies: state.manifest.copies,
            members: &view.members,
            half_heard: &state.member.half_heard(LOOKED_AT),
            open: &|node| state.member.open_of(node, LOOKED_AT),
            sealed: &|chunk| sealed.contains(chunk),
            connected,
            heard: &author.heard,
            now: Instant::now(),
        };
        match chunk {
            None => Some(scene.of_job()),
            Some(chunk) => Some(scene.of_chunk(chunk, &state.member.chunk(chunk).ok()?)),
        }
    }
}
