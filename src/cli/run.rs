//! `essaim run`: from a program and an input to the output.

use std::time::Instant;

use essaim_jobs::{Limits, Mount, Role};
use essaim_worker::{Engine, EngineConfig, Mode};
use serde_json::json;

use super::args::{Global, Run, all_cpus, half_memory};
use super::fail::Fail;
use super::follow::{self, Followed};
use super::peers::say_distrusted;
use super::present::{Plan, folded_in_order};
use super::program::Checked;
use super::say::{count, say};
use super::{data, input, join, program};
use crate::peer::{Job, Submission, Terms};
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
    let (draft, how, data) = tokio::task::block_in_place(|| compose(global, &run, &home))?;
    let folds = folds(&run, &program)?;
    let (chunks, bytes) = (draft.chunks(), draft.bytes());
    let what = format!("{}: {} ({}, {how})", program.name, count(chunks, "chunk"), size(bytes));
    if run.dry_run {
        let fold =
            if folds { "its outputs are folded by the program itself" } else { "its outputs are printed in order" };
        let program = program.path.display();
        let mut words = format!("essaim: would run {what}; {fold}\n  program {program}\n  arguments {:?}", run.args);
        for Mount { name, blob } in &data {
            words.push_str(&format!("\n  data {} ({})", name.as_str(), size(blob.len)));
        }
        let named: Vec<&str> = data.iter().map(|data| data.name.as_str()).collect();
        let fields = json!({
            "name": what, "chunks": chunks, "bytes": bytes, "reduce": folds, "args": run.args, "data": named,
        });
        say(global, words, "dry-run", fields);
        return Ok(());
    }
    let mut plan = Plan::open(&run.out, run.resume)?;
    let wishes = join::listen(home.dir())?;
    let peer = join::start(global, home, run.sandbox, Terms::always(cpus, half_memory())).await?;
    let limits = Limits {
        memory_bytes: run.memory,
        output_bytes: run.output,
        millis: run.timeout.as_millis().try_into().unwrap_or(u64::MAX),
        fuel: run.fuel,
    };
    let work = Submission {
        name: program.name.clone(),
        program: program.bytes,
        role: Role::Map,
        first_chunk: 0,
        argv: run.args,
        env: run.env,
        draft,
        data,
        limits,
        strict: run.strict,
        copies: run.copies,
        retries: run.retries,
        halt: run.halt,
        folds,
        keep: run.keep,
        resume: run.resume,
        reuse: !run.no_cache,
    };
    let job = peer.submit(work).await.map_err(|e| Fail::of(&e, e.hint()))?;
    let fields = json!({ "job": job.id.to_string(), "name": program.name, "chunks": chunks, "bytes": bytes });
    say(global, format!("essaim: {what}"), "submitted", fields);
    if run.resume {
        say_resumed(global, &job);
    }
    if !job.again {
        plan.anew()?;
    }
    if job.reused > 0 {
        let words = format!(
            "essaim: {} of {} were run before; their results are taken from this machine (--no-cache runs them again)",
            job.reused,
            count(chunks, "chunk")
        );
        say(global, words, "reused", json!({ "reused": job.reused, "chunks": chunks }));
    }
    say_distrusted(global, &job);
    let fold = folds.then_some(program.compiled);
    let followed = Followed { job, plan, fold, lends: cpus > 0, began };
    if run.detach {
        follow::leave(global, peer, wishes, followed).await
    } else {
        follow::to_the_end(global, peer, wishes, followed).await
    }
}

/// Whether the program is to fold its outputs.
fn folds(run: &Run, program: &Checked) -> Result<bool, Fail> {
    let can = program.compiled.roles().reduce;
    if run.reduce && !can {
        let hint = "leave --reduce out to have the outputs as they are; in Rust, `essaim_guest::main!(map: .., reduce: ..)` \
                    makes one that can";
        return Err(Fail::new(format!("the program {} cannot fold its outputs", program.name), hint).with_status(2));
    }
    let folds = can && !run.no_reduce && run.out.results.is_none();
    if folds && run.out.unordered {
        return Err(folded_in_order(&program.name));
    }
    Ok(folds)
}

/// Says whether the run goes on with a job that stood on the disk.
fn say_resumed(global: &Global, job: &Job) {
    let (id, here) = (job.id.short(), job.progress.borrow().sealed);
    let chunks = count(job.manifest.chunks.into(), "chunk");
    let words = if job.again {
        format!("essaim: goes on with job {id}: {here} of {chunks} here")
    } else {
        format!("essaim: no job of this kind stands in this home: job {id} is a new one")
    };
    say(global, words, "resumed", json!({ "job": job.id.to_string(), "again": job.again, "sealed": here }));
}

/// Writes down what the job takes: the draft, how its input was cut, in words, and its data; blocks.
fn compose(global: &Global, run: &Run, home: &Home) -> Result<(Draft, String, Vec<Mount>), Fail> {
    let mut draft = Draft::new(home).map_err(|error| input::full(home, &error))?;
    let how = input::cut(global, run, home, &mut draft)?;
    let data = data::open(&run.data, home, &mut draft)?;
    Ok((draft, how, data))
}

/// A size for people.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
