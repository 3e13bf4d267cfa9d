//! One kernel as a WASI command: `NAME SIZE` on standard input, its number on standard output.

#![allow(clippy::print_stdout, reason = "a command")]

use std::io::{Read, stdin};

fn main() {
    let mut input = String::new();
    let read = stdin().read_to_string(&mut input).is_ok();
    let words = input.trim().rsplit_once(' ').filter(|_| read);
    let number = words.and_then(|(name, size)| essaim_kernels::run(name, size.parse().ok()?));
    match number {
        Some(number) => println!("{number}"),
        None => {
            eprintln!("a kernel and its size, not {input:?}");
            std::process::exit(2);
        }
    }
}
