//! The report as a table for a person, and as lines for a spreadsheet.

use std::fmt::Write;

use super::report::{Report, Run, Spread, Workload};

/// The table, at most 80 columns wide.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let _ =
        writeln!(out, "{}, {} cores, {}, essaim {}", machine.processor, machine.cores, machine.system, machine.version);
    let _ = writeln!(out, "medians of {}; seconds, the peers up and warm\n", report.rounds);
    let _ = writeln!(
        out,
        "{:<12} {:>7} {:>15} {:>8} {:>7} {:>6} {:>7}  lost most to",
        "", "", "", "native", "speed", "effi-", "sand-"
    );
    let _ = writeln!(
        out,
        "{:<12} {:>7} {:>15} {:>8} {:>7} {:>6} {:>7}",
        "work", "peers", "seconds", "seconds", "-up", "ciency", "box"
    );
    for work in &report.workloads {
        for (at, run) in work.runs.iter().enumerate() {
            let name = if at == 0 { work.name.as_str() } else { "" };
            let _ = writeln!(out, "{}", row(name, work, run));
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
    format!(
        "{name:<12} {peers:>7} {seconds:>15} {native:>8} {:>6.2}x {:>6.2} {sandbox:>7}  {}",
        run.speedup,
        run.efficiency,
        lost(run)
    )
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
