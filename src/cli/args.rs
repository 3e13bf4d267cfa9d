//! What can be written on the command line, and the help that teaches it.

use std::ffi::OsString;
use std::fmt::Display;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use essaim_jobs::{Halt, HaltError, bounds, split};
use libp2p::Multiaddr;

use super::bench::args::{Bench, Own};
use super::config::Config;
use super::data;
use super::shell;
use crate::machine::{LEAST_MEMORY, all_cpus, half_memory};
use crate::net::{AddrError, PeerAddr, SwarmName, parse_listen};
use crate::peer::{HourRange, Hours, HoursError, Terms, When, Whose};
use crate::sandbox::Kind;

/// Run programs on every machine of a swarm. Nobody is in charge.
#[derive(Debug, Parser)]
#[command(
    name = "essaim",
    version,
    about = "Run a program on every machine of a swarm, with nobody in charge.",
    after_help = "\
Examples:
  essaim join                                    lend this machine's cores, here and on the LAN
  essaim run wordcount.wasm corpus.txt           split a text by lines, run the pieces everywhere
  essaim run examples/primes 0..100_000_000      a folder with a Cargo.toml is built first
  essaim run simulate.wasm ::: 1 2 3 4           one piece of work for each value
  essaim new hello                               a job of your own, to be changed and run
  essaim peers                                   who lends what
  essaim top                                     how it goes, live: jobs, peers, every chunk
  essaim jobs                                    what is not finished; `essaim attach JOB` goes on with it
  essaim explain                                 why it does not go on; `essaim doctor` looks at this machine

What is always the same can stand in essaim.toml (`essaim config` shows it and says where).
`essaim help run` says more. Options on this page go before or after the verb."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Folder for this node's keys and scratch files; one node at a time [default: the first free one of this user]
    #[arg(long, global = true, value_name = "DIR", env = "ESSAIM_HOME")]
    pub home: Option<PathBuf>,
    /// Swarm to be in; peers of different swarms never meet
    #[arg(long, global = true, value_name = "NAME", env = "ESSAIM_SWARM", default_value = "public", value_parser = swarm)]
    pub swarm: SwarmName,
    /// A peer to begin with: HOST:PORT or a multiaddress; may be repeated
    #[arg(long = "peer", global = true, value_name = "ADDR", value_parser = peer)]
    pub peers: Vec<PeerAddr>,
    /// Where to listen: IP:PORT, or a multiaddress; may be repeated [default: everywhere, at free ports]
    #[arg(long, global = true, value_name = "ADDR", value_parser = listen)]
    pub listen: Vec<Listen>,
    /// Do not look for peers on this machine and its LAN
    #[arg(long, global = true)]
    pub no_mdns: bool,
    /// How many bytes a second of programs, inputs and data are given on to others at most [default: no limit]
    #[arg(long, global = true, value_name = "SIZE", value_parser = upload)]
    pub upload: Option<u64>,
    /// How much disk large programs, inputs and data of others may have; those not used for longest go first
    #[arg(long, global = true, value_name = "SIZE", default_value = "10GiB", value_parser = bytes)]
    pub disk: u64,
    /// Say everything as JSON, a line an event, on stderr (`peers`, `explain` and `doctor`: on stdout)
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say what goes on underneath, on stderr; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lend this machine's cores to the swarm
    Join(Join),
    /// Run a program over the swarm, and get its output
    Run(Box<Run>),
    /// Make a folder with a job of your own, in Rust, that builds and runs
    New {
        /// The folder; the last part of it is the job's name
        #[arg(value_name = "NAME")]
        path: PathBuf,
    },
    /// List the jobs of this user that have not come to their end
    Jobs,
    /// Go on with a job after Ctrl-C, a crash or a full disk: what is here is not run again
    Attach(Attach),
    /// Print the outputs of a job that are here, asking nobody
    Results(Results),
    /// End a job for everyone, and remove what is kept of it
    Cancel(Cancel),
    /// List the peers that lend their cores
    Peers(Peers),
    /// Say why a job, or one of its chunks, waits or failed: at which peer, in whose words, and what to do
    Explain(Explain),
    /// Look at this machine, and say what is wrong with it, and what to do
    Doctor,
    /// Watch the jobs and peers of this user's nodes; in a pipe, or with --json, one picture of them
    Top,
    /// Measure what peers are worth: how much faster they are than this machine alone, and what is lost, and to what
    Bench(Box<Bench>),
    /// Say what is configured, and where: every option, its value and its origin
    Config,
    /// Write completions for your shell, and man pages, to your own folders
    Shell(Setup),
    /// Say how the nodes do that lend this machine
    Status,
    /// Lend nothing until `resume`; what runs stands still
    Pause,
    /// Lend again what was lent before `pause`
    Resume,
    /// End what runs, hand back the rest, and leave the swarm
    Finish,
}

/// Write completions for your shell, and man pages, to your own folders.
///
/// The shell is the one that SHELL names: bash, zsh or fish. Each file that is written is named.
#[derive(Debug, Args)]
pub struct Setup {
    /// Print one of them instead of writing any
    #[arg(long, value_name = "KIND")]
    pub print: Option<shell::Kind>,
}

/// Lend this machine's cores to the swarm until Ctrl-C.
///
/// Programs of others run as WebAssembly: no files, no network, no processes, limited memory and time. Their
/// authors see only what their programs print.
#[derive(Debug, Args)]
pub struct Join {
    /// How many cores to lend [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub cpus: Option<u16>,
    /// When to lend them: `idle` stops within a second while other programs use the cores
    #[arg(long, value_name = "WHEN", default_value = "always")]
    pub when: WhenArg,
    /// Lend only at these local times: 18:00-08:00, or with days, "mon-fri 19:00-07:00"; may be repeated [default: always]
    #[arg(long, value_name = "RANGE", value_parser = hours)]
    pub hours: Vec<HourRange>,
    /// Lend on battery power, too
    #[arg(long)]
    pub on_battery: bool,
    /// How much memory the chunks may have in all that run at the same time [default: half of this machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// What contains the programs of others, beside WebAssembly
    #[arg(long, value_name = "KIND", default_value = "process")]
    pub sandbox: Kind,
}

impl Join {
    /// On which terms this machine is to be lent.
    pub fn terms(&self) -> Terms {
        Terms {
            whose: Whose::Anyones,
            cpus: self.cpus.unwrap_or_else(all_cpus),
            memory_bytes: self.memory.unwrap_or_else(half_memory),
            when: self.when.into(),
            hours: Hours(self.hours.clone()),
            on_battery: self.on_battery,
        }
    }
}

/// What becomes of the outputs.
#[derive(Debug, Clone, Default, Args)]
pub struct Out {
    /// Print each output as soon as it is there: whole, but in no order
    #[arg(long)]
    pub unordered: bool,
    /// Write the output to a file, which has this name only when all is there [default: standard output]
    #[arg(long = "out", short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write a file a chunk into a folder instead, unfolded: `000007-VALUE`, and `000007-VALUE.err` if it failed
    ///
    /// The name begins with the chunk's number, so that names sort as the chunks do, and goes on with its value or range, or
    /// with `--per-file` the name of its file. Each is there only when it is whole. What stands there already is not written
    /// again.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["unordered", "out"])]
    pub results: Option<PathBuf>,
    /// Write a line a chunk as it comes back: Seq, Host, Starttime, JobRuntime, Send, Receive, Exitval, Signal, Command
    ///
    /// These are GNU parallel's columns. Seq is the chunk's number, from 0 on; Host is the peer; JobRuntime is time on the
    /// processor, the mean of those that came back together; Starttime is that much before it was back; both are `-` where
    /// they are not known. Exitval is 1 for all that failed. `attach` and `run --resume` go on with a log that is there.
    #[arg(long, value_name = "FILE")]
    pub joblog: Option<PathBuf>,
}

/// Where outputs are folded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Reduce {
    /// Combined in the swarm first if the program can, from 64 chunks and 256 MiB of outputs on
    #[default]
    #[value(alias = "true")]
    Auto,
    /// Combined in the swarm first
    Tree,
    /// All on this machine
    Here,
}

/// When cores are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenArg {
    /// At the lowest priority, whoever else uses the machine
    Always,
    /// Those that nobody else uses
    Idle,
}

impl From<WhenArg> for When {
    fn from(when: WhenArg) -> When {
        match when {
            WhenArg::Always => When::Always,
            WhenArg::Idle => When::Idle,
        }
    }
}

/// Go on with a job after Ctrl-C, a crash or a full disk, and get its output from the beginning.
///
/// What had come back before is on this machine's disk and is not run again. A job that was left on another machine is
/// asked for in the swarm: its peers have kept it, for whoever has its author's key.
#[derive(Debug, Args)]
pub struct Attach {
    /// Its name, as `essaim jobs` lists it, or the beginning of it
    #[arg(value_name = "JOB")]
    pub job: String,
    /// The author's key, for a job that was submitted on another machine: the file author.key of the home there
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// How many cores of this machine work, too; 0 for none [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub cpus: Option<u16>,
    /// What contains the program here, beside WebAssembly
    #[arg(long, value_name = "KIND", default_value = "process")]
    pub sandbox: Kind,
    #[command(flatten)]
    pub out: Out,
}

/// Print the outputs of a job that are here, asking nobody.
#[derive(Debug, Args)]
pub struct Results {
    /// Its name, as `essaim jobs` lists it, or the beginning of it
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub out: Out,
}

/// End a job for everyone, and remove what is kept of it.
///
/// A job that was submitted on another machine is asked for in the swarm, and ended with its author's key.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Its name, as `essaim jobs` lists it, or the beginning of it
    #[arg(value_name = "JOB")]
    pub job: String,
    /// The author's key, for a job that was submitted on another machine: the file author.key of the home there
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// Say why a job, or one of its chunks, waits or failed: at which peer, in whose words, and what to do.
///
/// Without JOB, why each job of this user that has not come to its end; where there is none, how the last one ended. How a
/// node does that lends this machine, `essaim status` says. With --json, a line a cause, on standard output.
#[derive(Debug, Args)]
pub struct Explain {
    /// Its name, as `essaim jobs` lists it, or the beginning of it; also of one that has ended lately
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// One of its chunks, counted from 0
    #[arg(value_name = "CHUNK")]
    pub chunk: Option<u32>,
}

/// List the peers that lend their cores, found through the DHT.
///
/// Peers that were banned from a job of this home for wrong results (see `essaim run --copies`) are not trusted with its
/// jobs for thirty days; they are named, too.
#[derive(Debug, Args)]
pub struct Peers {
    /// How long to look
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub within: Duration,

    /// Trust a peer again whose results were wrong, by its name or how that begins; list nothing
    #[arg(long, value_name = "PEER")]
    pub forgive: Option<String>,
}

/// Run a program over the swarm, and get its output.
///
/// The input is cut into chunks; each is given to the program on its standard input, somewhere in the swarm; what
/// it prints comes back in the order of the input. A program made with the kit `essaim-guest` can fold its outputs
/// into one result; that is then what is printed.
#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "essaim run [OPTIONS] PROGRAM [INPUT]... [-- ARGS]...\n       \
                      essaim run [OPTIONS] PROGRAM [-- ARGS]... ::: VALUES... [:::: FILES...]",
    after_help = "\
Examples:
  essaim run wordcount.wasm < corpus.txt
  essaim run examples/mandelbrot 0..1080 > mandelbrot.png
  tail -f log | essaim run grep.wasm             lines are run as they come, and printed while more are read
  essaim run --per-file thumbnail.wasm photos/*.jpg
  essaim run fold.wasm ::: 1 2 3 4               four chunks: 1, 2, 3 and 4
  essaim run model.wasm ::: a b ::: 1 2          four chunks: a1, a2, b1 and b2, parted by a TAB
  essaim run tally.py sales.tsv -- 2             a Python script, see --python
  essaim run sim.wasm -- --seed {} ::: 1 2 3     a value can stand in the arguments; {1}, {2} of several lists
  essaim run fetch.wasm :::: names.txt           one chunk a line of the file; `-` for standard input
  essaim run grep.wasm corpus.txt -- -i honey    what follows -- are the program's arguments

How large a chunk is: without --block or --lines, a few small pieces of the input are run here first, and what they
cost says it; a program that has a `split` of its own cuts the input itself. --dry-run says what was chosen and why.
The choice is remembered, so that the same job again is cut alike. Values, and files with --per-file, are one a chunk.

Ctrl-C leaves the job to its peers: `essaim attach` gets the rest, also after a crash. Twice, it ends the job.

Standard input that does not end at once is run while it is read, as a row of jobs of some seconds each: no more is
read than the swarm can do. --detach and --dry-run read all of it first.

Exit status: 0 if every chunk came back; 1 if not; 2 for a wrong use; 130 after Ctrl-C."
)]
pub struct Run {
    /// A .wasm or .wat file (a WASI command), a Python script, or the folder of a Rust program, which is built first
    #[arg(value_name = "PROGRAM")]
    pub program: PathBuf,
    /// Text files, cut by whole lines; `-` or nothing for standard input; or a range of integers such as 0..1000
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<OsString>,
    /// About how many bytes (1M, 64KiB) or, of a range, integers a chunk has [default: by what trying it costs]
    #[arg(long, value_name = "SIZE", value_parser = block)]
    pub block: Option<NonZeroU64>,
    /// How many lines, or records, a chunk has
    #[arg(long, value_name = "N")]
    pub lines: Option<NonZeroU64>,
    /// The input is records of so many bytes each: they are not cut, and need no newline
    #[arg(long, value_name = "BYTES", value_parser = record)]
    pub records: Option<NonZeroU64>,
    /// The input is records that end with these bytes instead of lines; \n, \r, \t, \0, \x1e and \\ are understood
    #[arg(long, value_name = "TEXT", value_parser = delimiter)]
    pub delimiter: Option<Delimiter>,
    /// The input is these integers: 0..1000, or 1..=1000 with the last
    #[arg(long, value_name = "A..B", value_parser = range)]
    pub range: Option<Range<u64>>,
    /// Make each file one chunk, whatever is in it
    #[arg(long)]
    pub per_file: bool,
    /// How many cores of this machine work, too; 0 for none [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub cpus: Option<u16>,
    /// What contains the program here, beside WebAssembly
    #[arg(long, value_name = "KIND", default_value = "process")]
    pub sandbox: Kind,
    /// How many different peers must agree on the output of each chunk
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub copies: u8,
    /// How long a chunk may run
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How much memory a chunk may use; a machine runs as many at once as it lends memory for
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = bytes)]
    pub memory: u64,
    /// How much a chunk may print
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = bytes)]
    pub output: u64,
    /// How much a chunk may compute, in WebAssembly instructions, counted alike on every machine; counting makes it slower
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// Make NaNs alike on every kind of processor; makes floating-point code several times slower
    #[arg(long)]
    pub strict: bool,
    /// How often a chunk that failed is tried again, at another peer
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// What becomes of the job when chunks have failed for good: `now,fail=N`, `soon,fail=N` or `never`
    ///
    /// With `now` it ends with the N-th; with `soon`, too, but all that has come back by then is printed; with `never` it
    /// goes on with all others, and is folded without those that failed, if it is folded. What failed is listed at the end,
    /// and the exit status is 1.
    #[arg(long, value_name = "WHEN", default_value = "now,fail=1", value_parser = halt)]
    pub halt: Halt,
    /// Give the program a file to read, by its own name or another; may be repeated
    #[arg(long, value_name = "[NAME=]FILE", value_parser = data::named)]
    pub data: Vec<data::Named>,
    /// What runs a Python script: a CPython compiled to WebAssembly [default: python.wasm in the user's data folder for essaim]
    #[arg(long, value_name = "FILE", env = "ESSAIM_PYTHON")]
    pub python: Option<PathBuf>,
    /// Set an environment variable for the program; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    #[command(flatten)]
    pub out: Out,
    /// Have the program fold its outputs, which it does where it can: fail where it cannot
    ///
    /// All outputs are folded on this machine. If the program has a `combine`, those that follow one another may be made one
    /// in the swarm before, by --copies and --retries as the chunks themselves. With --detach, and by `attach`, they are not.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    #[arg(conflicts_with_all = ["no_reduce", "unordered", "results"])]
    pub reduce: Option<Reduce>,
    /// Print the chunks' outputs as they are, even if the program can fold them
    #[arg(long)]
    pub no_reduce: bool,
    /// Go on with the unfinished job of the same program and input, if one stands in `essaim jobs`
    ///
    /// The same are program, arguments, environment, data, limits (but for time), input, how it is cut, and --copies. Where
    /// there is none it is run anew, and takes what finished jobs had (see --no-cache).
    #[arg(long)]
    pub resume: bool,
    /// Leave the job to its peers at once, and print its name: `essaim attach` gets the output, from any machine
    #[arg(long, conflicts_with_all = ["unordered", "out", "results", "joblog"])]
    pub detach: bool,
    /// How long its peers keep it while nobody is attached
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = keep)]
    pub keep: Duration,
    /// Run all chunks, also those that an earlier job has run, and keep no results for later ones
    ///
    /// Without it, a chunk is not run again that an earlier job of this home has run with the same program, arguments,
    /// environment, data, --memory, --output, --fuel and --strict, under the same number and with the same input, if as
    /// many peers had agreed on it as --copies says.
    #[arg(long)]
    pub no_cache: bool,
    /// Say what would be run, and do not run it
    #[arg(long)]
    pub dry_run: bool,
    /// What came after `:::` or `::::`, this included, not split into lists yet.
    #[arg(skip)]
    pub parameters: Option<Vec<OsString>>,
    /// What came after `--`.
    #[arg(skip)]
    pub args: Vec<String>,
}

/// The command line, described.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What the person wants.
#[derive(Debug)]
pub struct Parsed {
    /// The options of every command.
    pub global: Global,
    /// The verb, and its options.
    pub command: Command,
    /// What holds of all that can be configured, as a file.
    pub configured: String,
}

/// Parses the words of the command line. `:::`, `::::` and `--` are taken off first: what follows them is not for clap.
/// They stand in any order, each once, but for lists among themselves.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let lists = |words: &[OsString]| words.iter().position(|word| split::begins_list(word.as_encoded_bytes()));
    let dashes = |words: &[OsString]| words.iter().position(|word| word == "--");
    let mut parameters = lists(&words).map(|at| words.split_off(at));
    let mut arguments = dashes(&words).map(|at| words.split_off(at).split_off(1));
    if let (Some(values), None) = (&mut parameters, &arguments) {
        arguments = dashes(values).map(|at| values.split_off(at).split_off(1));
    }
    let mut command = command();
    let config = Config::read(&command).map_err(|error| command.error(ErrorKind::Io, error))?;
    command = config.apply(command);
    let usual = command.clone();
    let mut matches = match command.try_get_matches_from_mut(words) {
        Ok(matches) => matches,
        Err(error) => return Err(config.blame(&mut command, error)),
    };
    let configured = config.show(&usual, &matches);
    let mut cli = Cli::from_arg_matches_mut(&mut matches)?;
    let run = match &mut cli.command {
        Command::Run(run) => Some(run),
        Command::Bench(bench) => bench.own.as_mut().map(|Own::Run(run)| run),
        _ => None,
    };
    match run {
        Some(run) => {
            let arguments = arguments.unwrap_or_default().into_iter().map(OsString::into_string);
            run.args = arguments
                .collect::<Result<_, _>>()
                .map_err(|word| command.error(ErrorKind::InvalidUtf8, format!("the argument {word:?} is not UTF-8")))?;
            run.parameters = parameters;
        }
        None if parameters.is_some() || arguments.is_some() => {
            return Err(command.error(ErrorKind::UnknownArgument, "only `essaim run` takes `:::`, `::::` and `--`"));
        }
        None => {}
    }
    Ok(Parsed { global: cli.global, command: cli.command, configured })
}

fn bytes(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| "a size is a number, as 65536, 64KiB or 1M".to_owned())?;
    Ok(size.as_u64())
}

fn memory(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    let hint = "with less than 16MiB hardly a program starts; to lend nothing for a while, say `essaim pause`";
    if size < LEAST_MEMORY { Err(hinted(&"too little memory to run anything", hint)) } else { Ok(size) }
}

fn record(text: &str) -> Result<NonZeroU64, String> {
    match NonZeroU64::new(bytes(text)?) {
        Some(record) if record.get() <= bounds::BLOB_BYTES => Ok(record),
        _ => Err(format!("a record has 1 to {} bytes", bounds::BLOB_BYTES)),
    }
}

/// What records end with.
#[derive(Clone, Debug)]
pub struct Delimiter(pub Vec<u8>);

fn delimiter(text: &str) -> Result<Delimiter, String> {
    split::unescape(text).map(Delimiter).map_err(|error| hinted(&error, error.hint()))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    split::parse_range(text).map_err(|error| hinted(&error, error.hint()))
}

fn block(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(bytes(text)?).ok_or_else(|| "a chunk cannot be empty".to_owned())
}

/// What one `--listen` stands for: `IP:PORT` is both TCP and QUIC.
#[derive(Clone, Debug)]
pub struct Listen(pub Vec<Multiaddr>);

fn listen(text: &str) -> Result<Listen, String> {
    parse_listen(text).map(Listen).map_err(|error| hinted(&error, error.hint()))
}

fn peer(text: &str) -> Result<PeerAddr, String> {
    text.parse().map_err(|error: AddrError| hinted(&error, error.hint()))
}

fn swarm(text: &str) -> Result<SwarmName, String> {
    text.parse().map_err(|error: AddrError| hinted(&error, error.hint()))
}

fn hours(text: &str) -> Result<HourRange, String> {
    text.parse().map_err(|error: HoursError| hinted(&error, error.hint()))
}

fn upload(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err(hinted(&"with nothing given on, nobody can work for you", "a slow line still gives 100KiB")),
        size => Ok(size),
    }
}

fn halt(text: &str) -> Result<Halt, String> {
    text.parse().map_err(|error: HaltError| hinted(&error, error.hint()))
}

fn keep(text: &str) -> Result<Duration, String> {
    let keep = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let most = Duration::from_secs(bounds::KEEP_SECONDS.into());
    if keep > most { Err("peers keep a job for 30 days at most".to_owned()) } else { Ok(keep) }
}

fn hinted(error: &dyn Display, hint: impl Display) -> String {
    format!("{error}\n  hint: {hint}")
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
