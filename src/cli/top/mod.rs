//! `essaim top`: what the nodes of this user do, looked at again and again; or once, where stdout is no terminal.

mod draw;
mod map;
mod scene;
mod screen;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use ratatui::crossterm::event::{self, Event};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::args::Global;
use super::fail::Fail;
use super::{jobs, join};
use crate::control::{self, Wish};
use crate::peer::Snapshot;
use scene::{History, Look, Node, Scene};
use screen::Screen;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time between the two looks of a single picture, from which its rates are.
const RATES_FROM: Duration = Duration::from_secs(1);
/// How long a node may take to answer before it is passed over.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Shows how things go until the person ends it; once, where nobody looks.
///
/// # Errors
/// No node runs here, or there is no terminal to draw on.
pub async fn top(global: &Global) -> Result<(), Fail> {
    if io::stdout().is_terminal() && !global.json { live(global).await } else { once(global).await }
}

async fn once(global: &Global) -> Result<(), Fail> {
    let (began, mut history) = (Instant::now(), History::default());
    let first = look(global).await;
    if first.is_empty() {
        let hint = "`essaim join` starts one, `essaim run` too; if it was started with --home DIR, say the same here";
        return Err(Fail::new("no node of yours runs on this machine", hint));
    }
    let mut scene = history.take(began.elapsed(), first);
    sleep(RATES_FROM).await;
    let second = look(global).await;
    if !second.is_empty() {
        scene = history.take(began.elapsed(), second);
    }
    let text = if global.json { format!("{}\n", serde_json::json!(scene)) } else { words::of(&scene) };
    // Nobody reads any more.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

async fn live(global: &Global) -> Result<(), Fail> {
    let no_terminal = |error| {
        let hint = "`essaim top | cat` prints one picture, `essaim top --json` one for programs";
        Fail::new(format!("cannot draw on this terminal: {error}"), hint)
    };
    let mut terminal = ratatui::try_init().map_err(no_terminal)?;
    let (mut looks, mut events, mut terminate) = (looks(global.clone()), events(), join::terminate());
    let (began, mut history) = (Instant::now(), History::default());
    let mut screen = Screen::new(Scene::default());
    let drawn = loop {
        if let Err(error) = terminal.draw(|frame| draw::draw(frame, &screen)) {
            break Err(no_terminal(error));
        }
        tokio::select! {
            Some(looks) = looks.recv() => screen.scene = history.take(began.elapsed(), looks),
            event = events.recv() => match event {
                Some(Event::Key(key)) if screen.press(key) => break Ok(()),
                // Whatever else it is, such as another size, it is drawn anew.
                Some(_) => {}
                None => break Ok(()),
            },
            () = terminate.recv() => break Ok(()),
        }
    };
    ratatui::restore();
    drawn
}

/// Looks again and again, as long as somebody takes it.
fn looks(global: Global) -> mpsc::Receiver<Vec<Look>> {
    let (sender, looks) = mpsc::channel(1);
    tokio::spawn(async move {
        while sender.send(look(&global).await).await.is_ok() {
            sleep(LOOK_EVERY).await;
        }
    });
    looks
}

/// What the person does at the terminal.
fn events() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(16);
    // It ends with the process: nothing else ends its waiting.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}

/// Asks all nodes of this user, or the one in the home that was named.
async fn look(global: &Global) -> Vec<Look> {
    // One without a home has no nodes.
    let homes = jobs::homes(global).unwrap_or_default();
    join_all(homes.into_iter().map(ask)).await.into_iter().flatten().collect()
}

async fn ask(home: PathBuf) -> Option<Look> {
    let node = match timeout(ANSWER_WITHIN, control::ask(&home, Wish::Look)).await {
        Ok(Ok(None | Some(Value::Null))) => return None,
        Ok(Ok(Some(answer))) => serde_json::from_value::<Snapshot>(answer).ok(),
        Ok(Err(_)) | Err(_) => None,
    };
    Some(match node {
        Some(seen) => Look::Node(Box::new(Node { home, seen })),
        None => Look::Deaf(home),
    })
}
