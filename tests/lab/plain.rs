//! Everybody downloads the whole of it from one, over plain TCP: nothing to set up, and the author's link is all there
//! is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use crate::Run;
use crate::links::Links;

const PORT: u16 = 7_002;

pub fn run(links: &Links, file: &Path, _folder: &Path) -> Run {
    let content = std::fs::read(file).unwrap();
    let had = std::thread::scope(|scope| {
        let address = (links.address(0), PORT);
        let listener = links.at(scope, 0, move || TcpListener::bind(address).unwrap()).join().unwrap();
        let content = &content;
        scope.spawn(move || {
            for _ in 1..links.peers() {
                let mut stream = listener.accept().unwrap().0;
                scope.spawn(move || stream.write_all(content).unwrap());
            }
        });
        let begun = Instant::now();
        let download = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut part = vec![0; 256 << 10];
            let mut had = 0;
            while had < content.len() {
                let more = stream.read(&mut part).unwrap();
                assert!(more > 0, "the connection has ended");
                had += more;
            }
            begun.elapsed()
        };
        let takers: Vec<_> = (1..links.peers()).map(|taker| links.at(scope, taker, download)).collect();
        takers.into_iter().map(|taker| taker.join().unwrap()).collect()
    });
    Run { had, processes: Vec::new() }
}
