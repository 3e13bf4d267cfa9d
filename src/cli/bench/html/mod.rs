//! The report as one page of HTML, which opens from a disk with no network: its plots are SVG within it, its style too, and
//! it has no script. What it shows is drawn from the report alone.

mod bars;
mod gantt;
mod plot;
#[cfg(test)]
mod sample;
mod tables;
mod tiles;
mod words;

use std::fmt::Write as _;

use super::report::{Machine, Report, Run, Workload};
use crate::cli::say::count;
use words::{escape, peers};

/// The page lets nothing be loaded from anywhere, whatever stands in it.
const HEAD: &str = "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"generator\" content=\"essaim bench\">\n";
const STYLE: &str = include_str!("style.css");
/// A swarm.
const MARK: &str = "<svg viewBox=\"0 0 34 30\" aria-hidden=\"true\"><circle cx=\"17\" cy=\"15\" r=\"4.6\"/><circle cx=\"7\" cy=\"8\" r=\"3.2\"/>\
    <circle cx=\"27\" cy=\"7\" r=\"3.6\"/><circle cx=\"6\" cy=\"22\" r=\"3.6\"/><circle cx=\"28\" cy=\"22\" r=\"3\"/>\
    <circle cx=\"17\" cy=\"3\" r=\"2.2\"/><circle cx=\"17\" cy=\"27.4\" r=\"2.4\"/></svg>";

/// All of it.
pub fn page(report: &Report) -> String {
    let machine = &report.machine;
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>essaim bench: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&machine.processor)
    );
    heading(&mut out, report);
    out.push_str("<main>\n");
    tiles::tiles(&mut out, &report.workloads);
    shared(&mut out, report);
    tables::summary(&mut out, report);
    speedups(&mut out, report);
    bars(&mut out, report);
    tables::forecasts(&mut out, &report.workloads);
    works(&mut out, &report.workloads);
    let _ = write!(
        out,
        "</main>\n<footer>Made by <code>essaim bench</code> {}. This file is all there is: it loads nothing.</footer>\n</body>\n</html>\n",
        escape(machine.version)
    );
    out
}

fn heading(out: &mut String, report: &Report) {
    let Machine { processor, cores, system, version, began } = &report.machine;
    let rounds = match report.rounds {
        1 => "each run made once".to_owned(),
        rounds => format!("medians of {}", count(rounds as u64, "round")),
    };
    let _ = write!(
        out,
        "<header><div class=\"brand\">{MARK}essaim bench</div>\n<h1>{}</h1>\n<p class=\"machine\">{} · {} · essaim {} · {} · {rounds}</p></header>\n",
        escape(processor),
        count((*cores).into(), "core"),
        escape(system),
        escape(version),
        date(*began)
    );
}

/// When it was, by the clock of Greenwich: the page is for others too.
fn date(began: u64) -> String {
    let at = i64::try_from(began).ok().and_then(|began| jiff::Timestamp::from_second(began).ok());
    at.map_or_else(|| words::NONE.to_owned(), |at| at.strftime("%-d %B %Y, %H:%M UTC").to_string())
}

/// Says so where the peers had to share the cores.
fn shared(out: &mut String, report: &Report) {
    let cores = report.machine.cores;
    let most = report.workloads.iter().flat_map(|workload| &workload.runs).map(|run| run.peers).max().unwrap_or(0);
    if most > cores {
        let _ = writeln!(
            out,
            "<p class=\"note\">There were up to {most} peers. Where they all ran on this machine, more than {} share its cores \
             and nothing can make them as fast as the ideal.</p>",
            count(cores.into(), "peer")
        );
    }
}

/// Runs of one time the work, by peers.
fn strong(workload: &Workload) -> Vec<&Run> {
    let mut runs: Vec<&Run> = workload.runs.iter().filter(|run| run.times == 1).collect();
    runs.sort_by_key(|run| run.peers);
    runs
}

/// Runs of as many times the work as there are peers, by peers; none where that is only one peer.
fn weak(workload: &Workload) -> Vec<&Run> {
    let mut runs: Vec<&Run> = workload.runs.iter().filter(|run| run.times == run.peers).collect();
    runs.sort_by_key(|run| run.peers);
    if runs.last().is_some_and(|run| run.peers > 1) { runs } else { Vec::new() }
}

fn speedups(out: &mut String, report: &Report) {
    let lines = |runs: fn(&Workload) -> Vec<&Run>| {
        let line = |(number, workload): (usize, &'_ Workload)| {
            let point = |run: &Run| (run.peers, run.speedup);
            let points: Vec<_> =
                runs(workload).into_iter().map(point).filter(|(_, y)| y.is_finite() && *y > 0.0).collect();
            (number, points)
        };
        let lines = report.workloads.iter().enumerate().map(line).filter(|(_, points)| !points.is_empty());
        lines
            .map(|(number, points)| plot::Line { number, name: &report.workloads[number].name, points })
            .collect::<Vec<_>>()
    };
    let plots = [
        ("Strong scaling", "The same work on more peers: how many times sooner it is done.", lines(strong)),
        ("Weak scaling", "More work with more peers: how much more is done in a time.", lines(weak)),
    ];
    let drawn: Vec<String> = plots
        .iter()
        .filter_map(|(title, about, lines)| {
            let svg = plot::speedup(title, lines, report.machine.cores)?;
            Some(format!("<div class=\"card\"><h3>{title}</h3><p class=\"about\">{about}</p>{svg}</div>\n"))
        })
        .collect();
    if !drawn.is_empty() {
        let _ = write!(
            out,
            "<h2>Speed-up</h2>\n<p class=\"about\">The dotted line is the ideal, on which every peer counts in full; a line below \
             it loses something with each peer. <span class=\"hover\">Point at a name to see its line alone.</span></p>\n<div class=\"plots\">{}</div>\n",
            drawn.concat()
        );
    }
}

fn bars(out: &mut String, report: &Report) {
    if report.workloads.iter().all(|workload| workload.runs.is_empty()) {
        return;
    }
    let _ = write!(
        out,
        "<h2>Efficiency</h2>\n<p class=\"about\">How much of the processors was turned into results: all of it is the dashed line. \
         “×2” is twice the work, as in weak scaling.</p>\n<dl><dt><i></i>of native</dt><dd>the time of as many native threads of one process, by the \
         time of the peers</dd>{}</dl>\n{}\n<h2>Where the time went</h2>\n\
         <p class=\"about\">From the command to the last result, in the median round. Each bar is all of its run’s time, which \
         stands beside it.</p>\n<dl>",
        if report.workloads.iter().flat_map(|workload| &workload.runs).any(|run| run.native.is_none()) {
            "<dt><i class=\"own\"></i>of one peer</dt><dd>where there is no native form: the speed-up by the \
             number of peers</dd>"
        } else {
            ""
        },
        bars::efficiency(&report.workloads)
    );
    for (class, word, meaning, _) in bars::PARTS {
        let _ = write!(out, "<dt><i class=\"{class}\"></i>{word}</dt><dd>{meaning}</dd>");
    }
    let _ = write!(out, "</dl>\n{}\n", bars::went(&report.workloads));
}

/// Each workload by itself: its chunks, and all of its runs.
fn works(out: &mut String, workloads: &[Workload]) {
    if workloads.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Chunk by chunk</h2>\n<p class=\"about\">Each workload was cut into chunks, which the peers shared out among them with \
         nobody in charge. Drawn is the run on most peers, in its median round; beside each peer stands how much of the time it \
         was working.</p>\n<dl>",
    );
    for (class, word, meaning) in [
        ("run", "chunk", "a block is a chunk where it ran, drawn as late as its result lets it have been"),
        (
            "run pale",
            "short ones",
            "chunks too short to be told apart are one block, fainter the more of it was waiting",
        ),
        ("start pale", "starting", "behind the chunks: until the first of them ran"),
        ("tail pale", "tail", "behind the chunks: when some peers had nothing to do any more"),
    ] {
        let _ = write!(out, "<dt><i class=\"{class}\"></i>{word}</dt><dd>{meaning}</dd>");
    }
    out.push_str("</dl>\n");
    for workload in workloads {
        let (name, about) = (escape(&workload.name), escape(&workload.about));
        let _ = write!(
            out,
            "<section class=\"card work\"><h3>{name}</h3><p class=\"about\">{about} · {}</p>",
            count(workload.items, "item")
        );
        // Of two with as many peers, the one with less work.
        let most = workload.runs.iter().max_by_key(|run| (run.peers, u16::MAX - run.times));
        if let Some((run, svg)) = most.and_then(|run| Some((run, gantt::chart(&name, run)?))) {
            let _ = write!(out, "<small>{} on {}</small>{svg}", count(run.chunks.into(), "chunk"), peers(run));
        }
        tables::runs(out, workload);
        out.push_str("</section>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text_and_nothing_else() {
        let mut report = sample::report(2);
        let evil = "<script>alert('x')</script>\"&";
        report.machine.processor = evil.to_owned();
        report.machine.system = evil.to_owned();
        for workload in &mut report.workloads {
            workload.name = evil.to_owned();
            workload.about = evil.to_owned();
        }
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("alert('x')") && !page.contains("\"&\""));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
    }

    #[test]
    fn the_page_needs_nothing_from_anywhere() {
        let page = page(&sample::report(4));
        for part in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<link", "<script"] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn figures_are_on_the_page() {
        let mut report = sample::report(2);
        for run in report.workloads.iter_mut().flat_map(|workload| &mut workload.runs) {
            (run.speedup, run.efficiency) = (1.942, 0.917);
        }
        let page = page(&report);
        for part in [
            "Sample &amp; Sons 3000",
            "2 cores",
            "21 November 2026, 06:40 UTC",
            "medians of 5 rounds",
            "mandelbrot",
            "2,048 items",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(
            page.contains("1.94×") && page.contains("92 %") && page.contains("1.04×"),
            "speed-up, efficiency, sandbox"
        );
        assert!(page.contains("Weak scaling") && page.contains("peer 2: "), "scaling and chunks");
    }

    #[test]
    fn what_was_simulated_is_on_the_page_and_said_to_be() {
        let page = page(&sample::report(2));
        for words in ["What more peers would give", "Nothing of this was run", "4,321 chunks", "20 ms apart", ">500<"] {
            assert!(page.contains(words), "{words}");
        }
        assert!(!super::page(&sample::many(10)).contains("Nothing of this was run"));
    }

    #[test]
    fn tags_are_closed() {
        for report in [sample::report(1), sample::report(2), sample::report(64), sample::empty()] {
            let page = page(&report);
            for tag in ["div", "svg", "g", "table", "tr", "section", "dl", "small", "title", "text", "main", "p"] {
                let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
            }
            for word in ["NaN", "inf"] {
                assert!(!page.contains(&format!("\"{word}")) && !page.contains(&format!(" {word}")), "{word}");
            }
        }
    }

    #[test]
    fn a_report_of_a_hundred_thousand_chunks_is_a_file_like_any_other() {
        let report = sample::many(100_000);
        let page = page(&report);
        assert!(page.len() < 2 << 20, "{}", page.len());
    }

    /// Written where `ESSAIM_SAMPLE` says, to be looked at.
    #[test]
    fn samples_to_look_at() {
        let Some(folder) = std::env::var_os("ESSAIM_SAMPLE") else { return };
        let reports = [
            ("1", sample::report(1)),
            ("2", sample::report(2)),
            ("64", sample::report(64)),
            ("many", sample::many(100_000)),
        ];
        for (name, report) in reports {
            let path = std::path::Path::new(&folder).join(format!("{name}.html"));
            std::fs::write(&path, page(&report)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
