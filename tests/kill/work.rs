//! What a round has computed, and what must come out; what a home has of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use essaim::store::{Home, Saved};
use rand::RngExt;
use rand::rngs::SmallRng;

/// A text each line of which is a chunk, and its own output: none like another, so that one in the wrong place, or
/// one that is twice there, is seen.
pub struct Text {
    pub bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Text {
    /// Short lines, that stand in the chunk table, and long ones, that are blobs; outputs that travel inside, that are
    /// kept in memory, and that are kept in a file.
    pub fn draw(rng: &mut SmallRng) -> Text {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for line in 0..rng.random_range(20..200) {
            let len = match rng.random_range(0..8) {
                0 => rng.random_range(1_100..4_000),
                1 => rng.random_range(4_200..20_000),
                2 => rng.random_range(250..1_000),
                _ => rng.random_range(0..100),
            };
            bytes.extend(format!("{line} ").into_bytes());
            bytes.extend((0..len).map(|at| b'a' + ((at + line * 7) % 26) as u8));
            bytes.push(b'\n');
            ends.push(bytes.len());
        }
        Text { bytes, ends }
    }

    pub fn chunks(&self) -> usize {
        self.ends.len()
    }

    /// Where the output of `chunk` stands in the whole.
    fn range(&self, chunk: usize) -> Range<usize> {
        chunk.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[chunk]
    }

    /// How many outputs stand in so many bytes of the whole.
    pub fn whole_in(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }
}

/// What a home has of its only job.
pub struct Here {
    pub job: String,
    /// Chunks whose outputs are safe, and rightly so.
    pub safe: BTreeSet<u32>,
}

/// Opens the home in `dir` as the next process would; `None` when there is no job.
pub fn look(dir: &Path, text: &Text) -> Option<Here> {
    let home = Home::open(dir).unwrap_or_else(|error| panic!("the home does not open: {error:?}"));
    let mut jobs = Saved::all(&home).unwrap_or_else(|error| panic!("its jobs cannot be read: {error}"));
    let folders = std::fs::read_dir(dir.join("jobs")).unwrap().count();
    assert_eq!(folders, jobs.len(), "folders of jobs, and jobs");
    let saved = jobs.pop()?;
    assert!(jobs.is_empty(), "two jobs");
    let (job, counted) = (saved.id().to_string(), saved.collected().unwrap());
    let (row, _inputs, outputs) = saved.open().unwrap_or_else(|error| panic!("the job does not open: {error}"));
    assert_eq!(row.manifest.body.chunks as usize, text.chunks());
    let safe: BTreeSet<u32> = outputs.sealed().iter().collect();
    assert_eq!(counted, safe.len() as u64, "outputs that are counted, and that are here: one was collected twice");
    outputs.close();
    for chunk in &safe {
        let output = outputs.wait(*chunk).unwrap().bytes;
        let bytes = output.read(0, output.len() as usize).unwrap_or_else(|error| panic!("chunk {chunk}: {error}"));
        assert!(bytes == text.bytes[text.range(*chunk as usize)], "the output of chunk {chunk} is spoilt");
    }
    Some(Here { job, safe })
}
