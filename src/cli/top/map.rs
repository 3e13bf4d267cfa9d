//! A job's chunks as a map: a character a range of chunks, its shape for how far they are, its colour for who has them.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::peer::CellSnapshot;

/// The colours of peers, in the order in which they are listed; green and red have a meaning of their own.
const PEERS: [Color; 6] =
    [Color::Cyan, Color::Yellow, Color::Magenta, Color::Blue, Color::LightMagenta, Color::LightCyan];
/// A range that is alone may be so many characters wide.
const WIDEST: usize = 4;

/// How far a range of chunks is: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Failed,
    Running,
    Sealed,
    Partly,
    Held,
    Nobodys,
}

impl State {
    const ALL: [State; 6] = [State::Sealed, State::Partly, State::Running, State::Held, State::Nobodys, State::Failed];

    fn of(cell: &CellSnapshot) -> State {
        match cell {
            cell if cell.failed > 0 => State::Failed,
            cell if cell.running > 0 => State::Running,
            cell if cell.sealed == cell.chunks => State::Sealed,
            cell if cell.sealed + cell.done > 0 => State::Partly,
            cell if cell.held > 0 => State::Held,
            _ => State::Nobodys,
        }
    }

    fn shape(self) -> char {
        match self {
            State::Failed => '!',
            State::Running => '▓',
            State::Sealed => '█',
            State::Partly => '▒',
            State::Held => '░',
            State::Nobodys => '·',
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Failed => "to be tried again",
            State::Running => "running",
            State::Sealed => "done",
            State::Partly => "partly",
            State::Held => "waiting",
            State::Nobodys => "nobody's",
        }
    }

    fn style(self, holder: Option<usize>) -> Style {
        match self {
            State::Failed => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            State::Sealed | State::Partly => Style::new().fg(Color::Green),
            State::Running | State::Held => Style::new().fg(holder.map_or(Color::Gray, colour)),
            State::Nobodys => Style::new().fg(Color::DarkGray),
        }
    }
}

/// The colour of the peer in this place of the list.
pub fn colour(peer: usize) -> Color {
    PEERS[peer % PEERS.len()]
}

/// The map on so many lines of so many characters, at most.
pub fn lines(cells: &[CellSnapshot], width: usize, height: usize) -> Vec<Line<'static>> {
    let room = width * height;
    if cells.is_empty() || room == 0 {
        return Vec::new();
    }
    let count = cells.len().min(room);
    let wide = (room / count).clamp(1, WIDEST);
    let drawn = (0..count).flat_map(|at| {
        let cell = together(&cells[at * cells.len() / count..(at + 1) * cells.len() / count]);
        let state = State::of(&cell);
        std::iter::repeat_n((state.shape(), state.style(cell.holder)), wide)
    });
    drawn.collect::<Vec<_>>().chunks(width).map(line).collect()
}

/// What the shapes mean.
pub fn legend() -> Line<'static> {
    let entry = |state: State| {
        [Span::styled(state.shape().to_string(), state.style(None)), Span::raw(format!(" {}  ", state.word()))]
    };
    Line::from_iter(State::ALL.into_iter().flat_map(entry))
}

/// Several ranges as one; it is whose the longest waiting of them is.
fn together(cells: &[CellSnapshot]) -> CellSnapshot {
    let mut sum = CellSnapshot::default();
    let mut most = 0;
    for cell in cells {
        sum.chunks += cell.chunks;
        sum.sealed += cell.sealed;
        sum.failed += cell.failed;
        sum.done += cell.done;
        sum.running += cell.running;
        sum.held += cell.held;
        let waiting = cell.running + cell.held;
        if cell.holder.is_some() && waiting > most {
            (most, sum.holder) = (waiting, cell.holder);
        }
    }
    sum
}

/// A line of characters, those of the same style together.
fn line(drawn: &[(char, Style)]) -> Line<'static> {
    let spans = drawn.chunk_by(|a, b| a.1 == b.1);
    Line::from_iter(spans.map(|same| Span::styled(same.iter().map(|(shape, _)| shape).collect::<String>(), same[0].1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(shapes: &str) -> Vec<CellSnapshot> {
        let one = CellSnapshot { chunks: 1, ..CellSnapshot::default() };
        let cell = |shape| match shape {
            '█' => CellSnapshot { sealed: 1, ..one.clone() },
            '▒' => CellSnapshot { done: 1, ..one.clone() },
            '▓' => CellSnapshot { running: 1, holder: Some(0), ..one.clone() },
            '░' => CellSnapshot { held: 1, holder: Some(1), ..one.clone() },
            '!' => CellSnapshot { failed: 1, ..one.clone() },
            _ => one.clone(),
        };
        shapes.chars().map(cell).collect()
    }

    fn text(shapes: &str, width: usize, height: usize) -> Vec<String> {
        lines(&cells(shapes), width, height).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_chunk_has_its_shape_where_there_is_room() {
        assert_eq!(text("██▒▓░░·!", 4, 2), ["██▒▓", "░░·!"]);
        assert_eq!(text("█▓·", 10, 1), ["███▓▓▓···"]);
        assert_eq!(text("█▓", 80, 9), ["████▓▓▓▓"], "no chunk is drawn wider");
    }

    #[test]
    fn where_there_is_less_the_ranges_are_longer_and_nothing_is_left_out() {
        assert_eq!(text("████▓███░░░░·░░!", 4, 1), ["█▓░!"]);
        assert_eq!(text("█·█", 1, 1), ["▒"]);
        assert_eq!(text("██████████", 3, 1), ["███"]);
    }

    #[test]
    fn no_room_and_no_chunks_are_nothing_to_draw() {
        assert!(text("", 10, 2).is_empty() && text("█", 0, 2).is_empty());
    }
}
