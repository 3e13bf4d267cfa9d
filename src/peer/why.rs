//! Why a job of ours does not get on: what its author's node has heard, and what follows from that and from what its
//! member of the core knows. The first finding is the nearest cause.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use coordinator_free::io::{ChunkView, Holder, MemberView};
use coordinator_free::message::Reason;
use essaim_jobs::manifest::VERSION;
use essaim_jobs::{FailureNote, ManifestError, NodeId};
use tokio::time::Instant;

use super::apart::Apart;
use super::cause::{Cause, Finding};
use crate::net::PeerInfo;

/// Peers of which it is kept why they do not take part; the one that said so first goes first.
const PEERS: usize = 64;
/// Failures that are kept, the latest.
const FAILURES: usize = 64;
/// What has not come to its end for so long is worth a word.
const LONG: Duration = Duration::from_secs(5);
/// Findings that are told at once.
const FINDINGS: usize = 12;

/// A chunk that failed somewhere.
#[derive(Debug)]
struct Failed {
    chunk: u32,
    peer: NodeId,
    note: FailureNote,
    at: Instant,
}

/// What an author has heard of what stands in the way of its job.
#[derive(Debug, Default)]
pub struct Heard {
    apart: BTreeMap<NodeId, (Apart, Instant)>,
    failures: VecDeque<Failed>,
    /// When a chunk that each has run was last sealed: at most as many as have run one.
    ended: BTreeMap<NodeId, Instant>,
    disagreement: Option<(u32, Vec<NodeId>)>,
    /// Why this node's own disk took no more.
    pub disk: Option<String>,
}

impl Heard {
    /// A peer says why it does not take part or, without a reason, that it does.
    pub fn apart(&mut self, peer: NodeId, apart: Option<Apart>, now: Instant) {
        let Some(apart) = apart else { return drop(self.apart.remove(&peer)) };
        if let Some((before, _)) = self.apart.get(&peer)
            && *before == apart
        {
            return;
        }
        self.apart.insert(peer, (apart, now));
        let first = self.apart.iter().min_by_key(|(_, (_, at))| *at).map(|(peer, _)| *peer);
        if let Some(first) = first.filter(|_| self.apart.len() > PEERS) {
            self.apart.remove(&first);
        }
    }

    /// A chunk that a peer has run is sealed.
    pub fn sealed(&mut self, peer: NodeId, at: Instant) {
        self.ended.insert(peer, at);
    }

    /// A chunk has failed.
    pub fn failed(&mut self, chunk: u32, peer: NodeId, note: FailureNote, at: Instant) {
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(Failed { chunk, peer, note, at });
    }

    /// No two agree on a chunk.
    pub fn disagreement(&mut self, chunk: u32, peers: Vec<NodeId>) {
        self.disagreement = Some((chunk, peers));
    }

    /// Why a job has ended so, or was left.
    pub fn of_end(&self, reason: Option<Reason>, me: NodeId, now: Instant) -> Vec<Finding> {
        let found = match (reason, &self.disk) {
            (None, Some(words)) => Finding { words: Some(words.clone()), ..Finding::of(Cause::DiskFull) },
            (None, None) => Finding::of(Cause::Detached),
            (Some(Reason::Done), _) => return self.of_done(me, now),
            (Some(Reason::Cancelled), _) => Finding::of(Cause::Cancelled),
            (Some(Reason::Failed), _) => match (&self.disagreement, self.failures.back()) {
                (Some((chunk, peers)), _) => Finding {
                    chunk: Some(*chunk),
                    peers: peers.iter().map(ToString::to_string).collect(),
                    ..Finding::of(Cause::Disagreement)
                },
                (None, Some(last)) => Finding { seconds: None, ..self.of_failed(last, me, now) },
                (None, None) => Finding::of(Cause::ChunkFails),
            },
        };
        vec![found]
    }

    /// It is done: what failed on the way has come out elsewhere.
    fn of_done(&self, me: NodeId, now: Instant) -> Vec<Finding> {
        let passed =
            self.latest().into_iter().map(|failed| Finding { passed: true, ..self.of_failed(failed, me, now) });
        std::iter::once(Finding::of(Cause::Done)).chain(passed).take(FINDINGS).collect()
    }

    /// The last failure of each chunk, the latest first.
    fn latest(&self) -> Vec<&Failed> {
        let mut latest: Vec<&Failed> = Vec::new();
        for failed in self.failures.iter().rev() {
            if latest.iter().all(|other| other.chunk != failed.chunk) {
                latest.push(failed);
            }
        }
        latest
    }

    /// The last failure of a chunk, at all where it failed.
    fn of_failed(&self, last: &Failed, me: NodeId, now: Instant) -> Finding {
        let mut found = Finding::of_failure(&last.note).at(last.peer, me);
        for other in self.failures.iter().rev().filter(|failed| failed.chunk == last.chunk) {
            let name = other.peer.to_string();
            if !found.peers.contains(&name) {
                found.peers.push(name);
            }
        }
        Finding { chunk: Some(last.chunk), seconds: Some(now.saturating_duration_since(last.at).as_secs()), ..found }
    }
}

/// What there is to see of a job at one moment.
pub struct Scene<'a> {
    /// This node, the author's.
    pub me: NodeId,
    /// Whether it runs chunks itself, and whether the program is compiled here.
    pub lends: bool,
    pub ready: bool,
    /// How many must agree on a chunk.
    pub copies: u8,
    pub members: &'a [MemberView],
    /// Chunks on which too few have spoken, and who has.
    pub half_heard: &'a [(u32, Vec<NodeId>)],
    /// The chunks that a member has to run.
    pub open: &'a dyn Fn(NodeId) -> Vec<u32>,
    pub sealed: &'a dyn Fn(u32) -> bool,
    pub connected: &'a [PeerInfo],
    pub heard: &'a Heard,
    pub now: Instant,
}

impl Scene<'_> {
    /// Why the job is not done.
    pub fn of_job(&self) -> Vec<Finding> {
        let mut found = self.failures(false);
        found.extend(self.unchecked());
        found.extend(self.late());
        let stuck = self.able().next().is_none();
        if stuck {
            found.extend(self.nobody());
        } else if found.is_empty() {
            found.push(Finding { number: Some(self.able().count() as u64), ..Finding::of(Cause::GoesOn) });
        }
        if !stuck {
            found.extend(self.apart());
        }
        found.extend(self.failures(true));
        found.truncate(FINDINGS);
        found
    }

    /// Why one chunk is not done.
    pub fn of_chunk(&self, chunk: u32, view: &ChunkView) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.failures(view.sealed);
        found.retain(|found| found.chunk == Some(chunk));
        if view.sealed {
            found.insert(0, Finding { chunk: Some(chunk), ..Finding::of(Cause::Done) });
            return found;
        }
        let stuck = self.able().next().is_none();
        found.extend(self.unchecked().filter(|_| self.half_heard.iter().any(|(half, _)| *half == chunk)));
        let others = view.holders.iter().filter(|holder| !stuck || holder.node != self.me);
        found.extend(others.filter(|holder| !holder.done || self.copies < 2).map(|holder| self.held(chunk, *holder)));
        if found.iter().any(|found| found.cause != Cause::Queued) {
            // Who has it, too, is no reason beside a better one.
            found.retain(|found| found.cause != Cause::Queued);
        } else if stuck {
            found = self.nobody();
        }
        if found.is_empty() {
            found.push(Finding { number: Some(0), ..Finding::of(Cause::Queued) });
        }
        found.iter_mut().for_each(|found| found.chunk = Some(chunk));
        found.truncate(FINDINGS);
        found
    }

    /// Those that can run something now.
    fn able(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.alive && member.load.threads > 0)
    }

    /// For how long a member has ended nothing: what was sealed at once its records do not show.
    fn behind(&self, member: &MemberView) -> Duration {
        let ended = self.heard.ended.get(&member.node).map(|at| self.now.saturating_duration_since(*at));
        ended.map_or(member.behind, |ended| ended.min(member.behind))
    }

    /// What becomes of a chunk at one who has it.
    fn held(&self, chunk: u32, holder: Holder) -> Finding {
        let peer = holder.node;
        if let Some((apart, at)) = self.heard.apart.get(&peer) {
            return self.of_apart(peer, apart, *at);
        }
        let member = self.members.iter().find(|member| member.node == peer);
        let behind = member.map_or(Duration::ZERO, |member| self.behind(member));
        let cause = match holder {
            Holder { done: true, .. } => Cause::Collecting,
            Holder { running: true, .. } if behind >= LONG => Cause::LongRunning,
            Holder { running: true, .. } => Cause::Running,
            _ => Cause::Queued,
        };
        let number = member.map(|member| member.held.saturating_sub(member.done));
        let seconds = (cause == Cause::LongRunning).then_some(behind.as_secs());
        Finding { chunk: Some(chunk), number, seconds, ..Finding::of(cause).at(peer, self.me) }
    }

    /// The chunks that failed, each once: those that came out elsewhere since, or the others.
    fn failures(&self, passed: bool) -> Vec<Finding> {
        let mut failed = self.heard.latest();
        failed.retain(|failed| (self.sealed)(failed.chunk) == passed);
        failed.iter().map(|failed| Finding { passed, ..self.heard.of_failed(failed, self.me, self.now) }).collect()
    }

    /// Chunks that everybody who is able has spoken on, which are too few.
    fn unchecked(&self) -> Option<Finding> {
        let waits = |(_, voices): &&(u32, Vec<NodeId>)| self.able().all(|member| voices.contains(&member.node));
        let mut waiting = self.half_heard.iter().filter(waits);
        let (chunk, voices) = waiting.next()?;
        let words = format!("{} of them waiting", waiting.count() + 1);
        Some(Finding {
            chunk: Some(*chunk),
            peers: voices.iter().map(ToString::to_string).collect(),
            here: voices.first() == Some(&self.me),
            number: Some(self.copies.into()),
            words: Some(words),
            ..Finding::of(Cause::WaitsForVerifier)
        })
    }

    /// Members that have not got on for long.
    fn late(&self) -> impl Iterator<Item = Finding> {
        let late =
            self.able().filter(|member| self.behind(member) >= LONG && !self.heard.apart.contains_key(&member.node));
        late.map(|member| {
            let open = (self.open)(member.node);
            let running = member.load.running as usize;
            let cause = if running > 0 { Cause::LongRunning } else { Cause::Preparing };
            Finding {
                // Which of many it runs is not known.
                chunk: open.first().copied().filter(|_| open.len() <= running),
                number: Some(member.held.saturating_sub(member.done)),
                seconds: Some(self.behind(member).as_secs()),
                ..Finding::of(cause).at(member.node, self.me)
            }
        })
    }

    /// Why nobody at all runs anything.
    fn nobody(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.apart().collect();
        let is_apart = |node: &NodeId| self.heard.apart.contains_key(node);
        let coming = self.members.iter().filter(|member| member.alive && member.node != self.me);
        found.extend(coming.filter(|member| !is_apart(&member.node)).map(|member| {
            let seconds = Some(member.behind.as_secs()).filter(|seconds| *seconds > 0);
            Finding { seconds, ..Finding::of(Cause::Preparing).at(member.node, self.me) }
        }));
        if self.lends && !self.ready && !is_apart(&self.me) {
            found.push(Finding::of(Cause::Preparing).at(self.me, self.me));
        }
        if found.is_empty() {
            found.push(Finding { number: Some(self.connected.len() as u64), ..Finding::of(Cause::NoPeers) });
        }
        found
    }

    /// Those that do not take part, by their own word or by what they are.
    fn apart(&self) -> impl Iterator<Item = Finding> {
        let said = self.heard.apart.iter().map(|(peer, (apart, at))| self.of_apart(*peer, apart, *at));
        let silent = self.connected.iter().filter(|peer| !self.heard.apart.contains_key(&peer.node));
        let other = silent.filter_map(|peer| {
            let version = reads(&peer.agent).filter(|version| *version != VERSION)?;
            let words = format!("it is {}: {}", peer.agent, ManifestError::Version(version));
            let number = Some(version.into());
            Some(Finding { words: Some(words), number, ..Finding::of(Cause::OtherVersion).at(peer.node, self.me) })
        });
        said.chain(other)
    }

    fn of_apart(&self, peer: NodeId, apart: &Apart, at: Instant) -> Finding {
        let (words, hint) = match apart.words.rsplit_once("hint: ") {
            Some((words, hint)) => (words.trim_end().trim_end_matches(';'), Some(hint.to_owned())),
            None => (apart.words.as_str(), None),
        };
        let seconds = Some(self.now.saturating_duration_since(at).as_secs());
        Finding { words: Some(words.to_owned()), hint, seconds, ..Finding::of(apart.cause).at(peer, self.me) }
    }
}

/// The version of manifests that a peer reads, by what it says that it is.
fn reads(agent: &str) -> Option<u16> {
    agent.split(' ').find_map(|word| word.strip_prefix("manifest/"))?.parse().ok()
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
