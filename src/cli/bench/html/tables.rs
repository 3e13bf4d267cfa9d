//! Tables: all workloads on a line each, and all runs of one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::report::{Report, Workload};
use super::strong;
use super::words::{NONE, escape, peers, percent, spread, three, times};
use crate::cli::say::count;

/// What the columns mean, a sentence each.
const MEANINGS: [(&str, &str); 5] = [
    ("Speed-up", "how many times as fast the most peers were as one peer; as many as there are peers is the ideal."),
    (
        "Efficiency",
        "the native time by the time of the peers, or, where there is no native form, the speed-up by their number.",
    ),
    (
        "Sandbox",
        "how many times as long one thread takes as a guest, in WebAssembly, as natively: what being safe costs.",
    ),
    (
        "Native",
        "the same work on as many threads of one ordinary process of this machine, with no sandbox and no swarm.",
    ),
    (
        "Peers",
        "the time from the command to the last result, the peers up and warm; in small the fastest and the slowest round.",
    ),
];

/// A line a workload.
pub fn summary(out: &mut String, report: &Report) {
    let runs: Vec<_> = report.workloads.iter().map(|workload| (workload, strong(workload))).collect();
    let sizes: BTreeSet<u16> = runs.iter().flat_map(|(_, runs)| runs).map(|run| run.peers).collect();
    out.push_str(
        "<h2>In short</h2>\n<div class=\"scroll\"><table><thead><tr><th>Workload</th><th>Speed-up<small>on most peers</small></th>\
         <th>Efficiency<small>on most peers</small></th><th>Sandbox<small>one thread</small></th>\
         <th>Native<small>as many threads</small></th>",
    );
    for size in &sizes {
        let _ = write!(out, "<th>{}</th>", count((*size).into(), "peer"));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (workload, runs) in &runs {
        let last = runs.last();
        let _ = write!(
            out,
            "<tr><th title=\"{}\">{}<small>{}</small></th><td class=\"strong\">{}</td><td class=\"strong\">{}</td>\
             <td>{}</td><td>{}</td>",
            escape(&workload.about),
            escape(&workload.name),
            count(workload.items, "item"),
            last.map_or_else(|| NONE.to_owned(), |run| times(run.speedup)),
            last.map_or_else(|| NONE.to_owned(), |run| percent(run.efficiency)),
            workload.sandbox.map_or_else(|| NONE.to_owned(), times),
            spread(last.and_then(|run| run.native.as_ref()))
        );
        for size in &sizes {
            let run = runs.iter().find(|run| run.peers == *size);
            let _ = write!(out, "<td>{}</td>", spread(run.map(|run| &run.seconds)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n<dl>");
    for (word, meaning) in MEANINGS {
        let _ = write!(out, "<dt>{word}</dt><dd>{meaning}</dd>");
    }
    out.push_str("</dl>\n");
}

/// What more peers would make of each work, where that was asked for.
pub fn forecasts(out: &mut String, workloads: &[Workload]) {
    let found: Vec<_> =
        workloads.iter().flat_map(|work| work.forecasts.iter().map(move |found| (work, found))).collect();
    let Some((_, first)) = found.first() else { return };
    let _ = write!(
        out,
        "<h2>What more peers would give</h2>\n<p class=\"about\">Nothing of this was run: the costs measured above went through \
         the protocol&#39;s own simulator, with peers of one core each, as fast as this machine&#39;s and {:.0} ms apart. Left \
         out are sending the program, inputs and outputs, and compiling.</p>\n<div class=\"scroll\"><table><thead><tr>\
         <th>Workload</th><th>Peers</th><th>Time</th><th>Ideal</th><th>Speed-up</th><th>Busy</th><th>Run twice</th></tr></thead>\n<tbody>\n",
        first.latency * 1e3
    );
    for (work, found) in &found {
        let _ = writeln!(
            out,
            "<tr><th>{}<small>{}</small></th><td>{}</td><td>{} s</td><td>{} s</td><td class=\"strong\">{}</td><td>{}</td><td>{}</td></tr>",
            escape(&work.name),
            count(found.chunks.into(), "chunk"),
            found.peers,
            three(found.seconds),
            three(found.ideal),
            times(found.speedup),
            percent(found.busy),
            found.run_twice
        );
    }
    out.push_str("</tbody></table></div>\n");
}

/// A line a run.
pub fn runs(out: &mut String, workload: &Workload) {
    if workload.runs.is_empty() {
        return;
    }
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>Run</th><th>Time</th><th>Native</th><th>Speed-up</th><th>Efficiency</th>\
         <th>Chunks</th></tr></thead>\n<tbody>\n",
    );
    for run in &workload.runs {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            peers(run),
            spread(Some(&run.seconds)),
            spread(run.native.as_ref()),
            times(run.speedup),
            percent(run.efficiency),
            run.chunks
        );
    }
    out.push_str("</tbody></table></div>");
}
