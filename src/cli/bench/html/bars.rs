//! Bars: efficiency, and where the time went. A card a workload, a row a run; as wide as there is room.

use std::fmt::Write as _;

use super::super::report::{Run, Went, Workload};
use super::words::{escape, peers, percent, seconds};

/// The height of a row, and of its bar.
const ROW: usize = 22;
const BAR: usize = 14;
/// The width of a letter beside the rows, in about.
const LETTER: usize = 7;
/// Bars of efficiency end here, whatever it is.
const WIDEST: f64 = 2.0;
/// A part of a bar that has room for its figure.
const ROOMY: f64 = 0.19;

/// What the time can go to: its class, its name, what that means, and how much of it there is.
pub type Part = (&'static str, &'static str, &'static str, fn(&Went) -> f64);
pub const PARTS: [Part; 5] = [
    (
        "cut",
        "cutting",
        "cutting the input into chunks, and trying the program to learn how large they should be",
        |went| went.cut,
    ),
    (
        "start",
        "starting",
        "telling the peers, sending them the program and compiling it, until the first chunk runs",
        |went| went.start,
    ),
    ("run", "running", "the work itself: what the chunks took on the processors, shared by the peers", |went| went.run),
    ("between", "between", "all else: waiting for input or for the processor, sending results", |went| went.between),
    ("tail", "tail", "at the end, when some peers had nothing to do any more while others still ran", |went| went.tail),
];

/// All that the time went to.
pub fn whole(went: &Went) -> f64 {
    PARTS.iter().map(|part| sane(part.3(went))).sum()
}

fn sane(figure: f64) -> f64 {
    if figure.is_finite() { figure.max(0.0) } else { 0.0 }
}

/// How much of the machine was made use of, by workload and peers.
pub fn efficiency(workloads: &[Workload]) -> String {
    let most = workloads.iter().flat_map(|workload| &workload.runs).map(|run| sane(run.efficiency)).fold(1.0, f64::max);
    let scale = (most * 10.0).ceil().min(WIDEST * 10.0) / 10.0;
    let full = 100.0 / scale;
    cards(workloads, |svg, name, run, y| {
        let (wide, said) = ((sane(run.efficiency) / scale * 100.0).min(100.0), percent(run.efficiency));
        let of = if run.native.is_some() { "of native threads" } else { "of one peer, times their number" };
        let kind = if run.native.is_some() { "eff" } else { "eff own" };
        let _ = write!(
            svg,
            "<g><title>{name}, {}: {said} {of}</title><rect class=\"track\" y=\"{y}\" width=\"{full:.1}%\" height=\"{BAR}\"/>\
             <rect class=\"{kind}\" y=\"{y}\" width=\"{wide:.1}%\" height=\"{BAR}\"/>\
             <line class=\"full\" x1=\"{full:.1}%\" x2=\"{full:.1}%\" y1=\"{}\" y2=\"{}\"/></g>{}",
            peers(run),
            y - 3,
            y + BAR + 3,
            value(y, &said)
        );
    })
}

/// What the time of each run went to, as parts of it.
pub fn went(workloads: &[Workload]) -> String {
    cards(workloads, |svg, name, run, y| {
        let whole = whole(&run.went);
        let mut from = 0.0;
        for (class, word, _, of) in PARTS {
            let (time, share) = (sane(of(&run.went)), sane(of(&run.went)) / whole.max(f64::MIN_POSITIVE));
            if share > 0.0 {
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{:.2}%\" y=\"{y}\" width=\"{:.2}%\" height=\"{BAR}\">\
                     <title>{name}, {}: {word} {}, {}</title></rect>",
                    from * 100.0,
                    share * 100.0,
                    peers(run),
                    seconds(time),
                    percent(share)
                );
            }
            if share > ROOMY {
                let middle = (from + share / 2.0) * 100.0;
                let _ = write!(
                    svg,
                    "<text class=\"in {class}\" x=\"{middle:.1}%\" y=\"{}\">{}</text>",
                    y + 11,
                    percent(share)
                );
            }
            from += share;
        }
        svg.push_str(&value(y, &seconds(whole)));
    })
}

fn cards(workloads: &[Workload], row: impl Fn(&mut String, &str, &Run, usize)) -> String {
    let labels = workloads.iter().flat_map(|workload| &workload.runs).map(|run| peers(run).chars().count());
    let left = labels.max().unwrap_or(0) * LETTER + 12;
    let mut out = format!("<div class=\"cards\" style=\"--left:{left}px\">");
    for workload in workloads.iter().filter(|workload| !workload.runs.is_empty()) {
        let name = escape(&workload.name);
        let high = workload.runs.len() * ROW;
        let _ = write!(
            out,
            "<div class=\"card\"><h3>{name}</h3><svg class=\"rows\" height=\"{high}\" role=\"img\" aria-label=\"{name}\">"
        );
        for (at, run) in workload.runs.iter().enumerate() {
            let y = at * ROW + (ROW - BAR) / 2;
            let _ = write!(
                out,
                "<text class=\"label\" x=\"-8\" y=\"{}\" text-anchor=\"end\">{}</text>",
                y + 11,
                peers(run)
            );
            row(&mut out, &name, run, y);
        }
        out.push_str("</svg></div>");
    }
    out.push_str("</div>");
    out
}

/// The figure to the right of a row.
fn value(y: usize, said: &str) -> String {
    format!("<text class=\"value\" x=\"100%\" dx=\"8\" y=\"{}\">{said}</text>", y + 11)
}
