//! The reference: rayon, in one process, with nothing between the work and the processor.
//!
//! `native map THREADS CORES SPIN SLICE STEPS SLOW COUNT...` runs so many items of so many steps for each count, and
//! measures before and after, on CORES threads for SLICE times, what SPIN steps take; SLOW is a file that makes the
//! second thread slow when it is told so, or `-`. `native count FILE` counts words.

#[cfg(not(target_family = "wasm"))]
fn main() {
    native::main();
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::fs::FileExt;
    use std::time::Instant;

    use rayon::ThreadPoolBuilder;
    use rayon::prelude::*;
    use rustc_hash::FxHashMap;

    pub fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        match args.first().map(String::as_str) {
            Some("map") => map(&args[1..]),
            Some("count") => print!("{}", count(&args[1])),
            Some("first") => println!("{}", (7..8_u64).into_par_iter().map(|i| peers::item(i, 0)).sum::<u64>()),
            _ => panic!("see its first lines"),
        }
    }

    fn map(args: &[String]) {
        let number = |at: usize| args[at].parse::<u64>().expect("a number");
        let (threads, cores, unit, slice, steps) = (number(0), number(1), number(2), number(3), number(4));
        let slow = args[5].clone();
        ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .start_handler(move |thread| {
                if thread == 1 && slow != "-" {
                    std::fs::write(&slow, "0").expect("the slow group");
                }
            })
            .build_global()
            .expect("the first pool");
        for count in args[6..].iter().map(|count| count.parse::<u64>().expect("a number")) {
            // Warm, like the others.
            black_box((0..64).into_par_iter().map(|i| peers::item(i, steps.min(1_000))).sum::<u64>());
            let before = calibrated(cores, unit, slice);
            let began = Instant::now();
            let results: Vec<u64> = (0..count).into_par_iter().map(|i| peers::item(black_box(i), steps)).collect();
            let wall = began.elapsed().as_secs_f64();
            let after = calibrated(cores, unit, slice);
            let sum = results.iter().fold(0_u64, |sum, result| sum.wrapping_add(*result));
            println!(
                r#"{{"count":{count},"wall":{wall},"before":{before},"after":{after},"results":{},"sum":{sum}}}"#,
                results.len(),
            );
        }
    }

    /// Seconds that `unit` steps take, on so many threads at a time: the mean of `slice` times each.
    fn calibrated(cores: u64, unit: u64, slice: u64) -> f64 {
        let one = || {
            let began = Instant::now();
            for i in 0..slice {
                black_box(peers::spin(black_box(i), unit));
            }
            began.elapsed().as_secs_f64() / slice as f64
        };
        let each: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        each.iter().sum::<f64>() / each.len() as f64
    }

    /// Parts of 4 MiB, each read by the thread that counts it.
    fn count(path: &str) -> String {
        const PART: u64 = 4 << 20;
        const MARGIN: u64 = 64 << 10;
        let file = File::open(path).expect("the text");
        let size = file.metadata().expect("the text").len();
        let parts = (0..size.div_ceil(PART)).into_par_iter().map(|part| {
            let (from, to) = (part * PART, ((part + 1) * PART).min(size));
            let begin = from.saturating_sub(1);
            let mut text = vec![0; ((to + MARGIN).min(size) - begin) as usize];
            file.read_exact_at(&mut text, begin).expect("the text");
            // A line belongs to the part in which it begins.
            let line = |at: u64| match at {
                0 => 0,
                _ if at == size => text.len(),
                _ => {
                    let at = (at - 1 - begin) as usize;
                    at + text[at..].iter().position(|byte| *byte == b'\n').expect("short lines") + 1
                }
            };
            let counts = peers::count(&text[line(from)..line(to)]);
            counts.into_iter().map(|(word, count)| (Box::from(word), count)).collect::<FxHashMap<Box<[u8]>, u64>>()
        });
        let totals = parts.reduce(FxHashMap::default, |mut one, mut other| {
            if one.len() < other.len() {
                std::mem::swap(&mut one, &mut other);
            }
            other.into_iter().for_each(|(word, count)| *one.entry(word).or_default() += count);
            one
        });
        peers::top(totals.iter().map(|(word, count)| (&**word, *count)))
    }
}
