//! The front door for host programs: a function over a list, run by a swarm.
//!
//! ```no_run
//! use essaim::swarm::{Config, Swarm};
//!
//! # async fn primes() -> Result<(), essaim::swarm::Error> {
//! let swarm = Swarm::join(Config::default()).await?;
//! let program = swarm.program("primes.wasm").await?;
//! let counts: Vec<u64> = swarm.map(&program, [0..1_000, 1_000..2_000]).await?;
//! swarm.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Each input is one chunk. It becomes bytes by the rules of the kit `essaim-guest`, as its map reads them: text and
//! [`Bytes`] as they are, the rest as JSON; and what the map prints becomes a value by the same rules. A program in
//! another language, or without the kit, is given and gives text, bytes or JSON.
//!
//! # Where it runs
//! By default this process's own cores work for its own jobs, beside whoever in the swarm lends theirs, and for nobody
//! else's. The programs run on threads of this process then, in WebAssembly's sandbox, which is enough for one's own. With
//! [`sandbox::init`](crate::sandbox::init) as the first line of `main` they run in processes that can open, reach and start
//! nothing, which is also faster, and cores can be lent to strangers ([`Config::whose`]).
//!
//! # How a job ends
//! Awaiting a [`Map`], or reading its stream to the end, is all. Who drops either ends the job for everyone, and removes
//! what is kept of it. A process that is killed leaves its job on the disk, where `essaim jobs` lists it and `essaim attach`
//! goes on with it; peers drop it after a minute.
//!
//! What is beyond this (detaching, attaching, terms) is to be had from the node itself, [`Swarm::peer`].

mod config;
mod error;
mod inputs;
mod job;
mod map;
mod program;
mod read;
mod results;

pub use config::Config;
pub use error::Error;
#[doc(no_inline)]
pub use essaim_guest::Bytes;
pub use essaim_jobs::{JobId, NodeId};
pub use map::Map;
pub use program::{Program, Source};
pub use results::{Reduced, Results};

pub use crate::build::BuildError;
pub use crate::peer::{Progress, Whose};
pub use crate::sandbox::Kind;

use std::sync::Arc;

use essaim_worker::{Engine, EngineConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::peer::{Peer, StartError};

/// A node in a swarm, for a host program. It stays in the swarm while this, or a stream of its results, lives.
#[derive(Debug)]
pub struct Swarm {
    shared: Arc<Shared>,
    /// Checks programs, and folds their outputs.
    engine: Engine,
    runtime: Handle,
}

/// What the jobs need as well.
#[derive(Debug)]
struct Shared {
    peer: Peer,
    /// Whether the swarm is being left.
    leaving: watch::Sender<bool>,
}

/// A job's hold on its swarm. Whoever leaves waits until there is none.
struct Held {
    /// Dropped first, so that who waits for the other has this alone.
    shared: Arc<Shared>,
    leaving: watch::Receiver<bool>,
}

impl Held {
    fn of(shared: Arc<Shared>) -> Held {
        let leaving = shared.leaving.subscribe();
        Held { shared, leaving }
    }

    /// Returns when the swarm is being left.
    async fn left(&mut self) {
        let _ = self.leaving.wait_for(|leaving| *leaving).await;
    }
}

impl Swarm {
    /// Starts a node; returns once it listens. Others are found meanwhile, and later.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::NoSandbox`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn join(config: Config) -> Result<Swarm, Error> {
        let engine = Engine::new(EngineConfig { threads: 1, ..EngineConfig::default() }).map_err(StartError::from)?;
        let peer = config.start().await?;
        let shared = Arc::new(Shared { peer, leaving: watch::Sender::new(false) });
        Ok(Swarm { shared, engine, runtime: Handle::current() })
    }

    /// A program: a .wasm or .wat file, the folder of a Rust program, which is built, or WebAssembly as bytes.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Build`], [`Error::Program`].
    pub async fn program(&self, from: impl Into<Source>) -> Result<Program, Error> {
        Program::load(self.engine.clone(), from.into()).await
    }

    /// A job: `program` on each of `inputs`, a chunk each. They are all read here and now, and kept on the disk of the home,
    /// so that many take no memory; the job begins when the answer is awaited or made a stream.
    pub fn map<I, O>(&self, program: &Program, inputs: impl IntoIterator<Item = I>) -> Map<O>
    where
        I: Serialize,
        O: DeserializeOwned + Send + 'static,
    {
        let inputs = inputs::write(&self.shared.peer, program.has_split(), inputs);
        Map::new(Arc::downgrade(&self.shared), self.runtime.clone(), program.clone(), inputs)
    }

    /// The node itself.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// Leaves the swarm. Jobs that have not come to their end are cancelled, and everyone who works for them is told;
    /// without this, when the process just ends, they find out.
    pub async fn shutdown(self) {
        self.shared.leaving.send_replace(true);
        self.shared.leaving.closed().await;
        // A job that begins at this moment has it; it finds that the swarm is being left, and drops it.
        if let Some(Shared { peer, .. }) = Arc::into_inner(self.shared) {
            peer.shutdown().await;
        }
    }
}
