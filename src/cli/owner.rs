//! `essaim status`, `pause`, `resume` and `finish`: the owner of this machine speaks to the nodes that lend it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::args::Global;
use super::fail::Fail;
use super::jobs;
use super::join::roughly;
use super::say::count;
use crate::control::{self, Wish};

/// Tells the node in the home that was named, or all of this user's, what is wanted, and prints how each is then.
///
/// # Errors
/// No node runs here, or one does not answer.
pub async fn tell(global: &Global, wish: Wish) -> Result<(), Fail> {
    let mut answers = Vec::new();
    for home in jobs::homes(global)? {
        if let Some(answer) =
            control::ask(&home, wish).await.map_err(|error| deaf(&home, &error))?.filter(|answer| !answer.is_null())
        {
            answers.push(answer);
        }
    }
    if answers.is_empty() {
        let hint = "`essaim join` starts one; if it was started with --home DIR, say the same here";
        return Err(Fail::new("no node of yours lends this machine", hint));
    }
    let mut out = io::stdout().lock();
    for answer in answers {
        let line = if global.json { answer.to_string() } else { words(&answer) };
        // Nobody reads any more.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(())
}

/// Prints what holds of all that can be configured.
///
/// # Errors
/// None that is worth a word: nobody reads any more.
pub fn show(config: &str) -> Result<(), Fail> {
    let _ = io::stdout().lock().write_all(config.as_bytes());
    Ok(())
}

pub fn deaf(home: &Path, error: &io::Error) -> Fail {
    let hint = "is it of another version of essaim, or stopped (Ctrl-Z)?";
    Fail::new(format!("the node in {} does not answer: {error}", home.display()), hint)
}

/// How a node is, in words.
fn words(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or("?").to_owned();
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let lends = if answer["leaving"] == true {
        "is leaving: it ends what runs and hands back the rest".to_owned()
    } else if answer["paused"] == true {
        "is paused: `essaim resume` goes on".to_owned()
    } else {
        let lends = format!("lends {} of {}", number("lent"), count(number("cpus"), "core"));
        match answer["why"].as_str() {
            Some("on-battery") => format!("{lends}: this machine is on battery (--on-battery lends it all the same)"),
            Some("outside-hours") => format!("{lends}: it is outside its hours (--hours)"),
            Some(_) => format!("{lends}: others use the machine"),
            None => lends,
        }
    };
    let mut words = format!("peer {} {lends}", text("peer").chars().take(8).collect::<String>());
    words += &format!(
        "\n  swarm {}, {}, {} run, {} of them failed\n  home {}",
        text("swarm"),
        count(number("connected"), "peer"),
        count(number("chunks_run"), "chunk"),
        number("chunks_failed"),
        text("home")
    );
    if let Some(trouble) = answer["trouble"].as_str() {
        words += &format!("\n  {trouble}");
    }
    for job in answer["jobs"].as_array().into_iter().flatten() {
        let number = |name: &str| job[name].as_u64().unwrap_or(0);
        let name = job["name"].as_str().unwrap_or("?");
        words += &format!("\n  job {name}: {} held, {} running", count(number("held"), "chunk"), number("running"));
        let percents: Vec<_> = job["percents"].as_array().into_iter().flatten().map(|at| format!("{at} %")).collect();
        if !percents.is_empty() {
            words += &format!(" (at {})", percents.join(", "));
        }
        if let Some(left) = job["forgotten_in_seconds"].as_u64() {
            let left = roughly(Duration::from_secs(left));
            words += &format!("; its author is away: it is forgotten in {left}");
        }
    }
    words
}
