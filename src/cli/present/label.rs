//! What the input of a chunk is called: the value or the range that it is, or its file.

use std::collections::VecDeque;
use std::sync::Arc;

use bytesize::ByteSize;
use essaim_jobs::{ChunkInput, Page, bounds, decode};

use super::Leg;

/// Pages of the chunk table that are in memory: outputs come from several places of it at the same time.
const PAGES: usize = 16;
/// An input that is longer does not name itself.
const VALUE_BYTES: usize = 80;

/// The input of a chunk, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its value or its file's name.
    pub name: Option<String>,
    /// Its bytes; not known where only the job's peers have its table.
    pub bytes: Option<u64>,
}

impl Label {
    /// On one line.
    pub fn line(&self) -> String {
        match (&self.name, self.bytes) {
            (Some(name), _) => name.escape_debug().to_string(),
            (None, Some(bytes)) => format!("({})", ByteSize(bytes).display().iec()),
            (None, None) => String::new(),
        }
    }

    /// As a part of a file's name; whatever might be of some meaning there is a `_`.
    pub fn plain(&self) -> Option<String> {
        let is_plain = |c: char| c.is_alphanumeric() || ".,-+=@%~".contains(c);
        let name = self.name.as_ref().filter(|name| !name.is_empty())?;
        Some(name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect())
    }
}

/// The labels of one job's chunks.
pub struct Labels {
    leg: Leg,
    /// The files that are a chunk each, where they are.
    names: Vec<String>,
    pages: VecDeque<(usize, Arc<Page>)>,
}

impl Labels {
    pub fn new(leg: Leg) -> Labels {
        let names = leg.inputs.names();
        Labels { leg, names, pages: VecDeque::new() }
    }

    /// Whether they are the labels of this job's chunks.
    pub fn are_of(&self, leg: &Leg) -> bool {
        Arc::ptr_eq(&self.leg.outputs, &leg.outputs)
    }

    /// That of `chunk`. A table that cannot be read names nothing.
    pub fn of(&mut self, chunk: u32) -> Label {
        let page = self.page(chunk as usize / bounds::PAGE_CHUNKS);
        let Some(input) = page.as_ref().and_then(|page| page.0.get(chunk as usize % bounds::PAGE_CHUNKS)) else {
            return Label::default();
        };
        let value = || match input {
            ChunkInput::Inline(bytes) if bytes.len() <= VALUE_BYTES && !bytes.contains(&b'\n') => {
                std::str::from_utf8(bytes).ok().map(str::to_owned)
            }
            _ => None,
        };
        let name = self.names.get(chunk as usize).cloned();
        Label { name: name.or_else(value), bytes: Some(input.bytes()) }
    }

    fn page(&mut self, number: usize) -> Option<Arc<Page>> {
        if let Some((_, page)) = self.pages.iter().find(|(known, _)| *known == number) {
            return Some(Arc::clone(page));
        }
        let name = self.leg.manifest.pages.get(number)?;
        let bytes = self.leg.inputs.find(&name.id)?.read(0, name.len as usize).ok()?;
        let page: Arc<Page> = Arc::new(decode(&bytes, Page::MAX_BYTES).ok()?);
        if self.pages.len() == PAGES {
            self.pages.pop_front();
        }
        self.pages.push_back((number, Arc::clone(&page)));
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_a_part_of_a_files_name_that_can_do_no_harm() {
        let plain = |name: &str| Label { name: Some(name.into()), bytes: None }.plain();
        assert_eq!(plain("0..10").as_deref(), Some("0..10"));
        assert_eq!(plain("a\tb c/../d*é").as_deref(), Some("a_b_c_.._d_é"));
        assert_eq!(plain(""), None);
    }
}
