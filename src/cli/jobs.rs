//! `essaim jobs`, `attach`, `results` and `cancel`: what an author does with jobs that stand on the disk.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use essaim_jobs::{JobId, Manifest, Role};
use essaim_worker::{Engine, EngineConfig, Mode, Program, StopFlag};
use serde_json::{Value, json};

use super::args::{Attach, Cancel, Global, Out, Results};
use super::fail::Fail;
use super::failures::Failures;
use super::follow::{self, Compile, Followed};
use super::peers::say_distrusted;
use super::present::{Destination, Folding, Unwritten, folded_in_order, present};
use super::say::{count, say};
use super::{join, owner};
use crate::control::{self, Wish};
use crate::machine::{all_cpus, half_memory};
use crate::peer::{Fold, Job, Leg, Terms, mounted, spec};
use crate::sandbox;
use crate::store::{Home, HomeError, Saved};

/// How long a job that is given up waits to be heard by those who work on it, and for its end.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A job of this user, as it is listed.
pub struct Listed {
    pub job: String,
    pub name: String,
    pub chunks: u64,
    pub sealed: u64,
    pub created_ms: u64,
    /// Followed by a process that runs.
    pub followed: bool,
    pub home: PathBuf,
}

/// What a process says of a job that it follows.
pub fn describe(id: JobId, manifest: &Manifest, sealed: u32) -> Value {
    json!({
        "job": id.to_string(),
        "name": manifest.name.as_str(),
        "chunks": manifest.chunks,
        "sealed": sealed,
        "created_ms": manifest.created_ms,
    })
}

/// Lists the jobs that have not come to their end.
///
/// # Errors
/// A home cannot be read.
pub async fn list(global: &Global) -> Result<(), Fail> {
    let mut jobs = Vec::new();
    for home in homes(global)? {
        jobs.extend(of_home(&home).await?);
    }
    jobs.sort_by_key(|job| job.created_ms);
    if jobs.is_empty() && !global.json {
        say(global, "essaim: no jobs", "jobs", json!({}));
    }
    let width = jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for job in jobs {
        let state = if job.followed { "followed" } else { "detached" };
        let line = if global.json {
            json!({
                "job": job.job, "name": job.name, "chunks": job.chunks, "sealed": job.sealed,
                "created_ms": job.created_ms, "state": state, "home": job.home.to_string_lossy(),
            })
            .to_string()
        } else {
            let (short, name, done) = (&job.job[..8], &job.name, count(job.chunks, "chunk"));
            format!("{short}  {name:width$}  {state}  {} of {done} here, begun {}", job.sealed, ago(job.created_ms))
        };
        // Nobody reads any more.
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(())
}

/// Goes on with a job, and presents its output.
///
/// # Errors
/// As of a run.
pub async fn attach(global: &Global, attach: &Attach) -> Result<(), Fail> {
    let began = Instant::now();
    let cpus = attach.cpus.unwrap_or_else(all_cpus);
    let to = Destination::open(&attach.out, true)?;
    let start = |home| join::start(global, home, attach.sandbox, Terms::always(cpus, half_memory()));
    let (peer, wishes, saved) = match find(global, &attach.job).await {
        Ok((home, saved)) => {
            let wishes = join::listen(home.dir())?;
            (start(home).await?, wishes, saved)
        }
        Err(Missing::Unknown(_)) => {
            // It may have been submitted elsewhere.
            let key = attach.key.as_deref().map(key).transpose()?;
            let home = join::home(global)?;
            let wishes = join::listen(home.dir())?;
            let peer = start(home).await?;
            let words = format!("essaim: asking the swarm for job {}", attach.job);
            say(global, words, "asking", json!({ "job": attach.job }));
            let saved = peer.adopt(&attach.job.to_ascii_lowercase(), key).await.map_err(|e| Fail::of(&e, e.hint()))?;
            if saved.row().manifest.body.role == Role::Combine {
                let hint = "attach the job whose outputs it combines: they are folded here then";
                let refused = Fail::new(format!("job {} only combines outputs of another", saved.id().short()), hint);
                peer.forget(saved.id()).map_err(|e| Fail::of(&e, e.hint()))?;
                peer.shutdown().await;
                return Err(refused);
            }
            (peer, wishes, saved)
        }
        Err(missing) => return Err(missing.into()),
    };
    // Before it is touched: where it cannot be folded it stands as it stood.
    let fold = tokio::task::block_in_place(|| folding(&saved, &attach.out))?;
    let job = peer.attach(saved).await.map_err(|e| Fail::of(&e, e.hint()))?;
    let manifest = &job.manifest;
    let here = u64::from(job.progress.borrow().sealed);
    let words =
        format!("essaim: {}: {here} of {} here", manifest.name.as_str(), count(manifest.chunks.into(), "chunk"));
    say(global, words, "attached", describe(job.id, manifest, here as u32));
    say_distrusted(global, &job);
    let fold = fold.map(|program| -> Compile { Box::new(|| Ok(program)) });
    let followed = Followed { job, to, fold, lends: cpus > 0, began, coming: None, combine: None };
    follow::to_the_end(global, peer, wishes, followed).await
}

/// Prints the outputs that are here, without asking anybody.
///
/// # Errors
/// They are not all here: those before the first that is missing have been printed then.
pub async fn results(global: &Global, results: &Results) -> Result<(), Fail> {
    let (_home, saved) = find(global, &results.job).await?;
    let id = saved.id();
    tokio::task::block_in_place(|| {
        let program = folding(&saved, &results.out)?;
        let (row, inputs, outputs) = saved.open().map_err(|e| Fail::of(&e, e.hint()))?;
        let chunks = row.manifest.body.chunks;
        let here = outputs.sealed().len();
        let missing = || {
            let hint = format!("`essaim attach {}` gets the others", id.short());
            Fail::new(format!("{here} of {} are here", count(chunks.into(), "chunk")), hint)
        };
        if program.is_some() && here < u64::from(chunks) {
            return Err(missing());
        }
        let fold = program.map(|program| -> Result<Folding, Fail> {
            let data = mounted(&inputs, &row.manifest.body, true).map_err(|e| Fail::of(&e, e.hint()))?;
            Ok(Folding { fold: Fold { program, spec: spec(&row.manifest.body, data) }, tree: None })
        });
        outputs.close();
        let (inputs, outputs) = (Arc::new(inputs), Arc::new(outputs));
        let leg = Leg { manifest: Arc::new(row.manifest.body), inputs, outputs };
        let to = Destination::open(&results.out, true)?;
        match present(std::iter::once(leg.clone()), to, fold.transpose()?, &StopFlag::default()) {
            Ok(()) => {
                let mut failures = Failures::default();
                failures.add(&leg);
                failures.words().map_or(Ok(()), Err)
            }
            Err(Unwritten::Ended) => Err(missing()),
            Err(Unwritten::Closed) => Err(Fail::new("", "").with_status(141)),
            Err(Unwritten::Full(message)) => Err(Fail::new(message, "make room, or write elsewhere")),
            Err(Unwritten::Failed(fail)) => Err(fail),
        }
    })
}

/// Ends a job for everyone.
///
/// # Errors
/// There is no such job, it is another author's, or its node cannot start.
pub async fn cancel(global: &Global, cancel: &Cancel) -> Result<(), Fail> {
    let (home, saved) = match find(global, &cancel.job).await {
        Ok(found) => found,
        Err(Missing::Followed { home, id }) => {
            let answer = control::ask(&home, Wish::Cancel(id)).await.map_err(|error| owner::deaf(&home, &error))?;
            return match answer {
                Some(answer) if !answer.is_null() => {
                    say(
                        global,
                        format!("essaim: cancelled job {}", id.short()),
                        "cancelled",
                        json!({ "job": id.to_string() }),
                    );
                    Ok(())
                }
                _ => Err(Fail::new(format!("job {} has just ended", id.short()), "`essaim jobs` lists what there is")),
            };
        }
        Err(Missing::Unknown(_)) => {
            let Some(file) = &cancel.key else {
                let hint = "`essaim jobs` lists those of this user; one that was submitted on another machine is ended with \
                            --key FILE, the file author.key of the home there";
                return Err(Fail::new(format!("there is no job {}", cancel.job), hint));
            };
            return revoke(global, &cancel.job, key(file)?).await;
        }
        Err(missing) => return Err(missing.into()),
    };
    let id = saved.id();
    let peer = join::start(global, home, sandbox::Kind::Process, Terms::always(0, half_memory())).await?;
    let mut job = peer.attach(saved).await.map_err(|e| Fail::of(&e, e.hint()))?;
    let told = heard(&mut job, peer.net().node()).await;
    peer.cancel(id).await;
    // It ends at once, or has ended already.
    let _ = tokio::time::timeout(HEARD_WITHIN, job.ended).await;
    let forgotten = peer.forget(id);
    peer.shutdown().await;
    forgotten.map_err(|e| Fail::of(&e, e.hint()))?;
    let words = format!("essaim: cancelled job {}; {} of it told", id.short(), count(told as u64, "peer"));
    say(global, words, "cancelled", json!({ "job": id.to_string(), "peers": told }));
    Ok(())
}

/// Ends a job that was submitted elsewhere.
async fn revoke(global: &Global, job: &str, key: [u8; 32]) -> Result<(), Fail> {
    let home = join::home(global)?;
    let peer = join::start(global, home, sandbox::Kind::Process, Terms::always(0, half_memory())).await?;
    say(global, format!("essaim: asking the swarm for job {job}"), "asking", json!({ "job": job }));
    let revoked = peer.revoke(&job.to_ascii_lowercase(), key).await;
    peer.shutdown().await;
    let (id, told) = revoked.map_err(|e| Fail::of(&e, e.hint()))?;
    if told == 0 {
        let hint = "they may have left just now: try again, or look with `essaim peers` who is there";
        return Err(Fail::new(format!("nobody who works on job {} has heard that it is cancelled", id.short()), hint));
    }
    let words = format!("essaim: cancelled job {}; {} of it told", id.short(), count(told as u64, "peer"));
    say(global, words, "cancelled", json!({ "job": id.to_string(), "peers": told }));
    Ok(())
}

/// Waits until those who work on the job are there, or nobody comes; says how many.
async fn heard(job: &mut Job, me: essaim_jobs::NodeId) -> usize {
    let workers = |job: &Job| {
        let progress = job.progress.borrow();
        let members = progress.view.iter().flat_map(|view| &view.members);
        members.filter(|member| member.node != me && member.alive).count()
    };
    let by = Instant::now() + HEARD_WITHIN;
    let mut before = 0;
    while Instant::now() < by {
        tokio::time::sleep(LOOK_EVERY * if before == 0 { 1 } else { 10 }).await;
        let now = workers(job);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    workers(job)
}

/// The program of a job that folds its outputs, compiled, if they are to be folded; blocks.
fn folding(saved: &Saved, out: &Out) -> Result<Option<Program>, Fail> {
    let manifest = &saved.row().manifest.body;
    if !manifest.folds || out.results.is_some() {
        return Ok(None);
    }
    if out.unordered {
        return Err(folded_in_order(manifest.name.as_str()));
    }
    let mode = Mode { metered: false, strict: saved.row().manifest.body.strict };
    let config = EngineConfig { threads: 1, mode, ..EngineConfig::default() };
    let engine = Engine::new(config).map_err(|e| Fail::of(&e, e.hint()))?;
    let read = saved.program().and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.map_err(|e| Fail::new(format!("the job's program is gone: {e}"), "cancel the job"))?;
    engine.load(&bytes).map(Some).map_err(|e| Fail::of(&e, e.hint()))
}

/// The homes to be looked at.
pub fn homes(global: &Global) -> Result<Vec<PathBuf>, Fail> {
    match &global.home {
        Some(dir) if dir.is_dir() => Ok(vec![dir.clone()]),
        Some(_) => Ok(Vec::new()),
        None => Home::defaults().map_err(|e| Fail::of(&e, e.hint())),
    }
}

/// The jobs of one home: from its disk or, where a node runs in it, from that.
pub async fn of_home(dir: &Path) -> Result<Vec<Listed>, Fail> {
    match Home::open(dir) {
        Ok(home) => {
            let saved = Saved::all(&home).map_err(|e| Fail::of(&e, e.hint()))?;
            let listed = |saved: &Saved| {
                let manifest = &saved.row().manifest.body;
                Ok(Listed {
                    job: saved.id().to_string(),
                    name: manifest.name.as_str().escape_debug().to_string(),
                    chunks: manifest.chunks.into(),
                    sealed: saved.collected().map_err(|e| Fail::of(&e, e.hint()))?,
                    created_ms: manifest.created_ms,
                    followed: false,
                    home: dir.to_owned(),
                })
            };
            saved.iter().map(listed).collect()
        }
        Err(HomeError::InUse(_)) => {
            let answer = control::ask(dir, Wish::Jobs).await.map_err(|error| owner::deaf(dir, &error))?;
            let text = |job: &Value, name: &str| job[name].as_str().unwrap_or_default().to_owned();
            let number = |job: &Value, name: &str| job[name].as_u64().unwrap_or(0);
            let listed = |job: &Value| Listed {
                job: text(job, "job"),
                name: text(job, "name").escape_debug().to_string(),
                chunks: number(job, "chunks"),
                sealed: number(job, "sealed"),
                created_ms: number(job, "created_ms"),
                followed: true,
                home: dir.to_owned(),
            };
            Ok(answer.iter().filter_map(Value::as_array).flatten().map(listed).collect())
        }
        Err(error) => Err(Fail::of(&error, error.hint())),
    }
}

/// Why a job is not at hand.
enum Missing {
    /// A process follows it.
    Followed {
        home: PathBuf,
        id: JobId,
    },
    /// It is not of this machine.
    Unknown(Fail),
    Fail(Fail),
}

impl From<Fail> for Missing {
    fn from(fail: Fail) -> Missing {
        Missing::Fail(fail)
    }
}

impl From<Missing> for Fail {
    fn from(missing: Missing) -> Fail {
        match missing {
            Missing::Followed { home, id } => {
                let message = format!("job {} is followed by a node that runs in {}", id.short(), home.display());
                Fail::new(message, "end that with Ctrl-C first: the job goes on")
            }
            Missing::Unknown(fail) | Missing::Fail(fail) => fail,
        }
    }
}

/// What the name of a job may begin with.
///
/// # Errors
/// No name begins so, or too many may.
pub fn prefix(text: &str) -> Result<String, Fail> {
    let prefix = text.to_ascii_lowercase();
    if prefix.len() < 4 || prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let hint = "it is what `essaim jobs` lists in the first column, or the first four digits of that at least";
        return Err(Fail::new(format!("{prefix:?} is not the name of a job"), hint).with_status(2));
    }
    Ok(prefix)
}

/// The job that a node names.
///
/// # Errors
/// It is no name.
pub fn id(name: &str) -> Result<JobId, Fail> {
    let mut id = JobId([0; 32]);
    for (at, byte) in id.0.iter_mut().enumerate() {
        let digits = name.get(2 * at..2 * at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        *byte = digits.ok_or_else(|| Fail::new("a node gives a job no name", "is it of another version?"))?;
    }
    Ok(id)
}

/// The one job whose name begins so, and its home.
async fn find(global: &Global, prefix: &str) -> Result<(Home, Saved), Missing> {
    let prefix = self::prefix(prefix)?;
    let mut found = Vec::new();
    for home in homes(global)? {
        found.extend(of_home(&home).await?.into_iter().filter(|job| job.job.starts_with(&prefix)));
    }
    let job = match found.as_slice() {
        [] => {
            let hint = "`essaim jobs` lists those of this user; with --home DIR, those in that folder";
            return Err(Missing::Unknown(Fail::new(format!("there is no job {prefix}"), hint)));
        }
        [job] => job,
        _ => return Err(Fail::new(format!("several jobs begin with {prefix}"), "give more digits").into()),
    };
    let is_it = |saved: &Saved| saved.id().to_string() == job.job;
    if job.followed {
        return Err(Missing::Followed { home: job.home.clone(), id: id(&job.job)? });
    }
    let home = Home::open(&job.home).map_err(|e| Fail::of(&e, e.hint()))?;
    let saved = Saved::all(&home).map_err(|e| Fail::of(&e, e.hint()))?.into_iter().find(is_it);
    let saved =
        saved.ok_or_else(|| Fail::new(format!("job {prefix} has just ended"), "`essaim jobs` lists the others"))?;
    Ok((home, saved))
}

/// The seed of an author's key, from the file that another home keeps it in.
fn key(path: &Path) -> Result<[u8; 32], Fail> {
    let hint = "it is the file author.key in the home from which the job was submitted";
    let bytes = std::fs::read(path).map_err(|e| Fail::new(format!("cannot read {}: {e}", path.display()), hint))?;
    bytes.try_into().map_err(|_| Fail::new(format!("{} is not a key of essaim", path.display()), hint))
}

/// How long ago, in words.
fn ago(ms: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_millis(ms);
    match SystemTime::now().duration_since(then) {
        Ok(since) => format!("{} ago", humantime::format_duration(Duration::from_secs(since.as_secs()))),
        Err(_) => "in the future, by this machine's clock".into(),
    }
}
