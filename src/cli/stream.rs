//! Standard input as it comes: a thread reads it into the drafts that it is given, so that work begins before the input
//! has ended. Without a draft it reads nothing, and whoever writes has to wait.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc as threads;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use essaim_jobs::split::{Block, Items};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::args::Run;
use super::fail::Fail;
use super::input::{Chunker, full};
use super::pace::{FIRST_BYTES, Size};
use crate::blob::Blob;
use crate::store::{Draft, FileNumber};

/// Bytes read at once: what a pipe holds.
const PIECE: usize = 64 << 10;
/// What has been read goes into a job so long after its first byte, if nothing else is to be done; the very first later,
/// as an input that ends by then is an ordinary job.
const BATCH: Duration = Duration::from_millis(250);
const FIRST: Duration = Duration::from_millis(500);
/// How often it is looked whether there is something to be done, while something waits for it.
const LOOK: Duration = Duration::from_millis(50);
/// Chunks of one leg, about.
const CHUNKS: u64 = 1 << 16;
/// Bytes of the beginning of a line that are looked through each time a leg could end.
const SEARCHED: usize = 1 << 20;

/// Whether what `run` names is a standard input that may have no end in sight.
pub fn is_one(run: &Run) -> bool {
    let is_stdin = run.inputs.is_empty() || run.inputs == ["-"];
    // All of it is to be known before.
    let is_whole = run.detach || run.dry_run;
    let is_file = || Stdin::open().and_then(|stdin| stdin.0.metadata()).is_ok_and(|about| about.is_file());
    is_stdin && !is_whole && !is_file()
}

/// How standard input begins.
pub enum Beginning {
    /// It is short: all of it is in a file of the draft.
    All(FileNumber, Arc<File>),
    /// It goes on.
    Part(Part),
}

/// The beginning of a standard input that goes on, in a file of a draft.
pub struct Part {
    stdin: Stdin,
    number: FileNumber,
    file: Arc<File>,
    len: u64,
    /// When its first byte came.
    began: Option<Instant>,
    /// Why nothing more can be read.
    trouble: Option<Fail>,
}

/// Reads the beginning of standard input into a file of `draft`; blocks.
///
/// # Errors
/// It cannot be read, or the disk is full.
pub fn begin(home: &Path, draft: &mut Draft) -> Result<Beginning, Fail> {
    let stdin = Stdin::open().map_err(|error| unreadable(&error))?;
    let (number, file) = draft.scratch().map_err(|error| full(home, &error))?;
    let mut part = Part { stdin, number, file, len: 0, began: None, trouble: None };
    let mut piece = vec![0; PIECE];
    while part.len < FIRST_BYTES && part.began.is_none_or(|began| began.elapsed() < FIRST) {
        let within = part.began.map(|began| FIRST.saturating_sub(began.elapsed()));
        match part.stdin.read(&mut piece, within) {
            Ok(Some(0)) => return Ok(Beginning::All(number, part.file)),
            Ok(None) => {}
            Ok(Some(n)) => {
                part.began.get_or_insert_with(Instant::now);
                part.file.write_all_at(&piece[..n], part.len).map_err(|error| full(home, &error))?;
                part.len += n as u64;
            }
            Err(error) if part.len == 0 => return Err(unreadable(&error)),
            Err(error) => {
                part.trouble = Some(unreadable(&error));
                break;
            }
        }
    }
    Ok(Beginning::Part(part))
}

impl Part {
    /// What is here of it.
    pub fn content(&self) -> Blob {
        Blob::File { file: Arc::clone(&self.file), offset: 0, len: self.len }
    }

    /// Makes it chunks of such a size, and gives where the rest comes from; none where the input ends meanwhile. The
    /// chunks of the rest will be as was `asked`, if somebody has. Blocks until there is one.
    ///
    /// # Errors
    /// As of [`begin`], or it cannot be cut.
    pub fn cut(
        self,
        items: &Items,
        block: Block,
        asked: Option<Block>,
        home: &Path,
        draft: &mut Draft,
    ) -> Result<Option<Reader>, Fail> {
        let Part { stdin, number, file, len, began, trouble } = self;
        let mut text = Chunker::new(number, items, block);
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        while at < len {
            let n = file.read_at(&mut piece, at).map_err(|error| full(home, &error))?;
            text.push(&piece[..n], home, draft)?;
            at += n as u64;
        }
        let shared = Arc::new(Shared { read: AtomicU64::new(len), ..Shared::default() });
        let (items, home) = (items.clone(), home.to_owned());
        let mut reader = Reader { stdin, items, asked, rest: Vec::new(), home, shared, trouble: None };
        let mut stretch = Stretch { draft, file, text, len, began };
        match trouble {
            None if reader.fill(&mut stretch, |_| true)? => {
                return stretch.text.end(&reader.home, stretch.draft).map(|()| None);
            }
            None => {}
            Some(trouble) if !stretch.is_cut(&reader.home)? => return Err(trouble),
            Some(trouble) => reader.trouble = Some(trouble),
        }
        reader.rest = stretch.text.into_rest();
        Ok(Some(reader))
    }
}

fn unreadable(error: &io::Error) -> Fail {
    Fail::new(format!("cannot read standard input: {error}"), "check where it comes from")
}

/// Standard input, with nothing read ahead.
struct Stdin(File);

impl Stdin {
    fn open() -> io::Result<Stdin> {
        Ok(Stdin(io::stdin().as_fd().try_clone_to_owned()?.into()))
    }

    /// What there is, none at its end; nothing when nothing comes in time.
    fn read(&mut self, into: &mut [u8], within: Option<Duration>) -> io::Result<Option<usize>> {
        let within = within.and_then(|within| Timespec::try_from(within).ok());
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], within.as_ref());
        let read = match ready {
            Ok(0) => return Ok(None),
            Ok(_) => self.0.read(into),
            Err(error) => Err(error.into()),
        };
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// What the reader and those who follow the jobs know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes read.
    read: AtomicU64,
    /// Whether there is nothing to be done.
    dry: AtomicBool,
    /// Jobs that still have room to give back.
    open: AtomicUsize,
}

/// A draft to be filled.
struct Order {
    draft: Draft,
    size: Size,
}

/// A draft with the next stretch of the input; perhaps without a chunk, where it has just ended.
pub struct Filled {
    pub draft: Draft,
    /// Whether nothing follows.
    pub is_last: bool,
    /// Why, if that is not the end of the input.
    pub trouble: Option<Fail>,
}

/// Reads standard input.
pub struct Reader {
    stdin: Stdin,
    items: Items,
    /// How large the person wants chunks.
    asked: Option<Block>,
    /// The beginning of a chunk, which belongs to the next leg.
    rest: Vec<u8>,
    home: PathBuf,
    shared: Arc<Shared>,
    /// Why nothing more can be read.
    trouble: Option<Fail>,
}

/// A stretch of the input that is being read.
struct Stretch<'a> {
    draft: &'a mut Draft,
    file: Arc<File>,
    text: Chunker,
    len: u64,
    /// When its first byte came.
    began: Option<Instant>,
}

impl Stretch<'_> {
    /// Ends it with its last whole line. False where it has none.
    fn is_cut(&mut self, home: &Path) -> Result<bool, Fail> {
        self.text.close(home, self.draft)?;
        Ok(self.draft.chunks() > 0)
    }
}

impl Reader {
    /// Starts reading in a thread of its own, as far as it is given drafts.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(self) -> io::Result<Source> {
        let (orders, ordered) = threads::sync_channel(1);
        let (sender, filled) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("stdin".into()).spawn(move || self.run(&ordered, &sender))?;
        Ok(Source { orders, filled, is_ordered: false, shared })
    }

    fn run(mut self, orders: &threads::Receiver<Order>, filled: &mpsc::Sender<Filled>) {
        for Order { mut draft, size } in orders {
            let (is_last, trouble) = match self.next(&mut draft, size) {
                Ok(is_last) => (is_last, None),
                Err(fail) => (true, Some(fail)),
            };
            if filled.blocking_send(Filled { draft, is_last, trouble }).is_err() || is_last {
                return;
            }
        }
    }

    /// Fills a draft; whether the input has ended.
    fn next(&mut self, draft: &mut Draft, size: Size) -> Result<bool, Fail> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let (number, file) = draft.scratch().map_err(|error| full(&self.home, &error))?;
        let text = Chunker::new(number, &self.items, self.asked.unwrap_or(Block::Bytes(size.chunk)));
        let mut stretch = Stretch { draft, file, text, len: 0, began: None };
        let rest = std::mem::take(&mut self.rest);
        self.take(&mut stretch, &rest)?;
        let shared = Arc::clone(&self.shared);
        let is_full = |stretch: &Stretch<'_>| stretch.len >= size.leg || stretch.draft.chunks() >= CHUNKS;
        let is_due = |stretch: &Stretch<'_>| {
            stretch.began.is_some_and(|began| began.elapsed() >= BATCH) && shared.dry.load(Relaxed)
        };
        let ended = self.fill(&mut stretch, |stretch| is_full(stretch) || is_due(stretch));
        let Stretch { draft, file, text, .. } = stretch;
        let ended = match ended {
            Ok(true) => text.end(&self.home, draft).map(|()| true),
            Ok(false) => {
                self.rest = text.into_rest();
                Ok(false)
            }
            Err(fail) => Err(fail),
        };
        // So that those who follow the jobs need not wait for the disk.
        file.sync_data().map_err(|error| full(&self.home, &error))?;
        ended
    }

    /// Reads on until it is `enough` and there is a whole line, or the input has ended; whether it has.
    fn fill(&mut self, stretch: &mut Stretch<'_>, enough: impl Fn(&Stretch<'_>) -> bool) -> Result<bool, Fail> {
        let mut piece = vec![0; PIECE];
        let mut tried = 0;
        loop {
            // A line that does not end is not looked through for each piece of it.
            let rest = stretch.text.rest();
            if enough(stretch) && (rest <= SEARCHED || rest >= 2 * tried) {
                tried = rest;
                if stretch.is_cut(&self.home)? {
                    return Ok(false);
                }
            }
            match self.stdin.read(&mut piece, stretch.began.map(|_| LOOK)) {
                Ok(Some(0)) => return Ok(true),
                Ok(Some(n)) => {
                    self.shared.read.fetch_add(n as u64, Relaxed);
                    self.take(stretch, &piece[..n])?;
                    stretch.began.get_or_insert_with(Instant::now);
                }
                Ok(None) => {}
                Err(error) => {
                    stretch.is_cut(&self.home)?;
                    return Err(unreadable(&error));
                }
            }
        }
    }

    fn take(&self, stretch: &mut Stretch<'_>, piece: &[u8]) -> Result<(), Fail> {
        while let Err(error) = stretch.file.write_all_at(piece, stretch.len) {
            if error.kind() != ErrorKind::StorageFull || self.shared.open.load(Relaxed) == 0 {
                stretch.is_cut(&self.home)?;
                return Err(full(&self.home, &error));
            }
            // Those before it give theirs back.
            std::thread::sleep(LOOK);
        }
        stretch.len += piece.len() as u64;
        stretch.text.push(piece, &self.home, stretch.draft)
    }
}

/// Where the next stretches of the input come from.
pub struct Source {
    orders: threads::SyncSender<Order>,
    filled: mpsc::Receiver<Filled>,
    is_ordered: bool,
    shared: Arc<Shared>,
}

impl Source {
    /// Whether nothing is being read, for want of a draft.
    pub fn wants_a_draft(&self) -> bool {
        !self.is_ordered
    }

    /// Goes on reading into `draft`, as much as `size` says.
    pub fn order(&mut self, draft: Draft, size: Size) {
        // One that has ended needs no more.
        self.is_ordered = self.orders.try_send(Order { draft, size }).is_ok();
    }

    /// The next stretch; none when the reader is gone.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Filled>> {
        let filled = self.filled.poll_recv(context);
        self.is_ordered &= filled.is_pending();
        filled
    }

    /// Says how things are: whether there is nothing to be done, and how many jobs have room to give back.
    pub fn tell(&self, dry: bool, open: usize) {
        self.shared.dry.store(dry, Relaxed);
        self.shared.open.store(open, Relaxed);
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.shared.read.load(Relaxed)
    }
}
