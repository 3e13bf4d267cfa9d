//! The kit for people who write jobs: a Rust function becomes a program that a swarm runs.
//!
//! # A first job in five minutes
//! `cargo new primes`, this crate as a dependency, and in `src/main.rs`:
//!
//! ```no_run
//! use std::ops::Range;
//!
//! fn count(range: Range<u64>) -> u64 {
//!     range.filter(|&n| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))).count() as u64
//! }
//!
//! fn total(parts: impl Iterator<Item = u64>) -> u64 {
//!     parts.sum()
//! }
//!
//! essaim_guest::main!(map: count, reduce: total);
//! ```
//!
//! Try it here, then on every core that the swarm has:
//!
//! ```text
//! echo 0..1000 | cargo run
//! essaim run . 0..10_000_000
//! ```
//!
//! `count` runs once for each chunk, anywhere; `total` runs once, on the machine that asked, over
//! what `count` returned, in the order of the chunks. Without `reduce` the chunks' outputs are
//! printed in that order. A job that works line by line may be shorter still, with this for the
//! body of `main`:
//!
//! ```no_run
//! essaim_guest::map_lines(|line| line.to_uppercase());
//! ```
//!
//! # What a chunk may look like
//! The function's argument decides how the chunk's bytes are read. These are the rules; the first
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
//! A chunk that does not fit ends the program with status 2 and says what was expected.
//!
//! # What is printed
//! `String` and [`Bytes`] go out as they are; `()` and `None` print nothing; `Some` and newtypes
//! print what is in them; anything else is one line of JSON (so a number is a line).
//!
//! # What happens underneath
//! The program is an ordinary WASI command: chunk on standard input, output on standard output,
//! `ESSAIM_ROLE` (`map` or `reduce`) and `ESSAIM_CHUNK` in the environment. What goes from map to
//! reduce is postcard. With no `ESSAIM_ROLE`, run by hand, the program treats its whole input as
//! one chunk and reduces that one output, so it can be tried without a swarm. A program with a
//! `reduce` says so in a custom section of the module, `essaim`, whose content is `reduce`: a node
//! need not run it to know. A call out of the sandbox costs as much as a thousand instructions:
//! input and output are therefore buffered; use [`stdout`] if you print yourself.

#![warn(missing_docs)]

pub mod codec;
mod input;
mod output;
mod parts;
mod roles;

pub use output::stdout;
pub use parts::Parts;
pub use roles::{chunk, map, map_lines, map_reduce};
#[doc(no_inline)]
pub use serde_bytes::ByteBuf as Bytes;

/// The program's `main`, made of a map and, where there is one, a reduce.
///
/// `main!(map: f)` is [`map`]`(f)`. `main!(map: f, reduce: g)` is [`map_reduce`]`(f, g)`, and marks
/// the WebAssembly module as one that reduces its own outputs. Both may be functions or closures;
/// `g` takes an iterator over what `f` returned.
///
/// ```no_run
/// use essaim_guest::Bytes;
///
/// essaim_guest::main! {
///     map: |text: Bytes| text.split(|&byte| byte == b'\n').map(<[u8]>::len).max(),
///     reduce: |longest| longest.flatten().max(),
/// }
/// ```
#[macro_export]
macro_rules! main {
    (map: $map:expr $(,)?) => {
        fn main() {
            $crate::map($map);
        }
    };
    (map: $map:expr, reduce: $reduce:expr $(,)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "essaim")]
            static REDUCES: [u8; 6] = *b"reduce";
        };

        fn main() {
            $crate::map_reduce($map, $reduce);
        }
    };
}
