//! What there is to be measured: the kinds of work, their inputs, and what their answers come to.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::kernels;

/// One kind of work.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The work of [`kernels::run`].
    pub kernel: &'static str,
    /// Its items: about a second of one core.
    pub items: u64,
    input: fn(u64, Pace) -> Input,
    pub answer: Answer,
}

/// What an item costs where it is said in steps: so many of them take a microsecond on a native thread of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Pace(pub f64);

/// What a kind of work is given.
#[derive(Clone, Debug)]
pub enum Input {
    /// The integers from 0 to this.
    Range(u64),
    /// Lines.
    Text(Vec<u8>),
}

/// How the outputs of chunks, however they were cut, become one answer.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// One after the other.
    Joined,
    /// Their sum.
    Summed,
    /// The counts of equal words summed.
    Counted,
}

/// All kinds, in the order in which they are run.
pub const ALL: [Kind; 11] = [
    Kind {
        name: "noop",
        about: "items that cost nothing: what is left is essaim",
        kernel: "noop",
        items: 100_000,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
    Kind {
        name: "fixed-1ms",
        about: "items of 1 ms each",
        kernel: "spin",
        items: 1_000,
        input: |items, pace| lines(items, pace, |_| 1e3),
        answer: Answer::Joined,
    },
    Kind {
        name: "fixed-100ms",
        about: "items of 100 ms each: few, and none can be cut",
        kernel: "spin",
        items: 16,
        input: |items, pace| lines(items, pace, |_| 1e5),
        answer: Answer::Joined,
    },
    Kind {
        name: "heavy-tail",
        about: "items whose costs follow a Pareto law (1.5): a few cost as much as most of the others together",
        kernel: "spin",
        items: 3_000,
        input: |items, pace| {
            let mut chance = Chance(7);
            lines(items, pace, move |_| 110.0 * chance.next().max(1e-4).powf(-1.0 / 1.5))
        },
        answer: Answer::Joined,
    },
    Kind {
        name: "primes",
        about: "primes counted by trial division: integers, branches",
        kernel: "primes",
        items: 2_000_000,
        input: |items, _| Input::Range(items),
        answer: Answer::Summed,
    },
    Kind {
        name: "mandelbrot",
        about: "rows of a picture: floating point, uneven rows, 1 KiB out a row",
        kernel: "mandelbrot",
        items: 4_096,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
    Kind {
        name: "n-body",
        about: "systems of five bodies, 1,000 steps each: floating point, square roots",
        kernel: "nbody",
        items: 8_000,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
    Kind {
        name: "sha256",
        about: "SHA-256 of blocks of 64 KiB, without the processor's instructions for it",
        kernel: "sha256",
        items: 3_000,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
    Kind {
        name: "matmul",
        about: "rows of a product of matrices, 256 columns: what a compiler vectorises",
        kernel: "matmul",
        items: 40_000,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
    Kind {
        name: "wordcount",
        about: "words of a generated text counted: input of 64 MiB, read and sent",
        kernel: "wordcount",
        items: 64 << 20,
        input: |items, _| Input::Text(text(items as usize)),
        answer: Answer::Counted,
    },
    Kind {
        name: "shuffle",
        about: "64 KiB out of each item, 128 MiB in all, as a shuffle would send: outputs carried and kept",
        kernel: "shuffle",
        items: 2_048,
        input: |items, _| Input::Range(items),
        answer: Answer::Joined,
    },
];

impl Kind {
    /// The input of so many times the work, or of a part of it.
    pub fn input(&self, times: f64, pace: Pace) -> (u64, Input) {
        let items = ((self.items as f64 * times).round() as u64).max(1);
        (items, (self.input)(items, pace))
    }
}

impl Answer {
    /// The answer of outputs in the order of their chunks, as a hash.
    pub fn of<E>(self, outputs: impl Iterator<Item = Result<Vec<u8>, E>>) -> Result<blake3::Hash, E> {
        let mut hasher = blake3::Hasher::new();
        let mut sum = 0_u64;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for output in outputs {
            let output = output?;
            let number = |digits: &str| digits.trim().parse::<u64>().unwrap_or_default();
            match self {
                Answer::Joined => drop(hasher.update(&output)),
                Answer::Summed => {
                    sum = String::from_utf8_lossy(&output).lines().map(number).fold(sum, u64::wrapping_add);
                }
                Answer::Counted => {
                    for line in String::from_utf8_lossy(&output).lines() {
                        let (word, count) = line.split_once('\t').unwrap_or((line, ""));
                        *counts.entry(word.to_owned()).or_default() += number(count);
                    }
                }
            }
        }
        match self {
            Answer::Joined => {}
            Answer::Summed => drop(hasher.update(sum.to_string().as_bytes())),
            Answer::Counted => {
                for (word, count) in counts {
                    hasher.update(format!("{word}\t{count}\n").as_bytes());
                }
            }
        }
        Ok(hasher.finalize())
    }
}

/// An item a line, in steps, of which each is to take so many microseconds.
fn lines(items: u64, Pace(steps): Pace, mut micros: impl FnMut(u64) -> f64) -> Input {
    let mut text = String::new();
    for item in 0..items {
        let _ = writeln!(text, "{}", (micros(item) * steps) as u64);
    }
    Input::Text(text.into_bytes())
}

/// Words of which the n-th is about n times rarer than the first (Zipf's law), in lines of ten, from a vocabulary of
/// 100,000.
fn text(bytes: usize) -> Vec<u8> {
    let mut chance = Chance(11);
    let mut text = Vec::with_capacity(bytes + 128);
    let mut words = 0;
    while text.len() < bytes {
        // The inverse of the distribution, about.
        let rank = 100_000_f64.powf(chance.next()) as u64;
        let _ = std::io::Write::write_fmt(&mut text, format_args!("w{rank}"));
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

impl Pace {
    /// Of a thread of this machine, the fastest of some tries.
    pub fn measure() -> Pace {
        const STEPS: u64 = 10_000_000;
        let took = |_| {
            let began = std::time::Instant::now();
            std::hint::black_box(kernels::spin(std::hint::black_box(STEPS)));
            began.elapsed().as_secs_f64() * 1e6
        };
        Pace(STEPS as f64 / (0..5).map(took).fold(f64::MAX, f64::min))
    }
}
