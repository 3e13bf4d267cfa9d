//! Compiles the program that `essaim bench` sends to peers. Where there is no compiler for WebAssembly, essaim is built
//! without it, and says so when it is asked to measure.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/cli/bench/guest.rs";
const TARGET: &str = "wasm32-wasip1";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed=src/cli/bench/kernels.rs");
    let Some(out) = std::env::var_os("OUT_DIR") else { return };
    let program = Path::new(&out).join("bench.wasm");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(compiler)
        .args(["--edition", "2024", "--target", TARGET, "--crate-name", "bench"])
        .args(["-Copt-level=3", "-Clto=fat", "-Cpanic=abort", "-Cstrip=symbols", "-o"])
        .arg(&program)
        .arg(SOURCE)
        .output();
    match built {
        Ok(output) if output.status.success() => {}
        _ => {
            println!("cargo:warning=`essaim bench` gets no suite: `rustup target add {TARGET}` and build again");
            // A file that is not there has changed each time: it is tried again.
            println!("cargo:rerun-if-changed=no-such-file");
            if let Err(error) = std::fs::write(&program, []) {
                println!("cargo:warning=cannot write {}: {error}", program.display());
            }
        }
    }
}
