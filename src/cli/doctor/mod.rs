//! `essaim doctor`: looks at this machine, a line a check, and says what to do where something is wrong.

mod home;
mod machine;
mod network;
mod sandbox;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::args::Global;
use super::fail::Fail;
use super::say::count;

/// How a check came out, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// As it should be.
    Ok,
    /// It goes, but not as well as it could.
    Warning,
    /// Nothing goes, or not safely.
    Bad,
}

/// What was looked at, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: &'static str,
    state: State,
    words: String,
    /// What to do; nothing where it is as it should be.
    hint: String,
}

impl Check {
    fn ok(name: &'static str, words: impl Into<String>) -> Check {
        Check { name, state: State::Ok, words: words.into(), hint: String::new() }
    }

    fn warning(name: &'static str, words: impl Into<String>, hint: impl Into<String>) -> Check {
        Check { name, state: State::Warning, words: words.into(), hint: hint.into() }
    }

    fn bad(name: &'static str, words: impl Into<String>, hint: impl Into<String>) -> Check {
        Check { name, state: State::Bad, words: words.into(), hint: hint.into() }
    }
}

/// Looks at this machine.
///
/// # Errors
/// Something is bad.
pub async fn doctor(global: &Global) -> Result<(), Fail> {
    let clock = machine::Clock::now();
    let mut worst = State::Ok;
    let mut bad = 0;
    let mut tell = |checks: Vec<Check>| {
        for check in checks {
            worst = worst.max(check.state);
            bad += u64::from(check.state == State::Bad);
            // Nobody reads any more: the exit status still says it.
            let _ = writeln!(io::stdout().lock(), "{}", line(global, &check));
        }
    };
    let dir = home::dir(global)?;
    tell(tokio::task::block_in_place(|| home::checks(&dir, global.disk)));
    tell(machine::checks(&dir).await);
    tell(tokio::task::block_in_place(|| vec![sandbox::check()]));
    tell(network::checks(global).await);
    tell(vec![clock.check()]);
    if bad > 0 {
        return Err(Fail::new(
            format!("{} found that nothing goes with", count(bad, "thing")),
            "see what is said of each",
        ));
    }
    Ok(())
}

fn line(global: &Global, check: &Check) -> String {
    let Check { name, state, words, hint } = check;
    if global.json {
        let hint = (!hint.is_empty()).then_some(hint);
        return json!({ "check": name, "state": state, "words": words, "hint": hint }).to_string();
    }
    let state = match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Bad => "BAD",
    };
    let mut line = format!("{state:<8}{name:<10}{words}");
    if !hint.is_empty() {
        line += &format!("\n{:18}hint: {hint}", "");
    }
    line
}
