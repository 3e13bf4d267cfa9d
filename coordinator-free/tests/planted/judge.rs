//! The judges, from the cheapest to the dearest: tests of the wire, tests of the core, the simulator. The first one
//! that fails has caught what was planted, and the others are not asked.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::workshop::{Done, Workshop};

/// A judge that takes longer has caught something too: all of them end within a minute or two otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the judges say.
pub enum Verdict {
    /// All is well, they say.
    Nothing,
    Caught(String),
    /// It does not even compile, which proves nothing.
    Broken(String),
}

const WIRE: [&str; 3] = ["-p", "essaim-jobs", "--tests"];
const CORE: [&str; 3] = ["-p", "coordinator-free", "--lib"];

/// Lets the judges look at what stands in the workshop. With `sims` empty the simulator is not asked.
pub fn judge(workshop: &Workshop, sims: &[&str]) -> io::Result<Verdict> {
    // The simulator comes last, and this runner not at all: it has a folder of its own.
    let files = workshop.test_files("coordinator-free")?;
    let core: Vec<&str> = CORE.into_iter().chain(files.iter().flat_map(|file| ["--test", file])).collect();
    for (folder, build) in [("jobs", &WIRE[..]), ("coordinator-free", &core[..])] {
        let programs = match workshop.build(build)? {
            Ok(programs) => programs,
            Err(error) => return Ok(Verdict::Broken(error)),
        };
        if programs.is_empty() {
            return Ok(Verdict::Broken(format!("there are no tests in {folder}")));
        }
        for program in programs {
            let done = workshop.program(&program, folder, &[], PATIENCE)?;
            if !done.success {
                return Ok(Verdict::Caught(by_test(&program, &done)));
            }
        }
    }
    if sims.is_empty() {
        return Ok(Verdict::Nothing);
    }
    let programs = match workshop.build(&["-p", "essaim-sim", "--test", "sim"])? {
        Ok(programs) => programs,
        Err(error) => return Ok(Verdict::Broken(error)),
    };
    for program in &programs {
        for sim in sims {
            let args: Vec<&str> = sim.split_whitespace().chain(["--first"]).collect();
            let done = workshop.program(program, "coordinator-free", &args, PATIENCE)?;
            if !done.success {
                return Ok(Verdict::Caught(by_simulator(sim, &done)));
            }
        }
    }
    Ok(Verdict::Nothing)
}

/// The names of the tests that failed.
fn by_test(program: &Path, done: &Done) -> String {
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    let suite = file.split('-').next().unwrap_or_default();
    if done.late {
        return format!("{suite}: does not end");
    }
    let failed = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let names: Vec<String> = done.text.lines().filter_map(failed).collect();
    match &names[..] {
        [] => format!("{suite}: {}", done.text.lines().last().unwrap_or("it fails and says nothing")),
        [name] => format!("{suite}: {name}"),
        [name, others @ ..] => format!("{suite}: {name}, and {} more", others.len()),
    }
}

/// The first seed that failed, and why.
fn by_simulator(sim: &str, done: &Done) -> String {
    if done.late {
        return format!("sim {sim}: does not end");
    }
    let failed = |line: &&str| line.contains(" FAILED at commit ") || line.ends_with("the scenarios have lost it");
    let Some(line) = done.text.lines().find(failed) else {
        return format!("sim {sim}: {}", done.text.lines().last().unwrap_or("it fails and says nothing"));
    };
    match line.split_once(" FAILED at commit ") {
        Some((seed, why)) => format!("sim {sim}: {seed}: {}", why.split_once(": ").map_or(why, |(_, why)| why)),
        None => format!("sim {sim}: {line}"),
    }
}
