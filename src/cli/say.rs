//! How things are said on stderr: in words for a person, as JSON lines for a program, or not at all.

use std::fmt::Display;
use std::time::Duration;

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

/// So many things a second, in three digits.
pub fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 10.0 => format!("{rate:.2}"),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// A time in its two largest units.
pub fn time(seconds: u64) -> String {
    let step = match seconds {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    humantime::format_duration(Duration::from_secs(seconds / step * step)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_as_exact_as_anybody_reads_them() {
        assert_eq!([time(0), time(75), time(4_000), time(90_061)], ["0s", "1m 15s", "1h 6m", "1day 1h"]);
        assert_eq!([rate(0.0), rate(1.234), rate(12.34), rate(1_234.4)], ["0.00", "1.23", "12.3", "1234"]);
    }
}
