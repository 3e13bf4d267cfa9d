//! `essaim run`: from a program and an input to the output.

use std::io;
use std::num::NonZeroU64;
use std::time::Instant;

use bytes::Bytes;
use essaim_jobs::{Limits, Mount, Role};
use essaim_worker::{Engine, EngineConfig, Mode};
use serde_json::json;

use super::args::{Global, Run, all_cpus, half_memory};
use super::data::Data;
use super::fail::Fail;
use super::follow::{self, Followed};
use super::input::Cut;
use super::legs::Coming;
use super::peers::say_distrusted;
use super::say::{count, say};
use super::stream::Reader;
use super::{data, input, join, program};
use crate::peer::{Peer, Submission, Terms};
use crate::store::{Draft, Home};

/// Runs the program over the swarm.
///
/// # Errors
/// What the person got wrong, what failed, or that it was broken off.
pub async fn run(global: &Global, run: Run) -> Result<(), Fail> {
    let began = Instant::now();
    let cpus = run.cpus.unwrap_or_else(all_cpus);
    let path = program::find(global, &run.program).await?;
    // To check the program and to fold its outputs.
    let mode = Mode { metered: false, strict: run.strict };
    let config = EngineConfig { threads: 1, mode, ..EngineConfig::default() };
    let engine = Engine::new(config).map_err(|e| Fail::of(&e, e.hint()))?;
    let program = tokio::task::block_in_place(|| program::check(&engine, path))?;
    let home = join::home(global)?;
    let (draft, Cut { how, more }, data) = tokio::task::block_in_place(|| compose(global, &run, &home))?;
    let folds = program.compiled.roles().reduce && !run.no_reduce;
    let (chunks, bytes) = (draft.chunks(), draft.bytes());
    let what = format!("{}: {} ({}, {how})", program.name, count(chunks, "chunk"), size(bytes));
    if run.dry_run {
        let fold =
            if folds { "its outputs are folded by the program itself" } else { "its outputs are printed in order" };
        let program = program.path.display();
        let mut words = format!("essaim: would run {what}; {fold}\n  program {program}\n  arguments {:?}", run.args);
        for Mount { name, blob } in &data.mounts {
            words.push_str(&format!("\n  data {} ({})", name.as_str(), size(blob.len)));
        }
        let named: Vec<&str> = data.mounts.iter().map(|data| data.name.as_str()).collect();
        let fields = json!({
            "name": what, "chunks": chunks, "bytes": bytes, "reduce": folds, "args": run.args, "data": named,
        });
        say(global, words, "dry-run", fields);
        return Ok(());
    }
    let wishes = join::listen(home.dir())?;
    let peer = join::start(global, home, run.sandbox, Terms::always(cpus, half_memory())).await?;
    let (lends, leaves) = (cpus > 0, run.detach);
    let fold = folds.then_some(program.compiled);
    // How a stream is cut depends on the time: what comes out is of no use to others.
    let reuse = !run.no_cache && more.is_none();
    let work = Work { name: program.name, program: program.bytes, run, data, folds, reuse };
    let job = peer.submit(work.submission(draft, 0)).await.map_err(|e| Fail::of(&e, e.hint()))?;
    let fields = json!({ "job": job.id.to_string(), "name": work.name, "chunks": chunks, "bytes": bytes });
    say(global, format!("essaim: {what}"), "submitted", fields);
    if job.reused > 0 {
        let words = format!(
            "essaim: {} of {} were run before; their results are taken from this machine (--no-cache runs them again)",
            job.reused,
            count(chunks, "chunk")
        );
        say(global, words, "reused", json!({ "reused": job.reused, "chunks": chunks }));
    }
    say_distrusted(global, &job);
    let source = more.map(Reader::start).transpose().map_err(|error| {
        Fail::new(format!("cannot start a thread for standard input: {error}"), "raise `ulimit -u`")
    })?;
    let coming = source.map(|source| Coming { source, work, first_bytes: bytes });
    let followed = Followed { job, fold, lends, began, coming };
    if leaves {
        follow::leave(global, peer, wishes, followed).await
    } else {
        follow::to_the_end(global, peer, wishes, followed).await
    }
}

/// What the jobs of one run have in common.
pub struct Work {
    pub name: String,
    program: Bytes,
    run: Run,
    data: Data,
    folds: bool,
    reuse: bool,
}

impl Work {
    /// The job over the chunks of `draft`, of which the program sees the first under this number.
    pub fn submission(&self, draft: Draft, first_chunk: u32) -> Submission {
        let run = &self.run;
        Submission {
            name: self.name.clone(),
            program: self.program.clone(),
            role: Role::Map,
            first_chunk,
            argv: run.args.clone(),
            env: run.env.clone(),
            draft,
            data: self.data.mounts.clone(),
            limits: Limits {
                memory_bytes: run.memory,
                output_bytes: run.output,
                millis: run.timeout.as_millis().try_into().unwrap_or(u64::MAX),
                fuel: run.fuel,
            },
            strict: run.strict,
            copies: run.copies,
            retries: run.retries,
            folds: self.folds,
            keep: run.keep,
            reuse: self.reuse,
        }
    }

    /// A draft of another job; blocks.
    ///
    /// # Errors
    /// The disk is full.
    pub fn draft(&self, peer: &Peer) -> io::Result<Draft> {
        let mut draft = peer.draft()?;
        self.data.add_to(&mut draft)?;
        Ok(draft)
    }

    /// The size of a chunk, if the person has said it.
    pub fn block(&self) -> Option<NonZeroU64> {
        self.run.block
    }
}

/// Writes down what the job takes: the draft, how its input was cut, and its data; blocks.
fn compose(global: &Global, run: &Run, home: &Home) -> Result<(Draft, Cut, Data), Fail> {
    let mut draft = Draft::new(home).map_err(|error| input::full(home.dir(), &error))?;
    let cut = input::cut(global, run, home, &mut draft)?;
    let data = data::open(&run.data, home, &mut draft)?;
    Ok((draft, cut, data))
}

/// A size for people.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
