//! One job of a host program, from its submission until nothing is left of it: read while somebody wants its results,
//! else cancelled.

use std::sync::Arc;

use coordinator_free::message::Reason;
use essaim_worker::{EngineError, StopFlag};
use tokio::sync::{mpsc, oneshot, watch};

use super::read::{Read, Reading};
use super::{Error, Held, Program};
use crate::peer::{End, Job, Leg, Progress, StartError, Submission};
use crate::store::Outputs;

/// Submits `work` and follows it to its end: what `read` makes of it goes to `results`, how it goes to `progress`. Where
/// nobody takes results any more, or the swarm is left, it is cancelled.
///
/// # Errors
/// Why not all results have come.
pub async fn run<T: Send + 'static>(
    mut held: Held,
    (program, work): (Program, Submission),
    read: Read<T>,
    results: mpsc::Sender<T>,
    progress: watch::Sender<Progress>,
) -> Result<(), Error> {
    let job = held.shared.peer.submit(work).await?;
    let (spec, id) = (job.spec(), job.id);
    let outputs = Closing(Arc::clone(&job.outputs));
    let stop = StopFlag::default();
    let reading = Reading { program, spec, leg: Leg::of(&job), stop: stop.clone() };
    let reading = start(reading, read, results.clone())?;
    let followed = follow(&mut held, job, reading, &results, &progress).await;
    stop.stop();
    drop(outputs);
    let Followed { end, read, failure, given_up } = followed?;
    match (end.reason, end.trouble) {
        (None, Some(message)) => return Err(Error::Full { job: id, message }),
        (None, None) => return Err(Error::Elsewhere(id)),
        (Some(_), _) => held.shared.peer.forget(id)?,
    }
    match (read, end.reason) {
        (None, _) => Err(Error::Gone),
        (Some(Err(error)), _) => Err(error),
        (Some(Ok(())), Some(Reason::Done)) => Ok(()),
        (Some(Ok(())), Some(Reason::Cancelled)) if given_up => Err(Error::Gone),
        (Some(Ok(())), Some(Reason::Cancelled)) => Err(Error::Cancelled),
        (Some(Ok(())), _) => Err(failure.unwrap_or(Error::Failed)),
    }
}

/// Closes outputs when it is dropped, even with the runtime: the thread that reads them waits for no more.
struct Closing(Arc<Outputs>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reads on a thread of its own, which blocks until there is something to be read.
fn start<T: Send + 'static>(
    job: Reading,
    read: Read<T>,
    results: mpsc::Sender<T>,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let (done, reading) = oneshot::channel();
    let thread = std::thread::Builder::new().name("results".into());
    thread
        .spawn(move || {
            // Nobody may want to know any more.
            let _ = done.send(read(job, &results));
        })
        .map_err(|error| StartError::from(EngineError::Thread { message: error.to_string() }))?;
    Ok(reading)
}

/// What became of a job.
struct Followed {
    end: End,
    /// How reading its results ended; none where that was not waited for.
    read: Option<Result<(), Error>>,
    /// The chunk that failed for good.
    failure: Option<Error>,
    /// Whether it was cancelled from here, as nobody takes its results or the swarm is being left.
    given_up: bool,
}

async fn follow<T>(
    held: &mut Held,
    mut job: Job,
    mut reading: oneshot::Receiver<Result<(), Error>>,
    results: &mpsc::Sender<T>,
    progress: &watch::Sender<Progress>,
) -> Result<Followed, Error> {
    let shared = Arc::clone(&held.shared);
    let (mut end, mut read, mut failure, mut given_up) = (None, None, None, false);
    while end.is_none() || (read.is_none() && !given_up) {
        tokio::select! {
            Some(notice) = job.notices.recv() => failure = failure.or(Error::of_notice(notice)),
            Ok(()) = job.progress.changed() => {
                progress.send_replace(job.progress.borrow_and_update().clone());
            }
            ended = &mut job.ended, if end.is_none() => end = Some(ended.map_err(|_| Error::Gone)?),
            done = &mut reading, if read.is_none() => {
                let done = done.unwrap_or(Err(Error::Gone));
                if done.is_err() {
                    shared.peer.cancel(job.id).await;
                }
                read = Some(done);
            }
            () = results.closed(), if !given_up => {
                given_up = true;
                shared.peer.cancel(job.id).await;
            }
            () = held.left(), if !given_up => {
                given_up = true;
                shared.peer.cancel(job.id).await;
            }
        }
    }
    while let Ok(notice) = job.notices.try_recv() {
        failure = failure.or(Error::of_notice(notice));
    }
    progress.send_replace(job.progress.borrow().clone());
    let end = end.ok_or(Error::Gone)?;
    Ok(Followed { end, read, failure, given_up })
}
