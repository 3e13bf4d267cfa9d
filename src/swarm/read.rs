//! What comes out of a job, as values: on a thread of its own, as the chunks are sealed.

use std::any::type_name;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use essaim_guest::codec;
use essaim_worker::{JobSpec, StopFlag};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{Error, Program};
use crate::blob::Blob;
use crate::peer::{self, Fold, Leg, Ordered};
use crate::store::StoreError;

/// A job that is read.
pub struct Reading {
    pub program: Program,
    pub spec: JobSpec,
    pub leg: Leg,
    /// Ends a reduce that nobody waits for any more.
    pub stop: StopFlag,
}

/// Reads all of a job, until there is no more, or until nobody takes it; why there is no more says the job.
pub type Read<T> = fn(Reading, &mpsc::Sender<T>) -> Result<(), Error>;

/// The outputs in the order of the inputs.
pub fn in_order<O: DeserializeOwned>(job: Reading, to: &mpsc::Sender<O>) -> Result<(), Error> {
    for chunk in 0..job.leg.manifest.chunks {
        let Some(sealed) = job.leg.outputs.wait(chunk) else { break };
        if to.blocking_send(job.decode(chunk, &sealed.bytes)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// The outputs as they come, each with the number of its input.
pub fn as_completed<O: DeserializeOwned>(job: Reading, to: &mpsc::Sender<(usize, O)>) -> Result<(), Error> {
    for nth in 0..job.leg.manifest.chunks as usize {
        let Some((chunk, sealed)) = job.leg.outputs.wait_nth(nth) else { break };
        if to.blocking_send((chunk as usize, job.decode(chunk, &sealed.bytes)?)).is_err() {
            break;
        }
    }
    Ok(())
}

/// What the program makes of all outputs.
pub fn reduced<R: DeserializeOwned>(job: Reading, to: &mpsc::Sender<R>) -> Result<(), Error> {
    let fold = Fold { program: job.program.compiled, spec: job.spec };
    let printed = Printed::default();
    match fold.run(Ordered::new(std::iter::once(job.leg)), printed.clone(), &job.stop) {
        // The outputs do not all come.
        Err(_) if job.stop.is_stopped() => return Ok(()),
        done => done.map_err(|failure| Error::of_reduce(&peer::note(&failure)))?,
    }
    let printed = std::mem::take(&mut *printed.0.lock().unwrap_or_else(PoisonError::into_inner));
    let wrong = |why: serde_json::Error| Error::DecodeReduced { expected: type_name::<R>(), why: why.to_string() };
    // Who wanted it may have gone.
    let _ = to.blocking_send(codec::decode(printed).map_err(wrong)?);
    Ok(())
}

impl Reading {
    fn decode<O: DeserializeOwned>(&self, chunk: u32, output: &Blob) -> Result<O, Error> {
        let bytes = output.read(0, output.len() as usize).map_err(StoreError::from)?;
        let value = if self.program.gives_parts() {
            codec::decode_part(&bytes)
        } else {
            codec::decode(bytes.into()).map_err(|why| why.to_string())
        };
        value.map_err(|why| Error::Decode { chunk, expected: type_name::<O>(), why })
    }
}

/// What a reduce has printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
