//! The program that `essaim bench` sends round: what is on standard input, as its argument says. Built by `build.rs`.

use std::io::{Read, Write};

mod kernels;

fn main() -> Result<(), String> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let (mut input, mut out) = (Vec::new(), Vec::new());
    std::io::stdin().read_to_end(&mut input).map_err(|error| error.to_string())?;
    kernels::run(&name, &input, &mut out)?;
    std::io::stdout().write_all(&out).map_err(|error| error.to_string())
}
