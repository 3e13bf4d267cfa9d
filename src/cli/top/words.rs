//! A scene in plain lines, for a pipe.

use std::fmt::Write;

use super::map;
use super::scene::{Job, Node, Scene};
use crate::cli::say::{count, rate, time};
use crate::peer::MemberSnapshot;

/// Characters of a map.
const MAP: (usize, usize) = (64, 4);

/// The scene, ending with a line break.
pub fn of(scene: &Scene) -> String {
    let mut out = String::new();
    for node in &scene.nodes {
        line(&mut out, &of_node(node));
    }
    for home in &scene.deaf {
        line(&mut out, &format!("the node in {} does not answer", home.display()));
    }
    for job in &scene.jobs {
        of_job(&mut out, job);
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

fn of_node(node: &Node) -> String {
    let seen = &node.seen;
    let lends = match seen.cpus {
        0 => "lends nothing".to_owned(),
        cpus => format!("lends {} of {}", seen.lent, count(cpus.into(), "core")),
    };
    let (peers, run) = (count(seen.connected as u64, "peer"), count(seen.chunks_run, "chunk"));
    format!("node {}  {lends}, {peers}, {run} run  (home {})", short(&seen.peer), node.home.display())
}

fn of_job(out: &mut String, job: &Job) {
    let seen = &job.seen;
    let (here, chunks) = (seen.sealed, count(seen.chunks.into(), "chunk"));
    line(
        out,
        &format!(
            "job  {}  {}  {}: {here} of {chunks}, {} a second, {}",
            short(&seen.job),
            seen.name,
            state(job),
            rate(job.rate),
            eta(job)
        ),
    );
    for drawn in map::lines(&seen.cells, MAP.0, MAP.1) {
        line(out, &format!("  {drawn}"));
    }
    for member in &seen.members {
        line(out, &format!("  peer {}  {}", short(&member.peer), of_member(member)));
    }
    if seen.more > 0 {
        line(out, &format!("  and {} more", count(seen.more as u64, "peer")));
    }
}

fn of_member(member: &MemberSnapshot) -> String {
    let sealed = member.sealed.map_or_else(String::new, |sealed| format!(", {sealed} done"));
    let rate = if member.rate > 0.0 { format!(", {} a second", rate(member.rate)) } else { String::new() };
    let gone = if member.alive { "" } else { ", silent" };
    let (cores, held) = (count(member.cores.into(), "core"), count(member.held, "chunk"));
    format!("{cores}: {held} held, {} running{sealed}{rate}{gone}", member.running)
}

/// Whose a job is, and whether somebody attends to it.
pub fn state(job: &Job) -> &'static str {
    match (job.seen.own, job.seen.away) {
        (true, _) => "yours",
        (false, false) => "another's",
        (false, true) => "author away",
    }
}

/// The first digits of a name.
pub fn short(name: &str) -> &str {
    name.get(..8).unwrap_or(name)
}

/// How long a job will still take.
pub fn eta(job: &Job) -> String {
    match job.eta_seconds {
        Some(seconds) if job.rate > 0.0 => format!("{} left", time(seconds)),
        _ => "no end in sight".to_owned(),
    }
}
