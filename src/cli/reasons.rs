//! What stands in the way of a job, in words: one line, and what to do.

use std::time::Duration;

use bytesize::ByteSize;

use super::join::roughly;
use super::say::count;
use crate::peer::{Cause, Finding};

/// What it is, in one line.
pub fn line(found: &Finding) -> String {
    let (who, chunk, number) = (who(found), chunk(found), found.number.unwrap_or(0));
    let since = found.seconds.map_or_else(String::new, |seconds| format!(" for {}", time(seconds)));
    let mut line = match found.cause {
        Cause::NoPeers if number == 0 => "no peer is connected, and this machine lends nothing".to_owned(),
        Cause::NoPeers => format!("{} connected, of which none lends anything to it", count(number, "peer")),
        Cause::Preparing => format!("{who} fetches what the job takes, or compiles the program{since}"),
        Cause::Paused => format!("{who} is paused by its owner"),
        Cause::OnBattery => format!("{who} is on battery"),
        Cause::OutsideHours => format!("{who} lends at other hours"),
        Cause::OthersUseIt => format!("others use the machine of {who}"),
        Cause::Busy => format!("{who} works on as many jobs as it may"),
        Cause::ProgramRefused => format!("{who} cannot compile the program"),
        Cause::DataMissing => format!("{who} cannot get the program or the data"),
        Cause::DiskFull if found.peers.is_empty() => match found.number {
            Some(free) => format!("the disk of this job's home is full: {} free", size(free)),
            None => "the disk of this job's home is full".to_owned(),
        },
        Cause::DiskFull => format!("the disk of {who} is full"),
        Cause::OtherVersion => format!("{who} is of another version of essaim"),
        Cause::Refuses => format!("{who} does not take part"),
        Cause::ChunkFails => format!("{chunk} failed at {who}"),
        Cause::LimitReached => format!("{chunk} reached its limit of {} at {who}", limit(found)),
        Cause::PeerMemory => format!("{chunk} needs more memory than the {} that {who} gives it", size(number)),
        Cause::WaitsForVerifier => {
            format!("{chunk} was run by {who}, {number} must agree, and nobody else is there to run it")
        }
        Cause::Disagreement => format!("no two of {who} agree on {chunk}"),
        Cause::LongRunning if found.chunk.is_some() => format!("{who} has been running {chunk}{since}"),
        Cause::LongRunning => format!("{who} has ended none of its {}{since}", count(number, "chunk")),
        Cause::Running => format!("{who} is running {chunk}"),
        Cause::Queued if found.peers.is_empty() => format!("{chunk} is on its way from one peer to another"),
        Cause::Queued => format!("{who} has {chunk} among {} to run", count(number, "chunk")),
        Cause::Collecting => format!("{who} has run {chunk}; its output is on its way"),
        Cause::GoesOn => format!("nothing: {}", count(number, "member") + " at work"),
        Cause::Detached => format!("nobody follows it here{since}"),
        Cause::Done if found.chunk.is_some() => format!("{chunk} is done"),
        Cause::Done => "it is done".to_owned(),
        Cause::Cancelled => "its author took it back".to_owned(),
    };
    if found.passed {
        line += "; it came out at another peer since";
    }
    line
}

/// What to do: what whoever tells it knows, or what always helps.
pub fn hint(found: &Finding, job: &str) -> String {
    if let Some(hint) = &found.hint {
        return hint.clone();
    }
    match found.cause {
        Cause::NoPeers => {
            "`essaim join` on another machine lends its cores, and --peer ADDR names one; with --cpus N this machine works, \
             too; `essaim doctor` looks at this machine's network"
        }
        Cause::Preparing => "wait; large data takes its time, and --upload here may hold it up",
        Cause::Paused => "`essaim resume` there goes on",
        Cause::OnBattery => "plug it in, or join with --on-battery there",
        Cause::OutsideHours => "see --hours there, or look for others with `essaim peers`",
        Cause::OthersUseIt => "wait, or join with --when always there",
        Cause::Busy => "wait, or look for others with `essaim peers`",
        Cause::ProgramRefused => "see what it says; another peer may be able to: `essaim peers`",
        Cause::DataMissing => "is this machine reachable from there? `essaim doctor` looks at it",
        Cause::DiskFull if found.peers.is_empty() => return format!("make room, then `essaim attach {job}` goes on"),
        Cause::DiskFull => "make room on its disk, or let it have more with --disk SIZE there",
        Cause::OtherVersion => "run the same version of essaim on all machines",
        Cause::Refuses => "ask its owner; `essaim status` there says more",
        Cause::ChunkFails => "see what it wrote, or run the program alone on this chunk's input",
        Cause::LimitReached => "cut smaller chunks (--block), or allow more",
        Cause::PeerMemory => "let it lend more (--memory there), or cut smaller chunks (--block)",
        Cause::WaitsForVerifier => "more machines that lend: `essaim join`; or fewer --copies",
        Cause::Disagreement => "does the program depend on anything but its input? Else run it again with other peers",
        Cause::LongRunning => {
            "others take over what does not get on; if the program is as slow as that, cut smaller chunks (--block), or end \
             it sooner with --timeout"
        }
        Cause::Running | Cause::Queued | Cause::Collecting | Cause::GoesOn => "wait; `essaim explain` again later",
        Cause::Detached => return format!("`essaim attach {job}` gets the rest, `essaim cancel {job}` ends it"),
        Cause::Done => "nothing is to be done",
        Cause::Cancelled => "run it again",
    }
    .to_owned()
}

fn who(found: &Finding) -> String {
    let mut names: Vec<String> =
        found.peers.iter().map(|peer| format!("peer {}", peer.get(..8).unwrap_or(peer))).collect();
    if let (true, Some(first)) = (found.here, names.first_mut()) {
        *first = "this machine".to_owned();
    }
    if names.len() > 4 {
        let more = names.split_off(3).len();
        names.push(count(more as u64, "other"));
    }
    if names.is_empty() { "some peer".to_owned() } else { names.join(", ") }
}

fn chunk(found: &Finding) -> String {
    found.chunk.map_or_else(|| "a chunk".to_owned(), |chunk| format!("chunk {chunk}"))
}

fn limit(found: &Finding) -> String {
    let number = found.number.unwrap_or(0);
    match found.limit.as_deref() {
        Some("time") => humantime::format_duration(Duration::from_millis(number)).to_string(),
        Some("fuel") => format!("{number} instructions (--fuel)"),
        Some("output") => format!("{} of output", size(number)),
        _ => format!("{} of memory", size(number)),
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn time(seconds: u64) -> String {
    let time = Duration::from_secs(seconds);
    if seconds < 60 { humantime::format_duration(time).to_string() } else { roughly(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_chunk_the_peer_and_the_number() {
        let at = |found: Finding| Finding { chunk: Some(7), peers: vec!["a1".repeat(32), "b2".repeat(32)], ..found };
        let found =
            at(Finding { limit: Some("memory".into()), number: Some(64 << 20), ..Finding::of(Cause::LimitReached) });
        assert_eq!(line(&found), "chunk 7 reached its limit of 64.0 MiB of memory at peer a1a1a1a1, peer b2b2b2b2");
        let found = at(Finding { seconds: Some(12), here: true, ..Finding::of(Cause::LongRunning) });
        assert_eq!(line(&found), "this machine, peer b2b2b2b2 has been running chunk 7 for 12s");
        let found = Finding { passed: true, ..at(Finding::of(Cause::ChunkFails)) };
        assert_eq!(line(&found), "chunk 7 failed at peer a1a1a1a1, peer b2b2b2b2; it came out at another peer since");
    }

    #[test]
    fn what_whoever_tells_it_knows_is_the_hint() {
        let own = Finding { hint: Some("feed the bees".into()), ..Finding::of(Cause::Paused) };
        assert_eq!(hint(&own, "01234567"), "feed the bees");
        assert!(hint(&Finding::of(Cause::Detached), "01234567").contains("attach 01234567"));
    }
}
