//! `essaim peers`: who lends what, as the DHT and the peers themselves say.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::{Global, Peers};
use super::fail::Fail;
use super::join::{self, roughly};
use super::say::{count, say};
use crate::net::Found;
use crate::peer::{self, Job, Known, Terms};
use crate::sandbox::Kind;
use crate::store::Home;

/// Looks that bring nobody new before the list is taken for whole, and the pause between two.
const QUIET_LOOKS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(300);

/// Lists the peers that lend their cores.
///
/// # Errors
/// The node cannot start, or nobody was found.
pub async fn peers(global: &Global, peers: &Peers) -> Result<(), Fail> {
    let home = join::home(global)?;
    if let Some(name) = &peers.forgive {
        return forgive(global, &home, name);
    }
    let known = peer::known(&home).map_err(|e| Fail::of(&e, e.hint()))?;
    let peer = join::start(global, home, Kind::Process, Terms::always(0, u64::MAX)).await?;
    let until = Instant::now() + peers.within;
    let mut found: BTreeMap<_, Found> = BTreeMap::new();
    let mut quiet = 0;
    while Instant::now() < until && quiet < QUIET_LOOKS {
        let before = found.len();
        found.extend(peer.net().find_spare().await.into_iter().map(|found| (found.node, found)));
        quiet = if found.len() > before || found.is_empty() { 0 } else { quiet + 1 };
        if quiet < QUIET_LOOKS {
            sleep(PAUSE).await;
        }
    }
    let connected = peer.net().peers().await.len();
    peer.shutdown().await;
    say_known(global, &known);
    if found.is_empty() {
        let message = format!("no peer of the swarm `{}` lends its cores ({} connected)", global.swarm, connected);
        let hint = "run `essaim join` on another machine or in another terminal, or name a peer with --peer ADDR";
        return Err(Fail::new(message, hint));
    }
    list(global, &found, &known)
        .map_err(|e| Fail::new(format!("cannot write the list: {e}"), "see where it is written to"))
}

/// Says with how many peers a job is not trusted, if there are any.
pub fn say_distrusted(global: &Global, job: &Job) {
    if job.distrusted > 0 {
        let (peers, are) = (count(job.distrusted as u64, "peer"), if job.distrusted == 1 { "is" } else { "are" });
        let words = format!("essaim: {peers} whose results were wrong before {are} not trusted with this job");
        say(global, words, "distrusted", json!({ "peers": job.distrusted }));
    }
}

/// Forgets what was seen of the one peer whose name begins so.
fn forgive(global: &Global, home: &Home, name: &str) -> Result<(), Fail> {
    let known = peer::known(home).map_err(|e| Fail::of(&e, e.hint()))?;
    let mut named = known.iter().filter(|known| known.node.to_string().starts_with(name));
    let (Some(one), None) = (named.next(), named.next()) else {
        let message = format!("`{name}` does not name one peer of which {} knows something", home.dir().display());
        return Err(Fail::new(
            message,
            "`essaim peers` names those that are not trusted; --home DIR names another home",
        ));
    };
    peer::forgive(home, one.node).map_err(|e| Fail::of(&e, e.hint()))?;
    let words = format!("essaim: peer {} is trusted again", one.node.short());
    say(global, words, "forgiven", json!({ "peer": one.node.to_string() }));
    Ok(())
}

/// Names those that are not trusted, for how long, and why.
fn say_known(global: &Global, known: &[Known]) {
    for Known { node, repute, distrusted_for } in known {
        let Some(left) = distrusted_for else { continue };
        let left = roughly(*left);
        let words = format!(
            "essaim: peer {} is not trusted for {left} more: {} of its results were wrong, {} right; `essaim peers \
             --forgive {0}` forgets it",
            node.short(),
            repute.outvoted,
            repute.agreed
        );
        let fields = json!({ "peer": node.to_string(), "agreed": repute.agreed, "outvoted": repute.outvoted });
        say(global, words, "not-trusted", fields);
    }
}

fn list(global: &Global, found: &BTreeMap<essaim_jobs::NodeId, Found>, known: &[Known]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut cores = 0;
    if !global.json {
        writeln!(out, "{:<10} {:>5} {:>10} {:>8}  {:<24} ADDRESS", "PEER", "CORES", "MEMORY", "RTT", "ENGINE")?;
    }
    for (node, peer) in found {
        let advert = &peer.advert;
        let seen = known.iter().find(|known| known.node == *node);
        cores += u64::from(advert.cores_spare);
        let address = peer.addresses.first().map(ToString::to_string).unwrap_or_default();
        if global.json {
            let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
            let line = json!({
                "peer": node.to_string(),
                "cores_spare": advert.cores_spare,
                "cores": advert.cores,
                "memory_bytes": advert.memory_bytes,
                "engine": advert.engine,
                "version": advert.version,
                "addresses": addresses,
                "rtt_ms": peer.rtt.as_secs_f64() * 1e3,
                "agreed": seen.map_or(0, |seen| seen.repute.agreed),
                "outvoted": seen.map_or(0, |seen| seen.repute.outvoted),
                "trusted": seen.is_none_or(|seen| seen.distrusted_for.is_none()),
            });
            writeln!(out, "{line}")?;
        } else {
            let spare = format!("{}/{}", advert.cores_spare, advert.cores);
            let memory = bytesize::ByteSize(advert.memory_bytes).display().iec().to_string();
            let rtt = format!("{:.1} ms", peer.rtt.as_secs_f64() * 1e3);
            writeln!(out, "{:<10} {spare:>5} {memory:>10} {rtt:>8}  {:<24} {address}", node.short(), advert.engine)?;
        }
    }
    out.flush()?;
    if !global.json {
        let words = format!("essaim: {} lend {}", count(found.len() as u64, "peer"), count(cores, "core"));
        say(global, words, "peers", json!({}));
    }
    Ok(())
}
