//! Charts, written as SVG text into `docs/`: the same figures give the same bytes. Readable on light and on dark.

use std::fmt::Write as _;
use std::path::Path;

/// Curves over the number of peers.
pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub name: String,
    /// Peers, percent.
    pub points: Vec<(usize, f64)>,
}

/// Parts of a whole, percent.
pub struct Bar {
    pub name: String,
    pub parts: [f64; 6],
}

/// Colours that keep their distance on white and on black.
const COLOURS: [&str; 6] = ["#e0600f", "#2b83ba", "#5aa02c", "#9467bd", "#c2408e", "#8a8a8a"];
const STYLE: &str = "<style>text{font:13px sans-serif;fill:#222}.axis{stroke:#666}.grid{stroke:#ccc}\
     .title{font-weight:bold}@media(prefers-color-scheme:dark){text{fill:#ddd}.axis{stroke:#999}.grid{stroke:#444}}</style>\n";
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 260.0;
/// The least and the most that is shown, percent, on a logarithmic scale.
const RANGE: (f64, f64) = (0.1, 1_000.0);

/// Draws curves, one panel beside the other; both axes are logarithmic.
pub fn lines(file: &str, title: &str, panels: &[Panel]) -> Result<(), String> {
    let (left, top) = (64.0, 56.0);
    let all = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let sizes: std::collections::BTreeSet<usize> = all().map(|(peers, _)| *peers).collect();
    let (Some(first), Some(last)) = (sizes.first().copied(), sizes.last().copied()) else {
        return Err("nothing to draw".to_owned());
    };
    let most = all().map(|(_, percent)| *percent).fold(1.0, f64::max);
    let decades = (most.log10().ceil() - RANGE.0.log10()).min((RANGE.1 / RANGE.0).log10());
    let x = |peers: usize| WIDTH * (peers as f64 / first as f64).ln() / (last as f64 / first as f64).ln().max(1e-9);
    let y = |percent: f64| HEIGHT - HEIGHT * (percent.max(RANGE.0) / RANGE.0).log10() / decades;
    let total = (left + (WIDTH + 40.0) * panels.len() as f64, top + HEIGHT + 76.0);
    let mut svg = open(total, title);
    for (number, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({:.1} {top})\">", left + (WIDTH + 40.0) * number as f64);
        let _ = writeln!(
            svg,
            "<text class=\"title\" x=\"{:.1}\" y=\"-8\" text-anchor=\"middle\">{}</text>",
            WIDTH / 2.0,
            panel.title
        );
        for decade in 0..=decades as i32 {
            let percent = RANGE.0 * 10_f64.powi(decade);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M0 {0:.1}H{WIDTH}\"/><text x=\"-6\" y=\"{1:.1}\" text-anchor=\"end\">{percent} %</text>",
                y(percent),
                y(percent) + 4.0
            );
        }
        for peers in &sizes {
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{0:.1} {HEIGHT}v5\"/><text x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{peers}</text>",
                x(*peers),
                HEIGHT + 18.0
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">peers</text>",
            WIDTH / 2.0,
            HEIGHT + 36.0
        );
        for (line, colour) in panel.lines.iter().zip(COLOURS) {
            let points: Vec<String> =
                line.points.iter().map(|(peers, percent)| format!("{:.1},{:.1}", x(*peers), y(*percent))).collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                points.join(" ")
            );
            for (peers, percent) in &line.points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>{}: {percent:.2} % at {peers} peers</title></circle>",
                    x(*peers),
                    y(*percent),
                    line.name
                );
            }
        }
        svg.push_str("</g>\n");
    }
    let names: Vec<&str> = panels[0].lines.iter().map(|line| line.name.as_str()).collect();
    legend(&mut svg, &names, (left, top + HEIGHT + 60.0));
    close(svg, file)
}

/// Draws bars that lie, each of its parts.
pub fn bars(file: &str, title: &str, parts: &[&str], bars: &[Bar]) -> Result<(), String> {
    let (left, top, width, high) = (170.0, 40.0, 620.0, 24.0);
    let most = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(1.0, f64::max).ceil();
    let bottom = top + high * bars.len() as f64;
    let mut svg = open((left + width + 40.0, bottom + 76.0), title);
    let step = if most > 10.0 { 5 } else { 1 };
    for percent in (0..=most as u32).step_by(step) {
        let x = left + width * f64::from(percent) / most;
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{percent} %</text>",
            bottom + 16.0
        );
    }
    for (number, bar) in bars.iter().enumerate() {
        let y = top + high * number as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            y + 16.0,
            bar.name
        );
        let mut x = left;
        for ((part, name), colour) in bar.parts.iter().zip(parts).zip(COLOURS) {
            let long = width * part / most;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{name}: {part:.2} %</title></rect>",
                y + 3.0,
                high - 6.0
            );
            x += long;
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">of the useful work</text>",
        left + width / 2.0,
        bottom + 34.0
    );
    legend(&mut svg, parts, (left, bottom + 60.0));
    close(svg, file)
}

fn open((width, height): (f64, f64), title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n"
    );
    let _ = writeln!(svg, "<title>{title}</title>");
    svg.push_str(STYLE);
    let _ =
        writeln!(svg, "<text class=\"title\" x=\"{:.1}\" y=\"20\" text-anchor=\"middle\">{title}</text>", width / 2.0);
    svg
}

fn legend(svg: &mut String, names: &[&str], (mut x, y): (f64, f64)) {
    for (name, colour) in names.iter().zip(COLOURS) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            y - 11.0,
            x + 18.0
        );
        x += 48.0 + 7.0 * name.chars().count() as f64;
    }
}

fn close(mut svg: String, file: &str) -> Result<(), String> {
    svg.push_str("</svg>\n");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let path = docs.join(file);
    std::fs::create_dir_all(&docs)
        .and_then(|()| std::fs::write(&path, svg))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("drawn: docs/{file}");
    Ok(())
}
