//! What has failed for good of a job that went on without it.

use essaim_jobs::bounds;

use super::fail::Fail;
use super::say::count;
use crate::peer::{Leg, parted};

/// Failures that are listed.
const LISTED: u64 = 10;

/// The chunks that were given up, of one job or of a row of them.
#[derive(Debug, Default)]
pub struct Failures {
    chunks: u64,
    given_up: u64,
    listed: String,
    hint: Option<String>,
    folds: bool,
}

impl Failures {
    /// Adds those of a job that has ended.
    pub fn add(&mut self, leg: &Leg) {
        self.chunks += u64::from(leg.manifest.chunks);
        self.folds |= leg.manifest.folds;
        let given_up = leg.outputs.given_up();
        let room = LISTED.saturating_sub(self.given_up);
        self.given_up += given_up.len();
        for chunk in given_up.iter().take(room as usize) {
            let Some(sealed) = leg.outputs.get(chunk) else { continue };
            let words = sealed.bytes.read(0, bounds::FAILURE_BYTES).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let (words, hint) = parted(&words);
            let (chunk, peer, words) = (leg.number(chunk), sealed.worker.short(), words.replace('\n', "\n    "));
            self.listed.push_str(&format!("\n  chunk {chunk} at peer {peer}: {words}"));
            if self.hint.is_none() && !hint.is_empty() {
                self.hint = Some(hint.to_owned());
            }
        }
    }

    /// All of them in words; none where nothing has failed.
    pub fn words(&self) -> Option<Fail> {
        let Failures { chunks, given_up, listed, .. } = self;
        let mut message = format!("{given_up} of {} failed{listed}", count(*chunks, "chunk"));
        if *given_up > LISTED {
            message.push_str(&format!("\n  and {} more", given_up - LISTED));
        }
        let rest = if self.folds { "the fold is without them" } else { "the others have come back" };
        let hint = self.hint.iter().map(|hint| format!("{hint}\n")).collect::<String>();
        let hint = format!("{hint}{rest}; to run it again runs only what failed");
        (*given_up > 0).then(|| Fail::new(message, hint))
    }
}
