//! A pipeline over files: reads them, has the words of each counted, and prints the twenty most frequent of all.
//!
//! ```text
//! cargo run --example words -- README.md ARCHITECTURE.md src/*/*.rs
//! ```
//!
//! It says how far it is; Ctrl-C ends the job for everyone. The program that it has run is examples/wordcount, which counts
//! one file anywhere and merges all counts here.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use essaim::swarm::{Bytes, Config, Error, Swarm};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/wordcount");

fn main() -> ExitCode {
    essaim::sandbox::init();
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        eprintln!("words: cannot start threads");
        return ExitCode::FAILURE;
    };
    match runtime.block_on(words(files)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("words: {error}\n  hint: {}", error.hint());
            ExitCode::FAILURE
        }
    }
}

async fn words(files: Vec<PathBuf>) -> Result<(), Error> {
    let swarm = Swarm::join(Config::from_env()?).await?;
    let done = tokio::select! {
        done = count(&swarm, files) => done,
        // What was under way is dropped, and so cancelled.
        _ = tokio::signal::ctrl_c() => Err(Error::Cancelled),
    };
    swarm.shutdown().await;
    let table = done?;
    for line in String::from_utf8_lossy(&table).lines().take(20) {
        println!("{line}");
    }
    Ok(())
}

/// A line a word: the word, a TAB, how often it occurs; the most frequent first.
async fn count(swarm: &Swarm, files: Vec<PathBuf>) -> Result<Bytes, Error> {
    let program = swarm.program(PROGRAM).await?;
    let mut texts = Vec::with_capacity(files.len());
    for path in files {
        let text = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
        texts.push(Bytes::from(text));
    }
    let mut counting = swarm.map::<_, ()>(&program, texts).timeout(Duration::from_secs(600)).reduce();
    loop {
        tokio::select! {
            table = &mut counting => return table,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let progress = counting.progress();
                eprintln!("words: {} of {} files", progress.sealed, progress.chunks);
            }
        }
    }
}
