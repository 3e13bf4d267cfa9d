//! What more peers would give: the costs that were measured, run through the protocol's simulator.

use std::time::Duration;

use essaim_sim::{Profile, SimPeer, simulate};

use super::super::Fail;
use super::report::{Forecast, Run};
use crate::peer::parted;

/// Chunks that a thread is to have, as the splitting aims at, and what a chunk takes at least, microseconds.
const CHUNKS_A_THREAD: f64 = 240.0;
const LEAST_MICROS: f64 = 2e3;

/// What so many peers of one core each, so far apart, would make of the work of `run`, which has so many items.
///
/// # Errors
/// The simulator does not take it.
pub fn forecast(run: &Run, items: u64, peers: u16, latency: Duration) -> Result<Forecast, Fail> {
    let costs_micros = costs(run, items, peers);
    let chunks = costs_micros.len() as u32;
    let each = SimPeer { threads: 1, speed: 1.0 };
    let peers_of = vec![each; usize::from(peers)];
    let profile = Profile { costs_micros, peers: peers_of, latency, bandwidth: None, lifetimes: None, seed: 1 };
    let found = simulate(&profile).map_err(|error| {
        let words = error.to_string();
        let (message, hint) = parted(&words);
        Fail::new(format!("cannot simulate {peers} peers: {message}"), hint)
    })?;
    let work: f64 = profile.costs_micros.iter().map(|micros| f64::from(*micros) / 1e6).sum();
    let seconds = found.makespan.as_secs_f64();
    Ok(Forecast {
        peers,
        latency: latency.as_secs_f64(),
        chunks,
        seconds,
        ideal: found.ideal.as_secs_f64(),
        speedup: work / seconds.max(1e-9),
        busy: found.busy,
        run_twice: found.run_twice,
    })
}

/// What the chunks would cost if they were cut for so many peers: those that were measured, cut further where they have
/// items for it.
fn costs(run: &Run, items: u64, peers: u16) -> Vec<u32> {
    let seconds = |span: &super::report::Span| (span.to - span.from).max(0.0);
    let all: f64 = run.spans.iter().map(seconds).sum::<f64>() * 1e6;
    let target = (all / f64::from(peers) / CHUNKS_A_THREAD).max(LEAST_MICROS);
    let each = (items * u64::from(run.times) / u64::from(run.chunks.max(1))).max(1);
    let mut costs = Vec::new();
    for span in &run.spans {
        let micros = seconds(span) * 1e6;
        let pieces = ((micros / target).ceil() as u64).clamp(1, each).min(essaim_sim::MOST_CHUNKS as u64);
        let piece = (micros / pieces as f64).clamp(1.0, f64::from(u32::MAX)) as u32;
        costs.extend((0..pieces).map(|_| piece));
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::super::report::{Run, Span, Spread, Went};
    use super::*;

    fn measured(chunks: u32, seconds: f64) -> Run {
        let span =
            |chunk| Span { chunk, peer: 0, from: f64::from(chunk) * seconds, to: f64::from(chunk + 1) * seconds };
        let spread = Spread { median: 1.0, least: 1.0, most: 1.0 };
        let (spans, went) = ((0..chunks).map(span).collect(), Went::default());
        Run { peers: 1, times: 1, seconds: spread, native: None, speedup: 1.0, efficiency: 1.0, chunks, went, spans }
    }

    #[test]
    fn more_peers_are_faster_but_never_than_the_work_allows() {
        let run = measured(64, 0.5);
        let mut last = f64::MAX;
        for peers in [1, 4, 16] {
            let found = forecast(&run, 64_000, peers, Duration::from_millis(1)).unwrap();
            assert!(found.seconds < last && found.seconds >= found.ideal, "{found:?}");
            assert!(found.speedup <= f64::from(peers) && found.speedup > 0.8 * f64::from(peers), "{found:?}");
            last = found.seconds;
        }
    }

    #[test]
    fn items_that_cannot_be_cut_are_not() {
        let run = measured(8, 1.0);
        assert_eq!(costs(&run, 8, 64).len(), 8, "a chunk has one item");
        assert_eq!(costs(&run, 32, 64).len(), 32);
        let all: u64 = costs(&run, 1 << 20, 64).iter().map(|micros| u64::from(*micros)).sum();
        assert!((7_900_000..=8_000_000).contains(&all), "{all}");
        let found = forecast(&run, 8, 64, Duration::from_millis(1)).unwrap();
        assert!(found.speedup <= 8.0, "{found:?}");
    }

    #[test]
    fn what_cannot_be_simulated_is_said_with_what_to_do() {
        let error = forecast(&measured(4, 0.1), 4, 0, Duration::ZERO).unwrap_err();
        let (message, hint) = error.parts();
        assert!(message.contains("0 peers") && !hint.is_empty(), "{message} {hint}");
    }
}
