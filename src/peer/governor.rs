//! How many cores are lent at this moment: fewer while others use the machine, none while the owner has paused.
//! Downwards at once, upwards only after it has been quiet for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use essaim_worker::Workers;
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::watch;

/// How often the machine is looked at; what is lent follows within two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long it must have been quiet before more is lent.
const QUIET: Duration = Duration::from_secs(10);
/// The part of a core that others may use before it counts as theirs: a machine is never quite idle.
const NEGLIGIBLE: f32 = 0.25;

/// When cores are lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Whoever else uses the machine; at the lowest priority.
    #[default]
    Always,
    /// Those that nobody else uses.
    Idle,
}

/// What the owner of the machine wants, and what follows from it.
#[derive(Clone, Debug)]
pub struct Governor {
    cpus: u16,
    cores: u16,
    when: When,
    lent: u16,
    /// What could have been lent lately.
    lately: VecDeque<(Instant, u16)>,
}

impl Governor {
    /// Of a machine with so many cores, at most `cpus` are lent.
    #[must_use]
    pub fn new(cpus: u16, cores: u16, when: When) -> Governor {
        Governor { cpus, cores, when, lent: cpus, lately: VecDeque::new() }
    }

    /// How many cores are lent from now on, where others use so many.
    pub fn look(&mut self, now: Instant, paused: bool, others: f32) -> u16 {
        if paused || self.when == When::Always {
            // What the owner says holds at once.
            self.lately.clear();
            self.lent = if paused { 0 } else { self.cpus };
            return self.lent;
        }
        let free = (f32::from(self.cores) - others + NEGLIGIBLE).floor().max(0.0) as u16;
        let spare = free.min(self.cpus);
        while self.lately.front().is_some_and(|(at, _)| *at + QUIET < now) {
            self.lately.pop_front();
        }
        let quiet = self.lately.front().is_some_and(|(at, _)| *at + QUIET <= now + LOOK_EVERY);
        let least = self.lately.iter().map(|(_, spare)| *spare).fold(spare, u16::min);
        self.lately.push_back((now, spare));
        if spare < self.lent {
            self.lent = spare;
        } else if quiet {
            self.lent = self.lent.max(least);
        }
        self.lent
    }
}

/// Looks at the machine for as long as somebody listens, on a thread of its own; says what is lent whenever it changes.
pub fn watch_machine(
    mut governor: Governor,
    workers: Arc<Workers>,
    paused: watch::Receiver<bool>,
) -> std::io::Result<watch::Receiver<u16>> {
    let (says, lent) = watch::channel(governor.lent);
    let mut machine = match governor.when {
        When::Idle => Some(Machine::new(Arc::clone(&workers))?),
        When::Always => None,
    };
    let watching = move || {
        while !says.is_closed() {
            std::thread::sleep(LOOK_EVERY.max(MINIMUM_CPU_UPDATE_INTERVAL));
            let others = machine.as_mut().map_or(0.0, Machine::used_by_others);
            let now = governor.look(Instant::now(), *paused.borrow(), others);
            if *says.borrow() != now {
                workers.lend(usize::from(now));
                // Whoever listened may have gone.
                let _ = says.send(now);
            }
        }
    };
    std::thread::Builder::new().name("essaim-governor".to_owned()).spawn(watching)?;
    Ok(lent)
}

/// What the processor is used for.
struct Machine {
    system: System,
    workers: Arc<Workers>,
    own: Option<Pid>,
    /// When it was looked at last, and what this node's processes had used by then.
    looked: Instant,
    used: HashMap<Pid, u64>,
}

impl Machine {
    fn new(workers: Arc<Workers>) -> std::io::Result<Machine> {
        let system = System::new().map_err(std::io::Error::other)?;
        let own = sysinfo::get_current_pid().ok();
        let mut machine = Machine { system, workers, own, looked: Instant::now(), used: HashMap::new() };
        // What was used before tells nothing.
        machine.used_by_others();
        Ok(machine)
    }

    /// Cores that others have used since the last look.
    fn used_by_others(&mut self) -> f32 {
        let seconds = self.looked.elapsed().as_secs_f32().max(0.001);
        self.looked = Instant::now();
        self.system.refresh_cpu_usage();
        let all = self.system.global_cpu_usage() / 100.0 * self.system.cpus().len() as f32;
        let ours: Vec<Pid> = self.workers.processes().into_iter().map(Pid::from_u32).chain(self.own).collect();
        let kind = ProcessRefreshKind::nothing().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&ours), true, kind);
        let used = |pid: &Pid| Some((*pid, self.system.process(*pid)?.accumulated_cpu_time()));
        let used: HashMap<Pid, u64> = ours.iter().filter_map(used).collect();
        // One that is new has used all of it since.
        let since = |(pid, millis): (&Pid, &u64)| millis.saturating_sub(*self.used.get(pid).unwrap_or(&0));
        let own: u64 = used.iter().map(since).sum();
        self.used = used;
        (all - own as f32 / 1_000.0 / seconds).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(governor: &mut Governor, from: Instant, seconds: u32, others: f32) -> Vec<u16> {
        let looks = seconds * 1_000 / 300;
        (0..looks).map(|k| governor.look(from + k * LOOK_EVERY, false, others)).collect()
    }

    #[test]
    fn yields_at_once_and_comes_back_after_it_was_quiet() {
        let mut governor = Governor::new(4, 4, When::Idle);
        let start = Instant::now();
        assert_eq!(governor.look(start, false, 0.1), 4);
        assert_eq!(governor.look(start + Duration::from_secs(1), false, 4.0), 0);
        let back = looks(&mut governor, start + Duration::from_secs(2), 30, 0.1);
        let away = back.iter().take_while(|lent| **lent == 0).count();
        assert!((33..40).contains(&away), "came back after {away} looks");
        assert_eq!(back.last(), Some(&4));
    }

    #[test]
    fn a_short_load_now_and_then_keeps_it_away() {
        let mut governor = Governor::new(2, 2, When::Idle);
        let start = Instant::now();
        for second in 0..60 {
            let others = if second % 5 == 0 { 2.0 } else { 0.0 };
            let lent = governor.look(start + Duration::from_secs(second), false, others);
            assert_eq!(lent, 0, "after {second} s");
        }
    }

    #[test]
    fn lends_what_others_leave_and_no_more_than_it_may() {
        let mut governor = Governor::new(3, 8, When::Idle);
        let now = Instant::now();
        assert_eq!(governor.look(now, false, 4.0), 3);
        assert_eq!(governor.look(now, false, 6.0), 2);
        assert_eq!(governor.look(now, false, 6.2), 2);
        assert_eq!(governor.look(now, false, 20.0), 0);
    }

    #[test]
    fn the_owners_word_holds_at_once() {
        let mut governor = Governor::new(2, 2, When::Always);
        let now = Instant::now();
        assert_eq!(governor.look(now, false, 2.0), 2);
        assert_eq!(governor.look(now, true, 0.0), 0);
        assert_eq!(governor.look(now, false, 2.0), 2);
    }
}
