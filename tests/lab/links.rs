//! A switch and its peers: a bridge in a namespace of its own, and for each peer a namespace and a pair of virtual
//! interfaces, whose both ends send at the given rate and no faster. TCP's congestion control is CUBIC, which is what
//! most machines have, and not this machine's: what is lost in short queues depends on it.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What cannot be had here.
pub fn missing() -> Option<String> {
    let trial = format!("essaim-lab-{}-trial", std::process::id());
    if let Err(reason) = ip(&["netns", "add", &trial]) {
        return Some(format!("no network namespaces (it wants root): {reason}"));
    }
    let made = shape(&trial, "lo", 1).map_err(|reason| format!("no slow links: {reason}"));
    let _ = ip(&["netns", "del", &trial]);
    made.err()
}

/// A switch and its peers; gone when dropped.
#[derive(Debug)]
pub struct Links {
    prefix: String,
    peers: usize,
}

impl Links {
    /// So many peers that send and receive at `mbit` Mbit/s.
    pub fn new(peers: usize, mbit: u64) -> Links {
        let prefix = format!("essaim-lab-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let links = Links { prefix, peers };
        let bridge = links.bridge();
        let all = || -> Result<(), String> {
            ip(&["netns", "add", &bridge])?;
            ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
            ip(&["-n", &bridge, "addr", "add", "10.77.0.254/24", "dev", "br0"])?;
            ip(&["-n", &bridge, "link", "set", "br0", "up"])?;
            for peer in 0..peers {
                let (name, port) = (links.name(peer), format!("port{peer}"));
                let address = format!("{}/24", links.address(peer));
                ip(&["netns", "add", &name])?;
                ip(&["-n", &name, "link", "set", "lo", "up"])?;
                let pair = ["type", "veth", "peer", "name", "eth0", "netns", &name];
                ip(&[&["-n", &bridge, "link", "add", &port], &pair[..]].concat())?;
                ip(&["-n", &bridge, "link", "set", &port, "master", "br0", "up"])?;
                ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
                ip(&["-n", &name, "link", "set", "eth0", "up"])?;
                let all = ["route", "replace", "10.77.0.0/24", "dev", "eth0", "src", &links.address(peer).to_string()];
                ip(&[&["-n", &name], &all[..], &["congctl", "cubic"]].concat())?;
                shape(&bridge, &port, mbit)?;
                shape(&name, "eth0", mbit)?;
            }
            Ok(())
        };
        all().unwrap_or_else(|reason| panic!("{reason}"));
        links
    }

    /// How many there are.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Where a peer is.
    pub fn address(&self, peer: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, peer as u8 + 1)
    }

    /// Where whatever runs at the switch is; its link is not slow, those to it are.
    pub fn switch_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 254)
    }

    /// `program`, run where `peer` is.
    pub fn command(&self, peer: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(peer)]).arg(program);
        command
    }

    /// Runs `what` where `peer` is.
    pub fn at<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        peer: usize,
        what: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        let name = self.name(peer);
        scope.spawn(move || {
            enter(&name);
            what()
        })
    }

    /// Runs `what` at the switch, on a thread of its own.
    pub fn at_switch(&self, what: impl FnOnce() + Send + 'static) {
        let name = self.bridge();
        std::thread::spawn(move || {
            enter(&name);
            what();
        });
    }

    /// The bytes that `peer` has sent, all headers of theirs counted.
    pub fn sent(&self, peer: usize) -> u64 {
        let interfaces = self.read(peer, "/proc/thread-self/net/dev");
        let line = interfaces.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        line.split_whitespace().nth(8).unwrap().parse().unwrap()
    }

    /// To how many others `peer` has a TCP connection.
    pub fn connected(&self, peer: usize) -> usize {
        let table = self.read(peer, "/proc/thread-self/net/tcp");
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let others = rows.filter(|row| row[3] == "01").filter_map(|row| row[2].split(':').next().map(str::to_owned));
        others.collect::<std::collections::HashSet<_>>().len()
    }

    fn read(&self, peer: usize, path: &str) -> String {
        std::thread::scope(|scope| self.at(scope, peer, || fs::read_to_string(path).unwrap()).join().unwrap())
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.prefix)
    }

    fn name(&self, peer: usize) -> String {
        format!("{}-{peer}", self.prefix)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for name in (0..self.peers).map(|peer| self.name(peer)).chain([self.bridge()]) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn enter(name: &str) {
    use std::os::fd::AsFd;
    let file = fs::File::open(format!("/var/run/netns/{name}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// A queue of 50 ms, as a home's router may have.
fn shape(namespace: &str, interface: &str, mbit: u64) -> Result<(), String> {
    let rate = format!("{mbit}mbit");
    let qdisc = ["qdisc", "add", "dev", interface, "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "50ms"];
    call("tc", &[&["-n", namespace], &qdisc[..]].concat())
}

fn ip(args: &[&str]) -> Result<(), String> {
    call("ip", args)
}

fn call(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {reason}", args.join(" ")))
}
