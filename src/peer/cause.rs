//! Why something does not happen, by name: what `essaim explain` tells, for people and for programs.

use essaim_jobs::{FailureNote, NodeId};
use essaim_worker::Failure;
use serde::{Deserialize, Serialize};

use super::reports::UNKEPT;
use super::source::UNKEPT_BLOB;
use super::wire::WORDS_BYTES;

/// What stands in the way of a job or of a chunk. The names are for programs, and stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nobody lends anything to the job.
    NoPeers,
    /// The program is being compiled, or what it needs fetched, at those that have joined.
    Preparing,
    /// The owner of a peer has said so.
    Paused,
    /// A peer runs on battery.
    OnBattery,
    /// A peer lends at other hours.
    OutsideHours,
    /// Others use a peer's machine.
    OthersUseIt,
    /// A peer works on as many jobs as it may.
    Busy,
    /// A peer cannot compile the program.
    ProgramRefused,
    /// A peer cannot get the program or the data.
    DataMissing,
    /// A disk has no room: a peer's or, where no peer is named, the author's own.
    DiskFull,
    /// A peer is of another version.
    OtherVersion,
    /// A peer does not take part for a reason that this version has no name for.
    Refuses,
    /// A chunk failed by the program's own doing, or for a reason without a name of its own.
    ChunkFails,
    /// A chunk needs more than the job allows.
    LimitReached,
    /// A chunk needs more memory than a peer gives it.
    PeerMemory,
    /// A chunk has been run by too few, and nobody else is there to run it.
    WaitsForVerifier,
    /// Those who have run a chunk say different things.
    Disagreement,
    /// What a peer runs has not come to its end for long.
    LongRunning,
    /// The chunk is being run.
    Running,
    /// The chunk waits for others at the peer that has it.
    Queued,
    /// The chunk was run, and its output is on its way.
    Collecting,
    /// Nothing stands in the way.
    GoesOn,
    /// Nobody follows the job here.
    Detached,
    /// It is done.
    Done,
    /// Its author took it back.
    Cancelled,
}

impl Cause {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The one that a peer calls so; [`Cause::Refuses`] for what only a later version knows.
    #[must_use]
    pub fn of_peer(name: &str) -> Cause {
        let known = serde_json::from_value(name.into()).ok();
        known.filter(|cause| (Cause::Paused..=Cause::Refuses).contains(cause)).unwrap_or(Cause::Refuses)
    }
}

/// One thing that is found to stand in the way, with what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// What.
    pub cause: Cause,
    /// Of which chunk; none: of the whole job.
    pub chunk: Option<u32>,
    /// At whom, whole names.
    pub peers: Vec<String>,
    /// Whether the first of them is the node that tells this.
    pub here: bool,
    /// Which limit was reached: `memory` and `output` (bytes), `time` (milliseconds), `fuel` (instructions).
    pub limit: Option<String>,
    /// The number that counts: the limit; bytes that a peer gives; peers connected; chunks concerned.
    pub number: Option<u64>,
    /// In whose words: those of the peer, or of the program.
    pub words: Option<String>,
    /// What can be done, where whoever tells it knows.
    pub hint: Option<String>,
    /// Since when, seconds.
    pub seconds: Option<u64>,
    /// Whether the chunk came out at somebody else since.
    pub passed: bool,
}

impl Default for Finding {
    fn default() -> Finding {
        Finding::of(Cause::GoesOn)
    }
}

impl Finding {
    /// One without any evidence.
    #[must_use]
    pub fn of(cause: Cause) -> Finding {
        Finding {
            cause,
            chunk: None,
            peers: Vec::new(),
            here: false,
            limit: None,
            number: None,
            words: None,
            hint: None,
            seconds: None,
            passed: false,
        }
    }

    /// What a failure is, by what was said of it.
    #[must_use]
    pub fn of_failure(note: &FailureNote) -> Finding {
        let (message, hint) = match note.message.rsplit_once("\nhint: ") {
            Some((message, hint)) => (message, Some(bounded(hint))),
            None => (note.message.as_str(), None),
        };
        let is_disk = message.starts_with(UNKEPT) || message.starts_with(UNKEPT_BLOB);
        let (cause, limit, number) = match breach(message) {
            Some((limit @ Some(_), number)) => (Cause::LimitReached, limit, Some(number)),
            Some((None, number)) => (Cause::PeerMemory, None, Some(number)),
            None if is_disk => (Cause::DiskFull, None, None),
            None => (Cause::ChunkFails, None, None),
        };
        let limit = limit.map(str::to_owned);
        Finding { limit, number, words: Some(bounded(message)), hint, ..Finding::of(cause) }
    }

    /// The same, at `peer`.
    #[must_use]
    pub fn at(self, peer: NodeId, me: NodeId) -> Finding {
        Finding { peers: vec![peer.to_string()], here: peer == me, ..self }
    }
}

/// Which number a failure is about: of which limit of the job, or none where it is what the machine gives.
fn breach(message: &str) -> Option<(Option<&'static str>, u64)> {
    let stderr = String::new;
    let kinds = [
        (Failure::TimedOut { millis: 0, stderr: stderr() }, Some("time")),
        (Failure::OutOfFuel { fuel: 0, stderr: stderr() }, Some("fuel")),
        (Failure::OutOfMemory { bytes: 0, stderr: stderr() }, Some("memory")),
        (Failure::OutputTooLarge { bytes: 0, stderr: stderr() }, Some("output")),
        (Failure::HostMemory { bytes: 0 }, None),
    ];
    kinds.into_iter().find_map(|(failure, limit)| {
        let words = failure.to_string();
        let (before, after) = words.split_once('0')?;
        let said = message.strip_prefix(before)?;
        let (number, rest) = said.split_at(said.find(|c: char| !c.is_ascii_digit())?);
        rest.starts_with(after).then_some((limit, number.parse().ok()?))
    })
}

/// What a stranger has said, fit for a terminal and no longer than [`WORDS_BYTES`].
#[must_use]
pub fn bounded(words: &str) -> String {
    let is_plain = |c: &char| *c == '\n' || !c.is_control();
    let mut plain: String = words.chars().filter(is_plain).collect();
    plain.truncate((0..=WORDS_BYTES.min(plain.len())).rev().find(|at| plain.is_char_boundary(*at)).unwrap_or(0));
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::super::note;
    use super::*;

    fn found(failure: &Failure) -> (Cause, Option<String>, Option<u64>) {
        let Finding { cause, limit, number, .. } = Finding::of_failure(&note(failure));
        (cause, limit, number)
    }

    #[test]
    fn a_limit_is_known_with_its_number_by_what_a_peer_says() {
        let stderr = || "it was at 17 bytes".to_owned();
        let limit = |name: &str, number| (Cause::LimitReached, Some(name.to_owned()), Some(number));
        assert_eq!(found(&Failure::TimedOut { millis: 1_500, stderr: stderr() }), limit("time", 1_500));
        assert_eq!(found(&Failure::OutOfFuel { fuel: 10, stderr: stderr() }), limit("fuel", 10));
        assert_eq!(found(&Failure::OutOfMemory { bytes: 1 << 20, stderr: stderr() }), limit("memory", 1 << 20));
        assert_eq!(found(&Failure::OutputTooLarge { bytes: 65_536, stderr: stderr() }), limit("output", 65_536));
        assert_eq!(found(&Failure::HostMemory { bytes: 77 }), (Cause::PeerMemory, None, Some(77)));
        let exit = Failure::Exit { code: 3, stderr: Failure::HostMemory { bytes: 9 }.to_string() };
        assert_eq!(found(&exit), (Cause::ChunkFails, None, None), "what the program says is not what the worker says");
    }

    #[test]
    fn a_peer_names_only_reasons_of_a_peer() {
        assert_eq!(Cause::of_peer(&Cause::Paused.name()), Cause::Paused);
        assert_eq!(Cause::of_peer(&Cause::OtherVersion.name()), Cause::OtherVersion);
        for name in ["", "done", "no-peers", "of a later version"] {
            assert_eq!(Cause::of_peer(name), Cause::Refuses, "{name}");
        }
    }

    #[test]
    fn the_words_of_strangers_are_bounded_and_harmless() {
        assert_eq!(bounded("one\ntwo\x1b[2J\u{7}"), "one\ntwo[2J");
        assert!(bounded(&"é".repeat(WORDS_BYTES)).len() <= WORDS_BYTES);
    }
}
