//! What it costs to say no size: five inputs, each cut as essaim chooses and by several hand-picked sizes, on two worker
//! processes of one thread each. Whole commands by the wall, the trying included; medians of rounds in which all sizes
//! take turns, so that a busy machine is busy for all of them.
//!
//! `cargo bench --bench splitting`, or `cargo bench --bench splitting -- dear` for those whose name has that in it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails should say where")]

use std::fmt::Write;
use std::path::PathBuf;

use essaim_worker::{ChunkSpec, Engine, EngineConfig, Interrupt, JobSpec, Program, StopFlag};

use swarm::Swarm;

mod swarm;

const ROUNDS: usize = 5;
const SPIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/guests/spin.wat");
const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/wordcount");
/// How many chunks the hand-picked sizes make, about.
const CHUNKS: [u64; 6] = [16, 64, 256, 1_024, 4_096, 16_384];
/// Bytes of the long text, and of the part of it that says what all of it costs.
const TEXT: usize = 512 << 20;
const PART: usize = 16 << 20;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let swarm = Swarm::start();
    let spin = Compiled::of(SPIN);
    let micro = spin.steps_a_micro();
    println!(
        "{:<22} {:>8} {:>8} {:>6} {:>8} {:>6} {:>6}  {:<24} best by hand",
        "", "ideal s", "auto s", "eff.", "best s", "eff.", "ratio", "chosen"
    );
    let lines = |of: &mut dyn FnMut(u64) -> f64, count: u64| {
        let mut text = String::new();
        for item in 0..count {
            writeln!(text, "{}", (of(item) * micro) as u64).unwrap();
        }
        text.into_bytes()
    };
    let mut chance = Chance(7);
    let mut pareto = move |_| 100.0 * (chance.next().max(1e-4)).powf(-1.0 / 1.5);
    let jobs: [(&str, Vec<u8>); 4] = [
        ("2,000 of 1 ms", lines(&mut |_| 1e3, 2_000)),
        ("64 dear, 100 ms", lines(&mut |_| 1e5, 64)),
        ("1,000,000 of 1 us", lines(&mut |_| 1.0, 1_000_000)),
        ("Pareto, 10,000", lines(&mut pareto, 10_000)),
    ];
    for (name, text) in jobs.iter().filter(|(name, _)| name.contains(&*wanted)) {
        let ideal = spin.seconds(text) / 2.0;
        row(&swarm, name, SPIN, text, ideal);
    }
    if "text, 512 MiB".contains(&*wanted) {
        let text = words();
        let built = built(&swarm, WORDCOUNT);
        let ideal = Compiled::of(&built).seconds(&text[..PART]) / 2.0 * (TEXT / PART) as f64;
        row(&swarm, "text, 512 MiB", &built, &text, ideal);
    }
}

/// Measures one job in all ways.
fn row(swarm: &Swarm, name: &str, program: &str, text: &[u8], ideal: f64) {
    let file = swarm.dir.path().join("input");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let sizes: Vec<u64> = CHUNKS.iter().map(|chunks| (text.len() as u64 / chunks).max(1)).collect();
    let mut auto = Vec::new();
    let mut by_hand = vec![Vec::new(); sizes.len()];
    let mut chosen = String::new();
    swarm.run(&[program, &file], "submitted");
    for _ in 0..ROUNDS {
        let (seconds, submitted) = swarm.run(&[program, &file], "submitted");
        auto.push(seconds);
        chosen = format!("{} chunks of {}", submitted["chunks"], submitted["cut"]["block"]);
        for (size, times) in sizes.iter().zip(&mut by_hand) {
            times.push(swarm.run(&["--block", &size.to_string(), program, &file], "submitted").0);
        }
    }
    let auto = median(&mut auto);
    let by_hand: Vec<f64> = by_hand.iter_mut().map(|times| median(times)).collect();
    let (best, size) = by_hand.iter().copied().zip(&sizes).min_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
    let (ratio, well, better) = (auto / best, ideal / auto, ideal / best);
    println!(
        "{name:<22} {ideal:>8.2} {auto:>8.2} {well:>6.3} {best:>8.2} {better:>6.3} {ratio:>6.3}  {chosen:<24} --block {size}"
    );
    let all: Vec<String> = sizes.iter().zip(&by_hand).map(|(size, time)| format!("{size}: {time:.2}")).collect();
    println!("{:<22} by hand: {}", "", all.join(", "));
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Words of a vocabulary in which the n-th is n times rarer than the first, in lines of ten.
fn words() -> Vec<u8> {
    let mut chance = Chance(11);
    let mut text = Vec::with_capacity(TEXT + 256);
    let mut words = 0;
    while text.len() < TEXT {
        // The inverse of the distribution of 1/n, about.
        let rank = (50_000_f64.powf(chance.next())) as u64;
        text.extend_from_slice(format!("w{rank}").as_bytes());
        words += 1;
        text.push(if words % 10 == 0 { b'\n' } else { b' ' });
    }
    text
}

/// Numbers from 0 to 1, the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A program as a sandbox process runs it.
struct Compiled(Program);

impl Compiled {
    fn of(path: &str) -> Compiled {
        let config = EngineConfig { threads: 1, interrupt: Interrupt::Process, ..EngineConfig::default() };
        Compiled(Engine::new(config).unwrap().load(&std::fs::read(path).unwrap()).unwrap())
    }

    /// On the processor, the best of three.
    fn seconds(&self, input: &[u8]) -> f64 {
        let mut spec = JobSpec::default();
        spec.limits.millis = 600_000;
        let run = || {
            let input = bytes::Bytes::copy_from_slice(input);
            self.0.run(&spec, ChunkSpec::map(0), input, &StopFlag::default()).unwrap().cpu_micros as f64 / 1e6
        };
        (0..3).map(|_| run()).fold(f64::MAX, f64::min)
    }

    fn steps_a_micro(&self) -> f64 {
        let steps = 100_000_000.0;
        steps / (self.seconds(format!("{steps}\n").as_bytes()) * 1e6)
    }
}

/// The program that a folder is built to.
fn built(swarm: &Swarm, folder: &str) -> String {
    let out = swarm.essaim("run").args(["--dry-run", "--json", folder, ":::", "x"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let built = target.join("wasm32-wasip1/release/wordcount.wasm");
    assert!(built.exists(), "{}", built.display());
    built.display().to_string()
}
