//! How large chunks are: as the person says, as was chosen for the same work before, or as trying some of the input here
//! tells ([`Aim`]).

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use essaim_jobs::split::{Aim, Block, Load, Pace};
use essaim_worker::{ChunkSpec, Failure, JobSpec, StopFlag};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::super::Fail;
use super::super::program::Checked;
use super::super::say::count;
use crate::net;
use crate::store::{Size, SizeKey, Store};

/// How long one piece may be tried.
const TRIED_MILLIS: u64 = 300;
/// The longest program that is tried: a longer one would be compiled for seconds, only for that.
const TRIED_BYTES: usize = 4 << 20;
/// The pause between two looks for who lends.
const LOOK: Duration = Duration::from_millis(50);
/// Native stack of the thread that tries, bytes: twice what a program may use of it.
pub(super) const STACK_BYTES: usize = 4 << 20;

/// How an input was cut.
#[derive(Clone, Debug)]
pub struct How {
    words: &'static str,
    unit: &'static str,
    /// Units a chunk; none where the chunks were given.
    pub block: Option<NonZeroU64>,
    nanos: Option<u64>,
    why: Why,
}

/// Why chunks have the size that they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asked,
    Tried,
    Remembered,
    Blind,
}

impl How {
    /// Nobody had to choose.
    pub fn given(words: &'static str) -> How {
        How { words, unit: "", block: None, nanos: None, why: Why::Asked }
    }

    /// The person has chosen.
    pub fn asked(words: &'static str, unit: &'static str, block: NonZeroU64) -> How {
        How { words, unit, block: Some(block), nanos: None, why: Why::Asked }
    }

    /// The size of chunks of text: what was asked for, or else chosen.
    pub fn block_of(&self, asked: Option<Block>) -> Block {
        asked.unwrap_or(Block::Bytes(self.block.unwrap_or(NonZeroU64::MIN)))
    }

    /// In words: `by whole lines, 64 KiB a chunk, about 300 ms each, as a try showed`.
    pub fn words(&self) -> String {
        let size = match (self.block, self.unit) {
            (None, _) => return self.words.to_owned(),
            (Some(block), "bytes") if block.get() == 1 => "one a chunk".to_owned(),
            (Some(block), "bytes") => format!("{} a chunk", super::super::run::size(block.get())),
            (Some(block), unit) => format!("{} a chunk", count(block.get(), unit.trim_end_matches('s'))),
        };
        let cost = self.nanos.map(|nanos| format!(", about {} each", rough(nanos))).unwrap_or_default();
        let why = match self.why {
            Why::Asked => "",
            Why::Tried => ", as a try showed",
            Why::Remembered => ", as a try showed before",
            Why::Blind => ", by its length: it could not be tried",
        };
        format!("{}, {size}{cost}{why}", self.words)
    }

    /// For a program: `block`, its `unit`, what a chunk costs in seconds, and whether that was `asked`, `tried`,
    /// `remembered` or `blind`.
    pub fn fields(&self) -> Value {
        let why = match self.why {
            Why::Asked => "asked",
            Why::Tried => "tried",
            Why::Remembered => "remembered",
            Why::Blind => "blind",
        };
        let seconds = self.nanos.map(|nanos| nanos as f64 / 1e9);
        json!({ "way": self.words, "block": self.block, "unit": self.unit, "chunk_seconds": seconds, "size": why })
    }
}

/// The threads that there are to run a job, as far as they are known: one's own, and those that peers say that they lend.
pub struct Threads {
    own: u16,
    theirs: Arc<AtomicU32>,
    looking: AbortHandle,
}

impl Threads {
    /// Begins to look for them, in the background.
    pub fn look(net: net::Handle, own: u16) -> Threads {
        let theirs = Arc::new(AtomicU32::new(0));
        let found = Arc::clone(&theirs);
        let looking = tokio::spawn(async move {
            loop {
                let cores = net.find_spare().await.iter().map(|found| u32::from(found.advert.cores)).sum();
                found.fetch_max(cores, Ordering::Relaxed);
                tokio::time::sleep(LOOK).await;
            }
        });
        Threads { own, theirs, looking: looking.abort_handle() }
    }

    /// How many are known by now.
    pub fn known(&self) -> u32 {
        u32::from(self.own).saturating_add(self.theirs.load(Ordering::Relaxed))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// A time of about two digits.
fn rough(nanos: u64) -> String {
    match nanos as f64 / 1e6 {
        millis if millis >= 1e3 => format!("{:.1} s", millis / 1e3),
        millis if millis >= 10.0 => format!("{millis:.0} ms"),
        millis => format!("{millis:.1} ms"),
    }
}

/// What is needed to try some of the input here.
pub struct Trial<'a> {
    /// The program.
    pub program: &'a Checked,
    /// What it is run with.
    pub spec: JobSpec,
    /// How many threads there are to run the job, as far as is known.
    pub threads: &'a (dyn Fn() -> u32 + Sync),
    /// Where choices are remembered; none where nothing is to be kept.
    pub sizes: Option<&'a Store>,
    /// What the cost depends on beside the input.
    pub work: Vec<u8>,
}

/// What a size is chosen for.
pub struct Question {
    /// The way to cut, for people; and all of it.
    pub words: &'static str,
    pub way: String,
    /// What is counted, and how much of it there is.
    pub unit: &'static str,
    pub total: u64,
}

impl Trial<'_> {
    /// Chooses a size: the one of before, or by trying pieces that `sample` gives for a place and a length, with the
    /// length that they really have; none where there is no such piece.
    ///
    /// # Errors
    /// The choice cannot be kept, for the disk is full or broken.
    pub fn size(
        &self,
        question: Question,
        load: Load,
        mut sample: impl FnMut(u64, u64) -> io::Result<Option<(Bytes, u64)>> + Send,
    ) -> Result<How, Fail> {
        let Question { words, way, unit, total } = question;
        let key = SizeKey::of(&self.work, &way, total);
        let broken = |error: crate::store::StoreError| Fail::of(&error, error.hint());
        if let Some(Size { block, nanos }) =
            self.sizes.map(|sizes| sizes.size(key)).transpose().map_err(broken)?.flatten()
        {
            return Ok(How { words, unit, block: NonZeroU64::new(block), nanos, why: Why::Remembered });
        }
        let mut aim = Aim::new(load);
        let tried = thread::scope(|scope| {
            let trying = || self.try_all(&mut aim, &mut sample);
            Ok::<_, io::Error>(thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, trying)?.join())
        });
        if !matches!(tried, Ok(Ok(()))) {
            aim.failed();
        }
        let Pace { block, nanos, is_tried } = aim.chosen((self.threads)());
        let why = if is_tried || total == 1 { Why::Tried } else { Why::Blind };
        if let (Some(sizes), Why::Tried) = (self.sizes, why) {
            sizes.put_size(key, Size { block: block.get(), nanos }).map_err(broken)?;
        }
        Ok(How { words, unit, block: Some(block), nanos, why })
    }

    /// Runs what is to be tried, one after the other. A piece that fails ends it: its chunk will say why.
    fn try_all(&self, aim: &mut Aim, sample: &mut impl FnMut(u64, u64) -> io::Result<Option<(Bytes, u64)>>) {
        // Compiling takes as long as many tries.
        if aim.next().is_none() {
            return;
        }
        let mut spec = self.spec.clone();
        spec.limits.millis = spec.limits.millis.min(TRIED_MILLIS);
        if self.program.bytes.len() > TRIED_BYTES {
            return aim.failed();
        }
        let Ok(program) = self.program.compiled() else { return aim.failed() };
        while let Some((at, len)) = aim.next() {
            let Ok(Some((input, len))) = sample(at, len) else { return aim.failed() };
            match program.run(&spec, ChunkSpec::map(0), input, &StopFlag::default()) {
                Ok(done) => aim.took(len, done.cpu_micros * 1_000, done.output.len() as u64),
                Err((Failure::TimedOut { .. }, _)) => aim.overran(),
                Err((failure, _)) => {
                    tracing::debug!(%failure, "a piece of the input cannot be tried");
                    aim.failed();
                }
            }
        }
    }
}
