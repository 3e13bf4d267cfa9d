//! Speed-up by the number of peers, a line a workload, against the line on which each peer counts in full.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::words::{escape, short, times};

/// The inner part, where it begins, and all of it. Names stand to the right of the lines.
const INNER: (f64, f64) = (330.0, 300.0);
const ORIGIN: (f64, f64) = (60.0, 14.0);
const OUTER: (f64, f64) = (580.0, 362.0);
/// From so many peers on both axes are logarithmic.
const LOGARITHMIC: u16 = 9;
/// Below this share of one peer nothing is told apart.
const LEAST: f64 = 1.0 / 64.0;
/// So much of a step may lie outside.
const SLACK: f64 = 0.05;
/// Lines between which names need room, and letters that a name may have.
const APART: f64 = 17.0;
const LETTERS: usize = 16;
/// A mark of each form about its middle; with the colours of the style they tell forty lines apart.
const MARKS: [&str; 5] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-4-4h8v8h-8z",
    "M0-5.4L5.4 0L0 5.4L-5.4 0z",
    "M0-5L5 4h-10z",
    "M0 5L5-4h-10z",
];
const COLOURS: usize = 8;

/// One workload.
pub struct Line<'a> {
    /// Which of all: the same has the same colour and mark in each plot.
    pub number: usize,
    pub name: &'a str,
    /// Peers, and how many times as fast as one; by peers.
    pub points: Vec<(u16, f64)>,
}

/// Where a number of peers and a speed-up stand.
struct Scale {
    most: u16,
    /// The least and the most of the speed-ups.
    range: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    fn of(lines: &[Line<'_>]) -> Scale {
        let points = || lines.iter().flat_map(|line| &line.points);
        let most = points().map(|point| point.0).max().unwrap_or(1);
        let (low, high) = points().fold((1.0_f64, f64::from(most)), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
        let logarithmic = most >= LOGARITHMIC;
        let range = if logarithmic {
            (low.max(LEAST).log2().floor().exp2(), high.log2().ceil().exp2())
        } else {
            // A little beyond the ideal needs no step of its own.
            let step = step(high - low);
            ((low / step + SLACK).floor() * step, (high / step - SLACK).ceil() * step)
        };
        Scale { most, range, logarithmic }
    }

    fn x(&self, peers: u16) -> f64 {
        let share = match self.logarithmic {
            true => f64::from(peers).log2() / f64::from(self.most).log2(),
            false => f64::from(peers.saturating_sub(1)) / f64::from(self.most.saturating_sub(1).max(1)),
        };
        INNER.0 * share
    }

    fn y(&self, speedup: f64) -> f64 {
        let (low, high) = self.range;
        let share = match self.logarithmic {
            true => (speedup.max(low) / low).log2() / (high / low).log2(),
            false => (speedup - low) / (high - low),
        };
        INNER.1 * (1.0 - share)
    }

    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.range;
        if self.logarithmic {
            std::iter::successors(Some(low), |tick| Some(tick * 2.0)).take_while(|tick| *tick <= high).collect()
        } else {
            let step = step(high - low);
            (0..=((high - low) / step).round() as u32).map(|n| low + f64::from(n) * step).collect()
        }
    }
}

/// A step by which there are four to nine lines.
fn step(range: f64) -> f64 {
    let rough = (range / 8.0).max(1e-9);
    let decade = rough.log10().floor();
    let of = |digit: f64| digit * 10_f64.powf(decade);
    [1.0, 2.5, 5.0].map(of).into_iter().find(|step| *step >= rough).unwrap_or_else(|| of(10.0))
}

/// The plot; none where there is nothing but one peer.
pub fn speedup(title: &str, lines: &[Line<'_>], cores: u16) -> Option<String> {
    let scale = Scale::of(lines);
    if scale.most < 2 {
        return None;
    }
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{title}\"><g transform=\"translate({} {})\">",
        OUTER.0, OUTER.1, ORIGIN.0, ORIGIN.1
    );
    axes(&mut svg, &scale, lines);
    let (x, end) = (scale.x(scale.most), f64::from(scale.most));
    let _ = write!(
        svg,
        "<g class=\"ideal\"><title>ideal: each peer counts in full</title><path d=\"M0 {:.1}L{x:.1} {:.1}\"/></g>",
        scale.y(1.0),
        scale.y(end)
    );
    if (1..scale.most).contains(&cores) {
        let x = scale.x(cores);
        let _ = write!(
            svg,
            "<g class=\"cores\"><title>this machine has no more cores than that</title><path d=\"M{x:.1} 0V{}\"/>\
             <text x=\"{:.1}\" y=\"{}\">cores</text></g>",
            INNER.1,
            x + 4.0,
            INNER.1 - 6.0
        );
    }
    svg.push_str("<g class=\"lines\">");
    let named = named(&scale, lines);
    for (line, label) in lines.iter().zip(&named) {
        draw(&mut svg, &scale, line, *label);
    }
    svg.push_str("</g></g></svg>");
    Some(svg)
}

fn axes(svg: &mut String, scale: &Scale, lines: &[Line<'_>]) {
    for tick in scale.ticks() {
        let y = scale.y(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M0 {y:.1}H{}\"/><text class=\"tick\" x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{tick}×</text>",
            INNER.0,
            y + 4.0
        );
    }
    let sizes: BTreeSet<u16> = lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
    // Where two numbers would touch, the smaller goes unsaid.
    let mut free = f64::INFINITY;
    for peers in sizes.into_iter().rev() {
        let x = scale.x(peers);
        let _ = write!(svg, "<path class=\"axis\" d=\"M{x:.1} {}v5\"/>", INNER.1);
        if free - x > 20.0 {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{peers}</text>",
                INNER.1 + 19.0
            );
            free = x;
        }
    }
    let (right, bottom) = INNER;
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M0 {bottom}H{right}\"/>\
         <text class=\"unit\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">peers{}</text>\
         <text class=\"unit\" transform=\"translate(-50 {:.1})rotate(-90)\" text-anchor=\"middle\">times as fast as one peer</text>",
        right / 2.0,
        bottom + 40.0,
        if scale.logarithmic { " (logarithmic)" } else { "" },
        bottom / 2.0
    );
}

/// Where the names stand: beside the ends of their lines, but never on one another.
fn named(scale: &Scale, lines: &[Line<'_>]) -> Vec<f64> {
    let end = |at: usize| lines[at].points.last().map_or(INNER.1, |point| scale.y(point.1));
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|a, b| end(*a).total_cmp(&end(*b)));
    let apart = APART.min(INNER.1 / lines.len().max(1) as f64);
    let mut named = vec![0.0; lines.len()];
    let mut free = 0.0_f64;
    for at in &order {
        named[*at] = end(*at).max(free);
        free = named[*at] + apart;
    }
    let mut free = INNER.1;
    for at in order.iter().rev() {
        named[*at] = named[*at].min(free);
        free = named[*at] - apart;
    }
    named
}

fn draw(svg: &mut String, scale: &Scale, line: &Line<'_>, label: f64) {
    let Some((_, last)) = line.points.last() else { return };
    let at = |(peers, speedup): &(u16, f64)| (scale.x(*peers), scale.y(*speedup));
    let (name, mark) = (escape(line.name), MARKS[line.number % MARKS.len()]);
    let said = |(peers, speedup): &(u16, f64)| format!("{name}, {peers} peers: {}", times(*speedup));
    let path: Vec<String> = line.points.iter().map(at).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let _ = write!(svg, "<g class=\"c{}\"><path class=\"line\" d=\"M{}\"/>", line.number % COLOURS, path.join("L"));
    for point in &line.points {
        let (x, y) = at(point);
        let _ = write!(
            svg,
            "<path class=\"mark\" d=\"{mark}\" transform=\"translate({x:.1} {y:.1})\"><title>{}</title></path>",
            said(point)
        );
    }
    let end = line.points.last().map_or((0.0, 0.0), at);
    let (from, to) = (end.0 + 7.0, INNER.0 + 26.0);
    let _ = write!(
        svg,
        "<path class=\"lead\" d=\"M{from:.1} {:.1}L{:.1} {label:.1}H{to}\"/>\
         <path class=\"mark\" d=\"{mark}\" transform=\"translate({} {label:.1})\"/>\
         <text class=\"name\" x=\"{}\" y=\"{:.1}\"><title>{name}</title>{} <tspan class=\"value\">{}</tspan></text></g>",
        end.1,
        to - 7.0,
        to + 6.0,
        to + 16.0,
        label + 4.0,
        short(line.name, LETTERS),
        times(*last)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, points: &[(u16, f64)]) -> Line<'_> {
        let _ = number;
        Line { number, name: "a<b", points: points.to_vec() }
    }

    #[test]
    fn names_never_stand_on_one_another() {
        let points = [(1, 1.0), (2, 1.9)];
        let lines: Vec<_> = (0..12).map(|number| line(number, &points)).collect();
        let mut named = named(&Scale::of(&lines), &lines);
        named.sort_by(f64::total_cmp);
        assert!(named.windows(2).all(|pair| pair[1] - pair[0] > APART - 0.01), "{named:?}");
        assert!(named[0] >= 0.0 && named[11] <= INNER.1);
    }

    #[test]
    fn the_ideal_is_on_the_plot_and_one_peer_has_none() {
        assert!(speedup("t", &[line(0, &[(1, 1.0)])], 2).is_none());
        for most in [2, 8, 64, 500] {
            let scale = Scale::of(&[line(0, &[(1, 1.0), (most, 0.4)])]);
            let (x, y) = (scale.x(most), scale.y(most.into()));
            assert!((0.0..=INNER.1).contains(&y) && (x - INNER.0).abs() < 0.01, "{most}: {x} {y}");
            assert!((2..=16).contains(&scale.ticks().len()), "{most}: {:?}", scale.ticks());
        }
    }

    #[test]
    fn a_name_is_only_text() {
        let svg = speedup("t", &[line(0, &[(1, 1.0), (2, 1.9)])], 2).unwrap();
        assert!(svg.contains("a&lt;b, 2 peers: 1.90×") && !svg.contains("a<b"));
    }
}
