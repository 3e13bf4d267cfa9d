//! What there is to say in four figures.

use std::fmt::Write as _;

use super::super::report::{Run, Workload};
use super::words::{escape, percent, times};
use super::{bars, strong};
use crate::cli::say::count;

/// The figures of the runs on most peers, each the median of all workloads.
pub fn tiles(out: &mut String, workloads: &[Workload]) {
    let runs: Vec<(&Workload, &Run)> =
        workloads.iter().filter_map(|workload| Some((workload, strong(workload).pop()?))).collect();
    let most = runs.iter().map(|(_, run)| run.peers).max().unwrap_or(1);
    let runs = || runs.iter().filter(|(_, run)| run.peers == most);
    let on = count(most.into(), "peer");
    let figures = |of: fn(&Run) -> f64| runs().map(move |(workload, run)| (of(run), workload.name.as_str()));
    let native = runs().filter(|(_, run)| run.native.is_some());
    let native = native.map(|(workload, run)| (run.efficiency, workload.name.as_str()));
    let sandbox = workloads.iter().filter_map(|workload| Some((workload.sandbox?, workload.name.as_str())));
    let faster = figures(|run| run.speedup).filter(|_| most > 1);
    let work = figures(|run| run.went.run / bars::whole(&run.went));
    let tiles = [
        tile(faster.collect(), times, &format!("as fast on {on} as on one")),
        tile(native.collect(), percent, &format!("of native speed on {on}")),
        tile(sandbox.collect(), times, "the time of one thread, in the sandbox"),
        tile(work.collect(), percent, &format!("of the time on {on} was work")),
    ];
    let _ = writeln!(out, "<div class=\"tiles\">\n{}</div>", tiles.concat());
}

/// The median of some figures, with the least and the most and whose they are; nothing where there are none.
fn tile(mut figures: Vec<(f64, &str)>, said: fn(f64) -> String, name: &str) -> String {
    figures.retain(|(figure, _)| figure.is_finite());
    figures.sort_by(|a, b| a.0.total_cmp(&b.0));
    let whose = |(figure, of): (f64, &str)| format!("{} ({})", said(figure), escape(of));
    let about = match figures.as_slice() {
        [] => return String::new(),
        [(_, only)] => escape(only),
        [low, .., high] => format!("median; from {} to {}", whose(*low), whose(*high)),
    };
    let median = said(figures[figures.len() / 2].0);
    format!("<div><b>{median}</b><span>{name}</span><small>{about}</small></div>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_says_the_median_and_whose_the_ends_are() {
        let tile = |figures: &[(f64, &'static str)]| tile(figures.to_vec(), times, "x");
        assert!(tile(&[]).is_empty() && tile(&[(f64::NAN, "a")]).is_empty());
        assert!(tile(&[(1.5, "<a>")]).contains("1.50×</b><span>x</span><small>&lt;a&gt;<"));
        assert!(
            tile(&[(3.0, "c"), (1.0, "a"), (2.0, "b")])
                .contains("2.00×</b><span>x</span><small>median; from 1.00× (a) to 3.00× (c)<")
        );
    }
}
