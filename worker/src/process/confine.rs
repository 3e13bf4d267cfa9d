//! What a sandbox process gives up before it meets a stranger's program: priority, files, sockets, processes, and
//! every system call that running WebAssembly does not take.
//!
//! In two steps, for the first binds only threads that are made after it, and the second forbids to make any.

use rustix::process::{Resource, Rlimit, Signal};

/// The most memory of its own that a process that compiles may have, bytes.
const COMPILE_BYTES: u64 = 4 << 30;
/// The longest compiled program, bytes.
const COMPILED_BYTES: u64 = 1 << 30;
/// What a process that runs chunks needs beside the memory of its chunk, bytes.
const OWN_BYTES: u64 = 768 << 20;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run chunks that may each have so many bytes of memory.
    Run {
        /// Bytes.
        memory_bytes: u64,
    },
    /// To compile a program, within so many seconds on the processor.
    Compile {
        /// Seconds.
        seconds: u64,
    },
}

/// The first step: the lowest priority, limits, and on Linux no file, no socket and no signal beyond this process.
/// Binds the calling thread and those that it makes from now on.
///
/// # Errors
/// What the system refused, in words.
pub fn give_up_rights(purpose: Purpose) -> Result<(), String> {
    let limit = |resource, most: u64| {
        let wanted = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, wanted).map_err(|error| format!("cannot limit {resource:?}: {error}"))
    };
    limit(Resource::Core, 0)?;
    limit(Resource::Memlock, 0)?;
    match purpose {
        Purpose::Run { memory_bytes } => {
            limit(Resource::Fsize, 0)?;
            limit(Resource::Data, memory_bytes.saturating_add(OWN_BYTES))?;
        }
        Purpose::Compile { seconds } => {
            limit(Resource::Fsize, COMPILED_BYTES)?;
            limit(Resource::Data, COMPILE_BYTES)?;
            limit(Resource::Cpu, seconds)?;
        }
    }
    // A session of its own: Ctrl-C is for the node, which ends what runs first. One that has one already keeps it.
    let _ = rustix::process::setsid();
    // Linux may divide the processor by session before it looks at priorities: so that of the session is lowered too.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/autogroup", "19");
    rustix::process::setpriority_process(None, 19).map_err(|error| format!("cannot lower its priority: {error}"))?;
    #[cfg(target_os = "linux")]
    {
        let die = |error| format!("cannot be made to end with its parent: {error}");
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(die)?;
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(|error| format!("cannot hide its memory: {error}"))?;
        linux::landlock().map_err(|error| format!("Landlock: {error}"))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = Signal::KILL;
    Ok(())
}

/// The second step: on Linux, no system call but those that running, or compiling, takes. Any other ends the process.
/// Binds all threads there are.
///
/// # Errors
/// What the system refused, in words.
pub fn forbid_calls(purpose: Purpose) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    linux::seccomp(purpose).map_err(|error| format!("seccomp: {error}"))?;
    let _ = purpose;
    Ok(())
}

/// Which version of Landlock the kernel enforces, tried on a thread that ends with it; none: the kernel has none, or it is
/// switched off. For people: a sandbox process takes what there is.
#[cfg(target_os = "linux")]
#[must_use]
pub fn landlock_version() -> Option<i32> {
    std::thread::spawn(linux::landlock_version).join().ok().flatten()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr, RulesetError, Scope,
    };
    use rustix::process::getpid;
    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch,
    };

    use super::Purpose;

    /// Landlock's rights as the newest kernel we know has them; an older one enforces those that it has.
    const NEWEST: ABI = ABI::V6;
    /// `ioctl` that tells which pages were written to (linux/fs.h); the allocator of instances asks it.
    const PAGEMAP_SCAN: u64 = 0xc060_6610;
    /// `PR_SET_NAME` of `prctl`.
    const SET_NAME: u64 = 15;
    /// `PROT_EXEC` of `mmap` and `mprotect`.
    const EXECUTABLE: u64 = 4;

    /// No path may be opened, made, removed or executed, no port bound or connected, nobody else signalled.
    pub(super) fn landlock() -> Result<(), RulesetError> {
        restrict().map(drop)
    }

    /// The version of what binds this thread from now on.
    pub(super) fn landlock_version() -> Option<i32> {
        match restrict().ok()?.landlock {
            LandlockStatus::Available { effective_abi, kernel_abi } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
        }
    }

    fn restrict() -> Result<RestrictionStatus, RulesetError> {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?;
        rules.create()?.restrict_self()
    }

    /// Lets through what is needed; everything else ends the process.
    pub(super) fn seccomp(purpose: Purpose) -> Result<(), Error> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for call in [
            // What was opened before: the socket to the node, the program, the compiled program.
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_close,
            // Files that the node hands over, and what is read of them.
            libc::SYS_recvmsg,
            libc::SYS_pread64,
            // Memory.
            libc::SYS_brk,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_madvise,
            // Threads that wait for one another, and for time to pass.
            libc::SYS_futex,
            libc::SYS_sched_yield,
            libc::SYS_nanosleep,
            libc::SYS_clock_nanosleep,
            libc::SYS_clock_gettime,
            libc::SYS_restart_syscall,
            // A trap of a guest is a signal to the thread that runs it.
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            // Refused by a filter of its own.
            libc::SYS_openat,
            // The seeds of hash maps.
            libc::SYS_getrandom,
            libc::SYS_sched_getaffinity,
            // A thread that was made before may only now begin.
            libc::SYS_rseq,
            libc::SYS_set_robust_list,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ] {
            rules.insert(call, Vec::new());
        }
        let only = |argument, length, operator, value| -> Result<Vec<SeccompRule>, Error> {
            Ok(vec![SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])?])
        };
        let not_executable = || only(2, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(EXECUTABLE), 0);
        rules.insert(libc::SYS_mmap, not_executable()?);
        // What is compiled is made executable once; what was compiled before, before this filter.
        let mprotect = if matches!(purpose, Purpose::Run { .. }) { not_executable()? } else { Vec::new() };
        rules.insert(libc::SYS_mprotect, mprotect);
        rules.insert(libc::SYS_ioctl, only(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PAGEMAP_SCAN)?);
        // The standard library's debug assertion that what it closes is open.
        rules.insert(libc::SYS_fcntl, only(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::F_GETFD as u64)?);
        rules.insert(libc::SYS_prctl, only(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, SET_NAME)?);
        // To abort.
        let me = getpid().as_raw_nonzero().get() as u64;
        rules.insert(libc::SYS_tgkill, only(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, me)?);
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
        // The C library looks for the number of processors when several threads allocate, and does without.
        let refused = SeccompAction::Errno(libc::EACCES as u32);
        let opening = [(libc::SYS_openat, Vec::new())].into_iter().collect();
        let opening = SeccompFilter::new(opening, SeccompAction::Allow, refused, arch)?;
        // The stricter word of the two holds; the second filter can only be applied before the first.
        for filter in [opening, filter] {
            let program: BpfProgram = filter.try_into()?;
            seccompiler::apply_filter_all_threads(&program)?;
        }
        Ok(())
    }
}
