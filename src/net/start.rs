//! Getting a node onto the network: its identity, its listening sockets, and the tasks that run it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::watch;
use tokio::time::timeout;

use super::behaviour::{self, Behaviour};
use super::blobs::Fetcher;
use super::direct::Outboxes;
use super::driver::{Driver, Parts};
use super::inbox::Events;
use super::pieces::Exchanges;
use super::upload::Upload;
use super::{Config, Handle, addr, client, inbox, limits, rendezvous};

/// Why a node could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Another process listens there.
    #[error("cannot listen on {addr}: the port is taken")]
    PortTaken {
        /// Where.
        addr: Multiaddr,
    },
    /// The system does not allow it, or the address is not this machine's.
    #[error("cannot listen on {addr}: {reason}")]
    CannotListen {
        /// Where.
        addr: Multiaddr,
        /// Why, in the system's words.
        reason: String,
    },
    /// The transports or protocols could not be set up.
    #[error("cannot set up the network: {reason}")]
    Transport {
        /// Why.
        reason: String,
    },
}

impl NetError {
    /// What the person can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            NetError::PortTaken { .. } => {
                "end the program that uses the port, choose another, or give port 0 for any that is free"
            }
            NetError::CannotListen { .. } => "give an address of this machine, or leave it out to listen on all",
            NetError::Transport { .. } => "this is likely a fault in essaim: please report it with the message above",
        }
    }
}

/// Starts a node; returns when it is listening.
///
/// # Errors
/// [`NetError`], when it cannot listen on an address that was asked for.
pub async fn start(config: Config) -> Result<(Handle, Events), NetError> {
    let mut seed = config.seed;
    let key =
        Keypair::ed25519_from_bytes(&mut seed).map_err(|error| NetError::Transport { reason: error.to_string() })?;
    let me = key.public().to_peer_id();
    let node = addr::node_id(&me).ok_or(NetError::Transport { reason: "the key is not ed25519".to_owned() })?;
    let mut swarm = behaviour::swarm(key, &config.swarm, config.mdns)?;
    let listened = listen(&mut swarm, &config.listen).await?;
    let only_loopback = listened.iter().all(|address| addr::ip(address).is_some_and(|ip| ip.is_loopback()));

    let (client, commands) = client::channel();
    let (inbox, events) = inbox::channel();
    let (addresses, addresses_now) = watch::channel(Vec::new());
    let (members, members_now) = watch::channel(0);
    let (joined, joined_now) = watch::channel(false);
    let outboxes = Outboxes::new(client.clone(), inbox.clone());
    let upload = Upload::new(config.upload);
    let exchanges = Exchanges::new(node, client.clone(), upload.clone(), config.serve_pieces);
    let mut driver = Driver::new(Parts {
        swarm,
        node,
        name: config.swarm.clone(),
        only_loopback,
        serve: config.serve,
        exchanges: exchanges.clone(),
        upload,
        validate: config.validate,
        commands,
        outboxes: outboxes.clone(),
        inbox: inbox.clone(),
        addresses,
        members,
        joined,
    });
    for address in listened {
        driver.react(SwarmEvent::NewListenAddr { listener_id: ListenerId::next(), address });
    }
    if let Some(folder) = config.local_dir {
        let own = rendezvous::Own::new(&folder.join(config.swarm.as_str()), me);
        driver.tasks.spawn(rendezvous::keep(own, me, client.clone(), addresses_now.clone()));
    }
    if !config.peers.is_empty() {
        driver.tasks.spawn(rendezvous::seek(config.peers, client.clone(), members_now.clone(), inbox));
    }
    tokio::spawn(driver.run());
    let fetcher = Fetcher::new(client.clone());
    Ok((
        Handle {
            node,
            client,
            outboxes,
            fetcher,
            exchanges,
            addresses: addresses_now,
            members: members_now,
            joined: joined_now,
        },
        events,
    ))
}

/// Listens on what was asked for, or everywhere, and returns the addresses that has come to.
async fn listen(swarm: &mut Swarm<Behaviour>, wanted: &[Multiaddr]) -> Result<Vec<Multiaddr>, NetError> {
    let mut waiting = Vec::new();
    if wanted.is_empty() {
        let v4 = addr::both(Ipv4Addr::UNSPECIFIED.into(), 0);
        let v6 = addr::both(Ipv6Addr::UNSPECIFIED.into(), 0);
        for address in v4 {
            waiting.push((begin(swarm, &address)?, address));
        }
        for address in v6 {
            // A machine without IPv6 is still a machine; nor is it waited for.
            if let Err(error) = begin(swarm, &address) {
                tracing::debug!(%error, "not listening on IPv6");
            }
        }
    }
    for address in wanted {
        waiting.push((begin(swarm, address)?, address.clone()));
    }
    let mut listened = Vec::new();
    while let Some((_, pending)) = waiting.first() {
        let failed = |reason: String| NetError::CannotListen { addr: pending.clone(), reason };
        let Ok(event) = timeout(limits::LISTEN, swarm.select_next_some()).await else {
            return Err(failed("the system does not say that it does".to_owned()));
        };
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                waiting.retain(|(id, _)| *id != listener_id);
                listened.push(address);
            }
            SwarmEvent::ListenerError { listener_id, error } if waiting.iter().any(|(id, _)| *id == listener_id) => {
                return Err(failed(error.to_string()));
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. }
                if waiting.iter().any(|(id, _)| *id == listener_id) =>
            {
                return Err(failed(reason.err().map_or_else(|| "it was closed".to_owned(), |error| error.to_string())));
            }
            _ => {}
        }
    }
    Ok(listened)
}

fn begin(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> Result<ListenerId, NetError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => NetError::PortTaken { addr: address.clone() },
        _ => NetError::CannotListen { addr: address.clone(), reason: error.to_string() },
    };
    probe(address).map_err(failed)?;
    swarm.listen_on(address.clone()).map_err(|error| match error {
        TransportError::Other(error) => failed(error),
        TransportError::MultiaddrNotSupported(_) => NetError::CannotListen {
            addr: address.clone(),
            reason: "it is neither TCP nor QUIC on an IP address".to_owned(),
        },
    })
}

/// Finds out whether the port is free. libp2p shares a port on which another process of the same user
/// listens, and each then gets some of the other's connections.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let Some(ip) = addr::ip(address) else { return Ok(()) };
    match address.iter().nth(1) {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}
