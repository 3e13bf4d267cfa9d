//! How many cores are lent at this moment: fewer while others use the machine, none while the owner has paused, while
//! it runs on battery and outside its hours. Downwards at once; upwards, where others may want it, only after it has been
//! quiet for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use essaim_worker::Workers;
use serde::{Deserialize, Serialize};
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::watch;

use super::hours::{Hours, Moment};
use super::power::Power;

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

/// Whose jobs a node works for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// Those that are opened at this node, and no others.
    #[default]
    Own,
    /// All that it hears of.
    Anyones,
}

/// On which terms a machine is lent.
#[derive(Clone, Debug)]
pub struct Terms {
    /// For whose jobs.
    pub whose: Whose,
    /// How many cores are lent at most; 0: none.
    pub cpus: u16,
    /// How much memory the chunks may have that run at the same time, bytes: the sum of their jobs' limits.
    pub memory_bytes: u64,
    /// When.
    pub when: When,
    /// At which hours.
    pub hours: Hours,
    /// Whether it is lent on battery, too.
    pub on_battery: bool,
}

impl Terms {
    /// So many cores and so much memory for anyone's jobs, whatever goes on at the machine.
    #[must_use]
    pub fn always(cpus: u16, memory_bytes: u64) -> Terms {
        let (whose, when, hours) = (Whose::Anyones, When::Always, Hours::default());
        Terms { whose, cpus, memory_bytes, when, hours, on_battery: true }
    }
}

/// Why fewer cores are lent than could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The owner has said so.
    Paused,
    /// The machine runs on battery.
    OnBattery,
    /// It is lent at other hours.
    OutsideHours,
    /// Others use it.
    Others,
}

/// What is lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lent {
    /// Cores.
    pub cores: u16,
    /// Why no more.
    pub why: Option<Why>,
}

/// What the owner has said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// To lend on the terms.
    Lend,
    /// To lend nothing until further notice.
    Pause,
    /// To leave: what runs is to come to its end, and what stands still could not.
    Leave,
}

/// What there is to see at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What the owner has said last.
    pub said: Said,
    /// Whether the machine runs on battery.
    pub on_battery: bool,
    /// What the clock on the wall says.
    pub moment: Moment,
    /// Cores that others use.
    pub others: f32,
}

/// What the owner of the machine wants, and what follows from it.
#[derive(Clone, Debug)]
pub struct Governor {
    terms: Terms,
    cores: u16,
    lent: u16,
    /// What could have been lent lately.
    lately: VecDeque<(Instant, u16)>,
}

impl Governor {
    /// Of a machine with so many cores.
    #[must_use]
    pub fn new(terms: Terms, cores: u16) -> Governor {
        Governor { lent: terms.cpus, terms, cores, lately: VecDeque::new() }
    }

    /// What is lent from now on.
    pub fn look(&mut self, now: Instant, seen: Seen) -> Lent {
        let why = if seen.said == Said::Leave {
            None
        } else if seen.said == Said::Pause {
            Some(Why::Paused)
        } else if seen.on_battery && !self.terms.on_battery {
            Some(Why::OnBattery)
        } else if !self.terms.hours.contain(seen.moment) {
            Some(Why::OutsideHours)
        } else {
            None
        };
        if why.is_some() || seen.said == Said::Leave || self.terms.when == When::Always {
            // What the owner says holds at once.
            self.lately.clear();
            self.lent = if why.is_some() { 0 } else { self.terms.cpus };
            return Lent { cores: self.lent, why };
        }
        let cores = self.leave(now, seen.others);
        Lent { cores, why: (cores < self.terms.cpus).then_some(Why::Others) }
    }

    /// How many cores are lent where others use so many.
    fn leave(&mut self, now: Instant, others: f32) -> u16 {
        let free = (f32::from(self.cores) - others + NEGLIGIBLE).floor().max(0.0) as u16;
        let spare = free.min(self.terms.cpus);
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
    said: watch::Receiver<Said>,
    mut power: Power,
) -> std::io::Result<watch::Receiver<Lent>> {
    let mut machine = match governor.terms.when {
        When::Idle => Some(Machine::new(Arc::clone(&workers))?),
        When::Always => None,
    };
    let mut look = move |others: f32| {
        let now = Instant::now();
        // Who lends on battery too need not know.
        let on_battery = !governor.terms.on_battery && power.on_battery(now);
        governor.look(now, Seen { said: *said.borrow(), on_battery, moment: Moment::now(), others })
    };
    // Not a moment outside its hours.
    let first = look(0.0);
    workers.lend(usize::from(first.cores));
    let (says, lent) = watch::channel(first);
    let watching = move || {
        while !says.is_closed() {
            std::thread::sleep(LOOK_EVERY.max(MINIMUM_CPU_UPDATE_INTERVAL));
            let now = look(machine.as_mut().map_or(0.0, Machine::used_by_others));
            if *says.borrow() != now {
                workers.lend(usize::from(now.cores));
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
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    const MONDAY_NOON: Moment = Moment { day: 0, minute: 12 * 60 };

    fn terms(cpus: u16, when: When) -> Terms {
        Terms { when, on_battery: false, ..Terms::always(cpus, 1 << 30) }
    }

    /// Others use so many cores, and nothing else is the matter.
    fn used(others: f32) -> Seen {
        Seen { said: Said::Lend, on_battery: false, moment: MONDAY_NOON, others }
    }

    fn all(cores: u16) -> Lent {
        Lent { cores, why: None }
    }

    fn nothing(why: Why) -> Lent {
        Lent { cores: 0, why: Some(why) }
    }

    fn looks(governor: &mut Governor, from: Instant, seconds: u32, others: f32) -> Vec<u16> {
        let looks = seconds * 1_000 / 300;
        (0..looks).map(|k| governor.look(from + k * LOOK_EVERY, used(others)).cores).collect()
    }

    #[test]
    fn yields_at_once_and_comes_back_after_it_was_quiet() {
        let mut governor = Governor::new(terms(4, When::Idle), 4);
        let start = Instant::now();
        assert_eq!(governor.look(start, used(0.1)), all(4));
        assert_eq!(governor.look(start + Duration::from_secs(1), used(4.0)), nothing(Why::Others));
        let back = looks(&mut governor, start + Duration::from_secs(2), 30, 0.1);
        let away = back.iter().take_while(|lent| **lent == 0).count();
        assert!((33..40).contains(&away), "came back after {away} looks");
        assert_eq!(back.last(), Some(&4));
    }

    #[test]
    fn a_short_load_now_and_then_keeps_it_away() {
        let mut governor = Governor::new(terms(2, When::Idle), 2);
        let start = Instant::now();
        for second in 0..60 {
            let others = if second % 5 == 0 { 2.0 } else { 0.0 };
            let lent = governor.look(start + Duration::from_secs(second), used(others));
            assert_eq!(lent, nothing(Why::Others), "after {second} s");
        }
    }

    #[test]
    fn lends_what_others_leave_and_no_more_than_it_may() {
        let mut governor = Governor::new(terms(3, When::Idle), 8);
        let now = Instant::now();
        assert_eq!(governor.look(now, used(4.0)), all(3));
        assert_eq!(governor.look(now, used(6.0)), Lent { cores: 2, why: Some(Why::Others) });
        assert_eq!(governor.look(now, used(6.2)).cores, 2);
        assert_eq!(governor.look(now, used(20.0)).cores, 0);
    }

    #[test]
    fn the_owners_word_holds_at_once() {
        let mut governor = Governor::new(terms(2, When::Always), 2);
        let now = Instant::now();
        assert_eq!(governor.look(now, used(2.0)), all(2));
        assert_eq!(governor.look(now, Seen { said: Said::Pause, ..used(0.0) }), nothing(Why::Paused));
        assert_eq!(governor.look(now, used(2.0)), all(2));
    }

    #[test]
    fn on_battery_nothing_is_lent_unless_the_owner_wants_it() {
        let unplugged = Seen { on_battery: true, ..used(0.0) };
        let now = Instant::now();
        for when in [When::Always, When::Idle] {
            let mut governor = Governor::new(terms(2, when), 2);
            assert_eq!(governor.look(now, used(0.0)), all(2));
            assert_eq!(governor.look(now, unplugged), nothing(Why::OnBattery));
            let mut governor = Governor::new(Terms { on_battery: true, ..terms(2, when) }, 2);
            assert_eq!(governor.look(now, unplugged), all(2));
        }
        let mut governor = Governor::new(terms(2, When::Always), 2);
        assert_eq!(governor.look(now, unplugged), nothing(Why::OnBattery));
        assert_eq!(governor.look(now, used(0.0)), all(2));
    }

    #[test]
    fn outside_its_hours_nothing_is_lent() {
        let hours = Hours(vec!["mon 13:00-14:00".parse().unwrap()]);
        let at = |minute| Seen { moment: Moment { day: 0, minute }, ..used(0.0) };
        let now = Instant::now();
        for when in [When::Always, When::Idle] {
            let mut governor = Governor::new(Terms { hours: hours.clone(), ..terms(2, when) }, 2);
            assert_eq!(governor.look(now, at(13 * 60)), all(2));
            assert_eq!(governor.look(now, at(14 * 60)), nothing(Why::OutsideHours));
        }
        let mut governor = Governor::new(Terms { hours, ..terms(2, When::Always) }, 2);
        assert_eq!(governor.look(now, at(13 * 60 - 1)), nothing(Why::OutsideHours));
        assert_eq!(governor.look(now, at(13 * 60)), all(2));
    }

    #[test]
    fn what_the_owner_has_said_last_is_the_first_reason() {
        let hours = Hours(vec!["sun 13:00-14:00".parse().unwrap()]);
        let mut governor = Governor::new(Terms { hours, ..terms(2, When::Idle) }, 2);
        let now = Instant::now();
        let all = Seen { said: Said::Pause, on_battery: true, ..used(2.0) };
        assert_eq!(governor.look(now, all), nothing(Why::Paused));
        assert_eq!(governor.look(now, Seen { said: Said::Lend, ..all }), nothing(Why::OnBattery));
        assert_eq!(governor.look(now, Seen { said: Said::Lend, on_battery: false, ..all }), nothing(Why::OutsideHours));
        // What stands still could not come to its end.
        assert_eq!(governor.look(now, Seen { said: Said::Leave, ..all }), Lent { cores: 2, why: None });
    }

    /// The threads of this process cannot be stopped; what is asked here is what is said.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_machine_that_is_unplugged_lends_nothing_until_it_is_plugged_in() {
        use essaim_worker::{Engine, EngineConfig, Sandbox};
        use std::fs;

        let supplies = tempfile::tempdir().unwrap();
        for (name, file, text) in
            [("AC", "type", "Mains"), ("BAT", "type", "Battery"), ("BAT", "status", "Discharging")]
        {
            fs::create_dir_all(supplies.path().join(name)).unwrap();
            fs::write(supplies.path().join(name).join(file), text).unwrap();
        }
        let plug = |online: &str| fs::write(supplies.path().join("AC/online"), online).unwrap();
        plug("0");
        let engine = Engine::new(EngineConfig { threads: 1, ..EngineConfig::default() }).unwrap();
        let workers = Arc::new(Workers::new(Sandbox::Threads(engine, 1), |_| {}).unwrap());
        let (_owner, said) = watch::channel(Said::Lend);
        let governor = Governor::new(terms(2, When::Always), 2);
        let power = Power::told_by(supplies.path());
        let mut lent = watch_machine(governor, workers, said, power).unwrap();
        assert_eq!(*lent.borrow(), nothing(Why::OnBattery), "not even at first");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        plug("1");
        runtime.block_on(lent.wait_for(|lent| *lent == all(2))).unwrap();
        plug("0");
        runtime.block_on(lent.wait_for(|lent| *lent == nothing(Why::OnBattery))).unwrap();
    }
}
