//! One plant: what it breaks, and where. Its place is found by a few words of the source, whatever the whitespace
//! between them, as lines are wrapped anew more often than they are rewritten.

use std::ops::Range;
use std::path::Path;

/// A mistake that somebody might make.
pub struct Plant {
    pub name: &'static str,
    /// What is broken.
    pub what: &'static str,
    pub edits: &'static [Edit],
    /// What the simulator is run with where no test has caught it.
    pub sim: &'static str,
}

/// Words of one file, and what stands there instead.
pub struct Edit {
    pub file: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

/// Worlds that nearly every mistake is seen in.
pub const SIM: &str = "--seeds 100";

impl Plant {
    /// Whether each place is there, and there once.
    pub fn fits(&self, root: &Path) -> Result<(), String> {
        self.planted(root).map(drop)
    }

    /// The files that change, as they are with the mistake in them.
    pub fn planted(&self, root: &Path) -> Result<Vec<(&'static str, String)>, String> {
        let mut files: Vec<(&'static str, String)> = Vec::new();
        for Edit { file, old, new } in self.edits {
            let known = files.iter().position(|(name, _)| name == file);
            let at = match known {
                Some(at) => at,
                None => {
                    let text = std::fs::read_to_string(root.join(file));
                    files.push((file, text.map_err(|error| format!("{}: {file}: {error}", self.name))?));
                    files.len() - 1
                }
            };
            let text = &mut files[at].1;
            match &places(text, old)[..] {
                [place] => text.replace_range(place.clone(), new),
                none_or_many => {
                    return Err(format!(
                        "plant {} has {} places in {file} instead of one; hint: the source has changed, look for \
                         where this belongs now: {old}",
                        self.name,
                        none_or_many.len()
                    ));
                }
            }
        }
        Ok(files)
    }
}

/// Where the words of `wanted` stand in `text`.
fn places(text: &str, wanted: &str) -> Vec<Range<usize>> {
    let words: Vec<&str> = wanted.split_whitespace().collect();
    let Some(first) = words.first() else { return Vec::new() };
    let starts = text.match_indices(first).map(|(at, _)| at);
    starts.filter_map(|at| Some(at..end_of(text, at, &words)?)).collect()
}

fn end_of(text: &str, start: usize, words: &[&str]) -> Option<usize> {
    let mut at = start;
    for (number, word) in words.iter().enumerate() {
        let rest = text[at..].trim_start();
        let gap = text.len() - at - rest.len();
        // Between two words there is a gap, before the first there is none.
        if !rest.starts_with(word) || (gap == 0) != (number == 0) {
            return None;
        }
        at += gap + word.len();
    }
    Some(at)
}
