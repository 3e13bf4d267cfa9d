//! The command `essaim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    essaim::cli::main()
}
