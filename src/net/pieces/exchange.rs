//! The task that drives the exchange of one blob: it does what the core's machine says, and tells it what came of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coordinator_free::pieces::{Config, Exchange, Input, Layout, Output, Tuning};
use essaim_jobs::{BlobId, BlobRef, NodeId};
use futures::channel::oneshot;
use libp2p::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::session::{self, About, Session};
use crate::blob::Pieces;
use crate::net::blobs::FetchError;
use crate::net::client::Client;
use crate::net::streams::Kind;
use crate::net::upload::Upload;
use crate::net::{addr, limits};

/// What is told to the task.
pub(super) enum Happening {
    /// Download of this number wants the whole blob, in this place.
    Wanted(u64, Arc<dyn Pieces>, oneshot::Sender<Result<(), FetchError>>),
    /// This node may have some of it.
    Source(NodeId),
    /// It will name no more sources.
    NoMoreSources(u64),
    /// A peer has opened a session.
    Inbound(NodeId, Stream, OwnedSemaphorePermit),
    /// From the session of this number.
    Input(u64, Input),
    /// The session of this number has ended.
    Closed(NodeId, u64),
    /// A piece could not be written.
    Disk(String),
}

/// What a task is given when it starts.
pub(super) struct Parts {
    pub(super) node: NodeId,
    pub(super) name: BlobRef,
    pub(super) layout: Layout,
    pub(super) pieces: Arc<dyn Pieces>,
    pub(super) client: Client,
    pub(super) upload: Upload,
    pub(super) happenings: mpsc::Sender<Happening>,
    pub(super) queue: mpsc::Receiver<Happening>,
}

/// What a side task came to.
enum Errand {
    /// A session was proposed to a source.
    Proposed(NodeId, Option<Stream>),
    /// A piece was read for a session.
    Encoded(NodeId, u64, u32, Option<Bytes>),
}

/// Somebody who waits for the whole blob.
struct Waiting {
    number: u64,
    done: oneshot::Sender<Result<(), FetchError>>,
    /// Whether it may still name sources.
    seeking: bool,
}

/// See the module.
pub(super) struct Task {
    parts: Parts,
    exchange: Exchange,
    start: Instant,
    /// At most [`Tuning::sessions`], and those that the exchange is about to turn away.
    sessions: HashMap<NodeId, Session>,
    number: u64,
    /// Those who wait for all of it; usually one.
    waiting: Vec<Waiting>,
    /// Sources to be dialled: at most [`limits::CANDIDATES`], further ones are forgotten.
    candidates: VecDeque<NodeId>,
    /// Those that are being dialled: at most [`limits::PROPOSALS`].
    dialling: HashSet<NodeId>,
    /// Dials, and pieces being read: as many as the exchange sends at once.
    errands: JoinSet<Errand>,
    /// Whether the exchange was told to take.
    taking: bool,
}

impl Task {
    pub(super) fn new(parts: Parts) -> Task {
        Task {
            exchange: exchange(&parts),
            parts,
            start: Instant::now(),
            sessions: HashMap::new(),
            number: 0,
            waiting: Vec::new(),
            candidates: VecDeque::new(),
            dialling: HashSet::new(),
            errands: JoinSet::new(),
            taking: true,
        }
    }

    /// Runs until nobody wants anything of it any more.
    pub(super) async fn run(mut self) {
        loop {
            self.dial();
            self.obey();
            self.waiting.retain(|waiting| !waiting.done.is_canceled());
            if self.exchange.is_complete() {
                self.answer(Ok(()));
            } else if !self.waiting.is_empty() && self.is_hopeless() {
                self.answer(Err(FetchError::NoSource(self.parts.name.id)));
            }
            self.take();
            let idle = self.waiting.is_empty() && self.sessions.is_empty();
            let deadline = self.exchange.deadline().map(|due| self.start + due);
            tokio::select! {
                happening = self.parts.queue.recv() => match happening {
                    Some(happening) => self.happen(happening),
                    None => return,
                },
                Some(done) = self.errands.join_next() => if let Ok(errand) = done {
                    self.run_errand(errand);
                },
                () = sleep_until(deadline.unwrap_or(self.start)), if deadline.is_some() => {
                    self.tell(Input::Tick);
                    self.watch();
                }
                // Who waits may have gone away without a word.
                () = sleep(limits::WAITING_LOOK), if !self.waiting.is_empty() => {}
                () = sleep(limits::LINGER), if idle => return,
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wanted(number, pieces, done) => self.wanted(number, pieces, done),
            Happening::Source(peer) => {
                let known = self.candidates.contains(&peer) || peer == self.parts.node;
                if !known && self.candidates.len() < limits::CANDIDATES {
                    self.candidates.push_back(peer);
                }
            }
            Happening::NoMoreSources(number) => {
                for waiting in self.waiting.iter_mut().filter(|waiting| waiting.number == number) {
                    waiting.seeking = false;
                }
            }
            Happening::Inbound(peer, stream, share) => self.open(peer, stream, false, Some(share)),
            Happening::Input(number, input) => {
                let (Input::Message { from: peer, .. }
                | Input::Bytes { from: peer, .. }
                | Input::Arrived { from: peer, .. }
                | Input::Given { to: peer, .. }) = &input
                else {
                    return;
                };
                if self.is_current(*peer, number) {
                    self.note(&input);
                    self.tell(input);
                }
            }
            Happening::Closed(peer, number) => {
                if self.is_current(peer, number)
                    && let Some(session) = self.sessions.remove(&peer)
                {
                    tracing::debug!(%peer, pieces = session.taken, blob = %self.parts.name.id, "a session about a blob has ended");
                    self.tell(Input::Down(peer));
                }
            }
            Happening::Disk(reason) => self.answer(Err(FetchError::Disk { id: self.parts.name.id, reason })),
        }
    }

    /// Counts what comes from whom, for those who want to know what goes on.
    fn note(&mut self, input: &Input) {
        let Input::Arrived { from, right: true, .. } = input else { return };
        let Some(session) = self.sessions.get_mut(from) else { return };
        session.taken += 1;
        if session.taken == 1 {
            tracing::debug!(peer = %from, blob = %self.parts.name.id, "the first piece of a blob has come from a source");
        }
    }

    /// Notes which sources are poor.
    fn watch(&mut self) {
        for source in self.exchange.sources() {
            let Some(session) = self.sessions.get_mut(&source.node) else { continue };
            if source.poor && !session.poor {
                tracing::debug!(peer = %source.node, blob = %self.parts.name.id, "a source is silent or slow: others are asked instead");
            }
            session.poor = source.poor;
        }
    }

    /// Somebody wants the blob: whoever wants it in the same place shares in what is under way.
    fn wanted(&mut self, number: u64, pieces: Arc<dyn Pieces>, done: oneshot::Sender<Result<(), FetchError>>) {
        if !Arc::ptr_eq(&pieces, &self.parts.pieces) {
            if self.waiting.iter().any(|waiting| !waiting.done.is_canceled()) {
                let _ = done.send(Err(FetchError::Elsewhere(self.parts.name.id)));
                return;
            }
            // Those who were served from the other place will come again.
            self.sessions.clear();
            self.parts.pieces = pieces;
            self.exchange = exchange(&self.parts);
            self.start = Instant::now();
            self.taking = true;
        }
        self.waiting.push(Waiting { number, done, seeking: true });
    }

    /// Takes only while somebody waits; gives in any case.
    fn take(&mut self) {
        let take = !self.waiting.is_empty();
        if take != self.taking {
            self.taking = take;
            self.tell(Input::Take(take));
            self.obey();
        }
    }

    fn answer(&mut self, result: Result<(), FetchError>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.done.send(result.clone());
        }
    }

    /// Whether nobody has it and nobody will be named who may.
    fn is_hopeless(&self) -> bool {
        let seeking = self.waiting.iter().any(|waiting| waiting.seeking);
        !seeking && self.sessions.is_empty() && self.candidates.is_empty() && self.dialling.is_empty()
    }

    fn is_current(&self, peer: NodeId, number: u64) -> bool {
        self.sessions.get(&peer).is_some_and(|session| session.number == number)
    }

    /// Proposes sessions to those who may have some of it.
    fn dial(&mut self) {
        while self.dialling.len() < limits::PROPOSALS
            && let Some(peer) = self.candidates.pop_front()
        {
            if self.sessions.contains_key(&peer) || !self.dialling.insert(peer) {
                continue;
            }
            let (client, name) = (self.parts.client.clone(), self.parts.name);
            self.errands.spawn(async move {
                let proposed = async {
                    let mut stream = client.open(addr::peer_id(peer), Kind::Pieces).await.ok()?;
                    session::propose(&mut stream, name).await.ok()?;
                    Some(stream)
                };
                Errand::Proposed(peer, proposed.await)
            });
        }
    }

    fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Proposed(peer, stream) => {
                self.dialling.remove(&peer);
                match stream {
                    Some(stream) => self.open(peer, stream, true, None),
                    None => tracing::debug!(%peer, "no session about a blob"),
                }
            }
            Errand::Encoded(to, number, piece, bytes) => {
                let Some(session) = self.sessions.get(&to).filter(|session| session.number == number) else { return };
                let sent = bytes.is_some_and(|bytes| session.gives.try_send((piece, bytes)).is_ok());
                if !sent {
                    self.tell(Input::Given { to, piece, sent });
                }
            }
        }
    }

    /// A stream is there on which both agree to talk. Where both have opened one, that of the lower name stands.
    fn open(&mut self, peer: NodeId, stream: Stream, ours: bool, share: Option<OwnedSemaphorePermit>) {
        let lower = self.parts.node < peer;
        let stands = self.sessions.get(&peer).is_some_and(|session| session.ours != ours && session.ours == lower);
        if stands {
            return;
        }
        self.number += 1;
        let about = About {
            peer,
            number: self.number,
            layout: self.parts.layout,
            pieces: Arc::clone(&self.parts.pieces),
            upload: self.parts.upload.clone(),
            happenings: self.parts.happenings.clone(),
        };
        self.sessions.insert(peer, Session::start(stream, about, ours, share));
        self.tell(Input::Up(peer));
    }

    fn tell(&mut self, input: Input) {
        self.exchange.handle(self.start.elapsed(), input);
    }

    /// Does what the exchange wants done.
    fn obey(&mut self) {
        while let Some(output) = self.exchange.poll() {
            match output {
                Output::Send { to, message } => {
                    let Some(session) = self.sessions.get(&to) else { continue };
                    // Who does not read what little there is to say is no use, and must not cost memory.
                    if session.messages.try_send(message).is_err() {
                        self.sessions.remove(&to);
                        self.tell(Input::Down(to));
                    }
                }
                Output::Give { to, piece } => {
                    let Some(session) = self.sessions.get(&to) else { continue };
                    let (number, pieces) = (session.number, Arc::clone(&self.parts.pieces));
                    self.errands.spawn(async move {
                        let blob = pieces.name().id;
                        let encoded = spawn_blocking(move || pieces.encode(piece)).await;
                        let encoded = encoded.map_err(io::Error::other).and_then(|encoded| encoded);
                        let encoded = encoded.inspect_err(
                            |error| tracing::warn!(%blob, piece, %error, "a piece is not given: it cannot be read as it was"),
                        );
                        Errand::Encoded(to, number, piece, encoded.ok())
                    });
                }
                Output::Leave { peer, reason } => {
                    let pieces = self.sessions.remove(&peer).map_or(0, |session| session.taken);
                    tracing::debug!(%peer, ?reason, pieces, blob = %self.parts.name.id, "a session about a blob is left");
                }
                Output::Complete => tracing::debug!(blob = %self.parts.name.id, "a blob is all here"),
            }
        }
    }
}

fn exchange(parts: &Parts) -> Exchange {
    // Different at every node, so that not all draw the same piece.
    let seed = BlobId::of(&[parts.node.0, parts.name.id.0].concat()).0;
    let have = parts.pieces.have();
    Exchange::new(Config { layout: parts.layout, have, seed, tuning: Tuning::default() })
}
