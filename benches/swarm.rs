//! A swarm on this machine for benchmarks of whole commands.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

/// Two workers of one thread each, on loopback, found without an address.
pub struct Swarm {
    /// What is its own, and may be written to.
    pub dir: tempfile::TempDir,
    workers: Vec<Child>,
}

impl Swarm {
    pub fn start() -> Swarm {
        let mut swarm = Swarm { dir: tempfile::tempdir().unwrap(), workers: Vec::new() };
        for _ in 0..2 {
            let mut worker =
                swarm.essaim("join").args(["--cpus", "1", "--json"]).stderr(Stdio::piped()).spawn().unwrap();
            let mut joined = String::new();
            BufReader::new(worker.stderr.as_mut().unwrap()).read_line(&mut joined).unwrap();
            assert!(joined.contains("joined"), "{joined}");
            swarm.workers.push(worker);
        }
        swarm
    }

    /// `essaim VERB`, in this swarm.
    pub fn essaim(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_essaim"));
        command.arg(verb).args(["--swarm", "bench", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        command.env("XDG_RUNTIME_DIR", self.dir.path()).env("XDG_DATA_HOME", self.dir.path());
        command.env_remove("ESSAIM_HOME").env_remove("ESSAIM_SWARM");
        command
    }

    /// Wall seconds of the whole command, and the event of that name that it told of.
    pub fn run(&self, args: &[&str], event: &str) -> (f64, Value) {
        let began = Instant::now();
        let out = self.essaim("run").args(["--no-cache", "--cpus", "0", "--json"]).args(args).output().unwrap();
        let seconds = began.elapsed().as_secs_f64();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{stderr}");
        let events = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        (seconds, events.into_iter().find(|it| it["event"] == event).unwrap())
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}
