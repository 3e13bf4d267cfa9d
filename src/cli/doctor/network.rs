//! The network: whether this machine can listen, where it can be reached, and who is there.

use std::net::IpAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::time::{Instant, sleep};

use super::Check;
use crate::cli::args::Global;
use crate::cli::join;
use crate::cli::say::count;
use crate::peer::{Peer, Terms};
use crate::sandbox::Kind;
use crate::store::Home;

/// How long peers are looked for, and the pause between two looks.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Starts a node that lends nothing, in a home that is removed again, and looks around.
pub async fn checks(global: &Global) -> Vec<Check> {
    let home = match tempfile::tempdir() {
        Ok(home) => home,
        Err(error) => {
            let hint = "make room where temporary files are kept, or name another place with TMPDIR";
            return vec![Check::bad("ports", format!("no folder for a node to try it with: {error}"), hint)];
        }
    };
    let opened = Home::open(home.path());
    let started = match opened {
        Ok(home) => join::start(global, home, Kind::Process, Terms::always(0, 0)).await,
        Err(error) => Err(crate::cli::Fail::of(&error, error.hint())),
    };
    let peer = match started {
        Ok(peer) => peer,
        Err(fail) => {
            let (words, hint) = fail.parts();
            return vec![Check::bad("ports", words, format!("{hint}; a node of yours that runs may have it"))];
        }
    };
    let addresses = peer.net().addresses();
    let (connected, lending) = look(&peer).await;
    peer.shutdown().await;
    vec![ports(&addresses), reach(&addresses), peers(connected, lending, !global.no_mdns)]
}

/// How many peers there are, and how many of them lend.
async fn look(peer: &Peer) -> (usize, usize) {
    let until = Instant::now() + LOOK_WITHIN;
    loop {
        let lending = peer.net().find_spare().await.len();
        let connected = peer.net().peers().await.len();
        if lending > 0 || Instant::now() >= until {
            return (connected.max(lending), lending);
        }
        sleep(PAUSE).await;
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

fn ports(addresses: &[Multiaddr]) -> Check {
    let has =
        |wanted: fn(&Protocol<'_>) -> bool| addresses.iter().any(|address| address.iter().any(|part| wanted(&part)));
    let kinds = [
        ("TCP", has(|part| matches!(part, Protocol::Tcp(_)))),
        ("QUIC (UDP)", has(|part| matches!(part, Protocol::Udp(_)))),
    ];
    let (there, missing): (Vec<_>, Vec<_>) = kinds.iter().partition(|(_, has)| *has);
    let names = |kinds: Vec<&(&str, bool)>| kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" and ");
    let first = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let words = format!("it can listen by {}: {}", names(there), first);
    if missing.is_empty() {
        Check::ok("ports", words)
    } else {
        let hint = "with --listen IP:PORT, or without --listen, both are used; QUIC serves better across the internet";
        Check::warning("ports", format!("{words}, not by {}", names(missing)), hint)
    }
}

fn reach(addresses: &[Multiaddr]) -> Check {
    let ips: Vec<IpAddr> = addresses.iter().filter_map(ip).collect();
    let public: Vec<String> = ips.iter().filter(|ip| is_public(ip)).map(ToString::to_string).collect();
    if let Some(first) = public.first() {
        return Check::ok(
            "reach",
            format!("{first} is public: if no firewall is in the way, all can reach this machine"),
        );
    }
    let (words, hint) = if ips.iter().all(IpAddr::is_loopback) {
        ("it listens on this machine only", "leave --listen out, or name an address of the LAN")
    } else {
        (
            "its addresses are those of a LAN: from elsewhere nobody can dial it, but it can dial others",
            "name a peer that is reachable with --peer ADDR on both sides, or forward a port of the router to this machine, \
             and name it with --listen",
        )
    };
    Check::warning("reach", words, hint)
}

/// Whether an address is one that all of the internet can reach.
fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || is_shared)
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

fn peers(connected: usize, lending: usize, mdns: bool) -> Check {
    let words = format!("{} found, {lending} of them lend", count(connected as u64, "peer"));
    let how = if mdns { "" } else { "; nobody is looked for on this machine and the LAN (--no-mdns)" };
    if lending > 0 {
        Check::ok("peers", words)
    } else if connected > 0 {
        Check::warning("peers", words + how, "`essaim join` on another machine lends its cores")
    } else {
        let hint = "is `essaim join` running somewhere, in the same --swarm? From another network, name one with --peer ADDR; \
                    on a LAN, see that UDP port 5353 (multicast) is let through";
        Check::warning("peers", words + how, hint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::super::State;
    use super::*;

    fn addresses(all: &[&str]) -> Vec<Multiaddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn public_addresses_are_told_from_those_of_a_lan() {
        for (ip, wanted) in [
            ("8.8.8.8", true),
            ("192.168.1.2", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.1.1", false),
            ("127.0.0.1", false),
            ("2a01:4f8::1", true),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_public(&ip.parse().unwrap()), wanted, "{ip}");
        }
        assert_eq!(reach(&addresses(&["/ip4/8.8.8.8/tcp/1"])).state, State::Ok);
        let lan = reach(&addresses(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.7/tcp/1"]));
        assert!(lan.state == State::Warning && lan.hint.contains("forward a port"), "{lan:?}");
        assert!(reach(&addresses(&["/ip4/127.0.0.1/tcp/1"])).words.contains("this machine only"));
    }

    #[test]
    fn a_transport_that_is_missing_is_named() {
        assert_eq!(ports(&addresses(&["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"])).state, State::Ok);
        let only = ports(&addresses(&["/ip4/127.0.0.1/tcp/1"]));
        assert!(only.state == State::Warning && only.words.contains("not by QUIC"), "{only:?}");
    }

    #[test]
    fn that_nobody_is_looked_for_is_said_where_nobody_is_found() {
        assert_eq!(peers(3, 1, true).state, State::Ok);
        assert!(peers(0, 0, false).words.contains("--no-mdns"));
        assert!(!peers(0, 0, true).words.contains("--no-mdns"));
    }
}
