//! Inputs whose chunks are given: values, and files of one chunk each. And ranges, which are cut by counting.

use std::ffi::OsString;
use std::io::Read;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use essaim_jobs::split::{self, Load};
use essaim_jobs::{BlobRef, bounds};

use super::super::Fail;
use super::size::{How, Question};
use super::{Cutting, MOST, broken, fail, full, regular};

impl Cutting<'_> {
    /// One chunk a combination of values.
    pub(super) fn values(&mut self, lists: &[Vec<Vec<u8>>]) -> Result<How, Fail> {
        for value in split::product(lists).map_err(|e| fail(&e))? {
            if value.len() > bounds::INLINE_INPUT {
                let message =
                    format!("a value has {} bytes, at most {} are allowed", value.len(), bounds::INLINE_INPUT);
                return Err(Fail::new(message, "put long values into files and use --per-file"));
            }
            self.inline(&value)?;
        }
        Ok(How::given("one a value"))
    }

    /// One chunk a file.
    pub(super) fn per_file(&mut self, names: &[OsString]) -> Result<How, Fail> {
        split::check_count(names.len() as u64).map_err(|e| fail(&e))?;
        for name in names {
            let (number, file) = regular(name, self.home, self.draft)?;
            let shown = Path::new(name).display().to_string();
            let len = file.metadata().map_err(broken(name))?.len();
            split::check_file(&shown, len, MOST).map_err(|e| fail(&e))?;
            self.draft.name(&Path::new(name).file_name().unwrap_or(name).to_string_lossy());
            let mut content = Vec::new();
            (&*file).take(bounds::INLINE_INPUT as u64 + 1).read_to_end(&mut content).map_err(broken(name))?;
            if content.len() <= bounds::INLINE_INPUT {
                self.inline(&content)?;
                continue;
            }
            let rest = (&*file).take(MOST + 1 - content.len() as u64);
            let blob = BlobRef::of_reader(content.as_slice().chain(rest)).map_err(broken(name))?;
            split::check_file(&shown, blob.len, MOST).map_err(|e| fail(&e))?;
            self.draft.push_blob(blob, number, 0).map_err(|error| full(self.home.dir(), &error))?;
        }
        Ok(How::given("one a file"))
    }

    /// Sub-ranges of `block` integers, or of as many as trying says.
    pub(super) fn range(&mut self, range: Range<u64>, block: Option<NonZeroU64>) -> Result<How, Fail> {
        let how = match block {
            Some(block) => How::asked("by range", "integers", block),
            None => {
                let total = range.end - range.start;
                let question = Question { words: "by range", way: String::from("range"), unit: "integers", total };
                self.trial.size(question, Load::range(total), |at, len| {
                    let piece = range.start + at..range.start + at + len;
                    Ok(Some((split::range_input(&piece).into(), len)))
                })?
            }
        };
        let block = how.block.unwrap_or(NonZeroU64::MIN);
        let mut pieces = split::cut_range(range, block).map_err(|e| fail(&e))?;
        pieces.try_for_each(|piece| self.inline(&split::range_input(&piece)))?;
        Ok(how)
    }
}
