//! Whether this machine runs on battery.

#[cfg(target_os = "linux")]
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is asked: some machines take long to answer.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Whether this machine runs on battery now.
#[must_use]
pub fn on_battery() -> bool {
    Power::new().ask()
}

/// Where this machine's power comes from, as it was when it was asked last.
#[derive(Debug)]
pub struct Power {
    /// The folder of what the kernel knows of supplies.
    #[cfg(target_os = "linux")]
    supplies: PathBuf,
    asked: Option<Instant>,
    on_battery: bool,
}

impl Power {
    /// That of this machine.
    pub fn new() -> Power {
        Power {
            #[cfg(target_os = "linux")]
            supplies: PathBuf::from("/sys/class/power_supply"),
            asked: None,
            on_battery: false,
        }
    }

    /// As a machine would have it whose kernel says what is in a folder.
    #[cfg(all(test, target_os = "linux"))]
    pub fn told_by(supplies: &Path) -> Power {
        Power { supplies: supplies.to_owned(), ..Power::new() }
    }

    /// Whether it comes from a battery.
    pub fn on_battery(&mut self, now: Instant) -> bool {
        if self.asked.is_none_or(|at| at + ASK_EVERY <= now) {
            self.asked = Some(now);
            self.on_battery = self.ask();
        }
        self.on_battery
    }

    #[cfg(target_os = "linux")]
    fn ask(&self) -> bool {
        runs_down(&self.supplies)
    }

    #[cfg(not(target_os = "linux"))]
    fn ask(&self) -> bool {
        let batteries = starship_battery::Manager::new().and_then(|manager| manager.batteries());
        let mut batteries = batteries.into_iter().flatten().flatten();
        batteries.any(|battery| battery.state() == starship_battery::State::Discharging)
    }
}

/// Whether no mains are there and a battery runs down, of the supplies in a folder; those that cannot be read do not
/// count. Without mains alone it need not: a server's kernel may know of none. See Linux,
/// `Documentation/ABI/testing/sysfs-class-power`.
#[cfg(target_os = "linux")]
fn runs_down(supplies: &Path) -> bool {
    let folders = std::fs::read_dir(supplies).into_iter().flatten().flatten().map(|entry| entry.path());
    let word = |folder: &Path, name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    // Mice and headsets have batteries too.
    let own = folders.filter(|folder| word(folder, "scope") != "Device");
    let is_battery = |folder: &PathBuf| matches!(word(folder, "type").as_str(), "Battery" | "UPS");
    let (batteries, mains): (Vec<_>, Vec<_>) = own.partition(is_battery);
    // 2 is what can be set.
    let is_online = |folder: &PathBuf| matches!(word(folder, "online").as_str(), "1" | "2");
    // Batteries are asked last: for some that takes long.
    !mains.iter().any(is_online) && batteries.iter().any(|folder| word(folder, "status") == "Discharging")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::fs;

    use super::*;

    /// A machine with these supplies; of each its name and its files.
    fn machine(supplies: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, files) in supplies {
            fs::create_dir(dir.path().join(name)).unwrap();
            for (file, text) in *files {
                fs::write(dir.path().join(name).join(file), format!("{text}\n")).unwrap();
            }
        }
        dir
    }

    const ON: &[(&str, &str)] = &[("type", "Mains"), ("online", "1")];
    const OFF: &[(&str, &str)] = &[("type", "Mains"), ("online", "0")];
    const USB_ON: &[(&str, &str)] = &[("type", "USB"), ("online", "1")];
    const FULL: &[(&str, &str)] = &[("type", "Battery"), ("status", "Full"), ("scope", "System")];
    const CHARGES: &[(&str, &str)] = &[("type", "Battery"), ("status", "Charging")];
    const RUNS_DOWN: &[(&str, &str)] = &[("type", "Battery"), ("status", "Discharging")];
    const MOUSE: &[(&str, &str)] = &[("type", "Battery"), ("status", "Discharging"), ("scope", "Device")];

    #[test]
    fn a_battery_counts_where_it_runs_down_and_no_mains_are_there() {
        for (supplies, on_battery) in [
            (&[][..], false),
            (&[("AC", ON)], false),
            (&[("AC", OFF)], false),
            (&[("BAT0", RUNS_DOWN)], true),
            (&[("AC", OFF), ("BAT0", RUNS_DOWN)], true),
            (&[("AC", OFF), ("BAT0", FULL), ("BAT1", RUNS_DOWN)], true),
            (&[("AC", OFF), ("BAT0", FULL)], false),
            (&[("AC", ON), ("BAT0", CHARGES)], false),
            // A charger that is too weak is one.
            (&[("AC", ON), ("BAT0", RUNS_DOWN)], false),
            (&[("AC", OFF), ("ucsi", USB_ON), ("BAT0", CHARGES)], false),
            (&[("AC", OFF), ("ucsi", USB_ON), ("BAT0", RUNS_DOWN)], false),
            (&[("hid", MOUSE)], false),
            (&[("AC", OFF), ("BAT0", FULL), ("hid", MOUSE)], false),
            (&[("AC", OFF), ("BAT0", &[])], false),
        ] {
            let dir = machine(supplies);
            assert_eq!(runs_down(dir.path()), on_battery, "{supplies:?}");
        }
        assert!(!runs_down(Path::new("/nowhere")), "a machine without any supply is on mains");
    }

    #[test]
    fn it_is_asked_again_after_a_while() {
        let dir = machine(&[("AC", OFF), ("BAT0", RUNS_DOWN)]);
        let mut power = Power::told_by(dir.path());
        let start = Instant::now();
        assert!(power.on_battery(start));
        fs::write(dir.path().join("AC/online"), "1").unwrap();
        assert!(power.on_battery(start + ASK_EVERY / 2));
        assert!(!power.on_battery(start + ASK_EVERY));
    }
}
