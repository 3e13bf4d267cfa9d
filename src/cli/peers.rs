//! `essaim peers`: who lends what, as the DHT and the peers themselves say.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::{Global, Peers};
use super::fail::Fail;
use super::join;
use super::sandbox::Kind;
use super::say::{count, say};
use crate::net::Found;
use crate::peer::Terms;

/// Looks that bring nobody new before the list is taken for whole, and the pause between two.
const QUIET_LOOKS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(300);

/// Lists the peers that lend their cores.
///
/// # Errors
/// The node cannot start, or nobody was found.
pub async fn peers(global: &Global, peers: &Peers) -> Result<(), Fail> {
    let peer = join::start(global, join::home(global)?, Kind::Process, Terms::always(0, u64::MAX)).await?;
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
    if found.is_empty() {
        let message = format!("no peer of the swarm `{}` lends its cores ({} connected)", global.swarm, connected);
        let hint = "run `essaim join` on another machine or in another terminal, or name a peer with --peer ADDR";
        return Err(Fail::new(message, hint));
    }
    list(global, &found).map_err(|e| Fail::new(format!("cannot write the list: {e}"), "see where it is written to"))
}

fn list(global: &Global, found: &BTreeMap<essaim_jobs::NodeId, Found>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut cores = 0;
    if !global.json {
        writeln!(out, "{:<10} {:>5} {:>10} {:>8}  {:<24} ADDRESS", "PEER", "CORES", "MEMORY", "RTT", "ENGINE")?;
    }
    for (node, peer) in found {
        let advert = &peer.advert;
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
