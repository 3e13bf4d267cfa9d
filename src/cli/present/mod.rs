//! What comes out of a run: in order or as it comes, to standard output, a file or a folder; or folded by the program
//! itself.

mod fold;
mod folder;
mod joblog;
mod label;
mod sink;

use std::io::{self, ErrorKind, Write};

use essaim_worker::StopFlag;
use indicatif::ProgressBar;

use self::folder::Folder;
use self::joblog::JobLog;
use self::sink::Sink;
use super::args::Out;
use super::fail::Fail;
use super::tree::Tree;
use crate::blob::{Blob, PIECE};
use crate::peer::{Fold, Leg, Ordered};
use crate::store::Sealed;

/// Why the output did not get to its end.
pub enum Unwritten {
    /// The job has no more outputs: it says itself why.
    Ended,
    /// Nobody reads any more.
    Closed,
    /// There is no room where it is written to.
    Full(String),
    /// Something is wrong here.
    Failed(Fail),
}

/// How outputs are folded.
pub struct Folding {
    /// By whom.
    pub fold: Fold,
    /// How they are combined before, if they are.
    pub tree: Option<Tree>,
}

/// Where the outputs go, open for writing.
pub struct Destination {
    way: Way,
    log: Option<JobLog>,
}

/// How the outputs go there.
enum Way {
    InOrder(Sink),
    AsTheyCome(Sink),
    Files(Folder),
}

impl Destination {
    /// As the person wants it; `again` where it is a job that some of this may have been written of before.
    ///
    /// # Errors
    /// A file or a folder cannot be written, in a way that the person can mend before anything is run.
    pub fn open(out: &Out, again: bool) -> Result<Destination, Fail> {
        let sink = || out.out.as_deref().map_or(Ok(Sink::Stdout(None)), Sink::file);
        let way = match &out.results {
            Some(dir) => Way::Files(Folder::open(dir)?),
            None if out.unordered => Way::AsTheyCome(sink()?),
            None => Way::InOrder(sink()?),
        };
        let log = out.joblog.as_deref().map(|path| JobLog::open(path, again)).transpose()?;
        Ok(Destination { way, log })
    }
}

impl Destination {
    /// The same, with a bar on the terminal, which gives way to what is printed there.
    pub fn beside(self, bar: ProgressBar) -> Destination {
        let way = match self.way {
            Way::InOrder(sink) => Way::InOrder(sink.beside(bar)),
            Way::AsTheyCome(sink) => Way::AsTheyCome(sink.beside(bar)),
            files @ Way::Files(_) => files,
        };
        Destination { way, ..self }
    }

    /// It is another job than the one that some of this had been written of.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn anew(&mut self) -> Result<(), Fail> {
        self.log.as_mut().map_or(Ok(()), JobLog::anew)
    }
}

/// A fold waits for all outputs, in their order.
pub fn folded_in_order(name: &str) -> Fail {
    let hint = "--no-reduce prints the outputs as they are; without --unordered they are folded";
    Fail::new(format!("the program {name} folds its outputs: there is nothing to be printed --unordered"), hint)
        .with_status(2)
}

/// Writes the outputs of all legs, or their fold, as they come, to where they are wanted. Blocks.
pub fn present(
    legs: impl Iterator<Item = Leg> + Send + 'static,
    to: Destination,
    fold: Option<Folding>,
    stop: &StopFlag,
) -> Result<(), Unwritten> {
    let Destination { way, log } = to;
    let (logging, tell) = log.map(JobLog::start).unzip();
    let legs = legs.inspect(move |leg| {
        if let Some(tell) = &tell {
            // Why it writes no more is said at the end.
            let _: Result<(), _> = tell.send(leg.clone());
        }
    });
    let written = match (way, fold) {
        (Way::InOrder(sink), Some(Folding { fold, tree: None })) => fold::fold(Ordered::new(legs), fold, sink, stop),
        (Way::InOrder(sink), Some(Folding { fold, tree: Some(tree) })) => {
            let combined = tree.over(legs).map_err(|error| {
                Unwritten::Failed(Fail::new(format!("cannot start a thread: {error}"), "raise `ulimit -u`"))
            })?;
            fold::fold(combined.outputs(), fold, sink, stop)
        }
        (Way::InOrder(mut sink), None) => {
            in_order(legs, |_, _, sealed| put(sealed, &mut sink)).and_then(|()| sink.finish())
        }
        (Way::AsTheyCome(mut sink), _) => {
            as_they_come(legs, |_, _, sealed| put(sealed, &mut sink)).and_then(|()| sink.finish())
        }
        (Way::Files(mut folder), _) => as_they_come(legs, |leg, chunk, sealed| folder.put(leg, chunk, sealed)),
    };
    let logged = logging.map_or(Ok(()), |thread| thread.join().unwrap_or(Err(Unwritten::Ended)));
    written.and(logged)
}

/// Tells `each` of all outputs, in the order of the chunks. What will never come is passed over where the job says so.
fn in_order(
    legs: impl Iterator<Item = Leg>,
    mut each: impl FnMut(&Leg, u32, &Sealed) -> Result<(), Unwritten>,
) -> Result<(), Unwritten> {
    let mut all = Ok(());
    for leg in legs {
        for chunk in 0..leg.manifest.chunks {
            match leg.outputs.wait(chunk) {
                Some(sealed) => each(&leg, chunk, &sealed)?,
                None if leg.outputs.is_passed_over() => all = Err(Unwritten::Ended),
                None => return Err(Unwritten::Ended),
            }
        }
    }
    all
}

/// Tells `each` of all outputs of a leg as they are sealed.
fn as_they_come(
    legs: impl Iterator<Item = Leg>,
    mut each: impl FnMut(&Leg, u32, &Sealed) -> Result<(), Unwritten>,
) -> Result<(), Unwritten> {
    for leg in legs {
        for nth in 0..leg.manifest.chunks as usize {
            let (chunk, sealed) = leg.outputs.wait_nth(nth).ok_or(Unwritten::Ended)?;
            each(&leg, chunk, &sealed)?;
        }
    }
    Ok(())
}

/// Writes one output, if the chunk has one.
fn put(sealed: &Sealed, to: &mut Sink) -> Result<(), Unwritten> {
    if sealed.failed { Ok(()) } else { copy(&sealed.bytes, to) }
}

/// Writes one output, a piece at a time.
fn copy(output: &Blob, to: &mut impl Write) -> Result<(), Unwritten> {
    let mut at = 0;
    while at < output.len() {
        let piece = output.read(at, PIECE).map_err(|e| unreadable(&e))?;
        to.write_all(&piece).map_err(unwritten)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> Unwritten {
    Unwritten::Failed(Fail::new(format!("cannot read an output back: {error}"), "check the disk of the node's home"))
}

fn unwritten(error: io::Error) -> Unwritten {
    match error.kind() {
        ErrorKind::BrokenPipe => Unwritten::Closed,
        ErrorKind::StorageFull => Unwritten::Full("cannot write the output: the disk is full".into()),
        _ => Unwritten::Failed(Fail::new(format!("cannot write the output: {error}"), "see where it is written to")),
    }
}
