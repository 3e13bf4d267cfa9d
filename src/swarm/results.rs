//! The results of a job: a stream, or one future.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio::sync::{mpsc, oneshot, watch};

use super::Error;
use crate::peer::Progress;

/// Results that wait to be taken; the job's further ones wait on the disk.
const WAITING: usize = 64;

/// The results of a job, as they come; the last may be an error. Dropping it cancels the job, for everyone.
#[derive(Debug)]
#[must_use = "dropping it cancels the job"]
pub struct Results<T> {
    values: mpsc::Receiver<T>,
    /// None once it was told.
    end: Option<oneshot::Receiver<Result<(), Error>>>,
    progress: watch::Receiver<Progress>,
}

/// The other side of [`Results`].
pub(super) struct Giver<T> {
    pub values: mpsc::Sender<T>,
    pub end: oneshot::Sender<Result<(), Error>>,
    pub progress: watch::Sender<Progress>,
}

impl<T> Results<T> {
    pub(super) fn new(chunks: u32) -> (Giver<T>, Results<T>) {
        let (values, taken) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let (progress, watched) = watch::channel(Progress { chunks, ..Progress::default() });
        (Giver { values, end, progress }, Results { values: taken, end: Some(ended), progress: watched })
    }

    /// The next result; none when all have come, or after an error.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// How the job goes, about ten times a second: who runs it, and how many of its chunks are done, which is more than have
    /// been taken from here.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        if let Some(value) = ready!(self.values.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(value)));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let end = ready!(Pin::new(end).poll(cx));
        self.end = None;
        // Who does not say how it ended is gone with the runtime.
        Poll::Ready(end.unwrap_or(Err(Error::Gone)).err().map(Err))
    }
}

impl<T> Stream for Results<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

/// What a program's own reduce makes of all outputs, to be awaited. Dropping it cancels the job, for everyone.
#[derive(Debug)]
#[must_use = "dropping it cancels the job"]
pub struct Reduced<R>(Results<R>);

impl<R> Reduced<R> {
    pub(super) fn new(results: Results<R>) -> Reduced<R> {
        Reduced(results)
    }

    /// How the job goes, as [`Results::progress`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }
}

impl<R> Future for Reduced<R> {
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx).map(|reduced| reduced.unwrap_or(Err(Error::Gone)))
    }
}
