//! `essaim join`, and how every command makes its node.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::json;

use super::args::{Global, Join};
use super::explain;
use super::fail::Fail;
use super::say::{count, say};
use crate::control::{self, Asked, Wish, Wishes};
use crate::machine::meeting_place;
use crate::peer::{Config, JobStatus, Peer, Status, Terms, Why};
use crate::sandbox;
use crate::store::Home;

/// How long it takes at most until what the owner wants is so, or is not going to be.
const SO_WITHIN: Duration = Duration::from_secs(1);
/// Time between two lines on what is done, while something is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Lends this machine's cores until the person ends it.
///
/// # Errors
/// The node cannot start.
pub async fn join(global: &Global, join: &Join) -> Result<(), Fail> {
    let terms = join.terms();
    let (cpus, memory_bytes) = (terms.cpus, terms.memory_bytes);
    let home = home(global)?;
    let dir = home.dir().to_owned();
    let peer = start(global, home, join.sandbox, terms).await?;
    let addresses: Vec<_> = peer.net().addresses().iter().map(ToString::to_string).collect();
    let node = peer.net().node();
    let words = format!(
        "essaim: peer {} lends {} and {} of memory to the swarm `{}` (home {})\n  others reach it with --peer and one of\n    {}\n  Ctrl-C ends it",
        node.short(),
        count(u64::from(cpus), "core"),
        ByteSize::b(memory_bytes),
        global.swarm,
        dir.display(),
        addresses.join("\n    ")
    );
    let fields = json!({
        "peer": node.to_string(),
        "cpus": cpus,
        "memory_bytes": memory_bytes,
        "swarm": global.swarm.to_string(),
        "addresses": addresses,
        "home": dir.to_string_lossy(),
    });
    say(global, words, "joined", fields);
    let mut wishes = listen(&dir)?;
    let mut status = peer.status();
    let mut told = Status::default();
    let mut tell = tokio::time::interval(TELL_EVERY);
    let mut terminate = terminate();
    loop {
        tokio::select! {
            _ = tell.tick() => {
                let now = status.borrow().clone();
                let differs = now.chunks_run != told.chunks_run || now.connected != told.connected;
                if differs || now.why != told.why || now.trouble != told.trouble {
                    say(global, line(&now), "status", fields_of(&now));
                }
                told = now;
            }
            Some(Asked { wish, answer }) = wishes.next() => {
                let other = match wish {
                    Wish::Look => Some(json!(peer.look().await)),
                    // It has none of its own, but may have had.
                    Wish::Jobs | Wish::Cancel(_) | Wish::Explain(..) | Wish::Ended => {
                        Some(explain::answer(wish, &peer).await)
                    }
                    _ => None,
                };
                if let Some(other) = other {
                    let _ = answer.send(other);
                    continue;
                }
                if let Wish::Pause | Wish::Resume = wish {
                    let paused = wish == Wish::Pause;
                    peer.pause(paused);
                    // It is so in a moment.
                    let is_so = status.wait_for(|status| (status.why == Some(Why::Paused)) == paused);
                    let _ = tokio::time::timeout(SO_WITHIN, is_so).await;
                }
                let mut how = fields_of(&status.borrow());
                how["peer"] = node.to_string().into();
                how["swarm"] = global.swarm.to_string().into();
                how["home"] = dir.to_string_lossy().into();
                how["paused"] = peer.is_paused().into();
                how["leaving"] = (wish == Wish::Finish).into();
                // Whoever asked may have gone.
                let _ = answer.send(how);
                if wish == Wish::Finish {
                    break;
                }
            }
            _ = tokio::signal::ctrl_c() => break,
            () = async { terminate.recv().await; } => break,
        }
    }
    say(global, "essaim: leaving: what is running is ended first, what is not is handed back", "leaving", json!({}));
    wishes.close().await;
    let last = status.borrow().clone();
    tokio::select! {
        () = peer.shutdown() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    say(global, line(&last), "left", fields_of(&last));
    Ok(())
}

/// Listens for what the owner of this machine wants.
///
/// # Errors
/// There is no room for a socket.
pub fn listen(dir: &Path) -> Result<Wishes, Fail> {
    let hint = "make room there, or name another folder with --home DIR";
    control::listen(dir).map_err(|e| Fail::new(format!("no socket for its owner in {}: {e}", dir.display()), hint))
}

fn line(status: &Status) -> String {
    let mut line =
        format!("essaim: {}, {} run", count(status.connected as u64, "peer"), count(status.chunks_run, "chunk"));
    if status.chunks_failed > 0 {
        line.push_str(&format!(" ({} of them failed)", status.chunks_failed));
    }
    if let Some(why) = status.why {
        line.push_str(&format!("; {} of {} lent: {}", status.lent, count(u64::from(status.cpus), "core"), reason(why)));
    }
    if let Some(trouble) = &status.trouble {
        line.push_str(&format!("; {trouble}"));
    }
    for JobStatus { name, held, running, forgotten_in, .. } in &status.jobs {
        line.push_str(&format!("; {name}: {} held, {running} running", count(*held, "chunk")));
        if let Some(left) = forgotten_in {
            line.push_str(&format!(", its author away, kept for {} more", roughly(*left)));
        }
    }
    line
}

/// A time that need not be exact, in words.
pub fn roughly(time: Duration) -> String {
    let step = if time.as_secs() >= 86_400 { 3_600 } else { 60 };
    humantime::format_duration(Duration::from_secs(time.as_secs() / step * step)).to_string()
}

/// Why fewer cores are lent than could be, in words.
fn reason(why: Why) -> &'static str {
    match why {
        Why::Paused => "paused by its owner",
        Why::OnBattery => "on battery",
        Why::OutsideHours => "outside its hours",
        Why::Others => "others use the machine",
    }
}

fn fields_of(status: &Status) -> serde_json::Value {
    let job = |job: &JobStatus| {
        let left = job.forgotten_in.map(|left| left.as_secs());
        json!({ "name": job.name, "held": job.held, "running": job.running, "percents": job.percents, "forgotten_in_seconds": left })
    };
    let jobs: Vec<_> = status.jobs.iter().map(job).collect();
    json!({ "cpus": status.cpus, "lent": status.lent, "why": status.why, "connected": status.connected, "chunks_run": status.chunks_run, "chunks_failed": status.chunks_failed, "trouble": status.trouble, "jobs": jobs })
}

/// The home that the person named, or the first free one.
///
/// # Errors
/// It is in use, or cannot be used.
pub fn home(global: &Global) -> Result<Home, Fail> {
    let home = match &global.home {
        Some(dir) => Home::open(dir),
        None => Home::open_default(),
    };
    home.map_err(|e| Fail::of(&e, e.hint()))
}

/// Starts a node as the options of every command say.
///
/// # Errors
/// It cannot listen, or its home cannot be used.
pub async fn start(global: &Global, home: Home, kind: sandbox::Kind, terms: Terms) -> Result<Peer, Fail> {
    let sandbox = sandbox::of(kind, &home, &terms).map_err(|e| Fail::of(&e, e.hint()))?;
    let config = Config {
        home,
        swarm: global.swarm.clone(),
        listen: global.listen.iter().flat_map(|listen| listen.0.clone()).collect(),
        peers: global.peers.clone(),
        mdns: !global.no_mdns,
        local_dir: meeting_place(),
        upload: global.upload,
        disk_bytes: global.disk,
        terms,
        sandbox,
    };
    Peer::start(config).await.map_err(|e| Fail::of(&e, e.hint()))
}

/// The polite way to end a process. Where there is none, waits for ever.
pub fn terminate() -> Terminate {
    Terminate(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok())
}

/// See [`terminate`].
pub struct Terminate(Option<tokio::signal::unix::Signal>);

impl Terminate {
    pub async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}
