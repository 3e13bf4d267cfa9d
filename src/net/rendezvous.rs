//! Finding one another: on the same machine by files in a folder that all can read, and anywhere by the
//! addresses that a person gives. The first takes milliseconds, and works where multicast does not.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use libp2p::{Multiaddr, PeerId};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval, sleep};

use super::addr::{self, PeerAddr};
use super::client::{Client, Command, Dialled};
use super::inbox::{Event, Inbox};
use super::limits;

/// This node's own file in the folder; removed when this is dropped.
#[derive(Debug)]
pub(super) struct Own {
    path: PathBuf,
    written: Vec<Multiaddr>,
}

impl Own {
    pub(super) fn new(folder: &Path, me: PeerId) -> Own {
        Own { path: folder.join(me.to_string()).with_extension(EXTENSION), written: Vec::new() }
    }

    /// Writes the file if it is not there or says something else: in one move, so that nobody reads half of it.
    pub(super) fn write(&mut self, addresses: &[Multiaddr]) -> io::Result<()> {
        let here = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST);
        let mut addresses = addr::worth_dialling(addresses, &here);
        // Those who read it are on this machine: where loopback works, nothing else is needed.
        if addresses.iter().any(is_loopback) {
            addresses.retain(is_loopback);
        }
        if self.written == addresses && self.path.exists() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text: String = addresses.iter().take(limits::HINTS_PER_PEER).map(|addr| format!("{addr}\n")).collect();
        let draft = self.path.with_extension("tmp");
        fs::write(&draft, text)?;
        fs::rename(&draft, &self.path)?;
        self.written = addresses;
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

const EXTENSION: &str = "addrs";

fn is_loopback(address: &Multiaddr) -> bool {
    addr::ip(address).is_some_and(|ip| ip.is_loopback())
}

/// The nodes that have files in `folder`, [`limits::RENDEZVOUS_FILES`] at most.
fn others(folder: &Path, me: PeerId) -> Vec<(PathBuf, PeerId, Vec<Multiaddr>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".addrs")?;
        let peer = PeerId::from_str(name).ok().filter(|peer| *peer != me)?;
        Some((path, peer))
    });
    let read = named.take(limits::RENDEZVOUS_FILES).filter_map(|(path, peer)| {
        let mut text = String::new();
        fs::File::open(&path).ok()?.take(limits::RENDEZVOUS_BYTES).read_to_string(&mut text).ok()?;
        let addresses = text.lines().filter_map(|line| line.parse().ok()).take(limits::HINTS_PER_PEER).collect();
        Some((path, peer, addresses))
    });
    read.collect()
}

/// Keeps this node's file, and dials those who have one. A file whose owner cannot be dialled is removed: a
/// live owner writes it anew.
pub(super) async fn keep(mut own: Own, me: PeerId, client: Client, addresses: watch::Receiver<Vec<Multiaddr>>) {
    let Some(folder) = own.path.parent().map(Path::to_owned) else { return };
    let mut ticks = interval(limits::RENDEZVOUS);
    loop {
        ticks.tick().await;
        let now = addresses.borrow().clone();
        if let Err(error) = own.write(&now) {
            tracing::warn!(%error, path = %own.path.display(), "other nodes on this machine cannot read where this one is");
        }
        let folder = folder.clone();
        let found = spawn_blocking(move || others(&folder, me)).await.unwrap_or_default();
        let dials = found.into_iter().map(|(path, peer, addresses)| {
            let client = client.clone();
            async move {
                let dialled = client.ask(|reply| Command::Dial(Some(peer), addresses, reply)).await;
                if let Some(Dialled::Failed(reason)) = dialled {
                    tracing::debug!(%peer, reason, "a file of a node that is gone");
                    let _ = fs::remove_file(path);
                }
            }
        });
        futures::future::join_all(dials).await;
    }
}

/// Dials those whom the person named: once at the start, and again with growing patience whenever this node
/// is alone.
pub(super) async fn seek(peers: Vec<PeerAddr>, client: Client, mut members: watch::Receiver<usize>, inbox: Inbox) {
    let (first, longest) = limits::REDIAL;
    let mut wait = first;
    let mut told = None;
    loop {
        let began = Instant::now();
        let mut reasons = Vec::new();
        for peer in &peers {
            match dial(peer, &client).await {
                Ok(()) => {}
                Err(reason) => reasons.push(format!("cannot reach {peer}: {reason}")),
            }
        }
        // Once a failure is enough: a person who reads it ten times knows no more.
        if !reasons.is_empty() && told.as_ref() != Some(&reasons) {
            for reason in &reasons {
                let note = Event::Note(format!("{reason}; it will be tried again"));
                if !inbox.put(note).await {
                    return;
                }
            }
            told = Some(reasons);
        }
        if tokio::time::timeout(wait, members.wait_for(|members| *members > 0)).await.is_ok_and(|seen| seen.is_ok()) {
            wait = first;
            told = None;
            if members.wait_for(|members| *members == 0).await.is_err() {
                return;
            }
        }
        sleep(wait.saturating_sub(began.elapsed())).await;
        wait = (wait * 2).min(longest);
    }
}

async fn dial(peer: &PeerAddr, client: &Client) -> Result<(), String> {
    let (addresses, id) = peer.resolve().await.map_err(|error| error.to_string())?;
    let mut reason = String::new();
    for address in addresses {
        match client.ask(|reply| Command::Dial(id, vec![address], reply)).await {
            Some(Dialled::Failed(why)) => reason = why,
            _ => return Ok(()),
        }
    }
    Err(reason)
}
