//! The reference: the same work in this process, on threads, with nothing around it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use essaim_worker::{ChunkSpec, Engine, EngineConfig, Interrupt, JobSpec, Program, StopFlag};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::suite::{Input, Kind};
use super::{PROGRAM, kernels};
use crate::cli::Fail;

/// Pieces that a thread gets, about: so many that it is seldom idle at the end.
const PIECES: usize = 64;

/// Threads of this process.
pub struct Native(ThreadPool);

impl Native {
    /// So many of them.
    ///
    /// # Errors
    /// The machine has no more threads.
    pub fn new(threads: u16) -> Result<Native, Fail> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build();
        pool.map(Native).map_err(|error| Fail::new(format!("cannot start threads: {error}"), "raise `ulimit -u`"))
    }

    /// Does the work: how long that took, and what came out.
    ///
    /// # Errors
    /// The kernel does not take its input, which would be a bug.
    pub fn run(&self, kind: &Kind, input: &Input) -> Result<(Duration, blake3::Hash), Fail> {
        let pieces = pieces(input, PIECES * self.0.current_num_threads());
        let began = Instant::now();
        let outputs: Vec<Result<Vec<u8>, String>> =
            self.0.install(|| pieces.par_iter().map(|piece| compute(kind, piece)).collect());
        let took = began.elapsed();
        Ok((took, kind.answer.of(outputs.into_iter()).map_err(|error| Fail::new(error, "please report it"))?))
    }
}

fn compute(kind: &Kind, piece: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    kernels::run(kind.kernel, piece, &mut out).map(|()| out)
}

/// The input in about so many pieces, each as a chunk would be given it.
fn pieces(input: &Input, count: usize) -> Vec<Vec<u8>> {
    match input {
        Input::Range(end) => {
            let step = end.div_ceil(count as u64).max(1);
            (0..*end).step_by(step as usize).map(|from| format!("{from}..{}", end.min(&(from + step))).into()).collect()
        }
        Input::Text(text) => {
            let size = text.len().div_ceil(count).max(1);
            let (mut pieces, mut rest) = (Vec::new(), &text[..]);
            while !rest.is_empty() {
                let least = size.min(rest.len()) - 1;
                let end = rest[least..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| least + at + 1);
                pieces.push(rest[..end].to_vec());
                rest = &rest[end..];
            }
            pieces
        }
    }
}

/// The program as a sandbox process runs it, on one thread.
pub struct Guest(Program);

impl Guest {
    /// Compiles it.
    ///
    /// # Errors
    /// It is no program, which would be a bug.
    pub fn new() -> Result<Guest, Fail> {
        let config = EngineConfig { threads: 1, interrupt: Interrupt::Process, ..EngineConfig::default() };
        let engine = Engine::new(config).map_err(|error| Fail::of(&error, error.hint()))?;
        engine.load(PROGRAM).map(Guest).map_err(|error| Fail::of(&error, error.hint()))
    }

    /// How many times longer than a native thread it takes for a part of the work: the median of some tries, in turns.
    ///
    /// # Errors
    /// It fails at it.
    pub fn slower(&self, kind: &Kind, part: &Input) -> Result<f64, Fail> {
        let piece = pieces(part, 1).swap_remove(0);
        let mut spec = JobSpec { argv: vec![kind.kernel.to_owned()], ..JobSpec::default() };
        spec.limits.millis = 600_000;
        let mut ratios = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            compute(kind, &piece).map_err(|error| Fail::new(error, "please report it"))?;
            let native = began.elapsed();
            let input = Bytes::copy_from_slice(&piece);
            let ran = self.0.run(&spec, ChunkSpec::map(0), input, &StopFlag::default());
            let ran = ran.map_err(|failure| Fail::new(format!("{failure:?}"), "please report it"))?;
            ratios.push(ran.cpu_micros as f64 / 1e6 / native.as_secs_f64().max(1e-9));
        }
        ratios.sort_by(f64::total_cmp);
        Ok(ratios[ratios.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::{ALL, Pace};
    use super::*;

    #[test]
    fn an_answer_does_not_depend_on_how_the_input_is_cut() {
        for kind in &ALL {
            let (items, input) = kind.input(0.002, Pace(1.0));
            let answer = |count| {
                let outputs = pieces(&input, count).iter().map(|piece| compute(kind, piece)).collect::<Vec<_>>();
                kind.answer.of(outputs.into_iter()).unwrap()
            };
            let whole = answer(1);
            for count in [2, 7, 64] {
                assert_eq!(answer(count), whole, "{} of {items} items in {count}", kind.name);
            }
            assert_eq!(Native::new(2).unwrap().run(kind, &input).unwrap().1, whole, "{}", kind.name);
            let (more, other) = kind.input(0.004_f64.max(2.0 / kind.items as f64), Pace(1.0));
            assert!(more > items);
            let other = pieces(&other, 1).iter().map(|piece| compute(kind, piece)).collect::<Vec<_>>();
            assert_ne!(kind.answer.of(other.into_iter()).unwrap(), whole, "{}: twice the work", kind.name);
        }
    }
}
