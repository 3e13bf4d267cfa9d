//! Programs, as WebAssembly text.

/// A command with one page of memory, `fd_write`, and a body.
pub fn command(body: &str) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        {body})"#
    )
}

/// Never ends.
pub const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#;

/// Never ends where its input begins with `s`; else prints it.
pub const SPIN_OR_ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 1024))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (loop $again (br_if $again (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 115))))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Calls itself for ever.
pub const RECURSION: &str = r#"(module (memory (export "memory") 1) (func $f (export "_start") (call $f) (call $f)))"#;

/// Takes all memory there is, and writes to every page of it.
pub const HOARD: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (local $page i32)
      (loop $again
        (local.set $page (memory.grow (i32.const 16)))
        (if (i32.eq (local.get $page) (i32.const -1)) (then unreachable))
        (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 1) (i32.const 1048576))
        (br $again))))"#;

/// Makes a table grow until it does not.
pub const TABLES: &str = r#"(module (memory (export "memory") 1) (table $t 1 funcref)
    (func (export "_start")
      (loop $again
        (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 4096)) (i32.const -1))))
      unreachable))"#;

/// Declares a table beyond all bounds.
pub const LARGE_TABLE: &str =
    r#"(module (memory (export "memory") 1) (table 100000000 funcref) (func (export "_start")))"#;

/// Prints for ever to a descriptor.
pub fn flood(descriptor: u32) -> String {
    command(&format!(
        "(func (export \"_start\")
          (i32.store (i32.const 0) (i32.const 1024))
          (i32.store (i32.const 4) (i32.const 4096))
          (loop $again
            (drop (call $write (i32.const {descriptor}) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $again)))"
    ))
}

/// A function of so many branches that compiling it takes long.
pub fn slow_to_compile(functions: usize, branches: usize) -> String {
    let mut body = String::new();
    for k in 0..branches {
        body.push_str(&format!(
            "(if (i32.eq (local.get $a) (i32.const {k})) (then (local.set $b (i32.add (local.get $b)
             (i32.mul (local.get $a) (i32.const {k}))))) (else (local.set $a (i32.xor (local.get $b) (i32.const {k})))))\n"
        ));
    }
    let one = |n: usize| format!("(func $f{n} (param $a i32) (local $b i32) {body})");
    let functions: String = (0..functions).map(one).collect();
    format!(r#"(module (memory (export "memory") 1) {functions} (func (export "_start")))"#)
}

/// The binary form of a function with so many blocks one in the other.
pub fn nested(depth: usize) -> Vec<u8> {
    let mut code = vec![0];
    code.extend([2, 0x40].repeat(depth));
    code.extend(vec![0x0b; depth + 1]);
    let number = |mut n: usize| {
        let mut bytes = Vec::new();
        while n >= 128 {
            bytes.push((n % 128) as u8 | 128);
            n /= 128;
        }
        bytes.push(n as u8);
        bytes
    };
    let section = |id: u8, body: Vec<u8>| [vec![id], number(body.len()), body].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, vec![1, 0x60, 0, 0]));
    module.extend(section(3, vec![1, 0]));
    module.extend(section(7, [vec![1, 6], b"_start".to_vec(), vec![0, 0]].concat()));
    module.extend(section(10, [vec![1], number(code.len()), code].concat()));
    module
}

/// Imports a function of WASI, calls it with each descriptor from 3 to 16, and prints the answers, a byte each. What
/// the letters of `parameters` are stands at [`REACHING`].
pub fn call(name: &str, parameters: &str, path: &str) -> String {
    let types: String = parameters.chars().map(|letter| if letter == 'w' { "i64 " } else { "i32 " }).collect();
    let argument = |letter| match letter {
        'f' => "(local.get $fd) ".to_owned(),
        'p' => "(i32.const 1024) ".to_owned(),
        'l' => format!("(i32.const {}) ", path.len()),
        'r' => "(i32.const 2048) ".to_owned(),
        'w' => "(i64.const 1) ".to_owned(),
        _ => "(i32.const 0) ".to_owned(),
    };
    let arguments: String = parameters.chars().map(argument).collect();
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "{name}" (func $evil (param {types}) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2) (data (i32.const 1024) "{path}")
        (func (export "_start") (local $fd i32)
          (i32.store (i32.const 0) (i32.const 512))
          (local.set $fd (i32.const 3))
          (loop $next
            (i32.store8 offset=509 (local.get $fd) (call $evil {arguments}))
            (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $fd) (i32.const 17))))
          (i32.store (i32.const 4) (i32.const 14))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

/// The functions of WASI preview 1 that reach for files or sockets, and what they are called with: `f` a descriptor,
/// `p` and `l` where a path stands and how long it is, `r` room for an answer, `w` a 64-bit 1, `o` nothing.
pub const REACHING: [(&str, &str); 34] = [
    ("fd_advise", "fwwo"),
    ("fd_allocate", "fww"),
    ("fd_close", "f"),
    ("fd_datasync", "f"),
    ("fd_fdstat_get", "fr"),
    ("fd_fdstat_set_flags", "fo"),
    ("fd_fdstat_set_rights", "fww"),
    ("fd_filestat_get", "fr"),
    ("fd_filestat_set_size", "fw"),
    ("fd_filestat_set_times", "fwwo"),
    ("fd_pread", "frowr"),
    ("fd_prestat_dir_name", "frl"),
    ("fd_prestat_get", "fr"),
    ("fd_pwrite", "frowr"),
    ("fd_read", "fror"),
    ("fd_readdir", "frlwr"),
    ("fd_renumber", "ff"),
    ("fd_seek", "fwor"),
    ("fd_sync", "f"),
    ("fd_tell", "fr"),
    ("path_create_directory", "fpl"),
    ("path_filestat_get", "foplr"),
    ("path_filestat_set_times", "foplwwo"),
    ("path_link", "foplfpl"),
    ("path_open", "foplowwor"),
    ("path_readlink", "fplrlr"),
    ("path_remove_directory", "fpl"),
    ("path_rename", "fplfpl"),
    ("path_symlink", "plfpl"),
    ("path_unlink_file", "fpl"),
    ("sock_accept", "for"),
    ("sock_recv", "froorr"),
    ("sock_send", "froor"),
    ("sock_shutdown", "fo"),
];
