//! What a program could do that has broken out of WebAssembly: each deed is tried in a process like those that run
//! chunks, where it must be refused or be the end of the process; and in one that has kept its rights, where it must
//! work, else it would prove nothing.
//!
//! Not a test of the usual harness: it starts itself again for each deed.

#![cfg_attr(not(target_os = "linux"), allow(unused, reason = "only Linux confines"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program: it talks to its reader")]

#[cfg(target_os = "linux")]
mod deeds {
    use std::fs::{self, File};
    use std::io::Error;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::os::unix::process::parent_id;
    use std::path::Path;
    use std::process::Command;

    /// A deed: its name, what it does, and whether only an administrator could do it anyway.
    pub struct Deed {
        pub name: &'static str,
        pub try_it: fn(&Path) -> Result<(), Error>,
        pub privileged: bool,
    }

    /// The number that a system call gives back, as a result.
    fn result(number: i64) -> Result<(), Error> {
        if number < 0 { Err(Error::last_os_error()) } else { Ok(()) }
    }

    /// A system call that Rust's library has no safe name for.
    #[allow(unsafe_code, reason = "that the call is refused is what is tested; its arguments are numbers or null")]
    fn call(number: i64, arguments: [i64; 6]) -> Result<(), Error> {
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: each caller passes numbers, null, or a pointer to what outlives the call.
        result(unsafe { libc::syscall(number, a, b, c, d, e, f) })
    }

    fn parent() -> i64 {
        i64::from(parent_id())
    }

    /// Reads eight bytes of the parent's memory, at an address where it certainly has something: its own code is at the
    /// address at which ours is only if addresses are not randomised, so its map is asked.
    fn read_parent() -> Result<(), Error> {
        let map = fs::read_to_string(format!("/proc/{}/maps", parent_id())).unwrap_or_default();
        let start = map.split('-').next().and_then(|hex| i64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let mut bytes = [0u8; 8];
        let local = [bytes.as_mut_ptr() as i64, 8];
        let remote = [start, 8];
        call(libc::SYS_process_vm_readv, [parent(), local.as_ptr() as i64, 1, remote.as_ptr() as i64, 1, 0])
    }

    const fn plain(name: &'static str, try_it: fn(&Path) -> Result<(), Error>) -> Deed {
        Deed { name, try_it, privileged: false }
    }

    const fn privileged(name: &'static str, try_it: fn(&Path) -> Result<(), Error>) -> Deed {
        Deed { name, try_it, privileged: true }
    }

    pub const DEEDS: &[Deed] = &[
        plain("read a file", |_| File::open("/etc/passwd").map(drop)),
        plain("write a file", |dir| fs::write(dir.join("new"), b"here")),
        plain("remove a file", |dir| fs::remove_file(dir.join("old"))),
        plain("list a folder", |_| fs::read_dir("/").map(drop)),
        plain("ask about a file", |_| fs::metadata("/etc/passwd").map(drop)),
        plain("make a folder", |dir| fs::create_dir(dir.join("folder"))),
        plain("make a link", |dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("link"))),
        plain("open its own memory", |_| File::open("/proc/self/mem").map(drop)),
        plain("listen on a port", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
        plain("connect to a port", |dir| {
            let port = fs::read_to_string(dir.join("port")).unwrap_or_else(|_| "1".to_owned());
            TcpStream::connect(format!("127.0.0.1:{port}")).map(drop)
        }),
        plain("a socket", |_| call(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_DGRAM.into(), 0, 0, 0, 0])),
        plain("a local socket", |dir| UnixListener::bind(dir.join("socket")).map(drop)),
        plain("start a program", |_| Command::new("/bin/true").status().map(drop)),
        plain("become a program", |_| {
            use std::os::unix::process::CommandExt;
            Err(Command::new("/bin/true").exec())
        }),
        plain("start a thread", |_| std::thread::Builder::new().spawn(|| ()).map(drop)),
        plain("signal its parent", |_| call(libc::SYS_kill, [parent(), 0, 0, 0, 0, 0])),
        plain("executable memory", |_| {
            let (rwx, private) = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE);
            call(libc::SYS_mmap, [0, 4_096, rwx.into(), (private | libc::MAP_ANONYMOUS).into(), -1, 0])
        }),
        plain("memory made executable", |_| {
            let page = vec![0u8; 8_192];
            let at = (page.as_ptr() as i64 + 4_095) & !4_095;
            call(libc::SYS_mprotect, [at, 4_096, (libc::PROT_READ | libc::PROT_EXEC).into(), 0, 0, 0])
        }),
        plain("a file in memory", |_| call(libc::SYS_memfd_create, [c"evil".as_ptr() as i64, 0, 0, 0, 0, 0])),
        plain("an event loop", |_| call(libc::SYS_epoll_create1, [0; 6])),
        plain("leave its session", |_| call(libc::SYS_getsid, [0; 6])),
        plain("ask for limits", |_| call(libc::SYS_getrlimit, [0, [0i64; 2].as_mut_ptr() as i64, 0, 0, 0, 0])),
        plain("ask about the machine", |_| call(libc::SYS_uname, [[0u8; 512].as_mut_ptr() as i64, 0, 0, 0, 0, 0])),
        privileged("read its parent's memory", |_| read_parent()),
        privileged("trace its parent", |_| {
            let seize = 0x4206;
            call(libc::SYS_ptrace, [seize, parent(), 0, 0, 0, 0])
        }),
        privileged("raise its priority", |_| call(libc::SYS_setpriority, [0, 0, -5, 0, 0, 0])),
        privileged("a name space of its own", |_| call(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0, 0, 0, 0])),
        privileged("another root", |_| call(libc::SYS_chroot, [c"/".as_ptr() as i64, 0, 0, 0, 0, 0])),
        privileged("another user", |_| call(libc::SYS_setuid, [0; 6])),
        privileged("set the host's name", |_| {
            let mut name = [0u8; 64];
            let name = rustix_name(&mut name);
            call(libc::SYS_sethostname, [name.as_ptr() as i64, name.len() as i64, 0, 0, 0, 0])
        }),
    ];

    /// The host's name as it is, so that setting it changes nothing.
    fn rustix_name(to: &mut [u8; 64]) -> &[u8] {
        let name = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        let length = name.trim_ascii_end().len().min(64);
        to[..length].copy_from_slice(&name[..length]);
        &to[..length]
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Command, ExitCode, Stdio};

    use deeds::{DEEDS, Deed};
    use essaim_worker::process::confine::{self, Purpose};

    const DONE: u8 = 0;
    const REFUSED: u8 = 13;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [how, number, dir] = words.as_slice()
        && let Some(deed) = number.parse::<usize>().ok().and_then(|number| DEEDS.get(number))
    {
        let purpose = Purpose::Run { memory_bytes: 1 << 30 };
        if how == "confined" {
            confine::give_up_rights(purpose).and_then(|()| confine::forbid_calls(purpose)).unwrap();
        }
        return ExitCode::from(if (deed.try_it)(Path::new(dir)).is_ok() { DONE } else { REFUSED });
    }
    if words.iter().any(|word| word == "--list") {
        // What test runners ask first: all deeds are one test.
        println!("evil: test");
        return ExitCode::SUCCESS;
    }

    let root = rustix::process::geteuid().is_root();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wrong = 0;
    for (number, deed) in DEEDS.iter().enumerate() {
        let Deed { name, privileged, .. } = deed;
        let outcome = |how: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("old"), b"").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            std::fs::write(dir.path().join("port"), port).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([how, &number.to_string()]).arg(dir.path());
            let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            match (status.code(), status.signal()) {
                (Some(code), _) if code == i32::from(DONE) => "done",
                (Some(code), _) if code == i32::from(REFUSED) => "refused",
                (_, Some(libc::SIGSYS)) => "killed",
                _ => "broken",
            }
        };
        let (confined, free) = (outcome("confined"), outcome("free"));
        let kept = matches!(confined, "killed" | "refused");
        let proves = free == "done" || (*privileged && !root);
        println!("{name:<28} confined: {confined:<8} free: {free:<8} {}", if kept && proves { "ok" } else { "WRONG" });
        wrong += usize::from(!kept || !proves);
    }
    std::io::stdout().flush().unwrap();
    println!("test result: {}. {} deeds, {wrong} wrong", if wrong == 0 { "ok" } else { "FAILED" }, DEEDS.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
