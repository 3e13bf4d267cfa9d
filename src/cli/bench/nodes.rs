//! A swarm of its own on this machine: worker processes of one core each, on loopback, in a folder that goes with them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::super::args::Global;
use super::super::{Fail, join};
use crate::net::parse_listen;
use crate::peer::{Peer, Terms};
use crate::sandbox;
use crate::store::Home;

/// How long a worker may take to start, and to be found.
const WITHIN: Duration = Duration::from_secs(30);

/// The author's node, which lends nothing, and its workers.
pub struct Nodes {
    pub global: Global,
    pub author: Peer,
    workers: Vec<Child>,
    dir: TempDir,
}

impl Nodes {
    /// Starts the author's node.
    ///
    /// # Errors
    /// It cannot be started, or there is no room for its folder.
    pub async fn start(global: &Global) -> Result<Nodes, Fail> {
        let dir = tempfile::tempdir().map_err(|error| {
            Fail::new(format!("no room for the nodes: {error}"), "make room, or name another folder with TMPDIR")
        })?;
        let home = Home::open(&dir.path().join("author")).map_err(|error| Fail::of(&error, error.hint()))?;
        let swarm = format!("bench-{}", std::process::id());
        let mut global = global.clone();
        global.swarm = swarm.parse().map_err(|error| Fail::new(error, "please report it"))?;
        global.listen = vec![super::super::args::Listen(
            parse_listen("127.0.0.1:0").map_err(|error| Fail::of(&error, error.hint()))?,
        )];
        (global.peers, global.no_mdns, global.upload) = (Vec::new(), true, None);
        let terms = Terms::always(0, crate::machine::half_memory());
        let author = join::start(&global, home, sandbox::Kind::Process, terms).await?;
        Ok(Nodes { global, author, workers: Vec::new(), dir })
    }

    /// Starts as many workers as are missing.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn grow(&mut self, workers: u16) -> Result<(), Fail> {
        while self.workers.len() < usize::from(workers) {
            let worker = self.worker().await?;
            self.workers.push(worker);
        }
        let mut status = self.author.status();
        let all = status.wait_for(|status| status.connected >= usize::from(workers));
        match tokio::time::timeout(WITHIN, all).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Fail::new("the workers on this machine are not found", "`essaim doctor` looks at its network")),
        }
    }

    async fn worker(&self) -> Result<Child, Fail> {
        let failed = |why: String| Fail::new(format!("a worker does not start: {why}"), "`essaim doctor` says more");
        let exe = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(exe);
        command.args(["join", "--json", "--cpus", "1", "--no-mdns", "--on-battery", "--listen", "127.0.0.1:0"]);
        command.arg("--swarm").arg(self.global.swarm.to_string());
        command.arg("--home").arg(self.dir.path().join(format!("worker{}", self.workers.len())));
        for address in self.author.net().addresses() {
            command.arg("--peer").arg(address.to_string());
        }
        // What its owner has set for the nodes of this machine is not for these.
        command.env("XDG_CONFIG_HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let stderr = child.stderr.take().ok_or_else(|| failed("it has no stderr".into()))?;
        let mut lines = BufReader::new(stderr).lines();
        let said = tokio::time::timeout(WITHIN, lines.next_line()).await;
        let said = said.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let event: Value = serde_json::from_str(&said).unwrap_or_default();
        if event["event"] != "joined" {
            return Err(failed(event["message"].as_str().unwrap_or(&said).to_owned()));
        }
        // What else it says is for nobody, but must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(child)
    }

    /// A file of that name, which goes with them.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends all of them.
    pub async fn stop(self) {
        let Nodes { author, workers, dir, .. } = self;
        for mut worker in workers {
            // It has nothing to hand back.
            let _ = worker.kill().await;
        }
        author.shutdown().await;
        drop(dir);
    }
}
