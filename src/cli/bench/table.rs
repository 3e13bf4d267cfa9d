//! The report as a table for a person, and as lines for a spreadsheet.

use std::fmt::Write;

use super::report::{Report, Run, Spread, Workload};

/// The table, at most 80 columns wide.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let _ =
        writeln!(out, "{}, {} cores, {}, essaim {}", machine.processor, machine.cores, machine.system, machine.version);
    let _ = writeln!(
        out,
        "medians of {}; seconds, the peers up and warm; last stands what most was lost to\n",
        report.rounds
    );
    let heads = [
        ["", "", "", "native", "speed", "effi-", "sand-", ""],
        ["work", "peers", "seconds", "seconds", "-up", "ciency", "box", ""],
    ];
    for head in heads {
        let _ = writeln!(out, "{}", line(head).trim_end());
    }
    for work in &report.workloads {
        for (at, run) in work.runs.iter().enumerate() {
            let name = if at == 0 { work.name.as_str() } else { "" };
            let _ = writeln!(out, "{}", row(name, work, run));
        }
    }
    for work in &report.workloads {
        for found in &work.forecasts {
            let millis = found.latency * 1e3;
            let (peers, seconds) = (found.peers.to_string(), short(found.seconds));
            let speedup = format!("{:.0}x", found.speedup);
            let efficiency = format!("{:.2}", found.speedup / f64::from(found.peers));
            let rest = format!("simulated, {millis:.0} ms");
            let line = line([&work.name, &peers, &seconds, "-", &speedup, &efficiency, "-", &rest]);
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn row(name: &str, work: &Workload, run: &Run) -> String {
    let peers = if run.times > 1 { format!("{} x{}", run.peers, run.times) } else { run.peers.to_string() };
    let Spread { median, least, most } = run.seconds;
    let seconds = format!("{} ±{:.0} %", short(median), (most - least) / 2.0 / median.max(1e-9) * 100.0);
    let native = run.native.map_or_else(|| "-".to_owned(), |native| short(native.median));
    let sandbox = work.sandbox.map_or_else(|| "-".to_owned(), |factor| format!("{factor:.2}x"));
    let (speedup, efficiency) = (format!("{:.2}x", run.speedup), format!("{:.2}", run.efficiency));
    line([name, &peers, &seconds, &native, &speedup, &efficiency, &sandbox, &lost(run)])
}

fn line([name, peers, seconds, native, speedup, efficiency, sandbox, rest]: [&str; 8]) -> String {
    format!("{name:<11} {peers:>5} {seconds:>12} {native:>7} {speedup:>6} {efficiency:>6} {sandbox:>6}  {rest}")
}

/// What took most of the time in which no chunk ran.
fn lost(run: &Run) -> String {
    let went = &run.went;
    let all = went.cut + went.start + went.run + went.tail + went.between;
    let parts = [("cutting", went.cut), ("start", went.start), ("tail", went.tail), ("waiting", went.between)];
    match parts.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)) {
        Some((what, seconds)) if all > 0.0 && seconds / all >= 0.01 => format!("{what} {:.0} %", seconds / all * 100.0),
        _ => "-".to_owned(),
    }
}

/// Seconds in three digits.
fn short(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 100.0 => format!("{seconds:.0}"),
        seconds if seconds >= 10.0 => format!("{seconds:.1}"),
        seconds if seconds >= 1.0 => format!("{seconds:.2}"),
        seconds => format!("{seconds:.3}"),
    }
}

/// A line a run, with a heading.
pub fn csv(report: &Report) -> String {
    let mut out = String::from(
        "work,items,peers,times,seconds,least,most,native,speedup,efficiency,sandbox,chunks,cut,start,run,tail,between\n",
    );
    let maybe = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for work in &report.workloads {
        for run in &work.runs {
            let Spread { median, least, most } = run.seconds;
            let went = &run.went;
            let fields = [
                quoted(&work.name),
                (work.items * u64::from(run.times)).to_string(),
                run.peers.to_string(),
                run.times.to_string(),
                median.to_string(),
                least.to_string(),
                most.to_string(),
                maybe(run.native.map(|native| native.median)),
                run.speedup.to_string(),
                run.efficiency.to_string(),
                maybe(work.sandbox),
                run.chunks.to_string(),
                went.cut.to_string(),
                went.start.to_string(),
                went.run.to_string(),
                went.tail.to_string(),
                went.between.to_string(),
            ];
            let _ = writeln!(out, "{}", fields.join(","));
        }
    }
    out
}

/// A field as RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
