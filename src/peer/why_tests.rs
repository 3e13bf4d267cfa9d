use coordinator_free::message::Load;

use super::*;

const ME: NodeId = NodeId([0; 32]);

fn peer(n: u8) -> NodeId {
    NodeId([n; 32])
}

/// A member that lends so many threads, and has been behind for so many seconds with one chunk that it runs.
fn member(node: NodeId, threads: u16, behind: u64) -> MemberView {
    let running = u32::from(behind > 0);
    MemberView {
        node,
        load: Load { threads, running, ..Load::default() },
        held: running.into(),
        done: 0,
        alive: true,
        silent: Duration::ZERO,
        behind: Duration::from_secs(behind),
    }
}

fn connected(node: NodeId, agent: &str) -> PeerInfo {
    PeerInfo { node, addresses: Vec::new(), rtt: None, agent: agent.to_owned() }
}

/// A job of which chunk 0 is sealed, and chunk 7 the one that everybody runs.
struct Job {
    members: Vec<MemberView>,
    half_heard: Vec<(u32, Vec<NodeId>)>,
    connected: Vec<PeerInfo>,
    heard: Heard,
    lends: bool,
    copies: u8,
}

impl Job {
    fn new(members: Vec<MemberView>) -> Job {
        let members = std::iter::once(member(ME, 0, 0)).chain(members).collect();
        let (half_heard, connected, heard) = (Vec::new(), Vec::new(), Heard::default());
        Job { members, half_heard, connected, heard, lends: false, copies: 1 }
    }

    fn look<T>(&self, look: impl FnOnce(&Scene<'_>) -> T) -> T {
        look(&Scene {
            me: ME,
            lends: self.lends,
            ready: false,
            copies: self.copies,
            members: &self.members,
            half_heard: &self.half_heard,
            open: &|_| vec![7],
            sealed: &|chunk| chunk == 0,
            connected: &self.connected,
            heard: &self.heard,
            now: Instant::now(),
        })
    }

    fn found(&self) -> Vec<(Cause, Vec<String>)> {
        self.look(|scene| scene.of_job()).into_iter().map(|found| (found.cause, found.peers)).collect()
    }

    fn of_chunk(&self, holders: &[Holder]) -> Vec<Cause> {
        let view = ChunkView { sealed: false, holders: holders.to_vec(), voices: Vec::new() };
        self.look(|scene| scene.of_chunk(7, &view)).into_iter().map(|found| found.cause).collect()
    }
}

fn at(cause: Cause, node: NodeId) -> (Cause, Vec<String>) {
    (cause, vec![node.to_string()])
}

fn fails(words: &str) -> FailureNote {
    FailureNote { deterministic: true, message: words.to_owned() }
}

#[test]
fn nobody_is_the_cause_only_where_nobody_can_run_anything() {
    let mut job = Job::new(Vec::new());
    assert_eq!(job.found(), [(Cause::NoPeers, Vec::new())]);
    job.lends = true;
    assert_eq!(job.found(), [at(Cause::Preparing, ME)]);
    job.members[0].load.threads = 1;
    assert_eq!(job.found(), [(Cause::GoesOn, Vec::new())]);
    let job = Job::new(vec![member(peer(1), 0, 0)]);
    assert_eq!(job.found(), [at(Cause::Preparing, peer(1))]);
    let mut job = Job::new(vec![MemberView { alive: false, ..member(peer(1), 2, 0) }]);
    job.connected = vec![connected(peer(1), "essaim/0.1.0")];
    assert_eq!(job.found(), [(Cause::NoPeers, Vec::new())]);
}

#[test]
fn who_stands_apart_is_the_cause_where_nobody_else_is_there() {
    let mut job = Job::new(vec![member(peer(1), 0, 0), member(peer(2), 0, 0)]);
    let now = Instant::now();
    job.heard.apart(peer(1), Some(Apart::new(Cause::Paused, "paused; hint: wake it")), now);
    job.heard.apart(peer(2), Some(Apart::new(Cause::DiskFull, "full")), now);
    assert_eq!(job.found(), [at(Cause::Paused, peer(1)), at(Cause::DiskFull, peer(2))]);
    let first = job.look(|scene| scene.of_job()).swap_remove(0);
    assert_eq!((first.words.as_deref(), first.hint.as_deref()), (Some("paused"), Some("wake it")));
    assert_eq!(job.of_chunk(&[Holder { node: ME, done: false, running: false }]), [Cause::Paused, Cause::DiskFull]);

    job.heard.apart(peer(2), None, now);
    job.members[2].load.threads = 1;
    assert_eq!(job.found(), [(Cause::GoesOn, Vec::new()), at(Cause::Paused, peer(1))]);
}

#[test]
fn another_version_is_seen_by_what_a_peer_says_that_it_is() {
    let mut job = Job::new(Vec::new());
    let agent = crate::net::agent();
    job.connected = vec![
        connected(peer(1), "essaim/9.0.0 manifest/9"),
        connected(peer(2), &agent),
        connected(peer(3), "something else"),
    ];
    assert_eq!(job.found(), [at(Cause::OtherVersion, peer(1))]);
}

#[test]
fn a_failed_chunk_is_named_at_all_where_it_failed_until_it_has_passed() {
    let mut job = Job::new(vec![member(peer(1), 1, 0)]);
    let now = Instant::now();
    job.heard.failed(7, peer(1), fails("one"), now);
    job.heard.failed(0, peer(3), fails("passed since"), now);
    job.heard.failed(7, peer(2), fails("two"), now);
    let found = job.look(|scene| scene.of_job());
    let short: Vec<_> = found.iter().map(|found| (found.cause, found.chunk, found.passed)).collect();
    assert_eq!(short, [(Cause::ChunkFails, Some(7), false), (Cause::ChunkFails, Some(0), true)]);
    assert_eq!(found[0].peers, [peer(2).to_string(), peer(1).to_string()]);
    assert_eq!(found[0].words.as_deref(), Some("two"));
    let end = job.heard.of_end(Some(Reason::Failed), ME, now);
    assert_eq!((end.len(), end[0].chunk, end[0].peers.len()), (1, Some(7), 2));
    let end = job.heard.of_end(Some(Reason::Done), ME, now);
    let short: Vec<_> = end.iter().map(|found| (found.cause, found.chunk, found.passed)).collect();
    assert_eq!(
        short,
        [(Cause::Done, None, false), (Cause::ChunkFails, Some(7), true), (Cause::ChunkFails, Some(0), true)]
    );
}

#[test]
fn a_verifier_is_missing_only_where_all_have_spoken() {
    let mut job = Job::new(vec![member(peer(1), 1, 0)]);
    (job.copies, job.half_heard) = (2, vec![(3, vec![peer(1)]), (4, vec![peer(1)])]);
    assert_eq!(job.found(), [at(Cause::WaitsForVerifier, peer(1))]);
    job.members.push(member(peer(2), 1, 0));
    assert_eq!(job.found(), [(Cause::GoesOn, Vec::new())]);
    job.members[2].load.threads = 0;
    assert_eq!(job.found()[0], at(Cause::WaitsForVerifier, peer(1)));
}

#[test]
fn a_peer_is_late_after_long_and_not_before() {
    let job = |behind| Job::new(vec![member(peer(1), 1, behind)]);
    assert_eq!(job(4).found(), [(Cause::GoesOn, Vec::new())]);
    assert_eq!(job(5).found(), [at(Cause::LongRunning, peer(1))]);
    let mut sealed = job(60);
    sealed.heard.sealed(peer(1), Instant::now());
    assert_eq!(sealed.found(), [(Cause::GoesOn, Vec::new())], "it has just ended one");
    let holds =
        |running| [Holder { node: ME, done: false, running: false }, Holder { node: peer(1), done: false, running }];
    assert_eq!(job(5).of_chunk(&holds(true)), [Cause::LongRunning]);
    assert_eq!(job(4).of_chunk(&holds(true)), [Cause::Running]);
    assert_eq!(job(5).of_chunk(&holds(false)), [Cause::Queued, Cause::Queued]);
    let mut waits = job(9);
    waits.members[1].load.running = 0;
    assert_eq!(waits.found(), [at(Cause::Preparing, peer(1))], "what it runs has not begun");
}

#[test]
fn what_peers_and_chunks_say_is_bounded() {
    let mut heard = Heard::default();
    let now = Instant::now();
    for n in 0..=255 {
        heard.apart(peer(n), Some(Apart::new(Cause::Busy, "busy")), now + Duration::from_secs(n.into()));
        heard.failed(n.into(), peer(n), fails("no"), now);
    }
    assert_eq!((heard.apart.len(), heard.failures.len()), (PEERS, FAILURES));
    assert!(heard.apart.contains_key(&peer(255)) && !heard.apart.contains_key(&peer(0)));
    let job = Job { heard, ..Job::new(Vec::new()) };
    assert_eq!(job.found().len(), FINDINGS);
}
