//! Names and addresses: of swarms, of nodes, and of peers as people write them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use essaim_jobs::NodeId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// A swarm's name: 1 to 64 characters of `a-z 0-9 - _ .`. Peers of different swarms never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SwarmName(String);

impl SwarmName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The swarm in which one is who names none: `public`.
impl Default for SwarmName {
    fn default() -> SwarmName {
        SwarmName("public".to_owned())
    }
}

impl fmt::Display for SwarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SwarmName {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<SwarmName, AddrError> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
        // "." and ".." would be other folders where a swarm has one of its own.
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) && text.bytes().any(|c| c != b'.') {
            Ok(SwarmName(text.to_owned()))
        } else {
            Err(AddrError::SwarmName(text.to_owned()))
        }
    }
}

/// Text that names no swarm, or no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// Not the name of a swarm.
    #[error("{0:?} cannot be the name of a swarm")]
    SwarmName(String),
    /// Not the address of a peer.
    #[error("{0:?} is no address of a peer")]
    Peer(String),
    /// Not an address to listen on.
    #[error("{0:?} is no address to listen on")]
    Listen(String),
}

impl AddrError {
    /// What the person can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            AddrError::SwarmName(_) => "use 1 to 64 of the characters a-z 0-9 - _ .",
            AddrError::Peer(_) => "write HOST:PORT, [IPV6]:PORT, or a multiaddr such as /ip4/192.0.2.7/tcp/4001",
            AddrError::Listen(_) => "write IP:PORT, a PORT alone, or a multiaddr such as /ip4/0.0.0.0/tcp/4001",
        }
    }
}

/// The address of a peer, as a person gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddr {
    /// A multiaddr, and the peer's identity if it was given.
    Multi(Multiaddr, Option<PeerId>),
    /// A host's name or address, and a TCP port.
    Host(String, u16),
}

impl FromStr for PeerAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<PeerAddr, AddrError> {
        let wrong = || AddrError::Peer(text.to_owned());
        if text.starts_with('/') {
            let (addr, peer) = split_peer(text.parse().map_err(|_| wrong())?);
            let dialled = addr.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::QuicV1));
            return if dialled { Ok(PeerAddr::Multi(addr, peer)) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<IpAddr>().map_err(|_| wrong())?.to_string(),
            None => host.to_owned(),
        };
        // A bare IPv6 address would leave its last group to be taken for a port.
        let bare_v6 = host.contains(':') && !text.starts_with('[');
        let spelled = host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_:%".contains(&c));
        if host.is_empty() || host.len() > 253 || bare_v6 || !spelled {
            return Err(wrong());
        }
        Ok(PeerAddr::Host(host, port))
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddr::Multi(addr, None) => write!(f, "{addr}"),
            PeerAddr::Multi(addr, Some(peer)) => write!(f, "{addr}/p2p/{peer}"),
            PeerAddr::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            PeerAddr::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl PeerAddr {
    /// The multiaddrs to dial, names looked up, and whom they should lead to, if that is known.
    ///
    /// # Errors
    /// The resolver's, and one for a name that has no address.
    pub(super) async fn resolve(&self) -> std::io::Result<(Vec<Multiaddr>, Option<PeerId>)> {
        match self {
            PeerAddr::Host(host, port) => {
                let found = tokio::net::lookup_host((host.as_str(), *port)).await?;
                Ok((some(found.map(|at| Multiaddr::from(at.ip()).with(Protocol::Tcp(at.port()))).collect())?, None))
            }
            PeerAddr::Multi(addr, peer) => {
                let name = match addr.iter().next() {
                    Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => name.into_owned(),
                    _ => return Ok((vec![addr.clone()], *peer)),
                };
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                let rest = |ip: IpAddr| addr.iter().skip(1).fold(Multiaddr::from(ip), |to, part| to.with(part));
                Ok((some(found.map(|at| rest(at.ip())).collect())?, *peer))
            }
        }
    }
}

fn some(addresses: Vec<Multiaddr>) -> std::io::Result<Vec<Multiaddr>> {
    if addresses.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// The addresses to listen on that a person means by a multiaddr, `IP:PORT` or `PORT`; the last two stand for
/// both TCP and QUIC on that port.
///
/// # Errors
/// [`AddrError::Listen`] for anything else.
pub fn parse_listen(text: &str) -> Result<Vec<Multiaddr>, AddrError> {
    let wrong = || AddrError::Listen(text.to_owned());
    if text.starts_with('/') {
        return Ok(vec![text.parse().map_err(|_| wrong())?]);
    }
    let at: SocketAddr = match text.parse::<u16>() {
        Ok(port) => SocketAddr::from(([0, 0, 0, 0], port)),
        Err(_) => text.parse().map_err(|_| wrong())?,
    };
    Ok(both(at.ip(), at.port()).to_vec())
}

/// TCP and QUIC on one address and port.
pub(super) fn both(ip: IpAddr, port: u16) -> [Multiaddr; 2] {
    let ip = Multiaddr::from(ip);
    [ip.clone().with(Protocol::Tcp(port)), ip.with(Protocol::Udp(port)).with(Protocol::QuicV1)]
}

/// The identity at the end of `addr`, if there is one, taken off.
pub(super) fn split_peer(mut addr: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => {
            addr.pop();
            (addr, Some(peer))
        }
        _ => (addr, None),
    }
}

/// The IP address that `addr` begins with.
pub(super) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

fn is_tcp(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Of the addresses that a peer claims, those worth a dial by someone who reaches it at `seen`: none of its
/// own loopback unless that is where it was seen, and on a near network TCP alone where it is offered, since
/// a QUIC handshake costs ten times as much.
pub(super) fn worth_dialling(claimed: &[Multiaddr], seen: &Multiaddr) -> Vec<Multiaddr> {
    let same_machine = ip(seen).is_some_and(|ip| ip.is_loopback());
    let usable = |addr: &&Multiaddr| match ip(addr) {
        Some(at) => !at.is_unspecified() && !at.is_multicast() && (same_machine || !at.is_loopback()),
        None => false,
    };
    let usable: Vec<&Multiaddr> = claimed.iter().filter(usable).collect();
    let has_tcp = |at| usable.iter().any(|other| is_tcp(other) && ip(other) == Some(at));
    let cheapest = |addr: &&&Multiaddr| is_tcp(addr) || !ip(addr).is_some_and(|at| is_near(at) && has_tcp(at));
    usable.iter().filter(cheapest).map(|addr| split_peer((**addr).clone()).0).collect()
}

/// How every ed25519 peer id begins: an identity multihash of a protobuf that holds the key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The transport's name for a node.
pub(super) fn peer_id(node: NodeId) -> PeerId {
    let mut bytes = [0; 38];
    bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
    bytes[6..].copy_from_slice(&node.0);
    PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a peer id")
}

/// The node that the transport names so; none for keys other than ed25519.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
    Some(NodeId(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("a multiaddr")).collect()
    }

    #[test]
    fn addresses_as_people_write_them() {
        let id = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        for text in [
            "host.example:4001",
            "127.0.0.1:1",
            "[::1]:65535",
            "/ip4/1.2.3.4/tcp/9",
            "/dns4/a.example/tcp/9",
            "/ip6/::1/udp/9/quic-v1",
            &format!("/ip4/1.2.3.4/tcp/9/p2p/{id}"),
        ] {
            assert_eq!(text.parse::<PeerAddr>().map(|addr| addr.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "host", ":1", "host:", "host:0", "host:65536", "::1:4001", "[host]:1", "a b:1", "/ip4/1.2.3.4", "/x"]
        {
            assert_eq!(text.parse::<PeerAddr>(), Err(AddrError::Peer(text.to_owned())));
        }
    }

    #[test]
    fn swarm_names() {
        for text in ["a", "lab-7_b.c", &"x".repeat(64)] {
            assert_eq!(text.parse::<SwarmName>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "A", "a/b", "é", "a b", ".", "..", &"x".repeat(65)] {
            assert!(text.parse::<SwarmName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_port_alone_listens_on_everything_with_both_transports() {
        assert_eq!(parse_listen("4001"), Ok(addrs(&["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"])));
        assert_eq!(parse_listen("[::1]:7"), Ok(addrs(&["/ip6/::1/tcp/7", "/ip6/::1/udp/7/quic-v1"])));
        assert_eq!(parse_listen("/ip4/127.0.0.1/tcp/0"), Ok(addrs(&["/ip4/127.0.0.1/tcp/0"])));
        assert!(parse_listen("localhost:1").is_err());
    }

    #[test]
    fn only_addresses_that_can_lead_somewhere_are_dialled() {
        let claimed = addrs(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip4/192.168.0.9/tcp/1",
            "/ip4/192.168.0.9/udp/1/quic-v1",
            "/ip4/10.0.0.9/udp/1/quic-v1",
            "/ip4/203.0.113.9/tcp/1",
            "/ip4/203.0.113.9/udp/1/quic-v1",
            "/dns4/a.example/tcp/1",
        ]);
        let from_afar = addrs(&["/ip4/192.168.0.9/tcp/1"]);
        let far = ["/ip4/192.168.0.9/tcp/1", "/ip4/10.0.0.9/udp/1/quic-v1"];
        let wide = ["/ip4/203.0.113.9/tcp/1", "/ip4/203.0.113.9/udp/1/quic-v1"];
        assert_eq!(worth_dialling(&claimed, &from_afar[0]), addrs(&[far, wide].concat()));
        let here = [&["/ip4/127.0.0.1/tcp/1"][..], &far, &wide].concat();
        assert_eq!(worth_dialling(&claimed, &claimed[0]), addrs(&here));
    }

    #[test]
    fn nodes_and_peer_ids_are_two_names_of_one_key() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        let peer = key.public().to_peer_id();
        let node = node_id(&peer).expect("an ed25519 peer");
        assert_eq!(node.0, key.public().try_into_ed25519().expect("an ed25519 key").to_bytes());
        assert_eq!(peer_id(node), peer);
        assert_eq!(node_id(&PeerId::random()), None);
    }
}
