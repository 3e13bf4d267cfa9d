//! What this machine has for a node, unless somebody says otherwise: cores, memory, and a place where its nodes meet.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The least memory that can be lent, bytes: with less hardly a program starts.
pub const LEAST_MEMORY: u64 = 16 << 20;

/// The threads that are lent when nobody says how many: all.
#[must_use]
pub fn all_cpus() -> u16 {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(1_024) as u16)
}

/// The memory that is lent when nobody says how much: half of what this machine has, or of what it lets this process have.
#[must_use]
pub fn half_memory() -> u64 {
    let memory = sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let system = sysinfo::System::new_with_specifics(memory);
    let all = system.map(|system| match system.cgroup_limits() {
        Some(limits) => limits.total_memory.min(system.total_memory()),
        None => system.total_memory(),
    });
    // Where it is not known, as little as hardly a machine has.
    (all.unwrap_or(1 << 30) / 2).max(LEAST_MEMORY)
}

/// Where the nodes of this user on this machine find one another.
#[must_use]
pub fn meeting_place() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.runtime_dir().unwrap_or_else(|| base.cache_dir()).join("essaim"))
}
