//! What the person has chosen to see, and the keys by which.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::scene::{Job, Scene};

/// A scene, and how it is looked at.
#[derive(Debug)]
pub struct Screen {
    pub scene: Scene,
    /// The name of the job that was chosen; the first, as long as none was.
    chosen: Option<String>,
    /// Whether the help is shown.
    pub help: bool,
}

impl Screen {
    pub fn new(scene: Scene) -> Screen {
        Screen { scene, chosen: None, help: false }
    }

    /// The place of the job that is shown.
    pub fn place(&self) -> usize {
        let chosen = |job: &Job| self.chosen.as_ref() == Some(&job.seen.job);
        self.scene.jobs.iter().position(chosen).unwrap_or(0)
    }

    /// The job that is shown.
    pub fn job(&self) -> Option<&Job> {
        self.scene.jobs.get(self.place())
    }

    /// Takes a key; whether it was to be the last.
    pub fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('q') => return true,
            KeyCode::Esc if !self.help => return true,
            KeyCode::Esc => self.help = false,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.place().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.place() + 1),
            _ => {}
        }
        false
    }

    fn choose(&mut self, place: usize) {
        if let Some(job) = self.scene.jobs.get(place) {
            self.chosen = Some(job.seen.job.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::JobSnapshot;

    fn jobs(names: &[&str]) -> Scene {
        let job =
            |name: &&str| Job { seen: JobSnapshot { job: (*name).into(), ..Default::default() }, ..Job::default() };
        Scene { jobs: names.iter().map(job).collect(), ..Scene::default() }
    }

    #[test]
    fn a_job_stays_chosen_while_others_come_and_go() {
        let mut screen = Screen::new(jobs(&["a", "b", "c"]));
        assert!(!screen.press(KeyCode::Down.into()));
        assert_eq!(screen.place(), 1);
        screen.scene = jobs(&["0", "a", "b", "c"]);
        assert_eq!(screen.place(), 2);
        screen.press(KeyCode::Down.into());
        screen.press(KeyCode::Down.into());
        assert_eq!(screen.place(), 3, "there is nothing below the last");
        screen.scene = jobs(&["a", "b"]);
        assert_eq!(screen.place(), 0, "what has ended is not shown");
    }

    #[test]
    fn escape_ends_the_help_first_and_then_the_view() {
        let mut screen = Screen::new(jobs(&[]));
        screen.press(KeyCode::Char('?').into());
        assert!(screen.help && !screen.press(KeyCode::Esc.into()));
        assert!(!screen.help && screen.press(KeyCode::Esc.into()));
        assert!(screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }
}
