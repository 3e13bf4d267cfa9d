//! The machine itself: memory, limits of the system, cores, and the clock.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::cli::say::count;
use crate::control::{self, Wish};
use crate::machine::{all_cpus, half_memory};
use crate::peer::on_battery;

/// What a chunk may use unless a job says otherwise, bytes: with less no job of that kind gets all that it asks for.
const CHUNK: u64 = 512 << 20;
/// Descriptors that a node needs with hardly a peer, and with many.
const FILES: (u64, u64) = (256, 1_024);
/// Processes and threads, likewise.
const TASKS: (u64, u64) = (64, 512);
/// Address space that an engine reserves, bytes.
const SPACE: u64 = 64 << 30;
/// Clocks that part by more than this while they are looked at were set.
const JUMP: Duration = Duration::from_millis(500);

/// Looks at all but the clock; the node in the home `dir`, if there is one, knows why it lends less.
pub async fn checks(dir: &Path) -> Vec<Check> {
    let memory = sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let available = sysinfo::System::new_with_specifics(memory).map_or(0, |system| system.available_memory());
    let node = control::ask(dir, Wish::Status).await.ok().flatten().filter(|answer| !answer.is_null());
    let lent = node.as_ref().and_then(|node| Some((node["lent"].as_u64()?, node["why"].as_str())));
    let limit = |resource| getrlimit(resource).current;
    vec![
        self::memory(available, half_memory()),
        limits(limit(Resource::Nofile), limit(Resource::Nproc), limit(Resource::As)),
        cores(all_cpus(), on_battery(), lent),
    ]
}

fn memory(available: u64, lent: u64) -> Check {
    let size = |bytes| ByteSize(bytes).display().iec();
    let words = format!("{} available; a node lends {} unless --memory says otherwise", size(available), size(lent));
    if available < CHUNK / 8 {
        Check::bad("memory", words, "end other programs: nothing can be run with so little")
    } else if available.min(lent) < CHUNK {
        let hint = format!("a chunk may ask for {}; such ones get less here, and may fail", size(CHUNK));
        Check::warning("memory", words, hint)
    } else {
        Check::ok("memory", words)
    }
}

/// What `ulimit` says of files (-n), processes (-u) and address space (-v); none: no limit.
fn limits(files: Option<u64>, tasks: Option<u64>, space: Option<u64>) -> Check {
    let said = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let is_below = |limit: Option<u64>, least: u64| limit.is_some_and(|limit| limit < least);
    let words = format!("open files {}, processes {}, address space {}", said(files), said(tasks), said(space));
    if is_below(space, SPACE) {
        let hint = "raise `ulimit -v`, or remove it: an engine reserves much address space, which is not memory";
        return Check::bad("limits", words, hint);
    }
    let low = if is_below(files, FILES.1) { Some("`ulimit -n`") } else { None };
    let low = low.or(is_below(tasks, TASKS.1).then_some("`ulimit -u`"));
    match low {
        None => Check::ok("limits", words),
        Some(which) if is_below(files, FILES.0) || is_below(tasks, TASKS.0) => {
            Check::bad("limits", words, format!("raise {which}: a node cannot work with so few"))
        }
        Some(which) => Check::warning("limits", words, format!("raise {which}: with many peers they do not suffice")),
    }
}

fn cores(all: u16, on_battery: bool, lent: Option<(u64, Option<&str>)>) -> Check {
    let cores = count(u64::from(all), "core");
    match lent {
        Some((lent, Some(why))) => {
            let hint = "`essaim status` says more; `resume`, --hours, --when and --on-battery change it";
            Check::warning("cores", format!("{cores}, of which the node here lends {lent}: {why}"), hint)
        }
        Some((lent, None)) => Check::ok("cores", format!("{cores}, of which the node here lends {lent}")),
        None if on_battery => {
            let hint = "plug it in, or say `essaim join --on-battery`";
            Check::warning("cores", format!("{cores}, on battery: none would be lent"), hint)
        }
        None => Check::ok("cores", format!("{cores}, all of which `essaim join` lends")),
    }
}

/// Both clocks at one moment.
pub struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    pub fn now() -> Clock {
        Clock { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// What can be known of the clock on the wall without asking anybody.
    pub fn check(&self) -> Check {
        let now = SystemTime::now();
        let built = std::env::current_exe().and_then(|path| path.metadata()?.modified()).ok();
        let went = now.duration_since(self.wall).ok();
        judge(now, built, went, self.steady.elapsed())
    }
}

/// `went`: by how much it went on, if it did not go back, while really `passed` went by.
fn judge(now: SystemTime, built: Option<SystemTime>, went: Option<Duration>, passed: Duration) -> Check {
    let hint = "set it: `timedatectl set-ntp true` keeps it right";
    if built.is_some_and(|built| now < built) {
        return Check::bad("clock", "it is set to a time before this program was made", hint);
    }
    match went {
        Some(went) if went.abs_diff(passed) <= JUMP => {
            Check::ok("clock", "it goes evenly; whether it is right nobody here can say")
        }
        _ => Check::warning("clock", "it was set while this looked at it", hint),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn little_memory_is_told_from_none() {
        let state = |available, lent| memory(available, lent).state;
        assert_eq!(state(32 << 20, 8 << 30), State::Bad);
        assert_eq!(state(256 << 20, 8 << 30), State::Warning);
        assert_eq!(state(8 << 30, 256 << 20), State::Warning);
        assert_eq!(state(8 << 30, 8 << 30), State::Ok);
    }

    #[test]
    fn a_low_limit_is_named() {
        let judged = |files, tasks, space| limits(files, tasks, space);
        assert_eq!(judged(None, None, None).state, State::Ok);
        assert_eq!(judged(Some(1_024), Some(4_096), None).state, State::Ok);
        let files = judged(Some(512), None, None);
        assert!(files.state == State::Warning && files.hint.contains("ulimit -n"), "{files:?}");
        assert_eq!(judged(Some(64), None, None).state, State::Bad);
        let tasks = judged(None, Some(20), None);
        assert!(tasks.state == State::Bad && tasks.hint.contains("ulimit -u"), "{tasks:?}");
        let space = judged(None, None, Some(8 << 30));
        assert!(space.state == State::Bad && space.hint.contains("ulimit -v"), "{space:?}");
    }

    #[test]
    fn it_is_said_why_no_cores_are_lent() {
        assert_eq!(cores(4, false, None).state, State::Ok);
        assert_eq!(cores(4, true, None).state, State::Warning);
        assert_eq!(cores(4, true, Some((4, None))).state, State::Ok, "the node here knows better");
        let away = cores(4, false, Some((0, Some("outside-hours"))));
        assert!(away.state == State::Warning && away.words.contains("lends 0: outside-hours"), "{away:?}");
    }

    #[test]
    fn a_clock_that_jumps_or_is_long_gone_is_told() {
        let (then, second) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), Duration::from_secs(1));
        let judged = |built, went| judge(then, built, went, second).state;
        assert_eq!(judged(Some(then - second), Some(second)), State::Ok);
        assert_eq!(judged(None, Some(second + JUMP)), State::Ok);
        assert_eq!(judged(Some(then + second), Some(second)), State::Bad);
        assert_eq!(judged(None, Some(60 * second)), State::Warning);
        assert_eq!(judged(None, None), State::Warning, "it went back");
    }
}
