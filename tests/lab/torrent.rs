//! The same by BitTorrent: aria2, as Debian has it, and a tracker of forty lines. Distributed hash table and local
//! discovery are off, since the tracker names everybody; nothing else is limited or tuned to its disadvantage.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::links::{Links, Process};
use crate::{PATIENCE, Run};

const PORT: u16 = 7_003;
const PIECE: usize = 256 << 10;

/// Why there is no BitTorrent here.
pub fn missing() -> Option<String> {
    let there = Command::new("aria2c").arg("--version").stdout(Stdio::null()).status();
    there.err().map(|error| format!("aria2c: {error}; on Debian: apt-get install aria2"))
}

pub fn run(links: &Links, file: &Path, folder: &Path) -> Run {
    let tracked = track(links);
    let torrent = folder.join("blob.torrent");
    fs::write(&torrent, metainfo(file, &format!("http://{}:{PORT}/announce", links.switch_address()))).unwrap();
    let hook = folder.join("has-it");
    fs::write(&hook, "#!/bin/sh\n: > \"${3%/*}/../has-it.$(basename \"${3%/*}\")\"\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&hook).status().unwrap().success());

    let seed = aria2(links, 0, file.parent().unwrap(), &torrent).arg("--bt-seed-unverified=true").spawn().unwrap();
    let mut processes = vec![Process(seed)];
    let until = |what: &str, so: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < end, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("the seed comes to the tracker", &|| tracked.lock().unwrap().len() == 1);
    std::thread::sleep(Duration::from_secs(1));

    // When they had it is when their hooks made these files.
    let marks: Vec<PathBuf> = (1..links.peers()).map(|taker| folder.join(format!("has-it.taker{taker}"))).collect();
    let begun = SystemTime::now();
    for taker in 1..links.peers() {
        let into = folder.join(format!("taker{taker}"));
        fs::create_dir(&into).unwrap();
        let mut take = aria2(links, taker, &into, &torrent);
        take.arg(format!("--on-bt-download-complete={}", hook.display()));
        processes.push(Process(take.spawn().unwrap()));
    }
    until("all have it", &|| marks.iter().all(|mark| mark.exists()));
    let had = |mark: &PathBuf| fs::metadata(mark).unwrap().modified().unwrap().duration_since(begun).unwrap();
    Run { had: marks.iter().map(had).collect(), processes }
}

/// It goes on giving once it has all, as the others' peers do.
fn aria2(links: &Links, peer: usize, dir: &Path, torrent: &Path) -> Command {
    let mut command = links.command(peer, "aria2c");
    command.args(["--no-conf", "--quiet", "--seed-ratio=0", "--file-allocation=none", "--listen-port=7004"]);
    command.args(["--enable-dht=false", "--enable-dht6=false", "--disable-ipv6=true", "--bt-enable-lpd=false"]);
    command.args(["--allow-overwrite=true", "--bt-max-peers=0", "--follow-torrent=mem"]);
    command.arg("--dir").arg(dir).arg(torrent);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What a `.torrent` says (BEP 3).
fn metainfo(file: &Path, tracker: &str) -> Vec<u8> {
    // A line of hexadecimal digits a piece.
    let lines =
        Command::new("split").args(["--filter", "sha1sum", "-b", &PIECE.to_string()]).arg(file).output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    let hashes: Vec<u8> = lines
        .lines()
        .flat_map(|line| (0..20).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()))
        .collect();
    let len = fs::metadata(file).unwrap().len();
    let mut out = format!(
        "d8:announce{}:{tracker}4:infod6:lengthi{len}e4:name4:blob12:piece lengthi{PIECE}e6:pieces{}:",
        tracker.len(),
        hashes.len()
    )
    .into_bytes();
    out.extend(hashes);
    out.extend(b"ee");
    out
}

/// A tracker of one torrent, at the switch: names all who have come to all who ask.
fn track(links: &Links) -> Arc<Mutex<BTreeSet<SocketAddr>>> {
    let tracked = Arc::new(Mutex::new(BTreeSet::new()));
    let known = Arc::clone(&tracked);
    let address = (links.switch_address(), PORT);
    let (ready, listening) = std::sync::mpsc::sync_channel(1);
    links.at_switch(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming().map_while(Result::ok) {
            // Who breaks off comes again.
            let _ = answer(&stream, &known);
        }
    });
    listening.recv().unwrap();
    tracked
}

fn answer(mut stream: &TcpStream, known: &Mutex<BTreeSet<SocketAddr>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let question = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let port = question.split(['?', '&', ' ']).find_map(|field| field.strip_prefix("port=")?.parse().ok());
    let asks = SocketAddr::new(stream.peer_addr()?.ip(), port.unwrap_or(0));
    let mut known = known.lock().unwrap();
    known.insert(asks);
    let mut peers = Vec::new();
    for other in known.iter().filter(|other| **other != asks) {
        if let IpAddr::V4(ip) = other.ip() {
            peers.extend(ip.octets());
            peers.extend(other.port().to_be_bytes());
        }
    }
    let mut body = format!("d8:intervali5e5:peers{}:", peers.len()).into_bytes();
    body.extend(peers);
    body.push(b'e');
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
