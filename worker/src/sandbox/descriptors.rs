//! The functions of WASI preview 1 that take a descriptor: streams, and files that can be read. All that would change a
//! file answers that they are read-only. Structures are laid out as `wasi_snapshot_preview1.witx` has them.

use wasmtime::{Caller, Linker};

use super::files::{Node, ROOT};
use super::memory::{self, Memory};
use super::{Guest, WASI, errno};

/// The most that one call reads or writes, bytes: it bounds what is copied between two looks at the limits.
const PIECE_BYTES: u32 = 1 << 20;
/// The most pieces of memory in one call.
const PIECES: u32 = 1_024;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR_FILE: u8 = 4;

const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const RIGHT_POLL: u64 = 1 << 27;
/// To read, seek, tell, advise, ask about, poll.
const FILE_RIGHTS: u64 = RIGHT_READ | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 21 | RIGHT_POLL;
/// To open, list, read links, ask about paths and about itself.
const DIR_RIGHTS: u64 = 1 << 13 | 1 << 14 | 1 << 15 | 1 << 18 | 1 << 21;

const OPEN_CREATE: u32 = 1;
const OPEN_DIRECTORY: u32 = 2;
const OPEN_TRUNCATE: u32 = 8;

/// An error number where there is one; the program is ended where it does what is not allowed at all.
type Answer = wasmtime::Result<Result<(), i32>>;

/// Offers the functions.
pub(super) fn add_to(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    /// Wraps functions of (memory, guest, arguments) for the linker.
    macro_rules! offer {
        ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
            linker.func_wrap(WASI, stringify!($name), |mut caller: Caller<'_, Guest>, $($argument: $type),*| {
                let (mut memory, guest) = memory::of(&mut caller)?;
                let answer: Answer = $name(&mut memory, guest, $($argument),*);
                answer.map(|answer| answer.err().unwrap_or(errno::SUCCESS))
            })?;
        )*};
    }
    /// Offers functions that would change a file: arguments are numbers, and are not looked at.
    macro_rules! refuse {
        ($($name:literal($($type:ty),*);)*) => {$(
            linker.func_wrap(WASI, $name, |$(_: $type),*| errno::ROFS)?;
        )*};
    }
    offer! {
        fd_read(fd: u32, iovs: u32, count: u32, result: u32);
        fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, result: u32);
        fd_write(fd: u32, iovs: u32, count: u32, result: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, result: u32);
        fd_tell(fd: u32, result: u32);
        fd_close(fd: u32);
        fd_renumber(fd: u32, to: u32);
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd_fdstat_get(fd: u32, result: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_filestat_get(fd: u32, result: u32);
        fd_prestat_get(fd: u32, result: u32);
        fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, result: u32);
        path_open(fd: u32, flags: u32, path: u32, len: u32, how: u32, rights: u64, inheriting: u64, fd_flags: u32, result: u32);
        path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, result: u32);
        path_readlink(fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, result: u32);
    }
    refuse! {
        "fd_allocate"(u32, u64, u64);
        "fd_datasync"(u32);
        "fd_fdstat_set_rights"(u32, u64, u64);
        "fd_filestat_set_size"(u32, u64);
        "fd_filestat_set_times"(u32, u64, u64, u32);
        "fd_pwrite"(u32, u32, u32, u64, u32);
        "fd_sync"(u32);
        "path_create_directory"(u32, u32, u32);
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32);
        "path_link"(u32, u32, u32, u32, u32, u32, u32);
        "path_remove_directory"(u32, u32, u32);
        "path_rename"(u32, u32, u32, u32, u32, u32);
        "path_symlink"(u32, u32, u32, u32, u32);
        "path_unlink_file"(u32, u32, u32);
    }
    Ok(())
}

/// Evaluates to the value, or answers with the error number.
macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => return Ok(Err(errno)),
        }
    };
}

/// The first piece of memory, of a list of such, that is not empty: what of it is used in one call.
fn first_piece(memory: &Memory<'_>, iovs: u32, count: u32) -> wasmtime::Result<Result<(u32, u32), i32>> {
    if count > PIECES {
        return Ok(Err(errno::INVAL));
    }
    for number in 0..count {
        let entry = iovs.wrapping_add(8 * number);
        let (at, len) = (memory.u32(entry)?, memory.u32(entry.wrapping_add(4))?);
        if len > 0 {
            return Ok(Ok((at, len.min(PIECE_BYTES))));
        }
    }
    Ok(Ok((0, 0)))
}

fn fd_read(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, iovs: u32, count: u32, result: u32) -> Answer {
    let (at, len) = attempt!(first_piece(memory, iovs, count)?);
    let into = memory.slice(at, len)?;
    let read = match fd {
        STDIN => guest.stdio.read(into)?,
        STDOUT | STDERR => return Ok(Err(errno::BADF)),
        _ => {
            let (node, position) = {
                let open = attempt!(guest.files.get(fd));
                (open.node.clone(), open.position)
            };
            let read = attempt!(guest.files.read(&node, into, position));
            attempt!(guest.files.get(fd)).position += read as u64;
            read
        }
    };
    memory.write(result, &(read as u32).to_le_bytes()).map(Ok)
}

fn fd_pread(
    memory: &mut Memory<'_>,
    guest: &mut Guest,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    result: u32,
) -> Answer {
    if fd < ROOT {
        return Ok(Err(errno::SPIPE));
    }
    let (at, len) = attempt!(first_piece(memory, iovs, count)?);
    let node = attempt!(guest.files.get(fd)).node.clone();
    let read = attempt!(guest.files.read(&node, memory.slice(at, len)?, offset));
    memory.write(result, &(read as u32).to_le_bytes()).map(Ok)
}

fn fd_write(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, iovs: u32, count: u32, result: u32) -> Answer {
    let (at, len) = attempt!(first_piece(memory, iovs, count)?);
    let bytes = memory.slice(at, len)?;
    match fd {
        STDOUT => guest.stdio.print(bytes)?,
        STDERR if guest.watch.gauge.hears(bytes) => {}
        STDERR => guest.stdio.complain(bytes),
        _ => return Ok(Err(errno::BADF)),
    }
    memory.write(result, &len.to_le_bytes()).map(Ok)
}

fn fd_seek(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, offset: i64, whence: u32, result: u32) -> Answer {
    if fd < ROOT {
        return Ok(Err(errno::SPIPE));
    }
    let node = attempt!(guest.files.get(fd)).node.clone();
    let Node::File(_) = node else { return Ok(Err(errno::ISDIR)) };
    let from = match whence {
        0 => 0,
        1 => attempt!(guest.files.get(fd)).position,
        2 => guest.files.len(&node),
        _ => return Ok(Err(errno::INVAL)),
    };
    let Some(position) = from.checked_add_signed(offset) else { return Ok(Err(errno::INVAL)) };
    attempt!(guest.files.get(fd)).position = position;
    memory.write(result, &position.to_le_bytes()).map(Ok)
}

fn fd_tell(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, result: u32) -> Answer {
    fd_seek(memory, guest, fd, 0, 1, result)
}

fn fd_close(_: &mut Memory<'_>, guest: &mut Guest, fd: u32) -> Answer {
    // A stream that is closed takes and gives as before: nobody else would get its number.
    Ok(if fd < ROOT { Ok(()) } else { guest.files.close(fd) })
}

fn fd_renumber(_: &mut Memory<'_>, guest: &mut Guest, fd: u32, to: u32) -> Answer {
    Ok(guest.files.renumber(fd, to))
}

fn fd_advise(_: &mut Memory<'_>, guest: &mut Guest, fd: u32, _offset: u64, _len: u64, _advice: u32) -> Answer {
    Ok(guest.files.get(fd).map(|_| ()))
}

fn fd_fdstat_get(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, result: u32) -> Answer {
    let (kind, rights, inheriting) = match fd {
        STDIN => (UNKNOWN, RIGHT_READ | RIGHT_POLL, 0),
        STDOUT | STDERR => (UNKNOWN, RIGHT_WRITE | RIGHT_POLL, 0),
        _ => match attempt!(guest.files.get(fd)).node {
            Node::Dir(_) => (DIRECTORY, DIR_RIGHTS, DIR_RIGHTS | FILE_RIGHTS),
            Node::File(_) => (REGULAR_FILE, FILE_RIGHTS, 0),
        },
    };
    let mut fdstat = [0; 24];
    fdstat[0] = kind;
    fdstat[8..16].copy_from_slice(&rights.to_le_bytes());
    fdstat[16..24].copy_from_slice(&inheriting.to_le_bytes());
    memory.write(result, &fdstat).map(Ok)
}

fn fd_fdstat_set_flags(_: &mut Memory<'_>, guest: &mut Guest, fd: u32, _flags: u32) -> Answer {
    Ok(Err(if fd < ROOT || guest.files.is_open(fd) { errno::NOTSUP } else { errno::BADF }))
}

fn fd_filestat_get(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, result: u32) -> Answer {
    let node = if fd < ROOT { None } else { Some(attempt!(guest.files.get(fd)).node.clone()) };
    let mut filestat = filestat(guest, node.as_ref());
    if fd == STDIN {
        // As for a shell's `< file`: who knows how much will come need not guess how much memory to take.
        filestat[32..40].copy_from_slice(&guest.stdio.left().to_le_bytes());
    }
    memory.write(result, &filestat).map(Ok)
}

/// About a file, a folder or a stream: alike on every machine, and without times.
fn filestat(guest: &Guest, node: Option<&Node>) -> [u8; 64] {
    let mut filestat = [0; 64];
    filestat[16] = match node {
        None => UNKNOWN,
        Some(Node::Dir(_)) => DIRECTORY,
        Some(Node::File(_)) => REGULAR_FILE,
    };
    if let Some(node) = node {
        filestat[8..16].copy_from_slice(&guest.files.inode(node).to_le_bytes());
        filestat[24..32].copy_from_slice(&1_u64.to_le_bytes());
        filestat[32..40].copy_from_slice(&guest.files.len(node).to_le_bytes());
    }
    filestat
}

/// The name under which the root folder is open before the program begins.
const ROOT_NAME: &[u8] = b"/";

fn fd_prestat_get(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, result: u32) -> Answer {
    if fd != ROOT || !guest.files.is_open(fd) {
        return Ok(Err(errno::BADF));
    }
    let mut prestat = [0; 8];
    prestat[4..].copy_from_slice(&(ROOT_NAME.len() as u32).to_le_bytes());
    memory.write(result, &prestat).map(Ok)
}

fn fd_prestat_dir_name(memory: &mut Memory<'_>, guest: &mut Guest, fd: u32, path: u32, len: u32) -> Answer {
    if fd != ROOT || !guest.files.is_open(fd) {
        return Ok(Err(errno::BADF));
    }
    if (len as usize) < ROOT_NAME.len() {
        return Ok(Err(errno::NAMETOOLONG));
    }
    memory.write(path, ROOT_NAME).map(Ok)
}

fn fd_readdir(
    memory: &mut Memory<'_>,
    guest: &mut Guest,
    fd: u32,
    buffer: u32,
    len: u32,
    cookie: u64,
    result: u32,
) -> Answer {
    let Node::Dir(path) = attempt!(guest.files.get(fd)).node.clone() else { return Ok(Err(errno::NOTDIR)) };
    let mut entries = Vec::new();
    let all = guest.files.list(&path).into_iter().zip(1_u64..);
    for ((name, node), next) in all.skip(usize::try_from(cookie).unwrap_or(usize::MAX)) {
        let kind = if let Node::Dir(_) = node { DIRECTORY } else { REGULAR_FILE };
        entries.extend_from_slice(&next.to_le_bytes());
        entries.extend_from_slice(&guest.files.inode(&node).to_le_bytes());
        entries.extend_from_slice(&(name.len() as u32).to_le_bytes());
        entries.extend_from_slice(&[kind, 0, 0, 0]);
        entries.extend_from_slice(name.as_bytes());
        if entries.len() >= len as usize {
            break;
        }
    }
    // The last entry may be cut off: the program then asks again, for more room.
    entries.truncate(len as usize);
    memory.write(buffer, &entries)?;
    memory.write(result, &(entries.len() as u32).to_le_bytes()).map(Ok)
}

#[allow(clippy::too_many_arguments, reason = "as WASI has it")]
fn path_open(
    memory: &mut Memory<'_>,
    guest: &mut Guest,
    fd: u32,
    _flags: u32,
    path: u32,
    len: u32,
    how: u32,
    rights: u64,
    _inheriting: u64,
    _fd_flags: u32,
    result: u32,
) -> Answer {
    let found = guest.files.find(fd, memory.slice(path, len)?);
    if found == Err(errno::NOENT) && how & OPEN_CREATE != 0 {
        return Ok(Err(errno::ROFS));
    }
    let node = attempt!(found);
    let is_dir = matches!(node, Node::Dir(_));
    if how & OPEN_DIRECTORY != 0 && !is_dir {
        return Ok(Err(errno::NOTDIR));
    }
    if how & OPEN_TRUNCATE != 0 || rights & RIGHT_WRITE != 0 && !is_dir {
        return Ok(Err(errno::ROFS));
    }
    let opened = attempt!(guest.files.open(node));
    memory.write(result, &opened.to_le_bytes()).map(Ok)
}

fn path_filestat_get(
    memory: &mut Memory<'_>,
    guest: &mut Guest,
    fd: u32,
    _flags: u32,
    path: u32,
    len: u32,
    result: u32,
) -> Answer {
    let node = attempt!(guest.files.find(fd, memory.slice(path, len)?));
    memory.write(result, &filestat(guest, Some(&node))).map(Ok)
}

#[allow(clippy::too_many_arguments, reason = "as WASI has it")]
fn path_readlink(
    memory: &mut Memory<'_>,
    guest: &mut Guest,
    fd: u32,
    path: u32,
    len: u32,
    _buffer: u32,
    _buffer_len: u32,
    _result: u32,
) -> Answer {
    // There are no links.
    attempt!(guest.files.find(fd, memory.slice(path, len)?));
    Ok(Err(errno::INVAL))
}
