//! Input and output in pieces.

use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use essaim_worker::{ChunkSpec, Failure, Role, StopFlag};

use crate::guests::{echo, job, limits, load, spin};

/// Counts what it is given.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_longer_than_any_limit_in_bounded_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: u64 = 64;
    /// A piece that counts how many of it are alive.
    struct Live(Vec<u8>, Arc<AtomicI64>);
    impl AsRef<[u8]> for Live {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Live {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (live, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let pieces = {
        let (live, most) = (live.clone(), most.clone());
        (0..PIECES).map(move |_| {
            most.fetch_max(live.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Bytes::from_owner(Live(vec![b'a'; PIECE], live.clone()))
        })
    };
    let written = Counter::default();
    let job = limits(|l| {
        l.output_bytes = 1;
        l.memory_bytes = 1 << 20;
        l.millis = 1;
    });
    let outcome = load(&echo())
        .run_streaming(&job, ChunkSpec::once(Role::Reduce), pieces, written.clone(), &StopFlag::default())
        .unwrap();
    assert!(outcome.output.is_empty());
    assert_eq!(written.0.load(Ordering::Relaxed), PIECES * PIECE as u64);
    assert_eq!(live.load(Ordering::Relaxed), 0);
    assert!(most.load(Ordering::Relaxed) <= 2, "{} pieces at a time", most.load(Ordering::Relaxed));
}

/// What is read and written before the input ends, from a channel that an async runtime would guard.
#[test]
fn output_comes_before_the_input_ends() {
    let (input, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let (output, written) = mpsc::sync_channel(16);
    struct Channel(mpsc::SyncSender<Vec<u8>>);
    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let echo = load(&echo());
    let runner = std::thread::spawn(move || {
        let pieces = std::iter::from_fn(move || pieces.blocking_recv());
        echo.run_streaming(&job(), ChunkSpec::once(Role::Reduce), pieces, Channel(output), &StopFlag::default())
    });
    for piece in ["one", "", "two"] {
        input.blocking_send(Bytes::from(piece)).unwrap();
        if !piece.is_empty() {
            assert_eq!(written.recv().unwrap(), piece.as_bytes());
        }
    }
    drop(input);
    runner.join().unwrap().unwrap();
}

#[test]
fn a_writer_that_fails_ends_the_run_by_name() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the pipe burst"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let forever = std::iter::repeat(Bytes::from_static(b"x"));
    let result =
        load(&echo()).run_streaming(&job(), ChunkSpec::once(Role::Reduce), forever, Broken, &StopFlag::default());
    let (failure, _) = result.unwrap_err();
    assert!(matches!(&failure, Failure::Sink { message } if message.contains("the pipe burst")), "{failure:?}");
}

#[test]
fn stop_ends_a_stream_that_computes_and_one_that_reads() {
    for program in [spin(), echo()] {
        let stop = StopFlag::default();
        let runner = std::thread::spawn({
            let (program, stop) = (load(&program), stop.clone());
            let forever = std::iter::repeat(Bytes::from_static(b"x"));
            move || program.run_streaming(&job(), ChunkSpec::once(Role::Reduce), forever, io::sink(), &stop)
        });
        stop.stop();
        assert_eq!(runner.join().unwrap().unwrap_err().0, Failure::Stopped);
    }
}

/// An input that ends because the run was stopped must not be taken for the whole input.
#[test]
fn a_stopped_stream_is_not_a_short_one() {
    let stop = StopFlag::default();
    let pieces = {
        let stop = stop.clone();
        let mut left = 3;
        std::iter::from_fn(move || {
            left -= 1;
            if left == 0 {
                stop.stop();
            }
            (left > 0).then(|| Bytes::from_static(b"x"))
        })
    };
    let result = load(&echo()).run_streaming(&job(), ChunkSpec::once(Role::Reduce), pieces, io::sink(), &stop);
    assert_eq!(result.unwrap_err().0, Failure::Stopped);
}
