//! What `essaim bench` has computed. Compiled twice, into the node and into the program that is sent round, so that both do
//! the same; so it needs nothing but the standard library.

use std::collections::HashMap;
use std::ops::Range;

/// Bytes of one item of `shuffle`, and of one block of `sha256`.
pub const BLOCK: usize = 64 << 10;
/// Points of a row of `mandelbrot`, and rows of a picture.
const WIDTH: u64 = 1_024;
/// Iterations after which a point counts as in the set.
const LIMIT: u32 = 256;
/// Rows and columns of `matmul`'s matrices.
const SIDE: usize = 256;
/// Steps of one system of `nbody`.
const STEPS: u32 = 1_000;

/// What a piece of work prints.
///
/// # Errors
/// There is no such work, or it is not to be had from this input.
pub fn run(name: &str, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match name {
        "spin" => each_line(input, |steps| out.extend_from_slice(&spin(steps).to_le_bytes())),
        "wordcount" => {
            wordcount(input, out);
            Ok(())
        }
        _ => {
            let range = range(input)?;
            match name {
                "noop" => range.for_each(|n| out.push((n & 255) as u8)),
                "primes" => out.extend_from_slice(format!("{}\n", range.filter(|n| is_prime(*n)).count()).as_bytes()),
                "mandelbrot" => range.for_each(|row| mandelbrot(row, out)),
                "nbody" => range.for_each(|seed| out.extend_from_slice(&nbody(seed).to_bits().to_le_bytes())),
                "sha256" => range.for_each(|seed| out.extend_from_slice(&sha256(&random_bytes(seed)))),
                "matmul" => matmul(range, out),
                "shuffle" => range.for_each(|seed| out.extend_from_slice(&random_bytes(seed))),
                other => return Err(format!("there is no work `{other}`")),
            }
            Ok(())
        }
    }
}

fn range(input: &[u8]) -> Result<Range<u64>, String> {
    let text = std::str::from_utf8(input).unwrap_or_default().trim();
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.ok_or_else(|| format!("`{text}` is no range"))
}

fn each_line(input: &[u8], mut each: impl FnMut(u64)) -> Result<(), String> {
    let text = std::str::from_utf8(input).map_err(|error| error.to_string())?;
    for line in text.lines() {
        each(line.parse().map_err(|error| format!("`{line}`: {error}"))?);
    }
    Ok(())
}

/// A chain of so many steps (Marsaglia's xorshift64), each of which needs the last.
pub fn spin(steps: u64) -> u64 {
    let mut x = 88_172_645_463_325_252;
    for _ in 0..steps {
        x = xorshift(x);
    }
    x
}

fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

fn is_prime(n: u64) -> bool {
    n == 2
        || (n > 2 && !n.is_multiple_of(2) && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d)))
}

/// One row of the picture, a byte a point.
fn mandelbrot(row: u64, out: &mut Vec<u8>) {
    let b = (row % WIDTH) as f64 / WIDTH as f64 * 2.5 - 1.25;
    for column in 0..WIDTH {
        let a = column as f64 / WIDTH as f64 * 3.0 - 2.2;
        let (mut x, mut y, mut steps) = (0.0, 0.0, 0);
        while x * x + y * y <= 4.0 && steps < LIMIT {
            (x, y) = (x * x - y * y + a, 2.0 * x * y + b);
            steps += 1;
        }
        out.push((steps & 255) as u8);
    }
}

/// The energy of five bodies after some steps, by a leapfrog.
fn nbody(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(2) | 1;
    let mut chance = || {
        x = xorshift(x);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut bodies: [([f64; 3], [f64; 3], f64); 5] = std::array::from_fn(|n| {
        let place = [chance() * 20.0, chance() * 20.0, chance() * 20.0];
        (place, [chance() - 0.5, chance() - 0.5, chance() - 0.5], if n == 0 { 30.0 } else { 0.1 + chance() })
    });
    const DT: f64 = 0.001;
    for _ in 0..STEPS {
        for i in 0..bodies.len() {
            for j in i + 1..bodies.len() {
                let apart: [f64; 3] = std::array::from_fn(|k| bodies[i].0[k] - bodies[j].0[k]);
                let square = apart.iter().map(|d| d * d).sum::<f64>() + 0.01;
                let pull = DT / (square * square.sqrt());
                let (one, other) = (bodies[i].2, bodies[j].2);
                for (k, apart) in apart.into_iter().enumerate() {
                    bodies[i].1[k] -= apart * other * pull;
                    bodies[j].1[k] += apart * one * pull;
                }
            }
        }
        for (place, speed, _) in &mut bodies {
            (0..3).for_each(|k| place[k] += DT * speed[k]);
        }
    }
    bodies.iter().map(|(_, speed, mass)| 0.5 * mass * speed.iter().map(|v| v * v).sum::<f64>()).sum()
}

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(BLOCK);
    while bytes.len() < BLOCK {
        x = xorshift(x);
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes
}

/// SHA-256 as FIPS 180-4 has it, with no instructions made for it: the same loop natively and as a guest.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - bytes.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0_u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for i in 16..64 {
            let (a, b) = (w[i - 15], w[i - 2]);
            let a = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let b = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            w[i] = w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = hash;
        for i in 0..64 {
            let s = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let one = h.wrapping_add(s).wrapping_add((e & f) ^ (!e & g)).wrapping_add(ROUND[i]).wrapping_add(w[i]);
            let s = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let two = s.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(two));
        }
        for (word, new) in hash.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(new);
        }
    }
    let mut out = [0; 32];
    out.chunks_exact_mut(4).zip(hash).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    out
}

#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Of each row of a product of two matrices, the sum.
fn matmul(rows: Range<u64>, out: &mut Vec<u8>) {
    let cells = |seed: u64, count: usize| {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            x = xorshift(x);
            (x >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
        };
        (0..count).map(next).collect::<Vec<f64>>()
    };
    let right = cells(1, SIDE * SIDE);
    for row in rows {
        let mut product = [0.0; SIDE];
        for (left, right) in cells(row + 2, SIDE).iter().zip(right.chunks_exact(SIDE)) {
            product.iter_mut().zip(right).for_each(|(sum, right)| *sum += left * right);
        }
        out.extend_from_slice(&product.iter().sum::<f64>().to_bits().to_le_bytes());
    }
}

/// `word<TAB>count`, a line a word, in their order.
fn wordcount(text: &[u8], out: &mut Vec<u8>) {
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    for (word, count) in counts {
        out.extend_from_slice(word);
        out.extend_from_slice(format!("\t{count}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(name: &str, input: &str) -> Vec<u8> {
        let mut out = Vec::new();
        run(name, input.as_bytes(), &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_known_comes_out() {
        assert_eq!(printed("noop", "254..258\n"), [254, 255, 0, 1]);
        assert_eq!(printed("primes", "0..100"), b"25\n");
        // The rows cross the set in the middle, and miss it at the top.
        let (top, middle) = (printed("mandelbrot", "0..1"), printed("mandelbrot", "512..513"));
        assert!(top.iter().all(|steps| *steps > 0) && middle.iter().filter(|steps| **steps == 0).count() > 400);
        assert_eq!(printed("wordcount", "b a b\nb"), b"a\t1\nb\t3\n");
        assert_eq!(printed("spin", "0\n1\n").len(), 16);
        assert_eq!(printed("shuffle", "3..5").len(), 2 * BLOCK);
        let energy = |out: &[u8]| f64::from_bits(u64::from_le_bytes(out.try_into().unwrap()));
        assert!(energy(&printed("nbody", "7..8")) > 0.0);
        assert!(energy(&printed("matmul", "7..8")).is_finite());
    }

    #[test]
    fn sha256_is_that_of_fips_180_4() {
        let hex = |bytes: &[u8]| sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // The length does not fit into the last block.
        assert_eq!(hex(&[b'a'; 56]), "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    }

    #[test]
    fn what_is_no_work_or_no_input_is_said() {
        let said = |name: &str, input: &str| run(name, input.as_bytes(), &mut Vec::new()).unwrap_err();
        assert!(said("dance", "0..1").contains("dance"));
        assert!(said("primes", "seven").contains("seven"));
        assert!(said("spin", "1\nx\n").contains('x'));
    }
}
