//! A job that is put together: what it is to be run with, and in which way its results are wanted.

use std::fs::File;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use essaim_jobs::manifest::check_names;
use essaim_jobs::{BlobRef, Halt, Limits, Mount, Role, bounds};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::read::{self, Read};
use super::results::Giver;
use super::{Error, Held, Program, Reduced, Results, Shared, job};
use crate::peer::Submission;
use crate::store::Draft;

/// How long peers keep a job whose host program is silent. None comes back for it, unless its person attaches it.
const KEEP: Duration = Duration::from_secs(60);

/// A program over a list of inputs. Awaited, it gives all outputs in the order of the inputs; it can also be a stream of
/// them, or be reduced to one. What is not set is as with the command `essaim run`.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn sweep(swarm: essaim::swarm::Swarm, program: essaim::swarm::Program) -> Result<(), essaim::swarm::Error> {
/// let job = swarm.map(&program, 1..=100_u64).timeout(Duration::from_secs(10)).copies(2);
/// let mut results = job.as_completed();
/// while let Some(result) = results.next().await {
///     let (number, price): (usize, f64) = result?;
///     println!("{number}: {price}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is awaited or made a stream"]
pub struct Map<O> {
    shared: Weak<Shared>,
    runtime: Handle,
    program: Program,
    inputs: Result<Draft, Error>,
    options: Options,
    output: PhantomData<fn() -> O>,
}

/// What a job is run with.
#[derive(Debug)]
struct Options {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    data: Vec<(String, PathBuf)>,
    limits: Limits,
    copies: u8,
    retries: u32,
    reuse: bool,
}

impl<O> Map<O> {
    /// How many different peers must agree on each output, 1 to 8.
    pub fn copies(mut self, copies: u8) -> Self {
        self.options.copies = copies;
        self
    }

    /// How long a chunk may run, on the processor.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.limits.millis = timeout.as_millis().try_into().unwrap_or(u64::MAX);
        self
    }

    /// How much memory a chunk may use, bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.options.limits.memory_bytes = bytes;
        self
    }

    /// How often a chunk that failed is tried again, at another peer.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// The program's arguments, after those that it has already.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// An environment variable for the program.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.env.push((name.into(), value.into()));
        self
    }

    /// A file that the program can read under this name, wherever it runs. It must not change while the job lives.
    pub fn data(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.options.data.push((name.into(), path.as_ref().to_owned()));
        self
    }

    /// Runs all chunks, also those that an earlier job of this home has run, and keeps no results for later ones.
    pub fn no_cache(mut self) -> Self {
        self.options.reuse = false;
        self
    }

    /// Begins the job; what comes is what the program's own reduce makes of all outputs, in this process.
    pub fn reduce<R: DeserializeOwned + Send + 'static>(mut self) -> Reduced<R> {
        self.inputs = self.inputs.and_then(|draft| match draft.chunks() {
            _ if !self.program.reduces() => Err(Error::NoReduce(self.program.name.clone())),
            0 => Err(Error::NoInputs),
            _ => Ok(draft),
        });
        Reduced::new(self.start(true, read::reduced))
    }

    pub(super) fn new(shared: Weak<Shared>, runtime: Handle, program: Program, inputs: Result<Draft, Error>) -> Map<O> {
        let options = Options {
            argv: Vec::new(),
            env: Vec::new(),
            data: Vec::new(),
            limits: Limits::default(),
            copies: 1,
            retries: 1,
            reuse: true,
        };
        Map { shared, runtime, program, inputs, options, output: PhantomData }
    }

    /// Begins the job.
    fn start<T: Send + 'static>(self, folds: bool, read: Read<T>) -> Results<T> {
        let Map { shared, runtime, program, inputs, options, .. } = self;
        let chunks = inputs.as_ref().map_or(0, |draft| draft.chunks() as u32);
        let (giver, results) = Results::new(chunks);
        let Giver { values, end, progress } = giver;
        runtime.spawn(async move {
            let run = async {
                let draft = inputs?;
                if draft.chunks() == 0 {
                    return Ok(());
                }
                let held = Held::of(shared.upgrade().ok_or(Error::Gone)?);
                let composed = tokio::task::spawn_blocking(move || options.compose(program, draft, folds));
                let work = composed.await.map_err(|_| Error::Gone)??;
                job::run(held, work, read, values, progress).await
            };
            // Nobody may listen any more.
            let _ = end.send(run.await);
        });
        results
    }
}

impl<O: DeserializeOwned + Send + 'static> Map<O> {
    /// Begins the job; its outputs come in the order of the inputs.
    pub fn in_order(self) -> Results<O> {
        self.start(false, read::in_order)
    }

    /// Begins the job; its outputs come as they are there, each with the number of its input, from 0.
    pub fn as_completed(self) -> Results<(usize, O)> {
        self.start(false, read::as_completed)
    }
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for Map<O> {
    type Output = Result<Vec<O>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let results = self.in_order();
        Box::pin(results.try_collect())
    }
}

impl Options {
    /// All that is submitted; blocks.
    fn compose(self, program: Program, mut draft: Draft, folds: bool) -> Result<(Program, Submission), Error> {
        let names = self.data.iter().map(|(name, _)| name.as_str());
        check_names(names).map_err(Error::DataName)?;
        let data = self.data.iter().map(|(name, path)| mount(name, path, &mut draft)).collect::<Result<_, _>>()?;
        let work = Submission {
            name: program.name.clone(),
            program: program.bytes.clone(),
            role: Role::Map,
            first_chunk: 0,
            argv: self.argv,
            values: 0,
            env: self.env,
            draft,
            data,
            limits: self.limits,
            strict: false,
            copies: self.copies,
            retries: self.retries,
            halt: Halt::default(),
            folds,
            keep: KEEP,
            resume: false,
            reuse: self.reuse,
        };
        Ok((program, work))
    }
}

/// A file for all chunks.
fn mount(name: &str, path: &Path, draft: &mut Draft) -> Result<Mount, Error> {
    let unread = |source| Error::Read { path: path.to_owned(), source };
    let file = Arc::new(File::open(path).map_err(unread)?);
    let number = draft.file(path, Arc::clone(&file)).map_err(unread)?;
    let blob = BlobRef::of_reader(&*file).map_err(unread)?;
    if blob.len > bounds::BLOB_BYTES {
        return Err(Error::DataTooLarge { path: path.to_owned(), bytes: blob.len });
    }
    draft.data(blob, number);
    let name = name.to_owned().try_into().map_err(|_| Error::DataName(name.to_owned()))?;
    Ok(Mount { name, blob })
}
