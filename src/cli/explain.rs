//! `essaim explain`: why a job, or one of its chunks, waits or failed; at whom, in whose words, and what to do.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use super::args::{Explain, Global};
use super::fail::Fail;
use super::jobs::{self, Listed};
use super::owner;
use super::reasons::{hint, line};
use crate::control::{self, Wish};
use crate::peer::{Cause, Ended, Finding, Peer, ended};
use crate::store::{Home, HomeError, Saved, free_bytes};

/// With less room than this on its disk a home is full: hardly an output fits.
const FULL_BYTES: u64 = 1 << 20;
/// Bytes of an answer over the control socket, with room for what is put around it.
const ANSWER_BYTES: usize = 48 << 10;

/// What there is to say of one job.
struct Story {
    job: String,
    name: String,
    state: &'static str,
    chunks: u64,
    sealed: u64,
    /// When it ended, where it has; else when it was submitted. Milliseconds since 1970.
    at_ms: u64,
    findings: Vec<Finding>,
}

/// Says why.
///
/// # Errors
/// There is no such job or chunk, or a home cannot be read.
pub async fn explain(global: &Global, what: &Explain) -> Result<(), Fail> {
    let wanted = what.job.as_deref().map(jobs::prefix).transpose()?;
    let (mut open, mut over) = (Vec::new(), Vec::new());
    for home in jobs::homes(global)? {
        let listed = jobs::of_home(&home).await?;
        let ends = ends(&home).await?;
        let is_wanted = |job: &str| wanted.as_ref().is_none_or(|prefix| job.starts_with(prefix));
        let is_open = |end: &Ended| listed.iter().any(|job| job.job == end.job);
        over.extend(ends.iter().filter(|end| is_wanted(&end.job) && !is_open(end)).map(|end| of_end(end, what.chunk)));
        for job in listed.iter().filter(|job| is_wanted(&job.job)) {
            open.push(of_open(&home, job, &ends, what.chunk).await?);
        }
    }
    let mut stories = open;
    if stories.is_empty() {
        // The one that ended last is what a person means who names none.
        over.sort_by_key(|story| std::cmp::Reverse(story.at_ms));
        over.truncate(1);
        stories = over;
    }
    if stories.is_empty() {
        let lends = "how a node does that lends this machine, and why it lends nothing, `essaim status` says";
        return Err(match &what.job {
            Some(job) => Fail::new(
                format!("nothing is known of a job {job} here"),
                format!("`essaim jobs` lists those of this user; {lends}"),
            ),
            None => Fail::new("no job of this user is open, and none has ended lately", lends),
        });
    }
    stories.sort_by_key(|story| story.at_ms);
    let mut out = io::stdout().lock();
    for story in &stories {
        // Nobody reads any more.
        if writeln!(out, "{}", if global.json { story.as_json() } else { story.in_words() }).is_err() {
            break;
        }
    }
    Ok(())
}

impl Story {
    fn in_words(&self) -> String {
        let done = super::say::count(self.chunks, "chunk");
        let mut words = format!(
            "job {} {}: {} of {done} here, {}",
            &self.job[..8],
            self.name.escape_debug(),
            self.sealed,
            self.state
        );
        for finding in &self.findings {
            words += &format!("\n  {}: {}", finding.cause.name(), line(finding));
            for said in finding.words.iter().flat_map(|said| said.lines()) {
                words += &format!("\n    | {said}");
            }
            words += &format!("\n    hint: {}", hint(finding, &self.job[..8]).replace('\n', "\n          "));
        }
        words
    }

    /// A line a finding.
    fn as_json(&self) -> String {
        let lines = self.findings.iter().map(|finding| {
            let mut fields = json!(finding);
            fields["job"] = self.job.as_str().into();
            fields["name"] = self.name.as_str().into();
            fields["state"] = self.state.into();
            fields["line"] = line(finding).into();
            fields["hint"] = hint(finding, &self.job[..8]).into();
            fields.to_string()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A job that has ended, or what of that concerns one chunk.
fn of_end(end: &Ended, chunk: Option<u32>) -> Story {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(end.ended_ms));
    let mut findings = end.findings.clone();
    findings.retain(|finding| chunk.is_none() || finding.chunk.is_none() || finding.chunk == chunk);
    findings.iter_mut().for_each(|finding| finding.seconds = since.as_ref().ok().map(Duration::as_secs));
    Story {
        job: end.job.clone(),
        name: end.name.clone(),
        state: "ended",
        chunks: end.chunks.into(),
        sealed: end.sealed.into(),
        at_ms: end.ended_ms,
        findings,
    }
}

/// A job that has not ended: whoever follows it tells or, if nobody does, its disk.
async fn of_open(home: &Path, job: &Listed, ends: &[Ended], chunk: Option<u32>) -> Result<Story, Fail> {
    let none = || {
        let message = format!("job {} has no chunk {}", &job.job[..8], chunk.unwrap_or_default());
        Fail::new(message, format!("it has {}, numbered from 0", super::say::count(job.chunks, "chunk"))).with_status(2)
    };
    if chunk.is_some_and(|chunk| u64::from(chunk) >= job.chunks) {
        return Err(none());
    }
    let (state, findings) = if job.followed {
        let wish = Wish::Explain(jobs::id(&job.job)?, chunk);
        let answer = control::ask(home, wish).await.map_err(|error| owner::deaf(home, &error))?.unwrap_or_default();
        let findings = serde_json::from_value(answer).map_err(|_| {
            Fail::new(format!("job {} has just ended, or its node does not say", &job.job[..8]), "ask again")
        });
        ("followed", findings?)
    } else {
        ("detached", of_disk(home, &job.job, ends, chunk))
    };
    Ok(Story {
        job: job.job.clone(),
        name: job.name.clone(),
        state,
        chunks: job.chunks,
        sealed: job.sealed,
        at_ms: job.created_ms,
        findings,
    })
}

/// Why a job stands still that nobody follows.
fn of_disk(home: &Path, job: &str, ends: &[Ended], chunk: Option<u32>) -> Vec<Finding> {
    if let Some(chunk) = chunk.filter(|chunk| is_here(home, job, *chunk)) {
        return vec![Finding { chunk: Some(chunk), ..Finding::of(Cause::Done) }];
    }
    let left = ends.iter().find(|end| end.job == job);
    let free = free_bytes(home).ok();
    let is_full = free.is_some_and(|free| free < FULL_BYTES);
    let last = left.map(|end| of_end(end, None)).and_then(|story| story.findings.into_iter().next());
    let mut found = last.unwrap_or_else(|| Finding::of(Cause::Detached));
    if found.cause == Cause::DiskFull || is_full {
        found = Finding { cause: Cause::DiskFull, number: free, ..found };
    }
    vec![Finding { chunk, ..found }]
}

/// Whether the output of a chunk is on the disk.
fn is_here(home: &Path, job: &str, chunk: u32) -> bool {
    let Ok(home) = Home::open(home) else { return false };
    let saved = Saved::all(&home).unwrap_or_default().into_iter().find(|saved| saved.id().to_string() == job);
    saved.and_then(|saved| saved.outputs().ok()).is_some_and(|outputs| outputs.sealed().contains(chunk))
}

/// How the last jobs of a home have ended: from its disk or, where a node runs in it, from that.
async fn ends(dir: &Path) -> Result<Vec<Ended>, Fail> {
    match Home::open(dir) {
        Ok(home) => ended(&home).map_err(|e| Fail::of(&e, e.hint())),
        Err(HomeError::InUse(_)) => {
            let answer = control::ask(dir, Wish::Ended).await.map_err(|error| owner::deaf(dir, &error))?;
            Ok(serde_json::from_value(answer.unwrap_or_default()).unwrap_or_default())
        }
        Err(error) => Err(Fail::of(&error, error.hint())),
    }
}

/// What a node answers to the one who asks why, over its control socket.
pub async fn answer(wish: Wish, peer: &Peer) -> Value {
    match wish {
        Wish::Explain(job, chunk) => peer.explain(job, chunk).await.map_or(Value::Null, fitting),
        Wish::Ended => fitting(peer.ended().unwrap_or_default()),
        _ => Value::Null,
    }
}

/// As many of these as fit into an answer.
fn fitting<T: Serialize>(all: Vec<T>) -> Value {
    let mut room = ANSWER_BYTES;
    let values = all.iter().map(|one| json!(one));
    values.take_while(|one| room.checked_sub(one.to_string().len()).map(|left| room = left).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_however_much_there_is_to_say() {
        let words = Some("\"".repeat(1_024));
        let many = vec![Finding { words: words.clone(), hint: words, ..Finding::of(Cause::Refuses) }; 64];
        let answer = fitting(many);
        assert!((5..64).contains(&answer.as_array().map_or(0, Vec::len)) && answer.to_string().len() < 64 << 10);
    }
}
