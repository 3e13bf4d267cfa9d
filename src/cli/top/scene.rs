//! What there is to be shown: the nodes of this user, the jobs that they take part in, each once, and how fast these
//! are. Made of what the nodes tell, and of what they told before.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::peer::{JobSnapshot, Snapshot};

/// Looks that are remembered of a job: a minute's.
const LOOKS: usize = 120;
/// Rates are means over so long.
const RATE_OVER: Duration = Duration::from_secs(5);

/// One node's answer.
#[derive(Debug)]
pub enum Look {
    Node(Box<Node>),
    /// The node in this home does not answer, or not sensibly.
    Deaf(PathBuf),
}

/// A node of this user.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub home: PathBuf,
    /// Its jobs excepted.
    #[serde(flatten)]
    pub seen: Snapshot,
}

/// A job, by whoever of the nodes knows most of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Job {
    #[serde(flatten)]
    pub seen: JobSnapshot,
    /// Chunks sealed a second, of late.
    pub rate: f64,
    /// Bytes of its members' messages a second at that node, both ways.
    pub bytes_rate: f64,
    /// Seconds until its end, if it goes on so.
    pub eta_seconds: Option<u64>,
    /// Chunks sealed a second between each two looks, the latest last.
    #[serde(skip)]
    pub rates: Vec<f64>,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scene {
    pub nodes: Vec<Node>,
    /// Jobs of this user first.
    pub jobs: Vec<Job>,
    /// Homes of nodes that do not answer.
    pub deaf: Vec<PathBuf>,
}

/// How far a job was.
#[derive(Clone, Debug)]
struct Point {
    at: Duration,
    sealed: u32,
    bytes: u64,
    /// Whose they are, where that is known.
    by: BTreeMap<String, u32>,
}

impl Point {
    fn new(at: Duration, seen: &JobSnapshot) -> Point {
        let by = seen.members.iter().filter_map(|member| Some((member.peer.clone(), member.sealed?)));
        let bytes = seen.traffic.bytes_in + seen.traffic.bytes_out;
        Point { at, sealed: seen.sealed, bytes, by: by.collect() }
    }
}

/// What was seen before, by job.
#[derive(Debug, Default)]
pub struct History {
    points: BTreeMap<String, VecDeque<Point>>,
}

impl History {
    /// What is to be shown after this look, taken at `at` since the beginning.
    pub fn take(&mut self, at: Duration, looks: Vec<Look>) -> Scene {
        let mut scene = Scene::default();
        let mut jobs: BTreeMap<String, JobSnapshot> = BTreeMap::new();
        let mut fresh = Vec::new();
        for look in looks {
            let mut node = match look {
                Look::Node(node) => *node,
                Look::Deaf(home) => {
                    scene.deaf.push(home);
                    continue;
                }
            };
            for job in std::mem::take(&mut node.seen.jobs) {
                // Of itself a node knows more than others have heard.
                let me = job.members.iter().find(|member| member.peer == node.seen.peer);
                fresh.extend(me.map(|me| (job.job.clone(), me.clone())));
                let knows = |job: &JobSnapshot| (job.own, job.sealed);
                if jobs.get(&job.job).is_none_or(|other| knows(&job) > knows(other)) {
                    jobs.insert(job.job.clone(), job);
                }
            }
            scene.nodes.push(node);
        }
        for (job, me) in fresh {
            let members = jobs.get_mut(&job).into_iter().flat_map(|job| &mut job.members);
            for member in members.filter(|member| member.peer == me.peer) {
                (member.cores, member.running) = (me.cores, me.running);
            }
        }
        self.points.retain(|job, _| jobs.contains_key(job));
        scene.jobs = jobs.into_values().map(|job| self.add(at, job)).collect();
        scene.jobs.sort_by_key(|job| !job.seen.own);
        scene
    }

    /// A job with its rates, now that it is seen once more.
    fn add(&mut self, at: Duration, mut seen: JobSnapshot) -> Job {
        let points = self.points.entry(seen.job.clone()).or_default();
        if points.len() == LOOKS {
            points.pop_front();
        }
        points.push_back(Point::new(at, &seen));
        let Some(before) = points.iter().find(|point| at.saturating_sub(point.at) <= RATE_OVER) else {
            return Job { seen, ..Job::default() };
        };
        let a_second = |n: u64| per_second(n, before.at, at);
        let since = |now: u32, then: u32| u64::from(now.saturating_sub(then));
        for member in &mut seen.members {
            if let Some((now, then)) = member.sealed.zip(before.by.get(&member.peer)) {
                // Better than its own word.
                member.rate = a_second(since(now, *then));
            }
        }
        let rate = a_second(since(seen.sealed, before.sealed));
        let bytes_rate = a_second(points.back().map_or(0, |now| now.bytes.saturating_sub(before.bytes)));
        let left = f64::from(seen.chunks.saturating_sub(seen.sealed));
        let eta_seconds = (rate > 0.0).then(|| (left / rate).ceil() as u64);
        let rates = points.iter().zip(points.iter().skip(1));
        let rates = rates.map(|(a, b)| per_second(since(b.sealed, a.sealed), a.at, b.at)).collect();
        Job { seen, rate, bytes_rate, eta_seconds, rates }
    }
}

/// `n` between these two, a second.
fn per_second(n: u64, from: Duration, to: Duration) -> f64 {
    let seconds = to.saturating_sub(from).as_secs_f64();
    if seconds > 0.0 { n as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::MemberSnapshot;

    fn look(node: &str, own: bool, sealed: u32) -> Look {
        let job = JobSnapshot { job: "j".into(), own, sealed, chunks: 100, ..JobSnapshot::default() };
        let seen = Snapshot { peer: node.into(), jobs: vec![job], ..Snapshot::default() };
        Look::Node(Box::new(Node { home: node.into(), seen }))
    }

    #[test]
    fn a_job_is_shown_once_by_who_knows_most_of_it() {
        let looks = vec![look("a", false, 9), look("b", true, 7), look("c", false, 8), Look::Deaf("d".into())];
        let scene = History::default().take(Duration::ZERO, looks);
        assert_eq!(scene.jobs.len(), 1);
        assert!(scene.jobs[0].seen.own);
        assert_eq!((scene.jobs[0].seen.sealed, scene.nodes.len(), scene.deaf.len()), (7, 3, 1));
    }

    #[test]
    fn of_itself_a_node_is_believed_and_of_its_speed_the_author() {
        let member =
            |running, sealed| MemberSnapshot { peer: "a".into(), running, sealed, ..MemberSnapshot::default() };
        let with = |look: Look, member| match look {
            Look::Node(mut node) => {
                node.seen.jobs[0].members = vec![member];
                Look::Node(node)
            }
            deaf => deaf,
        };
        let mut history = History::default();
        let mut at = |seconds, sealed| {
            let looks =
                vec![with(look("a", false, 0), member(3, None)), with(look("b", true, 0), member(1, Some(sealed)))];
            history.take(Duration::from_secs(seconds), looks).jobs[0].seen.members[0].clone()
        };
        at(0, 10);
        let seen = at(4, 30);
        assert_eq!((seen.running, seen.sealed, seen.rate), (3, Some(30), 5.0));
    }

    #[test]
    fn rates_are_of_the_last_seconds_and_so_is_the_end_foreseen() {
        let mut history = History::default();
        let mut at = |seconds, sealed| {
            let scene = history.take(Duration::from_secs(seconds), vec![look("a", true, sealed)]);
            scene.jobs[0].clone()
        };
        let first = at(0, 40);
        assert_eq!((first.rate, first.eta_seconds), (0.0, None));
        assert_eq!((at(2, 60).rate, at(4, 60).rate), (10.0, 5.0));
        // The first two looks are too long ago.
        let last = at(8, 68);
        assert_eq!((last.rate, last.eta_seconds), (2.0, Some(16)));
        assert_eq!(last.rates, [10.0, 0.0, 2.0]);
    }
}
