//! Draws a screen: what is drawn depends on the screen and the size of the terminal, and on nothing else.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState};

use super::map;
use super::scene::{Job, Scene};
use super::screen::Screen;
use super::words::{eta, short, state};
use crate::cli::say::{count, rate};
use crate::peer::MemberSnapshot;

/// Lines that the list of jobs has at most, and the lower part.
const JOBS: usize = 5;
const LOWER: u16 = 8;
/// Samples of the rate make a bar of whole numbers: so many for each chunk a second.
const FINE: f64 = 1_000.0;
const QUIET: Style = Style::new().fg(Color::DarkGray);
const HEAD: Style = Style::new().fg(Color::Gray);
const TITLE: Style = Style::new().fg(Color::Cyan);
const KEYS: [(&str, &str); 4] =
    [("↑ ↓", "choose another job"), ("?", "this help"), ("q, Esc", "leave; the nodes go on"), ("Ctrl-C", "the same")];

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let jobs = screen.scene.jobs.len().clamp(1, JOBS) as u16 + 2;
    let parts = [Constraint::Length(1), Constraint::Length(jobs), Constraint::Fill(1), Constraint::Length(LOWER)];
    let [title, list, middle, lower] = Layout::vertical(parts).areas(frame.area());
    let [nodes, help] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(7)]).areas(title);
    frame.render_widget(of_nodes(&screen.scene), nodes);
    frame.render_widget(Line::from("? help").style(QUIET), help);
    match screen.job() {
        Some(job) => {
            draw_jobs(frame, list, screen);
            draw_map(frame, middle, job);
            let [peers, rates] = Layout::horizontal([Constraint::Fill(1), Constraint::Percentage(38)]).areas(lower);
            draw_peers(frame, peers, &screen.scene, job);
            draw_rates(frame, rates, job);
        }
        None => draw_nothing(frame, frame.area(), &screen.scene),
    }
    if screen.help {
        draw_help(frame);
    }
}

fn part(title: impl Into<Line<'static>>) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(QUIET).title_style(TITLE).title(title)
}

/// What is lent here, on a line.
fn of_nodes(scene: &Scene) -> Line<'static> {
    let sum = |of: fn(&crate::peer::Snapshot) -> u64| scene.nodes.iter().map(|node| of(&node.seen)).sum::<u64>();
    let (lent, cpus, run) = (sum(|node| node.lent.into()), sum(|node| node.cpus.into()), sum(|node| node.chunks_run));
    let nodes = count(scene.nodes.len() as u64, "node");
    let words = format!("  {nodes} here, {lent} of {} lent, {} run", count(cpus, "core"), count(run, "chunk"));
    let mut line = Line::from_iter([" essaim".bold().cyan(), Span::raw(words)]);
    let paused = scene.nodes.iter().filter(|node| node.seen.cpus > 0 && node.seen.lent == 0).count();
    if paused > 0 {
        line.push_span(format!(", {paused} lending nothing").yellow());
    }
    if !scene.deaf.is_empty() {
        line.push_span(format!(", {} not answering", scene.deaf.len()).red());
    }
    line
}

fn draw_jobs(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let row = |job: &Job| {
        let seen = &job.seen;
        let percent = f64::from(seen.sealed) * 100.0 / f64::from(seen.chunks.max(1));
        let done = format!("{} of {}", seen.sealed, seen.chunks);
        Row::new([
            Cell::new(short(&seen.job).to_owned()),
            Cell::new(seen.name.clone()),
            Cell::new(state(job)),
            Cell::new(right(done)),
            Cell::new(right(format!("{:.0} %", percent.floor()))),
            Cell::new(right(rate(job.rate))),
            Cell::new(right(eta(job))),
        ])
    };
    let widths = [
        Constraint::Length(8),
        Constraint::Fill(1),
        Constraint::Length(11),
        Constraint::Length(14),
        Constraint::Length(5),
        Constraint::Length(8),
        Constraint::Length(15),
    ];
    let head = ["JOB", "NAME", "", "DONE", "", "A SECOND", ""].map(str::to_owned);
    let [job, name, whose, done, percent, per, left] = head;
    let head =
        [Cell::new(job), name.into(), whose.into(), right(done).into(), percent.into(), right(per).into(), left.into()];
    let table = Table::new(screen.scene.jobs.iter().map(row), widths)
        .header(Row::new(head).style(HEAD))
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD))
        .highlight_symbol("▸")
        .highlight_spacing(ratatui::widgets::HighlightSpacing::Always)
        .block(part(" jobs "));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(screen.place()));
}

fn right(text: impl Into<String>) -> Line<'static> {
    Line::from(text.into()).alignment(Alignment::Right)
}

fn draw_map(frame: &mut Frame<'_>, area: Rect, job: &Job) {
    let block = part(format!(" chunks of {} ", job.seen.name));
    let inside = block.inner(area).inner(ratatui::layout::Margin::new(1, 0));
    frame.render_widget(block, area);
    let [map, legend] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inside);
    frame.render_widget(Paragraph::new(map::lines(&job.seen.cells, map.width.into(), map.height.into())), map);
    frame.render_widget(map::legend(), legend);
}

fn draw_peers(frame: &mut Frame<'_>, area: Rect, scene: &Scene, job: &Job) {
    let row = |(at, member): (usize, &MemberSnapshot)| {
        let here = scene.nodes.iter().any(|node| node.seen.peer == member.peer);
        let name = [
            Span::from(" ■ ").fg(map::colour(at)),
            short(&member.peer).to_owned().into(),
            if here { " *" } else { "" }.into(),
        ];
        let speed = if member.rate > 0.0 { rate(member.rate) } else { "–".into() };
        let cells = [
            member.cores.to_string(),
            member.running.to_string(),
            member.held.to_string(),
            member.sealed.map_or_else(|| "–".to_owned(), |sealed| sealed.to_string()),
            if member.alive { speed } else { "silent".into() },
        ];
        let row = Row::new([Cell::new(Line::from_iter(name))].into_iter().chain(cells.map(|cell| right(cell).into())));
        if member.alive { row } else { row.style(QUIET) }
    };
    let room = usize::from(area.height).saturating_sub(2);
    let hidden = job.seen.members.len().saturating_sub(room) + job.seen.more;
    let more = if hidden > 0 { format!(", {hidden} more") } else { String::new() };
    let head = ["CORES", "RUN", "HOLD", "DONE", "RATE"].map(|word| Cell::new(right(word)));
    let widths = [13, 5, 3, 7, 7, 7].map(Constraint::Length);
    let table = Table::new(job.seen.members.iter().enumerate().take(room).map(row), widths)
        .header(Row::new([Cell::new("   PEER")].into_iter().chain(head)).style(HEAD))
        .block(part(format!(" peers, * here{more} ")));
    frame.render_widget(table, area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, job: &Job) {
    let most = job.rates.iter().copied().fold(0.0, f64::max);
    let block = part(format!(" chunks a second, at most {} ", rate(most)));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [bars, wire] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inside);
    let from = job.rates.len().saturating_sub(bars.width.into());
    let data: Vec<u64> = job.rates[from..].iter().map(|rate| (rate * FINE) as u64).collect();
    frame.render_widget(Sparkline::default().data(&data).style(Style::new().fg(Color::Green)), bars);
    let bytes = |bytes: u64| bytesize::ByteSize(bytes).display().iec();
    let traffic = &job.seen.traffic;
    let all = bytes(traffic.bytes_in + traffic.bytes_out);
    let words = format!("messages {}/s ({all})", bytes(job.bytes_rate as u64));
    frame.render_widget(Line::from(words).style(HEAD), wire);
}

fn draw_nothing(frame: &mut Frame<'_>, area: Rect, scene: &Scene) {
    let words = if scene.nodes.is_empty() {
        ["no node of yours runs on this machine", "`essaim join` lends its cores, `essaim run` gives work"]
    } else {
        ["no jobs", "as soon as somebody runs one, it is here"]
    };
    let middle = Rect { y: area.height / 2, height: area.height.min(2), ..area }.intersection(area);
    let lines = words.map(|words| Line::from(words).alignment(Alignment::Center));
    frame.render_widget(Paragraph::new(lines.to_vec()).style(HEAD), middle);
}

fn draw_help(frame: &mut Frame<'_>) {
    let keys = KEYS.map(|(key, what)| Line::from_iter([format!(" {key:<8}").bold(), what.into()]));
    let area = frame.area();
    let box_ = area.centered(Constraint::Length(36), Constraint::Length(keys.len() as u16 + 2));
    frame.render_widget(Clear, box_);
    frame.render_widget(Paragraph::new(keys.to_vec()).block(Block::bordered().title(" keys ")), box_);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::*;
    use crate::cli::top::scene::Node;
    use crate::peer::{CellSnapshot, JobSnapshot, Snapshot, Traffic};

    fn member(name: &str, cores: u16, held: u64, sealed: u32) -> MemberSnapshot {
        let peer = format!("{name}{}", "0".repeat(60));
        MemberSnapshot { peer, alive: cores > 0, cores, running: cores.into(), held, sealed: Some(sealed), rate: 3.25 }
    }

    fn scene() -> Scene {
        let cell = |at: u32| {
            let one = CellSnapshot { chunks: 1, ..CellSnapshot::default() };
            match at {
                0..100 => CellSnapshot { sealed: 1, ..one },
                100..104 => CellSnapshot { done: 1, ..one },
                104..106 => CellSnapshot { running: 1, holder: Some(0), ..one },
                106..180 => CellSnapshot { held: 1, holder: Some(0), ..one },
                180..182 => CellSnapshot { running: 1, holder: Some(1), ..one },
                182 => CellSnapshot { failed: 1, ..one },
                183..250 => CellSnapshot { held: 1, holder: Some(1), ..one },
                _ => one,
            }
        };
        let seen = JobSnapshot {
            job: format!("9f8e7d6c{}", "0".repeat(56)),
            name: "mandelbrot".into(),
            own: true,
            chunks: 256,
            sealed: 100,
            seconds: 20,
            traffic: Traffic { bytes_in: 30_000, bytes_out: 12_000, ..Traffic::default() },
            members: vec![member("1a2b", 2, 80, 55), member("3c4d", 2, 70, 45), member("dead", 0, 0, 0)],
            cells: (0..256).map(cell).collect(),
            ..JobSnapshot::default()
        };
        let rates = (0..60).map(|n| f64::from(n % 7)).collect();
        let job = Job { seen: seen.clone(), rate: 6.5, bytes_rate: 2_048.0, eta_seconds: Some(24), rates };
        let other = JobSnapshot {
            job: "ab".repeat(32),
            name: "a name that is too long for its column by far".into(),
            own: false,
            away: true,
            ..seen
        };
        let other = Job { seen: other, ..Job::default() };
        let node =
            Snapshot { peer: member("1a2b", 2, 0, 0).peer, cpus: 2, lent: 2, chunks_run: 55, ..Snapshot::default() };
        Scene { nodes: vec![Node { home: "h".into(), seen: node }], jobs: vec![job, other], deaf: Vec::new() }
    }

    /// What a terminal of this size shows, a line a line, without the spaces at their ends.
    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| format!("{}\n", row(y).trim_end())).collect()
    }

    #[track_caller]
    fn is_as(expected: &str, drawn: &str) {
        assert!(expected == drawn, "not as it was drawn before, but:\n{drawn}");
    }

    #[test]
    fn a_terminal_of_80_by_24_shows_all_of_it() {
        is_as(include_str!("golden/80x24.txt"), &drawn(&Screen::new(scene()), 80, 24));
    }

    #[test]
    fn a_larger_terminal_has_a_larger_map() {
        is_as(include_str!("golden/120x40.txt"), &drawn(&Screen::new(scene()), 120, 40));
    }

    #[test]
    fn the_help_names_the_keys() {
        let mut screen = Screen::new(scene());
        screen.press(KeyCode::Char('?').into());
        is_as(include_str!("golden/help.txt"), &drawn(&screen, 80, 24));
    }

    #[test]
    fn where_nothing_runs_it_says_what_would() {
        let nothing = drawn(&Screen::new(Scene::default()), 80, 24);
        assert!(nothing.contains("no node of yours") && nothing.contains("`essaim join`"), "{nothing}");
        let idle = Scene { jobs: Vec::new(), ..scene() };
        assert!(drawn(&Screen::new(idle), 80, 24).contains("no jobs"));
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (79, 8), (3, 60)] {
            drawn(&Screen::new(scene()), width, height);
            drawn(&Screen::new(Scene::default()), width, height);
        }
    }
}
