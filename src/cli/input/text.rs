//! Text: whole lines or other records of files and of standard input.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::split::{self, Block, Cutter, Items, Load};

use super::super::Fail;
use super::super::args::Run;
use super::super::say::say;
use super::super::stream::{self, Beginning};
use super::size::{How, Question, Trial};
use super::{Chunker, Cut, Cutting, MOST, PIECE, broken, copy, fail, regular};
use crate::blob::Blob;
use crate::store::FileNumber;

/// How far beyond what was asked for an item is looked for its end, where a piece of the input is tried, bytes.
const LONGEST_TRIED: u64 = 4 << 20;
/// Bytes read at once there.
const TRIED_PIECE: usize = 64 << 10;

/// One text, which can be read again.
struct Text<'a> {
    name: &'a OsStr,
    number: FileNumber,
    file: Arc<File>,
    content: Blob,
}

impl Cutting<'_> {
    /// Chunks of whole items: so many as `block` says, or as trying says.
    pub(super) fn text(&mut self, run: &Run, items: &Items, block: Option<Block>) -> Result<Cut, Fail> {
        if stream::is_one(run) {
            return self.stream(items, block);
        }
        let stdin = [OsString::from("-")];
        let names = if run.inputs.is_empty() { &stdin[..] } else { &run.inputs };
        let texts = names.iter().map(|name| self.text_of(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.texts(&texts, items, block)?.into())
    }

    /// Standard input as it comes: all of it, if it ends soon, or its beginning.
    fn stream(&mut self, items: &Items, block: Option<Block>) -> Result<Cut, Fail> {
        self.say_if_terminal();
        let dir = self.home.dir();
        match stream::begin(dir, self.draft)? {
            Beginning::All(number, file) => {
                let text = Text::new(OsStr::new("-"), number, file)?;
                Ok(self.texts(&[text], items, block)?.into())
            }
            Beginning::Part(part) => {
                // How it is cut depends on the time, too: nothing of that is for later.
                let trial = Trial { sizes: None, spec: self.trial.spec.clone(), work: Vec::new(), ..*self.trial };
                let here = part.content();
                let load = Load::stream(here.len(), trial.spec.limits.memory_bytes);
                let how = how(items, block, here.len(), |question| {
                    trial.size(question, load, |at, len| sample(std::slice::from_ref(&here), items, at, len))
                })?;
                let more = part.cut(items, how.block_of(block), block, dir, self.draft)?;
                Ok(Cut { how, more })
            }
        }
    }

    /// Texts that can be read again, one after the other.
    fn texts(&mut self, texts: &[Text<'_>], items: &Items, block: Option<Block>) -> Result<How, Fail> {
        let contents: Vec<Blob> = texts.iter().map(|text| text.content.clone()).collect();
        let total = contents.iter().map(Blob::len).sum();
        let load = Load::text(total, self.trial.spec.limits.memory_bytes);
        let how = how(items, block, total, |question| {
            self.trial.size(question, load, |at, len| sample(&contents, items, at, len))
        })?;
        for text in texts {
            self.chunks_of(text, Chunker::new(text.number, items, how.block_of(block)))?;
            split::check_count(self.draft.chunks()).map_err(|e| fail(&e))?;
        }
        Ok(how)
    }

    fn text_of<'a>(&mut self, name: &'a OsStr) -> Result<Text<'a>, Fail> {
        let (number, file) = if name == "-" {
            self.say_if_terminal();
            copy(&mut io::stdin().lock(), "standard input", self.home, self.draft)?
        } else {
            regular(name, self.home, self.draft)?
        };
        Text::new(name, number, file)
    }

    fn say_if_terminal(&self) {
        if io::stdin().is_terminal() {
            let words = "essaim: reading standard input from the terminal; end it with Ctrl-D";
            say(self.global, words, "reading", serde_json::json!({ "from": "terminal" }));
        }
    }

    /// Cuts one text, reading it once.
    fn chunks_of(&mut self, text: &Text<'_>, mut chunker: Chunker) -> Result<(), Fail> {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            let n = text.file.read_at(&mut piece, at).map_err(broken(text.name))?;
            if n == 0 {
                return chunker.end(self.home.dir(), self.draft);
            }
            chunker.push(&piece[..n], self.home.dir(), self.draft)?;
            at += n as u64;
        }
    }
}

impl Text<'_> {
    fn new(name: &OsStr, number: FileNumber, file: Arc<File>) -> Result<Text<'_>, Fail> {
        let len = file.metadata().map_err(broken(name))?.len();
        let content = Blob::File { file: Arc::clone(&file), offset: 0, len };
        Ok(Text { name, number, file, content })
    }
}

/// How a text of so many bytes is cut: as was asked, or as `choose` says.
fn how(
    items: &Items,
    block: Option<Block>,
    total: u64,
    choose: impl FnOnce(Question) -> Result<How, Fail>,
) -> Result<How, Fail> {
    let words = match items {
        Items::Ending(bytes) if *bytes == b"\n" => "by whole lines",
        Items::Ending(_) | Items::Fixed(_) => "by whole records",
    };
    match block {
        Some(Block::Bytes(bytes)) => Ok(How::asked(words, "bytes", bytes)),
        Some(Block::Items(count)) => Ok(How::asked(words, "items", count)),
        None => choose(Question { words, way: format!("{items:?}"), unit: "bytes", total }),
    }
}

/// About `len` bytes of whole items from `at` on, where all texts stand one after the other; and how many they are. None
/// where an item there is too long to be tried.
pub fn sample(texts: &[Blob], items: &Items, mut at: u64, len: u64) -> io::Result<Option<(Bytes, u64)>> {
    for text in texts {
        if at < text.len() {
            let begin = match items {
                _ if at == 0 => Some(0),
                Items::Fixed(record) => Some(at / record.get() * record.get()),
                // What is left of the item that stands there does not count.
                Items::Ending(_) => first_items(text, items, at, 1)?.map(|rest| at + rest.len() as u64),
            };
            // The last item of a text has none behind it.
            let begin = begin.filter(|begin| *begin < text.len()).unwrap_or(0);
            let found = first_items(text, items, begin, len)?;
            return Ok(found.map(|found| (found.clone(), found.len() as u64)));
        }
        at -= text.len();
    }
    Ok(None)
}

/// The fewest items from `begin` on that make up `len` bytes.
fn first_items(text: &Blob, items: &Items, begin: u64, len: u64) -> io::Result<Option<Bytes>> {
    let most = len.saturating_add(LONGEST_TRIED).min(MOST);
    let block = Block::Bytes(NonZeroU64::new(len).unwrap_or(NonZeroU64::MIN));
    let mut cutter = Cutter::new(items, block, most.saturating_mul(2));
    let mut found = Vec::new();
    while begin + (found.len() as u64) < text.len() {
        let piece = text.read(begin + found.len() as u64, TRIED_PIECE)?;
        found.extend_from_slice(&piece);
        match cutter.push(&piece).as_deref() {
            Ok([end, ..]) => {
                found.truncate(*end as usize);
                break;
            }
            Ok([]) if found.len() as u64 <= most => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(found.into()))
}
