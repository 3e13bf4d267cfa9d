//! What a program does when it is run: reads its role, then its chunk or the chunks' outputs.

use std::env;
use std::io::{self, BufRead, BufReader, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::job::{Job, read};
use crate::output::{Printed, print, stdout};

/// Bytes fetched into the sandbox at once.
const BUFFER: usize = 64 << 10;

impl Job {
    /// Does what the node asks of the program, or all of it where no node does; ends the program where that fails.
    pub fn run(&self) {
        finish(|| {
            let role = role()?;
            let (name, run) = match role.as_deref() {
                None => {
                    let input = read(io::stdin().lock())?;
                    let mut out = stdout();
                    self.whole(input, &mut out)?;
                    return Ok(out.flush()?);
                }
                Some("map") => ("map", Some(&self.map)),
                Some("split") => ("split", self.split.as_ref()),
                Some("combine") => ("combine", self.combine.as_ref()),
                Some("reduce") => ("reduce", self.reduce.as_ref()),
                Some(other) => return Err(Failure::Role(other.to_owned())),
            };
            let run = run.ok_or(Failure::NoRole(name))?;
            let mut out = stdout();
            run(Box::new(BufReader::with_capacity(BUFFER, io::stdin())), &mut out)?;
            Ok(out.flush()?)
        });
    }
}

/// Runs `f` on every line of the chunk, without its `\n` or `\r\n`, and prints what it returns, a
/// line each: all that there is to the body of `main`.
///
/// What is printed is as for a map, but that text gets a newline too; so `None` and `()` print no line at
/// all. A line that is not UTF-8 ends the program with status 2. It holds one line at a time.
///
/// ```no_run
/// // grep
/// essaim_guest::map_lines(|line| line.contains("essaim").then(|| line.to_owned()));
/// ```
pub fn map_lines<O: Serialize>(f: impl FnMut(&str) -> O) {
    finish(|| match role()?.as_deref() {
        None | Some("map") => each_line(io::stdin().lock(), stdout(), f),
        Some(other) => Err(Failure::Role(other.to_owned())),
    });
}

/// What the node asks of the program; nothing where it is run by hand.
fn role() -> Result<Option<String>, Failure> {
    match env::var("ESSAIM_ROLE") {
        Ok(role) => Ok(Some(role)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(role)) => Err(Failure::Role(role.to_string_lossy().into_owned())),
    }
}

fn each_line<O: Serialize>(
    mut input: impl BufRead,
    mut out: impl Write,
    mut f: impl FnMut(&str) -> O,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").filter(|_| bytes.ends_with(b"\n")).unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|why| Failure::Line { number, why })?;
        if print(&f(line), &mut out)? != Printed::Nothing {
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

/// Runs the program, and ends it with a message where it fails.
fn finish(run: impl FnOnce() -> Result<(), Failure>) {
    if let Err(failure) = run() {
        failure.exit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<O: Serialize>(input: &[u8], f: impl FnMut(&str) -> O) -> Result<String, Failure> {
        let mut out = Vec::new();
        each_line(input, &mut out, f)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_line_in_is_a_line_out() {
        let text = b"a\r\n\nb\r";
        assert_eq!(lines(text, str::to_owned).expect("UTF-8"), "a\n\nb\r\n");
        assert_eq!(lines(text, str::len).expect("UTF-8"), "1\n0\n2\n");
        let kept = lines(text, |line| (!line.is_empty()).then(|| line.to_uppercase()));
        assert_eq!(kept.expect("UTF-8"), "A\nB\r\n");
        assert_eq!(lines(text, |_| ()).expect("UTF-8"), "");
        let failure = lines(b"a\n\xff\n", str::len).expect_err("not UTF-8");
        assert!(matches!(failure, Failure::Line { number: 2, .. }), "{failure}");
    }
}
