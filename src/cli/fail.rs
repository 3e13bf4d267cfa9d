//! An error as a person sees it: what failed, on what, and what to do about it.

use std::fmt::{self, Display};
use std::process::ExitCode;

use super::args::Global;

/// A message, a hint, and the exit status that goes with them.
#[derive(Debug)]
pub struct Fail {
    message: String,
    hint: String,
    status: u8,
}

impl Fail {
    /// Something failed: what, on what; and what the person can do.
    pub fn new(message: impl Display, hint: impl Display) -> Fail {
        Fail { message: message.to_string(), hint: hint.to_string(), status: 1 }
    }

    /// As [`Fail::new`], with all that stands behind `error`.
    pub fn of(error: &dyn std::error::Error, hint: impl Display) -> Fail {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !message.contains(&more) {
                message.push_str(": ");
                message.push_str(&more);
            }
            cause = error.source();
        }
        Fail::new(message, hint)
    }

    /// What failed, and the hint.
    pub fn parts(&self) -> (&str, &str) {
        (&self.message, &self.hint)
    }

    /// Another exit status than 1.
    pub fn with_status(mut self, status: u8) -> Fail {
        self.status = status;
        self
    }
}

impl Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

/// Prints `fail` on stderr, and gives its exit status.
pub fn show(global: &Global, fail: &Fail) -> ExitCode {
    if fail.message.is_empty() {
        // Somebody closed the pipe that we wrote to: they know.
    } else if global.json {
        let line = serde_json::json!({ "event": "error", "message": fail.message, "hint": fail.hint });
        eprintln!("{line}");
    } else {
        eprintln!("essaim: {fail}");
    }
    ExitCode::from(fail.status)
}
