//! A process whose words are in a file, so that they outlive it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use serde_json::Value;

use crate::node::until;

/// The signal.
const KILL: i32 = 9;

/// A process that may be killed at any instant; killed when dropped.
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; what it prints and says goes to files called after `name`.
    pub fn start(mut command: Command, name: PathBuf) -> Process {
        let (stdout, stderr) = (name.with_extension("out"), name.with_extension("err"));
        command.args(["--json", "--verbose"]).env("NO_COLOR", "1");
        command.stdout(File::create_new(&stdout).unwrap()).stderr(File::create_new(&stderr).unwrap());
        Process { child: command.spawn().unwrap(), stdout, stderr, status: None }
    }

    /// What it has printed.
    pub fn printed(&self) -> Vec<u8> {
        std::fs::read(&self.stdout).unwrap()
    }

    /// How much it has printed.
    pub fn printed_len(&self) -> usize {
        std::fs::metadata(&self.stdout).unwrap().len() as usize
    }

    /// What it has said.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// The event called `name`, if it has said it.
    pub fn event(&self, name: &str) -> Option<Value> {
        let said = self.said();
        let events =
            said.lines().filter(|line| line.starts_with('{')).filter_map(|line| serde_json::from_str(line).ok());
        events.into_iter().find(|event: &Value| event["event"] == name)
    }

    /// Waits for the event called `name`.
    pub fn wait_for(&self, name: &str) -> Value {
        let mut event = None;
        until(name, || {
            event = self.event(name);
            event.is_some()
        });
        event.unwrap()
    }

    /// The chunks that it has run, in order; one may be there twice.
    pub fn ran(&self) -> Vec<u32> {
        let slots = |line: &str| {
            let (_, slots) = line.split_once("ran number=")?.1.split_once("slots=[")?;
            Some(
                slots
                    .trim_end()
                    .trim_end_matches(']')
                    .split(", ")
                    .map(|slot| slot.parse().unwrap())
                    .collect::<Vec<u32>>(),
            )
        };
        self.said().lines().filter_map(slots).flatten().collect()
    }

    pub fn is_alive(&mut self) -> bool {
        self.status = self.status.or_else(|| self.child.try_wait().unwrap());
        self.status.is_none()
    }

    /// Whether it has come to its end by itself, and well.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Whether [`Process::kill`] was what ended it.
    pub fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.signal() == Some(KILL))
    }

    /// As `kill -9`; says whether it came in time.
    pub fn kill(&mut self) -> bool {
        if self.is_alive() {
            self.child.kill().unwrap();
            self.status = Some(self.child.wait().unwrap());
        }
        self.was_killed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
