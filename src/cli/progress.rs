//! How a run goes, while it goes: a bar where stderr is a terminal, a plain line now and then where it is not, JSON
//! where it was asked for.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;

use super::args::Global;
use super::say::{count, rate, say, time};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How long a run looks for peers before it says that there are none.
const ALONE_AFTER: Duration = Duration::from_secs(2);

/// How a run goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoFar {
    /// Chunks sealed.
    pub sealed: u32,
    /// Chunks in all that are known of.
    pub chunks: u32,
    /// Bytes of standard input, while more of it may come.
    pub read: Option<u64>,
    /// Peers that work, this node excepted.
    pub workers: usize,
    /// Peers connected.
    pub connected: usize,
    /// Chunks that outputs were combined in, and are to be so far, if any.
    pub combined: Option<(u32, u32)>,
}

/// The bar, and what there is instead while nobody knows how much there will be.
const BAR: &str = "{wide_bar:.cyan/black.bright} {pos}/{len} · {elapsed}{speed} · {msg}";
const NO_END: &str = "{spinner:.cyan} {pos} of {len} chunks so far · {elapsed} · {msg}";

/// Shows the progress of one run.
pub struct Show<'a> {
    global: &'a Global,
    bar: ProgressBar,
    is_plain: bool,
    began: Instant,
    last_line: Instant,
    said_alone: bool,
    style: &'static str,
    /// Whether it has looked: what was here before says nothing of how fast the others come.
    has_looked: bool,
    lends: bool,
}

impl<'a> Show<'a> {
    /// Starts; `lends`: whether this node works, too.
    pub fn new(global: &'a Global, lends: bool) -> Show<'a> {
        let is_bar = std::io::stderr().is_terminal() && !global.quiet && !global.json;
        let target = if is_bar { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if is_bar {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        let now = Instant::now();
        Show {
            global,
            bar,
            is_plain: !is_bar,
            began: now,
            last_line: now,
            said_alone: false,
            has_looked: false,
            style: "",
            lends,
        }
    }

    /// The bar, for whoever writes to the same terminal.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Takes note of how things are.
    pub fn update(&mut self, so_far: &SoFar) {
        let SoFar { sealed, chunks, read, workers, connected, combined } = *so_far;
        let style = if read.is_some() { NO_END } else { BAR };
        if style != self.style {
            self.style = style;
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar.set_style(style.with_key("speed", speed));
        }
        self.bar.set_length(u64::from(chunks));
        self.bar.set_position(u64::from(sealed));
        if !std::mem::replace(&mut self.has_looked, true) {
            self.bar.reset_eta();
        }
        let who = match (workers, self.lends) {
            (0, true) => "this machine".to_owned(),
            (0, false) => "waiting for peers".to_owned(),
            (n, false) => count(n as u64, "peer"),
            (n, true) => format!("{} + this machine", count(n as u64, "peer")),
        };
        let combining = combined.map_or_else(String::new, |(done, of)| format!("combined {done} of {of} · "));
        self.bar.set_message(match read {
            Some(bytes) => format!("{} · {combining}{who}", self.speed(bytes)),
            None => format!("{combining}{who}"),
        });
        if workers == 0 && !self.said_alone && self.began.elapsed() > ALONE_AFTER && sealed < chunks {
            self.said_alone = true;
            self.say_alone(connected);
        }
        if self.is_plain && self.last_line.elapsed() > LINE_EVERY {
            self.last_line = Instant::now();
            let words = format!(
                "essaim: {sealed} of {}{}{}, {} working, {:.0} s",
                count(u64::from(chunks), "chunk"),
                read.map_or_else(String::new, |bytes| format!(" so far, {}", self.speed(bytes))),
                combined.map_or_else(String::new, |(done, of)| format!(", combined {done} of {of}")),
                count(workers as u64 + u64::from(self.lends), "peer"),
                self.began.elapsed().as_secs_f64()
            );
            let seconds = self.began.elapsed().as_secs_f64();
            let mut fields = json!({ "sealed": sealed, "chunks": chunks, "peers": workers, "seconds": seconds });
            if let Some(bytes) = read {
                fields["read"] = bytes.into();
            }
            if let Some((done, of)) = combined {
                fields["combined"] = json!([done, of]);
            }
            say(self.global, words, "progress", fields);
        }
    }

    /// How much was read, and how much a second.
    fn speed(&self, bytes: u64) -> String {
        let a_second = (bytes as f64 / self.began.elapsed().as_secs_f64().max(0.1)) as u64;
        format!("{} read, {}/s", ByteSize(bytes).display().iec(), ByteSize(a_second).display().iec())
    }

    fn say_alone(&self, connected: usize) {
        let fields = json!({ "connected": connected, "lends": self.lends });
        let words = match (self.lends, connected) {
            (true, _) => "essaim: no other peer works on this; this machine does it alone".to_owned(),
            (false, 0) => "essaim: no peer has been found yet, and this machine lends nothing (--cpus 0)\n  hint: run \
                           `essaim join` on another machine or in another terminal, or name a peer with --peer ADDR"
                .to_owned(),
            (false, n) => format!(
                "essaim: {} connected, but none works on this yet, and this machine lends nothing (--cpus 0)\n  hint: \
                 run `essaim peers` to see who lends what",
                count(n as u64, "peer")
            ),
        };
        self.bar.suspend(|| say(self.global, words, "alone", fields));
    }

    /// Says something beside the bar.
    pub fn say(&self, words: &str, name: &str, fields: serde_json::Value) {
        self.bar.suspend(|| say(self.global, words, name, fields));
    }

    /// Says something to a program only.
    pub fn tell(&self, name: &str, fields: serde_json::Value) {
        if self.global.json {
            say(self.global, "", name, fields);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How fast it goes, and how long it will still take; nothing while that is not known.
fn speed(state: &ProgressState, out: &mut dyn Write) {
    if state.per_sec() > 0.0 && state.eta() > Duration::ZERO {
        // A bar that cannot be written is not missed.
        let _ = write!(out, " · {}/s · {} left", rate(state.per_sec()), time(state.eta().as_secs()));
    }
}
