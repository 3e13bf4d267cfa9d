//! A job: its author's functions, each made to read a stream and write one, as a node runs it.

use std::cell::Cell;
use std::env;
use std::fmt;
use std::io::{Cursor, Read, Write};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::input;
use crate::output::print_result;
use crate::parts::{self, Frames, Parts, encode, encode_to, write_frame};
use crate::stdin;
use crate::step::{Settled, Step};

/// What is run in one role: standard input to standard output.
pub(crate) type Run = Box<dyn Fn(Box<dyn Read>, &mut dyn Write) -> Result<(), Failure>>;

/// Whether bytes are what a map gives; why they are not.
pub(crate) type Check = fn(&[u8]) -> Result<(), String>;

/// A job, as [`main!`](crate::main!) makes it, to be run as a program or by [`testing`](crate::testing).
pub struct Job {
    pub(crate) split: Option<Run>,
    pub(crate) map: Run,
    pub(crate) combine: Option<Run>,
    pub(crate) reduce: Option<Run>,
    /// Where outputs are folded.
    pub(crate) check: Option<Check>,
}

impl Job {
    /// All of it, without a swarm: split, map each chunk, combine, reduce.
    pub(crate) fn whole(&self, input: Vec<u8>, out: &mut dyn Write) -> Result<(), Failure> {
        let chunks = self.chunks(input)?;
        let outputs = chunks.into_iter().zip(0..).map(|(chunk, number)| self.output(number, chunk));
        let Some(reduce) = &self.reduce else {
            return outputs.into_iter().try_for_each(|output| Ok(out.write_all(&output?)?));
        };
        let mut outputs = framed(&outputs.collect::<Result<Vec<_>, _>>()?)?;
        if let Some(combine) = &self.combine {
            outputs = framed(&[run(combine, outputs)?])?;
        }
        reduce(Box::new(Cursor::new(outputs)), out)
    }

    /// The chunks of a whole input.
    pub(crate) fn chunks(&self, input: Vec<u8>) -> Result<Vec<Vec<u8>>, Failure> {
        let Some(split) = &self.split else { return Ok(vec![input]) };
        let mut frames = Frames::new(Cursor::new(run(split, input)?));
        let mut chunks = Vec::new();
        while let Some(chunk) = frames.next_bytes()? {
            chunks.push(chunk.to_vec());
        }
        Ok(chunks)
    }

    /// What the map makes of one chunk.
    pub(crate) fn output(&self, number: u32, chunk: Vec<u8>) -> Result<Vec<u8>, Failure> {
        CHUNK.set(Some(number));
        run(&self.map, chunk)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = [("split", &self.split), ("combine", &self.combine), ("reduce", &self.reduce)];
        f.debug_set()
            .entry(&"map")
            .entries(roles.iter().filter(|(_, run)| run.is_some()).map(|(role, _)| role))
            .finish()
    }
}

thread_local! {
    /// The chunk that is mapped here without a swarm.
    static CHUNK: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The number of the chunk that is being mapped: 0 for the first, and 0 where nothing is mapped.
#[must_use]
pub fn chunk() -> u32 {
    let given = || env::var("ESSAIM_CHUNK").ok().and_then(|number| number.parse().ok());
    CHUNK.get().or_else(given).unwrap_or(0)
}

/// Runs a role in memory.
pub(crate) fn run(role: &Run, input: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    role(Box::new(Cursor::new(input)), &mut out)?;
    Ok(out)
}

/// Outputs as one stream.
pub(crate) fn framed(outputs: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
    let mut stream = Vec::new();
    outputs.iter().try_for_each(|output| write_frame(&mut stream, output))?;
    Ok(stream)
}

/// A job that [`main!`](crate::main!) is putting together: its map, and what stands around it so far.
pub struct Draft<I, O> {
    map: Settled<I, O>,
    read: fn(Vec<u8>) -> Result<I, Failure>,
    write: fn(&O, &mut dyn Write) -> Result<(), Failure>,
    split: Option<Run>,
    combine: Option<Run>,
    reduce: Option<Run>,
    check: Option<Check>,
}

impl<I: DeserializeOwned + 'static, O: Serialize + 'static> Draft<I, O> {
    /// A map, whose chunks are text and whose outputs are printed.
    pub fn new(map: Settled<I, O>) -> Self {
        let write = |output: &O, out: &mut dyn Write| Ok(print_result(output, out)?);
        Self { map, read: from_text, write, split: None, combine: None, reduce: None, check: None }
    }

    /// A split, whose items are the map's chunks, as postcard.
    #[must_use]
    pub fn split<W, C>(mut self, split: Settled<W, C>) -> Self
    where
        I: Serialize,
        W: DeserializeOwned + 'static,
        C: IntoIterator<Item = I> + 'static,
    {
        self.read = |bytes| {
            let expected = std::any::type_name::<I>();
            parts::decode(&bytes).map_err(|why| Failure::Piece { expected, why })
        };
        self.split = Some(Box::new(move |input, out| {
            let mut chunks = split(from_text(read(input)?)?)?.into_iter();
            chunks.try_for_each(|chunk| write_frame(out, &encode(&chunk)?))
        }));
        self
    }

    /// A combine; without a reduce, the last one prints.
    #[must_use]
    pub fn combine(mut self, combine: Settled<Parts<O>, O>) -> Self
    where
        O: DeserializeOwned,
    {
        let combine = Rc::new(combine);
        let last = Rc::clone(&combine);
        self.combine = Some(Box::new(move |input, out| encode_to(&combine(Parts::new(input))?, out)));
        self.reduce(Box::new(move |parts| last(parts)))
    }

    /// A reduce, over outputs that are postcard now.
    #[must_use]
    pub fn reduce<R: Serialize + 'static>(mut self, reduce: Settled<Parts<O>, R>) -> Self
    where
        O: DeserializeOwned,
    {
        self.write = encode_to;
        self.check = Some(|bytes| parts::decode::<O>(bytes).map(drop));
        self.reduce = Some(Box::new(move |input, out| Ok(print_result(&reduce(Parts::new(input))?, out)?)));
        self
    }

    /// A function over this map's outputs: it tells the compiler what a closure takes.
    pub fn fold<Given: 'static>(&self, f: impl Fn(Parts<O>) -> Given + 'static) -> Step<Parts<O>, Given> {
        Step::new(f)
    }

    /// The job.
    #[must_use]
    pub fn job(self) -> Job {
        let Self { map, read: from_bytes, write, split, combine, reduce, check } = self;
        let map = move |input: Box<dyn Read>, out: &mut dyn Write| write(&map(from_bytes(read(input)?)?)?, out);
        Job { split, map: Box::new(map), combine, reduce, check }
    }
}

impl<I, O> fmt::Debug for Draft<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").finish_non_exhaustive()
    }
}

pub(crate) fn read(mut input: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(stdin::left());
    input.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A value by the rules of the crate's first page.
fn from_text<I: DeserializeOwned>(bytes: Vec<u8>) -> Result<I, Failure> {
    // The bytes go into the value without a copy, so what may have to be shown is taken first.
    let found = Failure::shown(&bytes);
    let expected = std::any::type_name::<I>();
    input::decode(bytes).map_err(|why| Failure::Chunk { expected, found, why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn a_chunk_that_does_not_fit_is_shown() {
        let failure = from_text::<Range<u64>>(vec![b'x'; 100]).expect_err("no range");
        let message = failure.to_string();
        assert!(message.contains("chunk 0 is no core::ops::range::Range<u64>"), "{message}");
        assert!(message.ends_with(&format!("\"{}…\"", "x".repeat(60))), "{message}");
        assert!(failure.hint().contains("Range<u64>"));
    }
}
