//! The kit for people who write jobs: a Rust function becomes a program that a swarm runs.
//!
//! # A first job in five minutes
//! `essaim new primes` makes a folder with all that a job needs, this crate among it. In its `src/main.rs`:
//!
//! ```
//! use std::ops::Range;
//!
//! essaim_guest::main!(map: count, reduce: total);
//!
//! fn count(range: Range<u64>) -> u64 {
//!     range.filter(|&n| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))).count() as u64
//! }
//!
//! fn total(parts: impl Iterator<Item = u64>) -> u64 {
//!     parts.sum()
//! }
//!
//! // In a test:
//! assert_eq!(essaim_guest::testing::run_chunks(&job(), ["0..10", "10..20"]).unwrap(), b"8\n");
//! ```
//!
//! Try it here, then on every core that the swarm has:
//!
//! ```text
//! echo 0..1000 | cargo run
//! essaim run . 0..10_000_000
//! ```
//!
//! A job that works line by line may be shorter still, with this for the body of `main`:
//!
//! ```no_run
//! essaim_guest::map_lines(|line| line.to_uppercase());
//! ```
//!
//! # The roles of a program
//! [`main!`] takes up to four functions, in this order; only `map` must be there.
//!
//! | role | takes | returns | runs |
//! | --- | --- | --- | --- |
//! | `split` | the whole input | anything that iterates over chunks | once, on the machine that asked |
//! | `map` | a chunk | what is printed, or folded | once a chunk, anywhere |
//! | `combine` | `impl Iterator<Item = O>` over some maps' outputs that follow one another | an `O` that stands for them all | anywhere, and again over what it gave |
//! | `reduce` | `impl Iterator<Item = O>` over what the maps, or combine, gave, in order | what is printed | once, on the machine that asked |
//!
//! Without `split`, the node cuts the input: by lines, ranges or values, as `essaim help run` says. Without `combine`
//! and `reduce`, the chunks' outputs are printed in their order; with `combine` alone, what it makes of all of them is.
//! `combine` saves time on the machine that asked, which folds alone: say it where two outputs make one that is not twice
//! as long. It is asked for where there is much to fold, or with `--reduce=tree`: some outputs become one, and the others may
//! go to `reduce` as they are. It must be associative, and make something sensible of nothing. [`testing`] finds out.
//!
//! Each may return a `Result` instead, of any error that can be displayed: it ends the program with status 1, and is
//! what the person reads.
//!
//! ```
//! essaim_guest::main! {
//!     split: |text: String| text.split("\n\n").map(str::to_owned).collect::<Vec<_>>(),
//!     map: longest,
//!     combine: |parts| parts.max().unwrap_or(0),
//! }
//!
//! /// The longest line of a paragraph.
//! fn longest(paragraph: String) -> Result<usize, String> {
//!     let too_much = || format!("{} bytes are no paragraph", paragraph.len());
//!     if paragraph.len() > 1 << 20 { Err(too_much()) } else { Ok(paragraph.lines().map(str::len).max().unwrap_or(0)) }
//! }
//!
//! assert_eq!(essaim_guest::testing::run(&job(), "one\nthree\n\nfour").unwrap(), b"5\n");
//! ```
//!
//! A map that takes long may say how far it is, with [`progress()`].
//!
//! # What a chunk may look like
//! The argument decides how the bytes of a chunk, or of split's whole input, are read. These are the rules; the first
//! that speaks of the argument's type holds.
//!
//! | argument | chunk | becomes |
//! | --- | --- | --- |
//! | `String`, [`Bytes`] | anything | the chunk as it is, newline and all (a `String` must be UTF-8) |
//! | `()` | anything | `()` |
//! | `Option<T>` | nothing, or a `T` | `None`, or `Some` |
//! | a newtype around `T` | a `T` | the newtype |
//! | integers, `f64`, `bool`, `char` | `42` | the value, as `str::parse` reads it (a `char` also as JSON) |
//! | `Range` of integers | `10..20`, `0..1_000` | the range |
//! | a tuple, struct or `Vec` | two values or more, parted by TABs | each value read by these rules, in order |
//! | an enum | a word | its variant of that name |
//! | all these, and maps | JSON | what serde makes of it |
//!
//! White space around a chunk is dropped, except for `String` and [`Bytes`]. Values with TABs are
//! what `essaim run . ::: 1 2 ::: a b` makes, so that `fn f((n, word): (u64, String))` just works.
//! A type that will take anything (`serde_json::Value`) gets JSON where the chunk is JSON, and a
//! string otherwise. `Vec<u8>` is to serde a list of numbers: for bytes, say [`Bytes`].
//!
//! What a `split` gives are the map's chunks as they are, of any type that serde can write and read.
//!
//! A chunk that does not fit ends the program with status 2 and says what was expected.
//!
//! # What is printed
//! `String` and [`Bytes`] go out as they are; `()` and `None` print nothing; `Some` and newtypes
//! print what is in them; anything else is one line of JSON (so a number is a line).
//!
//! # What happens underneath
//! The program is an ordinary WASI command: input on standard input, output on standard output, `ESSAIM_ROLE` (`split`,
//! `map`, `combine` or `reduce`) and `ESSAIM_CHUNK` in the environment. Where one stream has several inputs or outputs,
//! each is a frame: its length (32 bits, little-endian) and as many bytes. What goes from split to map, and from map on,
//! is postcard, of plain types: no `serde_json::Value`, no untagged enum. A custom section of the module, `essaim`, holds
//! the words of the roles beside `map`, so that a node need not run it to know. With no `ESSAIM_ROLE`, run by hand, the
//! program does all of it in one process. A call out of the sandbox costs as much as a thousand instructions: input and
//! output are therefore buffered; use [`stdout`] if you print yourself.

#![warn(missing_docs)]

pub mod codec;
mod failure;
mod input;
mod job;
mod output;
mod parts;
mod progress;
mod roles;
mod stdin;
mod step;
pub mod testing;

pub use job::{Job, chunk};
pub use output::stdout;
pub use parts::Parts;
pub use progress::progress;
pub use roles::map_lines;
#[doc(no_inline)]
pub use serde_bytes::ByteBuf as Bytes;

/// What [`main!`] expands to; nobody else should use it.
#[doc(hidden)]
pub mod expanded {
    pub use crate::job::Draft;
    pub use crate::step::{Settle, Step};

    /// A string's bytes, for a static of their length.
    #[must_use]
    pub const fn bytes<const N: usize>(words: &str) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(words.as_bytes());
        bytes
    }
}

/// The program's `main`, made of a map and what else there is: `split`, `combine`, `reduce`, in the order in which they
/// are run. The crate's first page has what each takes and returns.
///
/// They may be functions or closures that capture nothing. It makes `fn job()` too, for [`testing`], and marks the
/// WebAssembly module with its roles.
///
/// ```
/// use essaim_guest::Bytes;
///
/// essaim_guest::main! {
///     map: |text: Bytes| text.split(|&byte| byte == b'\n').map(<[u8]>::len).max(),
///     reduce: |longest| longest.flatten().max(),
/// }
/// ```
#[macro_export]
macro_rules! main {
    (
        $(split: $split:expr,)?
        map: $map:expr
        $(, combine: $combine:expr)?
        $(, reduce: $reduce:expr)?
        $(,)?
    ) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            const ROLES: &str = concat!(
                $($crate::word!("split " $split),)?
                $($crate::word!("combine reduce " $combine),)?
                $($crate::word!("reduce " $reduce),)?
            );
            #[used]
            #[unsafe(link_section = "essaim")]
            static SECTION: [u8; ROLES.len()] = $crate::expanded::bytes(ROLES);
        };

        /// The job that this program is.
        pub(crate) fn job() -> $crate::Job {
            #[allow(unused_imports, reason = "where all of them return a Result")]
            use $crate::expanded::{Draft, Settle as _, Step};
            let draft = Draft::new(Step::new($map).settle());
            $(let draft = draft.split(Step::new($split).settle());)?
            $(let draft = { let step = draft.fold($combine); draft.combine(step.settle()) };)?
            $(let draft = { let step = draft.fold($reduce); draft.reduce(step.settle()) };)?
            draft.job()
        }

        fn main() {
            job().run();
        }
    };
}

/// A word, where there is the function that it is for.
#[doc(hidden)]
#[macro_export]
macro_rules! word {
    ($word:literal $function:expr) => {
        $word
    };
}
