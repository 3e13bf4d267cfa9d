//! Text: whole lines or other records of files and of standard input.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use essaim_jobs::split::{self, Block, Cutter, Items, Load};

use super::super::Fail;
use super::super::say::say;
use super::size::{How, Question};
use super::{Cut, MOST, PIECE, broken, copy, fail, regular};
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

impl Cut<'_> {
    /// Chunks of whole items: so many as `block` says, or as trying says.
    pub(super) fn text(&mut self, inputs: &[OsString], items: &Items, block: Option<Block>) -> Result<How, Fail> {
        let stdin = [OsString::from("-")];
        let names = if inputs.is_empty() { &stdin[..] } else { inputs };
        let texts = names.iter().map(|name| self.text_of(name)).collect::<Result<Vec<_>, _>>()?;
        let words = match items {
            Items::Ending(bytes) if *bytes == b"\n" => "by whole lines",
            Items::Ending(_) | Items::Fixed(_) => "by whole records",
        };
        let how = match block {
            Some(Block::Bytes(bytes)) => How::asked(words, "bytes", bytes),
            Some(Block::Items(count)) => How::asked(words, "items", count),
            None => {
                let contents: Vec<Blob> = texts.iter().map(|text| text.content.clone()).collect();
                let total = contents.iter().map(Blob::len).sum();
                let load = Load::text(total, self.trial.spec.limits.memory_bytes);
                let question = Question { words, way: format!("{items:?}"), unit: "bytes", total };
                self.trial.size(question, load, |at, len| sample(&contents, items, at, len))?
            }
        };
        let block = block.unwrap_or(Block::Bytes(how.block.unwrap_or(NonZeroU64::MIN)));
        for text in &texts {
            self.chunks_of(text, Cutter::new(items, block, MOST))?;
            split::check_count(self.draft.chunks()).map_err(|e| fail(&e))?;
        }
        Ok(how)
    }

    fn text_of<'a>(&mut self, name: &'a OsStr) -> Result<Text<'a>, Fail> {
        let (number, file) = if name == "-" { self.spool()? } else { regular(name, self.home, self.draft)? };
        let len = file.metadata().map_err(broken(name))?.len();
        let content = Blob::File { file: Arc::clone(&file), offset: 0, len };
        Ok(Text { name, number, file, content })
    }

    /// Standard input, all of it, in a file of the job.
    fn spool(&mut self) -> Result<(FileNumber, Arc<File>), Fail> {
        let mut stdin = io::stdin().lock();
        if stdin.is_terminal() {
            let words = "essaim: reading standard input from the terminal; end it with Ctrl-D";
            say(self.global, words, "reading", serde_json::json!({ "from": "terminal" }));
        }
        copy(&mut stdin, "standard input", self.home, self.draft)
    }

    /// Cuts one text, reading it once.
    fn chunks_of(&mut self, text: &Text<'_>, mut cutter: Cutter) -> Result<(), Fail> {
        let mut reader = &*text.file;
        let mut piece = vec![0; PIECE];
        // What was read and not cut yet, and where in the file it begins.
        let (mut rest, mut begin) = (Vec::<u8>::new(), 0_u64);
        loop {
            let n = reader.read(&mut piece).map_err(broken(text.name))?;
            if n == 0 {
                break;
            }
            rest.extend_from_slice(&piece[..n]);
            let mut taken = 0;
            for end in cutter.push(&piece[..n]).map_err(|e| fail(&e))? {
                let upto = (end - begin) as usize;
                self.stretch(&rest[taken..upto], text.number, begin + taken as u64)?;
                taken = upto;
            }
            rest.drain(..taken);
            begin += taken as u64;
        }
        if cutter.finish().is_some() {
            self.stretch(&rest, text.number, begin)?;
        }
        Ok(())
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
