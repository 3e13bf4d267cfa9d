//! `essaim run`: from a program and an input to the output.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use essaim_jobs::{BlobId, Halt, Limits, Mount, Role, encode};
use essaim_worker::{Engine, EngineConfig, JobSpec, Mode};
use serde_json::json;

use super::args::{Global, Reduce, Run};
use super::data::Data;
use super::fail::Fail;
use super::follow::{self, Compile, Followed};
use super::input::{Cut, Threads, Trial, Way};
use super::legs::Coming;
use super::peers::say_distrusted;
use super::present::{Destination, folded_in_order};
use super::program::Checked;
use super::say::{count, say};
use super::stream::Reader;
use super::{data, input, join, program, python};
use crate::machine::{all_cpus, half_memory};
use crate::peer::{Job, Peer, Submission, Terms};
use crate::store::{Draft, Home};

/// Runs the program over the swarm.
///
/// # Errors
/// What the person got wrong, what failed, or that it was broken off.
pub async fn run(global: &Global, mut run: Run) -> Result<(), Fail> {
    let began = Instant::now();
    let cpus = run.cpus.unwrap_or_else(all_cpus);
    let way = Way::of(&run)?;
    let script = python::interpret(&mut run)?;
    let path = program::find(global, &run.program).await?;
    let of = Of { path, script };
    let home = join::home(global)?;
    if run.dry_run {
        let plan = tokio::task::block_in_place(|| Plan::of(global, &run, way, of, &home, &|| cpus.into()))?;
        return plan.show(global, &run);
    }
    let mut to = Destination::open(&run.out, run.resume)?;
    let wishes = join::listen(home.dir())?;
    let peer = join::start(global, home, run.sandbox, Terms::always(cpus, half_memory())).await?;
    // It finds others while the program is compiled and tried.
    let threads = way.is_open().then(|| Threads::look(peer.net().clone(), cpus));
    let known = || threads.as_ref().map_or(cpus.into(), Threads::known);
    let plan = tokio::task::block_in_place(|| Plan::of(global, &run, way, of, peer.home(), &known))?;
    drop(threads);
    let (what, folds, combines) = (plan.words(), plan.folds, plan.combines);
    let (lends, leaves, resumes) = (cpus > 0, run.detach, run.resume);
    if folds && resumes {
        // A job that stands is not touched where it cannot be folded.
        plan.program.compiled()?;
    }
    let (work, program, draft, Cut { how, more }) = plan.into_work(run);
    let fold = folds.then(|| -> Compile { Box::new(move || program.compiled().cloned()) });
    let (chunks, bytes) = (draft.chunks(), draft.bytes());
    let job = peer.submit(work.submission(draft, 0)).await.map_err(|e| Fail::of(&e, e.hint()))?;
    let fields = json!({
        "job": job.id.to_string(), "name": work.name, "chunks": chunks, "bytes": bytes, "cut": how.fields(),
    });
    say(global, format!("essaim: {what}"), "submitted", fields);
    if resumes {
        say_resumed(global, &job);
    }
    if !job.again {
        to.anew()?;
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
    let source = more.map(Reader::start).transpose().map_err(|error| {
        Fail::new(format!("cannot start a thread for standard input: {error}"), "raise `ulimit -u`")
    })?;
    let work = Arc::new(work);
    let combine = combines.map(|if_worth| Combine { work: Arc::clone(&work), if_worth });
    let coming = source.map(|source| Coming { source, work, first_bytes: bytes });
    let followed = Followed { job, to, fold, lends, began, coming, combine };
    if leaves {
        follow::leave(global, peer, wishes, followed).await
    } else {
        follow::to_the_end(global, peer, wishes, followed).await
    }
}

/// How the outputs of a run are combined.
pub struct Combine {
    pub work: Arc<Work>,
    /// Only if it is worth while.
    pub if_worth: bool,
}

/// What the jobs of one run have in common.
pub struct Work {
    pub name: String,
    program: Bytes,
    run: Run,
    data: Data,
    values: u8,
    limits: Limits,
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
            values: self.values,
            env: run.env.clone(),
            draft,
            data: self.data.mounts.clone(),
            limits: self.limits,
            strict: run.strict,
            copies: run.copies,
            retries: run.retries,
            halt: run.halt,
            folds: self.folds,
            keep: run.keep,
            resume: run.resume,
            reuse: self.reuse,
        }
    }

    /// The job that combines outputs, by the chunks of `draft`, which have numbers from `first_chunk` on. It is of use to
    /// this run only.
    pub fn combination(&self, draft: Draft, first_chunk: u32) -> Submission {
        Submission {
            role: Role::Combine,
            halt: Halt::default(),
            folds: false,
            keep: Duration::ZERO,
            resume: false,
            reuse: false,
            ..self.submission(draft, first_chunk)
        }
    }

    /// Bytes that an output has at most.
    pub fn most_output_bytes(&self) -> u64 {
        self.limits.output_bytes
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
}

/// What is to be run.
pub struct Of {
    pub path: PathBuf,
    /// The script that it is to interpret.
    pub script: Option<String>,
}

/// What is to be run, and how.
pub struct Plan {
    program: Checked,
    /// Whether it folds its outputs.
    folds: bool,
    /// Whether these are combined before, and then whether only if it is worth while.
    combines: Option<bool>,
    draft: Draft,
    cut: Cut,
    data: Data,
    /// How many values each chunk has for its arguments.
    values: u8,
    limits: Limits,
}

impl Plan {
    /// Checks the program, tries it or lets it split, and writes down what the job takes. Blocks.
    ///
    /// # Errors
    /// It is no program, or cannot be had from this input; the disk is full.
    pub fn of(
        global: &Global,
        run: &Run,
        way: Way,
        of: Of,
        home: &Home,
        threads: &(dyn Fn() -> u32 + Sync),
    ) -> Result<Plan, Fail> {
        let mode = Mode { metered: false, strict: run.strict };
        let config = EngineConfig { threads: 1, mode, ..EngineConfig::default() };
        let engine = Engine::new(config).map_err(|e| Fail::of(&e, e.hint()))?;
        let mut program = program::check(engine, of.path)?;
        program.name = of.script.unwrap_or(program.name);
        let limits = Limits {
            memory_bytes: run.memory,
            output_bytes: run.output,
            millis: run.timeout.as_millis().try_into().unwrap_or(u64::MAX),
            fuel: run.fuel,
        };
        let mut draft = Draft::new(home).map_err(|error| input::full(home.dir(), &error))?;
        let data = data::open(&run.data, home, &mut draft)?;
        let seed = BlobId::of(&program.bytes).0;
        let values = way.values(&run.args);
        let spec = JobSpec {
            argv: run.args.clone(),
            values,
            env: run.env.clone(),
            data: data.mounted.clone().into(),
            seed,
            limits,
        };
        let work = encode(&(seed, &spec.argv, &spec.env, &data.mounts, limits.memory_bytes, run.strict));
        let sizes = (!run.no_cache).then(|| &**home.store());
        let trial = Trial { program: &program, spec, threads, sizes, work };
        let cut = input::cut(global, run, way, &trial, home, &mut draft)?;
        let folds = folds(run, &program)?;
        let combines = combines(run, &program, folds)?;
        Ok(Plan { program, folds, combines, draft, cut, data, values, limits })
    }

    /// What is to be submitted, its program, the chunks of its first job, and how they were cut.
    pub fn into_work(self, run: Run) -> (Work, Checked, Draft, Cut) {
        let Plan { program, folds, draft, cut, data, values, limits, .. } = self;
        // How a stream is cut depends on the time: what comes out is of no use to others.
        let reuse = !run.no_cache && cut.more.is_none();
        let (name, bytes) = (program.name.clone(), program.bytes.clone());
        (Work { name, program: bytes, run, data, values, limits, folds, reuse }, program, draft, cut)
    }

    /// What is run, in words.
    fn words(&self) -> String {
        let (chunks, bytes) = (count(self.draft.chunks(), "chunk"), size(self.draft.bytes()));
        let more = if self.cut.more.is_some() { ", and more is being read" } else { "" };
        format!("{}: {chunks} ({bytes}, {}{more})", self.program.name, self.cut.how.words())
    }

    /// Says what would be run.
    fn show(&self, global: &Global, run: &Run) -> Result<(), Fail> {
        let Plan { program, folds, combines, draft, data, .. } = self;
        let (chunks, bytes, what) = (draft.chunks(), draft.bytes(), self.words());
        let fold = match (folds, combines) {
            (true, Some(false)) => "its outputs are combined in the swarm, and folded by the program itself",
            (true, Some(true)) => {
                "its outputs are folded by the program itself, and combined in the swarm before if they are large"
            }
            (true, None) => "its outputs are folded by the program itself",
            (false, _) => "its outputs are printed in order",
        };
        let program = program.path.display();
        let mut words = format!("essaim: would run {what}; {fold}\n  program {program}\n  arguments {:?}", run.args);
        for Mount { name, blob } in &data.mounts {
            words.push_str(&format!("\n  data {} ({})", name.as_str(), size(blob.len)));
        }
        let named: Vec<&str> = data.mounts.iter().map(|data| data.name.as_str()).collect();
        let fields = json!({
            "name": what, "chunks": chunks, "bytes": bytes, "reduce": folds, "combine": combines.is_some(), "args": run.args, "data": named,
            "cut": self.cut.how.fields(),
        });
        say(global, words, "dry-run", fields);
        Ok(())
    }
}

/// Whether the program is to fold its outputs.
fn folds(run: &Run, program: &Checked) -> Result<bool, Fail> {
    let can = program.outline.roles.reduce;
    if run.reduce.is_some() && !can {
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

/// Whether outputs are combined in the swarm before they are folded, and then whether only if it is worth while.
fn combines(run: &Run, program: &Checked, folds: bool) -> Result<Option<bool>, Fail> {
    let can = program.outline.roles.combine;
    let how = run.reduce.unwrap_or_default();
    if how == Reduce::Tree && !can {
        let hint = "--reduce=here folds them on this machine; in Rust, `essaim_guest::main!(map: .., combine: .., \
                    reduce: ..)` makes one that can";
        return Err(Fail::new(format!("the program {} cannot combine its outputs", program.name), hint).with_status(2));
    }
    let combines = can && folds && !run.detach && how != Reduce::Here;
    Ok(combines.then_some(how == Reduce::Auto))
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

/// A size for people.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
