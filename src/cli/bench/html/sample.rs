//! Reports that nobody has measured, for looking at the page.

use crate::cli::bench::report::{Forecast, Machine, Report, Run, Span, Spread, Went, Workload};

/// Each workload's name, what it is, items, native seconds on one thread, sandbox factor, what is lost beside the work,
/// chunks, and how far their costs lie apart.
type Kind = (&'static str, &'static str, u64, Option<f64>, f64, f64, u32, f64);
const KINDS: [Kind; 11] = [
    ("noop", "Items that do nothing: what an item costs.", 200_000, Some(0.002), 1.6, 0.12, 400, 0.0),
    ("fixed-1ms", "Items of 1 ms each.", 4_000, None, 1.0, 0.05, 500, 0.02),
    ("fixed-100ms", "Items of 100 ms each.", 60, None, 1.0, 0.04, 60, 0.01),
    ("heavy-tailed", "Items of which a few are a thousand times as long as most.", 400, None, 1.0, 0.06, 120, 3.0),
    ("primes", "Counting primes by trial division.", 1_000_000, Some(5.8), 1.1, 0.05, 240, 0.3),
    ("mandelbrot", "Rows of the Mandelbrot set, 1,024 points wide.", 2_048, Some(7.0), 1.04, 0.06, 256, 1.0),
    ("n-body", "Systems of five bodies, 1,000 steps each.", 3_000, Some(4.4), 1.07, 0.05, 240, 0.05),
    ("sha256", "Blocks of 64 KiB, hashed.", 20_000, Some(2.9), 3.3, 0.07, 240, 0.02),
    ("matmul", "Products of two matrices of 256 × 256.", 200, Some(3.1), 1.46, 0.06, 200, 0.03),
    ("wordcount", "Words of a generated text of 64 MiB, counted.", 1_200_000, Some(1.1), 1.37, 0.2, 128, 0.1),
    ("shuffle", "Blocks of 64 KiB, sent back: more output than work.", 2_000, Some(0.3), 1.2, 0.7, 240, 0.1),
];

/// Of a machine of two cores, on so many peers and fewer.
pub fn report(peers: u16) -> Report {
    let sizes: Vec<u16> =
        std::iter::successors(Some(1_u16), |n| n.checked_mul(2)).take_while(|n| *n <= peers).collect();
    let workload = |kind: &Kind| {
        let (name, about, items, native, sandbox, _, _, _) = *kind;
        let weak = sizes.iter().filter(|peers| **peers > 1).map(|peers| (*peers, *peers));
        let runs =
            sizes.iter().map(|peers| (*peers, 1)).chain(weak).map(|(peers, times)| run(kind, peers, times)).collect();
        let forecast = Forecast {
            peers: 500,
            latency: 0.02,
            chunks: 4_321,
            seconds: 0.75,
            ideal: 0.25,
            speedup: 123.4,
            busy: 0.3,
            run_twice: 17,
        };
        let forecasts = if name == "primes" { vec![forecast] } else { Vec::new() };
        Workload {
            name: name.to_owned(),
            about: about.to_owned(),
            items,
            sandbox: native.map(|_| sandbox),
            runs,
            forecasts,
        }
    };
    Report { machine: machine(peers.clamp(2, 32)), rounds: 5, workloads: KINDS.iter().map(workload).collect() }
}

/// One workload of so many short chunks, with gaps between them, on two peers.
pub fn many(chunks: u32) -> Report {
    let mut report = report(2);
    report.workloads.truncate(1);
    for run in &mut report.workloads[0].runs {
        let span = |n: u32| {
            let from = 0.01 + f64::from(n / 2) * 0.000_06 + f64::from(n / 20_000) * 0.4;
            Span { chunk: n, peer: (n % 2) as u16, from, to: from + 0.000_01 * f64::from(1 + n / 10_000 % 6) }
        };
        run.spans = (0..chunks).map(span).collect();
    }
    report
}

pub fn empty() -> Report {
    let kind = Workload {
        name: "n".to_owned(),
        about: "a".to_owned(),
        items: 0,
        sandbox: None,
        runs: Vec::new(),
        forecasts: Vec::new(),
    };
    Report { machine: machine(1), rounds: 1, workloads: vec![kind] }
}

fn machine(cores: u16) -> Machine {
    let (processor, system) = ("Sample & Sons 3000 @ 2.40 GHz".to_owned(), "Linux 6.12, 8 GiB".to_owned());
    Machine { processor, cores, system, version: "0.1.0", began: 1_795_243_200 }
}

fn run(kind: &Kind, peers: u16, times: u16) -> Run {
    let (_, _, items, native, sandbox, lost, chunks, apart) = *kind;
    let one = native.map_or(items as f64 * if items == 60 { 0.1 } else { 0.001 }, |native| native * sandbox);
    let count = chunks * u32::from(times);
    let start = 0.01 + lost * 0.3;
    // A draw for each chunk, whoever asks for it: costs fall off as a power.
    let draw = |n: u32| f64::from(n.wrapping_mul(2_654_435_761) >> 8 & 0xffff) / 65_536.0;
    let costs: Vec<f64> = (0..count).map(|n| (1.0 - draw(n)).max(0.002).powf(-apart / 3.0)).collect();
    let sum: f64 = costs.iter().sum();
    let work = one * f64::from(times);
    let mut free = vec![start; peers.into()];
    let mut spans = Vec::new();
    for (n, cost) in costs.iter().enumerate() {
        let peer = (0..free.len()).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap_or(0);
        let from = free[peer] + lost / f64::from(chunks) * (0.5 + draw(n as u32 + 7));
        let to = from + cost / sum * work;
        free[peer] = to;
        spans.push(Span { chunk: n as u32, peer: peer as u16, from, to });
    }
    let (first, last) = (free.iter().copied().fold(f64::MAX, f64::min), free.iter().copied().fold(0.0, f64::max));
    let (cut, run, tail) = (0.04 * (1.0 - lost), work / f64::from(peers), (last - first) * 0.7);
    let total = cut + last;
    let went = Went { cut, start, run, tail, between: (total - cut - start - run - tail).max(0.0) };
    let seconds = Spread { median: total, least: total * 0.98, most: total * 1.04 };
    let threads = native.map(|native| native * f64::from(times) / f64::from(peers) * 1.01);
    let native = threads.map(|median| Spread { median, least: median * 0.99, most: median * 1.02 });
    let alone = if (peers, times) == (1, 1) { total } else { self::run(kind, 1, 1).seconds.median };
    let speedup = alone / total * f64::from(times);
    let efficiency = threads.map_or(speedup / f64::from(peers), |native| native / total);
    Run { peers, times, seconds, native, speedup, efficiency, chunks: count, went, spans }
}
