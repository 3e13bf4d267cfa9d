//! Nodes as processes, and the world that a test's nodes share.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything that must happen may take before a test says that it does not happen. No test passes or
/// fails by it where things work.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The folder of the examples.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A guest of these tests.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/guests").join(format!("{name}.wat"))
}

/// One test's swarm, and its folder.
pub struct World {
    pub dir: TempDir,
    swarm: String,
    homes: AtomicU32,
}

impl World {
    pub fn new(name: &str) -> World {
        World {
            dir: tempfile::tempdir().unwrap(),
            swarm: format!("{name}-{}", std::process::id()),
            homes: AtomicU32::new(0),
        }
    }

    /// `essaim VERB`, on loopback, in this world; finds others only as its arguments say.
    pub fn alone(&self, verb: &str) -> Command {
        let mut command = self.near(verb);
        command.arg("--no-mdns");
        command
    }

    /// `essaim VERB`, on loopback, in this world; finds the others on this machine by itself.
    pub fn near(&self, verb: &str) -> Command {
        let home = self.dir.path().join(format!("home{}", self.homes.fetch_add(1, Ordering::Relaxed)));
        let mut command = self.bare(verb);
        command.arg("--home").arg(home);
        command
    }

    /// As `near`, without a home of its own.
    pub fn bare(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_essaim"));
        command.arg(verb).args(["--swarm", &self.swarm, "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.env("XDG_RUNTIME_DIR", self.dir.path()).env("XDG_DATA_HOME", self.dir.path().join("data"));
        command.env("XDG_CONFIG_HOME", self.dir.path().join("config"));
        command.env_remove("ESSAIM_HOME").env_remove("ESSAIM_SWARM").env_remove("ESSAIM_PYTHON").env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        command
    }

    /// What its swarm is called.
    pub fn swarm(&self) -> &str {
        &self.swarm
    }

    /// A file in this world.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// A worker that has said that it has joined; killed when dropped.
pub struct Worker {
    child: Child,
    pub peer: String,
    pub address: String,
    events: mpsc::Receiver<Value>,
    /// What it has told of what goes on underneath, as far as somebody has waited for it.
    told: Vec<String>,
}

impl Worker {
    pub fn start(mut join: Command) -> Worker {
        let mut child = join.args(["--json", "--cpus", "1"]).stderr(Stdio::piped()).spawn().unwrap();
        let events = events(child.stderr.take().unwrap());
        let joined = wait_for(&events, "joined");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Worker { child, peer: text(&joined["peer"]), address: text(&joined["addresses"][0]), events, told: Vec::new() }
    }

    /// Waits until it has told with `-v`, at any time, of something in all of these words.
    #[track_caller]
    pub fn tells(&mut self, words: &[&str]) {
        let end = Instant::now() + PATIENCE;
        while !self.has_told(words) {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => self.told.extend(event["line"].as_str().map(str::to_owned)),
                Err(_) => panic!("nothing of {words:?}; there was {:#?}", self.told),
            }
        }
    }

    /// Whether it has told so, as far as somebody has waited for something.
    pub fn has_told(&self, words: &[&str]) -> bool {
        self.told.iter().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Its own process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The processes that run its chunks, and their states as the system has them: `T` is stopped.
    pub fn sandboxes(&self) -> Vec<(String, char)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let fields: Vec<&str> =
                stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
            if let [state, parent, ..] = fields[..]
                && parent == self.child.id().to_string()
            {
                let number = entry.file_name().to_string_lossy().into_owned();
                found.extend(state.chars().map(|state| (number.clone(), state)));
            }
        }
        found
    }

    /// Waits until it has ended by itself.
    pub fn ends(mut self) {
        wait_for(&self.events, "left");
        assert!(self.child.wait().unwrap().success());
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As Ctrl-C; returns what it said last.
    pub fn interrupt(mut self) -> Value {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let left = wait_for(&self.events, "left");
        assert!(self.child.wait().unwrap().success());
        left
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON events on a process's stderr; other lines are events called `log`.
pub fn events(stderr: impl Read + Send + 'static) -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::sync_channel(10_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": "log", "line": line }));
            if sender.try_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for the event called `name`.
pub fn wait_for(events: &mpsc::Receiver<Value>, name: &str) -> Value {
    let mut seen = Vec::new();
    let end = Instant::now() + PATIENCE;
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(event) if event["event"] == name => return event,
            Ok(event) => seen.push(event),
            Err(_) => panic!("no event {name:?}; there were {seen:?}"),
        }
    }
}

/// Looks again and again until it is so; a test fails if that takes for ever.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A run that has ended.
pub struct Ran {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub status: i32,
}

impl Ran {
    /// The event called `name`, of a run with `--json`.
    pub fn event(&self, name: &str) -> Value {
        let events = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .into_iter()
            .find(|event| event["event"] == name)
            .unwrap_or_else(|| panic!("no {name:?} in {}", self.stderr))
    }

    #[track_caller]
    pub fn well(self) -> Ran {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self
    }
}

/// Runs a command to its end, `input` on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that refuses its arguments does not read its input.
        let _ = stdin.write_all(&input);
    });
    let (done, waiting) = mpsc::sync_channel(1);
    let id = child.id();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output: Output = waiting
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            let output = waiting.recv().unwrap().unwrap();
            panic!("it does not end: {}", String::from_utf8_lossy(&output.stderr));
        })
        .unwrap();
    writer.join().unwrap();
    Ran {
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status.code().unwrap_or(-1),
    }
}
