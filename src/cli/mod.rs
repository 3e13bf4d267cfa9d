//! The command line: what a person writes, sees and is told.

mod args;
mod bench;
mod config;
mod data;
mod doctor;
mod explain;
mod fail;
mod failures;
mod follow;
mod input;
mod jobs;
mod join;
mod legs;
mod new;
mod owner;
mod pace;
mod peers;
mod present;
mod program;
mod progress;
mod python;
mod reasons;
mod run;
mod say;
mod shell;
mod stream;
mod top;
mod tree;

use std::process::ExitCode;

pub use fail::Fail;

use crate::control::Wish;

/// Runs the command that the process was started with. The exit status is 0 only if all of it was done, 2 for a
/// wrong use, 130 when the person broke it off, and 1 for everything else.
#[must_use]
pub fn main() -> ExitCode {
    crate::sandbox::become_one();
    let args::Parsed { global, command, configured } = match args::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Clap has its own exit status: 0 for --help, 2 for a wrong use.
            let status = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    say::init(&global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail::show(&global, &Fail::new(format!("cannot start threads: {error}"), "raise `ulimit -u`"));
        }
    };
    let done = runtime.block_on(async {
        match command {
            args::Command::Join(join) => join::join(&global, &join).await,
            args::Command::Run(run) => run::run(&global, *run).await,
            args::Command::New { path } => new::new(&global, &path),
            args::Command::Jobs => jobs::list(&global).await,
            args::Command::Attach(attach) => jobs::attach(&global, &attach).await,
            args::Command::Results(results) => jobs::results(&global, &results).await,
            args::Command::Cancel(cancel) => jobs::cancel(&global, &cancel).await,
            args::Command::Peers(peers) => peers::peers(&global, &peers).await,
            args::Command::Explain(what) => explain::explain(&global, &what).await,
            args::Command::Doctor => doctor::doctor(&global).await,
            args::Command::Top => top::top(&global).await,
            args::Command::Shell(setup) => shell::set_up(&global, &setup),
            args::Command::Bench(bench) => bench::bench(&global, *bench).await,
            args::Command::Config => owner::show(&configured),
            args::Command::Status => owner::tell(&global, Wish::Status).await,
            args::Command::Pause => owner::tell(&global, Wish::Pause).await,
            args::Command::Resume => owner::tell(&global, Wish::Resume).await,
            args::Command::Finish => owner::tell(&global, Wish::Finish).await,
        }
    });
    // A thread that waits for standard input would hold the process up for ever.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => fail::show(&global, &fail),
    }
}
