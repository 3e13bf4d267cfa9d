//! How a host program joins a swarm: what is chosen where it says nothing.

use std::path::PathBuf;

use libp2p::Multiaddr;

use super::Error;
use crate::machine::{all_cpus, half_memory, meeting_place};
use crate::net::{PeerAddr, SwarmName};
use crate::peer::{self, Peer, StartError, Terms, Whose};
use crate::sandbox::{self, Kind};
use crate::store::Home;

/// How much disk large blobs of others may have, bytes: 10 GiB.
const DISK_BYTES: u64 = 10 << 30;

/// How a host program is in a swarm. What is not set is chosen as the command `essaim` chooses it, but that nothing is
/// lent to others:
///
/// ```
/// use essaim::swarm::Config;
///
/// let config = Config { swarm: "lab".parse()?, cpus: 2, ..Config::default() };
/// # Ok::<(), essaim::swarm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its keys and scratch files are, one node at a time; none: the first free folder of this user.
    pub home: Option<PathBuf>,
    /// Which swarm it is in.
    pub swarm: SwarmName,
    /// Peers that it is told of.
    pub peers: Vec<PeerAddr>,
    /// Where it listens (see [`parse_listen`](crate::net::parse_listen)); nothing: on every interface, at free ports.
    pub listen: Vec<Multiaddr>,
    /// Whether it looks for peers on this machine and its LAN.
    pub mdns: bool,
    /// How many cores of this machine work; 0: none, all is left to others.
    pub cpus: u16,
    /// How much memory the chunks may have in all that run here at the same time, bytes.
    pub memory_bytes: u64,
    /// Whose jobs these cores work for: [`Whose::Own`], unless [`sandbox::init`] has made this program its own sandbox and
    /// this says otherwise.
    pub whose: Whose,
    /// What contains programs here, beside WebAssembly; none: processes after [`sandbox::init`], else threads of this
    /// process.
    pub sandbox: Option<Kind>,
    /// Bytes a second of programs, inputs and data that it gives others at most; none: as many as the line takes.
    pub upload: Option<u64>,
    /// How much disk large blobs of others may have, bytes.
    pub disk_bytes: u64,
}

impl Default for Config {
    /// The swarm `public`, all cores and half of the memory for its own jobs.
    fn default() -> Config {
        Config {
            home: None,
            swarm: SwarmName::default(),
            peers: Vec::new(),
            listen: Vec::new(),
            mdns: true,
            cpus: all_cpus(),
            memory_bytes: half_memory(),
            whose: Whose::Own,
            sandbox: None,
            upload: None,
            disk_bytes: DISK_BYTES,
        }
    }
}

impl Config {
    /// As by default, but for what stands in the environment, as of the command: `ESSAIM_HOME` and `ESSAIM_SWARM`.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn from_env() -> Result<Config, Error> {
        let swarm = std::env::var("ESSAIM_SWARM").ok().filter(|name| !name.is_empty());
        let swarm = swarm.map_or_else(|| Ok(SwarmName::default()), |name| name.parse())?;
        let home = std::env::var_os("ESSAIM_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Ok(Config { home, swarm, ..Config::default() })
    }

    /// What contains programs here.
    ///
    /// # Errors
    /// [`Error::NoSandbox`] where strangers' programs would be contained by nothing without anyone having said so, and where
    /// this program would start itself again without knowing why.
    fn kind(&self, is_ready: bool) -> Result<Kind, Error> {
        match self.sandbox {
            Some(Kind::Process) if !is_ready => Err(Error::NoSandbox),
            Some(kind) => Ok(kind),
            None if is_ready => Ok(Kind::Process),
            None if self.whose == Whose::Own || self.cpus == 0 => Ok(Kind::None),
            None => Err(Error::NoSandbox),
        }
    }

    /// Starts the node.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Start`].
    pub(super) async fn start(self) -> Result<Peer, Error> {
        let kind = self.kind(sandbox::is_ready())?;
        let home = self.home.as_deref().map_or_else(Home::open_default, Home::open).map_err(StartError::from)?;
        let terms = Terms { whose: self.whose, ..Terms::always(self.cpus, self.memory_bytes) };
        let sandbox = sandbox::of(kind, &home, &terms).map_err(StartError::from)?;
        let config = peer::Config {
            home,
            swarm: self.swarm,
            listen: self.listen,
            peers: self.peers,
            mdns: self.mdns,
            local_dir: meeting_place(),
            upload: self.upload,
            disk_bytes: self.disk_bytes,
            terms,
            sandbox,
        };
        Ok(Peer::start(config).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stranger_runs_without_a_sandbox_unless_somebody_says_so() {
        let kind =
            |whose, cpus, sandbox, is_ready| Config { whose, cpus, sandbox, ..Config::default() }.kind(is_ready).ok();
        assert_eq!(kind(Whose::Own, 2, None, false), Some(Kind::None));
        assert_eq!(kind(Whose::Own, 2, None, true), Some(Kind::Process));
        assert_eq!(kind(Whose::Anyones, 2, None, false), None);
        assert_eq!(kind(Whose::Anyones, 2, None, true), Some(Kind::Process));
        assert_eq!(kind(Whose::Anyones, 0, None, false), Some(Kind::None), "there is nothing to contain");
        assert_eq!(kind(Whose::Anyones, 2, Some(Kind::None), false), Some(Kind::None), "it was said");
        assert_eq!(kind(Whose::Own, 2, Some(Kind::Process), false), None, "it would start itself for ever");
    }
}
