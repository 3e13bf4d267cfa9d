//! The home: whether it can be used, who uses it, who can read its keys, and whether its disk has room.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::Check;
use crate::cli::args::Global;
use crate::cli::fail::Fail;
use crate::store::{Home, HomeError, free_bytes};

/// With less free disk than this hardly a job is kept; with less than that not even what a node itself writes.
const LITTLE: u64 = 1 << 30;
const NONE: u64 = 16 << 20;

/// The home that is looked at: the one that was named, or the first of this user.
///
/// # Errors
/// No home is known.
pub fn dir(global: &Global) -> Result<PathBuf, Fail> {
    match &global.home {
        Some(dir) => Ok(dir.clone()),
        None => Home::first_default().map_err(|e| Fail::of(&e, e.hint())),
    }
}

/// Looks at the home in `dir`, on whose disk others may have `wanted` bytes.
pub fn checks(dir: &Path, wanted: u64) -> Vec<Check> {
    let mut checks = vec![used(dir)];
    checks.extend(keys(dir));
    checks.push(match free_bytes(dir) {
        Ok(free) => disk(dir, free, wanted),
        Err(error) => {
            let hint = "see what is wrong with that disk, or name another folder with --home DIR";
            Check::bad("disk", format!("cannot tell what is free for {}: {error}", dir.display()), hint)
        }
    });
    checks
}

fn used(dir: &Path) -> Check {
    match Home::open(dir) {
        Ok(_) => Check::ok("home", format!("{} can be used", dir.display())),
        Err(HomeError::InUse(_)) => {
            let by = holder(&dir.join("lock")).map_or_else(String::new, |process| format!(" (process {process})"));
            Check::ok("home", format!("a node of yours runs in {}{by}", dir.display()))
        }
        Err(error) => {
            let hint = error.hint();
            let fail = Fail::of(&error, "");
            Check::bad("home", fail.to_string(), hint)
        }
    }
}

/// The process that holds the lock of a home, as Linux lists it.
fn holder(lock: &Path) -> Option<u32> {
    let inode = fs::metadata(lock).ok()?.ino();
    holder_in(&fs::read_to_string("/proc/locks").ok()?, inode)
}

fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let lock = locks.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>()).find(|fields| {
        let file = fields.get(5).and_then(|file| file.rsplit(':').next());
        fields.get(1) == Some(&"FLOCK") && file.and_then(|inode| inode.parse().ok()) == Some(inode)
    })?;
    lock.get(4)?.parse().ok()
}

/// A key that others can read is theirs, too.
fn keys(dir: &Path) -> Vec<Check> {
    let look = |name: &str| {
        let path = dir.join(name);
        let shown = path.display();
        let about = match fs::metadata(&path) {
            Ok(about) => about,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                let hint = format!("see who owns {} and who may enter it", dir.display());
                return Some(Check::bad("keys", format!("cannot look at {shown}: {error}"), hint));
            }
        };
        let open = about.permissions().mode() & 0o077;
        if open != 0 {
            let words =
                format!("{shown} can be read or written by others (mode {:o})", about.permissions().mode() & 0o777);
            return Some(Check::bad(
                "keys",
                words,
                format!("`chmod 600 {shown}`; if somebody has read it, move it away"),
            ));
        }
        match fs::read(&path) {
            Ok(key) if key.len() == 32 => None,
            Ok(_) => Some(Check::bad("keys", format!("{shown} is no key"), "move it away; a new one is then made")),
            Err(error) => {
                let hint = format!("it must be yours: `chown` it, and `chmod 600 {shown}`");
                Some(Check::bad("keys", format!("cannot read {shown}: {error}"), hint))
            }
        }
    };
    let bad: Vec<Check> = ["node.key", "author.key"].into_iter().filter_map(look).collect();
    if bad.is_empty() { vec![Check::ok("keys", "nobody else can read them, or there are none yet")] } else { bad }
}

fn disk(dir: &Path, free: u64, wanted: u64) -> Check {
    let size = |bytes| ByteSize(bytes).display().iec();
    let words = format!("{} free on the disk of {}", size(free), dir.display());
    if free < NONE {
        Check::bad("disk", words, "make room, or name a folder on another disk with --home DIR")
    } else if free < LITTLE {
        Check::warning("disk", words, "make room: large inputs, outputs and data are kept there")
    } else if free < wanted {
        let hint = format!("others may have {} there: say less with --disk SIZE, or make room", size(wanted));
        Check::warning("disk", words, hint)
    } else {
        Check::ok("disk", words)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::super::State;
    use super::*;

    #[test]
    fn who_holds_a_lock_is_read_from_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 345 08:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 08:01:78 0 EOF\n";
        assert_eq!(holder_in(locks, 77), Some(345));
        assert_eq!(holder_in(locks, 78), None, "who only waits for it does not hold it");
        assert_eq!(holder_in(locks, 7), None);
    }

    #[test]
    fn a_disk_is_judged_by_what_is_free_and_what_others_may_have() {
        let state = |free, wanted| disk(Path::new("/"), free, wanted).state;
        assert_eq!(state(1 << 20, 0), State::Bad);
        assert_eq!(state(100 << 20, 0), State::Warning);
        assert_eq!(state(5 << 30, 10 << 30), State::Warning);
        assert_eq!(state(20 << 30, 10 << 30), State::Ok);
    }

    #[test]
    fn a_key_that_others_can_read_is_bad_and_so_is_none() {
        let home = tempfile::tempdir().unwrap();
        let states = || keys(home.path()).iter().map(|check| check.state).collect::<Vec<_>>();
        assert_eq!(states(), [State::Ok]);
        let key = home.path().join("node.key");
        fs::write(&key, [0; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(states(), [State::Ok]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(states(), [State::Bad]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, [0; 31]).unwrap();
        assert_eq!(states(), [State::Bad]);
    }
}
