//! The chunks of a run by peer and time.

use std::fmt::Write as _;

use super::super::report::{Run, Span};
use super::words::{NONE, between, peers, percent, seconds, three, unit};

/// Columns of a chart: what is closer than one of them is drawn as one. With many peers there are fewer, so that a chart
/// has so many places at most.
const COLUMNS: f64 = 1_000.0;
const FEWEST: f64 = 250.0;
const PLACES: f64 = 32_000.0;
/// A chunk of so many columns is drawn by itself; a block of shorter ones ends there, so that it is seen how busy each
/// part of the time was.
const WIDE: f64 = 4.0;
const BLOCK: f64 = 16.0;
/// Blocks that say each for itself what they are; where there are more, only the peers do.
const SPEAKING: usize = 800;
/// Peers that are drawn.
const ROWS: usize = 512;
const SHADES: usize = 4;

/// Chunks of one peer that are drawn as one.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    from: f64,
    to: f64,
    /// How much of that they took on the processor.
    busy: f64,
    /// How many, and the first of them.
    chunks: u32,
    first: u32,
    /// It is made of chunks that are too short to be told apart.
    fine: bool,
}

/// The chart; none where nothing is known of chunks.
pub fn chart(name: &str, run: &Run) -> Option<String> {
    let rows = by_peer(run);
    let end = rows.iter().flatten().map(|span| span.to).fold(0.0, f64::max);
    if end <= 0.0 {
        return None;
    }
    let high = match rows.len() {
        0..=8 => 22,
        9..=24 => 14,
        25..=64 => 8,
        65..=200 => 4,
        _ => 2,
    };
    let columns = (PLACES / rows.len() as f64).clamp(FEWEST, COLUMNS).round();
    let rows: Vec<Vec<Block>> = rows.iter().map(|spans| blocks(spans, end / columns)).collect();
    let bottom = rows.len() * high;
    let mut svg = format!(
        "<svg class=\"gantt\" height=\"{}\" role=\"img\" aria-label=\"{name}: chunks by peer on {}\">",
        bottom + 40,
        peers(run)
    );
    phases(&mut svg, run, end, bottom);
    ticks(&mut svg, end, bottom);
    let _ = write!(
        svg,
        "<svg width=\"100%\" height=\"{bottom}\" viewBox=\"0 0 {columns} {bottom}\" preserveAspectRatio=\"none\">"
    );
    let speaking = rows.iter().map(Vec::len).sum::<usize>() <= SPEAKING;
    let per = columns / end;
    for (peer, blocks) in rows.iter().enumerate() {
        let row = (peer * high, high - (high / 6).max(usize::from(high > 2)));
        if speaking {
            each(&mut svg, blocks, per, row);
        } else {
            together(&mut svg, blocks, per, row, &of_peer(peer, blocks, end));
        }
    }
    svg.push_str("</svg>");
    let every = 14_usize.div_ceil(high);
    for (peer, blocks) in rows.iter().enumerate().step_by(every) {
        let y = peer * high + high / 2 + 3;
        let busy = blocks.iter().map(|block| block.busy).sum::<f64>() / end;
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"-8\" y=\"{y}\" text-anchor=\"end\">peer {}</text>\
             <text class=\"value\" x=\"100%\" dx=\"8\" y=\"{y}\"><title>{}</title>{}</text>",
            peer + 1,
            of_peer(peer, blocks, end),
            percent(busy)
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The spans of each peer in the order in which they ran. A result may come together with others, so its span says only
/// by when it had run; as a peer has one core, what would overlap is put one before the other.
fn by_peer(run: &Run) -> Vec<Vec<Span>> {
    let sane = |span: &&Span| span.from.is_finite() && span.to.is_finite() && span.to >= span.from && span.to >= 0.0;
    let most = run.spans.iter().filter(sane).map(|span| usize::from(span.peer) + 1).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); most.max(run.peers.into()).min(ROWS)];
    for span in run.spans.iter().filter(sane) {
        if let Some(row) = rows.get_mut(usize::from(span.peer)) {
            row.push(*span);
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.to.total_cmp(&b.to).then(a.from.total_cmp(&b.from)).then(a.chunk.cmp(&b.chunk)));
        let mut free = f64::INFINITY;
        for span in row.iter_mut().rev() {
            let took = span.to - span.from;
            span.to = span.to.min(free);
            span.from = (span.to - took).max(0.0);
            free = span.from;
        }
    }
    rows
}

/// What is drawn of a peer whose spans are in order, where a column is so many seconds.
fn blocks(spans: &[Span], column: f64) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for span in spans {
        let took = span.to - span.from;
        let fine = took < WIDE * column;
        match blocks.last_mut() {
            Some(last) if fine && last.fine && span.from - last.to < column && last.to - last.from < BLOCK * column => {
                last.to = last.to.max(span.to);
                last.busy += took;
                last.chunks += 1;
            }
            _ => {
                blocks.push(Block { from: span.from, to: span.to, busy: took, chunks: 1, first: span.chunk, fine });
            }
        }
    }
    blocks
}

/// Each block for itself, saying what it is.
fn each(svg: &mut String, blocks: &[Block], per: f64, row: (usize, usize)) {
    for block in blocks {
        let _ = write!(
            svg,
            "<path class=\"s{}\" d=\"{}\"><title>{}</title></path>",
            shade(block),
            rect(block, per, row),
            of_block(block)
        );
    }
}

/// All blocks of a shade as one.
fn together(svg: &mut String, blocks: &[Block], per: f64, row: (usize, usize), said: &str) {
    let _ = write!(svg, "<g><title>{said}</title>");
    for of in 1..=SHADES {
        let drawn: String =
            blocks.iter().filter(|block| shade(block) == of).map(|block| rect(block, per, row)).collect();
        if !drawn.is_empty() {
            let _ = write!(svg, "<path class=\"s{of}\" d=\"{drawn}\"/>");
        }
    }
    svg.push_str("</g>");
}

/// A block as a path. Of two chunks that follow each other a line between them is left free.
fn rect(block: &Block, per: f64, (y, high): (usize, usize)) -> String {
    let free = if block.fine { 0.0 } else { 1.0 };
    let wide = ((block.to - block.from) * per - free).max(0.6);
    format!("M{:.1} {y}h{wide:.1}v{high}h-{wide:.1}z", block.from * per)
}

/// From 1 to 4: how much of its time a block was busy.
fn shade(block: &Block) -> usize {
    let share = block.busy / (block.to - block.from).max(f64::MIN_POSITIVE);
    ((share * SHADES as f64).ceil() as usize).clamp(1, SHADES)
}

fn of_block(block: &Block) -> String {
    let when = between(block.from, block.to);
    match block.chunks {
        1 => format!("chunk {}: {}, at {when}", block.first, seconds(block.busy)),
        many => {
            format!("{many} chunks from chunk {} on: {} on the processor, at {when}", block.first, seconds(block.busy))
        }
    }
}

fn of_peer(peer: usize, blocks: &[Block], end: f64) -> String {
    let chunks: u32 = blocks.iter().map(|block| block.chunks).sum();
    let busy: f64 = blocks.iter().map(|block| block.busy).sum();
    let last = blocks.last().map_or_else(|| NONE.to_owned(), |block| seconds(block.to));
    format!(
        "peer {}: {chunks} chunks, {} on the processor, {} of the time; the last ends at {last}",
        peer + 1,
        seconds(busy),
        percent(busy / end)
    )
}

/// The beginning and the tail, behind the chunks.
fn phases(svg: &mut String, run: &Run, end: f64, bottom: usize) {
    let share = |time: f64| if time.is_finite() { (time / end * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let (start, tail) = (share(run.went.start), share(run.went.tail));
    for (class, word, from, wide) in [("start", "starting", 0.0, start), ("tail", "tail", 100.0 - tail, tail)] {
        if wide > 0.0 {
            let _ = write!(
                svg,
                "<rect class=\"phase {class}\" x=\"{from:.2}%\" width=\"{wide:.2}%\" height=\"{bottom}\"><title>{word}</title></rect>"
            );
        }
    }
}

fn ticks(svg: &mut String, end: f64, bottom: usize) {
    let (factor, sign) = unit(end);
    let rough = end * factor / 6.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0].map(|digit| digit * decade).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * decade);
    let _ = write!(svg, "<line class=\"axis\" x2=\"100%\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
    for tick in 0..=(end * factor / step) as u32 {
        let value = f64::from(tick) * step;
        let x = value / (end * factor) * 100.0;
        // As many digits as the step has.
        let said =
            if step >= 1.0 { format!("{value:.0}") } else { format!("{value:.*}", (-step.log10().floor()) as usize) };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y2=\"{bottom}\"/>\
             <line class=\"axis\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{bottom}\" y2=\"{}\"/>\
             <text class=\"tick\" x=\"{x:.2}%\" y=\"{}\" text-anchor=\"middle\">{said}</text>",
            bottom + 4,
            bottom + 17
        );
    }
    let _ = write!(
        svg,
        "<text class=\"unit\" x=\"50%\" y=\"{}\" text-anchor=\"middle\">{sign} since the submission; the last result after {} {sign}</text>",
        bottom + 34,
        three(end * factor)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::{Spread, Went};

    fn span(chunk: u32, peer: u16, from: f64, to: f64) -> Span {
        Span { chunk, peer, from, to }
    }

    fn run(peers: u16, spans: Vec<Span>) -> Run {
        let seconds = Spread { median: 1.0, least: 1.0, most: 1.0 };
        Run {
            peers,
            times: 1,
            seconds,
            native: None,
            speedup: 1.0,
            efficiency: 1.0,
            chunks: 1,
            went: Went::default(),
            spans,
        }
    }

    #[test]
    fn spans_drawn_as_one_keep_the_first_and_the_last_time_and_all_that_they_took() {
        let spans: Vec<Span> =
            (0..1_000_u32).map(|n| (n, f64::from(n) * 0.001)).map(|(n, at)| span(n, 0, at, at + 0.000_5)).collect();
        let drawn = blocks(&spans, 0.01);
        assert!(drawn.len() < 100, "{}", drawn.len());
        assert_eq!((drawn[0].from, drawn[drawn.len() - 1].to), (spans[0].from, spans[999].to));
        assert_eq!(drawn.iter().map(|block| block.chunks).sum::<u32>(), 1_000);
        assert!((drawn.iter().map(|block| block.busy).sum::<f64>() - 0.5).abs() < 1e-9);
        assert!(drawn.iter().all(|block| shade(block) <= 3), "half of the time is no full shade: {drawn:?}");
    }

    #[test]
    fn what_can_be_told_apart_is_drawn_by_itself() {
        let spans = [span(0, 0, 0.0, 0.5), span(1, 0, 0.5, 0.9), span(2, 0, 0.9, 0.901), span(3, 0, 0.95, 0.951)];
        let drawn = blocks(&spans, 0.001);
        assert_eq!(drawn.iter().map(|block| block.first).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn results_that_came_together_ran_one_after_the_other() {
        let spans = vec![span(0, 0, 0.7, 1.0), span(1, 0, 0.7, 1.0), span(2, 0, 0.8, 1.0), span(3, 0, 0.05, 0.1)];
        let rows = by_peer(&run(1, spans));
        let times: Vec<String> =
            rows[0].iter().map(|span| format!("{}: {:.2} {:.2}", span.chunk, span.from, span.to)).collect();
        assert_eq!(times, ["3: 0.05 0.10", "0: 0.20 0.50", "1: 0.50 0.80", "2: 0.80 1.00"]);
    }

    #[test]
    fn a_hundred_thousand_spans_are_no_large_chart() {
        for peers in [1_u16, 2, 64, 600] {
            let spans = (0..100_000_u32).map(|n| {
                let at = f64::from(n / u32::from(peers)) * 0.002 + f64::from(n % 7) * 0.000_1;
                span(n, (n % u32::from(peers)) as u16, at, at + 0.001)
            });
            let svg = chart("x", &run(peers, spans.collect())).unwrap();
            assert!(svg.len() < 1 << 20, "{peers}: {}", svg.len());
        }
    }

    #[test]
    fn nonsense_is_not_drawn() {
        assert!(chart("x", &run(2, Vec::new())).is_none());
        assert!(
            chart("x", &run(2, vec![span(0, 0, f64::NAN, 1.0), span(1, 0, 2.0, 1.0), span(2, 1, 0.0, f64::INFINITY)]))
                .is_none()
        );
    }
}
