//! How things are said on stderr: in words for a person, as JSON lines for a program, or not at all.

use std::fmt::Display;

use serde_json::Value;

use super::args::Global;

/// Turns on what `--verbose` asks for.
pub fn init(global: &Global) {
    let level = match global.verbose {
        0 => return,
        1 => "essaim=debug",
        _ => "essaim=trace,libp2p=debug",
    };
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
}

/// Says one thing: `words` to a person, the event `name` with `fields` to a program.
pub fn say(global: &Global, words: impl Display, name: &str, fields: Value) {
    if global.json {
        eprintln!("{}", event(name, fields));
    } else if !global.quiet {
        eprintln!("{words}");
    }
}

/// A line of JSON.
pub fn event(name: &str, mut fields: Value) -> Value {
    if let Value::Object(fields) = &mut fields {
        fields.insert("event".to_owned(), name.into());
    }
    fields
}

/// `n chunks`, `1 chunk`; thousands parted by commas.
pub fn count(n: u64, thing: &str) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    let plural = if n == 1 { "" } else { "s" };
    format!("{out} {thing}{plural}")
}
