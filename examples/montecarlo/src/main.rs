//! What an Asian call option is worth, by Monte Carlo: an estimate a seed.
//!
//! ```text
//! essaim run examples/montecarlo ::: 1 2 3 4
//! essaim run examples/montecarlo ::: $(seq 1000) | awk '{ sum += $2 } END { print sum / NR }'
//! ```
//!
//! A line a seed: `seed<TAB>price<TAB>standard error`. The option pays by how much the mean of a
//! year's weekly prices is above the strike, for which there is no formula. Try it with no swarm:
//! `echo 1 | cargo run -p montecarlo`.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

essaim_guest::main!(map: |seed: u64| {
    let (price, error) = asian_call(seed, 52, 100_000);
    format!("{seed}\t{price:.4}\t{error:.4}\n")
});

const SPOT: f64 = 100.0;
const STRIKE: f64 = 100.0;
/// Interest, a year.
const RATE: f64 = 0.05;
/// Standard deviation of the yearly return.
const VOLATILITY: f64 = 0.2;

/// The price and its standard error, from `paths` simulated years of `steps` prices each.
fn asian_call(seed: u64, steps: u32, paths: u32) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dt = 1.0 / f64::from(steps);
    let drift = (RATE - VOLATILITY * VOLATILITY / 2.0) * dt;
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..paths {
        let (mut log_return, mut total) = (0.0_f64, 0.0);
        for _ in 0..steps {
            log_return += drift + VOLATILITY * dt.sqrt() * normal(&mut rng);
            total += SPOT * log_return.exp();
        }
        let payoff = (-RATE).exp() * (total * dt - STRIKE).max(0.0);
        sum += payoff;
        squares += payoff * payoff;
    }
    let paths = f64::from(paths);
    let mean = sum / paths;
    (mean, ((squares / paths - mean * mean) / paths).sqrt())
}

/// A normally distributed number (Box and Muller, 1958).
fn normal(rng: &mut impl RngExt) -> f64 {
    let (radius, angle): (f64, f64) = rng.random();
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_black_and_scholes() {
        // With one price a year the mean is that price, and there is a formula: 10.4506.
        let (price, error) = asian_call(1, 1, 100_000);
        assert!(error < 0.06 && (price - 10.4506).abs() < 3.0 * error, "{price} ± {error}");
    }

    #[test]
    fn a_seed_is_an_estimate() {
        let (price, error) = asian_call(1, 12, 2_000);
        assert_eq!(asian_call(1, 12, 2_000), (price, error));
        assert_ne!(asian_call(2, 12, 2_000).0, price);
    }
}
