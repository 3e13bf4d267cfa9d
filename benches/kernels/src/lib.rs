//! Loops that programs spend their time in. Each takes a size, and returns a number that depends on all it has done.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// A kernel: its name, the size that takes some tens of milliseconds, and the loop.
pub type Kernel = (&'static str, u32, fn(u32) -> u64);

/// All of them.
pub const KERNELS: [Kernel; 7] = [
    ("primes", 8_000_000, primes),
    ("mandelbrot", 300, mandelbrot),
    ("n-body", 400_000, n_body),
    ("sha-256", 16_000_000, sha_256),
    ("matrix product", 320, matrix_product),
    ("word count", 600_000, word_count),
    ("sort", 1_000_000, sort),
];

/// The kernel called `name`, of this size.
#[must_use]
pub fn run(name: &str, size: u32) -> Option<u64> {
    KERNELS.iter().find(|(other, ..)| *other == name).map(|(.., kernel)| kernel(size))
}

/// Numbers without a pattern: splitmix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Builds this crate for WASI, with these flags for the compiler, in a folder `name` of `target`; the program.
///
/// # Errors
/// Cargo cannot be run, or does not build it.
pub fn build(target: &Path, name: &str, flags: &str) -> io::Result<PathBuf> {
    let target = target.join(format!("kernels-{name}"));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--target", "wasm32-wasip1", "--target-dir"]).arg(&target);
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("RUSTFLAGS", flags).status()?;
    if !status.success() {
        return Err(io::Error::other("the kernels do not build for WASI"));
    }
    Ok(target.join("wasm32-wasip1/release/essaim-kernels.wasm"))
}

/// How many primes there are below `n`, by a sieve.
fn primes(n: u32) -> u64 {
    let n = n as usize;
    let mut composite = vec![false; n];
    let mut count = 0;
    for p in 2..n {
        if !composite[p] {
            count += 1;
            // Smaller multiples have a smaller factor; larger squares would not fit into 32 bits.
            if p <= n / p {
                (p * p..n).step_by(p).for_each(|multiple| composite[multiple] = true);
            }
        }
    }
    count
}

/// Iterations over a square of `n` by `n` points.
fn mandelbrot(n: u32) -> u64 {
    let mut all = 0;
    for y in 0..n {
        for x in 0..n {
            let (a, b) = (3.0 * f64::from(x) / f64::from(n) - 2.0, 3.0 * f64::from(y) / f64::from(n) - 1.5);
            let (mut u, mut v, mut k) = (0.0, 0.0, 0);
            while u * u + v * v <= 4.0 && k < 500 {
                (u, v) = (u * u - v * v + a, 2.0 * u * v + b);
                k += 1;
            }
            all += k;
        }
    }
    all
}

/// Five bodies that attract each other, `n` steps.
fn n_body(n: u32) -> u64 {
    let mut draw = numbers(1);
    let mut unit = move || (draw() >> 11) as f64 / (1u64 << 53) as f64;
    let mut at = [[0.0; 3]; 5].map(|point: [f64; 3]| point.map(|_| 10.0 * unit()));
    let mut speed = [[0.0; 3]; 5].map(|point: [f64; 3]| point.map(|_| unit() - 0.5));
    let mass = [40.0, 0.03, 0.01, 0.002, 0.002];
    let step = 0.0001;
    for _ in 0..n {
        for i in 0..5 {
            for j in i + 1..5 {
                let apart: [f64; 3] = std::array::from_fn(|k| at[i][k] - at[j][k]);
                let square: f64 = apart.iter().map(|d| d * d).sum::<f64>() + 0.01;
                let pull = step / (square * square.sqrt());
                for k in 0..3 {
                    speed[i][k] -= apart[k] * mass[j] * pull;
                    speed[j][k] += apart[k] * mass[i] * pull;
                }
            }
        }
        for (at, speed) in at.iter_mut().zip(&speed) {
            for (at, speed) in at.iter_mut().zip(speed) {
                *at += step * speed;
            }
        }
    }
    at.iter().flatten().fold(0, |sum, at| sum ^ at.to_bits())
}

/// The hash of `n` bytes.
fn sha_256(n: u32) -> u64 {
    let mut hash = Sha256::new();
    let block: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    let mut left = n as usize;
    while left > 0 {
        let part = left.min(block.len());
        hash.update(&block[..part]);
        left -= part;
    }
    hash.finalize().iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Two matrices of `n` by `n`, row times column.
fn matrix_product(n: u32) -> u64 {
    let n = n as usize;
    let mut draw = numbers(2);
    let mut matrix = || -> Vec<f64> { (0..n * n).map(|_| (draw() >> 40) as f64).collect() };
    let (a, b) = (matrix(), matrix());
    let mut c = vec![0.0; n * n];
    for (row, out) in a.chunks_exact(n).zip(c.chunks_exact_mut(n)) {
        for (factor, line) in row.iter().zip(b.chunks_exact(n)) {
            for (out, value) in out.iter_mut().zip(line) {
                *out += factor * value;
            }
        }
    }
    c.iter().fold(0, |sum, value| sum ^ value.to_bits())
}

/// How often each of `n` words occurs.
fn word_count(n: u32) -> u64 {
    let mut draw = numbers(3);
    let mut text = String::new();
    for _ in 0..n {
        // Few words are frequent, most are rare.
        let word = 1 + 50_000 / (1 + draw() % 50_000);
        text.push_str(&format!("w{word} "));
    }
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    counts.iter().map(|(word, count)| word.len() as u64 * count * count).fold(0, u64::wrapping_add)
}

/// `n` numbers in order.
fn sort(n: u32) -> u64 {
    let mut draw = numbers(4);
    let mut all: Vec<u64> = (0..n).map(|_| draw()).collect();
    all.sort_unstable();
    all.iter().step_by(1_000).fold(0, |sum, number| sum ^ number)
}
